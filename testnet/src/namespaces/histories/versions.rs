//! Versions of keys in a bucket with locks: one that was acknowledged stays until somebody asks for its removal, and one that
//! is retained under compliance until its time has come, by the clock of this machine, whatever clocks boxes have.

use std::collections::{BTreeMap, BTreeSet};

use super::value::Value;
use crate::dice::Dice;

/// Versions of a key before another takes its turn.
const TURN: usize = 60;
/// Keys in turn at once.
const KEYS_AT_ONCE: usize = 2;

/// A version: its key and its id.
pub(super) type Name = (String, String);

/// What is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) value: Value,
    /// Somebody asked for its removal.
    removal_asked: bool,
    /// Until when nobody can remove it, in milliseconds since 1970.
    bound_until: u64,
}

impl Version {
    /// Whether it is there at this time, whatever was asked.
    pub(super) fn must_be_there(&self, now: u64) -> bool {
        !self.removal_asked || self.bound_until > now
    }

    /// Whether nobody can remove it at this time.
    pub(super) fn is_bound(&self, now: u64) -> bool {
        self.bound_until > now
    }
}

/// All versions that were acknowledged.
#[derive(Debug, Default)]
pub(super) struct Versions {
    known: BTreeMap<Name, Version>,
    made: BTreeMap<String, usize>,
    next: usize,
    turns: Vec<String>,
    removed: usize,
}

impl Versions {
    /// A key to write to.
    pub(super) fn key(&mut self, dice: &mut Dice) -> String {
        let (made, next) = (&self.made, &mut self.next);
        self.turns
            .retain(|key| made.get(key).is_none_or(|made| *made < TURN));
        while self.turns.len() < KEYS_AT_ONCE {
            *next += 1;
            self.turns.push(format!("k{next}"));
        }
        self.turns[dice.below(self.turns.len())].clone()
    }

    /// A version that was acknowledged, if there is one: most often one of those that were made last.
    pub(super) fn one(&self, dice: &mut Dice) -> Option<(Name, Version)> {
        let in_turn = dice.chance(0.8).then(|| dice.below(KEYS_AT_ONCE));
        let key = in_turn.and_then(|place| self.turns.get(place));
        let is_of = |name: &Name| key.is_none_or(|key| *key == name.0);
        let known: Vec<_> = self.known.iter().filter(|(name, _)| is_of(name)).collect();
        if known.is_empty() {
            return None;
        }
        let (name, version) = known[dice.below(known.len())];
        Some((name.clone(), *version))
    }

    /// A write was acknowledged that made this version; says so if it is another by now.
    pub(super) fn made(&mut self, name: Name, value: Value) -> Option<String> {
        *self.made.entry(name.0.clone()).or_default() += 1;
        let version = Version {
            value,
            removal_asked: false,
            bound_until: 0,
        };
        let other = self.known.insert(name.clone(), version)?;
        Some(format!(
            "version {name:?} was made twice, as {} and {value}",
            other.value
        ))
    }

    /// Somebody was told that one is gone.
    pub(super) fn removed(&mut self) {
        self.removed += 1;
    }

    /// Somebody asks for its removal.
    pub(super) fn ask_removal(&mut self, name: &Name) {
        if let Some(version) = self.known.get_mut(name) {
            version.removal_asked = true;
        }
    }

    /// Somebody was told that nobody can remove it before that time.
    pub(super) fn bind(&mut self, name: &Name, until: u64) {
        if let Some(version) = self.known.get_mut(name) {
            version.bound_until = version.bound_until.max(until);
        }
    }

    /// What is known of a version now.
    pub(super) fn get(&self, name: &Name) -> Option<Version> {
        self.known.get(name).copied()
    }

    /// Every version that must be there at this time: of one key, or of all.
    pub(super) fn there(&self, key: Option<&str>, now: u64) -> BTreeMap<Name, Value> {
        let known = self
            .known
            .iter()
            .filter(|(name, _)| key.is_none_or(|key| key == name.0));
        let there = known.filter(|(_, version)| version.must_be_there(now));
        there
            .map(|(name, version)| (name.clone(), version.value))
            .collect()
    }

    /// What a listing of a key lacks that had to be there before it, and has to be after it.
    pub(super) fn lacks(
        &self,
        before: &BTreeMap<Name, Value>,
        seen: &BTreeSet<String>,
        now: u64,
    ) -> Vec<Name> {
        let lacks = before.keys().filter(|name| !seen.contains(&name.1));
        let still = lacks.filter(|name| self.get(name).is_some_and(|version| version.must_be_there(now)));
        still.cloned().collect()
    }

    /// How many were made, how many of them were ever bound, and how many removed.
    pub(super) fn told(&self) -> (usize, usize, usize) {
        let bound = self.known.values().filter(|version| version.bound_until > 0);
        (self.known.len(), bound.count(), self.removed)
    }

    /// What is wrong with all of it: where much is tried, some of it is done.
    pub(super) fn wrongs(&self) -> Option<String> {
        let (made, bound, removed) = self.told();
        let is_idle = made >= TURN && (bound == 0 || removed == 0);
        is_idle.then(|| format!("of {made} versions {bound} were retained and {removed} removed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_must_be_there_until_its_removal_is_asked_and_its_time_has_come() {
        let mut versions = Versions::default();
        let name = ("k".to_owned(), "1".to_owned());
        let it = std::slice::from_ref(&name);
        assert_eq!(versions.made(name.clone(), 7), None);
        let (before, nothing) = (versions.there(Some("k"), 0), BTreeSet::new());
        assert_eq!((before.len(), versions.there(Some("l"), 0).len()), (1, 0));
        assert_eq!(versions.lacks(&before, &nothing, 0), it);
        assert_eq!(versions.lacks(&before, &BTreeSet::from(["1".to_owned()]), 0), []);
        versions.bind(&name, 10);
        versions.bind(&name, 5);
        versions.ask_removal(&name);
        assert_eq!(versions.lacks(&before, &nothing, 9), it);
        assert_eq!(versions.lacks(&before, &nothing, 10), []);
        assert!(versions.there(None, 10).is_empty() && !versions.there(None, 9).is_empty());
        assert!(versions.made(name.clone(), 8).is_some());
        assert_eq!(versions.told(), (1, 0, 0));
    }

    #[test]
    fn a_key_has_its_turn_and_then_another_has() {
        let (mut versions, mut dice) = (Versions::default(), Dice::new(1));
        assert_eq!(versions.one(&mut dice), None);
        for number in 0..TURN * 10 {
            let key = versions.key(&mut dice);
            versions.made((key, number.to_string()), 1);
        }
        assert!(versions.wrongs().is_some());
        // A key whose turn has just come has none.
        let name = (0..100).find_map(|_| versions.one(&mut dice)).unwrap().0;
        versions.bind(&name, 1);
        versions.removed();
        assert_eq!((versions.wrongs(), versions.told().1), (None, 1));
        assert!(versions.made.len() >= 9 && versions.made.values().all(|made| *made <= TURN));
    }
}
