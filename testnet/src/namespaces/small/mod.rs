//! A box with the memory of a small board joins a home that has a million objects: it takes them all over, serves, misses
//! some and gets them, verifies everything, and never has more memory than the board.
//!
//! Objects are as small as they can be while they still have a block of their own, so that rows, references and blocks are
//! as many as of 100 GB and the disk of the machine that plays this need not be as large.

mod clients;
mod memory;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use self::clients::{Ask, ask_all};
use self::memory::{Memory, resident};
use super::evidence::keep_if_wrong;
use super::home::{Home, within};
use super::street::Street;
use super::town::online;
use crate::bench::find_or_build;
use crate::client::Signer;

/// The bucket that everything is in.
const BUCKET: &str = "shelves";
/// Longer than what is kept in a row.
const OBJECT_BYTES: u64 = 4200;
/// How long the two may take to meet.
const MEET_WITHIN: Duration = Duration::from_secs(120);
/// How long each object may take to be at both, and how long everything else may take.
const EACH_WITHIN: Duration = Duration::from_millis(20);
const ALL_WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at how the boxes are.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a command may take, in seconds.
const COMMAND_S: u32 = 120;
/// Pages and objects that are asked for.
const PAGES: u64 = 2_000;
const READS: u64 = 20_000;
/// One in so many objects is written while the small box is off.
const MISSED: u64 = 50;

/// The options of the scenario.
#[derive(Args)]
pub(super) struct Options {
    /// Objects, each with a block of its own
    #[arg(long, default_value_t = 1_000_000)]
    objects: u64,
    /// The memory of the small box, in MiB
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// A folder for the boxes and their logs, kept when something is wrong
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// Two homes: one has everything, the other little memory.
struct Pair {
    // Before the street and the limit, since boxes end before those do.
    large: Home,
    small: Home,
    signer: Signer,
    memory: Memory,
    _street: Street,
}

/// Plays it; the number of promises broken.
///
/// # Errors
/// The lab refuses.
pub(super) fn small(options: &Options) -> Result<usize> {
    let program = find_or_build()?;
    let memory = match Memory::limit(options.mib << 20)? {
        Ok(memory) => memory,
        Err(why) => {
            println!("SKIPPED small: {why}");
            return Ok(0);
        }
    };
    keep_if_wrong(("small", options.objects, &options.dir), |folder| {
        let street = Street::build(2).context("build the street")?;
        let home = |number: usize| {
            let mut home = Home::new(
                street.namespace(number),
                folder.join(format!("box{number}")),
                &program,
            )?;
            home.set("WARREN_ZONE", &format!("home{number}"));
            Ok::<_, anyhow::Error>(home)
        };
        let (mut large, small) = (home(0)?, home(1)?);
        large.start(&[])?;
        let signer = large.signer()?;
        large.say(&["bucket", "create", BUCKET, "--owner", "lab"])?;
        let mut pair = Pair {
            large,
            small,
            signer,
            memory,
            _street: street,
        };
        pair.play(options.objects)?;
        Ok(Vec::new())
    })
}

impl Pair {
    fn play(&mut self, objects: u64) -> Result<()> {
        let patience = ALL_WITHIN + EACH_WITHIN * u32::try_from(objects).unwrap_or(u32::MAX);
        let rate = ask_all(
            (self.large.namespace(), &self.signer),
            Ask::Put,
            |place| place,
            objects,
        )?;
        println!("  {objects} objects stored, {rate:.0} a second");

        let began = Instant::now();
        self.small.join(&self.large, "small")?;
        self.start()?;
        let met = within(MEET_WITHIN, || Ok(online(&self.large.say(&["status"])?) == 2))?;
        met.context("the boxes do not meet")?;
        self.large.say(&["layout", "settle"])?;
        self.are_well(patience).context("taking everything over")?;
        self.tell("takes everything over", began, objects)?;

        for (what, name, count) in [
            (Ask::Get, "reads", READS.min(objects)),
            (Ask::Page, "lists pages of", PAGES.min(objects)),
        ] {
            let began = Instant::now();
            let spread = |place: u64| place * 7919 % objects;
            ask_all((self.small.namespace(), &self.signer), what, spread, count)?;
            self.tell(name, began, count)?;
        }

        self.small.kill();
        let (began, missed) = (Instant::now(), objects.div_ceil(MISSED));
        let new = |place| objects + place;
        ask_all((self.large.namespace(), &self.signer), Ask::Put, new, missed)?;
        self.start()?;
        self.are_well(patience).context("getting what it missed")?;
        self.tell("gets what it missed of", began, missed)?;
        ask_all((self.small.namespace(), &self.signer), Ask::Get, new, missed)?;

        let began = Instant::now();
        let before = self.small.say(&["scrub", "status"])?["finished"].clone();
        self.small.say(&["scrub", "start"])?;
        let verified = within(patience, || {
            std::thread::sleep(LOOK_EVERY);
            self.is_within_memory()?;
            let scrub = self.small.say(&["scrub", "status"])?;
            let is_over = scrub["began"].is_null() && scrub["finished"] != before;
            ensure!(!is_over || scrub["damaged"] == 0, "blocks are damaged: {scrub}");
            Ok(is_over)
        })?;
        verified.context("verifying takes too long")?;
        self.tell("verifies", began, objects + missed)
    }

    /// Starts the small box, with no more memory than it is to have.
    fn start(&mut self) -> Result<()> {
        self.small.start_in(|process| self.memory.take(process))
    }

    /// Waits until both say that all is well, which they verify before.
    fn are_well(&mut self, patience: Duration) -> Result<()> {
        let well = within(patience, || {
            std::thread::sleep(LOOK_EVERY);
            self.is_within_memory()?;
            let is_well = |home: &Home| Ok::<_, anyhow::Error>(home.tell(&["status"], COMMAND_S)?.code == 0);
            Ok(is_well(&self.large)? && is_well(&self.small)?)
        })?;
        well.map(drop).context("not well in time")
    }

    /// The small box runs, and had enough memory all the time.
    fn is_within_memory(&mut self) -> Result<()> {
        ensure!(self.memory.kills()? == 0, "the memory of the small box ran out");
        ensure!(self.small.is_running()?, "the small box ended by itself");
        Ok(())
    }

    fn tell(&mut self, what: &str, began: Instant, count: u64) -> Result<()> {
        self.is_within_memory()?;
        let (most, now) = resident(self.small.process().context("the small box does not run")?)?;
        println!(
            "small: {what} {count} objects, {:.1} s; {} MiB in use, {} at most",
            began.elapsed().as_secs_f64(),
            now >> 20,
            most >> 20
        );
        Ok(())
    }
}
