//! Rewrites a segment that is mostly dead: copies what is alive to the end of the log, then removes the file.
//!
//! Always the lowest segment that is due, and no other before it is gone. A crash between copying a reference and
//! removing the original leaves two frames of it; a release names the segment of the copy. Were that segment
//! rewritten first, the release would be dropped with it, and a rebuild would find the original alive. So one
//! segment that cannot be rewritten holds up the others until the next start.

use bytes::Bytes;

use super::decide::{Ask, Found};
use super::directory::{Shared, State};
use super::heads::{Head, Heads};
use super::index::Place;
use super::record::{Id, Pages, Record};
use super::requests::Requests;
use crate::disk::DiskError;
use crate::disk::frame::Position;

/// A segment with less than this alive is rewritten.
const LIVE_PERCENT: u64 = 20;
/// Most records, and most bytes of blocks, copied in one step.
pub(super) const STEP_RECORDS: usize = 1024;
const STEP_BYTES: usize = 8 << 20;

/// The segment to rewrite next, if any is due. The newest is being written.
pub(super) fn candidate(state: &State) -> Option<u32> {
    let newest = *state.len.keys().next_back()?;
    let due = |segment: u32, len: u64| {
        let live = state.live.get(&segment).copied().unwrap_or(0);
        segment != newest && live.saturating_mul(100) < len.saturating_mul(LIVE_PERCENT)
    };
    state
        .len
        .iter()
        .find(|(segment, len)| due(**segment, **len))
        .map(|(segment, _)| *segment)
}

/// A segment on its way out.
pub(super) struct Rewrite<'a> {
    shared: &'a Shared,
    requests: &'a Requests,
    segment: u32,
    heads: Heads<'a>,
    records_max: usize,
    broken: bool,
}

/// What a step of a rewrite came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// So many bytes were copied; there may be more. Left at that, a later start finishes it.
    Copied(usize),
    /// Everything is copied and the segment is removed.
    Removed,
}

impl<'a> Rewrite<'a> {
    /// Begins to rewrite a segment, at most `records_max` records at a time.
    pub(super) fn new(shared: &'a Shared, requests: &'a Requests, segment: u32, records_max: usize) -> Self {
        let end = shared.state().len.get(&segment).copied().unwrap_or(0);
        Self {
            shared,
            requests,
            segment,
            heads: Heads::new(&shared.segments, Position { segment, offset: 0 }, end),
            records_max,
            broken: false,
        }
    }

    /// Copies the next records, or removes the segment behind the last. Blocks the thread.
    pub(super) fn step(&mut self) -> Result<Progress, DiskError> {
        let (found, bytes) = self.collect()?;
        if found.is_empty() {
            return self.remove();
        }
        let segments = self.shared.segments.numbers().into_iter();
        let others = segments.filter(|other| *other != self.segment).collect();
        self.requests.ask_blocking(Ask::Copy { found, others })?;
        Ok(Progress::Copied(bytes))
    }

    fn remove(&self) -> Result<Progress, DiskError> {
        let segment = self.segment;
        // Everything the index knows to be here has been copied, or a header was too broken to be found. Broken frames
        // stay where they are: a rebuilt index must learn of them, or it would free blocks that they referred to.
        let live = self.shared.state().live.get(&segment).copied();
        if self.broken || live.is_some_and(|live| live > 0) {
            let what = format!(
                "segment {segment} of {} has broken frames",
                self.shared.path.display()
            );
            return Err(DiskError::Damaged(what));
        }
        self.requests.forget_blocking(segment)?;
        Ok(Progress::Removed)
    }

    /// The next records, with the sealed bytes of blocks that look alive.
    fn collect(&mut self) -> Result<(Vec<Found>, usize), DiskError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < self.records_max && bytes < STEP_BYTES {
            let head = self
                .heads
                .next()
                .map_err(|source| self.shared.io("read segment", source))?;
            let Some(head) = head else {
                break;
            };
            let Head::Record { position, record, .. } = head else {
                self.broken |= matches!(head, Head::Broken);
                continue;
            };
            let sealed = match &record {
                Record::Stored { first, pages } => self.sealed(position, &record, &first.id, pages)?,
                Record::Moved { id, pages } => self.sealed(position, &record, id, pages)?,
                Record::Referenced { .. } | Record::Released { .. } => None,
            };
            bytes += sealed.as_ref().map_or(64, Bytes::len);
            found.push(Found {
                at: position,
                record,
                sealed,
            });
        }
        Ok((found, bytes))
    }

    /// The sealed bytes as they are: a damaged block stays what it is, its whole pages readable.
    fn sealed(
        &self,
        position: Position,
        record: &Record,
        id: &Id,
        pages: &Pages,
    ) -> Result<Option<Bytes>, DiskError> {
        let place = Place {
            position,
            bytes: pages.bytes,
            kind: record.kind(),
        };
        if self
            .shared
            .index
            .block(id)?
            .is_none_or(|entry| entry.place != Some(place))
        {
            return Ok(None);
        }
        let body = Position {
            offset: place.body(),
            ..position
        };
        let read = self.shared.segments.read_at(body, pages.bytes as usize);
        read.map(|bytes| Some(bytes.into()))
            .map_err(|source| self.shared.io("read block", source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_segment_below_a_fifth_is_rewritten_and_never_the_newest() {
        let state = |live: [u64; 3]| State {
            len: [(1, 100), (2, 100), (3, 100)].into(),
            live: (1..).zip(live).collect(),
            ..State::default()
        };
        assert_eq!(candidate(&state([20, 19, 0])), Some(2));
        assert_eq!(candidate(&state([0, 0, 0])), Some(1));
        assert_eq!(candidate(&state([20, 20, 0])), None);
        assert_eq!(candidate(&State::default()), None);
    }
}
