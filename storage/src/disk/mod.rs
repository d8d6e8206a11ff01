//! One node's disk: what is acknowledged is in an append-only log on it, synced, and every read is verified.
//!
//! The one truth is append-only segment files. Appends from many tasks are committed by one group sync, and nothing is
//! acknowledged before it: on a disk that syncs 5,000 times a second, that is the difference between hundreds and tens
//! of thousands of writes a second. Everything else (the indices) may be lost and is made anew.
//!
//! # Rules
//! - A torn tail above the newest durable LSN known is cut. A bad frame at or below it is corruption: rows opens
//!   read-only, serves what verifies, and names the loss until a person accepts it. It never guesses.
//! - A failed write or sync is never retried: the log stops, since the system may have dropped the pages and a second
//!   sync would lie. Only a full disk costs no more than the commit that met it. The next start writes again whatever
//!   it finds that nothing proves durable, syncs, and only then tells the index.
//! - The index is written only after the sync that covers a row. An index that stands beyond the end of the log proves
//!   that acknowledged frames are gone.
//! - The value of a row stays in the log; the index holds its place and summary. So the index stays small, and a scan
//!   never touches the log.
//! - The index of rows has no journal of its own: the row log is one. A start replays what the log holds behind the
//!   tables of the index, 32 MiB at most or a memtable of 8 MiB. (A journal of 64 MiB beside it, as fjall keeps one, took
//!   0.4 s of CPU to read at every start with a million rows, and made them half as fast to write.)
//!
//! # Segments
//! A log called `rows` lies in files `rows-00000001.log`, `rows-00000002.log`, … of 64 MiB; numbers are never used
//! twice. A segment is synced at its exact length before the next one is created, and the directory is synced before
//! any frame of the next one is acknowledged. The newest may be followed by zeros. Removing a segment is announced by a
//! durable frame first; one that is missing without it is known to be lost.
//!
//! # Frames, version 1
//! Integers are little-endian. A frame is a header of 36 bytes and its body, without padding.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `WRNf` |
//! | 4 | format version: 1 |
//! | 5 | kind |
//! | 6–7 | 0 |
//! | 8–11 | bytes of body, at most 32 MiB |
//! | 12–15 | CRC32C of the body |
//! | 16–23 | LSN: number of the frame in its log, consecutive, from 1 |
//! | 24–31 | durable LSN: every frame up to it was durable when this one was written |
//! | 32–35 | CRC32C of bytes 0–31, the segment's number (4 bytes) and the frame's offset in its file (8 bytes) |
//!
//! The place is covered so that a frame written elsewhere by the device, and stored data that looks like a frame, are
//! not taken for one. The header has its own CRC so that headers can be scanned without bodies.
//!
//! | kind | body |
//! |---|---|
//! | 1 segment | opens a segment: length of the log's name (1 byte), the name, the numbers of all segments, lost ones too (4 bytes each) |
//! | 2 mark | empty; written after a second without appends and at close, so that damage to the last acknowledged frame is not taken for a torn tail |
//! | 3 forget | number of the segment that is removed, or whose loss is accepted (4 bytes) |
//! | 16 rows | records, one after another |
//! | 17 accept loss | empty; a person accepted the loss of whatever is damaged before it |
//!
//! # Records
//! A commit is one frame; each record in it can be read and verified alone.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | CRC32C of everything behind |
//! | 4 | kind: 1 put, 2 drop |
//! | 5 | 0 |
//! | 6–7 | bytes of key, at most 2,200 |
//! | 8–9 | bytes of summary, at most 1 KiB |
//! | 10–11 | 0 |
//! | 12–15 | bytes of value, at most 1 MiB |
//! | 16– | key, summary, value |
//!
//! A row is the newest record of its key. Compaction writes the records that still count again, at the end of the log;
//! a drop is kept until no older segment is left in which an older record of its key could lie.
//!
//! # Index of rows
//! It lies in `index` beside the log: a manifest and tables, see `rows/tree/manifest.rs`, `rows/tree/table.rs` and
//! `rows/tree/block.rs` for their formats to the byte. Another version of it is not read but made anew.
//!
//! # Blocks
//! Each directory of blocks holds a log called `blocks` in segments of 1 GiB, whose frames `blocks/record.rs` describes
//! to the byte, and a file that says whose it is, see `blocks/identity.rs`. The index of all of them lies beside the
//! rows, in `block-index`, see `blocks/index.rs`.

mod blocks;
mod drive;
mod error;
#[cfg(any(test, feature = "simulation"))]
pub mod fault;
mod files;
mod forget;
mod frame;
#[cfg(any(test, feature = "simulation"))]
pub mod hostile;
mod log;
pub mod medium;
mod rows;

