//! What was found, what is wanted, and both beside each other as people read them.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use super::limits::RoundTrips;
use super::operations::Operation;
use crate::bench::{Style, amount, table};

/// A small operation takes so many round trips to the nearest majority where its gateway is the holder of the row, or only reads,
/// and so many where another box is the holder.
const AT_HOLDER: f64 = 1.15;
const ELSEWHERE: f64 = 2.15;
/// Of more homes not each has every row, so that the nearest may be no majority with this one.
const HOMES_WITH_ALL_ROWS: usize = 3;
/// A large upload fills this share of the uplink.
const UPLINK_SHARE: f64 = 0.70;
/// A box that lost its disk is filled at this share of its link.
const REFILL_SHARE: f64 = 0.80;
/// Meanwhile the slow requests of others take so many times what they take else.
const AMONG_REPAIR: f64 = 2.0;
const MBIT: f64 = 1e6 / 8.0;

/// A ratio, what it is made of, and what it should be.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    what: String,
    found: f64,
    limit: f64,
    unit: &'static str,
    /// What was found, by what limits it.
    ratio: f64,
    goal: Option<Goal>,
    note: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Found {
    /// The median of an operation, in round trips to the nearest majority.
    pub(super) fn latency((home, operation): (usize, Operation), took_ms: &[f64], far: &RoundTrips) -> Self {
        let who = match home {
            0 => "the holder".to_owned(),
            other => format!("home {other}"),
        };
        let most = match home == 0 || operation.is_read() {
            true => AT_HOLDER,
            false => ELSEWHERE,
        };
        let has_goal = operation.has_goal() && far.homes() == HOMES_WITH_ALL_ROWS;
        Self::new(
            (format!("{} at {who}", operation.name()), "ms"),
            (quantile(took_ms, 50), far.nearest_ms()),
            has_goal.then_some(Goal::AtMost(most)),
            format!("p99 {} ms", amount(quantile(took_ms, 99))),
        )
    }

    /// What one TCP connection carries of the rate that the links were given.
    pub(super) fn link(copied: f64, rate_mbit: f64) -> Self {
        let what = ("bare TCP copy between two homes".to_owned(), "Mbit/s");
        Self::new(what, (copied / MBIT, rate_mbit), None, String::new())
    }

    /// How full the uplink was during large uploads, with whatever was sent more than once.
    pub(super) fn uplink_filled(sent: f64, uplink: f64) -> Self {
        let what = ("PUT 64 MiB, sent by the gateway".to_owned(), "Mbit/s");
        Self::new(what, (sent / MBIT, uplink / MBIT), None, String::new())
    }

    /// How fast the client saw them stored; the copies share the uplink.
    pub(super) fn uplink_stored(stored: f64, uplink: f64) -> Self {
        let what = ("PUT 64 MiB, as its client sees it".to_owned(), "Mbit/s");
        let goal = Some(Goal::AtLeast(UPLINK_SHARE));
        Self::new(what, (stored / MBIT, uplink / MBIT), goal, String::new())
    }

    /// How fast a box that lost its disk was filled.
    pub(super) fn refill(filled: f64, link: f64, note: String) -> Self {
        let what = ("refill of a box that lost its disk".to_owned(), "Mbit/s");
        let goal = Some(Goal::AtLeast(REFILL_SHARE));
        Self::new(what, (filled / MBIT, link / MBIT), goal, note)
    }

    /// What others notice of it.
    pub(super) fn foreground(idle_ms: &[f64], busy_ms: &[f64]) -> Self {
        let what = ("p99 of small requests during it".to_owned(), "ms");
        let slow = (quantile(busy_ms, 99), quantile(idle_ms, 99));
        let note = format!("of {} and {} before", busy_ms.len(), idle_ms.len());
        Self::new(what, slow, Some(Goal::AtMost(AMONG_REPAIR)), note)
    }

    fn new(
        (what, unit): (String, &'static str),
        (found, limit): (f64, f64),
        goal: Option<Goal>,
        note: String,
    ) -> Self {
        Self {
            what,
            found,
            limit,
            unit,
            ratio: found / limit,
            goal,
            note,
        }
    }

    /// A ratio that is no number reaches nothing.
    fn is_missed(&self) -> bool {
        let is_reached = match self.goal {
            None => true,
            Some(Goal::AtLeast(least)) => self.ratio >= least,
            Some(Goal::AtMost(most)) => self.ratio <= most,
        };
        !is_reached
    }

    fn row(&self) -> Vec<String> {
        let goal = match self.goal {
            None => "–".to_owned(),
            Some(Goal::AtLeast(least)) => format!("≥ {least:.2}"),
            Some(Goal::AtMost(most)) => format!("≤ {most:.2}"),
        };
        let verdict = match (self.goal, self.is_missed()) {
            (None, _) => "",
            (Some(_), false) => "ok",
            (Some(_), true) => "MISSED",
        };
        vec![
            self.what.clone(),
            format!("{} {}", amount(self.found), self.unit),
            format!("{} {}", amount(self.limit), self.unit),
            format!("{:.2}", self.ratio),
            goal,
            verdict.to_owned(),
            self.note.clone(),
        ]
    }
}

/// All of a run.
#[derive(Serialize)]
pub(super) struct Report {
    homes: usize,
    rtt_ms: f64,
    rate_mbit: f64,
    congestion_control: &'static str,
    found: Vec<Found>,
}

impl Report {
    pub(super) const fn new(
        (homes, rtt_ms, rate_mbit): (usize, f64, f64),
        congestion_control: &'static str,
    ) -> Self {
        Self {
            homes,
            rtt_ms,
            rate_mbit,
            congestion_control,
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, found: Found) {
        self.found.push(found);
    }

    /// How many goals were missed.
    pub(super) fn missed(&self) -> usize {
        self.found.iter().filter(|found| found.is_missed()).count()
    }

    /// Prints everything as a table.
    pub(super) fn print(&self) {
        println!(
            "{} homes, {} ms ± 20 % from each other, {} Mbit/s each, TCP with {}\n",
            self.homes, self.rtt_ms, self.rate_mbit, self.congestion_control
        );
        let head = ["", "found", "limit", "ratio", "goal", "", ""].map(str::to_owned);
        let rows = self.found.iter().map(Found::row);
        let rows: Vec<_> = std::iter::once(head.to_vec()).chain(rows).collect();
        println!("{}", table(&rows, Style::Markdown));
        println!("\n{} goals missed", self.missed());
    }

    /// Writes everything to a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).context("encode report")?;
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))
    }
}

/// The value that so many of 100 do not reach; no number for none.
fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = sorted.len() * percent / 100;
    sorted.get(below).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(ratio: f64, goal: Goal) -> Found {
        Found::new(("x".into(), "ms"), (ratio, 1.0), Some(goal), String::new())
    }

    #[test]
    fn a_goal_is_missed_beyond_it_and_by_what_is_no_number() {
        let missed = [
            found(1.16, Goal::AtMost(1.15)),
            found(0.69, Goal::AtLeast(0.70)),
            found(f64::NAN, Goal::AtMost(1.15)),
            found(f64::NAN, Goal::AtLeast(0.70)),
        ];
        assert!(missed.iter().all(Found::is_missed));
        let reached = [found(1.15, Goal::AtMost(1.15)), found(0.70, Goal::AtLeast(0.70))];
        assert!(!reached.iter().any(Found::is_missed));
    }

    #[test]
    fn a_quantile_leaves_its_share_below_it() {
        let values: Vec<_> = (1..=100).rev().map(f64::from).collect();
        assert_eq!([50, 99].map(|percent| quantile(&values, percent)), [51.0, 100.0]);
        assert_eq!(quantile(&[7.0], 99), 7.0);
        assert!(quantile(&[], 50).is_nan());
    }
}
