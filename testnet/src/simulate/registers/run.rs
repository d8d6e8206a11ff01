//! Runs many schedules on all processors, and shows the one that fails.

use std::fmt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use storage::register::{Broken, Mutant};

use super::heal::Stuck;
use super::seeds::{CAUGHT_BY_HAND, catching_seed};
use super::tally::Tally;
use super::world::World;
use crate::dice::fresh_seed;
use crate::simulate::linear::Verdict;

/// The options of `simulate registers`.
#[derive(Args)]
pub(crate) struct Options {
    /// How many schedules to run
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first of them; a random one unless told
    #[arg(long)]
    seed: Option<u64>,
    /// Break this rule of the protocol
    #[arg(long)]
    mutant: Option<String>,
    /// Show every step
    #[arg(long)]
    trace: bool,
}

impl Options {
    /// So many schedules from a seed on, of the protocol as it is.
    pub(crate) fn of(seeds: u64, seed: u64) -> Self {
        Self {
            seeds,
            seed: Some(seed),
            mutant: None,
            trace: false,
        }
    }
}

/// The options of `simulate mutants`.
#[derive(Args)]
pub(crate) struct MutantsOptions {
    /// Only this one
    #[arg(long)]
    mutant: Option<String>,
    /// How many schedules to try, where the known seed does not catch
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
}

/// Why a schedule fails.
enum Failure {
    /// A lane's history could not have happened one operation at a time.
    Violated(usize),
    /// Something does not recover.
    Stuck(Stuck),
}

impl Failure {
    fn is_violation(&self) -> bool {
        matches!(self, Self::Violated(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violated(lane) => write!(f, "the history of lane {lane} is not linearizable"),
            Self::Stuck(stuck) => write!(f, "it does not recover: {stuck:?}"),
        }
    }
}

/// Runs one schedule.
fn run(seed: u64, broken: Broken, is_traced: bool) -> (Tally, Option<(Failure, World)>) {
    let mut world = World::new(seed, broken, is_traced);
    world.run();
    let healed = world.heal();
    let mut tally = world.tally;
    tally.schedules = 1;
    tally.operations = world.history.answered();
    tally.faults = world.network.faults;
    for lane in 0..world.lanes.len() {
        match world.history.judge(lane) {
            Verdict::Linearizable => {}
            Verdict::TooLarge => tally.unjudged = 1,
            Verdict::Violated => return (tally, Some((Failure::Violated(lane), world))),
        }
    }
    match healed {
        Ok(()) => (tally, None),
        Err(stuck) => (tally, Some((Failure::Stuck(stuck), world))),
    }
}

/// Runs schedules until one fails as wanted; returns its seed.
fn search(
    first: u64,
    seeds: u64,
    broken: Broken,
    is_wanted: impl Fn(&Failure) -> bool + Sync,
) -> (Tally, Option<u64>) {
    let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
    let worker = || {
        let mut tally = Tally::default();
        while !found.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                break;
            }
            let seed = first.wrapping_add(number);
            let (more, failure) = run(seed, broken, false);
            tally += more;
            if failure.is_some_and(|(failure, _)| is_wanted(&failure)) {
                found.store(true, Ordering::Relaxed);
                return (tally, Some(seed));
            }
        }
        (tally, None)
    };
    let threads = thread::available_parallelism().map_or(1, |count| count.get());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = (Tally::default(), None);
        for worker in workers {
            // A worker that panicked has failed as well; its message is on the screen.
            let (tally, failed) = worker.join().unwrap_or((Tally::default(), Some(first)));
            all.0 += tally;
            all.1 = all.1.or(failed);
        }
        all
    })
}

/// Runs schedules and says what was checked.
///
/// # Errors
/// There is no such mutant, or the system has no random numbers.
pub(crate) fn registers(options: &Options) -> Result<ExitCode> {
    let mutant = options.mutant.as_deref().map(mutant).transpose()?;
    let broken = mutant.map_or(Broken::NOTHING, Broken::by);
    let first = options.seed.map_or_else(fresh_seed, Ok)?;
    println!("registers: {} schedules from seed {first}", options.seeds);
    if options.trace {
        let (_, failure) = run(first, broken, true);
        return Ok(report(first, mutant, failure));
    }
    let begun = Instant::now();
    let (tally, failed) = search(first, options.seeds, broken, |_| true);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    println!(
        "registers: {} schedules, {:.0} a minute: {tally}",
        tally.schedules,
        tally.schedules as f64 / minutes
    );
    let Some(seed) = failed else {
        return Ok(ExitCode::SUCCESS);
    };
    let (_, failure) = run(seed, broken, false);
    Ok(report(seed, mutant, failure))
}

fn report(seed: u64, mutant: Option<Mutant>, failure: Option<(Failure, World)>) -> ExitCode {
    let Some((failure, world)) = failure else {
        return ExitCode::SUCCESS;
    };
    println!("registers: FAILED at seed {seed}: {failure}");
    if let Failure::Violated(lane) = failure {
        print!("{}", world.history.show(lane));
    }
    let mutant = mutant.map_or(String::new(), |mutant| format!(" --mutant {mutant:?}"));
    println!(
        "again: cargo run --release -p testnet -- simulate registers --seed {seed} --seeds 1{mutant} --trace"
    );
    ExitCode::FAILURE
}

/// Proves that breaking any rule is noticed.
///
/// # Errors
/// There is no such mutant.
pub(crate) fn mutants(options: &MutantsOptions) -> Result<ExitCode> {
    let only = options.mutant.as_deref().map(mutant).transpose()?;
    let mut survivors = Vec::new();
    println!("{:<28} {:>10} {:>10}  found", "mutant", "seed", "schedules");
    for mutant in Mutant::ALL
        .into_iter()
        .filter(|mutant| only.is_none_or(|only| only == *mutant))
    {
        let broken = Broken::by(mutant);
        let (mut tally, mut seed) = search(catching_seed(mutant), 1, broken, Failure::is_violation);
        if seed.is_none() && only.is_none() && CAUGHT_BY_HAND.contains(&mutant) {
            println!(
                "{:<28} {:>10} {:>10}  by hand, in the tests of storage::register",
                format!("{mutant:?}"),
                "-",
                "-"
            );
            continue;
        }
        if seed.is_none() {
            let (more, found) = search(1, options.seeds, broken, Failure::is_violation);
            tally += more;
            seed = found;
        }
        let (name, schedules) = (format!("{mutant:?}"), tally.schedules);
        match seed.and_then(|seed| Some((seed, run(seed, broken, false).1?.0))) {
            Some((seed, failure)) => println!("{name:<28} {seed:>10} {schedules:>10}  {failure}"),
            None => {
                println!("{name:<28} {:>10} {schedules:>10}  SURVIVES", "-");
                survivors.push(name);
            }
        }
    }
    if survivors.is_empty() {
        println!("mutants: all are noticed");
        return Ok(ExitCode::SUCCESS);
    }
    println!("mutants: FAILED: nothing notices {}", survivors.join(", "));
    Ok(ExitCode::FAILURE)
}

fn mutant(name: &str) -> Result<Mutant> {
    let known = Mutant::ALL
        .into_iter()
        .find(|mutant| format!("{mutant:?}") == name);
    match known {
        Some(mutant) => Ok(mutant),
        None => bail!("no such mutant: {name}; there are {:?}", Mutant::ALL),
    }
}
