//! What the row log's thread does with rows that are durable: it tells the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::index::{Index, IndexBatch, IndexChange, RowPlace};
use super::record::{BodyBuilder, Record};
use super::{KIND_ACCEPT_LOSS, KIND_ROWS};
use crate::disk::frame::{HEADER_LEN, Position};
use crate::disk::log::{Apply, Frame, Placed};
use crate::disk::{DiskError, RowWrite};

/// What travels with a frame to the index.
pub(super) enum RowNote {
    /// Records that are in the frame.
    Records(Vec<RecordNote>),
    /// Records of an old segment, to be written again if they still count.
    Move(Vec<Moving>),
    /// The loss of rows is accepted.
    AcceptLoss,
}

/// One record of a frame.
pub(super) struct RecordNote {
    key: Bytes,
    entry: Option<Vec<u8>>,
    /// Where the record begins, from the start of the frame's body.
    at: u64,
    len: u32,
}

impl RecordNote {
    /// The note of a record read back from a frame's body.
    pub(super) fn of_record(at: usize, len: usize, record: &Record<'_>) -> Self {
        let entry = match record {
            Record::Put { summary, .. } => Some(RowPlace::entry_for(summary)),
            Record::Drop { .. } => None,
        };
        // A body is shorter than 2³² bytes.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            key: Bytes::copy_from_slice(record.key()),
            entry,
            at: at as u64,
            len,
        }
    }

    fn change(self, placed: &Placed) -> IndexChange {
        let Position { segment, offset } = placed.position;
        let offset = offset + HEADER_LEN as u64 + self.at;
        let place = RowPlace {
            position: Position { segment, offset },
            len: self.len,
            lsn: placed.lsn,
        };
        let mut entry = self.entry;
        if let Some(entry) = &mut entry {
            place.put_into(entry);
        }
        IndexChange { key: self.key, entry }
    }
}

/// A record of an old segment.
pub(super) struct Moving {
    /// Where it stands.
    pub(super) position: Position,
    /// Its bytes, verified.
    pub(super) record: Bytes,
    /// Whether older records may lie in older segments, which a drop must outlive.
    pub(super) older_segments: bool,
}

/// A frame for a commit.
pub(super) fn frame_of(writes: Vec<RowWrite>) -> Result<(Frame, RowNote), DiskError> {
    let size = |write: &RowWrite| match write {
        RowWrite::Put { key, summary, value } => 16 + key.len() + summary.len() + value.len().min(64 << 10),
        RowWrite::Drop { key } => 16 + key.len(),
    };
    let mut body = BodyBuilder::with_capacity(writes.iter().map(size).sum());
    let mut notes = Vec::with_capacity(writes.len());
    for write in writes {
        let at = body.len() as u64;
        let len = u32::try_from(body.add(&write)?).unwrap_or(u32::MAX);
        let (key, entry) = match write {
            RowWrite::Put { key, summary, .. } => (key, Some(RowPlace::entry_for(&summary))),
            RowWrite::Drop { key } => (key, None),
        };
        notes.push(RecordNote {
            key: Bytes::from(key),
            entry,
            at,
            len,
        });
    }
    frame(KIND_ROWS, body.finish(), RowNote::Records(notes))
}

fn frame(kind: u8, body: Vec<Bytes>, note: RowNote) -> Result<(Frame, RowNote), DiskError> {
    let size = body.iter().map(Bytes::len).sum::<usize>() as u64;
    match Frame::new(kind, body) {
        Some(frame) => Ok((frame, note)),
        None => Err(DiskError::TooLarge {
            what: "commit",
            size,
            most: crate::disk::frame::BODY_MAX as u64,
        }),
    }
}

/// Tells the index of durable rows. Lives in the row log's thread.
pub(super) struct RowApply {
    index: Arc<Index>,
    drops: BTreeMap<u32, u64>,
    /// Drops up to this LSN are counted.
    counted_lsn: u64,
}

impl RowApply {
    pub(super) fn new(index: Arc<Index>) -> Self {
        let drops = index.drops().into_iter().collect();
        let counted_lsn = index.applied().map_or(0, |applied| applied.lsn);
        Self {
            index,
            drops,
            counted_lsn,
        }
    }

    /// Adds what one frame changes to a batch.
    pub(super) fn add(&mut self, placed: &Placed, notes: Vec<RecordNote>, batch: &mut IndexBatch) {
        let segment = placed.position.segment;
        let dropped: u64 = notes
            .iter()
            .filter(|note| note.entry.is_none())
            .map(|note| u64::from(note.len))
            .sum();
        if dropped > 0 && placed.lsn > self.counted_lsn {
            let bytes = self.drops.entry(segment).or_default();
            *bytes += dropped;
            batch.drops.push((segment, *bytes));
        }
        batch.log_bytes += notes.last().map_or(0, |note| note.at + u64::from(note.len));
        batch
            .changes
            .extend(notes.into_iter().map(|note| note.change(placed)));
    }

    /// Whether a record of an old segment must be written again before the segment may go.
    fn still_counts(&self, moving: &Moving) -> Result<Option<RecordNote>, DiskError> {
        let Some((record, len)) = Record::decode(&moving.record) else {
            return Ok(None);
        };
        let current = self.index.get(record.key())?;
        let counts = match record {
            Record::Put { .. } => current.is_some_and(|place| place.position == moving.position),
            // A newer row outlives the older ones by itself.
            Record::Drop { .. } => current.is_none() && moving.older_segments,
        };
        Ok(counts.then(|| RecordNote::of_record(0, len, &record)))
    }
}

impl Apply for RowApply {
    type Note = RowNote;

    fn apply(&mut self, frames: &mut Vec<(Placed, RowNote)>, last: Placed) -> Result<(), DiskError> {
        let mut batch = IndexBatch {
            applied: Some(last),
            ..IndexBatch::default()
        };
        let segment_goes = frames.is_empty();
        for (placed, note) in frames.drain(..) {
            if let RowNote::Records(notes) = note {
                self.add(&placed, notes, &mut batch);
            }
        }
        self.index.write(batch)?;
        if segment_goes && let Err(error) = self.index.checkpoint() {
            // An index that stands in a segment that is gone is merely rebuilt.
            tracing::warn!(%error, "row index not flushed");
        }
        Ok(())
    }

    fn forget(&mut self, segment: u32, last: Placed) -> Result<(), DiskError> {
        self.drops.remove(&segment);
        self.index.write(IndexBatch {
            applied: Some(last),
            drops: vec![(segment, 0)],
            ..IndexBatch::default()
        })
    }

    fn decide(&mut self, request: RowNote) -> Result<Option<(Frame, RowNote)>, DiskError> {
        let moving = match request {
            RowNote::Move(moving) => moving,
            RowNote::AcceptLoss => return frame(KIND_ACCEPT_LOSS, Vec::new(), RowNote::AcceptLoss).map(Some),
            RowNote::Records(_) => return Ok(None),
        };
        let mut body = BodyBuilder::default();
        let mut notes = Vec::new();
        for moving in moving {
            if let Some(mut note) = self.still_counts(&moving)? {
                note.at = body.len() as u64;
                body.copy(&moving.record);
                notes.push(note);
            }
        }
        if notes.is_empty() {
            return Ok(None);
        }
        frame(KIND_ROWS, body.finish(), RowNote::Records(notes)).map(Some)
    }
}
