//! One map, and how everybody stands to it who holds or may hold a part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::holders::Holders;
use super::targets::{Shape, Vessel, targets};
use super::{Member, Node, Presence};
use crate::model::{MemberId, Partition, Timestamp};

/// How long a newcomer stays before it gets its share.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(600);
/// An absence shorter than this changes nothing.
const RESTING_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Who was away so long may be replaced.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(72 * 3600);
/// A disk refuses new blocks once it is so full, in percent.
const FULL_PERCENT: u128 = 95;

/// What becomes of a member's part of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Keeps its part, gives and takes.
    Settled,
    /// Holds nothing yet and is due its share.
    Newcomer,
    /// Was not here for a day: keeps its part and takes no more.
    Resting,
    /// Was not here for three days: as resting, but may be replaced.
    Lost {
        /// Since when.
        since: Timestamp,
    },
    /// Should hold nothing: its part goes to others, as far as they have room.
    Leaving,
}

/// A member that holds a part of the map or may get one.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) member: MemberId,
    /// The number of its zone.
    pub(super) zone: usize,
    /// Its share is in proportion to this; more than 0 unless it leaves.
    pub(super) weight: f64,
    /// Partitions that fit, at most 256.
    pub(super) room: usize,
    pub(super) standing: Standing,
}

impl Candidate {
    /// Whether it may be given partitions.
    pub(super) fn takes(&self) -> bool {
        matches!(self.standing, Standing::Settled | Standing::Newcomer)
    }

    /// Whether it is counted as holding what it holds.
    fn counts(&self) -> bool {
        self.takes() || self.standing == Standing::Resting
    }
}

/// How a map weighs its members.
pub(super) struct Scale {
    /// Whether a member may hold a part.
    pub(super) may_hold: fn(&Node) -> bool,
    /// What its share is in proportion to.
    pub(super) weight: fn(&Node) -> f64,
    /// Bytes of one partition.
    pub(super) partition_bytes: u64,
}

/// Everybody who holds a part of `current` or may get one. Without a current map nobody needs to settle first.
pub(super) fn candidates(
    members: &[Member],
    current: Option<&Holders>,
    now: Timestamp,
    scale: &Scale,
) -> Vec<Candidate> {
    let counts = current.map(Holders::counts).unwrap_or_default();
    let zones: BTreeSet<_> = members.iter().map(|member| &member.node.zone).collect();
    let zones: BTreeMap<_, _> = zones.into_iter().zip(0..).collect();
    let candidate = |member: &Member| {
        let node = &member.node;
        let holds = counts.contains_key(&node.member);
        let stays = (scale.may_hold)(node) && node.capacity > 0 && !member.draining;
        let standing = if stays {
            standing(member.presence, holds, current.is_none(), now)
        } else {
            holds.then_some(Standing::Leaving)
        };
        Some(Candidate {
            member: node.member,
            zone: zones[&node.zone],
            weight: (scale.weight)(node),
            room: room(node.capacity, scale.partition_bytes),
            standing: standing?,
        })
    };
    members.iter().filter_map(candidate).collect()
}

/// How a member that may hold stands to a map; not at all when it is away or new and holds nothing.
fn standing(presence: Presence, holds: bool, first: bool, now: Timestamp) -> Option<Standing> {
    match presence {
        Presence::Here { .. } if holds => Some(Standing::Settled),
        Presence::Here { since } => {
            (first || elapsed(since, now) >= SETTLED_AFTER).then_some(Standing::Newcomer)
        }
        Presence::Away { .. } if !holds => None,
        Presence::Away { since } if is_lost(presence, now) => Some(Standing::Lost { since }),
        Presence::Away { since } if elapsed(since, now) < RESTING_AFTER => Some(Standing::Settled),
        Presence::Away { .. } => Some(Standing::Resting),
    }
}

/// Whether a member was away so long that it may be replaced.
pub(super) fn is_lost(presence: Presence, now: Timestamp) -> bool {
    matches!(presence, Presence::Away { since } if elapsed(since, now) >= LOST_AFTER)
}

