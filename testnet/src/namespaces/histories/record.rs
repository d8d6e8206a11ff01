//! Everything that clients asked and heard in a run, which key is whose turn, and what is wrong with all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::register::{Command, Entry, Outcome, wrong};
use super::set::Set;
use super::value::Value;
use super::versions::Versions;
use crate::client::etag_of_bytes;
use crate::dice::Dice;
use crate::simulate::Call;

/// Operations that a key gets before another takes its turn. What is under way by then, and the reads at the end, have to
/// fit into the 128 that can be judged.
const TURN: usize = 84;
/// Keys of a kind that are in turn at once.
const KEYS_AT_ONCE: usize = 2;
/// Keys under a prefix that is listed.
const LISTED_KEYS: usize = 4;
/// Elements of a set before another takes its turn.
const ELEMENTS: usize = 240;

/// The kinds of keys that are read and written by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Written without conditions.
    Register,
    /// Written on conditions, mostly.
    Conditional,
    /// Several under one prefix, which is listed.
    Listed,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Register => 'r',
            Self::Conditional => 'c',
            Self::Listed => 'l',
        }
    }
}

/// An operation that was begun.
#[derive(Clone, Debug)]
pub(super) struct Begun {
    key: String,
    command: Command,
    called: u64,
    ms: u64,
}

/// What came of all operations, by number.
#[derive(Debug, Default)]
struct Counts {
    /// Answered.
    answered: AtomicU64,
    /// Nobody knows what became of these.
    unknown: AtomicU64,
    /// Certainly not done: not taken up at all.
    denied: AtomicU64,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Books {
    keys: BTreeMap<String, Vec<Entry>>,
    /// Whose turn it is: the number of the last key of each kind, or of the prefix.
    turns: BTreeMap<(Kind, usize), u64>,
    next: u64,
    sets: Vec<Set>,
    /// Answers that are wrong by themselves.
    wrongs: Vec<String>,
    values: BTreeMap<String, Value>,
}

/// What happened, for all clients to write in.
pub(crate) struct Record {
    clock: AtomicU64,
    values: AtomicU64,
    began: Instant,
    /// What all its keys begin with.
    chapter: String,
    books: Mutex<Books>,
    versions: Mutex<Versions>,
    counts: Counts,
}

impl Record {
    /// An empty one, of keys that no other chapter has.
    pub(crate) fn new(chapter: u64) -> Self {
        Self {
            clock: AtomicU64::new(0),
            values: AtomicU64::new(0),
            began: Instant::now(),
            chapter: format!("{chapter}/"),
            books: Mutex::default(),
            versions: Mutex::default(),
            counts: Counts::default(),
        }
    }

