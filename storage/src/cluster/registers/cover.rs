//! What a holder knows of the rows of others: enough, and a new row costs one round trip; else each costs one more.
//!
//! A holder that took a partition over asks a quorum about every row that it did not write itself. Rather than row by row
//! it learns of all at once when it compares its rows with those of another voter anyway: what that one had after it
//! promised the holder's ballot is all that the ballots before can have left there.

use std::collections::BTreeMap;

use super::{Machine, PARTITIONS, Registers};
use crate::StoreError;
use crate::model::MemberId;
use crate::register::{Ballot, Event, Key};

impl<M: Machine> Registers<M> {
    /// Partitions that this member holds, under which ballot, and of which it has to ask others about new rows.
    pub(crate) fn uncovered(&self) -> BTreeMap<u16, Ballot> {
        let held = |number| Some((number, self.partition(number).uncovered()?));
        (0..PARTITIONS).filter_map(held).collect()
    }

    /// Whether a member has something to tell about partitions that this one holds.
    pub(crate) fn would_learn_from(&self, member: MemberId) -> bool {
        let mut held = self.uncovered().into_iter();
        held.any(|(number, ballot)| {
            let voters = self.steady_voters(number, ballot.epoch);
            voters.is_some_and(|voters| voters.contains(&member))
                && !self.partition(number).was_told_all_by(member)
        })
    }

    /// What this member has promised in a partition: all it took below that can be read from its disk.
    pub(crate) fn promised(&self, partition: u16) -> Ballot {
        self.partition(partition).durable_promise()
    }

    /// Notes that a member, after it had promised this ballot and no higher one, told all its rows of a partition; under these
    /// keys this member has older ones.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn note_told_all(
        &self,
        from: MemberId,
        (partition, ballot): (u16, Ballot),
        behind: Vec<Key>,
    ) -> Result<(), StoreError> {
        let this = self.clone();
        let event = Event::ToldAll { from, ballot, behind };
        self.finish(async move { this.feed(partition, event).await })
            .await
    }
}
