//! Kills the server under load, again and again, and checks that no acknowledged write is lost.

mod damage;
mod ledger;
mod load;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::bench::{End, Home, Warren, find_or_build};
use crate::client::Payload;
use crate::dice::{Dice, fresh_seed};
use damage::damage_index;
use ledger::Ledger;
use load::{Attempt, Worker};

/// The bucket that everything happens in.
const BUCKET: &str = "kill";
const WORKERS: u64 = 8;
/// A server is killed this long after it began to serve; long enough for every kind of write to be under way.
const LIFE_MS: std::ops::Range<u64> = 20..1500;

/// The options of the subcommand.
#[derive(Args)]
pub(crate) struct Options {
    /// How many times to load, kill, restart and verify
    #[arg(long, default_value_t = 100)]
    rounds: u64,
    /// Repeat the decisions of an earlier run; the moments at which they meet the disk differ
    #[arg(long)]
    seed: Option<u64>,
    /// Delete or damage the index before every n-th start
    #[arg(long, default_value_t = 5)]
    damage_every: u64,
    /// A folder on the disk to use
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// What the server logs when it made an index anew.
const REBUILT: &str = "index rebuilt from the log";

/// What a whole run verified.
#[derive(Default)]
struct Summary {
    rounds: u64,
    acknowledged: u64,
    objects: u64,
    damaged: u64,
    rebuilt: u64,
}

/// Runs all rounds; prints what was verified, or the evidence of a loss.
///
/// # Errors
/// Something was lost, or the server cannot be run; the message names the seed and the folder with all evidence.
pub(crate) fn kill(options: &Options) -> Result<ExitCode> {
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    std::fs::create_dir_all(&options.dir).context("create the work folder")?;
    let folder = tempfile::Builder::new()
        .prefix("kill-")
        .tempdir_in(&options.dir)?;
    println!(
        "kill: seed {seed}, {} rounds in {}",
        options.rounds,
        folder.path().display()
    );

    let mut summary = Summary::default();
    match run(options, Dice::new(seed), folder.path(), &mut summary) {
        Ok(()) => {
            println!("kill: {summary}; nothing lost");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            let kept = folder.keep();
            println!("kill: FAILED with seed {seed} after {summary}: {error:#}");
            println!("kill: the server's state and log are kept in {}", kept.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} rounds, {} acknowledged writes verified in {} reads, {} of {} damaged indexes rebuilt",
            self.rounds, self.acknowledged, self.objects, self.rebuilt, self.damaged
        )
    }
}

fn run(options: &Options, mut dice: Dice, folder: &Path, summary: &mut Summary) -> Result<()> {
    let runtime = Runtime::new().context("start the runtime")?;
    let mut server = Warren::start_empty(&find_or_build()?, folder, Payload::Unsigned)?;
    server.home().create_bucket(BUCKET)?;
    let mut ledgers: Vec<_> = (0..WORKERS).map(Ledger::of_worker).collect();
    for round in 1..=options.rounds {
        let life = Duration::from_millis(dice.within(LIFE_MS));
        let workers = start_load(&runtime, &server, &mut dice, round, ledgers);
        std::thread::sleep(life);
        workers.killed.cancel();
        let home = server.end(End::Kill)?;
        let loaded = runtime.block_on(workers.join())?;

        let (started, ready) = if round % options.damage_every == 0 {
            start_with_damage(home, &mut dice, round, summary)?
        } else {
            home.start()?
        };
        server = started;
        ledgers = loaded.ledgers;
        let verified = runtime.block_on(verify::everything(server.home(), &mut ledgers, &loaded.races));
        let objects = verified.with_context(|| format!("round {round}, killed after {life:?}"))?;
        summary.rounds += 1;
        summary.acknowledged += loaded.acknowledged;
        summary.objects += objects;
        println!(
            "kill: round {round}: killed after {life:?}, {} writes acknowledged, ready in {ready:?}, {objects} objects verified",
            loaded.acknowledged
        );
    }
    server.end(End::Stop).map(drop)
}

/// Damages an index before the start; one that was deleted must be rebuilt by it.
fn start_with_damage(
    home: Home,
    dice: &mut Dice,
    round: u64,
    summary: &mut Summary,
) -> Result<(Warren, Duration)> {
    let damage = damage_index(home.folder(), dice)?;
    let logged = home.logged()?;
    let (server, ready) = home.start()?;
    let rebuilt = server.home().logged_since(logged)?.contains(REBUILT);
    let outcome = if rebuilt { "rebuilt" } else { "not rebuilt" };
    println!("kill: round {round}: {}, {outcome}", damage.what);
    ensure!(
        rebuilt || !damage.deleted,
        "round {round}: {}, and the server does not say that it rebuilt it",
        damage.what
    );
    summary.damaged += 1;
    summary.rebuilt += u64::from(rebuilt);
    Ok((server, ready))
}

/// The workers of one round, and the word that tells them that a broken connection is now expected.
struct Load {
    killed: CancellationToken,
    workers: Vec<tokio::task::JoinHandle<Result<Worker>>>,
}

/// What the workers of one round hand back.
struct Loaded {
    ledgers: Vec<Ledger>,
    /// Who tried to create each contested key.
    races: BTreeMap<String, Vec<Attempt>>,
    acknowledged: u64,
}

fn start_load(runtime: &Runtime, server: &Warren, dice: &mut Dice, round: u64, ledgers: Vec<Ledger>) -> Load {
    let killed = CancellationToken::new();
    let start = |(number, ledger): (u64, Ledger)| {
        let worker = Worker::new(number, round, ledger, dice.another());
        runtime.spawn(worker.run(server.home().clone(), killed.clone()))
    };
    let workers = (0..).zip(ledgers).map(start).collect();
    Load { killed, workers }
}

impl Load {
    async fn join(self) -> Result<Loaded> {
        let mut loaded = Loaded {
            ledgers: Vec::new(),
            races: BTreeMap::new(),
            acknowledged: 0,
        };
        for worker in self.workers {
            let worker = worker.await.context("a worker of the load ended early")??;
            loaded.acknowledged += worker.acknowledged;
            loaded.ledgers.push(worker.ledger);
            for (key, attempt) in worker.races {
                loaded.races.entry(key).or_default().push(attempt);
            }
        }
        Ok(loaded)
    }
}