    /// The next moment: later than all that were given before.
    pub(super) fn moment(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// A value that nobody has written, whose tag is known from now on.
    pub(super) fn fresh_value(&self) -> Value {
        let value = self.values.fetch_add(1, Ordering::SeqCst);
        let tag = etag_of_bytes(&super::value::body(value));
        self.books().values.insert(tag, value);
        value
    }

    /// The value of a tag.
    pub(super) fn value_by(&self, tag: &str) -> Option<Value> {
        self.books().values.get(tag).copied()
    }

    /// The key of a kind whose turn it is, one of several.
    pub(super) fn key(&self, kind: Kind, dice: &mut Dice) -> String {
        let mut books = self.books();
        let lane = dice.below(KEYS_AT_ONCE);
        match kind {
            Kind::Register | Kind::Conditional => self.in_turn(&mut books, (kind, lane), 1),
            Kind::Listed => {
                let prefix = self.in_turn(&mut books, (kind, lane), LISTED_KEYS);
                format!("{prefix}{}", dice.below(LISTED_KEYS))
            }
        }
    }

    /// The prefix of listed keys whose turn it is, and the keys.
    pub(super) fn listed(&self, dice: &mut Dice) -> (String, Vec<String>) {
        let lane = dice.below(KEYS_AT_ONCE);
        let prefix = self.in_turn(&mut self.books(), (Kind::Listed, lane), LISTED_KEYS);
        let keys = (0..LISTED_KEYS).map(|key| format!("{prefix}{key}")).collect();
        (prefix, keys)
    }

    /// Somebody begins to ask something of a key.
    pub(super) fn begin(&self, key: &str, command: Command) -> Begun {
        Begun {
            key: key.to_owned(),
            command,
            called: self.moment(),
            ms: self.elapsed_ms(),
        }
    }

    /// It ended: with an answer, or nobody knows how. A read that told nothing is forgotten.
    pub(super) fn end(&self, begun: Begun, outcome: Option<Outcome>, seat: usize, how: String) {
        let count = match outcome {
            Some(_) => &self.counts.answered,
            None => &self.counts.unknown,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if outcome.is_none() && begun.command == Command::Get {
            return;
        }
        let until = match outcome {
            Some(_) => self.moment(),
            None => u64::MAX,
        };
        let entry = Entry {
            call: Call {
                command: begun.command,
                called: begun.called,
                outcome,
                until,
            },
            seat,
            how,
            ms: (begun.ms, self.elapsed_ms()),
        };
        self.books().keys.entry(begun.key).or_default().push(entry);
    }

    /// It certainly did not happen.
    pub(super) fn deny(&self) {
        self.counts.denied.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer was wrong, whatever else happened.
    pub(super) fn accuse(&self, what: String) {
        let at = self.elapsed_ms();
        println!("  WRONG at {at} ms: {what}");
        self.books().wrongs.push(format!("at {at} ms: {what}"));
    }

    /// Adds an element to the set whose turn it is: the number of the set, and the element's key.
    pub(super) fn add_element(&self, value: Value) -> (usize, String) {
        let called = self.moment();
        let mut books = self.books();
        if books.sets.last().is_none_or(|set| set.len() >= ELEMENTS) {
            books.sets.push(Set::default());
        }
        let number = books.sets.len() - 1;
        let key = format!("{}{value:08x}", self.set_prefix(number));
        if let Some(set) = books.sets.last_mut() {
            set.add(key.clone(), value, called);
        }
        (number, key)
    }

    /// The element was acknowledged, or nobody knows.
    pub(super) fn added(&self, number: usize, key: &str, is_acknowledged: bool) {
        let (count, moment) = match is_acknowledged {
            true => (&self.counts.answered, self.moment()),
            false => (&self.counts.unknown, u64::MAX),
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let Some(set) = self.books().sets.get_mut(number) {
            set.acknowledge(key, moment);
        }
    }

    /// How many sets there are.
    pub(super) fn sets(&self) -> usize {
        self.books().sets.len()
    }

    /// A set was listed between two moments.
    pub(super) fn saw_set(&self, number: usize, called: u64, seen: BTreeSet<String>, how: String) {
        let answered = self.moment();
        self.counts.answered.fetch_add(1, Ordering::Relaxed);
        if let Some(set) = self.books().sets.get_mut(number) {
            set.list((called, answered), seen, how);
        }
    }

    /// What is known of versions.
    pub(super) fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was answered that is in no key's history, or was not.
    pub(super) fn heard(&self, is_answered: bool) {
        let count = if is_answered {
            &self.counts.answered
        } else {
            &self.counts.unknown
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// What came of everything, in a few words.
    pub(crate) fn told(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts {
            answered,
            unknown,
            denied,
        } = &self.counts;
        let (versions, bound, removed) = self.versions().told();
        format!(
            "{} operations answered, {} unknown, {} denied, {versions} versions, {bound} of them retained and {removed} removed",
            of(answered),
            of(unknown),
            of(denied)
        )
    }

    /// All keys that are no elements.
    pub(super) fn keys(&self) -> Vec<String> {
        self.books().keys.keys().cloned().collect()
    }

    /// All elements that are certain to be there, with what they hold.
    pub(super) fn elements(&self) -> Vec<(String, Value)> {
        let books = self.books();
        let certain = books.sets.iter().flat_map(Set::certain);
        certain.map(|(key, value)| (key.clone(), value)).collect()
    }

    /// Everything that is wrong, and how many keys were judged.
    pub(crate) fn judge(&self) -> (Vec<String>, usize) {
        let books = self.books();
        let mut wrongs = books.wrongs.clone();
        wrongs.extend(books.keys.iter().filter_map(|(key, entries)| wrong(key, entries)));
        wrongs.extend(books.sets.iter().flat_map(Set::wrongs));
        wrongs.extend(self.versions().wrongs());
        (wrongs, books.keys.len() + books.sets.len())
    }

    /// The name of what is in turn; the next one's where that has had its turn.
    fn in_turn(&self, books: &mut Books, turn: (Kind, usize), keys: usize) -> String {
        let name = |number: u64| {
            let end = if keys > 1 { "/" } else { "" };
            format!("{}{}/{number}{end}", self.chapter, turn.0.letter())
        };
        if let Some(current) = books.turns.get(&turn) {
            let name = name(*current);
            let had = |key: &String| books.keys.get(key).map_or(0, Vec::len);
            let most = match keys {
                1 => had(&name),
                keys => (0..keys)
                    .map(|key| had(&format!("{name}{key}")))
                    .max()
                    .unwrap_or(0),
            };
            if most < TURN {
                return name;
            }
        }
        books.next += 1;
        books.turns.insert(turn, books.next);
        name(books.next)
    }

    /// Where the elements of a set are.
    pub(super) fn set_prefix(&self, number: usize) -> String {
        format!("{}s/{number}/", self.chapter)
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_turn_and_then_another_has() {
        let (record, mut dice) = (Record::new(0), Dice::new(1));
        let mut keys = BTreeSet::new();
        for kind in [Kind::Register, Kind::Conditional, Kind::Listed] {
            for _ in 0..TURN * 10 {
                let key = record.key(kind, &mut dice);
                keys.insert(key.clone());
                let begun = record.begin(&key, Command::Delete);
                record.end(begun, Some(Outcome::Done), 0, String::new());
            }
        }
        let books = record.books();
        assert_eq!(books.keys.keys().cloned().collect::<BTreeSet<_>>(), keys);
        assert!(books.keys.values().all(|entries| entries.len() <= TURN));
        assert!(keys.len() > 20);
    }

    #[test]
    fn a_lost_write_and_a_lost_element_are_wrong() {
        let record = Record::new(0);
        let begun = record.begin("r/1", Command::Put(record.fresh_value()));
        record.end(begun, Some(Outcome::Done), 0, String::new());
        let (number, key) = record.add_element(record.fresh_value());
        record.added(number, &key, true);
        assert_eq!(record.judge(), (Vec::new(), 2));
        let begun = record.begin("r/1", Command::Get);
        record.end(begun, Some(Outcome::Nothing), 1, String::new());
        record.saw_set(number, record.moment(), BTreeSet::new(), String::new());
        assert_eq!(record.judge().0.len(), 2);
    }
}
