//! Keys in the order in which they are to be told: each at most once at a time, and never twice at once.

use std::collections::{HashSet, VecDeque};

use storage::model::{BucketId, ObjectKey};

/// Most keys that wait; more are left out and found again in rows.
pub(super) const WAITING_MAX: usize = 10_000;

/// An object of which something may be to be told.
pub(super) type Key = (BucketId, ObjectKey);

/// What waits for a receiver.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    order: VecDeque<Key>,
    /// Those in `order`.
    known: HashSet<Key>,
    /// Those that are being told.
    busy: HashSet<Key>,
    /// Whether something was left out.
    has_missed: bool,
}

impl Waiting {
    /// Adds a key behind all others. One that is being told is told once more: something may have happened since.
    pub(super) fn add(&mut self, key: Key) {
        if self.known.contains(&key) {
            return;
        }
        if self.order.len() >= WAITING_MAX {
            self.has_missed = true;
            return;
        }
        self.known.insert(key.clone());
        self.order.push_back(key);
    }

    /// The next key that is not being told already; it is from now on.
    pub(super) fn next(&mut self) -> Option<Key> {
        let place = self.order.iter().position(|key| !self.busy.contains(key))?;
        let key = self.order.remove(place)?;
        self.known.remove(&key);
        self.busy.insert(key.clone());
        Some(key)
    }

    /// Notes that a key has been told, or goes back to the front.
    pub(super) fn done(&mut self, key: Key, told: bool) {
        self.busy.remove(&key);
        if !told && self.known.insert(key.clone()) {
            self.order.push_front(key);
        }
    }

    /// Whether there is room again for what was left out; said once.
    pub(super) fn may_look_again(&mut self) -> bool {
        self.order.len() <= WAITING_MAX / 2 && std::mem::take(&mut self.has_missed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (
            BucketId::from_bytes([1; 16]),
            ObjectKey::parse(name.as_bytes()).unwrap(),
        )
    }

    /// Does e.g. `+a +b next a-` (a was not told) and prints what came next, in order.
    fn after(steps: &str) -> String {
        let mut waiting = Waiting::default();
        let mut next = Vec::new();
        for step in steps.split(' ') {
            match (
                step.strip_prefix('+'),
                step.strip_suffix('-'),
                step.strip_suffix('!'),
            ) {
                (Some(name), ..) => waiting.add(key(name)),
                (_, Some(name), _) => waiting.done(key(name), false),
                (.., Some(name)) => waiting.done(key(name), true),
                _ => next.push(
                    waiting
                        .next()
                        .map_or("none".into(), |key| key.1.as_str().to_owned()),
                ),
            }
        }
        next.join(" ")
    }

    #[test]
    fn each_key_waits_once_and_is_told_by_one_at_a_time() {
        assert_eq!(after("+a +b +a next next next"), "a b none");
        assert_eq!(after("+a next +a next a! next"), "a none a");
        assert_eq!(after("+a +b next a- next next"), "a a b");
        assert_eq!(after("+a next +a a- next next"), "a a none");
    }

    #[test]
    fn what_finds_no_room_is_looked_for_once_there_is_some() {
        let mut waiting = Waiting::default();
        for number in 0..=WAITING_MAX {
            waiting.add(key(&number.to_string()));
        }
        assert!(!waiting.may_look_again());
        while waiting.next().is_some() {}
        assert!(waiting.may_look_again() && !waiting.may_look_again());
    }
}
