//! Runs what Warren is made of in simulated worlds: one seed is one schedule, and a seed that fails fails again.

mod store;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

/// What to simulate.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Whole stores on a simulated disk that crashes, fills up and fails
    Store(store::Options),
}

/// Simulates, and says whether all promises held.
pub(crate) fn simulate(options: &Options) -> Result<ExitCode> {
    match &options.what {
        What::Store(options) => store::simulate(options),
    }
}
