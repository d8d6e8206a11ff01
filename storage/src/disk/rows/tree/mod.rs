//! The index of rows on disk: sorted tables and a memtable, all of which may be lost at any time.
//!
//! One thread at a time writes to it, whole batches between two memtables; a memtable is written to one table, and the
//! tables that count are named by one manifest, which also says how far they hold the row log. So what is in the tables
//! is one prefix of the index's history, and `applied` says which. There is no journal: the row log is one already, so a
//! start replays what the log holds behind the tables. Memtables are flushed often enough that this is little, see
//! [`REPLAY_BYTES`].
//!
//! It exists because a listing of a thousand keys must cost little more than sending it: the LSM tree that the index of
//! blocks uses takes 0.23–0.29 ms to walk a thousand rows of a single table in memory, this one 0.02–0.03 ms. It can do
//! less: one writer, no transactions, no versions of a row beside the newest, keys of a few KiB and entries of one.
//!
//! # Parts
//! - [`block`]: rows in key order, some dozens together. Both memtables and tables are made of them.
//! - [`memtable`]: the newest rows, in memory. A scan holds it as it was, without hindering the writer.
//! - [`table`], [`table_writer`], [`filter`]: an immutable file of rows. It is proven as a whole at the start, and each
//!   block whenever it is read.
//! - [`levels`]: decides which tables to merge, so that a row is looked for in few. No disk, no clock.
//! - [`manifest`]: names the tables.
//! - [`scan`]: walks memtables and tables as one.
//! - [`store`]: holds them together, and replaces them under the hands of readers; [`flusher`] is its thread.

mod block;
mod filter;
mod flusher;
mod levels;
mod manifest;
mod memtable;
mod scan;
mod store;
mod table;
mod table_writer;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flusher::Flusher;
use manifest::Progress;
pub(crate) use scan::TreeScan;
use store::TreeStore;

use super::index::IndexBatch;
use crate::disk::DiskError;
use crate::disk::frame::Position;
use crate::disk::log::Placed;

/// Beside the index: it is rebuilt at the next start.
const DISTRUSTED: &str = "index-distrusted";
/// Blocks that were read lately are kept in so much memory.
const CACHE_BYTES: u64 = 32 << 20;
/// Bytes of a block of a table, which is read and kept as one: about a hundred rows, so that a listing meets few blocks
/// and a lookup reads little.
const BLOCK_BYTES: usize = 8 << 10;
/// A memtable that has this many bytes is flushed.
const MEMTABLE_BYTES: usize = 8 << 20;
/// A memtable is flushed, too, when the row log has grown by this since it was begun: what a start replays takes about
/// a tenth of a second.
const REPLAY_BYTES: u64 = 32 << 20;
/// In the index's directory: how far it has ever been written, tables or not. An index that stands beyond the end of
/// the log proves a loss, also where a kill has taken its memtable. Never synced; a torn one is ignored.
const REACHED: &str = "reached";

/// The index of rows on disk.
pub(super) struct TreeIndex {
    store: Arc<TreeStore>,
    flusher: Flusher,
    directory: PathBuf,
    reached: File,
    /// What an earlier run left in `reached`.
    reached_before: Option<Placed>,
    written: Mutex<Written>,
}

/// What was written, in tables or not.
struct Written {
    /// The last frame that is applied.
    applied: Option<Placed>,
    /// Bytes of drop records by segment.
    drops: BTreeMap<u32, u64>,
    /// Batches were written after the one that `applied` came with.
    beyond_applied: bool,
    /// Something of this is in no sealed memtable.
    unsealed: bool,
    /// Bytes of the row log whose rows are in the memtable that is written to.
    logged: u64,
}

