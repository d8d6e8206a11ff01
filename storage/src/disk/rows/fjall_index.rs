//! The index of rows on disk: one fjall keyspace that may be lost at any time.
//!
//! All that the index holds lies in **one** keyspace, rows under one prefix and progress under another: only then is it
//! flushed as one prefix of its history, and a lost journal means no more than an older `applied` and a longer replay.
//! Batches are handed to the system and never synced: the row log is the truth, and is synced first.
//!
//! fjall cuts a journal at the first batch that does not verify. In the newest journal that loses the newest batches and
//! nothing else; in an older one it leaves a hole. So where more than one journal is found, the log is replayed from the
//! last checkpoint, a place in the log known to be in synced tables.

use std::fs;
use std::io;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::config::{BlockSizePolicy, CompressionPolicy};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use super::index::IndexBatch;
use crate::disk::DiskError;
use crate::disk::frame::Position;
use crate::disk::log::Placed;

const ROW: u8 = b'r';
const AFTER_ROWS: u8 = b's';
const APPLIED: &[u8] = b"m-applied";
const CHECKPOINT: &[u8] = b"m-checkpoint";
const DROPS: &[u8] = b"m-drops-";
/// Beside the index: it is rebuilt at the next start.
const DISTRUSTED: &str = "index-distrusted";
const CACHE_BYTES: u64 = 32 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;
/// The least that fjall permits.
const JOURNAL_BYTES: u64 = 64 << 20;

/// The index of rows on disk.
pub(super) struct FjallIndex {
    // The keyspace goes first: its handle keeps the database's threads alive.
    rows: Keyspace,
    database: Database,
    directory: PathBuf,
    holes: bool,
}

impl FjallIndex {
    /// Opens the index in `directory/index`, creating an empty one if there is none.
    ///
    /// # Errors
    /// `Index`: it cannot be used and should be [removed](Self::remove).
    pub(super) fn open(directory: &Path) -> Result<Self, DiskError> {
        if directory.join(DISTRUSTED).exists() {
            return Err(DiskError::Index("it was found to be wrong".into()));
        }
        let path = directory.join("index");
        let holes = journals(&path) > 1;
        // Bytes from a damaged disk make fjall panic in places; that is one more way of not opening.
        let opened = catch_unwind(AssertUnwindSafe(|| open_database(&path)));
        let (database, rows) = opened
            .map_err(|_| DiskError::Index("fjall panicked".into()))?
            .map_err(failed)?;
        Ok(Self {
            rows,
            database,
            directory: directory.to_path_buf(),
            holes,
        })
    }

