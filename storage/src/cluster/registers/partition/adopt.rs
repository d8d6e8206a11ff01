//! Adopting the configurations that the root partition committed, and forgetting rows where a member was outside.

use super::{Commit, Decided, Fed, Partition};
use crate::StoreError;
use crate::cluster::registers::{Machine, record};
use crate::disk::{Room, RowWrite};
use crate::register::{Broken, Configs, Event, Key, Part, Row, adopt};

/// Rows forgotten in one turn.
const FORGET_MAX: usize = 4000;

/// What one turn of adopting came to.
pub(in super::super) enum Adopted {
    /// Nothing is left to adopt.
    Nothing,
    /// It goes on in another turn, once this is durable.
    More(Option<Commit>),
    /// The newest configuration is adopted, once this is durable.
    Newest(Fed),
}

impl<M: Machine> Partition<M> {
    /// Learns configurations and adopts the newest, in one turn. Where this member was outside in between, turns before
    /// that promise to be outside and forget rows, and know nothing of what comes after.
    ///
    /// # Errors
    /// The disk fails. Epochs are missing in between: this member was away for too long to say what its rows are worth.
    pub(in super::super) fn adopt(&mut self, known: &Configs, room: Room) -> Result<Adopted, StoreError> {
        if self.failed {
            return Err(StoreError::Unavailable);
        }
        let mut configs = self.configs.clone();
        for (epoch, config) in known.all() {
            configs.learn(epoch, config.as_ref().clone());
        }
        let Some(newest) = configs.newest().filter(|newest| *newest > self.epoch()) else {
            return Ok(Adopted::Nothing);
        };
        let Some(adoption) = adopt(self.me, &configs, &self.part, newest, Broken::NOTHING) else {
            return Err(StoreError::Outdated);
        };
        let mut decided = Decided::default();
        if let Some(outside) = adoption.outside {
            let rows = self.some_rows()?;
            if outside.promised > self.part.promised || !rows.is_empty() {
                self.learn(known.all().filter(|(epoch, _)| *epoch <= outside.promised.epoch));
                self.take_part(outside, &mut decided);
                self.forget(rows, &mut decided);
                self.depose(outside.promised.epoch);
                return Ok(Adopted::More(self.commit(decided, room)?));
            }
        }
        self.configs = configs;
        self.learn(known.all());
        self.take_part(adoption.part, &mut decided);
        self.depose(newest);
        let commit = self.commit(decided, room)?;
        Ok(Adopted::Newest(Fed {
            commit,
            outgoing: Vec::new(),
            failure: None,
        }))
    }

    fn learn<'a>(
        &mut self,
        known: impl Iterator<
            Item = (
                crate::register::Epoch,
                &'a std::sync::Arc<crate::register::Config>,
            ),
        >,
    ) {
        for (epoch, config) in known {
            self.configs.learn(epoch, config.as_ref().clone());
            self.holder.learn_config(epoch, config.as_ref().clone());
        }
    }

    /// The holder hears of the epoch in the same turn; whoever waits for it tries elsewhere.
    fn depose(&mut self, epoch: crate::register::Epoch) {
        let effects = self.holder.step(Event::Adopted(epoch));
        self.answer_all(effects);
    }

    fn take_part(&mut self, part: Part, decided: &mut Decided) {
        self.part = part;
        self.parts.push_back((self.queued + 1, part));
        decided.writes.push(self.put_state());
    }

    fn some_rows(&self) -> Result<Vec<Key>, StoreError> {
        let view = self.newest();
        let keys = view.some_keys(FORGET_MAX);
        view.failure()?;
        Ok(keys)
    }

    fn forget(&mut self, rows: Vec<Key>, decided: &mut Decided) {
        for key in rows {
            decided.writes.push(RowWrite::Drop { key: key.to_vec() });
            let tombstone = record::tombstone_key(&key);
            decided.writes.push(RowWrite::Drop { key: tombstone });
            self.pending.insert(key, (self.queued + 1, Row::absent()));
        }
    }
}
