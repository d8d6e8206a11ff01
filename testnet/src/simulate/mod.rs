//! Runs what Warren is made of in simulated worlds: one seed is one schedule, and a seed that fails fails again.

mod linear;
mod mesh;
mod registers;
mod store;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::dice::fresh_seed;

pub(crate) use linear::{Call, Verdict, judge};

/// One schedule in so many is one of a whole store, where all kinds are run.
const STORE_SHARE: u64 = 20;
/// And one in so many is one of a mesh, which takes a hundred times as long.
const MESH_SHARE: u64 = 250;

/// What to simulate: everything, unless it is named.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Simulate {
    #[command(subcommand)]
    what: Option<Simulation>,
    #[command(flatten)]
    all: Options,
}

/// How many schedules of all kinds to run, and which.
#[derive(Args)]
struct Options {
    /// Schedules to run: most of registers, one in twenty of a store, one in 250 of a mesh
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed of each kind; the others follow it. Random if not given
    #[arg(long)]
    seed: Option<u64>,
}

/// One kind of schedule.
#[derive(Subcommand)]
enum Simulation {
    /// Random schedules of the register protocol, with faults, judged for linearizability
    Registers(registers::Options),
    /// Break one rule of the protocol after the other, and see that it is noticed
    Mutants(registers::MutantsOptions),
    /// Whole stores on a simulated disk that crashes, fills up and fails
    Store(store::Options),
    /// Several stores that are one mesh, while voters come and go, links are cut and power fails
    Mesh(store::Options),
}

/// Several stores.
const MESH: store::What = store::What {
    name: "mesh",
    run: mesh::run,
};

/// Simulates; exit code 1 says that a promise was broken.
///
/// # Errors
/// The options make no sense.
pub(crate) fn simulate(simulate: &Simulate) -> Result<ExitCode> {
    listen();
    match &simulate.what {
        None => everything(&simulate.all),
        Some(Simulation::Registers(options)) => registers::registers(options),
        Some(Simulation::Mutants(options)) => registers::mutants(options),
        Some(Simulation::Store(options)) => store::simulate(store::STORE, options),
        Some(Simulation::Mesh(options)) => store::simulate(MESH, options),
    }
}

/// Prints what the simulated say in their logs, where `RUST_LOG` asks for it: with it a seed that fails tells why.
fn listen() {
    if std::env::var_os("RUST_LOG").is_some() {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
}

/// All kinds, one after the other, until one fails.
fn everything(options: &Options) -> Result<ExitCode> {
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    let stores = options.seeds.div_ceil(STORE_SHARE);
    let meshes = options.seeds.div_ceil(MESH_SHARE);
    let registers = options.seeds.saturating_sub(stores + meshes);
    let mut ended = registers::registers(&registers::Options::of(registers, seed))?;
    for (what, seeds) in [(store::STORE, stores), (MESH, meshes)] {
        if ended == ExitCode::SUCCESS {
            ended = store::simulate(what, &store::Options::of(seeds, seed))?;
        }
    }
    Ok(ended)
}
