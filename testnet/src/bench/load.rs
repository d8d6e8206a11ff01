//! Drives a server with a fixed number of connections for a bounded time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use hdrhistogram::Histogram;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::measured::{Round, latencies};
use super::work::Work;
use crate::client::{Connection, Signer};

/// An operation that takes longer fails the run instead of hanging it.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A load: what to do, to whom, how much of it.
pub(crate) struct Load {
    /// The server.
    pub(crate) address: SocketAddr,
    /// The key the server knows.
    pub(crate) signer: Signer,
    /// Requests in flight.
    pub(crate) connections: usize,
    /// No request starts later than this.
    pub(crate) time: Duration,
    /// The number of the first request.
    pub(crate) first: u64,
    /// Every request has a number below this.
    pub(crate) end: u64,
    /// Makes random choices differ between rounds.
    pub(crate) salt: u64,
    /// What to request.
    pub(crate) work: Work,
}

/// What one connection saw.
struct Tally {
    ops: u64,
    bytes: u64,
    latencies: Histogram<u64>,
    started: Instant,
    ended: Instant,
}

struct Shared {
    load: Load,
    next: AtomicU64,
    start: Barrier,
}

/// Runs a load to its end; the first wrong answer fails it.
///
/// # Errors
/// A connection failed or an answer was wrong.
pub(crate) fn drive(load: Load) -> Result<Round> {
    let threads = threads_for(load.connections);
    let connections = load.connections;
    let next = AtomicU64::new(load.first);
    let shared = Arc::new(Shared {
        load,
        next,
        start: Barrier::new(threads),
    });
    let tallies: Result<Vec<_>> = thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let share = connections / threads + usize::from(thread < connections % threads);
                let shared = Arc::clone(&shared);
                scope.spawn(move || drive_share(&shared, share))
            })
            .collect();
        let results: Vec<_> = handles.into_iter().map(|handle| handle.join()).collect();
        results
            .into_iter()
            .map(|result| result.map_err(|_| anyhow!("load thread panicked"))?)
            .collect()
    });
    sum(tallies?)
}

/// One thread per core, each with its own connections: no task moves between cores.
fn threads_for(connections: usize) -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(connections)
}

/// Opens `count` connections, waits for the other threads to have theirs, and drives them.
fn drive_share(shared: &Arc<Shared>, count: usize) -> Result<Vec<Tally>> {
    let opened = open(&shared.load, count);
    // Every thread passes the barrier, also one that failed: the others wait for it.
    shared.start.wait();
    let (runtime, connections) = opened?;
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for connection in connections {
            running.spawn(drive_one(Arc::clone(shared), connection));
        }
        let mut tallies = Vec::with_capacity(count);
        while let Some(tally) = running.join_next().await {
            tallies.push(tally.context("load task")??);
        }
        Ok(tallies)
    })
}

fn open(load: &Load, count: usize) -> Result<(Runtime, Vec<Connection>)> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start runtime")?;
    let connections = runtime.block_on(async {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(
                Connection::open(load.address, load.signer.clone())
                    .await
                    .context("connect")?,
            );
        }
        anyhow::Ok(connections)
    });
    Ok((runtime, connections?))
}

async fn drive_one(shared: Arc<Shared>, mut connection: Connection) -> Result<Tally> {
    let Load {
        work,
        time,
        end,
        salt,
        ..
    } = &shared.load;
    let started = Instant::now();
    let mut tally = Tally {
        ops: 0,
        bytes: 0,
        latencies: latencies(),
        started,
        ended: started,
    };
    while tally.ended - started < *time {
        let ticket = shared.next.fetch_add(1, Ordering::Relaxed);
        if ticket >= *end {
            break;
        }
        let step = work.step(ticket, *salt);
        let request = work.request(&step);
        let asked = Instant::now();
        let reply = tokio::time::timeout(ANSWER_WITHIN, connection.send(&request))
            .await
            .context("no answer in time")?
            .with_context(|| format!("{} {}", request.method, request.path))?;
        tally.ended = Instant::now();
        tally
            .latencies
            .saturating_record(u64::try_from((tally.ended - asked).as_micros()).unwrap_or(u64::MAX));
        tally.bytes += work.check(&step, &reply)?;
        tally.ops += 1;
    }
    Ok(tally)
}

fn sum(shares: Vec<Vec<Tally>>) -> Result<Round> {
    let mut round = Round {
        ops: 0,
        bytes: 0,
        elapsed: Duration::ZERO,
        latencies: latencies(),
        cpu: None,
    };
    let tallies: Vec<Tally> = shares.into_iter().flatten().collect();
    for tally in &tallies {
        round.ops += tally.ops;
        round.bytes += tally.bytes;
        round.latencies.add(&tally.latencies).context("merge latencies")?;
    }
    let started = tallies
        .iter()
        .map(|tally| tally.started)
        .min()
        .context("no connections")?;
    let ended = tallies
        .iter()
        .map(|tally| tally.ended)
        .max()
        .context("no connections")?;
    round.elapsed = ended - started;
    Ok(round)
}
