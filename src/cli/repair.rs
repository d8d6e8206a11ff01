//! `warren repair` and `warren scrub`: what is being repaired and verified.

mod sweep;

use appliance::api::{RepairBox, RepairShown, Schema, ScrubShown, SetPaused};
use appliance::{ByteSize, lasted};
use clap::Subcommand;
use hyper::Method;

use super::failure::{Exit, Failure};
use super::output::{Output, row};
use super::status::behind;
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum RepairVerb {
    /// Show what each box lacks and when it will have it, and how far it is compared, swept and verified
    Status,
    /// Have all boxes free the blocks that nothing refers to: what power failures left behind. It waits until that is done, and
    /// until writes have ended that are under way; without it each box does so every week
    Sweep,
}

#[derive(Subcommand)]
pub(super) enum ScrubVerb {
    /// Read and prove all blocks of this box, from now on; or go on where it was paused
    Start,
    /// Stop that until it is started again, or until the box restarts
    Pause,
    /// Show how far it has come
    Status,
}

pub(super) async fn run(verb: RepairVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    match verb {
        RepairVerb::Status => status(client, out).await,
        RepairVerb::Sweep => sweep::run(client, out).await,
    }
}

async fn status(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let repair: RepairShown = client.get(&["repair"]).await?;
    if out.json {
        out.document(&repair)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![row([
        "#", "BOX", "BEHIND", "SINCE", "READY IN", "PROVEN", "COMPARED", "SWEEP", "VERIFIED",
    ])];
    rows.extend(repair.boxes.iter().map(shown));
    out.table(&rows)?;
    Ok(Exit::Ok)
}

fn shown(one: &RepairBox) -> Vec<String> {
    let nothing = || "–".to_owned();
    let seconds = |seconds: Option<u64>| seconds.map_or_else(nothing, lasted);
    let is_behind = !one.behind.is_nothing();
    let (proven, compared) = match one.told_seconds {
        None => ("?".to_owned(), "?".to_owned()),
        Some(_) => (
            format!("{}%", one.proven_percent),
            match one.uncompared {
                0 => one.compared.clone().unwrap_or_else(nothing),
                partitions => format!("{partitions} of 257 to do"),
            },
        ),
    };
    row([
        &one.member.to_string(),
        &one.name,
        &behind(&one.behind),
        &seconds(one.behind.since_seconds),
        &seconds(one.behind.eta_seconds.filter(|_| is_behind)),
        &proven,
        &compared,
        &one.swept.to_string(),
        &scrubbed(&one.scrub),
    ])
}

fn scrubbed(scrub: &ScrubShown) -> String {
    let damaged = match scrub.damaged {
        0 => String::new(),
        damaged => format!(", {damaged} damaged"),
    };
    match (&scrub.began, &scrub.finished) {
        (Some(_), _) => format!("{} so far{damaged}", ByteSize(scrub.bytes)),
        (None, Some(finished)) => format!("{finished}{damaged}"),
        (None, None) => "not yet".into(),
    }
}

pub(super) async fn scrub(verb: ScrubVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let set = async |paused| {
        let request = SetPaused {
            schema: Schema,
            paused,
        };
        client
            .send::<ScrubShown>(Method::PUT, &["scrub", "paused"], &request)
            .await
    };
    let scrub: ScrubShown = match verb {
        ScrubVerb::Start => set(false).await?,
        ScrubVerb::Pause => set(true).await?,
        ScrubVerb::Status => client.get(&["scrub"]).await?,
    };
    match out.json {
        true => out.document(&scrub)?,
        false => {
            let paused = if scrub.paused { "paused; " } else { "" };
            out.data(&format!(
                "{paused}verified: {}; {} blocks, {} in this pass",
                scrubbed(&scrub),
                scrub.blocks,
                ByteSize(scrub.bytes)
            ))?;
        }
    }
    Ok(Exit::Ok)
}