use std::ops::{Bound, Range};
use std::path::PathBuf;
use std::sync::Arc;

use blocks::{Blocks, BlocksOptions, IndexAt, open_directory};
pub use blocks::{DirectoryState, DirectoryStatus, HeldReference, ScrubPosition, Scrubbed, is_of_a_store};
use bytes::Bytes;
use drive::Drive;
pub use error::DiskError;
use files::Directory;
pub(crate) use files::create_private;
pub use forget::{forget_rows, forget_rows_on};
use medium::Medium;
pub(crate) use rows::Room;
pub use rows::{Found, RowId, RowScan, RowStatus, ScannedRow, WholeRow};
use rows::{RowOptions, Rows};

/// A segment of blocks that has this many bytes is followed by another.
const SEGMENT_BYTES: u64 = 1 << 30;
/// Bytes a second at which segments of blocks are rewritten: an eighth of what a spinning disk gives.
const REWRITE_PACE: u64 = 16 << 20;

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
        /// At most 2,200 bytes.
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

/// What a disk says about itself.
#[derive(Clone, Debug, Default)]
pub struct DiskStatus {
    /// Bytes in use by blocks, in all directories that are there.
    pub used: u64,
    /// Bytes that may be used.
    pub given: u64,
    /// Blocks known to be damaged.
    pub damaged_blocks: u64,
    /// The directories of blocks.
    pub directories: Vec<DirectoryStatus>,
    /// Its rows.
    pub rows: RowStatus,
}

/// Writes that are queued, not yet durable.
pub(crate) struct Committing {
    disk: Disk,
    queued: Option<rows::Answered>,
    room: Room,
}

impl Committing {
    /// Waits until they are durable and visible.
    ///
    /// # Errors
    /// As [`Disk::commit`].
    pub(crate) async fn durable(self) -> Result<(), DiskError> {
        let Some(queued) = self.queued else { return Ok(()) };
        let result = self.disk.0.rows.answered(queued).await;
        drop(self.room);
        result
    }
}

/// One node's disk. Cloning gives another handle.
#[derive(Clone)]
pub struct Disk(Arc<Parts>);

struct Parts {
    rows: Rows,
    blocks: Blocks,
    drive: Drive,
    /// Where it is; none of one that is simulated.
    home: Option<Home>,
}

/// What a disk was opened with.
struct Home {
    options: DiskOptions,
    directory: Arc<dyn Medium>,
}

impl Home {
    fn blocks(&self) -> BlocksOptions<'_> {
        BlocksOptions {
            state: &*self.directory,
            state_path: self.options.rows.clone(),
            index: IndexAt::Directory(self.options.rows.join("block-index")),
            directories: self.options.blocks.clone(),
            open: &open_directory,
            segment_bytes: SEGMENT_BYTES,
            rewrite_pace: REWRITE_PACE,
            drive: Drive::Threads,
        }
    }
}

/// How a simulated disk is laid out.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Copy, Debug)]
pub struct SimulatedLayout {
    /// A segment of rows that has this many bytes is followed by another.
    pub row_segment_bytes: u64,
    /// A segment of blocks that has this many bytes is followed by another.
    pub block_segment_bytes: u64,
    /// Take writes although acknowledged rows are known to be lost.
    pub accept_loss: bool,
}

impl Disk {
    /// Opens a disk, creating it on the first start: locks its directories, brings the row index up to the row log
    /// (or rebuilds it), and starts its threads.
    ///
    /// Where acknowledged rows turn out to be lost, the disk opens read-only (see [`Disk::status`]) unless the loss is
    /// accepted.
    ///
    /// # Errors
    /// `Locked`, `NewerFormat`, `Io`, `Index`.
    pub async fn open(options: DiskOptions) -> Result<Self, DiskError> {
        Drive::Threads.run(move || Self::open_blocking(options)).await?
    }

    fn open_blocking(options: DiskOptions) -> Result<Self, DiskError> {
        let directory: Arc<dyn Medium> = Arc::new(Directory::open(&options.rows)?);
        let rows = Rows::open(
            &directory,
            &RowOptions::in_directory(&options.rows, options.accept_loss),
        )?;
        let home = Home { options, directory };
        let blocks = Blocks::open(&home.blocks())?;
        Ok(Self(Arc::new(Parts {
            rows,
            blocks,
            drive: Drive::Threads,
            home: Some(home),
        })))
    }

