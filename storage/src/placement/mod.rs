//! Which members hold what: pure decisions from members and capacities to an assignment, and from one to the next.
//!
//! [`propose`] is the only decision; whoever executes it commits [`Proposal::next`] as a root row and asks again.
//! Blocks and rows have separate maps. Both follow the same rules, written down once in [`mend`] (what has to be
//! done: newcomers, members that leave or are lost) and [`balance`] (what may wait), over [`field`] (how everybody
//! stands to a map), with [`targets`] (what each is due) and one min-cost [`flow`] over all partitions ([`spread`]).

mod assignment;
mod balance;
mod blocks;
mod field;
mod flow;
mod holders;
mod mend;
mod propose;
mod rows;
mod spread;
mod targets;
#[cfg(test)]
mod tests;
mod transition;

use crate::model::{MemberId, MemberRow, Role, Timestamp, Zone};

pub use assignment::{Assignment, InvalidAssignment};
pub use blocks::{BlockMap, usable_bytes};
pub use propose::{Mesh, PlacementError, Proposal, Reason, Wait, propose};
pub use rows::{RowMap, Vote, Voters};
pub use transition::{BlockChange, RowChange, Transition};

/// A node to place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its membership.
    pub member: MemberId,
    /// Where it stands: what fails together.
    pub zone: Zone,
    /// Bytes it gives to the mesh; with 0 it holds nothing.
    pub capacity: u64,
    /// What it may hold.
    pub role: Role,
}

/// A member and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub node: Node,
    /// Whether it can be reached.
    pub presence: Presence,
    /// Whether a person asked that it hands over everything it holds.
    pub draining: bool,
}

impl Member {
    /// A member by its row.
    pub(crate) fn of(member: MemberId, row: &MemberRow, presence: Presence) -> Self {
        Self {
            node: Node {
                member,
                zone: row.zone.clone(),
                capacity: row.capacity,
                role: row.role,
            },
            presence,
            draining: row.draining,
        }
    }
}

/// Whether a member can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It can.
    Here {
        /// Since it joined or came back.
        since: Timestamp,
    },
    /// It cannot.
    Away {
        /// Since it was last reached.
        since: Timestamp,
    },
}

/// What a person decided for the whole mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Copies of each block; by default one in each of up to three zones.
    pub copies: Option<usize>,
    /// The zone that works on alone when there are two; by default the one where it is, or the largest.
    pub tie_break: Option<Zone>,
}
