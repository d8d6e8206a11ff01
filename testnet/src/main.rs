//! Drives the real server: as a load that is killed again and again, and as a benchmark.

// A program for people at a terminal: what it found is its output.
#![allow(clippy::print_stdout)]

mod client;
mod kill;
mod server;
mod sign;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Drives the real `warren` server on this machine.
#[derive(Parser)]
enum Command {
    /// Kill the server under load, again and again, and check that no acknowledged write is lost.
    Kill(kill::Options),
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    match Command::parse() {
        Command::Kill(options) => kill::run(options).await,
    }
}
