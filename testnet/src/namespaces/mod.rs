//! Runs boxes in network namespaces: homes behind routers, a server, links with latency.

mod boxes;
mod disk;
pub(crate) mod distance;
mod driver;
mod evidence;
mod founder;
mod histories;
mod home;
mod homes;
mod kill;
mod lab;
mod names;
mod nat;
mod small;
mod street;
mod tamper;
mod town;
mod troubles;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

pub(crate) use driver::{DriverOptions, drive};

/// The options of the subcommand.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    scenario: Option<Scenario>,
}

/// What to play: every one but the long ones, unless it is named.
#[derive(Subcommand)]
enum Scenario {
    /// Two homes behind routers of each kind, with a server between them
    Nat,
    /// One LAN with no internet
    Lan,
    /// The real program in two homes behind routers, with a server between them
    Homes,
    /// The real program in a home behind a router of each kind, which a server joins that cannot reach it
    Founder,
    /// The real program under load while everything goes wrong, judged for linearizability
    Histories(histories::Options),
    /// The real program on three boxes that are killed under load, again and again
    Kill(kill::Options),
    /// The real program with little memory and many objects
    Small(small::Options),
    /// The real program on boxes that are wiped, damaged, full, of another year, or alone
    Troubles(troubles::Options),
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
    let broken = match &options.scenario {
        None => nat::nat()? + nat::lan()? + homes::homes()? + founder::founder()?,
        Some(Scenario::Nat) => nat::nat()?,
        Some(Scenario::Lan) => nat::lan()?,
        Some(Scenario::Homes) => homes::homes()?,
        Some(Scenario::Founder) => founder::founder()?,
        Some(Scenario::Histories(options)) => histories::histories(options)?,
        Some(Scenario::Kill(options)) => kill::kill(options)?,
        Some(Scenario::Small(options)) => small::small(options)?,
        Some(Scenario::Troubles(options)) => troubles::troubles(options)?,
    };
    if broken > 0 {
        println!("\nnamespaces: FAILED, {broken} promises broken");
        return Ok(ExitCode::FAILURE);
    }
    println!("\nnamespaces: every promise kept");
    Ok(ExitCode::SUCCESS)
}
