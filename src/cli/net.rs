//! `warren net`: shows how other boxes reach this one and what could be better, and limits how fast content flows.

use appliance::api::{FlowWay, NetReport, Schema, SetLimit};
use clap::{Subcommand, ValueEnum};
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
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
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum WayArg {
    /// From this box to others
    Up,
    /// From others to this box
    Down,
}

pub(super) async fn run(verb: NetVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let report: NetReport = match verb {
        NetVerb::Check => client.get(&["net"]).await?,
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
        row(["TCP", report.congestion_control.as_deref().unwrap_or("–")]),
    ])?;
    for advice in &report.advice {
        out.note(&format!("{} {advice}", out.mark(Mark::Look)));
    }
    Ok(Exit::Ok)
}