    /// Opens a disk on a medium, rows and blocks alike, without a thread: what the threads of a real disk do, tasks of
    /// the runtime do that it is opened in. Its indexes are in memory and made anew at each start.
    ///
    /// # Errors
    /// `NewerFormat`, `Io`, `Index`.
    #[cfg(any(test, feature = "simulation"))]
    pub fn open_simulated(medium: &Arc<dyn Medium>, layout: &SimulatedLayout) -> Result<Self, DiskError> {
        let options = RowOptions::simulated(layout.row_segment_bytes, layout.accept_loss);
        let rows = Rows::open(medium, &options)?;
        let path = PathBuf::from("simulated");
        let shared = medium.clone();
        let blocks = Blocks::open(&BlocksOptions {
            state: &**medium,
            state_path: path.clone(),
            index: IndexAt::Memory,
            directories: vec![BlockDirectory { path, capacity: None }],
            open: &move |_, _| Ok(shared.clone()),
            segment_bytes: layout.block_segment_bytes,
            rewrite_pace: REWRITE_PACE,
            drive: Drive::Simulated,
        })?;
        Ok(Self(Arc::new(Parts {
            rows,
            blocks,
            drive: Drive::Simulated,
            home: None,
        })))
    }

    /// Closes the disk, in this order: ends compaction, commits what is queued, marks the end of the log, joins its
    /// thread, flushes the index. Commits from now on fail with `Closed`; reads go on until the last handle is dropped,
    /// which also unlocks the directories.
    ///
    /// # Errors
    /// The index could not be flushed: nothing is lost, the next start takes longer.
    pub async fn close(&self) -> Result<(), DiskError> {
        let parts = self.0.clone();
        let close = move || {
            let closed = parts.rows.close();
            parts.blocks.close();
            closed
        };
        self.0.drive.run(close).await?
    }

    /// Opens the directories of blocks again if their index has failed, as where somebody else had filled the file system, and
    /// there is room for it; says whether it did.
    ///
    /// # Errors
    /// As [`Disk::open`]; none is open then, until a later call succeeds.
    pub(crate) async fn reopen_blocks(&self) -> Result<bool, DiskError> {
        if !self.0.blocks.has_lost_index() {
            return Ok(false);
        }
        let parts = self.0.clone();
        let reopen = move || match &parts.home {
            Some(home) => parts.blocks.reopen(&home.blocks()),
            None => Ok(false),
        };
        self.run(reopen).await?
    }

    /// How far the row log was durable when it was opened, and how far it is now, each as the number of an entry.
    pub fn durable_lsns(&self) -> (u64, u64) {
        self.0.rows.durable_lsns()
    }

    /// The value of a row. Blocks the thread for a lookup and a read, mostly from memory.
    ///
    /// # Errors
    /// `Damaged`: the row does not verify. `Index`, `Io`.
    pub fn row(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        self.0.rows.row(key)
    }

    /// The summary and the value of a row; else as [`Disk::row`].
    ///
    /// # Errors
    /// As [`Disk::row`].
    pub fn whole_row(&self, key: &[u8]) -> Result<Option<WholeRow>, DiskError> {
        self.0.rows.whole(key)
    }

    /// As [`Disk::row`], but reads only a content that `known` does not know yet.
    ///
    /// # Errors
    /// As [`Disk::row`].
    pub fn find_row<T>(
        &self,
        key: &[u8],
        known: impl Fn(RowId) -> Option<T>,
    ) -> Result<Option<(RowId, Found<T>)>, DiskError> {
        self.0.rows.find(key, known)
    }

    /// Rows in key order, as they are now. Blocks the thread while it reads the index.
    ///
    /// # Errors
    /// `Index`.
    pub fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<RowScan, DiskError> {
        self.0.rows.scan(from, to)
    }

