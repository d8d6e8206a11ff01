//! What members say to each other about the registers of one partition.
//!
//! A request carries a nonce that its reply repeats, so that an answer is never taken for the answer to something else.
//! Every reply leaves only after what it promises is durable; a reply to `Read` tells durable state only.

use serde::{Deserialize, Serialize};

use super::{Ballot, Content, Key, Row, Stamp};

/// Ties a reply to its request; no member uses one twice between restarts.
pub type Nonce = u64;

/// Below which lines a partition refuses operations. Each only ever rises.
///
/// Once they are raised, an operation from below that has not reached its rows yet may still do so, if a holder before had
/// begun to write it: until the holder has confirmed, or written, these rows in an operation that began after the raise. A
/// reader does not settle that. So whoever collects what such operations left behind asks all members for their rows, at one
/// moment under the ballot of the raise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fences {
    /// Operations that began when their gateway knew of fewer sweeps fail: what they stored may be swept.
    pub sweeps: u64,
    /// Operations of gateways that knew of fewer closed buckets fail: their bucket may be closed by now.
    pub directory: u64,
    /// Operations that began no later, by their names, are done only where a row remembers them: they may have been done to
    /// rows whose tombstones are gone.
    pub forgotten: u64,
}

impl Fences {
    /// Whichever is higher, of each.
    pub fn max(self, other: Self) -> Self {
        Self {
            sweeps: self.sweeps.max(other.sweeps),
            directory: self.directory.max(other.directory),
            forgotten: self.forgotten.max(other.forgotten),
        }
    }
}

/// Keys from one on, up to but without another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyRange {
    /// The first key.
    pub from: Key,
    /// The first key behind it; `None` is the end of the partition.
    pub to: Option<Key>,
}

impl KeyRange {
    /// All keys of a partition.
    pub const ALL: Self = Self {
        from: Key::new(),
        to: None,
    };

    /// Whether it holds a key.
    pub fn contains(&self, key: &Key) -> bool {
        *key >= self.from && self.to.as_ref().is_none_or(|to| key < to)
    }
}

/// What is asked of an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Promise to accept nothing below `ballot`, and say what you have of these keys.
    Prepare {
        /// The attempt.
        ballot: Ballot,
        /// Rows to tell; may be none.
        keys: Vec<Key>,
        /// See [`Nonce`].
        nonce: Nonce,
    },
    /// Say which stamps you have in this range, now that you promised `ballot`.
    Page {
        /// What was promised.
        ballot: Ballot,
        /// Which keys.
        range: KeyRange,
        /// See [`Nonce`].
        nonce: Nonce,
    },
    /// Take this content unless you promised a higher ballot.
    Accept {
        /// Of the content.
        stamp: Stamp,
        /// Which register.
        key: Key,
        /// What to take.
        content: Content,
        /// See [`Nonce`].
        nonce: Nonce,
    },
    /// Say what you have of this key.
    Read {
        /// Which register.
        key: Key,
        /// See [`Nonce`].
        nonce: Nonce,
    },
    /// Take this chosen row unless you promised more than `floor`.
    Learn {
        /// The lowest `promised` among those who were found to hold the row.
        floor: Ballot,
        /// Which register.
        key: Key,
        /// The row, chosen.
        row: Row,
        /// See [`Nonce`].
        nonce: Nonce,
    },
    /// Say whether this tombstone is what you have.
    Confirm {
        /// The holder's.
        ballot: Ballot,
        /// Which register.
        key: Key,
        /// The tombstone's.
        stamp: Stamp,
        /// See [`Nonce`].
        nonce: Nonce,
    },
    /// Forget this tombstone, which all members have, now that all promised `ballot`. Has no reply.
    Drop {
        /// Promised by all.
        ballot: Ballot,
        /// Which register.
        key: Key,
        /// The tombstone's.
        stamp: Stamp,
        /// As in [`Fences`]: a quorum has it, and whoever forgets the tombstone must.
        forgotten: u64,
    },
    /// Raise the fences, unless you promised a higher ballot.
    Raise {
        /// The holder's.
        ballot: Ballot,
        /// At least so high.
        fences: Fences,
        /// See [`Nonce`].
        nonce: Nonce,
    },
}

impl Request {
    /// The epoch it was made under; `Read` is of every epoch.
    pub fn epoch(&self) -> Option<super::Epoch> {
        match self {
            Self::Prepare { ballot, .. }
            | Self::Page { ballot, .. }
            | Self::Confirm { ballot, .. }
            | Self::Drop { ballot, .. }
            | Self::Raise { ballot, .. } => Some(ballot.epoch),
            Self::Accept { stamp, .. } => Some(stamp.ballot.epoch),
            Self::Learn { floor, .. } => Some(floor.epoch),
            Self::Read { .. } => None,
        }
    }
}

/// What an acceptor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Promised, with the rows asked for.
    Promise {
        /// As asked.
        ballot: Ballot,
        /// What is here of the keys asked for.
        rows: Vec<(Key, Row)>,
        /// As high as they stand here.
        fences: Fences,
        /// As asked.
        nonce: Nonce,
    },
    /// The stamps here, ascending by key.
    Heads {
        /// As asked.
        ballot: Ballot,
        /// Rows that were ever written.
        heads: Vec<(Key, Stamp)>,
        /// Where to go on; `None` at the end of the range.
        next: Option<KeyRange>,
        /// As asked.
        nonce: Nonce,
    },
    /// Accepted: exactly this is what stands here.
    Accepted {
        /// As asked.
        stamp: Stamp,
        /// As asked.
        key: Key,
        /// As asked.
        nonce: Nonce,
    },
    /// What is here, durably.
    Found {
        /// As asked.
        key: Key,
        /// Its row.
        row: Row,
        /// The highest ballot promised here, durably.
        promised: Ballot,
        /// As asked.
        nonce: Nonce,
    },
    /// Learned, or something newer stands here.
    Learned {
        /// As asked.
        key: Key,
        /// As asked.
        nonce: Nonce,
    },
    /// The tombstone is what stands here.
    Confirmed {
        /// As asked.
        ballot: Ballot,
        /// As asked.
        key: Key,
        /// As asked.
        stamp: Stamp,
        /// As asked.
        nonce: Nonce,
    },
    /// The fences are as high as asked.
    Raised {
        /// As asked.
        ballot: Ballot,
        /// As high as they stand here.
        fences: Fences,
        /// As asked.
        nonce: Nonce,
    },
    /// Not done: a higher ballot is promised here.
    Refused {
        /// The ballot of the request.
        ballot: Ballot,
        /// What is promised here.
        promised: Ballot,
        /// As asked.
        nonce: Nonce,
    },
}

impl Reply {
    /// The epoch that whoever answers has adopted, where it tells that: it may be newer than that of the request.
    pub fn epoch(&self) -> Option<super::Epoch> {
        match self {
            Self::Found { promised, .. } | Self::Refused { promised, .. } => Some(promised.epoch),
            Self::Promise { .. }
            | Self::Heads { .. }
            | Self::Accepted { .. }
            | Self::Learned { .. }
            | Self::Confirmed { .. }
            | Self::Raised { .. } => None,
        }
    }

    /// The nonce of the request it answers.
    pub fn nonce(&self) -> Nonce {
        match self {
            Self::Promise { nonce, .. }
            | Self::Heads { nonce, .. }
            | Self::Accepted { nonce, .. }
            | Self::Found { nonce, .. }
            | Self::Learned { nonce, .. }
            | Self::Confirmed { nonce, .. }
            | Self::Raised { nonce, .. }
            | Self::Refused { nonce, .. } => *nonce,
        }
    }
}
