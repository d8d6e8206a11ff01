//! Drives servers, stores and protocols: benchmarks, torture and simulations, one subcommand each.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool prints what it finds"
)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod bench;
mod client;
mod dice;
mod kill;
mod namespaces;
mod simulate;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Measure the server beside the physical limits of this machine
    Bench(bench::Options),
    /// Serve a constant answer, for the bench
    #[command(hide = true)]
    BenchBare(bench::BareOptions),
    /// Kill the server under load, again and again, and check that no acknowledged write is lost
    Kill(kill::Options),
    /// Run one node of a mesh as told on standard input
    #[command(hide = true)]
    MeshNode(namespaces::DriverOptions),
    /// Run boxes behind routers, in network namespaces, and check that they find each other
    Namespaces(namespaces::Options),
    /// Run the protocols in a simulated world, and judge what clients saw
    Simulate(simulate::Simulate),
}

fn main() -> Result<ExitCode> {
    match Cli::parse().verb {
        Verb::Bench(options) => bench::bench(&options),
        Verb::BenchBare(options) => bench::serve(&options).map(|()| ExitCode::SUCCESS),
        Verb::Kill(options) => kill::kill(&options),
        Verb::MeshNode(options) => namespaces::drive(&options).map(|()| ExitCode::SUCCESS),
        Verb::Namespaces(options) => namespaces::namespaces(&options),
        Verb::Simulate(simulation) => simulate::simulate(&simulation),
    }
}
