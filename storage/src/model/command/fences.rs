//! What a partition refuses whatever its rows say: operations that began too long ago, and whatever may be for a bucket that
//! was closed.

use super::{Command, Refusal, Submission};
use crate::model::Timestamp;

/// The fences of one partition. Rows of the directory are behind none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fences {
    /// Operations that began before this are refused: blocks they stored may have been collected.
    pub min_started: Timestamp,
    /// Whoever knew of fewer closed buckets is refused: the bucket it writes to may be one of those closed since, or one that
    /// keeps versions in another way since, which is counted like a closing.
    pub closings: u64,
}

impl Default for Fences {
    /// None raised.
    fn default() -> Self {
        Self {
            min_started: Timestamp::from_millis(0),
            closings: 0,
        }
    }
}

impl Fences {
    /// Why a submission is refused, if it is.
    pub fn refuse(&self, submission: &Submission) -> Option<Refusal> {
        let Command::Object(command) = &submission.command else {
            return None;
        };
        if submission.started < self.min_started {
            return Some(Refusal::TooOld);
        }
        (command.action.adds() && command.closings < self.closings).then_some(Refusal::BucketClosed)
    }
}
