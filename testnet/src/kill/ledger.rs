//! Knows for every key what the server acknowledged, and what an unanswered write may have left behind.

use std::collections::BTreeMap;

use crate::client::Content;

/// Keys of one worker: few, so that most writes overwrite.
const KEYS: u64 = 24;

/// What a key holds for certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// Its bytes.
    pub(super) content: Content,
    /// The ETag the server gave.
    pub(super) etag: String,
}

/// What is known about one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    certain: Option<Object>,
    /// What writes that were never answered would have left; at most one is under way at a time.
    possible: Vec<Option<Content>>,
}

/// Everything one worker knows; nobody else writes its keys.
pub(super) struct Ledger {
    keys: BTreeMap<String, Known>,
}

impl Ledger {
    /// The ledger of a worker that has not written yet.
    pub(super) fn of_worker(worker: u64) -> Self {
        let keys = (0..KEYS)
            .map(|key| (format!("w{worker}/k{key:02}"), Known::default()))
            .collect();
        Self { keys }
    }

    /// All keys, written or not.
    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    /// What is known about a key of this ledger.
    pub(super) fn of(&mut self, key: &str) -> &mut Known {
        self.keys.entry(key.to_owned()).or_default()
    }
}

impl Known {
    /// Whether every write was answered, so that there is only one state the key can be in.
    pub(super) fn is_certain(&self) -> bool {
        self.possible.is_empty()
    }

    /// What the key holds if every write was answered.
    pub(super) fn certain(&self) -> Option<&Object> {
        self.certain.as_ref()
    }

    /// A write is sent that would leave this.
    pub(super) fn attempt(&mut self, content: Option<Content>) {
        self.possible.push(content);
    }

    /// The write under way was acknowledged.
    pub(super) fn acknowledge(&mut self, object: Option<Object>) {
        self.certain = object;
        self.possible.clear();
    }

    /// All the states the key may be in.
    pub(super) fn allowed(&self) -> impl Iterator<Item = Option<Content>> {
        [self.certain.as_ref().map(|object| object.content)]
            .into_iter()
            .chain(self.possible.iter().copied())
    }

    /// The key was read, and this is what it holds from now on; says whether it may.
    pub(super) fn settle(&mut self, found: Option<Object>) -> bool {
        let content = found.as_ref().map(|object| object.content);
        let allowed = self.allowed().any(|state| state == content);
        self.acknowledge(found);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(seed: u64) -> Object {
        Object {
            content: Content { seed, len: 1 },
            etag: seed.to_string(),
        }
    }

    fn known(acknowledged: u64, unanswered: &[u64]) -> Known {
        let mut known = Known::default();
        known.attempt(Some(object(acknowledged).content));
        known.acknowledge(Some(object(acknowledged)));
        unanswered
            .iter()
            .for_each(|&seed| known.attempt(Some(object(seed).content)));
        known
    }

    #[test]
    fn an_acknowledged_write_must_be_found() {
        assert!(known(1, &[]).settle(Some(object(1))));
        assert!(!known(1, &[]).settle(None));
        assert!(!known(1, &[]).settle(Some(object(2))));
    }

    #[test]
    fn an_unanswered_write_may_be_found_whole_or_not_at_all() {
        assert!(known(1, &[2]).settle(Some(object(1))));
        assert!(known(1, &[2]).settle(Some(object(2))));
        assert!(!known(1, &[2]).settle(None));
    }

    #[test]
    fn a_state_once_seen_does_not_change_any_more() {
        let mut known = known(1, &[2]);
        assert!(known.settle(Some(object(1))));
        assert!(!known.settle(Some(object(2))));
    }
}
