//! What clients asked of each key and what they heard, and whether one order of it all explains every answer.

use std::collections::{BTreeMap, BTreeSet};

use storage::model::{BucketId, ETag, WriteCondition};

/// A key of a bucket.
pub(super) type Key = (BucketId, String);

/// What can be true of a key. Content is named by its tag: no two contents of a run have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Holds(ETag),
    /// Its bucket is deleted.
    Gone,
}

/// What was asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Put(ETag, WriteCondition),
    Delete(WriteCondition),
    DropBucket,
    Read,
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// The condition does not hold; nothing was written.
    Refused,
    Found(Option<ETag>),
    /// Nothing was heard: it may have happened or not, or happen until all is settled.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    began: u64,
    /// `u64::MAX` while it is open.
    ended: u64,
    ask: Ask,
    answer: Answer,
}

/// Names an ask whose answer is awaited.
pub(super) struct Open {
    key: Key,
    number: usize,
}

/// All keys since they were settled last.
#[derive(Default)]
pub(crate) struct History {
    clock: u64,
    keys: BTreeMap<Key, KeyHistory>,
    /// Answers checked so far.
    pub(crate) checked: u64,
}

struct KeyHistory {
    /// What can have been true when the events began.
    possible: Vec<State>,
    events: Vec<Event>,
}

impl Default for KeyHistory {
    fn default() -> Self {
        Self {
            possible: vec![State::Absent],
            events: Vec::new(),
        }
    }
}

/// Most events of one key between two settlements that can be checked.
const EVENTS_MAX: usize = 128;

impl History {
    /// Somebody asks something of a key.
    pub(super) fn ask(&mut self, key: Key, ask: Ask) -> Open {
        self.clock += 1;
        let events = &mut self.keys.entry(key.clone()).or_default().events;
        events.push(Event {
            began: self.clock,
            ended: u64::MAX,
            ask,
            answer: Answer::Unknown,
        });
        Open {
            key,
            number: events.len() - 1,
        }
    }

    /// These keys exist from now on, and hold nothing.
    pub(super) fn know(&mut self, keys: impl Iterator<Item = Key>) {
        for key in keys {
            self.keys.entry(key).or_default();
        }
    }

    /// Takes in which buckets there are, now that all is settled.
    ///
    /// # Errors
    /// A bucket is missing that nobody deleted, or is there although it was.
    pub(super) fn see_buckets(&mut self, there: &BTreeSet<BucketId>) -> Result<(), String> {
        for ((bucket, key), history) in &mut self.keys {
            let here = there.contains(bucket);
            history.possible.retain(|state| (*state != State::Gone) == here);
            if history.possible.is_empty() {
                let what = if here { "is there again" } else { "is missing" };
                return Err(format!("bucket {bucket} of {key:?} {what}"));
            }
        }
        Ok(())
    }

    /// The answer arrives.
    pub(super) fn answer(&mut self, open: &Open, answer: Answer) {
        self.clock += 1;
        let clock = self.clock;
        if let Some(event) = self.event(open)
            && answer != Answer::Unknown
        {
            (event.ended, event.answer) = (clock, answer);
        }
    }

    /// It certainly did not happen, or it was a read that told nothing.
    pub(super) fn forget(&mut self, open: &Open) {
        if let Some(event) = self.event(open) {
            (event.ask, event.answer) = (Ask::Read, Answer::Unknown);
        }
    }

    fn event(&mut self, open: &Open) -> Option<&mut Event> {
        self.keys.get_mut(&open.key)?.events.get_mut(open.number)
    }

    /// Says that nothing is under way any more: what was asked has happened by now or never will. Finds out what can be
    /// true of each key.
    ///
    /// # Errors
    /// No order of events explains the answers of some key; says which and how.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        for (key, history) in &mut self.keys {
            self.checked += history.events.len() as u64;
            let possible = after(&history.possible, &history.events)?;
            if possible.is_empty() {
                return Err(format!(
                    "no order explains {:?} of {}, which could be {:?} before: {:#?}",
                    key.1, key.0, history.possible, history.events
                ));
            }
            history.possible = possible;
            history.events.clear();
        }
        Ok(())
    }
}

/// What can be true after `events`, if one of `before` was true; empty if nothing can.
fn after(before: &[State], events: &[Event]) -> Result<Vec<State>, String> {
    let idle = |event: &&Event| (event.ask, event.answer) != (Ask::Read, Answer::Unknown);
    let events: Vec<Event> = events.iter().filter(idle).copied().collect();
    if events.len() > EVENTS_MAX {
        return Err(format!(
            "{} events of one key are too many to check",
            events.len()
        ));
    }
    let mut search = Search {
        events: &events,
        met: BTreeSet::new(),
        found: Vec::new(),
    };
    for state in before {
        search.from(*state, 0, 0);
    }
    Ok(search.found)
}

/// Looks for orders of events that explain their answers (Wing and Gong's search, remembering where it has been).
struct Search<'a> {
    events: &'a [Event],
    met: BTreeSet<(u128, u8, String)>,
    found: Vec<State>,
}

