//! `warren invite`: lets another box join, once; lists and revokes invites.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use appliance::api::{
    CallBox, CallState, CreateInvite, CreatedInvite, InviteList, InviteState, NetReport, Role, Schema,
};
use appliance::lasted;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use p2p::Address;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::qr::drawn;
use crate::admin_client::AdminClient;

/// How often it is looked how far a call has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct InviteArgs {
    #[command(subcommand)]
    verb: Option<InviteVerb>,
    /// For how long it works, e.g. 30m, 48h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    expires: Duration,
    /// What it makes of the new box
    #[arg(long, value_enum, default_value_t = RoleArg::Trusted)]
    role: RoleArg,
    /// Call the new box, too, where this one reaches it and not the other way round: a server on the internet
    #[arg(long = "for", value_name = "HOST:PORT")]
    called: Option<String>,
}

#[derive(Subcommand)]
enum InviteVerb {
    /// List the invites that work, and those that did of late
    Ls,
    /// Call a box that waits in `warren join`, where this one reaches it and not the other way round
    Call {
        /// Where it is reached, e.g. box.example.org:4001
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// How long to wait until it is in; this box goes on calling afterwards
        #[arg(long, value_name = "TIME", default_value = "1m", value_parser = time)]
        wait: Duration,
    },
    /// Take an invite back: nobody joins with it any more
    Revoke {
        /// The beginning of its id
        id: String,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Holds the keys of the mesh, votes, serves clients
    Trusted,
    /// Stores what it cannot read
    Vault,
    /// Votes on what it cannot read, stores no blocks
    Witness,
}

pub(super) async fn run(args: InviteArgs, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    match args.verb {
        None => invite(&args, client, out).await?,
        Some(InviteVerb::Call { address, wait }) => call(&address, wait, client, out).await?,
        Some(InviteVerb::Ls) => list(&client.get(&["invites"]).await?, out)?,
        Some(InviteVerb::Revoke { id }) => {
            client.delete(&["invites", &id]).await?;
            out.deleted("invite", &id)?;
        }
    }
    Ok(Exit::Ok)
}

async fn invite(args: &InviteArgs, client: &AdminClient, out: &Output) -> Result<(), Failure> {
    let request = CreateInvite {
        schema: Schema,
        role: match args.role {
            RoleArg::Trusted => Role::Trusted,
            RoleArg::Vault => Role::Vault,
            RoleArg::Witness => Role::Witness,
        },
        valid_seconds: args.expires.as_secs(),
    };
    if let Some(address) = &args.called {
        // Before there is an invite that nobody hears of.
        address
            .parse::<Address>()
            .map_err(|error| Failure::usage(format!("--for: {error}")))?;
    }
    let made: CreatedInvite = client.send(Method::POST, &["invites"], &request).await?;
    if let Some(address) = &args.called {
        ask_to_call(address, client).await?;
    }
    if out.json {
        return Ok(out.document(&made)?);
    }
    out.note(&format!(
        "{} Invite {}   single use, expires {} (in {})",
        out.mark(Mark::Good),
        made.invite.id,
        made.invite.expires,
        lasted(args.expires.as_secs())
    ));
    out.note("→ On the other box:");
    out.data(&format!("warren join {}", made.token.expose()))?;
    if io::stdout().is_terminal()
        && let Some(code) = drawn(made.qr.expose())
    {
        out.data(&code)?;
    }
    if let Some(address) = &args.called {
        out.note(&format!(
            "→ This box calls {address} until it is in, or the invite has expired: warren invite ls"
        ));
        return Ok(());
    }
    let net: NetReport = client.get(&["net"]).await?;
    if net.public.is_empty() {
        out.note(&format!(
            "{} It works in this network, and wherever a member of the mesh can be reached: no address of this box is \
             known to be open to the internet (warren net check). Is the new box a server that this one reaches? Then type \
             here, while it waits in `warren join`:  warren invite call HOST:PORT",
            out.mark(Mark::Look)
        ));
    }
    Ok(())
}

async fn ask_to_call(address: &str, client: &AdminClient) -> Result<InviteList, Failure> {
    let request = CallBox {
        schema: Schema,
        address: address.to_owned(),
    };
    Ok(client.send(Method::POST, &["invites", "call"], &request).await?)
}

/// Has a box called, and waits until it is in.
async fn call(address: &str, wait: Duration, client: &AdminClient, out: &Output) -> Result<(), Failure> {
    let asked: Address = address
        .parse()
        .map_err(|error: p2p::InvalidAddress| Failure::usage(error.to_string()))?;
    let (until, address) = (Instant::now() + wait, asked.to_string());
    let mut shown = ask_to_call(&address, client).await?;
    out.note(&format!("  Calling {address} …"));
    loop {
        let called = shown.called.iter().find(|called| called.address == address);
        let called = called.ok_or_else(|| {
            Failure::new(
                Exit::Conflict,
                "so many others are called that this one is not: warren invite ls",
            )
        })?;
        match called.state {
            CallState::LetIn if out.json => return Ok(out.document(called)?),
            CallState::LetIn => {
                let name = called.name.as_deref().unwrap_or("the box");
                out.note(&format!(
                    "{} {name} is in, called at {address}",
                    out.mark(Mark::Good)
                ));
                out.note("→ Run it there:  warren server");
                return Ok(());
            }
            CallState::Over => {
                return Err(Failure::new(
                    Exit::Conflict,
                    "no invite is open any more; make another: warren invite",
                ));
            }
            _ if Instant::now() >= until => {
                let why = called.why.clone().unwrap_or_else(|| "it is not in yet".into());
                let hint =
                    "this box goes on calling until an invite was used or all have expired: warren invite ls";
                return Err(Failure::new(Exit::Timeout, format!("{address}: {why}")).hint(hint));
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
        shown = client.get(&["invites"]).await?;
    }
}

fn list(list: &InviteList, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(list)?);
    }
    let head = [row(["INVITE", "STATE", "EXPIRES", "BOX"])];
    let rows = list.invites.iter().map(|invite| {
        let state = match invite.state {
            InviteState::Open => "open",
            InviteState::Used => "used",
            InviteState::Expired => "expired",
        };
        let member = invite.member.map(|member| member.to_string());
        row([
            &invite.id,
            state,
            &invite.expires,
            member.as_deref().unwrap_or("–"),
        ])
    });
    out.table(&head.into_iter().chain(rows).collect::<Vec<_>>())?;
    for called in &list.called {
        let (mark, what) = match (called.state, &called.name, &called.why) {
            (CallState::LetIn, Some(name), _) => (Mark::Good, format!("{name} is in")),
            (CallState::LetIn, None, _) => (Mark::Good, "is in".into()),
            (CallState::Over, ..) => (Mark::Look, "no invite was open any more".into()),
            (CallState::Answered, ..) => (Mark::Look, "answered, and asks to be let in".into()),
            (_, _, Some(why)) => (Mark::Look, format!("calling again and again: {why}")),
            (_, _, None) => (Mark::Look, "calling".into()),
        };
        out.data(&format!("{} {}   {what}", out.mark(mark), called.address))?;
    }
    Ok(())
}

/// A length of time as people write it.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time: write it like 30m, 48h or 7d");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_written_as_people_do() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("48h", 172_800), ("7d", 604_800)] {
            assert_eq!(time(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "48", "h", "0h", "1.5h", "-1h", "99999999999999999d"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
