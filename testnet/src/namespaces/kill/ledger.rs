//! Knows what each key of one worker holds. A key whose write was never answered is not written again: in a mesh such a write
//! may still be under way elsewhere, and come to stand behind one that was acknowledged later.

use std::collections::BTreeMap;

use crate::client::Content;
use crate::dice::Dice;

/// Keys that a worker writes at a time: few, so that most writes overwrite.
const KEYS: usize = 12;

/// What one worker knows; nobody else writes its keys.
pub(super) struct Ledger {
    worker: usize,
    /// How many keys it has named.
    named: u64,
    certain: BTreeMap<String, Option<Content>>,
    unanswered: BTreeMap<String, Vec<Option<Content>>>,
}

impl Ledger {
    /// That of a worker that has written nothing.
    pub(super) fn of_worker(worker: usize) -> Self {
        let mut ledger = Self {
            worker,
            named: 0,
            certain: BTreeMap::new(),
            unanswered: BTreeMap::new(),
        };
        (0..KEYS).for_each(|_| ledger.name_another());
        ledger
    }

    fn name_another(&mut self) {
        self.named += 1;
        let key = format!("w{}/{:06}", self.worker, self.named);
        self.certain.insert(key, None);
    }

    /// A key to work with, and what it holds.
    pub(super) fn one(&self, dice: &mut Dice) -> (String, Option<Content>) {
        let keys: Vec<_> = self.certain.iter().collect();
        let (key, content) = keys[dice.below(keys.len())];
        (key.clone(), *content)
    }

    /// A write was acknowledged that leaves this.
    pub(super) fn acknowledge(&mut self, key: &str, content: Option<Content>) {
        self.certain.insert(key.to_owned(), content);
    }

    /// Nobody said whether a write was done that would leave this.
    pub(super) fn leave_unanswered(&mut self, key: &str, content: Option<Content>) {
        if let Some(before) = self.certain.remove(key) {
            self.unanswered.insert(key.to_owned(), vec![before, content]);
            self.name_another();
        }
    }

    /// Every key, and all that it may hold.
    pub(super) fn allowed(&self) -> BTreeMap<String, Vec<Option<Content>>> {
        let certain = self.certain.iter();
        let mut all: BTreeMap<_, _> = certain
            .map(|(key, content)| (key.clone(), vec![*content]))
            .collect();
        all.extend(self.unanswered.clone());
        all
    }

    /// Keys whose write was not answered.
    pub(super) fn unanswered(&self) -> Vec<String> {
        self.unanswered.keys().cloned().collect()
    }

    /// A key is gone, and stays so: it is forgotten.
    pub(super) fn forget(&mut self, key: &str) {
        self.unanswered.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_written_again_behind_a_write_that_was_not_answered() {
        let (mut ledger, mut dice) = (Ledger::of_worker(1), Dice::new(1));
        let content = |seed| Some(Content { seed, len: 1 });
        let (key, held) = ledger.one(&mut dice);
        assert_eq!(held, None);
        ledger.acknowledge(&key, content(1));
        ledger.leave_unanswered(&key, content(2));
        assert!((0..200).all(|_| ledger.one(&mut dice).0 != key));
        assert_eq!(ledger.allowed()[&key], vec![content(1), content(2)]);
        assert_eq!(ledger.unanswered(), vec![key.clone()]);
        assert_eq!(ledger.allowed().len(), KEYS + 1);
        ledger.forget(&key);
        assert_eq!(ledger.allowed().len(), KEYS);
    }
}
