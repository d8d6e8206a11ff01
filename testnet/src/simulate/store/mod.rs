//! Whole stores on simulated disks: thousands of schedules a minute, each repeatable by its seed.

mod check;
mod client;
mod history;
mod plan;
#[cfg(test)]
mod tests;
mod world;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use world::Outcome;

/// How many schedules to run, and which.
#[derive(Args)]
pub(crate) struct Options {
    /// Schedules to run
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed; the others follow it. Random if not given
    #[arg(long)]
    seed: Option<u64>,
    /// Threads to run them on; one for each core if not given
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs schedules until one fails or all are done; says whether all promises held.
pub(crate) fn simulate(options: &Options) -> Result<ExitCode> {
    let first = match options.seed {
        Some(seed) => seed,
        None => u64::from(fresh_seed()?),
    };
    let threads = match options.threads {
        Some(threads) => threads.max(1),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    println!("simulate store: {} schedules from seed {first}", options.seeds);
    let began = Instant::now();
    let (next, sum, failed) = (
        AtomicU64::new(0),
        Mutex::new(Outcome::default()),
        Mutex::new(None),
    );
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds || lock(&failed).is_some() {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let outcome = world::run(seed);
                    if let Some(broken) = &outcome.broken {
                        lock(&failed).get_or_insert((seed, broken.clone()));
                    }
                    add(&mut lock(&sum), &outcome);
                }
            });
        }
    });
    let sum = lock(&sum).clone();
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    if let Some((seed, broken)) = &*lock(&failed) {
        println!("simulate store: FAILED with seed {seed}: {broken}");
        println!("replay: cargo run --release -p testnet -- simulate store --seeds 1 --seed {seed}");
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "simulate store: {} schedules, {:.0} a minute; {} calls, {} answers checked, {} faults; nothing broken",
        options.seeds,
        options.seeds as f64 / minutes,
        sum.calls,
        sum.checked,
        sum.faults
    );
    Ok(ExitCode::SUCCESS)
}

fn add(sum: &mut Outcome, outcome: &Outcome) {
    sum.calls += outcome.calls;
    sum.checked += outcome.checked;
    sum.faults += outcome.faults;
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
