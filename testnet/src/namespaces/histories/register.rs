//! What was asked of one key and heard, and whether one order of it all explains every answer.

use std::fmt::Write;

use super::value::Value;
use crate::simulate::{Call, Verdict, judge};

/// What was asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get,
    Put(Value),
    /// Only if nothing is there.
    PutNew(Value),
    /// Only if the first is there.
    Replace(Value, Value),
    Delete,
    /// Only if this is there.
    DeleteThis(Value),
}

/// What was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// The condition does not hold, and nothing was written.
    Refused,
    Is(Value),
    Nothing,
}

/// One operation, and what of it is worth knowing when something is wrong.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) call: Call<Command, Outcome>,
    /// At which box.
    pub(super) seat: usize,
    /// How it was asked and answered: `GET`, `LIST`, and the status of the answer or why there was none.
    pub(super) how: String,
    /// When it began and ended, in milliseconds since the run began.
    pub(super) ms: (u64, u64),
}

/// What a command does to what is there.
pub(super) fn apply(state: &Option<Value>, command: &Command) -> (Option<Value>, Outcome) {
    match (*command, *state) {
        (Command::Get, state) => (state, state.map_or(Outcome::Nothing, Outcome::Is)),
        (Command::Put(value), _) | (Command::PutNew(value), None) => (Some(value), Outcome::Done),
        (Command::Replace(old, new), Some(value)) if old == value => (Some(new), Outcome::Done),
        (Command::DeleteThis(old), Some(value)) if old == value => (None, Outcome::Done),
        (Command::PutNew(_) | Command::Replace(..) | Command::DeleteThis(_), state) => {
            (state, Outcome::Refused)
        }
        (Command::Delete, _) => (None, Outcome::Done),
    }
}

/// Why a key's history could not have happened one operation at a time; none if it could.
pub(super) fn wrong(key: &str, entries: &[Entry]) -> Option<String> {
    let calls: Vec<_> = entries.iter().map(|entry| entry.call.clone()).collect();
    let why = match judge(&calls, None, apply) {
        Verdict::Linearizable => return None,
        Verdict::Violated => "no order explains",
        Verdict::TooLarge => "too much happened to tell about",
    };
    Some(format!("{why} {key}:\n{}", told(entries)))
}

/// A history as lines, by when each operation began.
fn told(entries: &[Entry]) -> String {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by_key(|entry| entry.call.called);
    let mut lines = String::new();
    for Entry { call, seat, how, ms } in sorted {
        let until = match call.outcome {
            Some(_) => call.until.to_string(),
            None => "?".into(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            lines,
            "  {:>7}..{until:<7} {:>8}..{:<8} ms  box {seat}  {:?} -> {:?}  ({how})",
            call.called, ms.0, ms.1, call.command, call.outcome
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operations one after another, as (command, outcome).
    fn check(operations: &[(Command, Option<Outcome>)]) -> bool {
        let entries: Vec<_> = (1..)
            .zip(operations)
            .map(|(at, (command, outcome))| Entry {
                call: Call {
                    command: *command,
                    called: at * 2,
                    outcome: *outcome,
                    until: if outcome.is_some() { at * 2 + 1 } else { u64::MAX },
                },
                seat: 0,
                how: String::new(),
                ms: (0, 0),
            })
            .collect();
        wrong("k", &entries).is_none()
    }

    #[test]
    fn conditions_decide_by_what_is_there() {
        use Command::{Delete, DeleteThis, Get, Put, PutNew, Replace};
        use Outcome::{Done, Is, Nothing, Refused};
        assert!(check(&[
            (PutNew(1), Some(Done)),
            (PutNew(2), Some(Refused)),
            (Replace(1, 3), Some(Done)),
            (DeleteThis(1), Some(Refused)),
            (DeleteThis(3), Some(Done)),
            (Get, Some(Nothing)),
        ]));
        assert!(!check(&[(Put(1), Some(Done)), (PutNew(2), Some(Done))]));
        assert!(!check(&[(Put(1), Some(Done)), (Replace(2, 3), Some(Done))]));
        assert!(!check(&[
            (Put(1), Some(Done)),
            (Delete, Some(Done)),
            (Get, Some(Is(1)))
        ]));
        assert!(check(&[(Put(1), None), (Get, Some(Nothing)), (Get, Some(Is(1)))]));
    }
}