    /// The first row in a range, as [`Disk::scan`] finds it: whether there is one, if its key is all that counts.
    ///
    /// # Errors
    /// As [`Disk::scan`].
    pub fn first_key(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Option<Vec<u8>>, DiskError> {
        let first = self.scan(from, to)?.next_row()?.map(|row| row.key().to_vec());
        Ok(first)
    }

    /// Commits all writes or none; durable and visible when it returns. Later writes to a key win.
    ///
    /// # Errors
    /// `ReadOnly`, `Full`, `TooLarge`: nothing was written. `Closed`. Any other: the outcome is unknown until the disk is
    /// opened again.
    ///
    /// # Cancellation
    /// Once queued the writes are committed whether or not anyone waits.
    pub async fn commit(&self, writes: Vec<RowWrite>) -> Result<(), DiskError> {
        self.0.rows.commit(writes).await
    }

    /// Waits for room to queue writes of about so many bytes; to be given to [`Disk::enqueue`].
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub(crate) async fn room(&self, bytes: u64) -> Result<Room, DiskError> {
        self.0.rows.room(bytes).await
    }

    /// Queues writes, all or none, behind all that was queued before: so whoever decides under a lock also commits in that
    /// order. They are committed whether or not anyone waits.
    ///
    /// # Errors
    /// `ReadOnly`, `TooLarge`: nothing was queued. `Stopped`, `Closed`.
    pub(crate) fn enqueue(&self, room: Room, writes: Vec<RowWrite>) -> Result<Committing, DiskError> {
        let queued = self.0.rows.enqueue(writes)?;
        Ok(Committing {
            disk: self.clone(),
            queued,
            room,
        })
    }

    /// Stores a sealed block with its first reference, or adds the reference to a block already here. `id` is the
    /// blake3 of `sealed`, computed by whoever sealed it; scrub proves it again. At most 8 MiB.
    ///
    /// # Errors
    /// `Full`: no directory has room; nothing was stored. `TooLarge`. `Stopped`, `Io`, `Index`: the outcome is unknown.
    ///
    /// # Cancellation
    /// The reference may be made although nobody waits for it.
    pub async fn put_block(&self, id: [u8; 32], owner: [u8; 16], sealed: Bytes) -> Result<(), DiskError> {
        self.0.blocks.put(id, owner, sealed).await
    }

    /// Adds a durable reference to each block, or to none.
    ///
    /// # Errors
    /// `NoSuchBlock`: one is not here. `Missing`: it may be in a directory that is missing. As [`Disk::put_block`].
    pub async fn add_references(&self, owner: [u8; 16], ids: Vec<[u8; 32]>) -> Result<(), DiskError> {
        self.0.blocks.add_references(owner, ids).await
    }

    /// Removes references; a block without any is freed. References that are not held are left out. Works on a disk
    /// that is full.
    ///
    /// # Errors
    /// `Stopped`, `Io`, `Index`.
    pub async fn release(&self, owner: [u8; 16], ids: Vec<[u8; 32]>) -> Result<(), DiskError> {
        self.0.blocks.release(owner, ids).await
    }

    /// Whether a block is here and not known to be damaged. Blocks the thread for a lookup.
    ///
    /// # Errors
    /// `Index`.
    pub(crate) fn holds_block(&self, id: [u8; 32]) -> Result<bool, DiskError> {
        Ok(self.sealed_bytes(id)?.is_some())
    }

    /// Sealed bytes of a block that is here and not known to be damaged. Blocks the thread for a lookup.
    ///
    /// # Errors
    /// `Index`.
    pub(crate) fn sealed_bytes(&self, id: [u8; 32]) -> Result<Option<u32>, DiskError> {
        self.0.blocks.sealed_bytes(&id)
    }

    /// Reads a range of a sealed block (clipped to its length), every byte proven. Blocks the thread: call it in
    /// [`Disk::run`].
    ///
    /// # Errors
    /// `NoSuchBlock`, `Missing`, `Damaged`, `Io`, `Index`.
    pub fn read_block(&self, id: [u8; 32], range: Range<u32>) -> Result<Vec<u8>, DiskError> {
        self.0.blocks.read(id, range)
    }

    /// At most `most` references in the order of (id, owner), behind `after`. Blocks the thread.
    ///
    /// To sweep: take [`Disk::newest_stamp`], let every write that is under way commit or fail, then page through and
    /// spare what has a higher stamp. A sweep starts anew after a restart.
    ///
    /// # Errors
    /// `Index`.
    pub fn references(
        &self,
        after: Option<([u8; 32], [u8; 16])>,
        most: usize,
    ) -> Result<Vec<HeldReference>, DiskError> {
        self.0.blocks.references(after, most)
    }

    /// The stamp of the newest reference; every later one has a higher stamp.
    pub fn newest_stamp(&self) -> u64 {
        self.0.blocks.newest_stamp()
    }

    /// Verifies the blocks that lie behind `from`, about `budget` bytes of them: one step of a scrub. Blocks the thread.
    ///
    /// # Errors
    /// `Io`, `Index`, `Closed`.
    pub fn verify_blocks(&self, from: Option<ScrubPosition>, budget: u64) -> Result<Scrubbed, DiskError> {
        self.0.blocks.verify(from, budget)
    }

    /// Runs work that blocks (disk, sealing, hashing) on the disk's threads: the one place where it goes.
    ///
    /// # Errors
    /// `Closed`: the runtime is shutting down, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        self.0.drive.run(work).await
    }

    /// What the disk knows of itself.
    pub fn status(&self) -> DiskStatus {
        let directories = self.0.blocks.status();
        let sum = |field: fn(&DirectoryStatus) -> u64| directories.iter().map(field).sum();
        DiskStatus {
            used: sum(|directory| directory.used),
            given: sum(|directory| directory.given),
            damaged_blocks: sum(|directory| directory.damaged),
            rows: self.0.rows.status(),
            directories,
        }
    }
}

#[cfg(test)]
mod tests;
