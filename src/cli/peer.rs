//! `warren peer` and `warren leave`: shows, names, measures and removes the boxes of the mesh.

use appliance::api::{DrainPeer, PartWith, PeerInfo, PeerList, Pong, RenamePeer, Schema};
use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use super::status::{homes, millis, path, speed};
use crate::admin_client::AdminClient;
use appliance::{ByteSize, lasted};

#[derive(Subcommand)]
pub(super) enum PeerVerb {
    /// List all boxes and how they are reached
    Ls,
    /// Show one box
    Show {
        /// Its number, name or node id
        peer: String,
    },
    /// Call a box by another name
    Rename {
        /// Its number, name or node id
        peer: String,
        /// What it is to be called
        name: String,
    },
    /// Have a box hand over what it holds, before it is removed
    Drain {
        /// Its number, name or node id
        peer: String,
        /// Let it keep what it holds after all
        #[arg(long)]
        undo: bool,
    },
    /// Cut a box off for good, once it has handed over what only it has
    Remove {
        /// Its number, name or node id
        peer: String,
        /// Cut it off at once, also while it is away: what only it has is lost
        #[arg(long)]
        lose_data: bool,
    },
    /// Ask a box, and measure how long the answer takes
    Ping {
        /// Its number, name or node id
        peer: String,
    },
}

pub(super) async fn run(
    verb: PeerVerb,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    match verb {
        PeerVerb::Ls => {
            let list: PeerList = client.get(&["peers"]).await?;
            match out.json {
                true => out.document(&list)?,
                false => out.table(&homes(&list.peers))?,
            }
        }
        PeerVerb::Show { peer } => show(&client.get(&["peers", &peer]).await?, out)?,
        PeerVerb::Rename { peer, name } => {
            let request = RenamePeer { schema: Schema, name };
            let info: PeerInfo = client
                .send(Method::PUT, &["peers", &peer, "name"], &request)
                .await?;
            done(&info, &format!("{peer} is called {} now", info.peer.name), out)?;
        }
        PeerVerb::Drain { peer, undo } => drain(&peer, !undo, client, out).await?,
        PeerVerb::Remove { peer, lose_data } => remove(&peer, lose_data, client, yes, out).await?,
        PeerVerb::Ping { peer } => ping(&peer, client, out).await?,
    }
    Ok(Exit::Ok)
}

#[derive(Args)]
pub(super) struct LeaveArgs {
    /// Leave at once: what only this box has is lost
    #[arg(long)]
    lose_data: bool,
}

const HANDS_OVER: &str = "it hands over from now on; try again in a while (undo: warren peer drain --undo)";

/// Takes this box out of its mesh.
pub(super) async fn leave(
    args: LeaveArgs,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    let question = match args.lose_data {
        true => "Leave the mesh? What only this box has is lost for good, and its clients lose everything.",
        false => "Leave the mesh? Clients of this box lose everything; the other boxes keep all of it.",
    };
    out.consent(yes, question)?;
    let request = PartWith {
        schema: Schema,
        lose_data: args.lose_data,
    };
    client.post(&["leave"], &request).await.map_err(|error| {
        let failure = Failure::from(error);
        match failure.exit {
            Exit::Conflict => failure.hint(HANDS_OVER),
            _ => failure,
        }
    })?;
    if out.json {
        #[derive(Serialize)]
        struct Left {
            schema: Schema,
            left: bool,
        }
        out.document(&Left {
            schema: Schema,
            left: true,
        })?;
    }
    out.note(&format!("{} This box has left the mesh", out.mark(Mark::Good)));
    out.note("→ stop the server; its state directory holds the keys of the mesh: delete it");
    Ok(Exit::Ok)
}

async fn drain(peer: &str, draining: bool, client: &AdminClient, out: &Output) -> Result<(), Failure> {
    let request = DrainPeer {
        schema: Schema,
        draining,
    };
    let info: PeerInfo = client
        .send(Method::PUT, &["peers", peer, "draining"], &request)
        .await?;
    let what = if draining {
        "hands over what it holds"
    } else {
        "keeps what it holds"
    };
    done(&info, &format!("{} {what}", info.peer.name), out)
}

async fn remove(
    peer: &str,
    lose_data: bool,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<(), Failure> {
    let info: PeerInfo = client.get(&["peers", peer]).await?;
    let (member, name) = (info.peer.member.to_string(), &info.peer.name);
    let loses = match lose_data {
        true => " What only it has is lost.",
        false => "",
    };
    let question = format!("Remove {name:?} ({}) for good?{loses}", info.peer.zone);
    out.consent(yes, &question)?;
    let request = PartWith {
        schema: Schema,
        lose_data,
    };
    let removed = client.post(&["peers", &member, "remove"], &request).await;
    removed.map_err(|error| {
        let failure = Failure::from(error);
        let hands_over = failure.code() == Some("still-holds");
        match failure.exit {
            Exit::Conflict if hands_over => failure.hint(HANDS_OVER),
            Exit::Conflict => failure.hint(format!("first have it hand over: warren peer drain {member}")),
            Exit::Timeout => failure
                .hint("switch it on, so that it can hand over; if its disk is gone for good: --lose-data"),
            Exit::Usage => failure.hint("to take this box out: warren leave"),
            _ => failure,
        }
    })?;
    out.deleted("box", name)?;
    if !out.json {
        out.note("→ The mesh gets keys that it lacks. Invites not used so far are void; delete access keys that it knew (warren key ls)");
    }
    Ok(())
}

async fn ping(peer: &str, client: &AdminClient, out: &Output) -> Result<(), Failure> {
    let pong: Pong = client.send(Method::POST, &["peers", peer, "ping"], &()).await?;
    if out.json {
        return Ok(out.document(&pong)?);
    }
    let way = pong.path.as_ref().map(path).unwrap_or_default();
    let answered = format!(
        "{} answered in {}   {way}",
        pong.name,
        millis(pong.answer_seconds)
    );
    Ok(out.data(&answered)?)
}

fn show(info: &PeerInfo, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(info)?);
    }
    let peer = &info.peer;
    let seen = match (peer.online, peer.seen_seconds) {
        (true, _) => "online".to_owned(),
        (false, Some(seconds)) => format!("away, seen {} ago", lasted(seconds)),
        (false, None) => "away, not seen since this box started".to_owned(),
    };
    let used = peer.used_bytes.map(|bytes| ByteSize(bytes).to_string());
    Ok(out.table(&[
        row(["Box", &peer.name]),
        row(["Number", &peer.member.to_string()]),
        row(["Zone", &peer.zone]),
        row(["Node", &peer.node]),
        row(["State", &seen]),
        row(["Path", &peer.path.as_ref().map_or_else(|| "–".to_owned(), path)]),
        row([
            "Speed",
            &peer
                .path
                .as_ref()
                .and_then(speed)
                .unwrap_or_else(|| "–".to_owned()),
        ]),
        row(["Hands over", if peer.draining { "yes" } else { "no" }]),
        row(["Gives", &ByteSize(peer.given_bytes).to_string()]),
        row(["Uses", used.as_deref().unwrap_or("–")]),
        row(["Verified", peer.verified.as_deref().unwrap_or("–")]),
        row(["Version", peer.version.as_deref().unwrap_or("–")]),
    ])?)
}

fn done(info: &PeerInfo, what: &str, out: &Output) -> Result<(), Failure> {
    if out.json {
        return Ok(out.document(info)?);
    }
    out.note(&format!("{} {what}", out.mark(Mark::Good)));
    Ok(())
}
