//! Measures the mesh beside bare libp2p, in turns of one run, against the goals for both.

mod bare;
mod ours;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use bare::Transport;
use ours::Pair;

/// Streams, or blocks, at once.
const STREAMS: usize = 8;
/// A block of the bench, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// Calls at once.
const CALLS_AT_ONCE: usize = 64;
/// A call of the bench, in bytes.
const CALL_BYTES: usize = 200;
const MIB: f64 = 1024.0 * 1024.0;

/// Blocks reach this share of the fastest transport.
const BLOCKS_SHARE: f64 = 0.5;
/// Calls reach this share of bare request-response.
const CALLS_SHARE: f64 = 1.0 / 1.5;
/// Among blocks, the slow calls take at most so many times what they take alone.
const AMONG_BLOCKS: f64 = 3.0;

/// Measures in turns and prints what was found, with the goals beside it.
///
/// # Errors
/// Nodes do not meet, or a call fails.
pub(super) fn bench(turn: Duration, rounds: u64, check: bool) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start runtime")?;
    let missed = runtime.block_on(measure(turn, rounds))?;
    Ok(if check && missed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn measure(turn: Duration, rounds: u64) -> Result<usize> {
    let pair = Pair::start().await?;
    let mut found = Found::default();
    for _ in 0..rounds {
        for (at, transport) in Transport::ALL.into_iter().enumerate() {
            found.bare_blocks[at].push(bare::bulk(transport, turn).await?);
            found.bare_calls[at].push(bare::calls(transport, turn).await?);
        }
        found.blocks.push(pair.bulk(turn).await?);
        found.calls.push(pair.calls(turn).await?);
        found.alone.push(pair.p99(turn, false).await?);
        found.among.push(pair.p99(turn, true).await?);
    }
    pair.stop().await;
    Ok(found.tell())
}

/// What each round found.
#[derive(Default)]
struct Found {
    bare_blocks: [Vec<f64>; 3],
    bare_calls: [Vec<f64>; 3],
    blocks: Vec<f64>,
    calls: Vec<f64>,
    alone: Vec<f64>,
    among: Vec<f64>,
}

impl Found {
    /// Prints all of it; how many goals were missed.
    fn tell(&self) -> usize {
        for (at, transport) in Transport::ALL.into_iter().enumerate() {
            let (blocks, calls) = (median(&self.bare_blocks[at]), median(&self.bare_calls[at]));
            println!(
                "bare {:<12} {:>6.0} MiB/s {:>8.0} calls/s",
                transport.name(),
                blocks / MIB,
                calls
            );
        }
        let (blocks, calls) = (median(&self.blocks), median(&self.calls));
        println!(
            "mesh              {:>6.0} MiB/s {:>8.0} calls/s",
            blocks / MIB,
            calls
        );
        let (alone, among) = (median(&self.alone), median(&self.among));
        println!(
            "p99 of a call: {:.2} ms alone, {:.2} ms among blocks",
            alone / 1e3,
            among / 1e3
        );
        let fastest = |rounds: &[Vec<f64>; 3]| rounds.iter().map(|rounds| median(rounds)).fold(0.0, f64::max);
        let goals = [
            goal(
                "blocks / fastest transport",
                blocks / fastest(&self.bare_blocks),
                BLOCKS_SHARE,
                true,
            ),
            goal(
                "calls / fastest request-response",
                calls / fastest(&self.bare_calls),
                CALLS_SHARE,
                true,
            ),
            goal("p99 among blocks / alone", among / alone, AMONG_BLOCKS, false),
        ];
        goals.into_iter().filter(|reached| !reached).count()
    }
}

/// Prints a goal; whether it was reached.
fn goal(what: &str, found: f64, limit: f64, at_least: bool) -> bool {
    let reached = if at_least { found >= limit } else { found <= limit };
    let (sign, verdict) = (
        if at_least { "≥" } else { "≤" },
        if reached { "ok" } else { "MISSED" },
    );
    println!("{what}: {found:.2} ({sign} {limit:.2}) {verdict}");
    reached
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// How fast a counter rises during a turn, after a fifth of it has passed.
async fn rate_of(counter: &AtomicU64, turn: Duration) -> f64 {
    tokio::time::sleep(turn / 5).await;
    let (start, before) = (Instant::now(), counter.load(Ordering::Relaxed));
    tokio::time::sleep(turn).await;
    let counted = counter.load(Ordering::Relaxed) - before;
    counted as f64 / start.elapsed().as_secs_f64()
}
