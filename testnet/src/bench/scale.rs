//! Measures what a million objects change: speed beside a small bucket, memory at rest, and time to come back.

use std::fs;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bare::{Answers, Bare};
use super::load::{Load, drive};
use super::matrix::{CONNECTIONS, load};
use super::measured::{float, median};
use super::report::{CellId, Fact, Limit, Scope};
use super::run::Run;
use super::turns::{Contender, in_turn};
use super::warren::{End, Warren};
use super::work::{Contents, Operation, Work};
use crate::client::{Body, Request, Take};

const BUCKET: &str = "scale";
const OBJECT_BYTES: u64 = 1024;
const OPERATIONS: [Operation; 3] = [Operation::Overwrite, Operation::Get, Operation::List];
const FILL_CONNECTIONS: usize = 32;
const FILL_STEPS: u64 = 20;
const UNHURRIED: Duration = Duration::from_secs(3600);
const MEGABYTE: f64 = 1e6;
/// Restarts whose median is the time to be ready.
const RESTARTS: usize = 3;
const BESIDE: [Fact; 5] = [
    Fact::Fill,
    Fact::IdleRssAfterLoad,
    Fact::IdleRssAfterRestart,
    Fact::ReadyAfterStop,
    Fact::ReadyAfterKill,
];

/// Fills a large and a small server and compares them, then restarts the large one.
///
/// # Errors
/// A server did not start or answered wrongly.
pub(crate) fn measure(run: &mut Run) -> Result<()> {
    let (large, small) = (run.settings.objects, run.settings.objects_small);
    let facts = BESIDE.iter().any(|fact| run.selects(fact));
    let cells = ids(Scope::Large(large))
        .chain(ids(Scope::Small(small)))
        .any(|id| run.selects(&id));
    if !facts && !cells {
        return Ok(());
    }
    let started = Instant::now();
    let large_server = filled(run, "large", large)?;
    run.note(Fact::Fill, float(large) / started.elapsed().as_secs_f64());
    large_server.process.settle()?;
    run.note(
        Fact::IdleRssAfterLoad,
        float(large_server.process.rss()?) / MEGABYTE,
    );
    if cells {
        let small_server = filled(run, "small", small)?;
        compare(run, &large_server, &small_server)?;
    }
    if facts {
        restarts(run, large_server)?;
    }
    Ok(())
}

fn ids(scope: Scope) -> impl Iterator<Item = CellId> {
    OPERATIONS.into_iter().flat_map(move |operation| {
        CONNECTIONS.map(|connections| CellId {
            operation,
            scope,
            connections,
        })
    })
}

fn work(operation: Operation, keys: u64, contents: Contents) -> Work {
    Work {
        operation,
        bucket: BUCKET.into(),
        prefix: "k".into(),
        keys,
        size: OBJECT_BYTES,
        contents,
    }
}

/// A server with this many objects.
fn filled(run: &Run, name: &str, objects: u64) -> Result<Warren> {
    let warren = Warren::start_empty(&run.binary, &run.dir.join(name), run.payload)?;
    warren.home().create_bucket(BUCKET)?;
    let started = Instant::now();
    for step in 0..FILL_STEPS {
        let put = work(Operation::Put, objects, Contents::PerKey);
        // Each step asks for its share of the tickets, so that the steps together write every key once.
        let (first, end) = (step * objects / FILL_STEPS, (step + 1) * objects / FILL_STEPS);
        let load = load(warren.home(), put, FILL_CONNECTIONS, run, 0);
        drive(Load {
            time: UNHURRIED,
            first,
            end,
            ..load
        })
        .context("fill")?;
        if io::stderr().is_terminal() {
            eprint!("\rfilling the {name} bucket: {end} of {objects} ");
        }
    }
    eprintln!(
        "\rfilled the {name} bucket with {objects} objects in {:.1?}",
        started.elapsed()
    );
    Ok(warren)
}

fn compare(run: &mut Run, large: &Warren, small: &Warren) -> Result<()> {
    let page = run.dir.join("page");
    fs::write(&page, first_page(large)?).context("write page")?;
    let bare_page = Bare::start(&Answers::Page(&page))?;
    let bare_object = Bare::start(&Answers::Content(OBJECT_BYTES))?;
    for operation in OPERATIONS {
        let bare = if operation == Operation::List {
            &bare_page
        } else {
            &bare_object
        };
        for connections in CONNECTIONS {
            compare_one(run, [large, small], bare, operation, connections)?;
        }
    }
    Ok(())
}

fn compare_one(
    run: &mut Run,
    [large, small]: [&Warren; 2],
    bare: &Bare,
    operation: Operation,
    connections: usize,
) -> Result<()> {
    let counts = (run.settings.objects, run.settings.objects_small);
    let id = |scope| CellId {
        operation,
        scope,
        connections,
    };
    let (large_id, small_id) = (id(Scope::Large(counts.0)), id(Scope::Small(counts.1)));
    if !run.selects(&large_id) && !run.selects(&small_id) {
        return Ok(());
    }
    let server = |warren, keys| {
        let (work, run): (_, &Run) = (work(operation, keys, Contents::PerKey), run);
        let warren: &Warren = warren;
        Contender::server(&warren.process, move |round| {
            load(warren.home(), work.clone(), connections, run, round)
        })
    };
    let bare = Contender::server(&bare.process, |round| {
        let work = work(operation, counts.0, Contents::Constant);
        Load {
            address: bare.address,
            ..load(large.home(), work, connections, run, round)
        }
    });
    let contenders = vec![server(large, counts.0), server(small, counts.1), bare];
    let sides = in_turn(run.settings.rounds, contenders).with_context(|| large_id.to_string())?;
    let [large, small, bare] = sides.as_slice() else {
        anyhow::bail!("three contenders, other results")
    };
    run.record(small_id, vec![small.clone(), bare.clone()], &[Limit::Bare])?;
    run.record(
        large_id,
        vec![large.clone(), bare.clone(), small.clone()],
        &[Limit::Bare, Limit::SmallBucket],
    )
}

fn first_page(warren: &Warren) -> Result<Vec<u8>> {
    let path = format!("/{BUCKET}");
    let query = "list-type=2&max-keys=1000&start-after=k";
    let list = Request {
        method: "GET",
        path: &path,
        query,
        body: Body::Empty,
        take: Take::Keep,
    };
    let reply = warren.home().once(&list)?;
    ensure!(reply.status == 200, "listing answered {}", reply.status);
    Ok(reply.body)
}

/// Orderly restarts, then kills, each at the end of a write load.
fn restarts(run: &mut Run, mut warren: Warren) -> Result<()> {
    for (end, fact) in [
        (End::Stop, Fact::ReadyAfterStop),
        (End::Kill, Fact::ReadyAfterKill),
    ] {
        let mut ready = Vec::with_capacity(RESTARTS);
        for round in 0..RESTARTS {
            let put = work(Operation::Overwrite, run.settings.objects, Contents::PerKey);
            drive(load(warren.home(), put, FILL_CONNECTIONS, run, round as u64))
                .context("write before restart")?;
            let (restarted, time) = warren.restart(end)?;
            warren = restarted;
            ready.push(time.as_secs_f64());
        }
        run.note(fact, median(ready).context("no restarts")?);
    }
    warren.process.settle()?;
    run.note(Fact::IdleRssAfterRestart, float(warren.process.rss()?) / MEGABYTE);
    Ok(())
}
