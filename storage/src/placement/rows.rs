//! Which members hold the rows of each partition, and with how many votes.
//!
//! A quorum is more than half of the votes of a partition, so that two quorums always share a member, and the
//! later one learns what the earlier one decided. Totals are odd: with an even total, half of the votes is not
//! a quorum, so that the last vote makes quorums larger without one more loss being survived.
//!
//! | boxes that may vote               | votes     | quorum | survives the loss of                             |
//! |-----------------------------------|-----------|--------|--------------------------------------------------|
//! | 1                                 | (1)       | 1 of 1 | none                                             |
//! | 2                                 | (2, 1)    | 2 of 3 | the second: the tie-break alone has 2 of 3       |
//! | 3 and more in one zone            | (1, 1, 1) | 2 of 3 | any one box: the others have 2                   |
//! | 2 zones, several at the tie-break | (1, 1), 1 | 2 of 3 | any one box, or the whole zone without tie-break |
//! | 3 zones and more                  | (1, 1, 1) | 2 of 3 | any one box, or any whole zone                   |
//!
//! (1, 1) would need 2 of 2: either loss would stop it, so (2, 1) is better with two boxes. No votes let two zones
//! survive the loss of either: each would have to be a quorum alone, and the two would share no member. So one has
//! the tie-break and works on alone, and a person may name it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Node;
use super::holders::Holders;
use super::targets::{Shape, Vessel};
use crate::model::{MemberId, Partition, Zone};
use crate::register::Votes;

/// Members that hold the rows of one partition, at most.
const VOTERS_MAX: usize = 3;

/// A member that holds the rows of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    /// Which member.
    pub member: MemberId,
    /// How many votes it has: 1 or 2.
    pub votes: u8,
}

/// The members that hold the rows of one partition: 1 to 3, in ascending order, with an odd number of votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vote>", into = "Vec<Vote>")]
pub struct Voters(Vec<Vote>);

impl Voters {
    /// The members and their votes.
    pub fn iter(&self) -> impl Iterator<Item = Vote> {
        self.0.iter().copied()
    }

    /// The votes as registers count them; never none, as there is always a voter.
    pub fn votes(&self) -> Option<Votes> {
        Votes::new(self.iter().map(|vote| (vote.member, vote.votes)))
    }

    fn total(&self) -> u8 {
        self.iter().map(|vote| vote.votes).sum()
    }

    /// The votes of members that were chosen: the first of two has the tie-break.
    fn new(members: &[MemberId], tie_break: impl Fn(MemberId, MemberId) -> MemberId) -> Option<Self> {
        let vote = |member, votes| Vote { member, votes };
        match *members {
            [] => None,
            [a, b] => {
                let first = tie_break(a, b);
                let votes = |member| if member == first { 2 } else { 1 };
                Some(Self(vec![vote(a, votes(a)), vote(b, votes(b))]))
            }
            // Of four no three would be left out; no shape asks for more than three.
            _ => Some(Self(
                members
                    .iter()
                    .take(VOTERS_MAX)
                    .map(|&member| vote(member, 1))
                    .collect(),
            )),
        }
    }
}

impl TryFrom<Vec<Vote>> for Voters {
    type Error = &'static str;

    fn try_from(votes: Vec<Vote>) -> Result<Self, Self::Error> {
        if votes.is_empty() || votes.len() > VOTERS_MAX {
            return Err("a partition has 1 to 3 voters");
        }
        if !votes.is_sorted_by(|a, b| a.member < b.member) {
            return Err("voters are not in ascending order");
        }
        let allowed = votes.iter().all(|vote| matches!(vote.votes, 1 | 2));
        let voters = Self(votes);
        if allowed && voters.total() % 2 == 1 {
            Ok(voters)
        } else {
            Err("votes are not 1 or 2 each and odd together")
        }
    }
}

impl From<Voters> for Vec<Vote> {
    fn from(voters: Voters) -> Self {
        voters.0
    }
}

/// Which members hold the rows of each partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Voters>", into = "Vec<Voters>")]
pub struct RowMap(Vec<Voters>);

impl RowMap {
    /// The members that hold the rows of a partition.
    pub fn voters(&self, partition: Partition) -> &Voters {
        &self.0[usize::from(partition.0)]
    }

    /// The map without the votes.
    pub(super) fn holders(&self) -> Holders {
        Holders::from_fn(|partition| self.voters(partition).iter().map(|vote| vote.member).collect())
    }

