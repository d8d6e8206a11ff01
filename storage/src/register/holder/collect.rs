//! Forgetting tombstones (rule 5).
//!
//! A tombstone hides older values that may still stand on members or be on their way in messages. It may go only when
//! nothing can bring them back: **all** members confirm that they have it, so no older value stands anywhere; then **all**
//! promise a new ballot, so that nothing proposed before it is accepted any more; then it is dropped. A home that is away
//! delays that, and never breaks it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ballot, Effect, Holder, Key, Mutant, Request, Stamp};
use crate::model::MemberId;

/// Tombstones on their way out.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    tombstones: BTreeMap<Key, (Stamp, BTreeSet<MemberId>)>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Members say whether they have the tombstones.
    Confirming,
    /// The ballot changes as soon as no operation is running.
    Quiescing,
    /// All members are to promise this ballot.
    Promising(Ballot),
}

impl<C: Clone, O: Clone> Holder<C, O> {
    /// Begins to forget tombstones; one batch at a time, and only while this member holds the partition.
    pub(super) fn collect(&mut self, tombstones: Vec<(Key, Stamp)>) {
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
        self.collection = Some(Collection {
            tombstones,
            state: State::Confirming,
        });
    }

    pub(super) fn confirmed(&mut self, from: MemberId, ballot: Ballot, key: &Key, stamp: Stamp) {
        if self.ballot() != Some(ballot) {
            return;
        }
        let Some(collection) = &mut self.collection else {
            return;
        };
        if collection.state != State::Confirming {
            return;
        }
        if let Some((wanted, confirmed)) = collection.tombstones.get_mut(key)
            && *wanted == stamp
        {
            confirmed.insert(from);
        }
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

    /// Goes on with those tombstones that all members have.
    fn settle(&mut self) {
        let Some(mut collection) = self.collection.take() else {
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
            && config.members().is_subset(&attempt.promised);
        if promised && !self.lanes.values().any(super::Lane::is_proposing) {
            self.drop_tombstones();
        }
    }

    fn drop_tombstones(&mut self) {
        let (Some(collection), Some(ballot)) = (self.collection.take(), self.ballot()) else {
            return;
        };
        let members = self.config().map(|config| config.members()).unwrap_or_default();
        for (key, (stamp, _)) in collection.tombstones {
            self.effects.extend(members.iter().map(|to| Effect::Send {
                to: *to,
                request: Request::Drop {
                    ballot,
                    key: key.clone(),
                    stamp,
                },
            }));
            self.effects.push(Effect::Dropped(key));
        }
        self.start_lanes();
    }

    /// What is overdue will not come: goes on with what is confirmed, or gives up.
    pub(super) fn resend_collection(&mut self) {
        match self.collection.as_ref().map(|collection| collection.state) {
            Some(State::Confirming) => self.settle(),
            Some(State::Promising(_)) if self.ballot().is_some() => {
                // A member is away: it goes on hiding what it hides.
                self.ask_for_promises(Vec::new());
            }
            Some(State::Quiescing | State::Promising(_)) | None => {}
        }
    }
}
