//! `warren net`: shows how other boxes reach this one, and what could be better.

use appliance::api::NetReport;
use clap::Subcommand;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum NetVerb {
    /// Check how other boxes reach this one
    Check,
}

pub(super) async fn run(verb: NetVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let NetVerb::Check = verb;
    let report: NetReport = client.get(&["net"]).await?;
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
        row(["TCP", report.congestion_control.as_deref().unwrap_or("–")]),
    ])?;
    for advice in &report.advice {
        out.note(&format!("{} {advice}", out.mark(Mark::Look)));
    }
    Ok(Exit::Ok)
}
