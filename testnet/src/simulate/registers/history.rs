//! What clients asked and heard, and whether that could have happened one operation at a time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use storage::register::Fences;

use super::lane::{Command, Lane, Outcome};
use crate::simulate::linear::{Call, Verdict, judge};

/// One operation of a client.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) lane: usize,
    pub(super) command: Command,
    pub(super) called: u64,
    pub(super) directory: u64,
    pub(super) heard: Heard,
    /// It was decided by a holder; else a reader found it.
    pub(super) through_holder: bool,
}

/// What its client heard.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    /// Nothing: it may have happened, or happen yet.
    Nothing,
    /// It did not happen, and never will.
    Failed,
    Answer(u64, Outcome),
}

/// All operations, and the fences that were told to stand.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    pub(super) asked: Vec<Asked>,
    pub(super) raised: Vec<(u64, Fences)>,
}

impl History {
    /// Calls of one lane, as far as they say something.
    fn of(&self, lane: usize) -> Vec<Call<Command, Outcome>> {
        let asked = self.asked.iter().filter(|asked| asked.lane == lane);
        let told = asked.clone().filter(|asked| match asked.heard {
            Heard::Failed => false,
            Heard::Nothing => asked.command.changes(),
            Heard::Answer(..) => true,
        });
        let call = |asked: &Asked| {
            let (outcome, answered) = match asked.heard {
                Heard::Answer(at, outcome) => (Some(outcome), at),
                Heard::Nothing | Heard::Failed => (None, u64::MAX),
            };
            Call {
                command: asked.command,
                called: asked.called,
                outcome,
                until: answered.min(self.fenced_off(asked)),
            }
        };
        told.map(call).collect()
    }

    /// When an operation that began below a fence has taken effect or never will: once the fence was told to stand, and
    /// then the holder has confirmed both rows.
    fn fenced_off(&self, asked: &Asked) -> u64 {
        if !asked.through_holder || !asked.command.changes() {
            return u64::MAX;
        }
        let below = self
            .raised
            .iter()
            .filter(|(_, fences)| asked.called < fences.sweeps || asked.directory < fences.directory);
        let Some(stood) = below.map(|(at, _)| *at).min() else {
            return u64::MAX;
        };
        let confirmed = self.asked.iter().filter_map(|other| match other.heard {
            Heard::Answer(at, Outcome::Both(_)) if other.lane == asked.lane && other.called > stood => {
                Some(at)
            }
            _ => None,
        });
        confirmed.min().unwrap_or(u64::MAX)
    }

    /// Judges one lane.
    pub(super) fn judge(&self, lane: usize) -> Verdict {
        judge(&self.of(lane), Lane::default(), Lane::apply)
    }

    /// Operations that were answered.
    pub(super) fn answered(&self) -> u64 {
        let answered = self
            .asked
            .iter()
            .filter(|asked| matches!(asked.heard, Heard::Answer(..)));
        answered.count() as u64
    }

    /// One lane in words, a line per operation in the order of calls.
    pub(super) fn show(&self, lane: usize) -> String {
        let mut text = String::from("   called  answered  operation\n");
        let mut lines = BTreeMap::new();
        for (number, asked) in self
            .asked
            .iter()
            .enumerate()
            .filter(|(_, asked)| asked.lane == lane)
        {
            let (answered, heard) = match asked.heard {
                Heard::Nothing => (String::from("never"), String::from("?")),
                Heard::Failed => (String::from("failed"), String::new()),
                Heard::Answer(at, outcome) => (at.to_string(), format!("{outcome:?}")),
            };
            let by = match self.fenced_off(asked) {
                u64::MAX => String::new(),
                at => format!("   [by {at} or never: a fence]"),
            };
            lines.insert(
                (asked.called, number),
                format!(
                    "{:>9} {answered:>9}  #{number} {:?} -> {heard}{by}",
                    asked.called, asked.command
                ),
            );
        }
        for line in lines.into_values() {
            let _ = writeln!(text, "{line}");
        }
        for (at, fences) in &self.raised {
            let _ = writeln!(text, "{at:>9}            fences stand: {fences:?}");
        }
        text
    }
}
