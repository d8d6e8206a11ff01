//! What it takes to get from one assignment to another.

use super::assignment::Assignment;
use super::rows::Voters;
use crate::model::{MemberId, Partition};

/// What changes between two assignments, a partition at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transition {
    /// Partitions whose blocks change hands, in order.
    pub blocks: Vec<BlockChange>,
    /// Partitions whose rows get other holders or votes, in order.
    pub rows: Vec<RowChange>,
}

/// Who gets and who gives up the blocks of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockChange {
    /// Which partition.
    pub partition: Partition,
    /// Who gets a copy. Any holder before can send it.
    pub gains: Vec<MemberId>,
    /// Who may forget its copy, once those who gain have theirs.
    pub loses: Vec<MemberId>,
}

/// One reconfiguration of the rows of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// Which partition.
    pub partition: Partition,
    /// Who votes before.
    pub old: Voters,
    /// Who votes after.
    pub new: Voters,
}

impl Transition {
    /// What changes from one assignment to the other.
    pub fn between(from: &Assignment, to: &Assignment) -> Self {
        let blocks = Partition::all().filter_map(|partition| {
            let (old, new) = (from.blocks.holders_of(partition), to.blocks.holders_of(partition));
            (old != new).then(|| BlockChange {
                partition,
                gains: without(new, old),
                loses: without(old, new),
            })
        });
        let rows = Partition::all().filter_map(|partition| {
            let (old, new) = (from.rows.voters(partition), to.rows.voters(partition));
            (old != new).then(|| RowChange {
                partition,
                old: old.clone(),
                new: new.clone(),
            })
        });
        Self {
            blocks: blocks.collect(),
            rows: rows.collect(),
        }
    }

    /// How many copies of partitions have to be made.
    pub fn copies(&self) -> usize {
        self.blocks.iter().map(|change| change.gains.len()).sum()
    }

    /// About how many bytes have to be copied, when `stored` bytes are kept in all, counted once.
    pub fn bytes(&self, stored: u64) -> u64 {
        let bytes = u128::from(stored) * self.copies() as u128 / Partition::COUNT as u128;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

fn without(members: &[MemberId], others: &[MemberId]) -> Vec<MemberId> {
    let missing = |member: &&MemberId| !others.contains(member);
    members.iter().filter(missing).copied().collect()
}
