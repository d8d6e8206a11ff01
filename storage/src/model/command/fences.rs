//! What a partition refuses whatever its rows say: writes that began too many sweeps ago, and whatever may be for a bucket
//! that was closed.

use super::{Command, Refusal, Submission};

/// The fences of one partition. Rows of the directory are behind none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fences {
    /// Writes that began when their gateway knew of fewer sweeps are refused: blocks they stored may be swept.
    pub sweeps: u64,
    /// Whoever knew of fewer closed buckets is refused: the bucket it writes to may be one of those closed since, or one that
    /// keeps versions in another way since, which is counted like a closing.
    pub closings: u64,
}

impl Fences {
    /// Why a submission is refused, if it is.
    pub fn refuse(&self, submission: &Submission) -> Option<Refusal> {
        let Command::Object(command) = &submission.command else {
            return None;
        };
        if !command.action.adds() {
            return None;
        }
        if u64::from(submission.sweeps) < self.sweeps {
            return Some(Refusal::TooOld);
        }
        (command.closings < self.closings).then_some(Refusal::BucketClosed)
    }
}
