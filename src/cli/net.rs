//! `warren net`: shows how other boxes reach this one and what could be better, limits how fast content flows, and shows what
//! clients have to trust over HTTPS.

use std::time::Duration;

use appliance::api::{FlowWay, HttpsShown, NetReport, Schema, SetLimit, SetQuiet};
use appliance::lasted;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;

use super::failure::{Exit, Failure};
use super::invite::time;
use super::output::{Mark, Output, row};
use super::status::{path, speed};
use crate::admin_client::AdminClient;
use crate::config::Rate;

#[derive(Subcommand)]
pub(super) enum NetVerb {
    /// Check how other boxes reach this one
    Check,
    /// Limit how fast content flows to or from other boxes; what is small and urgent is never held up
    Limit {
        /// From this box to others, or from others to this one
        #[arg(value_enum)]
        way: WayArg,
        /// Bytes per second, e.g. 5M, or none
        #[arg(value_parser = |text: &str| Rate::parse(text))]
        rate: Rate,
    },
    /// Have content flow slowly for a while, so that the line is free for something else
    Quiet(QuietArgs),
    /// Show the certificate that clients trust once to come over HTTPS (PEM)
    Ca(CaArgs),
}

#[derive(Args)]
pub(super) struct QuietArgs {
    /// For how long, e.g. 30m, 2h or 1d
    #[arg(value_name = "TIME", default_value = "2h", value_parser = time)]
    time: Duration,
    /// Bytes per second meanwhile, e.g. 100K
    #[arg(long, value_name = "RATE", value_parser = slow)]
    rate: Option<Rate>,
    /// End it now
    #[arg(long, conflicts_with_all = ["time", "rate"])]
    end: bool,
}

#[derive(Args)]
pub(super) struct CaArgs {
    /// Show only its SHA-256, to compare it with what a browser or the page shows
    #[arg(long)]
    fingerprint: bool,
    /// Have another sign for the mesh, which permits the names that are configured now; all clients have to trust it anew
    #[arg(long)]
    renew: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum WayArg {
    /// From this box to others
    Up,
    /// From others to this box
    Down,
}

pub(super) async fn run(
    verb: NetVerb,
    client: &AdminClient,
    yes: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    let report: NetReport = match verb {
        NetVerb::Ca(args) => return authority(&args, client, yes, out).await,
        NetVerb::Check => client.get(&["net"]).await?,
        NetVerb::Quiet(args) => {
            let quiet = SetQuiet {
                schema: Schema,
                seconds: if args.end { 0 } else { args.time.as_secs() },
                bytes_per_second: args.rate.and_then(|rate| rate.0),
            };
            client.send(Method::PUT, &["net", "quiet"], &quiet).await?
        }
        NetVerb::Limit { way, rate } => {
            let limit = SetLimit {
                schema: Schema,
                way: match way {
                    WayArg::Up => FlowWay::Up,
                    WayArg::Down => FlowWay::Down,
                },
                bytes_per_second: rate.0,
            };
            client.send(Method::PUT, &["net", "limit"], &limit).await?
        }
    };
    if out.json {
        out.document(&report)?;
        return Ok(Exit::Ok);
    }
    let list = |texts: &[String]| match texts {
        [] => "–".to_owned(),
        texts => texts.join(" "),
    };
    let router = match report.router.as_deref() {
        Some("forwards") => "forwards the port (UPnP)",
        Some("not-on-internet") => "has no address of the internet itself",
        Some(_) => "does not answer (UPnP is off, or there is none)",
        None => "not asked",
    };
    let quiet = report.quiet.as_ref().map_or_else(
        || "no".to_owned(),
        |quiet| {
            let (rate, left) = (Rate(Some(quiet.bytes_per_second)), lasted(quiet.left_seconds));
            format!("{rate} a second either way for {left}, until {}", quiet.until)
        },
    );
    out.table(&[
        row(["Node", &report.node]),
        row(["Listens", &list(&report.listening)]),
        row(["Reachable", &list(&report.public)]),
        row(["Relayed by", &list(&report.relays)]),
        row(["Router", router]),
        row([
            "Limits",
            &format!(
                "up {}, down {} a second (content only)",
                Rate(report.limit_up),
                Rate(report.limit_down)
            ),
        ]),
        row(["Quiet", &quiet]),
        row(["TCP", report.congestion_control.as_deref().unwrap_or("–")]),
    ])?;
    if !report.peers.is_empty() {
        let head = [row(["BOX", "PATH", "SPEED"])];
        let rows = report.peers.iter().map(|peer| {
            let way = peer.path.as_ref();
            let none = || "–".to_owned();
            row([
                &peer.name,
                &way.map_or_else(|| "away".to_owned(), path),
                &way.and_then(speed).unwrap_or_else(none),
            ])
        });
        out.data("")?;
        out.table(&head.into_iter().chain(rows).collect::<Vec<_>>())?;
    }
    for advice in &report.advice {
        out.note(&format!("{} {advice}", out.mark(Mark::Look)));
    }
    Ok(Exit::Ok)
}

/// Reads a rate that is one: whoever wants no limit asks for no quiet time.
fn slow(text: &str) -> Result<Rate, String> {
    let rate = Rate::parse(text).map_err(|error| error.to_string())?;
    match rate.0 {
        Some(_) => Ok(rate),
        None => Err("a quiet time has a limit; to end it: warren net quiet --end".into()),
    }
}

/// Shows what clients have to trust.
async fn authority(args: &CaArgs, client: &AdminClient, yes: bool, out: &Output) -> Result<Exit, Failure> {
    let shown: HttpsShown = if args.renew {
        let question = "Every device that trusts this home over HTTPS has to install the new certificate. Begin another?";
        out.consent(yes, question)?;
        client.send(Method::POST, &["https", "authority"], &()).await?
    } else {
        client.get(&["https"]).await?
    };
    let Some(authority) = &shown.authority else {
        let failure = Failure::new(Exit::NotFound, "this box has no certificate yet");
        return Err(failure.hint("it gets one as soon as it has heard from its mesh: warren status"));
    };
    if out.json {
        out.document(&shown)?;
    } else if args.fingerprint {
        out.data(&authority.fingerprint)?;
    } else {
        out.data(authority.pem.trim_end())?;
        out.note(&format!("→ compare its SHA-256: {}", authority.fingerprint));
        out.note("→ how to install it: the page of this box, /trust");
    }
    let not_covered = shown.certificate.map(|certificate| certificate.left_out);
    let not_covered = not_covered.filter(|names| !names.is_empty() && !out.json);
    if let Some(names) = not_covered {
        let mark = out.mark(Mark::Look);
        out.note(&format!("{mark} Not covered: {}", names.join(" ")));
    }
    Ok(Exit::Ok)
}
