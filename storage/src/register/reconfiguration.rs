//! Changing who votes in a partition, without a moment in which two sides can decide (rule 6).
//!
//! The root partition commits `joint(old, new)` as epoch e+1. A member adopts it by promising its barrier. Once a quorum of
//! the old voters has, nothing can be decided under epoch e any more; only then does it make sense to copy rows, and every
//! new voter reads each row linearizably and has it taught ([`super::Purpose::Teach`]). When all have, a holder of the joint
//! epoch raises the fences it was told once more, so that a quorum of the new voters has them. Then the root partition commits
//! `new` alone as epoch e+2.

use std::collections::BTreeSet;

use super::mutant::Broken;
use super::{Config, Configs, Epoch, Mutant, Part, Votes};
use crate::model::MemberId;

/// What a member writes to adopt an epoch, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// If there is one: to be promised first, and then *all rows are to be forgotten*. This member has been outside
    /// meanwhile, or is now, and what it has from before was perhaps deleted in its absence, without a trace.
    pub outside: Option<Part>,
    /// The epoch's promise.
    pub part: Part,
}

/// How a member adopts an epoch; `None` when it has already, or when not every epoch in between is known.
///
/// Whoever learns of a configuration adopts it in the same turn, before its acceptor or its holder sees it: an acceptor
/// that promised on its own to somebody of the new epoch would offer rows that it ought to have forgotten.
pub fn adopt(me: MemberId, configs: &Configs, part: &Part, epoch: Epoch, broken: Broken) -> Option<Adoption> {
    let after = part.adopt(epoch)?;
    let mut outside = None;
    for between in part.promised.epoch..=epoch {
        if !configs.get(between)?.members().contains(&me) {
            // It may be the epoch it is in already.
            outside = Some(part.adopt(between).unwrap_or(*part));
        }
    }
    if broken.is(Mutant::RejoinWithRows) {
        outside = None;
    }
    Some(Adoption { outside, part: after })
}

/// A change of voters under way: its joint epoch and how far it has come.
#[derive(Clone, Debug)]
pub struct Transition {
    epoch: Epoch,
    old: Votes,
    new: Votes,
    adopted: BTreeSet<MemberId>,
    synced: BTreeSet<MemberId>,
    is_fenced: bool,
    broken: Broken,
}

/// What a transition needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Further members must adopt the joint epoch.
    Adopt,
    /// These new voters must read and be taught every row.
    Sync(BTreeSet<MemberId>),
    /// A holder of the joint epoch must raise no fences but those it was told: [`super::Event::Raise`] with
    /// [`super::Fences::default`].
    Raise,
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
            is_fenced: false,
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

    /// A new voter has every row, durably, as linearizable reads found it that *began after the barrier stood*, and after
    /// its own adoption was durable: until then it may still tell rows that it is about to forget.
    pub fn synced(&mut self, member: MemberId) {
        if self.barrier_stands() {
            self.synced.insert(member);
        }
    }

    /// A holder under a ballot of this epoch told [`super::Effect::Raised`].
    pub fn raised(&mut self, epoch: Epoch) {
        self.is_fenced |= epoch == self.epoch;
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
        if !missing.is_empty() && !self.broken.is(Mutant::EpochWithoutSync) {
            return Next::Sync(missing);
        }
        if !self.is_fenced && !self.broken.is(Mutant::EpochWithoutFences) {
            return Next::Raise;
        }
        Next::Commit(self.epoch + 1, Config::stable(self.new.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Ballot;
    use super::*;

    fn configs(of: &[&[u32]]) -> Configs {
        let mut configs = Configs::default();
        for (epoch, members) in (0..).zip(of) {
            let votes = Votes::equal(members.iter().copied().map(MemberId)).unwrap();
            configs.learn(epoch, Config::stable(votes));
        }
        configs
    }

    #[test]
    fn who_was_outside_for_an_epoch_forgets_its_rows_and_nobody_else_does() {
        let adopt = |me, configs: &Configs, from, to| {
            let part = Part::NEW.adopt(from).unwrap_or(Part::NEW);
            adopt(MemberId(me), configs, &part, to, Broken::NOTHING)
        };
        let known = configs(&[&[1, 2], &[1, 2], &[1, 3], &[1, 2]]);
        assert_eq!(adopt(1, &known, 0, 3).unwrap().outside, None);
        let rejoins = adopt(2, &known, 1, 3).unwrap();
        assert_eq!(rejoins.outside.unwrap().promised, Ballot::barrier(2));
        assert_eq!(rejoins.part.promised, Ballot::barrier(3));
        // It had promised to be outside when it crashed, and perhaps not forgotten yet.
        assert_eq!(
            adopt(2, &known, 2, 3).unwrap().outside.unwrap().promised,
            Ballot::barrier(2)
        );
        assert_eq!(adopt(2, &known, 3, 3), None);
        let mut gap = Configs::default();
        gap.learn(3, known.get(3).unwrap().as_ref().clone());
        assert_eq!(adopt(2, &gap, 1, 3), None);
    }

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
        transition.raised(4);
        assert_eq!(transition.next(), Next::Raise);
        transition.raised(5);
        assert_eq!(transition.next(), Next::Commit(6, Config::stable(new)));
    }
}
