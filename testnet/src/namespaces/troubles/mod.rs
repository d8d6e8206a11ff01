//! What owners meet sooner or later, one after the other in one mesh: a box wiped, a block damaged, a disk full, a clock a year
//! off, a home that leaves, and two homes of which one is away. Each tells what people see meanwhile, and nothing is lost.

mod belongings;
mod locked;
mod stories;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use self::belongings::Belongings;
use self::stories::{Story, Verdict};
use super::disk;
use super::evidence::{keep_disks, keep_if_wrong, panics};
use super::town::Town;
use crate::bench::find_or_build;
use crate::dice::{Dice, fresh_seed};

/// The bucket that everything is in.
const BUCKET: &str = "things";
const BOXES: usize = 3;

/// The options of the scenario.
#[derive(Args)]
pub(super) struct Options {
    /// How long the second of two homes is away, in seconds
    #[arg(long, default_value_t = 20)]
    away: u64,
    /// Store the same things as an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// A folder for logs, kept when something is wrong
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// Plays all stories; the number of promises broken.
///
/// # Errors
/// The lab refuses; the message names the seed.
pub(super) fn troubles(options: &Options) -> Result<usize> {
    let program = find_or_build()?;
    disk::mount_in_private()?;
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    let away = Duration::from_secs(options.away);
    keep_if_wrong(("troubles", seed, &options.dir), |folder| {
        let mut town = Town::found((&program, folder), (BOXES, 0), BUCKET)?;
        let mut things = Belongings::new(BUCKET, Dice::new(seed));
        let mut wrongs = Vec::new();
        if let Err(error) = play(&mut town, &mut things, away) {
            wrongs.push(format!("{error:#}"));
            keep_disks(&town)?;
        }
        wrongs.extend(panics(&town)?);
        Ok(wrongs)
    })
}

fn play(town: &mut Town, things: &mut Belongings, away: Duration) -> Result<()> {
    things.store(town, &[0, 1, 2])?;
    let stories: [(&str, Story); 6] = [
        ("a damaged block is mended", stories::damaged_block),
        ("a box is wiped and joins anew", stories::wiped_box),
        ("a disk fills up", stories::full_disk),
        ("a clock is a year ahead", stories::clock_ahead),
        ("a home leaves for good", stories::home_leaves),
        ("of two homes one is away", stories::one_of_two_away),
    ];
    for (name, story) in stories {
        let began = Instant::now();
        println!("  {name}");
        let verdict = story(town, things, away).context(name)?;
        if let Verdict::Skipped(why) = verdict {
            println!("SKIPPED troubles: {name}: {why}");
            continue;
        }
        let members = town.members();
        let read = things.are_all_there(town, &members)?;
        println!(
            "troubles: {name}: kept, {read} objects read back, {:.1} s",
            began.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
