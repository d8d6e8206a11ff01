//! One node's disk, in memory.

mod blocks;
mod error;
#[allow(dead_code)]
mod files;
#[allow(dead_code, unused_imports)]
mod frame;
#[allow(dead_code, unused_imports)]
mod log;
pub mod medium;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
pub use error::DiskError;

/// How a disk is laid out.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// Directory of the row log and its index.
    pub rows: PathBuf,
    /// Directories of blocks; at least one.
    pub blocks: Vec<BlockDirectory>,
    /// Take writes although acknowledged rows are known to be lost.
    pub accept_loss: bool,
}

/// One directory of blocks.
#[derive(Clone, Debug)]
pub struct BlockDirectory {
    /// Where.
    pub path: PathBuf,
    /// Bytes it may use; all of the file system (less the reserve) if not given.
    pub capacity: Option<u64>,
}

/// One change to one row.
#[derive(Clone, Debug)]
pub enum RowWrite {
    /// Sets the row.
    Put {
        /// At most 2 KiB.
        key: Vec<u8>,
        /// What a scan gives without touching the log; at most 1 KiB.
        summary: Vec<u8>,
        /// The row itself; at most 1 MiB.
        value: Bytes,
    },
    /// Forgets the row.
    Drop {
        /// Its key.
        key: Vec<u8>,
    },
}

/// One row met by a scan.
#[derive(Clone, Debug)]
pub struct ScannedRow {
    /// Its key.
    pub key: Bytes,
    /// Its summary.
    pub summary: Bytes,
}

/// One reference to a block; also where a walk over all references goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReferenceKey {
    /// The block.
    pub block: [u8; 32],
    /// Who refers to it.
    pub owner: [u8; 16],
}

/// What a disk says about itself.
#[derive(Clone, Debug, Default)]
pub struct DiskStatus {
    /// Bytes in use by blocks.
    pub used: u64,
    /// Bytes that may be used.
    pub given: u64,
}

type Rows = BTreeMap<Vec<u8>, (Vec<u8>, Bytes)>;

/// One node's disk. Cloning gives another handle.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<(Rows, BTreeMap<[u8; 32], (Bytes, BTreeSet<[u8; 16]>)>)>>);

#[allow(missing_docs, clippy::unwrap_used)]
impl Disk {
    pub async fn open(_options: DiskOptions) -> Result<Self, DiskError> {
        Ok(Self::default())
    }
    pub async fn close(&self) -> Result<(), DiskError> {
        Ok(())
    }
    /// The value of a row.
    pub fn row(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        Ok(self.0.lock().unwrap().0.get(key).map(|(_, value)| value.clone()))
    }
    /// Rows in key order, as they were when the scan began.
    pub fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
    ) -> impl Iterator<Item = Result<ScannedRow, DiskError>> + Send + use<> {
        let rows: Vec<_> = self
            .0
            .lock()
            .unwrap()
            .0
            .range::<[u8], _>((from, to))
            .take(3000)
            .map(|(k, (s, _))| {
                Ok(ScannedRow {
                    key: Bytes::from(k.clone()),
                    summary: Bytes::from(s.clone()),
                })
            })
            .collect();
        rows.into_iter()
    }
    /// Commits all writes or none; durable and visible when it returns.
    pub async fn commit(&self, writes: Vec<RowWrite>) -> Result<(), DiskError> {
        let mut inner = self.0.lock().unwrap();
        for write in writes {
            match write {
                RowWrite::Put { key, summary, value } => {
                    inner.0.insert(key, (summary, value));
                }
                RowWrite::Drop { key } => {
                    inner.0.remove(&key);
                }
            }
        }
        Ok(())
    }
    /// Stores a sealed block with its first reference, or adds the reference to a block already here.
    pub async fn put_block(&self, id: [u8; 32], owner: [u8; 16], sealed: Bytes) -> Result<(), DiskError> {
        self.0
            .lock()
            .unwrap()
            .1
            .entry(id)
            .or_insert((sealed, BTreeSet::new()))
            .1
            .insert(owner);
        Ok(())
    }
    /// Adds a durable reference to each block; `NoSuchBlock` (and nothing added) if one is not here.
    pub async fn add_references(&self, owner: [u8; 16], ids: Vec<[u8; 32]>) -> Result<(), DiskError> {
        let mut inner = self.0.lock().unwrap();
        if ids.iter().any(|id| !inner.1.contains_key(id)) {
            return Err(DiskError::NoSuchBlock);
        }
        for id in ids {
            inner.1.get_mut(&id).unwrap().1.insert(owner);
        }
        Ok(())
    }
    /// Removes references; a block without any is freed.
    pub async fn release(&self, owner: [u8; 16], ids: Vec<[u8; 32]>) -> Result<(), DiskError> {
        let mut inner = self.0.lock().unwrap();
        for id in ids {
            if let Some((_, owners)) = inner.1.get_mut(&id) {
                owners.remove(&owner);
                if owners.is_empty() {
                    inner.1.remove(&id);
                }
            }
        }
        Ok(())
    }
    /// Reads a range of a sealed block (clipped to its length). Blocks the thread: call it in [`Disk::run`].
    pub fn read_block(&self, id: [u8; 32], range: Range<u32>) -> Result<Vec<u8>, DiskError> {
        let inner = self.0.lock().unwrap();
        let (sealed, _) = inner.1.get(&id).ok_or(DiskError::NoSuchBlock)?;
        let end = (range.end as usize).min(sealed.len());
        Ok(sealed[(range.start as usize).min(end)..end].to_vec())
    }
    /// Runs work that blocks (disk, sealing, hashing) on the disk's threads: the one place where it goes.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        tokio::task::spawn_blocking(work)
            .await
            .map_err(|_| DiskError::Closed)
    }
    /// At most `max` references after `after`, in order. Blocks the thread.
    pub fn references(
        &self,
        after: Option<ReferenceKey>,
        max: usize,
    ) -> Result<Vec<ReferenceKey>, DiskError> {
        let inner = self.0.lock().unwrap();
        let all = inner.1.iter().flat_map(|(block, (_, owners))| {
            owners.iter().map(|owner| ReferenceKey {
                block: *block,
                owner: *owner,
            })
        });
        Ok(all.filter(|key| Some(*key) > after).take(max).collect())
    }
    pub fn status(&self) -> DiskStatus {
        DiskStatus::default()
    }
}
