//! Measures each operation at each object size and concurrency, beside what HTTP and the disk allow.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bare::{Answers, Bare};
use super::group_sync::Layout;
use super::limits;
use super::load::{Load, drive};
use super::measured::{Round, Side, latencies, median};
use super::report::{CellId, Limit, Scope};
use super::run::Run;
use super::turns::{Contender, in_turn};
use super::warren::{Home, Warren};
use super::work::{Contents, Operation, Work};

const SIZES: [u64; 4] = [1024, 64 * 1024, 1024 * 1024, 64 * 1024 * 1024];
pub(crate) const CONNECTIONS: [usize; 3] = [1, 8, 32];
const BUCKET: &str = "bench";
/// Reads choose among objects of about this many bytes in all: of a size that a box of 8 GiB keeps in its server's memory.
const READ_BYTES: u64 = 256 * 1024 * 1024;
const READ_OBJECTS_MAX: u64 = 10_000;
/// More objects than any round can write.
const WRITTEN_MAX: u64 = 100_000_000;
/// What a deletion makes durable, for the limit.
const TOMBSTONE_BYTES: u64 = 128;
/// From this size on the slowest stage of a write is its limit, not its request.
const STREAMED_BYTES: u64 = 64 * 1024 * 1024;
const UNHURRIED: Duration = Duration::from_secs(3600);

/// Runs every selected cell of the matrix.
///
/// # Errors
/// A server did not start, or answered wrongly.
pub(crate) fn measure(run: &mut Run) -> Result<()> {
    if !ids().any(|id| run.selects(&id)) {
        return Ok(());
    }
    let warren = Warren::start_empty(&run.binary, &run.dir.join("matrix"), run.payload)?;
    warren.home().create_bucket(BUCKET)?;
    for size in SIZES {
        if !ids().any(|id| id.scope == Scope::Size(size) && run.selects(&id)) {
            continue;
        }
        let of_size = OfSize::prepare(run, &warren, size)?;
        for connections in CONNECTIONS {
            of_size.writes(run, connections)?;
            of_size.reads(run, Operation::Get, connections)?;
            of_size.reads(run, Operation::Head, connections)?;
        }
    }
    Ok(())
}

fn ids() -> impl Iterator<Item = CellId> {
    SIZES
        .into_iter()
        .flat_map(|size| CONNECTIONS.map(|connections| (size, connections)))
        .flat_map(|(size, connections)| {
            [Operation::Put, Operation::Delete, Operation::Get, Operation::Head].map(|operation| CellId {
                operation,
                scope: Scope::Size(size),
                connections,
            })
        })
}

/// The servers that take part in the cells of one object size.
struct OfSize<'a> {
    warren: &'a Warren,
    bare: Bare,
    durable: Bare,
    layout: Layout,
    size: u64,
    objects: u64,
}

impl<'a> OfSize<'a> {
    /// Starts the bare servers and stores the objects to read.
    fn prepare(run: &Run, warren: &'a Warren, size: u64) -> Result<Self> {
        let layout = faster_layout(&run.dir, size, run.turn)?;
        let bare = Bare::start(&Answers::Content(size))?;
        let durable = Bare::start(&Answers::Durably(
            &run.dir.join(format!("bare-log-{layout:?}")),
            layout,
        ))?;
        let objects = (READ_BYTES / size).clamp(2, READ_OBJECTS_MAX);
        let this = Self {
            warren,
            bare,
            durable,
            layout,
            size,
            objects,
        };
        let put = this.work(Operation::Put, "read", objects, Contents::PerKey);
        drive(Load {
            time: UNHURRIED,
            end: objects,
            ..load(warren.home(), put, 8, run, 0)
        })
        .context("store the objects to read")?;
        Ok(this)
    }

    fn work(&self, operation: Operation, name: &str, keys: u64, contents: Contents) -> Work {
        let prefix = format!("{name}-{}-", self.size);
        Work {
            operation,
            bucket: BUCKET.into(),
            prefix,
            keys,
            size: self.size,
            contents,
        }
    }

    /// A load on a bare server, which knows one content and takes any key.
    fn bare_load(
        &self,
        bare: &Bare,
        operation: Operation,
        connections: usize,
        run: &Run,
        round: u64,
    ) -> Load {
        let work = self.work(operation, "read", self.objects, Contents::Constant);
        Load {
            address: bare.address,
            ..load(self.warren.home(), work, connections, run, round)
        }
    }

    fn id(&self, operation: Operation, connections: usize) -> CellId {
        CellId {
            operation,
            scope: Scope::Size(self.size),
            connections,
        }
    }

    fn reads(&self, run: &mut Run, operation: Operation, connections: usize) -> Result<()> {
        let id = self.id(operation, connections);
        if !run.selects(&id) {
            return Ok(());
        }
        let work = self.work(operation, "read", self.objects, Contents::PerKey);
        if operation == Operation::Get {
            self.warm_up(run)?;
        }
        let contenders = vec![
            Contender::server(&self.warren.process, |round| {
                load(self.warren.home(), work.clone(), connections, run, round)
            }),
            Contender::server(&self.bare.process, |round| {
                self.bare_load(&self.bare, operation, connections, run, round)
            }),
        ];
        let sides = in_turn(run.settings.rounds, contenders).with_context(|| id.to_string())?;
        run.record(id, sides, &[Limit::Bare])
    }

    /// Reads every object once, so that each GET cell measures a steady state: what fits into the server's memory comes
    /// from there in the first second as in the last, however long the cell before took.
    fn warm_up(&self, run: &Run) -> Result<()> {
        let read = self.work(Operation::GetEach, "read", self.objects, Contents::PerKey);
        let pass = Load {
            time: UNHURRIED,
            end: self.objects,
            ..load(self.warren.home(), read, 8, run, 0)
        };
        drive(pass).context("read the objects once").map(drop)
    }

