//! The index of rows: where each row's record stands, and how far the log has been applied.

use std::ops::Bound;

use bytes::Bytes;

use super::memory_index::{MemoryIndex, MemoryScan, is_empty};
use super::tree::{TreeIndex, TreeScan};
use crate::disk::DiskError;
use crate::disk::frame::Position;
use crate::disk::log::Placed;

/// Bytes of an entry before the row's summary.
const FIXED: usize = 24;

/// Where the record of a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowPlace {
    /// Segment and byte of the record.
    pub(super) position: Position,
    /// Bytes of the record.
    pub(super) len: u32,
    /// LSN of the frame that holds it.
    pub(super) lsn: u64,
}

impl RowPlace {
    /// An entry without its place, which is known only when the record is in the log; see [`RowPlace::put_into`].
    pub(super) fn entry_for(summary: &[u8]) -> Vec<u8> {
        let mut entry = Vec::with_capacity(FIXED + summary.len());
        entry.resize(FIXED, 0);
        entry.extend_from_slice(summary);
        entry
    }

    /// Completes an entry.
    pub(super) fn put_into(&self, entry: &mut [u8]) {
        if let Some(fixed) = entry.first_chunk_mut::<FIXED>() {
            fixed[0..4].copy_from_slice(&self.position.segment.to_le_bytes());
            fixed[4..8].copy_from_slice(&self.len.to_le_bytes());
            fixed[8..16].copy_from_slice(&self.position.offset.to_le_bytes());
            fixed[16..24].copy_from_slice(&self.lsn.to_le_bytes());
        }
    }

    /// Reads an entry; `None` if it is none.
    pub(super) fn of(entry: &[u8]) -> Option<Self> {
        let fixed = entry.first_chunk::<FIXED>()?;
        let u32_at = |at: usize| u32::from_le_bytes([fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let position = Position {
            segment: u32_at(0),
            offset: u64_at(8),
        };
        Some(Self {
            position,
            len: u32_at(4),
            lsn: u64_at(16),
        })
    }
}

/// One row met by a scan.
#[derive(Clone, Copy, Debug)]
pub struct ScannedRow<'a> {
    key: &'a [u8],
    /// The row's place, then its summary.
    entry: &'a [u8],
}

impl<'a> ScannedRow<'a> {
    /// Its key.
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// Its summary.
    pub fn summary(&self) -> &'a [u8] {
        self.entry.get(FIXED..).unwrap_or_default()
    }

    /// Where its record stands.
    pub(super) fn place(&self) -> Option<RowPlace> {
        RowPlace::of(self.entry)
    }
}

/// One change to the index.
pub(super) struct IndexChange {
    /// The row's key.
    pub(super) key: Bytes,
    /// Its entry, or `None` to forget it.
    pub(super) entry: Option<Vec<u8>>,
}

/// What is written to the index at once.
#[derive(Default)]
pub(super) struct IndexBatch {
    /// Changes to rows, in the order of the log.
    pub(super) changes: Vec<IndexChange>,
    /// The last frame of the log that is applied with this batch.
    pub(super) applied: Option<Placed>,
    /// Bytes of drop records in segments.
    pub(super) drops: Vec<(u32, u64)>,
    /// Bytes of the log that are applied with this batch.
    pub(super) log_bytes: u64,
}

/// The index of rows, on disk or in memory.
pub(super) enum Index {
    /// On disk.
    Tree(TreeIndex),
    /// In memory, for simulations.
    Memory(MemoryIndex),
}

impl Index {
    /// Where the record of a row stands.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<RowPlace>, DiskError> {
        let entry = match self {
            Self::Tree(index) => index.get(key, RowPlace::of)?,
            Self::Memory(index) => index.get(key, RowPlace::of),
        };
        let place = entry.map(|place| place.ok_or_else(|| DiskError::Index("entry of a row".into())));
        place.transpose()
    }

    /// Rows in key order, as they are now.
    pub(super) fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<RowScan, DiskError> {
        Ok(RowScan(match self {
            _ if is_empty(&from, &to) => Scan::Empty,
            Self::Tree(index) => Scan::Tree(Box::new(index.scan(from, to)?)),
            Self::Memory(index) => Scan::Memory(index.scan(from, to)),
        }))
    }

    /// Writes a batch: all of it or nothing is there after a crash, and no later batch without it.
    pub(super) fn write(&self, batch: IndexBatch) -> Result<(), DiskError> {
        match self {
            Self::Tree(index) => index.write(batch),
            Self::Memory(index) => {
                index.write(batch);
                Ok(())
            }
        }
    }

    /// The last frame of the log that is applied; `None` in an index that has not been filled.
    pub(super) fn applied(&self) -> Option<Placed> {
        match self {
            Self::Tree(index) => index.applied(),
            Self::Memory(index) => index.applied(),
        }
    }

    /// LSN of the last frame that an earlier run applied, as far as anything says: beyond [`Index::applied`] where a crash
    /// took the newest changes with it.
    pub(super) fn reached_lsn(&self) -> u64 {
        let reached = match self {
            Self::Tree(index) => index.reached(),
            Self::Memory(_) => None,
        };
        let lsns = [self.applied(), reached]
            .into_iter()
            .flatten()
            .map(|placed| placed.lsn);
        lsns.max().unwrap_or(0)
    }

    /// Bytes of drop records by segment.
    pub(super) fn drops(&self) -> Vec<(u32, u64)> {
        match self {
            Self::Tree(index) => index.drops(),
            Self::Memory(index) => index.drops(),
        }
    }

    /// Has everything written so far survive a crash. Blocks for as long as the disk needs.
    pub(super) fn checkpoint(&self) -> Result<(), DiskError> {
        match self {
            Self::Tree(index) => index.checkpoint(),
            Self::Memory(_) => Ok(()),
        }
    }

    /// Has the next start rebuild the index.
    pub(super) fn distrust(&self) {
        if let Self::Tree(index) = self {
            index.distrust();
        }
    }

    /// Rows, about: overwritten ones may count more than once.
    pub(super) fn rows_about(&self) -> u64 {
        match self {
            Self::Tree(index) => index.rows_about(),
            Self::Memory(index) => index.rows_about(),
        }
    }
}

