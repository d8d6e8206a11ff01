//! Rewrites a segment that is mostly dead: copies what is alive to the end of the log, then removes the file.
//!
//! Always the lowest segment that is due, and no other before it is gone. A crash between copying a reference and
//! removing the original leaves two frames of it; a release names the segment of the copy. Were that segment
//! rewritten first, the release would be dropped with it, and a rebuild would find the original alive. So one
//! segment that cannot be rewritten holds up the others until the next start.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::decide::{Ask, Found};
use super::directory::{Shared, State};
use super::heads::{Head, Heads};
use super::index::Place;
use super::owner::Request;
use super::reclaim::{self, Wake};
use super::record::{Id, Pages, Record};
use crate::disk::DiskError;
use crate::disk::frame::Position;

/// A segment with less than this alive is rewritten.
const LIVE_PERCENT: u64 = 20;
/// Most records, and most bytes of blocks, copied in one step.
const STEP_RECORDS: usize = 1024;
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

pub(super) struct Rewrite<'a> {
    pub(super) shared: &'a Shared,
    pub(super) requests: &'a mpsc::Sender<Request>,
    pub(super) wake: &'a Wake,
    /// Bytes a second.
    pub(super) pace: u64,
}

impl Rewrite<'_> {
    /// Rewrites a segment; false if stopped on the way, which a later start finishes.
    pub(super) fn run(&self, segment: u32) -> Result<bool, DiskError> {
        let end = self.shared.state().len.get(&segment).copied().unwrap_or(0);
        let mut heads = Heads::new(&self.shared.segments, Position { segment, offset: 0 }, end);
        let mut broken = false;
        loop {
            let (found, bytes) = self.collect(&mut heads, &mut broken)?;
            if found.is_empty() {
                break;
            }
            let others = self
                .shared
                .segments
                .numbers()
                .into_iter()
                .filter(|other| *other != segment)
                .collect();
            reclaim::ask(self.requests, Ask::Copy { found, others })?;
            let pause = Duration::from_secs_f64(bytes as f64 / self.pace.max(1) as f64);
            if !self.wake.pause(pause) {
                return Ok(false);
            }
        }
        // Everything the index knows to be here has been copied, or a header was too broken to be found. Broken frames
        // stay where they are: a rebuilt index must learn of them, or it would free blocks that they referred to.
        let live = self.shared.state().live.get(&segment).copied();
        if broken || live.is_some_and(|live| live > 0) {
            let what = format!(
                "segment {segment} of {} has broken frames",
                self.shared.path.display()
            );
            return Err(DiskError::Damaged(what));
        }
        reclaim::forget(self.requests, segment)?;
        Ok(true)
    }

    /// The next records, with the sealed bytes of blocks that look alive; says if something is `broken`.
    fn collect(&self, heads: &mut Heads<'_>, broken: &mut bool) -> Result<(Vec<Found>, usize), DiskError> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < STEP_RECORDS && bytes < STEP_BYTES {
            let head = heads
                .next()
                .map_err(|source| self.shared.io("read segment", source))?;
            let Some(head) = head else {
                break;
            };
            let Head::Record { position, record, .. } = head else {
                *broken |= matches!(head, Head::Broken);
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
