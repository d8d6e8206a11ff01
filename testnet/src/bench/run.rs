//! Carries what every part of a run needs, and collects what it finds.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::measured::Side;
use super::report::{Cell, CellId, Fact, Limit, Measurement, Settings};
use super::table::amount;
use crate::client::Payload;

/// A run in progress.
pub(crate) struct Run {
    /// The server's program.
    pub(crate) binary: PathBuf,
    /// A folder for servers and files, on the disk to measure.
    pub(crate) dir: PathBuf,
    /// How requests are signed.
    pub(crate) payload: Payload,
    /// What the numbers depend on.
    pub(crate) settings: Settings,
    /// How long a contender runs in one round.
    pub(crate) turn: Duration,
    /// Parts of names of what to measure, in lower case; none for everything.
    pub(crate) only: Vec<String>,
    /// Cells so far.
    pub(crate) cells: Vec<Cell>,
    /// Facts so far.
    pub(crate) facts: Vec<Measurement>,
}

impl Run {
    /// Whether a cell or fact is to be measured.
    pub(crate) fn selects(&self, name: &impl Display) -> bool {
        let name = name.to_string().to_lowercase();
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part))
    }

    /// Keeps a cell, if it is one of the selected; the first side is the server's, the others stand for `limits`.
    ///
    /// # Errors
    /// There is no side.
    pub(crate) fn record(&mut self, id: CellId, sides: Vec<Side>, limits: &[Limit]) -> Result<()> {
        let mut sides = sides.into_iter();
        let warren = sides.next().context("a cell without the server")?;
        let cell = Cell {
            id,
            warren,
            limits: limits.iter().copied().zip(sides).collect(),
        };
        if self.selects(&id) {
            let shares = cell
                .limits
                .keys()
                .filter_map(|limit| Some(format!(", {:.0} % of {limit}", cell.share_of(*limit)? * 100.0)));
            let rate = amount(cell.warren.ops_per_second);
            eprintln!("{id}: {rate}/s{}", shares.collect::<String>());
            self.cells.push(cell);
        }
        Ok(())
    }

    /// Keeps a fact.
    pub(crate) fn note(&mut self, fact: Fact, value: f64) {
        eprintln!("{fact}: {} {}", amount(value), fact.unit());
        self.facts.push(Measurement { fact, value });
    }
}