    /// PUT of new objects, and DELETE of exactly these, so that the disk does not fill.
    fn writes(&self, run: &mut Run, connections: usize) -> Result<()> {
        let (put, delete) = (
            self.id(Operation::Put, connections),
            self.id(Operation::Delete, connections),
        );
        if !run.selects(&put) && !run.selects(&delete) {
            return Ok(());
        }
        let written = RefCell::new(vec![0; usize::try_from(run.settings.rounds).context("rounds")?]);
        self.puts(run, put, &written)?;
        self.deletes(run, delete, &written.into_inner())
    }

    fn puts(&self, run: &mut Run, id: CellId, written: &RefCell<Vec<u64>>) -> Result<()> {
        let connections = id.connections;
        let mut rounds = 0;
        let stages = RefCell::new([Vec::new(), Vec::new(), Vec::new()]);
        let mut contenders = vec![
            Contender::server(&self.warren.process, |round| {
                load(
                    self.warren.home(),
                    self.fresh(Operation::Put, connections, round),
                    connections,
                    run,
                    round,
                )
            })
            .seen_by(move |round| {
                if let Some(count) = written.borrow_mut().get_mut(rounds) {
                    *count = round.ops;
                }
                rounds += 1;
            }),
            Contender::server(&self.bare.process, |round| {
                self.bare_load(&self.bare, Operation::Put, connections, run, round)
            }),
            Contender::limit(|_| limits::group_sync(&run.dir, self.layout, connections, self.size, run.turn)),
            Contender::server(&self.durable.process, |round| {
                self.bare_load(&self.durable, Operation::Put, connections, run, round)
            }),
        ];
        if self.size >= STREAMED_BYTES {
            contenders.push(Contender::limit(|_| stage_rates(run, &stages)));
        }
        let mut sides = in_turn(run.settings.rounds, contenders).with_context(|| id.to_string())?;
        if let [.., slowest] = sides.as_mut_slice()
            && self.size >= STREAMED_BYTES
        {
            let medians = stages.into_inner().map(|rates| median(rates).unwrap_or(0.0));
            *slowest = Side::of_throughput(medians.into_iter().fold(f64::INFINITY, f64::min), self.size);
        }
        run.record(
            id,
            sides,
            &[
                Limit::Bare,
                Limit::GroupSync,
                Limit::GroupSyncOverHttp,
                Limit::SlowestStage,
            ],
        )
    }

    fn deletes(&self, run: &mut Run, id: CellId, written: &[u64]) -> Result<()> {
        let connections = id.connections;
        let contenders = vec![
            Contender::server(&self.warren.process, |round| {
                let work = self.fresh(Operation::Delete, connections, round);
                let index = usize::try_from(round).unwrap_or(usize::MAX);
                let end = written.get(index).copied().unwrap_or(0);
                Load {
                    time: UNHURRIED,
                    end,
                    ..load(self.warren.home(), work, connections, run, round)
                }
            }),
            Contender::server(&self.bare.process, |round| {
                self.bare_load(&self.bare, Operation::Delete, connections, run, round)
            }),
            Contender::limit(|_| {
                limits::group_sync(&run.dir, self.layout, connections, TOMBSTONE_BYTES, run.turn)
            }),
            Contender::server(&self.durable.process, |round| {
                self.bare_load(&self.durable, Operation::Delete, connections, run, round)
            }),
        ];
        let sides = in_turn(run.settings.rounds, contenders).with_context(|| id.to_string())?;
        run.record(
            id,
            sides,
            &[Limit::Bare, Limit::GroupSync, Limit::GroupSyncOverHttp],
        )
    }

    /// Keys that only this round of this cell writes.
    fn fresh(&self, operation: Operation, connections: usize, round: u64) -> Work {
        self.work(
            operation,
            &format!("new-{connections}-{round}"),
            WRITTEN_MAX,
            Contents::PerKey,
        )
    }
}

/// A load of one round on the server that lives at `home`.
pub(crate) fn load(home: &Home, work: Work, connections: usize, run: &Run, round: u64) -> Load {
    Load {
        address: home.address,
        signer: home.signer.clone(),
        connections,
        time: run.turn,
        first: 0,
        end: u64::MAX,
        salt: round,
        work,
    }
}

/// The layout in which this disk makes more records of this size durable: the limit is the better one.
fn faster_layout(dir: &Path, size: u64, turn: Duration) -> Result<Layout> {
    let rate = |layout| {
        let round = limits::group_sync(dir, layout, 32, size, turn.min(Duration::from_secs(1)))?;
        Ok::<_, anyhow::Error>(Side::of(&[round])?.ops_per_second)
    };
    let prewritten = rate(Layout::Prewritten)? > rate(Layout::Appending)?;
    Ok(if prewritten {
        Layout::Prewritten
    } else {
        Layout::Appending
    })
}

/// Notes the rates of MD5, sealing and writing in this round.
fn stage_rates(run: &Run, stages: &RefCell<[Vec<f64>; 3]>) -> Result<Round> {
    let each = run.turn / 3;
    let rates = [
        limits::md5(each)?,
        limits::seal(each)?,
        limits::raw_write(&run.dir, each)?,
    ];
    stages
        .borrow_mut()
        .iter_mut()
        .zip(rates)
        .for_each(|(stage, rate)| stage.push(rate));
    Ok(Round {
        ops: 0,
        bytes: 0,
        elapsed: run.turn,
        latencies: latencies(),
        cpu: None,
    })
}
