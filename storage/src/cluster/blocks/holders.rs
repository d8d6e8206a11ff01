//! Who is wanted to hold a block, and who may hold it all the same, by what is known of the mesh.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::mesh::View;
use crate::model::{BlockId, MemberId, Role, Zone};

/// The members and the assignment at one moment, as one member sees them.
#[derive(Clone)]
pub(super) struct Holders {
    me: MemberId,
    zone: Zone,
    view: Arc<View>,
}

impl Holders {
    pub(super) fn new(me: MemberId, zone: Zone, view: Arc<View>) -> Self {
        Self { me, zone, view }
    }

    /// Which assignment this is; 0 before the first.
    pub(super) fn version(&self) -> u64 {
        self.view
            .assignment
            .as_ref()
            .map_or(0, |assignment| assignment.version)
    }

    /// Who is wanted to hold a block; never nobody. While nothing is decided, whoever takes it in keeps it.
    pub(super) fn wanted(&self, id: &BlockId) -> Vec<MemberId> {
        let assigned = self
            .view
            .assignment
            .as_ref()
            .map_or(&[][..], |assignment| assignment.value.blocks.holders(id));
        let is_member = |member: &&MemberId| **member == self.me || self.view.members.contains_key(*member);
        let mut wanted: Vec<MemberId> = assigned.iter().filter(is_member).copied().collect();
        if wanted.is_empty() {
            wanted.push(self.me);
        }
        // Its own disk is the nearest.
        wanted.sort_by_key(|member| *member != self.me);
        wanted
    }

    /// Whether this member is to hand over everything, by its row.
    pub(super) fn hands_over(&self) -> bool {
        let row = self.view.members.get(&self.me);
        row.is_some_and(|row| row.value.draining)
    }

    /// Whether this member stays, by its row: one that is gone has none.
    pub(super) fn stays(&self) -> bool {
        let row = self.view.members.get(&self.me);
        row.is_some_and(|row| !row.value.draining)
    }

    /// All other members that may hold blocks, wanted or not.
    pub(super) fn others(&self) -> Vec<MemberId> {
        let members = self.view.members.iter();
        members
            .filter(|(member, row)| **member != self.me && row.value.role != Role::Witness)
            .map(|(member, _)| *member)
            .collect()
    }

    /// Everybody who may hold blocks.
    pub(super) fn everybody(&self) -> BTreeSet<MemberId> {
        self.others().into_iter().chain([self.me]).collect()
    }

    /// Where those of some stand that are members.
    pub(super) fn zones(&self, members: &BTreeSet<MemberId>) -> BTreeSet<Zone> {
        let is_member = |member: &&MemberId| **member == self.me || self.view.members.contains_key(*member);
        let members = members.iter().filter(is_member);
        members.map(|member| self.zone(*member)).collect()
    }

    /// Where a member stands.
    pub(super) fn zone(&self, member: MemberId) -> Zone {
        let row = self.view.members.get(&member);
        row.map_or_else(|| self.zone.clone(), |row| row.value.zone.clone())
    }
}
