//! What a member says of what it holds, and how it says that: one byte (`0xC3`: about health, version 1), and in an answer
//! the CBOR of a [`Report`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::model::{MemberId, Timestamp, Zone};
use crate::repair::scrub::ScrubStatus;

/// Calls and answers about health begin with it.
const ABOUT_HEALTH: u8 = 0xC3;

/// So many of something, and since when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// References to blocks, or changes of rows.
    pub count: u64,
    /// Bytes of the blocks; 0 for rows, and at least that where the size of some is not known.
    pub bytes: u64,
    /// Since the first of them is so.
    pub since: Option<Timestamp>,
}

impl Amount {
    /// Adds more.
    pub fn add(&mut self, more: Self) {
        self.count = self.count.saturating_add(more.count);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.since = match (self.since, more.since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }
}

/// Something that is not known to be everywhere it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The zones that are known to have it durably.
    pub zones: BTreeSet<Zone>,
    /// How much it is.
    pub amount: Amount,
}

/// Partitions whose every row is known to be in some zones, but for what [`RowsReport::short`] says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsKept {
    /// The zones.
    pub zones: BTreeSet<Zone>,
    /// The partitions; 256 is the directory.
    pub partitions: Vec<u16>,
}

/// What a member says of the blocks on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlocksReport {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be used.
    pub given: u64,
    /// How many millionths of what is here are known to be wherever the assignment wants it, but for what `kept` says.
    pub proven_millionths: u32,
    /// What is not known to be everywhere it is wanted.
    pub kept: Vec<Kept>,
    /// The same by who is not known to have it.
    pub owed: BTreeMap<MemberId, Amount>,
    /// Bytes a second that this member brings to others, measured over a minute.
    pub rates: BTreeMap<MemberId, u64>,
    /// Blocks that are known to be damaged here.
    pub damaged: u64,
    /// Directories of blocks that are missing or take nothing.
    pub directories_failed: u32,
}

/// What a member says of the rows of those partitions in which it votes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsReport {
    /// Who has every row, as far as this member knows.
    pub kept: Vec<RowsKept>,
    /// Partitions of which it does not know whether it has every row itself.
    pub unknown: u16,
    /// Changes that not every voter acknowledged.
    pub short: Vec<Kept>,
    /// The same by who did not.
    pub owed: BTreeMap<MemberId, Amount>,
    /// Voters that were not compared yet, and in how many partitions.
    pub uncompared: BTreeMap<MemberId, u16>,
    /// Every other voter was compared since then.
    pub compared: Option<Timestamp>,
    /// Whether acknowledged rows are lost here, and no writes taken.
    pub lost: bool,
}

impl RowsReport {
    /// Partitions in which this member votes.
    pub(super) fn partitions(&self) -> u16 {
        let kept = self.kept.iter().map(|kept| kept.partitions.len());
        let kept = u16::try_from(kept.sum::<usize>()).unwrap_or(u16::MAX);
        kept.saturating_add(self.unknown)
    }
}

/// What a member says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of the assignment it goes by; 0 before the first.
    pub assignment: u64,
    /// Its blocks.
    pub blocks: BlocksReport,
    /// Its rows.
    pub rows: RowsReport,
    /// How far verifying its blocks has come.
    pub scrub: ScrubStatus,
    /// The last sweep of unreferenced blocks that was done there.
    pub swept: u32,
    /// References that sweeps have freed there since it started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub freed: u64,
    /// References to blocks that were there when its last sweep since then began.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u64,
    /// How many sweeps the oldest write that is under way there knew of when it began, or the next will know of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oldest_write: u32,
    /// What its clock says while it answers; a member that says nothing of it has said that no time has passed.
    pub clock: Option<Timestamp>,
}

/// What is zero is left out: members of earlier versions say nothing of it.
fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// Whether a call is about health.
pub(crate) fn is_about_health(call: &[u8]) -> bool {
    call.first() == Some(&ABOUT_HEALTH)
}

/// Asks how somebody is.
pub(super) fn question() -> Bytes {
    Bytes::from_static(&[ABOUT_HEALTH])
}

pub(super) fn encode(report: &Report) -> Bytes {
    let mut bytes = vec![ABOUT_HEALTH];
    bytes.extend_from_slice(&crate::seal::cbor(report));
    bytes.into()
}

/// Reads [`encode`].
///
/// # Errors
/// `Damaged`: something else, or of another version.
pub(super) fn decode(bytes: &[u8]) -> Result<Report, StoreError> {
    let unreadable = |why: String| StoreError::Damaged(format!("a report of health: {why}"));
    let cbor = bytes.strip_prefix(&[ABOUT_HEALTH]);
    let cbor = cbor.ok_or_else(|| unreadable("of another version".into()))?;
    ciborium::from_reader(cbor).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_report_of_version_1_is_read_as_written() {
        let zones: BTreeSet<Zone> = [Zone::parse("anna").unwrap()].into();
        let amount = Amount {
            count: 2,
            bytes: 300,
            since: Some(Timestamp::from_millis(5)),
        };
        let report = Report {
            assignment: 7,
            blocks: BlocksReport {
                proven_millionths: 1_000_000,
                kept: vec![Kept {
                    zones: zones.clone(),
                    amount,
                }],
                owed: [(MemberId(2), amount)].into(),
                ..BlocksReport::default()
            },
            rows: RowsReport {
                kept: vec![RowsKept {
                    zones,
                    partitions: vec![0, 256],
                }],
                ..RowsReport::default()
            },
            clock: Some(Timestamp::from_millis(9)),
            ..Report::default()
        };
        let bytes = encode(&report);
        assert_eq!(decode(&bytes).unwrap(), report);
        let sum = blake3::hash(&bytes).to_hex();
        assert_eq!((bytes.len(), &sum.as_str()[..16]), (334, "72bd124c52364fb9"));
    }

    proptest! {
        #[test]
        fn hostile_reports_never_panic(body: Vec<u8>) {
            let bytes = [&[ABOUT_HEALTH][..], &body].concat();
            let _ = (decode(&bytes), decode(&body));
        }
    }
}
