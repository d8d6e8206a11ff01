//! The rows of one node: a log that is the truth, and an index that may be lost.

mod apply;
mod compaction;
mod index;
mod memory_index;
mod record;
mod recover;
#[cfg(test)]
mod simulation_tests;
mod tree;

use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use apply::{RowApply, RowNote, frame_of};
use bytes::Bytes;
use compaction::Compactor;
use index::{Index, RowPlace};
pub use index::{RowScan, ScannedRow};
use record::Record;
#[cfg(any(test, feature = "simulation"))]
pub(super) use record::read_hostile;
pub(crate) use recover::IndexAt;
use recover::recover;

use super::drive::Drive;
use super::frame::KIND_FIRST_OWN;
pub(crate) use super::log::{Answered, Room};
use super::log::{Damage, Log, LogOptions, Owner};
use super::medium::Medium;
use super::{DiskError, RowWrite};

/// Kind of a frame that holds records.
const KIND_ROWS: u8 = KIND_FIRST_OWN;
/// Kind of the frame that says: the loss of whatever is damaged before this is accepted.
const KIND_ACCEPT_LOSS: u8 = KIND_FIRST_OWN + 1;
const SEGMENT_BYTES: u64 = 64 << 20;
const EXTEND_BYTES: u64 = 1 << 20;
/// A record's segment can be removed between a look at the index and the read; the index then knows its new place.
const LOOKUPS_MAX: usize = 8;

/// How the rows of a node are opened.
pub(crate) struct RowOptions<'a> {
    /// Directory of the log, for messages.
    pub(crate) directory: &'a Path,
    /// Where the index lives.
    pub(crate) index: IndexAt<'a>,
    /// Take writes although acknowledged rows are known to be lost.
    pub(crate) accept_loss: bool,
    /// A segment of the log that has this many bytes is followed by another.
    pub(crate) segment_bytes: u64,
    /// Who serves the log and compacts it.
    pub(crate) drive: Drive,
}

impl<'a> RowOptions<'a> {
    /// The rows of a real node in `directory`.
    pub(crate) fn in_directory(directory: &'a Path, accept_loss: bool) -> Self {
        let index = IndexAt::Directory(directory);
        Self {
            directory,
            index,
            accept_loss,
            segment_bytes: SEGMENT_BYTES,
            drive: Drive::Threads,
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
impl RowOptions<'static> {
    /// The rows of a simulated node: small segments, so that a short run meets all that segments bring.
    pub(crate) fn simulated(segment_bytes: u64, accept_loss: bool) -> Self {
        Self {
            directory: Path::new("simulated"),
            index: IndexAt::Memory(None),
            accept_loss,
            segment_bytes,
            drive: Drive::Simulated,
        }
    }
}

/// The name of the log of rows.
pub(crate) const ROW_LOG: &str = "rows";

/// Removes the index in `directory`, which must not be open.
///
/// # Errors
/// The device fails.
pub(crate) fn remove_index(directory: &Path) -> io::Result<()> {
    tree::TreeIndex::remove(directory)
}

/// What rows say about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowStatus {
    /// Rows, about: overwritten ones may count more than once.
    pub rows_about: u64,
    /// Segment files of the row log.
    pub segments: u64,
    /// Bytes of the row log.
    pub log_bytes: u64,
    /// Whether the index had to be rebuilt at the start.
    pub index_rebuilt: bool,
    /// Acknowledged rows that are lost, in words; the disk takes no writes.
    pub loss: Option<String>,
    /// Whether the loss of acknowledged rows was accepted when the disk was opened.
    pub accepted_loss: bool,
    /// Whether a failed write has stopped the row log.
    pub stopped: bool,
}

/// The rows of one node.
pub(crate) struct Rows {
    log: Arc<Log<RowApply>>,
    index: Arc<Index>,
    compactor: Option<Compactor>,
    rebuilt: bool,
    loss: Option<String>,
    accepted_loss: bool,
    /// How far the log was durable when it was opened.
    opened_lsn: u64,
}

impl Rows {
    /// Opens the rows, creating them if there are none. Blocks the thread.
    ///
    /// # Errors
    /// The device or the index fails, or a newer Warren wrote the log.
    pub(crate) fn open(medium: &Arc<dyn Medium>, options: &RowOptions<'_>) -> Result<Self, DiskError> {
        let opened = Opened::open(medium, options)?;
        let (index, rebuilt, loss) = (opened.index, opened.rebuilt, opened.loss);
        let accepted_loss = opened.accepted_loss;
        let log = Arc::new(Log::start(
            opened.owner.writer,
            opened.owner.apply,
            options.drive,
        )?);
        let compactor = match loss {
            Some(_) => None,
            None => Some(Compactor::start(
                log.clone(),
                index.clone(),
                options.directory,
                options.drive,
            )?),
        };
        Ok(Self {
            log,
            index,
            compactor,
            rebuilt,
            loss,
            accepted_loss,
            opened_lsn: opened.opened_lsn,
        })
    }