/// Nothing has elapsed since a time to come: clocks differ, and waiting is the careful answer.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(now.as_millis().saturating_sub(since.as_millis()))
}

fn room(capacity: u64, partition_bytes: u64) -> usize {
    let usable = u128::from(capacity) * FULL_PERCENT / 100;
    let partitions = usable.checked_div(u128::from(partition_bytes));
    partitions
        .and_then(|partitions| usize::try_from(partitions).ok())
        .map_or(Partition::COUNT, |partitions| partitions.min(Partition::COUNT))
}

/// One map to mend and to balance.
pub(super) struct Field {
    pub(super) current: Holders,
    pub(super) candidates: Vec<Candidate>,
    /// What is asked of all who stay.
    pub(super) shape: Shape,
    /// What would be asked of those who are not lost.
    pub(super) shape_without_lost: Shape,
    /// Partitions that cannot change now.
    pub(super) fixed: BTreeSet<Partition>,
}

impl Field {
    /// The copies each candidate is due, not rounded; none if it leaves, or is lost in a zone that is replaced.
    pub(super) fn targets(&self, replacing: Option<usize>) -> Vec<f64> {
        let stays = |candidate: &Candidate| match candidate.standing {
            Standing::Leaving => false,
            Standing::Lost { .. } => Some(candidate.zone) != replacing,
            _ => true,
        };
        let mut due = targets(&vessels(&self.candidates, stays), &self.shape).into_iter();
        let target = |candidate| {
            let due = if stays(candidate) { due.next() } else { None };
            due.unwrap_or(0.0)
        };
        self.candidates.iter().map(target).collect()
    }

    /// The share of all partitions that can change.
    pub(super) fn open(&self) -> f64 {
        1.0 - self.fixed.len() as f64 / Partition::COUNT as f64
    }

    /// How many partitions each candidate holds that can change.
    pub(super) fn loads(&self) -> Vec<usize> {
        let load = |candidate: &Candidate| {
            let open = Partition::all().filter(|partition| !self.fixed.contains(partition));
            open.filter(|partition| self.current.holds(*partition, candidate.member))
                .count()
        };
        self.candidates.iter().map(load).collect()
    }

    /// The candidates that hold a partition, by their number.
    pub(super) fn holding(&self, partition: Partition) -> impl Iterator<Item = (usize, &Candidate)> {
        let all = self.candidates.iter().enumerate();
        all.filter(move |(_, candidate)| self.current.holds(partition, candidate.member))
    }

    /// Copies of a partition that are missing because their holders are lost.
    pub(super) fn missing(&self, partition: Partition) -> usize {
        self.short(partition).min(self.lost(partition).count())
    }

    /// Copies of a partition that those who are not lost could hold, and do not.
    pub(super) fn short(&self, partition: Partition) -> usize {
        let holding = self.holding(partition);
        let counted = holding.filter(|(_, candidate)| candidate.counts()).count();
        self.shape_without_lost.copies.saturating_sub(counted)
    }

    /// The lost candidates that hold a partition, by their number.
    pub(super) fn lost(&self, partition: Partition) -> impl Iterator<Item = (usize, &Candidate)> {
        let holding = self.holding(partition);
        holding.filter(|(_, candidate)| matches!(candidate.standing, Standing::Lost { .. }))
    }

    /// How often a partition uses each zone, by the number of the zone.
    pub(super) fn zone_uses(&self, partition: Partition) -> Vec<usize> {
        let zones = self.candidates.iter().map(|candidate| candidate.zone + 1).max();
        let mut uses = vec![0; zones.unwrap_or(0)];
        for (_, candidate) in self.holding(partition) {
            uses[candidate.zone] += 1;
        }
        uses
    }
}

/// The candidates of a kind as vessels.
pub(super) fn vessels(candidates: &[Candidate], of_kind: impl Fn(&Candidate) -> bool) -> Vec<Vessel> {
    let vessel = |candidate: &Candidate| Vessel {
        zone: candidate.zone,
        weight: candidate.weight,
    };
    candidates
        .iter()
        .filter(|candidate| of_kind(candidate))
        .map(vessel)
        .collect()
}
