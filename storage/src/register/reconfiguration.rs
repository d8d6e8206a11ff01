//! Changing who votes in a partition, without a moment in which two sides can decide (rule 6).
//!
//! The root partition commits `joint(old, new)` as epoch e+1. A member adopts it by promising its barrier. Once a quorum of
//! the old voters has, nothing can be decided under epoch e any more; only then does it make sense to copy rows, and every
//! new voter reads each row linearizably and has it taught ([`super::Purpose::Teach`]). When all have, the root partition
//! commits `new` alone as epoch e+2.

use std::collections::BTreeSet;

use super::mutant::Broken;
use super::{Config, Epoch, Mutant, Votes};
use crate::model::MemberId;

/// A change of voters under way: its joint epoch and how far it has come.
#[derive(Clone, Debug)]
pub struct Transition {
    epoch: Epoch,
    old: Votes,
    new: Votes,
    adopted: BTreeSet<MemberId>,
    synced: BTreeSet<MemberId>,
    broken: Broken,
}

/// What a transition needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Further members must adopt the joint epoch.
    Adopt,
    /// These new voters must read and be taught every row.
    Sync(BTreeSet<MemberId>),
    /// This is to be committed as this epoch.
    Commit(Epoch, Config),
}

impl Transition {
    /// The configuration to commit first, and the change that begins with it. `epoch` is the present one.
    pub fn begin(epoch: Epoch, old: Votes, new: Votes, broken: Broken) -> (Epoch, Config, Self) {
        let joint = match broken.is(Mutant::WithoutJoint) {
            true => Config::stable(new.clone()),
            false => Config {
                old: old.clone(),
                new: Some(new.clone()),
            },
        };
        let transition = Self {
            epoch: epoch + 1,
            old,
            new,
            adopted: BTreeSet::new(),
            synced: BTreeSet::new(),
            broken,
        };
        (epoch + 1, joint, transition)
    }

    /// The joint epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A member has adopted the joint epoch, durably.
    pub fn adopted(&mut self, member: MemberId) {
        self.adopted.insert(member);
    }

    /// A new voter has every row, durably, as linearizable reads *begun after the barrier stood* found it.
    pub fn synced(&mut self, member: MemberId) {
        if self.barrier_stands() {
            self.synced.insert(member);
        }
    }

    /// Whether nothing can be decided under the old epoch any more.
    pub fn barrier_stands(&self) -> bool {
        self.old.is_quorum(&self.adopted) || self.broken.is(Mutant::SyncWithoutBarrier)
    }

    /// What is to be done next.
    pub fn next(&self) -> Next {
        if !self.barrier_stands() {
            return Next::Adopt;
        }
        let missing: BTreeSet<MemberId> = self
            .new
            .members()
            .filter(|member| !self.synced.contains(member))
            .collect();
        if missing.is_empty() || self.broken.is(Mutant::EpochWithoutSync) {
            return Next::Commit(self.epoch + 1, Config::stable(self.new.clone()));
        }
        Next::Sync(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_voters_are_synced_only_after_a_quorum_of_the_old_has_adopted() {
        let old = Votes::equal([1, 2, 3].map(MemberId)).unwrap();
        let new = Votes::equal([3, 4].map(MemberId)).unwrap();
        let (epoch, joint, mut transition) = Transition::begin(4, old.clone(), new.clone(), Broken::NOTHING);
        assert_eq!((epoch, joint.new.as_ref()), (5, Some(&new)));
        transition.synced(MemberId(4));
        transition.adopted(MemberId(1));
        transition.adopted(MemberId(4));
        assert_eq!(transition.next(), Next::Adopt);
        transition.adopted(MemberId(2));
        assert_eq!(transition.next(), Next::Sync([3, 4].map(MemberId).into()));
        transition.synced(MemberId(3));
        transition.synced(MemberId(4));
        assert_eq!(transition.next(), Next::Commit(6, Config::stable(new)));
    }
}