    /// Votes of each zone over all partitions.
    fn zone_votes(&self, nodes: &[&Node]) -> BTreeMap<Zone, usize> {
        let zones: BTreeMap<_, _> = nodes.iter().map(|node| (node.member, &node.zone)).collect();
        let mut votes = BTreeMap::new();
        for vote in self.0.iter().flat_map(Voters::iter) {
            if let Some(&zone) = zones.get(&vote.member) {
                *votes.entry(zone.clone()).or_default() += usize::from(vote.votes);
            }
        }
        votes
    }
}

impl TryFrom<Vec<Voters>> for RowMap {
    type Error = &'static str;

    fn try_from(partitions: Vec<Voters>) -> Result<Self, Self::Error> {
        if partitions.len() == Partition::COUNT {
            Ok(Self(partitions))
        } else {
            Err("not 256 partitions")
        }
    }
}

impl From<RowMap> for Vec<Voters> {
    fn from(map: RowMap) -> Self {
        map.0
    }
}

/// The zone that works on alone when there are two: the named one if it can, else where it is, else the largest.
pub(super) fn tie_break_zone(named: Option<&Zone>, voting: &[&Node], now: Option<&RowMap>) -> Option<Zone> {
    if let Some(named) = named
        && voting.iter().any(|node| node.zone == *named)
    {
        return Some(named.clone());
    }
    let votes = now.map(|rows| rows.zone_votes(voting)).unwrap_or_default();
    let size = |zone: &Zone| {
        let boxes = voting.iter().filter(|node| node.zone == *zone);
        let bytes = boxes
            .clone()
            .fold(0u64, |sum, node| sum.saturating_add(node.capacity));
        (votes.get(zone).copied().unwrap_or(0), boxes.count(), bytes)
    };
    let zones: BTreeSet<_> = voting.iter().map(|node| &node.zone).collect();
    // Reversed, so that of equals the first by name is the last of the greatest.
    zones.into_iter().rev().max_by_key(|zone| size(zone)).cloned()
}

/// How many voters, and how many of them in a zone; `tie_break` is the number of a zone.
pub(super) fn shape(vessels: &[Vessel], tie_break: Option<usize>) -> Shape {
    let zones: BTreeSet<_> = vessels.iter().map(|vessel| vessel.zone).collect();
    let members = |zone| vessels.iter().filter(|vessel| vessel.zone == zone).count();
    let mut zone_limits = vec![1; zones.last().map_or(0, |last| last + 1)];
    let copies = match zones.len() {
        1 => {
            zone_limits.fill(VOTERS_MAX);
            vessels.len().min(VOTERS_MAX)
        }
        2 => match tie_break.filter(|zone| members(*zone) > 1) {
            Some(zone) => {
                zone_limits[zone] = 2;
                3
            }
            None => 2,
        },
        zones => zones.min(VOTERS_MAX),
    };
    Shape { copies, zone_limits }
}

/// Gives votes to chosen members; a partition that is `fixed`, or for which nobody was chosen, keeps `now`.
pub(super) fn with_votes(
    chosen: &Holders,
    nodes: &[&Node],
    tie_break: Option<&Zone>,
    now: Option<&RowMap>,
    fixed: &BTreeSet<Partition>,
) -> Option<RowMap> {
    let voters = |partition| {
        let kept = now.map(|rows| rows.voters(partition));
        if fixed.contains(&partition) {
            return kept.cloned();
        }
        let first = |a, b| first_of_two(a, b, nodes, tie_break, kept);
        Voters::new(chosen.of(partition), first).or_else(|| kept.cloned())
    };
    Some(RowMap(Partition::all().map(voters).collect::<Option<_>>()?))
}

/// Who of two gets the second vote: who stands in the tie-break zone, else who has it, else who has more room.
fn first_of_two(
    a: MemberId,
    b: MemberId,
    nodes: &[&Node],
    tie_break: Option<&Zone>,
    now: Option<&Voters>,
) -> MemberId {
    let rank = |member| {
        let node = nodes.iter().find(|node| node.member == member);
        let in_zone = node.is_some_and(|node| Some(&node.zone) == tie_break);
        let has_it =
            now.is_some_and(|voters| voters.iter().any(|vote| vote.member == member && vote.votes > 1));
        (in_zone, has_it, node.map_or(0, |node| node.capacity))
    };
    if rank(b) > rank(a) { b } else { a }
}
