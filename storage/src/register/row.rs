//! One register: what its row holds on one member.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Stamp;

/// Names a register within its partition: the key of its row on disk.
pub type Key = Bytes;

/// The most operations a row remembers.
pub const RECENT_MAX: usize = 32;
/// Operations that began so much earlier (milliseconds) than the newest one are forgotten: their gateways have given up.
const REMEMBERED_FOR: u64 = 60_000;

/// Names one operation of a client for ever, so that its retry is recognised.
///
/// The first six bytes say when it began, in milliseconds by its gateway's clock, big-endian; the rest is random. Nothing
/// relies on the clock: a wrong one has a row forget too early, which it knows, see [`Content::may_have_forgotten`], and a
/// gateway whose clock is behind learns to name what it begins as if it began later ([`Self::later_than`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId(#[serde(with = "serde_bytes")] pub [u8; 16]);

impl OpId {
    /// When it began.
    pub fn began(self) -> u64 {
        let six = self.0.iter().take(6);
        six.fold(0, |millis, byte| millis << 8 | u64::from(*byte))
    }

    /// Another name for an operation of which no attempt was made under this one: as if it began after `newest`.
    #[must_use]
    pub fn later_than(self, newest: u64) -> Self {
        let [_, _, began @ ..] = newest.saturating_add(1).min(Self::LAST).to_be_bytes();
        let mut name = self.0;
        name[..6].copy_from_slice(&began);
        Self(name)
    }

    /// The last moment that a name can tell.
    const LAST: u64 = (1 << 48) - 1;
}

impl std::fmt::Debug for OpId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpId({})", hex::encode(&self.0[..4]))
    }
}

/// What a register holds. Both parts are opaque here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// What a listing needs, kept in the index; at most 1 KiB.
    pub summary: Bytes,
    /// Everything; at most 1 MiB.
    pub body: Bytes,
}

/// An operation that a row remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Which.
    pub op: OpId,
    /// What came of it.
    pub known: Known,
}

/// What came of an operation that a row remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// It changed this row.
    Done,
    /// It was refused and changes nothing any more, whichever attempt of it comes next.
    Refused,
}

/// What is proposed for a register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The last operations, newest first; at most [`RECENT_MAX`].
    pub recent: Vec<Recent>,
    /// No operation that is forgotten began later than this.
    pub forgotten: u64,
    /// `None` is a tombstone: it must outlive every older value that may still stand somewhere.
    pub value: Option<Value>,
}

impl Content {
    /// What follows when operation `op` sets `value`.
    pub fn after(&self, op: OpId, value: Option<Value>) -> Self {
        self.remembering(op, Known::Done, value)
    }

    /// What follows when operation `op` is refused for good.
    pub fn refusing(&self, op: OpId) -> Self {
        self.remembering(op, Known::Refused, self.value.clone())
    }

    /// What came of an operation, if it is remembered here.
    pub fn remembers(&self, op: OpId) -> Option<Known> {
        let recent = self.recent.iter().find(|recent| recent.op == op);
        recent.map(|recent| recent.known)
    }

    /// Whether the operation may have changed the register long enough ago to be forgotten. It must not be done again then:
    /// done twice, it would undo what others did in between.
    pub fn may_have_forgotten(&self, op: OpId) -> bool {
        self.remembers(op).is_none() && op.began() <= self.forgotten
    }

    /// When the last operation began that is remembered here, or forgotten.
    pub fn newest(&self) -> u64 {
        let remembered = self.recent.iter().map(|recent| recent.op.began());
        remembered.fold(self.forgotten, u64::max)
    }

    fn remembering(&self, op: OpId, known: Known, value: Option<Value>) -> Self {
        let newest = self.recent.iter().map(|recent| recent.op.began()).max();
        let newest = newest.unwrap_or(0).max(op.began());
        let mut forgotten = self.forgotten;
        let mut recent = vec![Recent { op, known }];
        for older in self.recent.iter().filter(|recent| recent.op != op) {
            let began = older.op.began();
            if recent.len() < RECENT_MAX && began.saturating_add(REMEMBERED_FOR) > newest {
                recent.push(*older);
            } else {
                forgotten = forgotten.max(began);
            }
        }
        Self {
            recent,
            forgotten,
            value,
        }
    }
}

/// A register as one member has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Of its content.
    pub stamp: Stamp,
    /// True when this very content is known to have been accepted by a quorum. False says nothing.
    pub chosen: bool,
    /// What was proposed under the stamp.
    pub content: Content,
}

impl Row {
    /// A register that was never written.
    pub fn absent() -> Self {
        Self {
            stamp: Stamp::ZERO,
            chosen: false,
            content: Content::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(began: u64, number: u8) -> OpId {
        let mut id = [number; 16];
        id[..6].copy_from_slice(&began.to_be_bytes()[2..]);
        OpId(id)
    }

    fn ops(content: &Content) -> Vec<OpId> {
        content.recent.iter().map(|recent| recent.op).collect()
    }

    #[test]
    fn a_row_remembers_the_last_operations_and_none_of_them_twice() {
        let mut content = Content::default();
        for number in [1, 2, 3, 2] {
            content = content.after(op(1000, number), None);
        }
        assert_eq!(ops(&content), [op(1000, 2), op(1000, 3), op(1000, 1)]);
        assert!(!content.may_have_forgotten(op(1000, 9)));
        let content = content.refusing(op(1000, 6));
        assert_eq!(content.remembers(op(1000, 6)), Some(Known::Refused));
        assert_eq!(content.remembers(op(1000, 3)), Some(Known::Done));
    }

    #[test]
    fn a_name_is_moved_behind_others_and_stays_its_own() {
        let later = op(1000, 7).later_than(5000);
        assert_eq!((later.began(), &later.0[6..]), (5001, &[7; 10][..]));
        assert_eq!(later.later_than(u64::MAX).began(), (1 << 48) - 1);
    }

    #[test]
    fn a_row_knows_which_operations_it_may_have_forgotten() {
        let mut content = Content::default();
        for number in 0..40 {
            content = content.after(op(1000 + u64::from(number), number), None);
        }
        assert_eq!(content.recent.len(), RECENT_MAX);
        let (first, last) = (op(1000, 0), op(1039, 39));
        assert!(content.may_have_forgotten(first) && !content.may_have_forgotten(last));
        assert!(!content.may_have_forgotten(op(1020, 77)));
        assert_eq!(content.newest(), 1039);
        // Long after, only the newest is remembered.
        let content = content.after(op(900_000, 1), None);
        assert_eq!(content.newest(), 900_000);
        assert_eq!(ops(&content), [op(900_000, 1)]);
        assert!(content.may_have_forgotten(last) && !content.may_have_forgotten(op(1040, 5)));
    }
}
