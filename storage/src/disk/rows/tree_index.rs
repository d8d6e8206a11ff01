//! The index of rows on disk: one LSM tree that may be lost at any time.
//!
//! All that the index holds lies in **one** tree, rows under one prefix and progress under another, and one thread at a
//! time writes to it, whole batches between two memtables. So what is in its tables is one prefix of its history, and
//! `applied` says which. The tree has no journal: the row log is one already, so a start replays what the log holds
//! behind the tables. Memtables are flushed often enough that this is little, see [`REPLAY_BYTES`].
//!
//! # Sequence numbers
//! A batch is inserted under one number and becomes visible, as a whole, when `visible` passes it. A scan reads
//! `visible` and takes the tree's memtables and tables in hand while it holds `beginning`; whoever drops old versions
//! takes `visible` while no scan is beginning. So each scan either holds all that it may see, or sees only what is newer
//! than anything that is dropped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::Bound;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use lsm_tree::checksum::ChecksummedWriter;
use lsm_tree::config::{BlockSizePolicy, CompressionPolicy};
use lsm_tree::{
    AbstractTree, AnyTree, Cache, Config, Guard, IterGuardImpl, SeqNo, SequenceNumberCounter, Slice,
    compaction,
};

use super::flusher::Flusher;
use super::index::{IndexBatch, ROW, ScannedRow};
use crate::disk::DiskError;
use crate::disk::frame::Position;
use crate::disk::log::Placed;

const AFTER_ROWS: u8 = b's';
const APPLIED: &[u8] = b"m-applied";
const DROPS: &[u8] = b"m-drops-";
/// Beside the index: it is rebuilt at the next start.
const DISTRUSTED: &str = "index-distrusted";
/// Bytes of a table that are verified at a time.
const VERIFY_BYTES: usize = 1 << 20;
const CACHE_BYTES: u64 = 32 << 20;
/// Bytes of a block of rows, which is read and kept as one: a few dozen rows, so that a listing meets few blocks and a
/// lookup reads little. Not compressed: that costs a listing a fifth more, and saves 25 bytes a row.
const BLOCK_BYTES: u32 = 8 << 10;
/// A memtable that has this many bytes is flushed.
const MEMTABLE_BYTES: u64 = 8 << 20;
/// A memtable is flushed, too, when the row log has grown by this since it was begun: what a start replays takes about
/// a tenth of a second.
const REPLAY_BYTES: u64 = 32 << 20;
/// A memtable is flushed, too, when this many of its entries are older versions of others: a listing steps over each.
const SHADOWED_MAX: u64 = 2048;
/// Bytes of a table: rows overwritten again and again cost no more than the merging of one.
const TABLE_BYTES: u64 = 16 << 20;
/// In the tree's directory: how far the tree has ever been written, tables or not. An index that stands beyond the end of
/// the log proves a loss, also where a kill has taken its memtable. Never synced; a torn one is ignored.
const REACHED: &str = "reached";

/// The index of rows on disk.
pub(super) struct TreeIndex {
    tree: Arc<RowTree>,
    flusher: Flusher,
    directory: PathBuf,
    reached: File,
    /// What an earlier run left in `reached`.
    reached_before: Option<Placed>,
    /// Bytes of the row log whose rows are in the memtable that is written to.
    logged: AtomicU64,
    /// Older versions in the memtable that is written to.
    shadowed: AtomicU64,
}