impl Search<'_> {
    /// Goes on behind the events in `done`, of which the last began at `latest`.
    fn from(&mut self, state: State, done: u128, latest: u64) {
        let name = match state {
            State::Holds(tag) => (2, tag.to_string()),
            State::Absent => (0, String::new()),
            State::Gone => (1, String::new()),
        };
        if !self.met.insert((done, name.0, name.1)) {
            return;
        }
        let left = |number: &usize| done & (1 << number) == 0;
        let must = |event: &Event| event.answer != Answer::Unknown;
        let mut open = (0..self.events.len()).filter(left);
        if !open.any(|number| must(&self.events[number])) && !self.found.contains(&state) {
            self.found.push(state);
        }
        // Whatever must happen and ended before another began comes first.
        let first_end = (0..self.events.len())
            .filter(left)
            .map(|number| self.events[number])
            .filter(must)
            .map(|event| event.ended)
            .min()
            .unwrap_or(u64::MAX);
        for number in (0..self.events.len()).filter(left) {
            let event = self.events[number];
            if event.began > first_end || event.ended < latest {
                continue;
            }
            if let Some(next) = step(state, &event) {
                self.from(next, done | 1 << number, latest.max(event.began));
            }
        }
    }
}

/// What is true after an event at which `state` was; `None` if the answer contradicts it.
fn step(state: State, event: &Event) -> Option<State> {
    use Answer::{Done, Found, Refused, Unknown};
    match (event.ask, event.answer) {
        (Ask::Read, Found(found)) => {
            let true_now = match state {
                State::Holds(tag) => Some(tag),
                State::Absent | State::Gone => None,
            };
            (found == true_now).then_some(state)
        }
        (Ask::Put(tag, condition), Done | Unknown) => {
            (state != State::Gone && holds(condition, state)).then_some(State::Holds(tag))
        }
        (Ask::Delete(condition), Done | Unknown) => {
            (state != State::Gone && holds(condition, state)).then_some(State::Absent)
        }
        (Ask::Put(_, condition) | Ask::Delete(condition), Refused) => {
            (!holds(condition, state)).then_some(state)
        }
        (Ask::DropBucket, Done | Unknown) => (state == State::Absent).then_some(State::Gone),
        _ => None,
    }
}

fn holds(condition: WriteCondition, state: State) -> bool {
    match (condition, state) {
        (WriteCondition::None, _) => true,
        (WriteCondition::Absent, state) => !matches!(state, State::Holds(_)),
        (WriteCondition::Present, state) => matches!(state, State::Holds(_)),
        (WriteCondition::Tag(tag), State::Holds(there)) => tag == Some(there),
        // No client here asks for the other.
        (WriteCondition::Tag(_) | WriteCondition::Like(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ETag = ETag::Md5([1; 16]);
    const B: ETag = ETag::Md5([2; 16]);
    const PUT_A: Ask = Ask::Put(A, WriteCondition::None);
    const PUT_B: Ask = Ask::Put(B, WriteCondition::None);

    /// Events as (began, ended, ask, answer).
    fn explained(events: &[(u64, u64, Ask, Answer)]) -> Vec<State> {
        let event = |(began, ended, ask, answer): &(u64, u64, Ask, Answer)| Event {
            began: *began,
            ended: *ended,
            ask: *ask,
            answer: *answer,
        };
        after(&[State::Absent], &events.iter().map(event).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_read_sees_the_last_write_that_was_acknowledged() {
        let written = (1, 2, PUT_A, Answer::Done);
        let read = |found| (3, 4, Ask::Read, Answer::Found(found));
        assert_eq!(explained(&[written, read(Some(A))]), [State::Holds(A)]);
        assert_eq!(explained(&[written, read(None)]), []);
        assert_eq!(explained(&[written, read(Some(B))]), []);
    }

    #[test]
    fn of_two_writes_at_a_time_either_may_win_but_it_does_not_change_its_mind() {
        let both = [(1, 4, PUT_A, Answer::Done), (2, 3, PUT_B, Answer::Done)];
        assert_eq!(explained(&both).len(), 2);
        let reads = |first, second| {
            let first = (5, 6, Ask::Read, Answer::Found(Some(first)));
            explained(&[
                both[0],
                both[1],
                first,
                (7, 8, Ask::Read, Answer::Found(Some(second))),
            ])
        };
        assert_eq!(reads(A, A), [State::Holds(A)]);
        assert_eq!(reads(A, B), []);
    }

    #[test]
    fn a_write_of_unknown_outcome_happens_or_not_and_at_most_once() {
        let unknown = (1, u64::MAX, PUT_A, Answer::Unknown);
        assert_eq!(explained(&[unknown]).len(), 2);
        let other = (2, 3, PUT_B, Answer::Done);
        let read = |at, found| (at, at + 1, Ask::Read, Answer::Found(Some(found)));
        assert_eq!(
            explained(&[unknown, other, read(4, B), read(6, A)]),
            [State::Holds(A)]
        );
        assert_eq!(explained(&[unknown, other, read(4, A), read(6, B)]), []);
    }

    #[test]
    fn of_two_creations_one_is_refused() {
        let create = |tag| Ask::Put(tag, WriteCondition::Absent);
        let first = (1, 2, create(A), Answer::Done);
        assert_eq!(explained(&[first, (1, 2, create(B), Answer::Done)]), []);
        assert_eq!(
            explained(&[first, (1, 2, create(B), Answer::Refused)]),
            [State::Holds(A)]
        );
    }

    #[test]
    fn a_bucket_that_is_deleted_was_empty() {
        let dropped = (3, 4, Ask::DropBucket, Answer::Done);
        assert_eq!(explained(&[(1, 2, PUT_A, Answer::Done), dropped]), []);
        assert_eq!(explained(&[dropped]), [State::Gone]);
    }
}
