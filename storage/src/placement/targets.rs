//! How many partitions each member is due: capacities poured like water into vessels that hold 256 at most.

use crate::model::Partition;

const PARTITIONS: f64 = Partition::COUNT as f64;
/// Halvings of the logarithm of a range that spans less than 2^80: what is left is below a float's precision.
const HALVINGS: usize = 64;

/// What is asked of all members together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Copies of each partition.
    pub(super) copies: usize,
    /// How often one partition may use each zone, by the number of the zone.
    pub(super) zone_limits: Vec<usize>,
}

/// A member as a vessel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vessel {
    /// The number of its zone.
    pub(super) zone: usize,
    /// What it can take, in any unit; more than 0.
    pub(super) weight: f64,
}

/// The copies each vessel is due, not rounded; together `copies` × 256 if the zone limits leave room for them.
///
/// All fill at one pace until a member has every partition once, or a zone as often as its limit; what such a
/// zone may still hold is shared by capacity among all its members, so that none of them is idle.
/// A flow with these (fractional) counts exists: each partition puts 1/256 of every count where it is due,
/// which is at most 1 on a member and at most the limit in a zone. So bounds around them, rounded outwards,
/// can always be met by whole partitions.
pub(super) fn targets(vessels: &[Vessel], shape: &Shape) -> Vec<f64> {
    let Some(common) = partition_size(vessels, shape) else {
        return vec![0.0; vessels.len()];
    };
    let mut sizes = vec![common; shape.zone_limits.len()];
    for (zone, size) in sizes.iter_mut().enumerate() {
        let most = shape.zone_limits[zone] as f64 * PARTITIONS;
        let poured = |size| zone_total(vessels, zone, size);
        if poured(*size) > most {
            *size = largest_size(vessels, |size| poured(size) >= most).unwrap_or(*size);
        }
    }
    vessels
        .iter()
        .map(|vessel| (vessel.weight / sizes[vessel.zone]).min(PARTITIONS))
        .collect()
}

/// The largest weight one partition may have so that all copies fit; none without vessels.
///
/// 256 times this is what fits into all members together, counted once.
pub(super) fn partition_size(vessels: &[Vessel], shape: &Shape) -> Option<f64> {
    let wanted = shape.copies as f64 * PARTITIONS;
    largest_size(vessels, |size| {
        let held = shape
            .zone_limits
            .iter()
            .enumerate()
            .map(|(zone, &limit)| zone_total(vessels, zone, size).min(limit as f64 * PARTITIONS));
        held.sum::<f64>() >= wanted
    })
}

/// How many partitions of a size the members of a zone take.
fn zone_total(vessels: &[Vessel], zone: usize, size: f64) -> f64 {
    let members = vessels.iter().filter(|vessel| vessel.zone == zone);
    members.map(|vessel| (vessel.weight / size).min(PARTITIONS)).sum()
}

/// The largest size that fits; what fits in one size fits in every smaller one.
fn largest_size(vessels: &[Vessel], fits: impl Fn(f64) -> bool) -> Option<f64> {
    let weights = || vessels.iter().map(|vessel| vessel.weight);
    // In the smallest size everybody takes every partition, in the largest all together take just one set.
    let mut fitting = weights().reduce(f64::min)? / PARTITIONS;
    let mut too_large = weights().sum::<f64>() / PARTITIONS * 2.0;
    for _ in 0..HALVINGS {
        let middle = (fitting * too_large).sqrt();
        if fits(middle) {
            fitting = middle;
        } else {
            too_large = middle;
        }
    }
    Some(fitting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(members: &[(usize, f64)], copies: usize, zone_limits: &[usize], expected: &[f64]) {
        let vessels: Vec<_> = members
            .iter()
            .map(|&(zone, weight)| Vessel { zone, weight })
            .collect();
        let shape = Shape {
            copies,
            zone_limits: zone_limits.to_vec(),
        };
        let rounded: Vec<_> = targets(&vessels, &shape).into_iter().map(f64::round).collect();
        assert_eq!(rounded, expected);
    }

    #[test]
    fn members_are_due_their_share_of_the_capacity() {
        check(&[(0, 1e12), (0, 3e12)], 1, &[1], &[64.0, 192.0]);
    }

    #[test]
    fn no_member_is_due_a_partition_twice_and_no_zone_beyond_its_limit() {
        check(
            &[(0, 8.0), (1, 1.0), (2, 1.0)],
            2,
            &[1, 1, 1],
            &[256.0, 128.0, 128.0],
        );
        check(
            &[(0, 1e18), (1, 1.0), (2, 1e9)],
            3,
            &[1, 1, 1],
            &[256.0, 256.0, 256.0],
        );
    }

    #[test]
    fn a_full_zone_shares_what_it_holds_by_capacity() {
        check(
            &[(0, 4.0), (0, 2.0), (0, 1.0), (0, 1.0), (1, 1.0)],
            2,
            &[1, 1],
            &[128.0, 64.0, 32.0, 32.0, 256.0],
        );
    }
}
