//! Kills boxes of a mesh under load, again and again: nothing acknowledged may be lost, and no block left that nothing refers to.

mod ledger;
mod load;
mod verify;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use serde_json::Value;

use self::load::Worker;
use self::verify::Allowed;
use super::disk;
use super::evidence::{keep_disks, keep_if_wrong, panics};
use super::home::within;
use super::town::Town;
use crate::bench::find_or_build;
use crate::dice::{Dice, fresh_seed};

/// The bucket that everything happens in.
const BUCKET: &str = "kill";
const BOXES: usize = 3;
/// Clients of each box.
const WORKERS: usize = 2;
/// How long nobody is killed, in milliseconds.
const LIFE_MS: std::ops::Range<u64> = 100..1500;
/// How long whoever was killed stays away, in milliseconds.
const AWAY_MS: std::ops::Range<u64> = 0..900;
/// Of so many rounds one kills two boxes, or all.
const TWO: f64 = 0.2;
const ALL: f64 = 0.04;
/// After so many rounds everything is read back, so that it is known about when something was lost.
const ROUNDS_BETWEEN: u64 = 25;
/// How soon a box that was killed is ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How soon every box is well after the last kill.
const WELL_WITHIN: Duration = Duration::from_secs(300);
/// How long a sweep of the mesh may take, in seconds.
const SWEEP_S: u32 = 300;
/// How soon no block is left after everything was deleted.
const EMPTY_WITHIN: Duration = Duration::from_secs(120);

/// The options of the scenario.
#[derive(Args)]
pub(super) struct Options {
    /// How many times boxes are killed
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// Repeat the decisions of an earlier run; the moments at which they meet the disk differ
    #[arg(long)]
    seed: Option<u64>,
    /// A folder for logs, kept when something is wrong
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// Runs it; the number of promises broken.
///
/// # Errors
/// The lab refuses; the message names the seed.
pub(super) fn kill(options: &Options) -> Result<usize> {
    let program = find_or_build()?;
    disk::mount_in_private()?;
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    keep_if_wrong(("mesh-kill", seed, &options.dir), |folder| {
        let mut town = Town::found((&program, folder), (BOXES, 0), BUCKET)?;
        println!("  the mesh is well");
        let mut summary = Summary::default();
        let began = Instant::now();
        let played = play(&mut town, (options.rounds, Dice::new(seed)), &mut summary);
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        println!("mesh-kill: seed {seed}, {summary}, in {minutes:.1} min");
        let mut wrongs = panics(&town)?;
        if let Err(error) = played {
            wrongs.push(format!("{error:#}"));
        }
        if !wrongs.is_empty() {
            keep_disks(&town)?;
        }
        Ok(wrongs)
    })
}

/// What a run has done.
#[derive(Default)]
struct Summary {
    rounds: u64,
    kills: usize,
    /// Rounds that killed two boxes, and all.
    two: u64,
    all: u64,
    acknowledged: u64,
    unanswered: u64,
    /// Objects that were read back, once for each box.
    read: usize,
    removed: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            kills,
            two,
            all,
            acknowledged,
            unanswered,
            read,
            removed,
        } = self;
        write!(
            f,
            "{rounds} rounds, {kills} kills ({two} times two boxes, {all} times all), {acknowledged} acknowledged writes, \
             {unanswered} unanswered, {read} objects read back, {removed} unreferenced blocks removed"
        )
    }
}

fn play(town: &mut Town, (rounds, mut dice): (u64, Dice), summary: &mut Summary) -> Result<()> {
    let mut workers: Vec<_> = (0..BOXES * WORKERS)
        .map(|number| Worker::new(number, dice.another()))
        .collect();
    // Keys whose write was not answered before everything was read back the last time: nothing of it is under way any more.
    let mut settled: Vec<Vec<String>> = vec![Vec::new(); workers.len()];
    while summary.rounds < rounds {
        let some = ROUNDS_BETWEEN.min(rounds - summary.rounds);
        let crowd = Crowd::start(town, workers);
        let killed = (0..some).try_for_each(|_| round(town, &mut dice, summary));
        workers = crowd.stop()?;
        killed?;
        (summary.acknowledged, summary.unanswered) = (0, 0);
        for worker in &workers {
            summary.acknowledged += worker.acknowledged;
            summary.unanswered += worker.unanswered;
        }
        let objects = read_back(town, &workers, summary)?;
        println!(
            "  after {}: {objects} objects are as they should be, at every box",
            summary.rounds
        );
        for (worker, keys) in workers.iter_mut().zip(&mut settled) {
            verify::delete(&town.street.namespace(0), &town.signer, keys.clone())?;
            keys.iter().for_each(|key| worker.ledger.forget(key));
            *keys = worker.ledger.unanswered();
        }
    }
    let well = town.is_well(WELL_WITHIN)?;
    println!("  every box is well after {:.1} s", well.as_secs_f64());
    nothing_is_left_over(town, &workers, summary)
}

