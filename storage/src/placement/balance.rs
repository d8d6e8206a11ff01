//! Moves partitions from members that hold more than their share to those that hold less, a little a day.

use super::field::{Candidate, Field};
use super::holders::Holders;
use super::mend::{UNFAIR, bounds, keep_fixed, nothing, price_of_move, tiers_up_to, usual_limit, zone_tiers};
use super::spread::{Place, Wish, spread};
use crate::model::Partition;

/// Imbalance that is left alone: the share of its due by which a member may hold more or less.
const IMBALANCE_MAX: f64 = 0.1;
/// Of how many copies one may move a day.
const ONE_OF: usize = 20;

/// What a member holds and should hold.
struct Load {
    now: usize,
    target: f64,
    low: usize,
    high: usize,
}

impl Load {
    fn is_past_leaving_alone(&self) -> bool {
        let now = self.now as f64;
        let (low, high) = (
            self.target * (1.0 - IMBALANCE_MAX),
            self.target * (1.0 + IMBALANCE_MAX),
        );
        (self.now > self.high && now > high) || (self.now < self.low && now < low)
    }
}

/// A day's step towards balance; none if no member is far from its due, or nothing can be done about it.
///
/// The step brings as many partitions as possible where they are due, for at most 5 % of all copies moved.
/// Whatever it brings, every partition keeps its number of copies and its spread over zones.
pub(super) fn balance(field: &Field) -> Option<Holders> {
    let loads = loads(field);
    let loads_that_move = || {
        loads
            .iter()
            .zip(&field.candidates)
            .filter(|(_, candidate)| candidate.takes())
    };
    if !loads_that_move().any(|(load, _)| load.is_past_leaving_alone()) {
        return None;
    }
    let budget = (field.current.total() / ONE_OF).max(1);
    let excess: usize = loads_that_move()
        .map(|(load, _)| load.now.saturating_sub(load.high))
        .sum();
    let lack: usize = loads_that_move()
        .map(|(load, _)| load.low.saturating_sub(load.now))
        .sum();
    // Bringing one more partition where it is due never takes fewer moves, and takes at least one.
    let (mut best, mut steps) = (None, 1..=excess.max(lack).min(budget));
    let mut middle = *steps.end();
    while !steps.is_empty() {
        let balanced = step(field, &loads, middle);
        if balanced.copied_since(&field.current) <= budget {
            best = Some(balanced);
            steps = middle + 1..=*steps.end();
        } else {
            steps = *steps.start()..=middle - 1;
        }
        middle = usize::midpoint(*steps.start(), *steps.end());
    }
    best.filter(|balanced| *balanced != field.current)
}

fn loads(field: &Field) -> Vec<Load> {
    let fixed = |candidate: &Candidate| {
        let fixed = field.fixed.iter();
        fixed
            .filter(|partition| field.current.holds(**partition, candidate.member))
            .count()
    };
    let due = field.targets(None).into_iter().zip(field.loads());
    field
        .candidates
        .iter()
        .zip(due)
        .map(|(candidate, (target, now))| {
            let (low, high) = if candidate.takes() {
                bounds(target)
            } else {
                (now, now)
            };
            let fixed = fixed(candidate);
            Load {
                now,
                target: (target - fixed as f64).max(0.0),
                low: low.saturating_sub(fixed),
                high: high.saturating_sub(fixed),
            }
        })
        .collect()
}

/// The fewest moves that take `partitions` away from where they are too many, and bring as many where they lack.
///
/// The full balance meets these bounds too, so they can be met.
fn step(field: &Field, loads: &[Load], partitions: usize) -> Holders {
    let mut low: Vec<_> = loads.iter().map(|load| load.low.min(load.now)).collect();
    let mut high: Vec<_> = loads.iter().map(|load| load.high.max(load.now)).collect();
    let share = |count: usize, load: &Load| count as f64 / load.target.max(f64::MIN_POSITIVE);
    for _ in 0..partitions {
        let fullest = (0..loads.len())
            .filter(|&place| high[place] > loads[place].high)
            .max_by(|&a, &b| share(high[a], &loads[a]).total_cmp(&share(high[b], &loads[b])));
        if let Some(place) = fullest {
            high[place] -= 1;
        }
        let emptiest = (0..loads.len())
            .filter(|&place| low[place] < loads[place].low)
            .min_by(|&a, &b| share(low[a], &loads[a]).total_cmp(&share(low[b], &loads[b])));
        if let Some(place) = emptiest {
            low[place] += 1;
        }
    }
    let place = |(number, candidate): (usize, &Candidate)| Place {
        member: candidate.member,
        zone: candidate.zone,
        tiers: {
            let room = candidate.room.max(loads[number].now);
            let ends = [(low[number], 0), (high[number], UNFAIR), (room, 2 * UNFAIR)];
            tiers_up_to(ends.map(|(most, cost)| (most.min(room), cost)))
        },
    };
    let places: Vec<_> = field.candidates.iter().enumerate().map(place).collect();
    keep_fixed(field, spread(&places, |partition| wish(field, partition)))
}

fn wish(field: &Field, partition: Partition) -> Wish {
    if field.fixed.contains(&partition) {
        return nothing();
    }
    let option = |(place, candidate): (usize, &Candidate)| {
        if field.current.holds(partition, candidate.member) {
            Some((place, 0))
        } else {
            candidate
                .takes()
                .then(|| (place, price_of_move(partition, candidate.member)))
        }
    };
    Wish {
        copies: field.current.of(partition).len(),
        // Where a home holds more because others are lost, that may stay; no further one shall for balance's sake.
        zones: zone_tiers(field, partition, |zone, used| {
            let without_lost = usual_limit(zone, &field.shape_without_lost);
            usual_limit(zone, &field.shape).max(without_lost.min(used))
        }),
        options: field.candidates.iter().enumerate().filter_map(option).collect(),
    }
}
