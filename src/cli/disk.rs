//! `warren disk`: the directories in which the box keeps blocks.

use std::time::Duration;

use appliance::ByteSize;
use appliance::api::{DiskList, DiskShown, DiskState, Schema, ScrubShown, SetPaused};
use clap::Subcommand;
use hyper::Method;
use tokio::time::sleep;

use super::failure::{Exit, Failure};
use super::output::{Mark, Output, row};
use crate::admin_client::AdminClient;

#[derive(Subcommand)]
pub(super) enum DiskVerb {
    /// List the directories of blocks, how full they are, and which of them do not work
    Ls,
    /// Read and prove all blocks of this box now, and wait until that is done; exit code 1 where some are damaged or a disk is not there
    Verify,
}

/// How long before the node is asked again how far it is.
const ASK_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(verb: DiskVerb, client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    match verb {
        DiskVerb::Ls => list(client, out).await,
        DiskVerb::Verify => verify(client, out).await,
    }
}

async fn list(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let list: DiskList = client.get(&["disks"]).await?;
    if out.json {
        out.document(&list)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![row(["DISK", "STATE", "USED", "GIVEN", "DAMAGED", "LOST"])];
    rows.extend(list.disks.iter().map(shown));
    out.table(&rows)?;
    if list.disks.iter().any(|disk| disk.state == DiskState::Missing) {
        out.note("→ mount what is not there, then start the box again");
    }
    Ok(Exit::Ok)
}

async fn verify(client: &AdminClient, out: &Output) -> Result<Exit, Failure> {
    let start = SetPaused {
        schema: Schema,
        paused: false,
    };
    let mut scrub: ScrubShown = client.send(Method::PUT, &["scrub", "paused"], &start).await?;
    if is_under_way(&scrub) {
        out.note("reads and proves all blocks; it goes on where you do not wait: warren scrub status");
    }
    while is_under_way(&scrub) {
        sleep(ASK_EVERY).await;
        scrub = client.get(&["scrub"]).await?;
        if scrub.paused {
            let paused = Failure::new(
                Exit::Conflict,
                "somebody paused it before all blocks were verified",
            );
            return Err(paused.hint("go on with warren disk verify"));
        }
    }
    let (mark, found) = match scrub.damaged {
        0 => (Mark::Good, "none is damaged".to_owned()),
        1 => (Mark::Bad, "1 is damaged".to_owned()),
        damaged => (Mark::Bad, format!("{damaged} are damaged")),
    };
    match out.json {
        true => out.document(&scrub)?,
        false => out.data(&format!(
            "{} {} blocks verified, {}: {found}",
            out.mark(mark),
            scrub.blocks,
            ByteSize(scrub.bytes)
        ))?,
    }
    let list: DiskList = client.get(&["disks"]).await?;
    let is_missing = |disk: &&DiskShown| disk.state == DiskState::Missing;
    let missing: Vec<&str> = list
        .disks
        .iter()
        .filter(is_missing)
        .map(|disk| disk.path.as_str())
        .collect();
    if !missing.is_empty() {
        out.note(&format!(
            "→ not read, for it is not there: {}",
            missing.join(", ")
        ));
    }
    Ok(match scrub.damaged == 0 && missing.is_empty() {
        true => Exit::Ok,
        false => Exit::Error,
    })
}

fn is_under_way(scrub: &ScrubShown) -> bool {
    scrub.asked || scrub.began.is_some()
}

fn shown(disk: &DiskShown) -> Vec<String> {
    row([
        &disk.path,
        disk.state.says(),
        &ByteSize(disk.used).to_string(),
        &ByteSize(disk.given).to_string(),
        &disk.damaged.to_string(),
        &disk.lost.to_string(),
    ])
}
