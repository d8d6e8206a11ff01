//! Ballots order attempts to hold a partition; stamps order the writes of all attempts.

use serde::{Deserialize, Serialize};

use crate::model::MemberId;

/// Number of a configuration of a partition: every change of its members has one, ascending.
pub type Epoch = u32;

/// One attempt of one member to hold a partition. Ordered: a higher ballot deposes a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// Configuration it was made under. First, so that a change of members deposes every holder.
    pub epoch: Epoch,
    /// Counts attempts; 0 only in [`Ballot::barrier`].
    pub round: u32,
    /// Who attempts: no two members ever make the same ballot.
    pub member: MemberId,
}

impl Ballot {
    /// Below every ballot that anybody makes.
    pub const ZERO: Self = Self::barrier(0);

    /// What a member promises by adopting an epoch: above all ballots of earlier epochs, below all of this one.
    pub const fn barrier(epoch: Epoch) -> Self {
        Self {
            epoch,
            round: 0,
            member: MemberId(0),
        }
    }
}

/// Orders the contents of one row: the higher stamp is the newer content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Under which ballot it was proposed.
    pub ballot: Ballot,
    /// Counts proposals of that ballot, from 1; no two proposals share a stamp unless they are the same proposal.
    pub seq: u32,
}

impl Stamp {
    /// Of a row that was never written.
    pub const ZERO: Self = Self {
        ballot: Ballot::ZERO,
        seq: 0,
    };

    /// Whether anything was ever written under it.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_beats_every_ballot_before_it_and_loses_to_every_ballot_in_it() {
        let before = Ballot {
            epoch: 1,
            round: u32::MAX,
            member: MemberId(u32::MAX),
        };
        let within = Ballot {
            epoch: 2,
            round: 1,
            member: MemberId(0),
        };
        assert!(before < Ballot::barrier(2) && Ballot::barrier(2) < within);
        assert!(Ballot::ZERO < before);
    }
}
