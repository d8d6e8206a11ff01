//! Owns the end of a directory's log: decides requests in order, commits them together, then answers.
//!
//! Every change to a directory's blocks and references passes through this one thread, so that storing, adding
//! and releasing the same block have one order. A group of requests is decided against the index and what the
//! requests before it in the group will change; its frames are written and synced once; the index learns of
//! them; only then is anybody answered. "Already here" is answered like everything else: after that sync.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::decide::{Ask, Decider, Undecided};
use super::directory::{Shared, Stop};
use super::ledger::{Changed, Ledger, Mode};
use super::reclaim::Wake;
use super::record::{Id, Record};
use crate::disk::DiskError;
use crate::disk::frame::BODY_MAX;
use crate::disk::log::{Frame, LogWriter, Placed};

/// Most requests in a group, and most bytes of blocks.
const GROUP_REQUESTS: usize = 512;
const GROUP_BYTES: usize = 32 << 20;

/// Who waits for the ids that gained a reference.
pub(super) type Answer = oneshot::Sender<Result<Vec<Id>, DiskError>>;

/// What the owner does.
pub(super) enum Request {
    /// Decide and write.
    Ask(Ask, Answer),
    /// Remove a segment that nothing refers to.
    Forget(u32, Answer),
    /// Say durably that everything so far is durable.
    Mark,
    /// End.
    Close,
}

type Group = VecDeque<(Ask, Answer)>;

pub(super) struct Owner {
    shared: Arc<Shared>,
    writer: LogWriter,
    /// Number of the last index batch.
    batches: u64,
    /// The last frame the index knows.
    last: Option<Placed>,
    wake: Wake,
}

impl Owner {
    pub(super) fn new(
        shared: Arc<Shared>,
        writer: LogWriter,
        batches: u64,
        last: Option<Placed>,
        wake: Wake,
    ) -> Self {
        Self {
            shared,
            writer,
            batches,
            last,
            wake,
        }
    }

