//! One register: what its row holds on one member.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Stamp;

/// Names a register within its partition: the key of its row on disk.
pub type Key = Bytes;

/// How many operations a row remembers.
///
/// A retry comes soon or not at all, and while it may come its client waits, so few operations lie in between.
pub const RECENT_MAX: usize = 4;

/// Names one operation of a client for ever, so that its retry is recognised.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OpId(#[serde(with = "serde_bytes")] pub [u8; 16]);

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

/// What is proposed for a register.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The operations that changed the register last, newest first; at most [`RECENT_MAX`].
    pub recent: Vec<OpId>,
    /// `None` is a tombstone: it must outlive every older value that may still stand somewhere.
    pub value: Option<Value>,
}

impl Content {
    /// What follows when operation `op` sets `value`.
    pub fn after(&self, op: OpId, value: Option<Value>) -> Self {
        let older = self.recent.iter().copied().filter(|known| *known != op);
        let recent = std::iter::once(op).chain(older).take(RECENT_MAX).collect();
        Self { recent, value }
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

    #[test]
    fn a_row_remembers_the_last_operations_and_none_of_them_twice() {
        let op = |number: u8| OpId([number; 16]);
        let mut content = Content::default();
        for number in [1, 2, 3, 4, 5, 3] {
            content = content.after(op(number), None);
        }
        assert_eq!(content.recent, [op(3), op(5), op(4), op(2)]);
    }
}