    /// Removes the index in `directory`, which must not be open.
    pub(super) fn remove(directory: &Path) -> io::Result<()> {
        for removed in [
            fs::remove_dir_all(directory.join("index")),
            fs::remove_file(directory.join(DISTRUSTED)),
        ] {
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        Ok(self.rows.get(row_key(key)).map_err(failed)?.map(Bytes::from))
    }

    pub(super) fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> FjallScan {
        let from = match from {
            Bound::Unbounded => Bound::Included(vec![ROW]),
            bound => bound.map(row_key),
        };
        let to = match to {
            Bound::Unbounded => Bound::Excluded(vec![AFTER_ROWS]),
            bound => bound.map(row_key),
        };
        // Only a snapshot's range stays as it was while rows are written.
        FjallScan(self.database.snapshot().range(&self.rows, (from, to)))
    }

    pub(super) fn write(&self, batch: IndexBatch) -> Result<(), DiskError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::Buffer));
        for change in batch.changes {
            match change.entry {
                Some(entry) => writes.insert(&self.rows, row_key(&change.key), entry),
                None => writes.remove(&self.rows, row_key(&change.key)),
            }
        }
        for (segment, bytes) in batch.drops {
            let key = [DROPS, &segment.to_be_bytes()].concat();
            match bytes {
                0 => writes.remove(&self.rows, key),
                _ => writes.insert(&self.rows, key, bytes.to_le_bytes().to_vec()),
            }
        }
        if let Some(applied) = batch.applied {
            writes.insert(&self.rows, APPLIED, encode_place(applied));
        }
        writes.commit().map_err(failed)
    }

    pub(super) fn applied(&self) -> Result<Option<Placed>, DiskError> {
        self.place_under(APPLIED)
    }

    pub(super) fn replay_from(&self) -> Result<Option<Placed>, DiskError> {
        self.place_under(if self.holes { CHECKPOINT } else { APPLIED })
    }

    pub(super) fn drops(&self) -> Result<Vec<(u32, u64)>, DiskError> {
        let entries = self.rows.prefix(DROPS).map(|guard| {
            let (key, value) = guard.into_inner().map_err(failed)?;
            let segment = key.get(DROPS.len()..).and_then(|bytes| bytes.try_into().ok());
            let bytes = (&*value).try_into().ok();
            let (Some(segment), Some(bytes)) = (segment, bytes) else {
                return Err(DiskError::Index("drop bytes".into()));
            };
            Ok((u32::from_be_bytes(segment), u64::from_le_bytes(bytes)))
        });
        entries.collect()
    }

    pub(super) fn checkpoint(&self) -> Result<(), DiskError> {
        let Some(applied) = self.applied()? else {
            return Ok(());
        };
        self.rows.rotate_memtable_and_wait().map_err(failed)?;
        self.rows
            .insert(CHECKPOINT, encode_place(applied))
            .map_err(failed)
    }

    pub(super) fn distrust(&self) {
        if let Err(error) = fs::write(self.directory.join(DISTRUSTED), []) {
            tracing::warn!(%error, "the row index is wrong, and not marked to be rebuilt");
        }
    }

    pub(super) fn rows_about(&self) -> u64 {
        self.rows.approximate_len() as u64
    }

    fn place_under(&self, key: &[u8]) -> Result<Option<Placed>, DiskError> {
        match self.rows.get(key).map_err(failed)? {
            None => Ok(None),
            Some(bytes) => decode_place(&bytes)
                .map(Some)
                .ok_or_else(|| DiskError::Index("place in the log".into())),
        }
    }
}

fn open_database(path: &Path) -> fjall::Result<(Database, Keyspace)> {
    let database = Database::builder(path)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNAL_BYTES)
        .journal_compression(CompressionType::None)
        .worker_threads(1)
        .open()?;
    let rows = database.keyspace("index", || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            .manual_journal_persist(true)
            .data_block_size_policy(BlockSizePolicy::all(4 << 10))
            .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
    })?;
    Ok((database, rows))
}

fn journals(path: &Path) -> usize {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "jnl")
        })
        .count()
}

fn row_key(key: &[u8]) -> Vec<u8> {
    let mut row_key = Vec::with_capacity(1 + key.len());
    row_key.push(ROW);
    row_key.extend_from_slice(key);
    row_key
}

fn encode_place(place: Placed) -> Vec<u8> {
    let mut bytes = place.position.segment.to_le_bytes().to_vec();
    bytes.extend_from_slice(&place.position.offset.to_le_bytes());
    bytes.extend_from_slice(&place.lsn.to_le_bytes());
    bytes
}

fn decode_place(bytes: &[u8]) -> Option<Placed> {
    let (segment, rest) = bytes.split_first_chunk()?;
    let (offset, lsn) = rest.split_first_chunk()?;
    let position = Position {
        segment: u32::from_le_bytes(*segment),
        offset: u64::from_le_bytes(*offset),
    };
    Some(Placed {
        position,
        lsn: u64::from_le_bytes(lsn.try_into().ok()?),
    })
}

fn failed(error: fjall::Error) -> DiskError {
    DiskError::Index(Box::new(error))
}

/// Entries in key order, as they were when the scan began.
pub(super) struct FjallScan(fjall::Iter);

impl Iterator for FjallScan {
    type Item = Result<(Bytes, Bytes), DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.0.next()?.into_inner().map_err(failed);
        Some(entry.map(|(key, value)| (Bytes::from(key).slice(1..), Bytes::from(value))))
    }
}
