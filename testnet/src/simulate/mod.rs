//! Runs what Warren is made of in simulated worlds: one seed is one schedule, and a seed that fails fails again.

mod linear;
mod mesh;
mod registers;
mod store;

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

/// What to simulate.
#[derive(Subcommand)]
pub(crate) enum Simulation {
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
pub(crate) fn simulate(simulation: &Simulation) -> Result<ExitCode> {
    match simulation {
        Simulation::Registers(options) => registers::registers(options),
        Simulation::Mutants(options) => registers::mutants(options),
        Simulation::Store(options) => store::simulate(store::STORE, options),
        Simulation::Mesh(options) => store::simulate(MESH, options),
    }
}
