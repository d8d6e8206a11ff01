//! A mesh in which members join, leave and stay away, and the promises placement keeps in it.

mod format;
mod life;
mod promises;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::Partition;

pub(super) const TB: u64 = 1_000_000_000_000;
const MINUTE: u64 = 60_000;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// A mesh that executes what is proposed.
#[derive(Clone)]
pub(super) struct World {
    pub(super) members: Vec<Member>,
    pub(super) policy: Policy,
    pub(super) current: Option<Assignment>,
    pub(super) stored: u64,
    pub(super) now: u64,
}

/// Members only: their assignment follows from them, and would fill pages.
impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Member { node, .. } in &self.members {
            write!(f, "{} in {}: {} TB, ", node.member, node.zone, node.capacity / TB)?;
        }
        write!(f, "{} TB stored", self.stored / TB)
    }
}

impl World {
    /// Members 0, 1 … in the zones given by number, with capacities in TB.
    pub(super) fn new(homes: &[(u8, u64)]) -> Self {
        let mut world = Self {
            members: Vec::new(),
            policy: Policy::default(),
            current: None,
            stored: 0,
            now: 1000 * DAY,
        };
        for &(zone, capacity) in homes {
            world.join(zone, capacity);
        }
        world
    }

    /// As [`Self::new`], with its first assignment.
    pub(super) fn placed(homes: &[(u8, u64)]) -> Self {
        let mut world = Self::new(homes);
        assert_eq!(world.act(), [Reason::First]);
        world
    }

    pub(super) fn join(&mut self, zone: u8, capacity: u64) -> MemberId {
        let member = MemberId(u32::try_from(self.members.len()).unwrap());
        self.members.push(Member {
            node: Node {
                member,
                zone: zone_named(zone),
                capacity: capacity * TB,
                role: Role::Trusted,
            },
            presence: Presence::Here {
                since: Timestamp::from_millis(self.now),
            },
            draining: false,
        });
        member
    }

    pub(super) fn member(&mut self, id: u32) -> &mut Member {
        self.members
            .iter_mut()
            .find(|member| member.node.member == MemberId(id))
            .unwrap()
    }

    pub(super) fn remove(&mut self, id: u32) {
        self.members.retain(|member| member.node.member != MemberId(id));
    }

    pub(super) fn goes_away(&mut self, id: u32) {
        let since = Timestamp::from_millis(self.now);
        self.member(id).presence = Presence::Away { since };
    }

    pub(super) fn comes_back(&mut self, id: u32) {
        let since = Timestamp::from_millis(self.now);
        self.member(id).presence = Presence::Here { since };
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.now += millis;
    }

    pub(super) fn propose(&self) -> Result<Proposal, PlacementError> {
        propose(&Mesh {
            members: &self.members,
            policy: &self.policy,
            current: self.current.as_ref(),
            stored: self.stored,
            now: Timestamp::from_millis(self.now),
        })
    }

    /// Executes what is proposed, and checks that nothing more is; says why it was.
    #[track_caller]
    pub(super) fn act(&mut self) -> Vec<Reason> {
        let proposal = self.propose().unwrap();
        if let Some(next) = proposal.next {
            assert!(!proposal.reasons.is_empty());
            self.current = Some(next);
            let again = self.propose().unwrap();
            // The assignments themselves would fill pages.
            assert!(
                again.next.is_none(),
                "{:?} after {:?}",
                again.reasons,
                proposal.reasons
            );
        }
        proposal.reasons
    }

    pub(super) fn assignment(&self) -> &Assignment {
        self.current.as_ref().unwrap()
    }

    /// Partitions whose blocks each member holds.
    pub(super) fn blocks(&self) -> Vec<usize> {
        self.members
            .iter()
            .map(|member| self.assignment().blocks_of(member.node.member))
            .collect()
    }

    /// Partitions whose rows each member holds.
    pub(super) fn rows(&self) -> Vec<usize> {
        self.members
            .iter()
            .map(|member| self.assignment().rows_of(member.node.member))
            .collect()
    }

    /// How many copies of blocks were made since.
    pub(super) fn copied_since(&self, before: &Assignment) -> usize {
        Transition::between(before, self.assignment()).copies()
    }

    /// The smallest and the largest number of copies of a partition's blocks.
    pub(super) fn copies(&self) -> (usize, usize) {
        let copies =
            || Partition::all().map(|partition| self.assignment().blocks.holders_of(partition).len());
        (copies().min().unwrap(), copies().max().unwrap())
    }

    /// The smallest number of zones the blocks, and the rows, of a partition are in.
    pub(super) fn zones_least(&self) -> (usize, usize) {
        let zones: BTreeMap<_, _> = self
            .members
            .iter()
            .map(|member| (member.node.member, &member.node.zone))
            .collect();
        let count =
            |members: Vec<MemberId>| members.iter().map(|id| zones[id]).collect::<BTreeSet<_>>().len();
        let assignment = self.assignment();
        let blocks =
            Partition::all().map(|partition| count(assignment.blocks.holders_of(partition).to_vec()));
        let rows = Partition::all().map(|partition| {
            count(
                assignment
                    .rows
                    .voters(partition)
                    .iter()
                    .map(|vote| vote.member)
                    .collect(),
            )
        });
        (blocks.min().unwrap(), rows.min().unwrap())
    }
}

pub(super) fn zone_named(number: u8) -> Zone {
    Zone::parse(&format!("home {number}")).unwrap()
}
