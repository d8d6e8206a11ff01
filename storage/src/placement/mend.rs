//! Fills what is missing in a map and gives newcomers their share, while everybody else keeps what they hold.

use super::field::{Candidate, Field, Standing};
use super::holders::Holders;
use super::spread::{Place, Tier, Wish, spread};
use super::targets::Shape;
use crate::model::{MemberId, Partition};

// Prices, each so much higher than the one before that all cheaper ones together do not outweigh it: there are
// a few thousand copies, and moving one changes what a copy costs on two members.

/// Choosing among equal members differs by less than this, see [`price_of_move`].
const SHUFFLE: i64 = 1 << 3;
/// Going to a member that has its due already, while others have not.
const LEAN: i64 = 1 << 16;
/// Keeping a copy on a member that is away, while one that is here could keep its own.
const ABSENT: i64 = 1 << 20;
/// Copying a partition to another member.
const MOVE: i64 = 1 << 24;
/// Leaving the bounds of a member in balancing, or its share in welcoming a newcomer.
pub(super) const UNFAIR: i64 = 1 << 37;
/// Using a zone more often than the others.
const CROWDED: i64 = 1 << 41;
/// Leaving a copy on a member that should hold nothing.
const LAST_RESORT: i64 = 1 << 46;
/// Giving a member more than its disk has room for.
const NO_ROOM: i64 = 1 << 52;

/// By how much a whole number may be missed when targets are computed; far more than they are.
const HAIR: f64 = 1e-6;

/// The map with every copy that is missing, for the fewest moves. `replacing` is the zone whose lost members
/// are replaced.
///
/// Moving a copy that could stay costs more than any bounds are worth, so that what leaves with a member is all
/// that moves; only newcomers are given their full share.
pub(super) fn mend(field: &Field, replacing: Option<usize>) -> Holders {
    let loads = field.loads();
    let due = field.targets(replacing).into_iter().zip(loads);
    let places: Vec<_> = field
        .candidates
        .iter()
        .zip(due)
        .map(|(candidate, (target, load))| Place {
            member: candidate.member,
            zone: candidate.zone,
            // Each partition has its part of what is due. Asked for all of it, those that can change would all go
            // to one newcomer, and back from it to whom it left with nothing.
            tiers: tiers(candidate, target * field.open(), load),
        })
        .collect();
    let mended = spread(&places, |partition| wish(field, partition, replacing));
    keep_fixed(field, mended)
}

/// Partitions that cannot change stay as they are.
pub(super) fn keep_fixed(field: &Field, changed: Holders) -> Holders {
    Holders::from_fn(|partition| {
        let from = if field.fixed.contains(&partition) {
            &field.current
        } else {
            &changed
        };
        from.of(partition).to_vec()
    })
}

fn tiers(candidate: &Candidate, target: f64, load: usize) -> Vec<Tier> {
    let (low, high) = bounds(target);
    let first = match candidate.standing {
        Standing::Newcomer => (whole(target), 0),
        Standing::Settled => (low, UNFAIR),
        _ => (Partition::COUNT, UNFAIR),
    };
    let room = candidate.room.max(load);
    let ascending = [first, (high, UNFAIR + LEAN), (room, UNFAIR + 2 * LEAN)];
    tiers_up_to(ascending.map(|(most, cost)| (most.min(room), cost)))
}

/// Tiers that end at the given loads, and beyond them what a disk has no room for.
pub(super) fn tiers_up_to(ends: [(usize, i64); 3]) -> Vec<Tier> {
    let mut from = 0;
    let mut tiers = Vec::with_capacity(4);
    for (to, cost) in ends.into_iter().chain([(Partition::COUNT, NO_ROOM)]) {
        if to > from {
            tiers.push(Tier {
                copies: to - from,
                cost,
            });
            from = to;
        }
    }
    tiers
}

/// What a member may hold to be in balance: 95 to 105 % of what it is due, rounded outwards.
pub(super) fn bounds(target: f64) -> (usize, usize) {
    (whole(target * 0.95), whole((target * 1.05 - HAIR).ceil()))
}

/// At most all partitions.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to 0..=256"
)]
fn whole(count: f64) -> usize {
    (count + HAIR).clamp(0.0, Partition::COUNT as f64) as usize
}

fn wish(field: &Field, partition: Partition, replacing: Option<usize>) -> Wish {
    if field.fixed.contains(&partition) {
        return nothing();
    }
    let in_zone = |(_, candidate): &(usize, &Candidate)| Some(candidate.zone) == replacing;
    let replaced: Vec<_> = field
        .lost(partition)
        .filter(in_zone)
        .take(field.missing(partition))
        .map(|(place, _)| place)
        .collect();
    let option = |(place, candidate): (usize, &Candidate)| {
        let cost = if !field.current.holds(partition, candidate.member) {
            candidate
                .takes()
                .then(|| price_of_move(partition, candidate.member))?
        } else if candidate.standing == Standing::Leaving || replaced.contains(&place) {
            LAST_RESORT
        } else if candidate.takes() {
            0
        } else {
            ABSENT
        };
        Some((place, cost))
    };
    // What those who are lost made possible is not asked anew of those who are left.
    let kept = field.lost(partition).count() - replaced.len();
    let now = field.holding(partition).count();
    let copies = (field.shape_without_lost.copies + kept).max(now);
    let short = field.short(partition) > 0;
    Wish {
        copies: field.shape.copies.min(copies),
        zones: zone_tiers(field, partition, |zone, _| {
            let usual = usual_limit(zone, &field.shape);
            if short {
                usual.max(usual_limit(zone, &field.shape_without_lost))
            } else {
                usual
            }
        }),
        options: field.candidates.iter().enumerate().filter_map(option).collect(),
    }
}

/// Asks for nothing: the partition is left out.
pub(super) fn nothing() -> Wish {
    Wish {
        copies: 0,
        zones: Vec::new(),
        options: Vec::new(),
    }
}

/// How often a partition may use a zone.
pub(super) fn usual_limit(zone: usize, shape: &Shape) -> usize {
    shape.zone_limits.get(zone).copied().unwrap_or(0)
}

/// Each zone as often as its limit; more often only where it is so already and cannot be helped. `limit` is asked
/// with the number of a zone and how often the partition uses it.
pub(super) fn zone_tiers(
    field: &Field,
    partition: Partition,
    limit: impl Fn(usize, usize) -> usize,
) -> Vec<Vec<Tier>> {
    let tiers = |(zone, used)| {
        let limit = limit(zone, used);
        let more = used - limit.min(used);
        [(limit, 0), (more, CROWDED)]
            .map(|(copies, cost)| Tier { copies, cost })
            .into()
    };
    field
        .zone_uses(partition)
        .into_iter()
        .enumerate()
        .map(tiers)
        .collect()
}

/// What copying a partition to a member costs: nearly the same for all.
///
/// The difference mixes the partners of each member, so that its copies are on all others and a replacement is
/// filled from many disks at once.
pub(super) fn price_of_move(partition: Partition, member: MemberId) -> i64 {
    let mixed = u32::from(partition.0).wrapping_mul(2_654_435_761) ^ member.0.wrapping_mul(2_246_822_519);
    MOVE + i64::from(mixed.wrapping_mul(3_266_489_917) >> 16) % SHUFFLE
}