    /// Serves requests until closed.
    pub(super) fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            if !self.serve_group(first, &mut requests) {
                break;
            }
        }
        self.end();
    }

    /// Serves a request and those queued behind it, with one sync; false once asked to close.
    pub(super) fn serve_group(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) -> bool {
        let mut group = Group::new();
        let (mut bytes, mut open) = (0, true);
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Ask(ask, answer) => {
                    bytes += ask.bytes();
                    group.push_back((ask, answer));
                }
                Request::Forget(segment, answer) => {
                    self.commit(&mut group);
                    // A waiter that has gone away needs no answer, here and below.
                    drop(answer.send(self.forget(segment).map(|()| Vec::new())));
                }
                Request::Mark => {
                    self.commit(&mut group);
                    self.mark();
                }
                Request::Close => open = false,
            }
            let more = open && group.len() < GROUP_REQUESTS && bytes < GROUP_BYTES;
            next = more.then(|| requests.try_recv().ok()).flatten();
        }
        self.commit(&mut group);
        open
    }

    /// Marks the end.
    pub(super) fn end(mut self) {
        self.mark();
        if let Err(error) = self.shared.index.persist() {
            // The index is disposable: the next start replays what it lacks.
            tracing::debug!(%error, "block index closed without a sync");
        }
    }

    fn commit(&mut self, group: &mut Group) {
        let mut refuse_blocks = false;
        while !group.is_empty() {
            if self.shared.state().stopped.is_some() {
                for (_, answer) in group.drain(..) {
                    drop(answer.send(Err(self.shared.stopped())));
                }
            } else if let Err(error) = self.commit_some(group, &mut refuse_blocks) {
                self.stop(&error);
                if let Some((_, answer)) = group.pop_front() {
                    drop(answer.send(Err(error)));
                }
            }
        }
    }

    fn stop(&self, error: &DiskError) {
        tracing::error!(%error, cause = ?std::error::Error::source(error), directory = %self.shared.path.display(), "directory of blocks stopped");
        let mut state = self.shared.state();
        state.stopped = match error {
            // A device that failed is not written again, whatever fails besides.
            DiskError::Index(_) => state.stopped.or(Some(Stop::Index)),
            _ => Some(Stop::Device),
        };
    }

    /// Decides and commits the front of the group. After an error everything left in the group is of unknown outcome.
    fn commit_some(&mut self, group: &mut Group, refuse_blocks: &mut bool) -> Result<(), DiskError> {
        let decided = self.decide(group, *refuse_blocks)?;
        let (placed, refusal) = self.write(&decided.writes)?;
        self.learn(group, &decided, &placed)?;
        let mut written = 0;
        for (answer, writes) in decided.answers {
            written += writes;
            if written > placed.len() {
                break;
            }
            if let Some((_, waiter)) = group.pop_front() {
                drop(waiter.send(answer));
            }
        }
        match refusal {
            None => {}
            // What did not fit is decided again without blocks: room is kept for what remains. If that does not fit
            // either, somebody else has filled the file system.
            Some(full @ DiskError::Full { .. }) => {
                if *refuse_blocks && let Some((_, waiter)) = group.pop_front() {
                    drop(waiter.send(Err(full)));
                }
                *refuse_blocks = true;
            }
            Some(refusal) => {
                for (_, waiter) in group.drain(..) {
                    drop(waiter.send(refusal.refusal().map_or_else(|| Err(self.shared.stopped()), Err)));
                }
            }
        }
        Ok(())
    }

    fn decide(&self, group: &Group, refuse_blocks: bool) -> Result<Decided, DiskError> {
        let shared = &self.shared;
        let mut decider = Decider {
            ledger: Ledger::new(&shared.index, Mode::Writing, 0),
            room: shared.room()?,
            stamps: &shared.stamps,
            refuse_blocks,
        };
        let mut decided = Decided::default();
        for (ask, _) in group {
            match decider.decide(ask) {
                Ok(decision) => {
                    decided.answers.push((Ok(decision.added), decision.writes.len()));
                    for (record, sealed) in decision.writes {
                        let frame = frame_of(&record, sealed)?;
                        decided.writes.push((record, frame));
                    }
                }
                Err(Undecided::Later) => break,
                Err(Undecided::Refused(error @ DiskError::Index(_))) => return Err(error),
                Err(Undecided::Refused(error)) => decided.answers.push((Err(error), 0)),
            }
        }
        Ok(decided)
    }

    /// Writes and syncs; where the log refuses some, those before them.
    fn write(&mut self, writes: &[(Record, Frame)]) -> Result<(Vec<Placed>, Option<DiskError>), DiskError> {
        let mut placed = Vec::with_capacity(writes.len());
        while placed.len() < writes.len() {
            let rest = writes[placed.len()..].iter().map(|(_, frame)| frame);
            match self.writer.commit(rest, &mut placed) {
                Ok(_) => {}
                Err(refusal) if refusal.is_refusal() => return Ok((placed, Some(refusal))),
                Err(error) => return Err(error),
            }
        }
        Ok((placed, None))
    }

    /// Lets the index and the sums learn of what is durable now.
    fn learn(&mut self, group: &Group, decided: &Decided, placed: &[Placed]) -> Result<(), DiskError> {
        let shared = self.shared.clone();
        let mut ledger = Ledger::new(&shared.index, Mode::Writing, shared.stamps.newest());
        for ((record, _), placed) in decided.writes.iter().zip(placed) {
            ledger.apply(record, placed.position)?;
        }
        for (ask, _) in group.iter().take(decided.answers.len()) {
            if let Ask::Verified { id, place, whole } = ask {
                ledger.verified(*id, *place, *whole)?;
            }
        }
        // Also of frames that change nothing here, as a copy of a release does: whoever rewrites the segment next must
        // find them, or a rebuilt index would not.
        self.measure(decided, placed);
        self.last = placed.last().copied().or(self.last);
        if ledger.is_empty() {
            return Ok(());
        }
        self.batches += 1;
        let live_before = |segment| shared.state().live.get(&segment).copied().unwrap_or(0);
        let Changed { freed, damaged, live } = ledger.commit(self.last, self.batches, live_before)?;
        let mut state = shared.state();
        state.live.extend(live);
        for damaged in damaged.values() {
            state.damaged = state.damaged.saturating_add_signed(if *damaged { 1 } else { -1 });
        }
        drop(state);
        if !freed.is_empty() {
            self.wake.wake();
        }
        Ok(())
    }

    /// Notes how long the segments are by now.
    fn measure(&self, decided: &Decided, placed: &[Placed]) {
        let mut state = self.shared.state();
        for ((_, frame), placed) in decided.writes.iter().zip(placed) {
            let end = placed.position.offset + frame.frame_len();
            let len = state.len.entry(placed.position.segment).or_default();
            *len = end.max(*len);
        }
    }

    fn mark(&mut self) {
        match self.writer.mark() {
            // A mark that did not fit is written when there is room.
            Ok(()) | Err(DiskError::Stopped { .. }) => {}
            Err(error) if error.is_refusal() => {}
            Err(error) => self.stop(&error),
        }
    }

    fn forget(&mut self, segment: u32) -> Result<(), DiskError> {
        if self.shared.state().stopped.is_some() {
            return Err(self.shared.stopped());
        }
        // A lost journal of the index must not need the frames that go now.
        self.shared
            .index
            .persist()
            .inspect_err(|error| self.stop(error))?;
        // Announced durably first: a crash on the way is finished by the next start, and a segment that is missing
        // without such a frame is known to be lost.
        let removed = match self.writer.announce_removal(segment) {
            Ok(Some(_)) => self.writer.remove(segment),
            Ok(None) => Ok(()),
            Err(refusal) if refusal.is_refusal() => return Err(refusal),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            self.stop(&error);
            return Err(error);
        }
        let forgotten = self.shared.index.forget_segment(segment);
        forgotten.inspect_err(|error| self.stop(error))?;
        let mut state = self.shared.state();
        state.len.remove(&segment);
        state.live.remove(&segment);
        state.punched.remove(&segment);
        Ok(())
    }
}

/// Requests decided: their answers with the number of frames each needs, and all frames in order.
#[derive(Default)]
struct Decided {
    answers: Vec<(Result<Vec<Id>, DiskError>, usize)>,
    writes: Vec<(Record, Frame)>,
}

fn frame_of(record: &Record, sealed: Option<Bytes>) -> Result<Frame, DiskError> {
    let mut pieces = vec![record.encode()];
    pieces.extend(sealed);
    let size = pieces.iter().map(Bytes::len).sum::<usize>() as u64;
    let most = BODY_MAX as u64;
    Frame::new(record.kind(), pieces).ok_or(DiskError::TooLarge {
        what: "frame",
        size,
        most,
    })
}