impl TreeIndex {
    /// Opens the index in `directory/index`, creating an empty one if there is none.
    ///
    /// # Errors
    /// `Index`: it cannot be used and should be [removed](Self::remove).
    pub(super) fn open(directory: &Path) -> Result<Self, DiskError> {
        if directory.join(DISTRUSTED).exists() {
            return Err(DiskError::Index("it was found to be wrong".into()));
        }
        // Bytes from a damaged disk make the tree panic in places; that is one more way of not opening.
        let opened = catch_unwind(AssertUnwindSafe(|| RowTree::open(&directory.join("index"))));
        let tree = opened.map_err(|_| DiskError::Index("the tree panicked".into()))?;
        let tree = Arc::new(tree.map_err(failed)?);
        let io = |error: io::Error| DiskError::Index(Box::new(error));
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let reached = options.open(directory.join("index").join(REACHED)).map_err(io)?;
        let reached_before = read_reached(&reached).map_err(io)?;
        let flusher = Flusher::start(tree.clone()).map_err(io)?;
        Ok(Self {
            tree,
            flusher,
            directory: directory.to_path_buf(),
            reached,
            reached_before,
            logged: AtomicU64::new(0),
            shadowed: AtomicU64::new(0),
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

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Slice>, DiskError> {
        // A table that does not read now is one that must not be opened again.
        self.tree.get(&row_key(key)).inspect_err(|_| self.distrust())
    }

    pub(super) fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> TreeScan {
        let from = match from {
            Bound::Unbounded => Bound::Included(vec![ROW]),
            bound => bound.map(row_key),
        };
        let to = match to {
            Bound::Unbounded => Bound::Excluded(vec![AFTER_ROWS]),
            bound => bound.map(row_key),
        };
        TreeScan(self.tree.range((from, to)))
    }

    /// Writes a batch; one thread at a time. Blocks the thread while memtables wait to be flushed.
    pub(super) fn write(&self, batch: IndexBatch) -> Result<(), DiskError> {
        let tree = &self.tree.tree;
        let memtable = tree.active_memtable();
        let seqno = self.tree.seqno.next();
        let mut shadowed = 0;
        let mut key = Vec::with_capacity(128);
        for change in batch.changes {
            key.clear();
            key.push(ROW);
            key.extend_from_slice(&change.key);
            shadowed += u64::from(memtable.get(&key, SeqNo::MAX).is_some());
            match change.entry {
                Some(entry) => tree.insert(&key[..], &entry[..], seqno),
                None => tree.remove(&key[..], seqno),
            };
        }
        for (segment, bytes) in batch.drops {
            let key = [DROPS, &segment.to_be_bytes()].concat();
            match bytes {
                0 => tree.remove(key, seqno),
                _ => tree.insert(key, bytes.to_le_bytes().to_vec(), seqno),
            };
        }
        if let Some(applied) = batch.applied {
            let place = encode_place(applied);
            let reached = [&place[..], &crc_fast::crc32_iscsi(&place).to_le_bytes()].concat();
            let written = self.reached.write_all_at(&reached, 0);
            written.map_err(|error| DiskError::Index(Box::new(error)))?;
            tree.insert(APPLIED, place, seqno);
        }
        self.tree.visible.store(seqno + 1, Ordering::Release);
        let add = |counter: &AtomicU64, more| counter.fetch_add(more, Ordering::Relaxed) + more;
        let (logged, shadowed) = (add(&self.logged, batch.log_bytes), add(&self.shadowed, shadowed));
        if logged >= REPLAY_BYTES || shadowed >= SHADOWED_MAX || memtable.size() >= MEMTABLE_BYTES {
            self.logged.store(0, Ordering::Relaxed);
            self.shadowed.store(0, Ordering::Relaxed);
            tree.rotate_memtable();
            self.flusher.flush()?;
        }
        Ok(())
    }

    pub(super) fn applied(&self) -> Result<Option<Placed>, DiskError> {
        match self.tree.get(APPLIED)? {
            None => Ok(None),
            Some(bytes) => decode_place(&bytes)
                .map(Some)
                .ok_or_else(|| DiskError::Index("place in the log".into())),
        }
    }

    /// The last frame that was ever applied, in tables or not.
    pub(super) fn reached(&self) -> Option<Placed> {
        self.reached_before
    }

    pub(super) fn drops(&self) -> Result<Vec<(u32, u64)>, DiskError> {
        let to = [DROPS, &[0xff; 5]].concat();
        let entries = self
            .tree
            .range((Bound::Included(DROPS.to_vec()), Bound::Excluded(to)));
        let entries = entries.map(|guard| {
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
        self.tree.tree.rotate_memtable();
        self.tree.flush().map_err(failed)
    }

    pub(super) fn distrust(&self) {
        if let Err(error) = fs::write(self.directory.join(DISTRUSTED), []) {
            tracing::warn!(%error, "the row index is wrong, and not marked to be rebuilt");
        }
    }

    pub(super) fn rows_about(&self) -> u64 {
        self.tree.tree.approximate_len() as u64
    }
}

impl Drop for TreeIndex {
    fn drop(&mut self) {
        if let Err(error) = self.checkpoint() {
            // The next start replays what is missing.
            tracing::debug!(%error, "row index closed without a flush");
        }
    }
}

/// The tree with its sequence numbers.
pub(super) struct RowTree {
    tree: AnyTree,
    /// The next number; the tree takes some for itself.
    seqno: SequenceNumberCounter,
    /// Batches with lower numbers are visible.
    visible: AtomicU64,
    beginning: RwLock<()>,
    strategy: Arc<compaction::Leveled>,
}

impl RowTree {
    fn open(path: &Path) -> lsm_tree::Result<Self> {
        let seqno = SequenceNumberCounter::new(1);
        // The tree moves this for tables of its own, in the middle of a batch; ours moves only behind whole batches.
        let unused = SequenceNumberCounter::default();
        let tree = Config::new(path, seqno.clone(), unused)
            .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES)))
            .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
            .data_block_compression_policy(CompressionPolicy::disabled())
            .open()?;
        verify(&tree, &path.join("tables"))?;
        seqno.fetch_max(tree.get_highest_seqno().map_or(1, |highest| highest + 1));
        Ok(Self {
            visible: AtomicU64::new(seqno.get()),
            tree,
            seqno,
            beginning: RwLock::default(),
            strategy: Arc::new(compaction::Leveled::default().with_table_target_size(TABLE_BYTES)),
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Slice>, DiskError> {
        self.tree.get(key, SeqNo::MAX).map_err(failed)
    }

    fn range(&self, range: (Bound<Vec<u8>>, Bound<Vec<u8>>)) -> TreeIter {
        // Nothing panics while it is held, and there is nothing in it to be left half done.
        let _beginning = self.beginning.read().unwrap_or_else(PoisonError::into_inner);
        self.tree.range(range, self.visible.load(Ordering::Acquire), None)
    }

    /// Versions of a row with a lower number that are not the newest such may be dropped: no scan sees them any more, but
    /// for those that hold them.
    fn droppable(&self) -> SeqNo {
        let _no_scan_begins = self.beginning.write().unwrap_or_else(PoisonError::into_inner);
        self.visible.load(Ordering::Acquire).saturating_sub(1)
    }

    /// Writes memtables that are complete to a table, durably.
    pub(super) fn flush(&self) -> lsm_tree::Result<()> {
        let lock = self.tree.get_flush_lock();
        self.tree.flush(&lock, self.droppable()).map(drop)
    }

    /// Merges tables until they are in order.
    pub(super) fn compact(&self) -> lsm_tree::Result<()> {
        loop {
            let before = self.tree.current_version().id();
            self.tree.compact(self.strategy.clone(), self.droppable())?;
            if self.tree.current_version().id() == before {
                return Ok(());
            }
        }
    }

    /// Memtables that wait to be flushed.
    pub(super) fn waiting(&self) -> usize {
        self.tree.sealed_memtable_count()
    }
}

type TreeIter = Box<dyn DoubleEndedIterator<Item = IterGuardImpl> + Send + 'static>;

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

fn read_reached(file: &File) -> io::Result<Option<Placed>> {
    let mut bytes = [0; 24];
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (place, crc) = bytes.split_at(20);
    Ok((crc == crc_fast::crc32_iscsi(place).to_le_bytes())
        .then(|| decode_place(place))
        .flatten())
}

/// The error of a tree.
/// Proves every table by the checksum of its whole file: a damaged index is rebuilt now, and no request meets it later.
/// Reads about 75 MB for a million rows, which the first requests would read anyway.
fn verify(tree: &AnyTree, tables: &Path) -> lsm_tree::Result<()> {
    for table in tree.current_version().iter_tables() {
        let mut file = File::open(tables.join(table.id().to_string()))?;
        let mut sum = ChecksummedWriter::new(io::sink());
        let mut piece = vec![0; VERIFY_BYTES];
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => sum.write_all(&piece[..read])?,
            }
        }
        if sum.checksum() != table.checksum() {
            let found = io::Error::new(
                io::ErrorKind::InvalidData,
                format!("table {} is damaged", table.id()),
            );
            return Err(found.into());
        }
    }
    Ok(())
}

pub(super) fn failed(error: lsm_tree::Error) -> DiskError {
    DiskError::Index(Box::new(error))
}

/// Entries in key order, as they were when the scan began.
pub(crate) struct TreeScan(TreeIter);

impl Iterator for TreeScan {
    type Item = Result<ScannedRow, DiskError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.0.next()?.into_inner().map_err(failed);
        Some(entry.map(|(key, entry)| ScannedRow::new(key, entry)))
    }
}
