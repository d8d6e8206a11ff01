//! Real boxes under load while everything goes wrong: every history must be linearizable, and nothing acknowledged lost.

mod client;
mod crowd;
mod keeper;
mod nemesis;
mod plan;
mod read_back;
mod record;
mod register;
mod set;
mod value;
mod versions;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::disk;
use super::evidence::{keep_disks, keep_if_wrong, panics};
use super::town::Town;
use crate::bench::find_or_build;
use crate::dice::fresh_seed;
use nemesis::Nemesis;

pub(super) use client::BUCKET;
pub(super) use crowd::Crowd;
pub(super) use read_back::everywhere;
pub(super) use record::Record;

/// Homes whose boxes are no members at first.
const SPARES: usize = 1;
/// A mesh is left with no fewer members.
const MEMBERS_MIN: usize = 3;
/// How soon every box is well again after everything is good again.
const WELL_WITHIN: Duration = Duration::from_secs(180);

/// The options of the scenario.
#[derive(Args)]
pub(super) struct Options {
    /// How long things go wrong, in minutes
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Repeat what went wrong in an earlier run, and what clients chose; the moments at which they meet differ
    #[arg(long)]
    seed: Option<u64>,
    /// Boxes in the mesh at first; one more waits to join
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    nodes: u8,
    /// A folder for logs, kept when something is wrong
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// Runs it; the number of promises broken.
///
/// # Errors
/// The lab refuses, or the mesh does not come together; the message names the seed.
pub(super) fn histories(options: &Options) -> Result<usize> {
    let program = find_or_build()?;
    disk::mount_in_private()?;
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    let length = Duration::try_from_secs_f64(options.minutes * 60.0).context("read --minutes")?;
    let nodes = usize::from(options.nodes);
    keep_if_wrong(("histories", seed, &options.dir), |folder| {
        println!("histories: {nodes} boxes, {length:?}");
        run((&program, folder), (seed, nodes, length))
    })
}

/// Everything that is wrong.
fn run(
    (program, folder): (&Path, &Path),
    (seed, nodes, length): (u64, usize, Duration),
) -> Result<Vec<String>> {
    let mut town = Town::found((program, folder), (nodes, SPARES), BUCKET)?;
    println!("  the mesh is well");
    town.seats[0]
        .home
        .make_bucket_with_locks(&town.signer, keeper::KEEPING)?;
    let record = Arc::new(Record::new(0));
    let crowd = Crowd::start(&town, &record, seed)?;
    let mut nemesis = Nemesis::new(&mut town, MEMBERS_MIN);
    let followed = nemesis.follow(&plan::plan(seed, nodes, length), length);
    crowd.stop()?;
    followed?;
    nemesis.heal()?;
    let Nemesis {
        counts,
        skipped,
        ended,
        ..
    } = nemesis;
    let mut summary = format!("histories: seed {seed}, {}", record.told());
    for (kind, count) in counts {
        // Writing to a String cannot fail.
        let _ = write!(summary, "; {kind} {count}");
    }
    println!("{summary}; {ended} boxes ended by themselves");
    for kind in skipped {
        println!(
            "SKIPPED histories: {kind}, since nothing can be loaded into the server (no cc, or it is linked statically)"
        );
    }
    let well = town.is_well(WELL_WITHIN);
    let read = everywhere(&town, &record);
    let (mut wrongs, judged) = record.judge();
    match well {
        Ok(took) => println!("histories: every box is well after {:.1} s", took.as_secs_f64()),
        Err(error) => wrongs.push(format!("{error:#}")),
    }
    match read {
        Ok(reads) => {
            println!("histories: {judged} histories judged, after {reads} reads of everything at every box")
        }
        Err(error) => wrongs.push(format!("{error:#}")),
    }
    wrongs.extend(panics(&town)?);
    if !wrongs.is_empty() {
        keep_disks(&town)?;
    }
    Ok(wrongs)
}
