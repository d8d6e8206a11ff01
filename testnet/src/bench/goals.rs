//! The speed to reach, in one table, and which of it a run missed.

use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};

use super::report::{Cell, CellId, Fact, Limit, Measurement, Scope};
use super::table::amount;
use super::work::Operation;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A cell's rate is at least this share of a limit measured in the same run.
struct Share {
    operation: Operation,
    scope: Where,
    /// `None` where the goal names no concurrency and so holds at each.
    connections: Option<usize>,
    limit: Limit,
    at_least: f64,
}

/// Which cells a goal speaks of.
enum Where {
    Size(u64),
    LargeBucket,
}

const fn share(
    operation: Operation,
    scope: Where,
    connections: Option<usize>,
    limit: Limit,
    at_least: f64,
) -> Share {
    Share {
        operation,
        scope,
        connections,
        limit,
        at_least,
    }
}

const SHARES: [Share; 8] = [
    share(Operation::Get, Where::Size(KIB), Some(32), Limit::Bare, 0.50),
    share(Operation::Put, Where::Size(KIB), Some(32), Limit::GroupSync, 0.60),
    share(Operation::Get, Where::Size(MIB), None, Limit::Bare, 0.60),
    share(
        Operation::Put,
        Where::Size(64 * MIB),
        None,
        Limit::SlowestStage,
        0.60,
    ),
    share(Operation::List, Where::LargeBucket, None, Limit::Bare, 0.30),
    share(
        Operation::Overwrite,
        Where::LargeBucket,
        None,
        Limit::SmallBucket,
        0.80,
    ),
    share(Operation::Get, Where::LargeBucket, None, Limit::SmallBucket, 0.80),
    share(
        Operation::List,
        Where::LargeBucket,
        None,
        Limit::SmallBucket,
        0.80,
    ),
];

/// Facts that must not exceed a value, in their own unit.
const AT_MOST: [(Fact, f64); 4] = [
    (Fact::IdleRssAfterLoad, 100.0),
    (Fact::IdleRssAfterRestart, 100.0),
    (Fact::ReadyAfterStop, 0.3),
    (Fact::ReadyAfterKill, 0.3),
];

/// A goal that a run measured and did not reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Missed {
    /// A cell is too slow beside a limit.
    Share {
        /// Which cell.
        cell: CellId,
        /// Which limit.
        limit: Limit,
        /// The share of it that was reached.
        share: f64,
        /// The share to reach.
        at_least: f64,
    },
    /// A fact is too large.
    Fact {
        /// What was measured.
        measurement: Measurement,
        /// What it may be.
        at_most: f64,
    },
}

/// Every goal that the cells and facts speak of and do not reach; what was not measured is not missed.
pub(crate) fn missed(cells: &[Cell], facts: &[Measurement]) -> Vec<Missed> {
    let shares = cells
        .iter()
        .flat_map(|cell| SHARES.iter().filter_map(move |goal| goal.missed_by(cell)));
    let facts = facts.iter().filter_map(|measurement| {
        let (_, at_most) = AT_MOST.iter().find(|(fact, _)| *fact == measurement.fact)?;
        let missed = Missed::Fact {
            measurement: *measurement,
            at_most: *at_most,
        };
        (measurement.value > *at_most).then_some(missed)
    });
    shares.chain(facts).collect()
}

impl Share {
    fn missed_by(&self, cell: &Cell) -> Option<Missed> {
        let CellId {
            operation,
            scope,
            connections,
        } = cell.id;
        let scope = match (&self.scope, scope) {
            (Where::Size(wanted), Scope::Size(size)) => *wanted == size,
            (Where::LargeBucket, Scope::Large(_)) => true,
            _ => false,
        };
        let spoken_of = scope
            && operation == self.operation
            && self.connections.is_none_or(|wanted| wanted == connections);
        let share = cell.share_of(self.limit).filter(|_| spoken_of)?;
        let missed = Missed::Share {
            cell: cell.id,
            limit: self.limit,
            share,
            at_least: self.at_least,
        };
        (share < self.at_least).then_some(missed)
    }
}

impl Serialize for Missed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Display for Missed {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share {
                cell,
                limit,
                share,
                at_least,
            } => {
                write!(
                    out,
                    "{cell}: {:.0} % of {limit}, goal {:.0} %",
                    share * 100.0,
                    at_least * 100.0
                )
            }
            Self::Fact {
                measurement: Measurement { fact, value },
                at_most,
            } => {
                let unit = fact.unit();
                write!(
                    out,
                    "{fact}: {} {unit}, goal at most {} {unit}",
                    amount(*value),
                    amount(*at_most)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::measured::Side;
    use super::*;

    fn check(operation: Operation, scope: Scope, connections: usize, limit: Limit, rate: f64) -> Vec<String> {
        let cell = Cell {
            id: CellId {
                operation,
                scope,
                connections,
            },
            warren: Side::of_throughput(rate, 1024),
            limits: [(limit, Side::of_throughput(100.0, 1024))].into(),
        };
        missed(&[cell], &[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_cell_below_its_goal_is_named_with_its_share() {
        let missed = check(Operation::Put, Scope::Size(KIB), 32, Limit::GroupSync, 59.0);
        assert_eq!(missed, ["PUT 1 KiB x32: 59 % of group fdatasync, goal 60 %"]);
        assert!(check(Operation::Put, Scope::Size(KIB), 32, Limit::GroupSync, 60.0).is_empty());
    }

    #[test]
    fn a_goal_for_32_connections_says_nothing_of_8() {
        assert!(check(Operation::Get, Scope::Size(KIB), 8, Limit::Bare, 1.0).is_empty());
    }

    #[test]
    fn a_goal_without_a_concurrency_holds_at_each() {
        for connections in [1, 8, 32] {
            assert_eq!(
                check(Operation::Get, Scope::Size(MIB), connections, Limit::Bare, 59.0).len(),
                1
            );
        }
    }

    #[test]
    fn only_the_large_bucket_is_held_to_the_goals_of_listing() {
        assert_eq!(
            check(Operation::List, Scope::Large(1_000_000), 8, Limit::Bare, 29.0).len(),
            1
        );
        assert!(check(Operation::List, Scope::Small(10_000), 8, Limit::Bare, 29.0).is_empty());
    }

    #[test]
    fn a_fact_above_its_goal_is_named_with_its_unit() {
        let late = [Measurement {
            fact: Fact::ReadyAfterKill,
            value: 0.42,
        }];
        let missed: Vec<_> = missed(&[], &late).iter().map(ToString::to_string).collect();
        assert_eq!(missed, ["ready after kill -9: 0.420 s, goal at most 0.300 s"]);
    }
}
