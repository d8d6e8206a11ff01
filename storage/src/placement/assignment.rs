//! What the root decides: who holds the blocks and the rows of each partition; a root row.
//!
//! ```text
//! 0x01 │ CBOR map, version 1:
//!   "blocks"    array of 256: array of member (u32), ascending
//!   "rows"      array of 256: array of 1–3 {"member": u32, "votes": 1 or 2}, ascending; their sum is odd
//!   "balanced"  when balancing last moved something, in ms since 1970, or null
//!   "replaced"  [zone, when] whose lost members were last replaced, or null
//! ```

use serde::{Deserialize, Serialize};

use super::blocks::BlockMap;
use super::holders::Holders;
use super::rows::RowMap;
use crate::model::{MemberId, Timestamp, Zone};

const VERSION: u8 = 1;

/// Who holds what, and when it last changed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Who holds the blocks of each partition.
    pub blocks: BlockMap,
    /// Who holds the rows of each partition, and votes.
    pub rows: RowMap,
    pub(super) history: History,
}

/// What was done and must not be done again too soon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History {
    /// When balancing last moved something.
    pub(super) balanced: Option<Timestamp>,
    /// The zone whose lost members were last replaced, and when.
    pub(super) replaced: Option<(Zone, Timestamp)>,
}

/// Why bytes are not an assignment.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAssignment {
    /// There are no bytes.
    #[error("empty assignment")]
    Empty,
    /// A newer Warren wrote it.
    #[error("assignment of version {0}; a newer Warren wrote it")]
    Version(u8),
    /// The bytes do not read, or break a promise of the format.
    #[error("damaged assignment: {0}")]
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Encoded {
    blocks: Holders,
    rows: RowMap,
    balanced: Option<Timestamp>,
    replaced: Option<(Zone, Timestamp)>,
}

impl Assignment {
    /// The bytes of the root row.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&crate::seal::cbor(&Encoded {
            blocks: self.blocks.0.clone(),
            rows: self.rows.clone(),
            balanced: self.history.balanced,
            replaced: self.history.replaced.clone(),
        }));
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// Another version, or bytes that do not keep the format's promises.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidAssignment> {
        let cbor = match bytes.split_first() {
            None => return Err(InvalidAssignment::Empty),
            Some((&VERSION, cbor)) => cbor,
            Some((&version, _)) => return Err(InvalidAssignment::Version(version)),
        };
        let encoded: Encoded =
            ciborium::from_reader(cbor).map_err(|error| InvalidAssignment::Damaged(error.to_string()))?;
        Ok(Self {
            blocks: BlockMap(encoded.blocks),
            rows: encoded.rows,
            history: History {
                balanced: encoded.balanced,
                replaced: encoded.replaced,
            },
        })
    }

    /// How many partitions' blocks a member holds.
    pub fn blocks_of(&self, member: MemberId) -> usize {
        self.blocks.0.counts().get(&member).copied().unwrap_or(0)
    }

    /// How many partitions' rows a member holds.
    pub fn rows_of(&self, member: MemberId) -> usize {
        self.rows.holders().counts().get(&member).copied().unwrap_or(0)
    }
}
