//! Measures the real server beside the physical limits of the machine, in one run.

mod bare;
mod goals;
mod group_sync;
mod limits;
mod load;
mod machine;
mod matrix;
mod measured;
mod mesh;
mod process;
mod report;
mod run;
mod scale;
mod table;
mod turns;
mod warren;
mod work;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::client::Payload;
use crate::namespaces::distance::{self, Far};
use group_sync::Layout;
use machine::Machine;
use report::{Fact, Report, Settings};
use run::Run;

pub(crate) use bare::{BareOptions, serve};
pub(crate) use measured::{float, median};
pub(crate) use table::{Style, amount, table};
pub(crate) use warren::{End, Home, Warren, find_or_build};

const SECONDS: f64 = 3.0;
const SECONDS_QUICK: f64 = 0.6;
const ROUNDS: u64 = 3;
const ROUNDS_QUICK: u64 = 1;
const OBJECTS: u64 = 1_000_000;
const OBJECTS_QUICK: u64 = 30_000;
const OBJECTS_SMALL: u64 = 10_000;
const OBJECTS_MIN: u64 = 2000;

/// The options of the subcommand.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds that each contender gets in each cell [default: 3, quick: 0.6]
    #[arg(long)]
    seconds: Option<f64>,
    /// Rounds in which contenders take turns [default: 3, quick: 1]
    #[arg(long)]
    rounds: Option<u64>,
    /// Objects in the large bucket [default: 1000000, quick: 30000]
    #[arg(long)]
    objects: Option<u64>,
    /// A fast pass that shows that everything works, not how fast
    #[arg(long)]
    quick: bool,
    /// Measure the mesh beside bare libp2p instead of the server
    #[arg(long)]
    p2p: bool,
    /// Measure the real program in so many homes that are far from each other, in network namespaces
    #[arg(long, value_name = "HOMES", conflicts_with = "p2p")]
    mesh: Option<usize>,
    /// The round trip between two homes, in milliseconds, more or less a fifth of it
    #[arg(long, value_name = "MS", default_value_t = 100.0, requires = "mesh")]
    rtt: f64,
    /// What the link of each home carries in each direction, in megabits per second
    #[arg(long, value_name = "MBIT", default_value_t = 100.0, requires = "mesh")]
    rate: f64,
    /// Measure only what has one of these words in its name, as in "GET 1 KiB" or "ready"
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A folder on the disk to measure
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// Sign requests over their bodies
    #[arg(long)]
    signed_payload: bool,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print tables for a README
    #[arg(long)]
    markdown: bool,
    /// Fail and name every cell below its goal
    #[arg(long)]
    check: bool,
}

/// Runs the bench and prints its tables.
///
/// # Errors
/// The server did not start or answered wrongly, or a file cannot be written.
pub(crate) fn bench(options: &Options) -> Result<ExitCode> {
    let settings = settings(options)?;
    if options.p2p {
        let turn = Duration::from_secs_f64(settings.seconds / float(settings.rounds));
        return mesh::bench(turn, settings.rounds, options.check);
    }
    fs::create_dir_all(&options.dir).context("create folder to measure in")?;
    if let Some(homes) = options.mesh {
        return distance::bench(&Far {
            homes,
            rtt_ms: options.rtt,
            rate_mbit: options.rate,
            quick: options.quick,
            dir: &options.dir,
            json: options.json.as_deref(),
            check: options.check,
        });
    }
    let folder = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&options.dir)
        .context("make folder")?;
    let machine = Machine::look(&options.dir);
    let mut run = Run {
        binary: find_or_build()?,
        dir: folder.path().to_owned(),
        payload: if options.signed_payload {
            Payload::Signed
        } else {
            Payload::Unsigned
        },
        turn: Duration::from_secs_f64(settings.seconds / float(settings.rounds)),
        only: options.only.iter().map(|part| part.to_lowercase()).collect(),
        settings,
        cells: Vec::new(),
        facts: Vec::new(),
    };
    let outcome = measure(&mut run).inspect_err(|_| show_logs(&run));
    let Run {
        settings,
        cells,
        facts,
        ..
    } = run;
    let report = Report::new(machine, settings, facts, cells);
    // What was measured before a failure is worth its minutes.
    let code = show(options, &report)?;
    outcome.map(|()| code)
}

fn settings(options: &Options) -> Result<Settings> {
    let either = |slow, fast| if options.quick { fast } else { slow };
    let objects = options.objects.unwrap_or(either(OBJECTS, OBJECTS_QUICK));
    let settings = Settings {
        seconds: options
            .seconds
            .unwrap_or(if options.quick { SECONDS_QUICK } else { SECONDS }),
        rounds: options.rounds.unwrap_or(either(ROUNDS, ROUNDS_QUICK)),
        objects,
        objects_small: OBJECTS_SMALL.min(objects),
        signed_payload: options.signed_payload,
    };
    ensure!(settings.rounds > 0, "at least one round is needed");
    ensure!(
        settings.seconds.is_finite() && settings.seconds > 0.0,
        "seconds must be more than 0"
    );
    ensure!(
        settings.objects >= OBJECTS_MIN,
        "pages of a listing need at least {OBJECTS_MIN} objects"
    );
    Ok(settings)
}

fn measure(run: &mut Run) -> Result<()> {
    physical_limits(run)?;
    matrix::measure(run)?;
    scale::measure(run)
}

fn physical_limits(run: &mut Run) -> Result<()> {
    let (dir, turn) = (run.dir.clone(), run.turn);
    run.note(
        Fact::FdatasyncAppending,
        limits::fdatasync(&dir, Layout::Appending, turn)?,
    );
    run.note(
        Fact::FdatasyncPrewritten,
        limits::fdatasync(&dir, Layout::Prewritten, turn)?,
    );
    run.note(Fact::RawWrite, limits::raw_write(&dir, turn)?);
    run.note(Fact::RawRead, limits::raw_read(&dir, turn)?);
    run.note(Fact::Loopback, limits::loopback(turn)?);
    run.note(Fact::Md5, limits::md5(turn)?);
    run.note(Fact::Seal, limits::seal(turn)?);
    Ok(())
}

fn show(options: &Options, report: &Report) -> Result<ExitCode> {
    let told: Vec<_> = std::env::args().skip(1).collect();
    println!("`cargo run --release -p testnet -- {}`\n", told.join(" "));
    println!(
        "{}",
        report.tables(if options.markdown {
            Style::Markdown
        } else {
            Style::Plain
        })
    );
    if let Some(path) = &options.json {
        let json = serde_json::to_vec_pretty(report).context("encode report")?;
        fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    for goal in &report.missed {
        eprintln!("below goal: {goal}");
    }
    Ok(if options.check && !report.missed.is_empty() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The folder with the servers' logs goes away; show how each ended before it does.
fn show_logs(run: &Run) {
    let Ok(servers) = fs::read_dir(&run.dir) else {
        return;
    };
    for server in servers.flatten() {
        let log = server.path().join("server.log");
        if let Ok(text) = fs::read_to_string(&log) {
            let tail: Vec<_> = text.lines().rev().take(20).collect();
            eprintln!("end of {}:", log.display());
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
