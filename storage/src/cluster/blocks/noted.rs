//! The row that notes a reference which not all who should hold it may have: since when, and who is known to have it.
//!
//! It stands under `0x06`, owner and block id. All it says is in its summary, so that a scan counts what is missing without
//! touching the log. Integers are little-endian.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 2 |
//! | 8 | when it was noted first, in milliseconds since 1970 |
//! | 4 | sealed bytes of the block, 0 where that is not known |
//! | 4 each | numbers of the members that said it is durable there, ascending, at most 64 |

use std::collections::BTreeSet;

use bytes::Bytes;

use super::wire::Pair;
use crate::disk::RowWrite;
use crate::model::{MemberId, Timestamp, row_key};

const VERSION: u8 = 2;
/// Members that are remembered to have it; a block is wanted at far fewer.
const HAVE_MAX: usize = 64;

/// A reference that may be missing somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) pair: Pair,
    pub(super) since: Timestamp,
    /// Sealed bytes of the block; 0 where that is not known.
    pub(super) bytes: u32,
    /// Who said that it is durable there. Of everybody else nothing is known.
    pub(super) have: BTreeSet<MemberId>,
}

impl Noted {
    /// Notes a reference now.
    pub(super) fn now(pair: Pair, bytes: usize, have: BTreeSet<MemberId>) -> Self {
        Self {
            pair,
            since: Timestamp::now(),
            bytes: u32::try_from(bytes).unwrap_or(0),
            have,
        }
    }

    /// The key of its row.
    pub(super) fn key(&self) -> Vec<u8> {
        row_key::wanted(&self.pair.0, &self.pair.1)
    }

    /// The write of its row.
    pub(super) fn row(&self) -> RowWrite {
        let mut summary = vec![VERSION];
        summary.extend_from_slice(&self.since.as_millis().to_le_bytes());
        summary.extend_from_slice(&self.bytes.to_le_bytes());
        for member in self.have.iter().take(HAVE_MAX) {
            summary.extend_from_slice(&member.0.to_le_bytes());
        }
        RowWrite::Put {
            key: self.key(),
            summary,
            value: Bytes::new(),
        }
    }

    /// Reads such a row; `None` for others. What its summary does not say is not known.
    pub(super) fn read(key: &[u8], summary: &[u8]) -> Option<Self> {
        let pair = row_key::parse_wanted(key)?;
        let (since, bytes, have) = fields(summary).unwrap_or((0, 0, BTreeSet::new()));
        Some(Self {
            pair,
            since: Timestamp::from_millis(since),
            bytes,
            have,
        })
    }
}

fn fields(summary: &[u8]) -> Option<(u64, u32, BTreeSet<MemberId>)> {
    let rest = summary.strip_prefix(&[VERSION])?;
    let (since, rest) = rest.split_first_chunk()?;
    let (bytes, rest) = rest.split_first_chunk()?;
    let (members, rest) = rest.as_chunks();
    let have = members.iter().map(|member| MemberId(u32::from_le_bytes(*member)));
    let read = (
        u64::from_le_bytes(*since),
        u32::from_le_bytes(*bytes),
        have.collect(),
    );
    rest.is_empty().then_some(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::BlockId;

    #[test]
    fn a_row_of_version_2_is_read_as_written() {
        let noted = Noted {
            pair: ([1; 16], BlockId([2; 32])),
            since: Timestamp::from_millis(0x0102),
            bytes: 0x0300,
            have: [MemberId(1), MemberId(5)].into(),
        };
        let RowWrite::Put { key, summary, value } = noted.row() else {
            panic!("a reference is noted");
        };
        assert_eq!(
            hex::encode(&summary),
            "020201000000000000000300000100000005000000"
        );
        assert!(value.is_empty());
        assert_eq!(Noted::read(&key, &summary), Some(noted));
    }

    proptest! {
        #[test]
        fn hostile_rows_never_panic_and_stay_noted(owner: [u8; 16], id: [u8; 32], summary: Vec<u8>) {
            let key = row_key::wanted(&owner, &BlockId(id));
            let read = Noted::read(&key, &summary).map(|noted| noted.pair);
            prop_assert_eq!(read, Some((owner, BlockId(id))));
            let _ = Noted::read(&summary, &key);
        }
    }
}
