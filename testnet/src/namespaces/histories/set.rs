//! A set that only grows, an element a key: whoever was acknowledged, or seen once, is in every later listing.

use std::collections::{BTreeMap, BTreeSet};

use super::value::Value;

/// One element.
#[derive(Clone, Debug)]
struct Element {
    /// What its key holds.
    value: Value,
    /// When its write began.
    called: u64,
    /// Since when it is certain to be there: its write was acknowledged, or a listing showed it.
    certain: u64,
}

/// A listing, from its first page to its last.
#[derive(Clone, Debug)]
struct Listing {
    called: u64,
    answered: u64,
    seen: BTreeSet<String>,
    how: String,
}

/// A set, and who looked at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Set {
    elements: BTreeMap<String, Element>,
    listings: Vec<Listing>,
}

impl Set {
    /// How many elements were tried to be added.
    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    /// Somebody begins to add an element.
    pub(super) fn add(&mut self, key: String, value: Value, called: u64) {
        let element = Element {
            value,
            called,
            certain: u64::MAX,
        };
        self.elements.insert(key, element);
    }

    /// It was acknowledged.
    pub(super) fn acknowledge(&mut self, key: &str, answered: u64) {
        if let Some(element) = self.elements.get_mut(key) {
            element.certain = element.certain.min(answered);
        }
    }

    /// Somebody saw all of it between two moments.
    pub(super) fn list(&mut self, (called, answered): (u64, u64), seen: BTreeSet<String>, how: String) {
        for key in &seen {
            self.acknowledge(key, answered);
        }
        self.listings.push(Listing {
            called,
            answered,
            seen,
            how,
        });
    }

    /// Everything that is certain to be there, with what it holds.
    pub(super) fn certain(&self) -> impl Iterator<Item = (&String, Value)> {
        let elements = self.elements.iter();
        let certain = elements.filter(|(_, element)| element.certain < u64::MAX);
        certain.map(|(key, element)| (key, element.value))
    }

    /// What no set shows.
    pub(super) fn wrongs(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        for listing in &self.listings {
            let Listing {
                called,
                answered,
                seen,
                how,
            } = listing;
            for (key, element) in &self.elements {
                if element.certain < *called && !seen.contains(key) {
                    wrongs.push(format!(
                        "{key} is certain since {} and not in the listing {called}..{answered} ({how})",
                        element.certain
                    ));
                }
            }
            for key in seen {
                let began = self.elements.get(key).map(|element| element.called);
                if began.is_none_or(|began| began > *answered) {
                    wrongs.push(format!(
                        "{key} is in the listing {called}..{answered} ({how}), and nobody had added it"
                    ));
                }
            }
        }
        wrongs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set to which `a` is added from 1 on, acknowledged at 2 or not, and listings of it.
    fn wrongs(is_acknowledged: bool, listings: &[(u64, u64, &[&str])]) -> usize {
        let mut set = Set::default();
        set.add("a".into(), 1, 1);
        if is_acknowledged {
            set.acknowledge("a", 2);
        }
        for (called, answered, seen) in listings {
            let seen = seen.iter().map(|&key| key.to_owned()).collect();
            set.list((*called, *answered), seen, String::new());
        }
        set.wrongs().len()
    }

    #[test]
    fn who_was_acknowledged_is_in_every_later_listing() {
        assert_eq!(wrongs(true, &[(3, 4, &["a"])]), 0);
        assert_eq!(wrongs(true, &[(3, 4, &[])]), 1);
        assert_eq!(wrongs(true, &[(1, 4, &[])]), 0);
        assert_eq!(wrongs(false, &[(3, 4, &[])]), 0);
    }

    #[test]
    fn who_was_seen_once_does_not_go_away() {
        assert_eq!(wrongs(false, &[(3, 4, &["a"]), (5, 6, &[])]), 1);
        assert_eq!(wrongs(false, &[(3, 6, &["a"]), (5, 7, &[])]), 0);
    }

    #[test]
    fn nobody_is_there_whom_nobody_added() {
        assert_eq!(wrongs(true, &[(3, 4, &["a", "b"])]), 1);
        assert_eq!(wrongs(false, &[(0, 0, &["a"])]), 1);
    }
}