/// Once all uploads are ended a sweep leaves nothing but what objects refer to: everything can be read, and when they are
/// deleted no box holds any block.
fn nothing_is_left_over(town: &Town, workers: &[Worker], summary: &mut Summary) -> Result<()> {
    let first = town.street.namespace(0);
    let aborted = verify::abort_uploads(&first, &town.signer)?;
    let began = Instant::now();
    let swept = sweep(town)?;
    summary.removed = swept["removed"].as_u64().context("what was removed")?;
    println!(
        "  {aborted} uploads ended; swept in {:.1} s: {} removed",
        began.elapsed().as_secs_f64(),
        summary.removed
    );
    let objects = read_back(town, workers, summary)?;
    println!("  {objects} objects are still as they should be, at every box");
    for worker in workers {
        verify::delete(
            &first,
            &town.signer,
            worker.ledger.allowed().into_keys().collect(),
        )?;
    }
    let mut left = Value::Null;
    let gone = within(EMPTY_WITHIN, || {
        left = sweep(town)?["boxes"].take();
        let boxes = left.as_array().context("find the boxes")?;
        Ok(boxes.iter().all(|one| one["held"] == 0))
    })?;
    let gone = gone.with_context(|| format!("blocks are left that nothing refers to: {left}"))?;
    println!(
        "  everything is deleted; no block is left after {:.1} s",
        gone.as_secs_f64()
    );
    Ok(())
}

/// Has the mesh sweep, and waits until it has.
fn sweep(town: &Town) -> Result<Value> {
    let swept = town.seats[0].home.tell(&["repair", "sweep"], SWEEP_S)?;
    ensure!(
        swept.code == 0,
        "warren repair sweep: {} ({})",
        swept.error,
        swept.code
    );
    Ok(swept.document)
}

/// Kills a box, or more, at some moment, and has it started again.
fn round(town: &mut Town, dice: &mut Dice, summary: &mut Summary) -> Result<()> {
    thread::sleep(Duration::from_millis(dice.within(LIFE_MS)));
    let first = dice.below(BOXES);
    let count = match (dice.chance(ALL), dice.chance(TWO)) {
        (true, _) => BOXES,
        (false, true) => 2,
        (false, false) => 1,
    };
    summary.two += u64::from(count == 2);
    summary.all += u64::from(count == BOXES);
    let killed = (0..count).map(|next| (first + next) % BOXES);
    for number in killed {
        let home = &mut town.seats[number].home;
        ensure!(home.is_running()?, "box {number} ended by itself");
        home.kill();
        summary.kills += 1;
        // Not all in the same moment.
        thread::sleep(Duration::from_millis(dice.within(0..100)));
    }
    thread::sleep(Duration::from_millis(dice.within(AWAY_MS)));
    let mut heard = Vec::new();
    for seat in &town.seats {
        heard.push(seat.home.logged_bytes());
    }
    for (number, _) in town.start_all()? {
        let home = &mut town.seats[number].home;
        let ready = within(READY_WITHIN, || {
            ensure!(home.is_running()?, "box {number} ended by itself after a kill");
            home.is_ready_since(heard[number])
        })?;
        ready.with_context(|| format!("box {number} is not ready after a kill"))?;
    }
    summary.rounds += 1;
    Ok(())
}

/// Reads everything at every box; how many objects there are.
fn read_back(town: &Town, workers: &[Worker], summary: &mut Summary) -> Result<usize> {
    let mut allowed = Allowed::new();
    workers
        .iter()
        .for_each(|worker| allowed.extend(worker.ledger.allowed()));
    let namespaces: Vec<_> = (0..BOXES).map(|number| town.street.namespace(number)).collect();
    let objects = verify::everywhere(&namespaces, &town.signer, &allowed);
    let objects = objects.with_context(|| format!("after {} rounds", summary.rounds))?;
    summary.read += objects * BOXES;
    Ok(objects)
}

/// The clients of all boxes while boxes are killed.
struct Crowd {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Worker>>>,
}

impl Crowd {
    fn start(town: &Town, workers: Vec<Worker>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let start = |worker: Worker| {
            let namespace = town.street.namespace(worker.number / WORKERS);
            let (signer, is_over) = (town.signer.clone(), Arc::clone(&is_over));
            thread::spawn(move || worker.run(&namespace, &signer, &is_over))
        };
        let threads = workers.into_iter().map(start).collect();
        Self { is_over, threads }
    }

    fn stop(self) -> Result<Vec<Worker>> {
        self.is_over.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(JoinHandle::join);
        ended
            .map(|ended| ended.map_err(|_| anyhow!("a client died"))?)
            .collect()
    }
}
