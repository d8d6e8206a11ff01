//! Which members hold the blocks of each partition, and how many copies there should be.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;
use super::holders::Holders;
use super::targets::{Shape, Vessel, partition_size};
use crate::model::{BlockId, MemberId, Partition, Role};

/// Copies in different zones that Warren makes unless told otherwise.
const COPIES: usize = 3;
/// With two zones no block is in one of them alone, whatever a person asks for.
const COPIES_LEAST: usize = 2;
/// A further copy of everything is made by itself only if it leaves the mesh at most so full.
const FULL_MAX: f64 = 0.8;

/// Which members hold the blocks of each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMap(pub(super) Holders);

impl BlockMap {
    /// The members that hold a block, in ascending order.
    pub fn holders(&self, block: &BlockId) -> &[MemberId] {
        self.holders_of(Partition::of_block(block))
    }

    /// The members that hold a partition, in ascending order.
    pub fn holders_of(&self, partition: Partition) -> &[MemberId] {
        self.0.of(partition)
    }
}

/// How many copies, and how often a partition may use a zone: as evenly as the members permit.
///
/// `wanted` is what a person asked for. Without it there is one copy in each of up to [`COPIES`] zones, but one
/// more than `now` is made only if `stored` bytes (counted once) then fill at most [`FULL_MAX`] of the mesh.
pub(super) fn shape(vessels: &[Vessel], wanted: Option<usize>, now: usize, stored: u64) -> Shape {
    let zones = vessels
        .iter()
        .map(|vessel| vessel.zone)
        .collect::<BTreeSet<_>>()
        .len();
    let least = zones.min(COPIES_LEAST);
    let mut copies = wanted.unwrap_or(zones.min(COPIES)).clamp(least, vessels.len());
    if wanted.is_none() {
        while copies > least.max(now) && stored as f64 > FULL_MAX * usable(vessels, copies) {
            copies -= 1;
        }
    }
    evenly(vessels, copies)
}

/// Bytes that fit into the nodes with so many copies, counted once: what a status page may promise.
///
/// A small zone limits all when every partition needs a copy in it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float to u64 saturates"
)]
pub fn usable_bytes(nodes: &[Node], copies: usize) -> u64 {
    let holds = |node: &&Node| node.role != Role::Witness && node.capacity > 0;
    let zones: BTreeSet<_> = nodes.iter().map(|node| &node.zone).collect();
    let zones: BTreeMap<_, _> = zones.into_iter().zip(0..).collect();
    let vessel = |node: &Node| Vessel {
        zone: zones[&node.zone],
        weight: node.capacity as f64,
    };
    let vessels: Vec<_> = nodes.iter().filter(holds).map(vessel).collect();
    usable(&vessels, copies.min(vessels.len())) as u64
}

fn usable(vessels: &[Vessel], copies: usize) -> f64 {
    let size = partition_size(vessels, &evenly(vessels, copies));
    size.unwrap_or(0.0) * Partition::COUNT as f64
}

/// The smallest limit, the same for all zones, with which a partition finds enough members.
///
/// It is copies / zones rounded up, unless zones have fewer members than that.
fn evenly(vessels: &[Vessel], copies: usize) -> Shape {
    let zones = vessels.iter().map(|vessel| vessel.zone + 1).max().unwrap_or(0);
    let members = |zone| vessels.iter().filter(|vessel| vessel.zone == zone).count();
    let mut limit = 1;
    while limit < copies && (0..zones).map(|zone| members(zone).min(limit)).sum::<usize>() < copies {
        limit += 1;
    }
    Shape {
        copies,
        zone_limits: vec![limit; zones],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        members: &[(usize, f64)],
        wanted: Option<usize>,
        now: usize,
        stored: u64,
        copies: usize,
        limit: usize,
    ) {
        let vessels: Vec<_> = members
            .iter()
            .map(|&(zone, weight)| Vessel { zone, weight })
            .collect();
        let shape = shape(&vessels, wanted, now, stored);
        assert_eq!((shape.copies, shape.zone_limits[0]), (copies, limit));
    }

    #[test]
    fn there_is_a_copy_in_each_of_up_to_three_zones() {
        check(&[(0, 1.0)], None, 0, 0, 1, 1);
        check(&[(0, 1.0), (0, 1.0)], None, 0, 0, 1, 1);
        check(&[(0, 1.0), (1, 1.0)], None, 0, 0, 2, 1);
        check(&[(0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0)], None, 0, 0, 3, 1);
    }

    #[test]
    fn a_person_may_ask_for_more_but_two_zones_keep_two_copies() {
        check(&[(0, 1.0), (1, 1.0), (1, 1.0)], Some(3), 0, 0, 3, 2);
        check(&[(0, 1.0), (1, 1.0)], Some(3), 0, 0, 2, 1);
        check(&[(0, 1.0), (1, 1.0)], Some(1), 0, 0, 2, 1);
        check(&[(0, 1.0), (1, 1.0), (1, 1.0), (1, 1.0)], Some(4), 0, 0, 4, 3);
    }

    #[test]
    fn a_third_copy_waits_for_room_and_stays_once_made() {
        let homes = [(0, 4e12), (1, 4e12), (2, 1e11)];
        check(&homes, None, 2, 79_000_000_000, 3, 1);
        check(&homes, None, 2, 81_000_000_000, 2, 1);
        check(&homes, None, 3, 81_000_000_000, 3, 1);
    }

    #[test]
    fn the_second_copy_waits_for_nothing() {
        check(&[(0, 4e12), (1, 1e11)], None, 1, 1_000_000_000_000, 2, 1);
    }
}
