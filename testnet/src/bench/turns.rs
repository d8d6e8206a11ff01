//! Lets contenders take turns, so that a noisy neighbour disturbs the limit as much as the server.

use anyhow::Result;

use super::load::{Load, drive};
use super::measured::{MIB, Round, Side, float};
use super::process::Process;

/// Someone whose rate is measured in a cell.
pub(crate) struct Contender<'a> {
    run: Box<dyn FnMut(u64) -> Result<Round> + 'a>,
    process: Option<&'a Process>,
}

impl<'a> Contender<'a> {
    /// A server, under the load that `load` makes for each round.
    pub(crate) fn server(process: &'a Process, mut load: impl FnMut(u64) -> Load + 'a) -> Self {
        let run = move |round| {
            let before = process.cpu()?;
            let mut round = drive(load(round))?;
            round.cpu = Some(process.cpu()?.saturating_sub(before));
            Ok(round)
        };
        Self {
            run: Box::new(run),
            process: Some(process),
        }
    }

    /// Anything else that can be measured by the round.
    pub(crate) fn limit(run: impl FnMut(u64) -> Result<Round> + 'a) -> Self {
        Self {
            run: Box::new(run),
            process: None,
        }
    }

    /// Also shows each round to `see`.
    pub(crate) fn seen_by(self, mut see: impl FnMut(&Round) + 'a) -> Self {
        let Self { mut run, process } = self;
        let run = move |number| {
            let round = run(number)?;
            see(&round);
            Ok(round)
        };
        Self {
            run: Box::new(run),
            process,
        }
    }
}

/// Runs all contenders in each round, in turning order; returns their summaries in the order given.
///
/// # Errors
/// A round failed.
pub(crate) fn in_turn(rounds: u64, mut contenders: Vec<Contender<'_>>) -> Result<Vec<Side>> {
    let mut results: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds.max(1) {
        let mut order: Vec<usize> = (0..contenders.len()).collect();
        // Every second round runs backwards, so that nobody always follows the same neighbour's dirty pages.
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            results[index].push((contenders[index].run)(round)?);
        }
    }
    let sides = contenders.iter().zip(&results).map(|(contender, rounds)| {
        let mut side = Side::of(rounds)?;
        if let Some(process) = contender.process {
            side.rss_mib = Some(float(process.rss()?) / MIB);
        }
        Ok(side)
    });
    sides.collect()
}

#[cfg(test)]
mod tests {
    use super::super::measured::latencies;
    use super::*;
    use std::cell::RefCell;
    use std::time::Duration;

    #[test]
    fn contenders_alternate_and_change_their_order() {
        let order = RefCell::new(Vec::new());
        let contender = |name: char, rate: u64| {
            let order = &order;
            Contender::limit(move |round| {
                order.borrow_mut().push((name, round));
                let (elapsed, latencies) = (Duration::from_secs(1), latencies());
                Ok(Round {
                    ops: rate,
                    bytes: 0,
                    elapsed,
                    latencies,
                    cpu: None,
                })
            })
        };
        let sides = in_turn(3, vec![contender('a', 7), contender('b', 9)]).unwrap();
        let turns = [('a', 0), ('b', 0), ('b', 1), ('a', 1), ('a', 2), ('b', 2)];
        assert_eq!(*order.borrow(), turns);
        assert!((sides[0].ops_per_second - 7.0).abs() < 1e-9 && (sides[1].ops_per_second - 9.0).abs() < 1e-9);
    }
}