/// Rows in key order, as they were when the scan began.
///
/// Each row is lent until the next one is asked for: a listing walks a thousand of them.
pub struct RowScan(Scan);

enum Scan {
    /// Nothing lies between the bounds.
    Empty,
    /// From disk.
    Tree(Box<TreeScan>),
    /// From memory.
    Memory(MemoryScan),
}

impl RowScan {
    /// The next row. Blocks the thread while it reads the index.
    ///
    /// # Errors
    /// `Index`.
    pub fn next_row(&mut self) -> Result<Option<ScannedRow<'_>>, DiskError> {
        let row = match &mut self.0 {
            Scan::Empty => None,
            Scan::Tree(scan) => scan.next()?,
            Scan::Memory(scan) => scan.next(),
        };
        Ok(row.map(|(key, entry)| ScannedRow { key, entry }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::log::Placed;
    use proptest::prelude::*;

    fn batch(changes: &[(u8, Option<u8>)], lsn: u64) -> IndexBatch {
        let change = |(key, entry): &(u8, Option<u8>)| IndexChange {
            key: Bytes::from(format!("key {key}")),
            entry: entry.map(|entry| vec![entry; 40]),
        };
        let position = Position {
            segment: 1,
            offset: lsn * 10,
        };
        let applied = Some(Placed { position, lsn });
        IndexBatch {
            changes: changes.iter().map(change).collect(),
            applied,
            drops: vec![(7, lsn % 3)],
            log_bytes: lsn << 24,
        }
    }

    fn all(index: &Index, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (mut scan, mut rows) = (index.scan(from, to).unwrap(), Vec::new());
        while let Some(row) = scan.next_row().unwrap() {
            rows.push((row.key().to_vec(), row.entry.to_vec()));
        }
        rows
    }

    fn bound(kind: u8, key: &str) -> Bound<&[u8]> {
        match kind {
            0 => Bound::Unbounded,
            1 => Bound::Included(key.as_bytes()),
            _ => Bound::Excluded(key.as_bytes()),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_index_on_disk_behaves_like_a_map(
            batches in proptest::collection::vec(
                (proptest::collection::vec((0..40_u8, any::<Option<u8>>()), 0..20), 0..6_u8), 1..20),
            from in 0..40_u8, to in 0..40_u8, kinds in (0..3_u8, 0..3_u8),
        ) {
            let home = tempfile::tempdir().unwrap();
            let open = || Index::Tree(TreeIndex::open(home.path()).unwrap());
            let (mut on_disk, map) = (Some(open()), Index::Memory(MemoryIndex::default()));
            for (lsn, (changes, what)) in (1..).zip(&batches) {
                let index = on_disk.as_ref().unwrap();
                index.write(batch(changes, lsn)).unwrap();
                map.write(batch(changes, lsn)).unwrap();
                match what {
                    0 => {
                        drop(on_disk.take());
                        on_disk = Some(open());
                    }
                    1 => index.checkpoint().unwrap(),
                    _ => {}
                }
            }
            let index = on_disk.as_ref().unwrap();
            prop_assert_eq!(index.applied(), map.applied());
            prop_assert_eq!(index.drops(), map.drops());
            let (from, to) = (format!("key {from}"), format!("key {to}"));
            prop_assert_eq!(index.get(from.as_bytes()).unwrap(), map.get(from.as_bytes()).unwrap());
            for (from, to) in [(bound(0, ""), bound(0, "")), (bound(kinds.0, &from), bound(kinds.1, &to))] {
                prop_assert_eq!(all(index, from, to), all(&map, from, to));
            }
        }
    }
}