impl Written {
    /// How far tables hold the log if they hold all that was written.
    fn progress(&self) -> Option<Progress> {
        (!self.beyond_applied).then(|| Progress {
            applied: self.applied,
            drops: self.drops.clone().into_iter().collect(),
        })
    }
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
        let home = directory.join("index");
        let mut create = DirBuilder::new();
        create.recursive(true).mode(0o700).create(&home).map_err(failed)?;
        let store = Arc::new(TreeStore::open(&home).map_err(failed)?);
        let mut options = File::options();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let reached = options.open(home.join(REACHED)).map_err(failed)?;
        let reached_before = read_reached(&reached).map_err(failed)?;
        let flusher = Flusher::start(store.clone()).map_err(failed)?;
        let Progress { applied, drops } = store.progress();
        Ok(Self {
            store,
            flusher,
            directory: directory.to_path_buf(),
            reached,
            reached_before,
            written: Mutex::new(Written {
                applied,
                drops: drops.into_iter().collect(),
                beyond_applied: false,
                unsealed: false,
                logged: 0,
            }),
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

    /// The entry of a row as `found` reads it.
    pub(super) fn get<T>(&self, key: &[u8], found: impl Fn(&[u8]) -> T) -> Result<Option<T>, DiskError> {
        // A table that does not read now is one that must not be opened again.
        let got = self.store.get(key, found).inspect_err(|_| self.distrust());
        got.map_err(failed)
    }

    pub(super) fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<TreeScan, DiskError> {
        let scan = self.store.scan(&from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec));
        scan.map_err(failed)
    }

    /// Writes a batch; one thread at a time. Blocks the thread while memtables wait to be flushed.
    pub(super) fn write(&self, batch: IndexBatch) -> Result<(), DiskError> {
        let mut written = self.written();
        let mut active = self.store.active();
        for change in &batch.changes {
            active.set(&change.key, change.entry.as_deref());
        }
        for (segment, bytes) in batch.drops {
            match bytes {
                0 => written.drops.remove(&segment),
                _ => written.drops.insert(segment, bytes),
            };
        }
        if let Some(applied) = batch.applied {
            let place = encode_place(applied);
            let reached = [&place[..], &crc_fast::crc32_iscsi(&place).to_le_bytes()].concat();
            self.reached.write_all_at(&reached, 0).map_err(failed)?;
            written.applied = Some(applied);
        }
        written.beyond_applied = batch.applied.is_none();
        written.unsealed = true;
        written.logged += batch.log_bytes;
        let full = written.logged >= REPLAY_BYTES || active.bytes() >= MEMTABLE_BYTES;
        self.store.publish(active);
        if full {
            self.seal(&mut written);
            drop(written);
            self.flusher.flush()?;
        }
        Ok(())
    }

    fn seal(&self, written: &mut Written) {
        if written.unsealed {
            self.store.seal(written.progress());
            (written.unsealed, written.logged) = (false, 0);
        }
    }

    pub(super) fn applied(&self) -> Option<Placed> {
        self.written().applied
    }

    /// The last frame that was ever applied, in tables or not.
    pub(super) fn reached(&self) -> Option<Placed> {
        self.reached_before
    }

    pub(super) fn drops(&self) -> Vec<(u32, u64)> {
        self.written().drops.clone().into_iter().collect()
    }

    pub(super) fn checkpoint(&self) -> Result<(), DiskError> {
        self.seal(&mut self.written());
        self.store.flush().map_err(failed)
    }

    pub(super) fn distrust(&self) {
        if let Err(error) = fs::write(self.directory.join(DISTRUSTED), []) {
            tracing::warn!(%error, "the row index is wrong, and not marked to be rebuilt");
        }
    }

    pub(super) fn rows_about(&self) -> u64 {
        self.store.rows_about()
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
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

fn encode_place(place: Placed) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&place.position.segment.to_le_bytes());
    bytes[4..12].copy_from_slice(&place.position.offset.to_le_bytes());
    bytes[12..].copy_from_slice(&place.lsn.to_le_bytes());
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

/// Takes the first bytes of what is left to read; `None` if there are not enough.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
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

fn failed(error: io::Error) -> DiskError {
    DiskError::Index(Box::new(error))
}
