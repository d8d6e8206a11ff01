//! Whole stores on simulated disks: thousands of schedules a minute, each repeatable by its seed.

pub(super) mod check;
mod client;
mod history;
mod plan;
#[cfg(test)]
mod tests;
mod versions;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

pub(super) use client::{Client, Noted};
pub(super) use plan::Plan;
pub(super) use world::{Outcome, owner};

/// How many schedules to run, and which.
#[derive(Args)]
pub(crate) struct Options {
    /// Schedules to run
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Begin no schedule after so many seconds
    #[arg(long)]
    seconds: Option<u64>,
    /// The first seed; the others follow it. Random if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Threads to run them on; one for each core if not given
    #[arg(long)]
    threads: Option<usize>,
}

impl Options {
    /// So many schedules from a seed on.
    pub(crate) fn of(seeds: u64, seed: u64) -> Self {
        Self {
            seeds,
            seed: Some(seed),
            seconds: None,
            threads: None,
        }
    }
}

/// What is simulated: its name on the command line, and one schedule of it.
#[derive(Clone, Copy)]
pub(crate) struct What {
    pub(crate) name: &'static str,
    pub(crate) run: fn(u64) -> Outcome,
}

/// A store alone.
pub(crate) const STORE: What = What {
    name: "store",
    run: world::run,
};

/// Runs schedules until one fails or all are done; says whether all promises held.
pub(crate) fn simulate(what: What, options: &Options) -> Result<ExitCode> {
    let first = match options.seed {
        Some(seed) => seed,
        None => u64::from(fresh_seed()?),
    };
    let threads = match options.threads {
        Some(threads) => threads.max(1),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    println!(
        "simulate {}: up to {} schedules from seed {first}",
        what.name, options.seeds
    );
    let began = Instant::now();
    let time = Duration::from_secs(options.seconds.unwrap_or(u64::MAX));
    let shared = Shared {
        what,
        first,
        seeds: options.seeds,
        until: began.checked_add(time),
        next: AtomicU64::new(0),
        sum: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| shared.work());
        }
    });
    let sum = lock(&shared.sum).clone();
    Ok(report(what, &sum, began.elapsed()))
}

/// What the threads share.
struct Shared {
    what: What,
    first: u64,
    seeds: u64,
    until: Option<Instant>,
    next: AtomicU64,
    sum: Mutex<Sum>,
}

/// What all schedules came to.
#[derive(Clone, Default)]
struct Sum {
    schedules: u64,
    all: Outcome,
    /// The first seed that failed, and how.
    failed: Option<(u64, String)>,
}

impl Shared {
    /// Runs one schedule after another until none is left, the time is over or one has failed.
    fn work(&self) {
        while lock(&self.sum).failed.is_none() && self.until.is_none_or(|until| Instant::now() < until) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.seeds {
                return;
            }
            let seed = self.first.wrapping_add(number);
            let outcome = (self.what.run)(seed);
            let mut sum = lock(&self.sum);
            sum.schedules += 1;
            sum.all.calls += outcome.calls;
            sum.all.checked += outcome.checked;
            sum.all.faults += outcome.faults;
            sum.all.changes += outcome.changes;
            sum.all.forgetful += outcome.forgetful;
            if let Some(broken) = outcome.broken {
                sum.failed.get_or_insert((seed, broken));
            }
        }
    }
}

fn report(what: What, sum: &Sum, took: Duration) -> ExitCode {
    if let Some((seed, broken)) = &sum.failed {
        let name = what.name;
        println!("simulate {name}: FAILED with seed {seed}: {broken}");
        println!("replay: cargo run --release -p testnet -- simulate {name} --seeds 1 --seed {seed}");
        return ExitCode::FAILURE;
    }
    println!(
        "simulate {}: {} schedules, {:.0} a minute; {} calls, {} answers checked, {} faults, {} changes of voters, \
         {} disks set back; nothing broken",
        what.name,
        sum.schedules,
        sum.schedules as f64 * 60.0 / took.as_secs_f64(),
        sum.all.calls,
        sum.all.checked,
        sum.all.faults,
        sum.all.changes,
        sum.all.forgetful
    );
    ExitCode::SUCCESS
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A seed short enough to be typed.
fn fresh_seed() -> Result<u32> {
    let mut bytes = [0; 4];
    let random = std::fs::File::open("/dev/urandom").context("open the system's random numbers")?;
    std::io::Read::read_exact(&mut &random, &mut bytes).context("read the system's random numbers")?;
    Ok(u32::from_le_bytes(bytes))
}