    /// How far the row log was durable when it was opened, and how far it is now.
    pub(crate) fn durable_lsns(&self) -> (u64, u64) {
        (self.opened_lsn, self.log.segments().durable_lsn())
    }

    /// The value of a row. Blocks the thread for a lookup and a read.
    ///
    /// # Errors
    /// `Damaged`: the row does not verify. `Index`, `Io`.
    pub(crate) fn row(&self, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
        row(&self.index, self.log.segments(), key)
    }

    /// The summary and the value of a row, as [`Rows::row`].
    ///
    /// # Errors
    /// As [`Rows::row`].
    pub(crate) fn whole(&self, key: &[u8]) -> Result<Option<WholeRow>, DiskError> {
        let found = find_whole(&self.index, self.log.segments(), key, |_| None::<()>)?;
        Ok(found.and_then(|(_, found)| found.err()))
    }

    /// As [`Rows::row`], but reads only a content that `known` does not know yet.
    ///
    /// # Errors
    /// As [`Rows::row`].
    pub(crate) fn find<T>(
        &self,
        key: &[u8],
        known: impl Fn(RowId) -> Option<T>,
    ) -> Result<Option<(RowId, Found<T>)>, DiskError> {
        find(&self.index, self.log.segments(), key, known)
    }

    /// Rows in key order, as they are now; the log is not touched.
    pub(crate) fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<RowScan, DiskError> {
        self.index.scan(from, to)
    }

    /// Commits all writes or none: durable and visible when it returns.
    ///
    /// # Errors
    /// `ReadOnly`, `Full`, `TooLarge`: nothing was written. `Closed`. Any other: the outcome is unknown.
    ///
    /// # Cancellation
    /// Once queued the writes are committed whether or not anyone waits.
    pub(crate) async fn commit(&self, writes: Vec<RowWrite>) -> Result<(), DiskError> {
        self.writable()?;
        if writes.is_empty() {
            return Ok(());
        }
        let (frame, note) = frame_of(writes)?;
        self.log.append(frame, note).await.map(drop)
    }

    /// Waits for room in the queue for writes of so many bytes.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub(crate) async fn room(&self, bytes: u64) -> Result<Room, DiskError> {
        self.log.room(bytes).await
    }

    /// Queues writes behind all that was queued before; `None` where there is nothing to write.
    ///
    /// # Errors
    /// `ReadOnly`, `TooLarge`: nothing was queued. `Stopped`, `Closed`.
    pub(crate) fn enqueue(&self, writes: Vec<RowWrite>) -> Result<Option<Answered>, DiskError> {
        self.writable()?;
        if writes.is_empty() {
            return Ok(None);
        }
        let (frame, note) = frame_of(writes)?;
        self.log.enqueue(frame, note).map(Some)
    }

    /// Waits for what was queued: it is durable and visible when this returns.
    ///
    /// # Errors
    /// As [`Rows::commit`].
    pub(crate) async fn answered(&self, answered: Answered) -> Result<(), DiskError> {
        self.log.answered(answered).await.map(drop)
    }

    /// `ReadOnly` where a loss has not been accepted.
    pub(crate) fn writable(&self) -> Result<(), DiskError> {
        match &self.loss {
            Some(loss) => Err(DiskError::ReadOnly(loss.clone())),
            None => Ok(()),
        }
    }

    /// What is known of the rows.
    pub(crate) fn status(&self) -> RowStatus {
        let segments = self.log.segments();
        let numbers = segments.numbers();
        RowStatus {
            rows_about: self.index.rows_about(),
            segments: numbers.len() as u64,
            log_bytes: numbers
                .iter()
                .filter_map(|number| segments.len(*number).ok())
                .sum(),
            index_rebuilt: self.rebuilt,
            loss: self.loss.clone(),
            accepted_loss: self.accepted_loss,
            stopped: self.log.has_stopped(),
        }
    }

    /// Ends compaction, writes what is queued, marks the end of the log, and flushes the index. Blocks the thread.
    ///
    /// # Errors
    /// The index fails; no row is lost by that.
    pub(crate) fn close(&self) -> Result<(), DiskError> {
        if let Some(compactor) = &self.compactor {
            compactor.stop();
        }
        match self.log.close() {
            Some(_) if self.loss.is_none() => self.index.checkpoint(),
            _ => Ok(()),
        }
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(compactor) = &self.compactor {
            compactor.stop();
        }
        // Without `close` the index is merely not flushed.
        self.log.close();
    }
}

/// Rows before any thread runs: what a simulation drives by itself.
pub(crate) struct Opened {
    owner: Owner<RowApply>,
    index: Arc<Index>,
    rebuilt: bool,
    loss: Option<String>,
    accepted_loss: bool,
    opened_lsn: u64,
}

