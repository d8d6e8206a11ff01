//! Runs boxes in network namespaces: homes behind routers, a server, links with latency.

mod boxes;
mod driver;
mod homes;
mod lab;
mod nat;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

pub(crate) use driver::{DriverOptions, drive};

/// The options of the subcommand.
#[derive(Args)]
pub(crate) struct Options {
    /// What to play
    #[arg(value_enum, default_value = "all")]
    scenario: Scenario,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Two homes behind routers of each kind, with a server between them
    Nat,
    /// One LAN with no internet
    Lan,
    /// The real program in two homes behind routers, with a server between them
    Homes,
    /// All of them
    All,
}

/// Plays the scenarios and prints what took how long.
///
/// # Errors
/// The lab cannot be built, or a box dies.
pub(crate) fn namespaces(options: &Options) -> Result<ExitCode> {
    if let Some(obstacle) = lab::obstacle() {
        println!("SKIPPED namespaces: {obstacle}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut broken = 0;
    let plays = |scenario| options.scenario == scenario || options.scenario == Scenario::All;
    if plays(Scenario::Nat) {
        broken += nat::nat()?;
    }
    if plays(Scenario::Lan) {
        broken += nat::lan()?;
    }
    if plays(Scenario::Homes) {
        broken += homes::homes()?;
    }
    if broken > 0 {
        println!("\nnamespaces: FAILED, {broken} promises broken");
        return Ok(ExitCode::FAILURE);
    }
    println!("\nnamespaces: every promise kept");
    Ok(ExitCode::SUCCESS)
}
