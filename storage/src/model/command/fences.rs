//! What a partition refuses whatever its rows say: operations that began too long ago, and buckets that are closing.

use std::collections::BTreeMap;

use super::{Command, Refusal, Submission};
use crate::model::{BucketId, Timestamp};

/// The fences of one partition. Rows of the directory are behind none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fences {
    /// Operations that began before this are refused: blocks they stored may have been collected.
    pub min_started: Timestamp,
    /// Buckets that were closed, by the version they were closed in: who knows only an older one is refused.
    pub closed: BTreeMap<BucketId, u64>,
}

impl Default for Fences {
    /// None raised.
    fn default() -> Self {
        Self {
            min_started: Timestamp::from_millis(0),
            closed: BTreeMap::new(),
        }
    }
}

impl Fences {
    pub(super) fn refuse(&self, submission: &Submission) -> Option<Refusal> {
        let Command::Object(command) = &submission.command else {
            return None;
        };
        if submission.started < self.min_started {
            return Some(Refusal::TooOld);
        }
        let closed = self.closed.get(&command.bucket);
        closed
            .is_some_and(|closed| command.bucket_version < *closed)
            .then_some(Refusal::BucketClosed)
    }
}