impl Opened {
    /// As [`Rows::open`], without threads.
    pub(crate) fn open(medium: &Arc<dyn Medium>, options: &RowOptions<'_>) -> Result<Self, DiskError> {
        let log = LogOptions {
            name: ROW_LOG,
            directory: options.directory.to_path_buf(),
            segment_bytes: options.segment_bytes,
            extend_bytes: EXTEND_BYTES.min(options.segment_bytes),
        };
        let recovered = recover(medium, &log, &options.index)?;
        let opened_lsn = recovered.writer.segments().durable_lsn();
        let mut owner = Owner {
            writer: recovered.writer,
            apply: recovered.apply,
        };
        let mut loss = name_loss(&recovered.losses);
        let accepted_loss = loss.is_some() && options.accept_loss;
        if accepted_loss {
            // In this order: a crash in between leaves a loss to accept once more, and never one that nobody accepted.
            owner.decide(RowNote::AcceptLoss)?;
            owner.accept_missing()?;
            loss = None;
        }
        Ok(Self {
            owner,
            index: recovered.index,
            rebuilt: recovered.rebuilt,
            loss,
            accepted_loss,
            opened_lsn,
        })
    }
}

/// What a person is told of lost rows.
fn name_loss(losses: &[Damage]) -> Option<String> {
    let (first, last) = (losses.first()?, losses.last()?);
    Some(format!(
        "acknowledged rows are lost: {} damaged place(s) in the row log, the first in segment {} at byte {} \
         (entries {} to {})",
        losses.len(),
        first.position.segment,
        first.position.offset,
        first.first_lsn,
        last.last_lsn
    ))
}

/// Names one content of one row while the disk is open: every commit gives another, and so does a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowId {
    segment: u32,
    offset: u64,
    lsn: u64,
}

impl RowId {
    fn of(place: &RowPlace) -> Self {
        let super::frame::Position { segment, offset } = place.position;
        Self {
            segment,
            offset,
            lsn: place.lsn,
        }
    }
}

/// What a lookup found.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// What the caller knew this content as.
    Known(T),
    /// The content itself.
    Read(Bytes),
}

/// A row as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeRow {
    /// What a scan gives.
    pub summary: Bytes,
    /// The row itself.
    pub value: Bytes,
}

/// Looks a row up and reads it.
fn row(index: &Index, segments: &super::log::Segments, key: &[u8]) -> Result<Option<Bytes>, DiskError> {
    let found = find(index, segments, key, |_| None)?;
    Ok(found.map(|(_, Found::Known(value) | Found::Read(value))| value))
}

/// Looks a row up and reads its value unless its content is known.
fn find<T>(
    index: &Index,
    segments: &super::log::Segments,
    key: &[u8],
    known: impl Fn(RowId) -> Option<T>,
) -> Result<Option<(RowId, Found<T>)>, DiskError> {
    let found = find_whole(index, segments, key, known)?;
    Ok(found.map(|(id, found)| match found {
        Ok(known) => (id, Found::Known(known)),
        Err(whole) => (id, Found::Read(whole.value)),
    }))
}

/// What a content is known as, or else the row itself.
type KnownOr<T> = Result<T, WholeRow>;

/// Looks a row up: what its content is known as, or else the row itself.
fn find_whole<T>(
    index: &Index,
    segments: &super::log::Segments,
    key: &[u8],
    known: impl Fn(RowId) -> Option<T>,
) -> Result<Option<(RowId, KnownOr<T>)>, DiskError> {
    let mut gone = None;
    for _ in 0..LOOKUPS_MAX {
        let Some(place) = index.get(key)? else {
            return Ok(None);
        };
        let id = RowId::of(&place);
        if let Some(known) = known(id) {
            return Ok(Some((id, Ok(known))));
        }
        match segments.read_at(place.position, place.len as usize) {
            Ok(record) => {
                let whole = whole_of(index, key, record, &place)?;
                return Ok(Some((id, Err(whole))));
            }
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => gone = Some(place),
                io::ErrorKind::UnexpectedEof => return Err(damaged(&place)),
                _ => return Err(segments.failed("read row")(error)),
            },
        }
    }
    Err(gone.map_or_else(
        || DiskError::Index("entry of a row".into()),
        |place| damaged(&place),
    ))
}

fn whole_of(index: &Index, key: &[u8], record: Vec<u8>, place: &RowPlace) -> Result<WholeRow, DiskError> {
    match Record::decode(&record) {
        Some((
            Record::Put {
                key: found,
                summary,
                value,
            },
            _,
        )) if found == key => {
            let value_at = record.len() - value.len();
            let summary_at = value_at - summary.len();
            let record = Bytes::from(record);
            Ok(WholeRow {
                summary: record.slice(summary_at..value_at),
                value: record.slice(value_at..),
            })
        }
        Some(_) => {
            // The log holds what it should, so it is the index that is wrong.
            index.distrust();
            Err(damaged(place))
        }
        None => Err(damaged(place)),
    }
}

fn damaged(place: &RowPlace) -> DiskError {
    let RowPlace { position, lsn, .. } = place;
    DiskError::Damaged(format!(
        "row in segment {} at byte {} (entry {lsn})",
        position.segment, position.offset
    ))
}
