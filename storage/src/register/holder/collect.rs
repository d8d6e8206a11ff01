//! Forgetting tombstones (rule 5).
//!
//! A tombstone hides older values that may still stand on members or be on their way in messages. It may go only when
//! nothing can bring them back: **all** members confirm that they have it, so no older value stands anywhere; then **all**
//! promise a new ballot, so that nothing proposed before it is accepted any more; then it is dropped. A home that is away
//! delays that, and never breaks it.
//!
//! A tombstone also remembers what was done to the row: an attempt that waited in the queue of a member that slept must not
//! be done again after others. So before it goes, a fence is raised to when the last of what it remembers began, and what
//! began no later is done only where a row remembers it. Names of operations say when they began; no clock has to be right,
//! since the fence is made from those names.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ballot, Effect, Fences, Holder, Key, Mutant, Request, Stamp};
use crate::model::MemberId;

/// How often everybody is asked again before tombstones are left for later.
const ASKED_AGAIN_MAX: u8 = 8;

/// Tombstones on their way out.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    tombstones: BTreeMap<Key, (Stamp, BTreeSet<MemberId>)>,
    /// When the last operation began that they remember, or have forgotten.
    newest: u64,
    state: State,
    /// Whether a quorum has the fence, and nothing from below it is being written.
    is_fenced: bool,
    /// How often everybody was asked again for what is still missing.
    asked_again: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Members say whether they have the tombstones, and a quorum raises the fence.
    Confirming,
    /// The ballot changes as soon as no operation is running.
    Quiescing,
    /// All members are to promise this ballot.
    Promising(Ballot),
}

impl<C: Clone, O: Clone> Holder<C, O> {
    /// Begins to forget tombstones; one batch at a time, and only while this member holds the partition.
    pub(super) fn collect(&mut self, tombstones: Vec<(Key, Stamp)>, newest: u64) {
        let Some(ballot) = self.ballot() else { return };
        if self.collection.is_some() || tombstones.is_empty() {
            return;
        }
        let tombstones: BTreeMap<_, _> = tombstones
            .into_iter()
            .map(|(key, stamp)| (key, (stamp, BTreeSet::new())))
            .collect();
        for (key, (stamp, _)) in &tombstones {
            let (key, stamp) = (key.clone(), *stamp);
            self.broadcast(|nonce| Request::Confirm {
                ballot,
                key: key.clone(),
                stamp,
                nonce,
            });
        }
        let is_fenced = self.broken.is(Mutant::DropWithoutFence);
        self.collection = Some(Collection {
            tombstones,
            newest,
            state: State::Confirming,
            is_fenced,
            asked_again: 0,
        });
        if !is_fenced {
            // At once: it does no harm where nothing comes of the rest.
            self.raise(Fences {
                forgotten: newest,
                ..Fences::default()
            });
        }
    }

    pub(super) fn confirmed(&mut self, from: MemberId, ballot: Ballot, key: &Key, stamp: Stamp) {
        if self.ballot() != Some(ballot) {
            return;
        }
        let Some(collection) = &mut self.collection else {
            return;
        };
        if let Some((wanted, confirmed)) = collection.tombstones.get_mut(key)
            && *wanted == stamp
        {
            confirmed.insert(from);
        }
        self.settle_if_all();
    }

    /// These fences are raised.
    pub(super) fn fenced(&mut self, fences: Fences) {
        if let Some(collection) = &mut self.collection {
            collection.is_fenced |= collection.newest <= fences.forgotten;
        }
        self.settle_if_all();
    }

    fn settle_if_all(&mut self) {
        let all = self.collection.as_ref().is_some_and(|collection| {
            let mut tombstones = collection.tombstones.values();
            tombstones.all(|(_, confirmed)| self.have_all_confirmed(confirmed))
        });
        if all {
            self.settle();
        }
    }

    fn have_all_confirmed(&self, confirmed: &BTreeSet<MemberId>) -> bool {
        let Some(config) = self.config() else { return false };
        if self.broken.is(Mutant::DropOnQuorum) {
            return config.is_quorum(confirmed);
        }
        config.members().is_subset(confirmed)
    }

    /// Goes on with those tombstones that all members have, once they are behind the fence.
    fn settle(&mut self) {
        let is_ready =
            |collection: &mut Collection| collection.is_fenced && collection.state == State::Confirming;
        let Some(mut collection) = self.collection.take_if(is_ready) else {
            return;
        };
        collection
            .tombstones
            .retain(|_, (_, confirmed)| self.have_all_confirmed(confirmed));
        if collection.tombstones.is_empty() {
            return;
        }
        collection.state = State::Quiescing;
        self.collection = Some(collection);
        if self.broken.is(Mutant::DropWithoutNewBallot) {
            return self.drop_tombstones();
        }
        self.ballot_may_change();
    }

    /// Whether operations have to wait because the ballot is about to change.
    pub(super) fn is_changing_ballot(&self) -> bool {
        self.collection
            .as_ref()
            .is_some_and(|collection| collection.state == State::Quiescing)
    }

    /// Takes the new ballot once no operation is running, or drops once nothing is on its way.
    pub(super) fn ballot_may_change(&mut self) {
        if !self.is_changing_ballot() {
            return self.all_promised();
        }
        if self.lanes.values().any(super::Lane::is_running) {
            return;
        }
        self.attempt();
        if let (Some(collection), Some(attempt)) = (&mut self.collection, &self.attempt) {
            collection.state = State::Promising(attempt.ballot);
        }
    }

    /// Drops the tombstones once all members have promised the new ballot.
    pub(super) fn all_promised(&mut self) {
        let (Some(collection), Some(attempt)) = (&self.collection, &self.attempt) else {
            return;
        };
        let Some(config) = self.config() else { return };
        let promised = collection.state == State::Promising(attempt.ballot)
            && attempt.is_holder
            && (config.members().is_subset(&attempt.promised) || self.broken.is(Mutant::DropWithoutPromise));
        if promised && !self.lanes.values().any(super::Lane::is_proposing) {
            self.drop_tombstones();
        }
    }

    fn drop_tombstones(&mut self) {
        let (Some(collection), Some(ballot)) = (self.collection.take(), self.ballot()) else {
            return;
        };
        let members = self.config().map(|config| config.members()).unwrap_or_default();
        let forgotten = match self.broken.is(Mutant::DropWithoutFence) {
            true => 0,
            false => collection.newest,
        };
        for (key, (stamp, _)) in collection.tombstones {
            self.effects.extend(members.iter().map(|to| Effect::Send {
                to: *to,
                request: Request::Drop {
                    ballot,
                    key: key.clone(),
                    stamp,
                    forgotten,
                },
            }));
            self.effects.push(Effect::Dropped(key));
        }
        self.start_lanes();
    }

    /// What is overdue may not come: goes on with what is confirmed, or gives up. The tombstones go on hiding what they hide.
    pub(super) fn resend_collection(&mut self) {
        let Some(collection) = &mut self.collection else {
            return;
        };
        collection.asked_again = collection.asked_again.saturating_add(1);
        let is_over = collection.asked_again > ASKED_AGAIN_MAX;
        match collection.state {
            State::Confirming if collection.is_fenced => self.settle(),
            State::Quiescing if is_over => {
                // One that does not come to its end must not keep all others from beginning.
                self.collection = None;
                self.start_lanes();
            }
            State::Quiescing => {}
            State::Confirming | State::Promising(_) if is_over => self.collection = None,
            // The fence is sent again by whoever raises it.
            State::Confirming => {}
            State::Promising(_) => {
                self.ask_for_promises(Vec::new());
            }
        }
    }
}
