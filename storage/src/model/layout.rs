//! Root rows about the layout: what a person decided, and what was changed when and why.

use serde::{Deserialize, Serialize};

use super::{MemberId, Timestamp};

/// Changes that are remembered.
const CHANGES_MAX: usize = 32;

/// What a person decided for the whole mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutPolicy {
    /// Since when nothing changes by itself; `None` while it does.
    pub paused: Option<Timestamp>,
}

/// A change of who is wanted to hold what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutChange {
    /// When, by the clock of whoever committed it.
    pub at: Timestamp,
    /// Who committed it.
    pub by: MemberId,
    /// Copies of blocks that had to be made, each of a 256th of all.
    pub copies: u32,
    /// Parts of the rows that got other voters, of 256.
    pub rows: u32,
    /// Why, in words.
    pub reasons: Vec<String>,
}

/// The last changes, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutHistory {
    /// At most 32.
    pub changes: Vec<LayoutChange>,
}

impl LayoutHistory {
    /// With another change; the oldest are forgotten.
    pub fn with(mut self, change: LayoutChange) -> Self {
        self.changes.push(change);
        let surplus = self.changes.len().saturating_sub(CHANGES_MAX);
        self.changes.drain(..surplus);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_changes_are_remembered() {
        let change = |at| LayoutChange {
            at: Timestamp::from_millis(at),
            by: MemberId(1),
            copies: 0,
            rows: 0,
            reasons: Vec::new(),
        };
        let history = (0..40).fold(LayoutHistory::default(), |history, at| history.with(change(at)));
        let times: Vec<u64> = history
            .changes
            .iter()
            .map(|change| change.at.as_millis())
            .collect();
        assert_eq!(times, (8..40).collect::<Vec<_>>());
    }
}
