//! Opens a directory's log and brings its index up to it, or rebuilds the index from the heads of all frames.

use std::collections::BTreeMap;

use super::directory::{LOG, Opening, State};
use super::index::{Applied, Index};
use super::ledger::{Ledger, Mode};
use super::record::{HEAD_MAX, Record};
use crate::disk::DiskError;
use crate::disk::frame::{FrameHeader, HEADER_LEN, Position};
use crate::disk::log::{Bodies, LogOptions, LogWriter, Placed, ScanFrom, Scanned, Segments, open_log};

/// Changes committed together.
const BATCH: usize = 4096;

/// A directory ready to be written.
pub(super) struct Replayed {
    pub(super) writer: LogWriter,
    pub(super) index: Index,
    pub(super) state: State,
    /// Number of the last index batch.
    pub(super) batches: u64,
    /// The last frame the index knows.
    pub(super) last: Option<Placed>,
    /// Highest stamp met.
    pub(super) stamp: u64,
}

/// Where an index that is trusted stands.
#[derive(Clone, Copy)]
struct Standing {
    applied: Option<Applied>,
    batches: u64,
    /// Every frame up to this one is known to have been durable.
    durable_lsn: u64,
}

/// Opens log and index. An index that is missing, torn, or contradicts the log is rebuilt.
pub(super) fn open(opening: &Opening, options: LogOptions) -> Result<Replayed, DiskError> {
    let index = Index::open(opening.maps.clone(), opening.identity)?;
    let segments = find(opening)?;
    let standing = match standing(&index, &segments) {
        Ok(Some(standing)) => standing,
        Ok(None) | Err(DiskError::Index(_)) => return rebuild(opening, options, index, 0),
        Err(error) => return Err(error),
    };
    match replay(opening, options.clone(), index.clone(), standing) {
        Err(DiskError::Index(_)) => rebuild(opening, options, index, 0),
        // The log ends before what the index knows: frames that were durable are gone, and the rebuild says so.
        Err(DiskError::Damaged(_)) => rebuild(opening, options, index, standing.durable_lsn),
        // Frames that the index knows are gone: it must not say of a block that it is here when it is not.
        Ok(replayed) if replayed.state.frames_lost > 0 => {
            rebuild(opening, options, replayed.index, standing.durable_lsn)
        }
        result => result,
    }
}

fn rebuild(
    opening: &Opening,
    options: LogOptions,
    index: Index,
    durable_lsn: u64,
) -> Result<Replayed, DiskError> {
    if durable_lsn > 0 {
        // What the old index proves goes into the log before the index goes: a crash in between must not hide a loss.
        let from = ScanFrom {
            start: None,
            durable_lsn,
            bodies: Bodies::First(0),
        };
        open_log(opening.medium.clone(), options.clone(), from, &mut |_| Ok(()))?;
    }
    let index = index.emptied(opening.identity)?;
    let standing = Standing {
        applied: None,
        batches: 0,
        durable_lsn,
    };
    let replayed = replay(opening, options, index, standing)?;
    // A log without a frame needs no index: the first start rebuilds nothing.
    if replayed.last.is_some() || replayed.state.frames_lost > 0 {
        tracing::info!(directory = %opening.path.display(), "block index rebuilt from the log");
    }
    Ok(replayed)
}

fn find(opening: &Opening) -> Result<Segments, DiskError> {
    Segments::find(opening.medium.clone(), LOG, &opening.path).map_err(|source| DiskError::Io {
        directory: opening.path.clone(),
        action: "list blocks",
        source,
    })
}

/// How far the index has come; `None` if it cannot be continued: nothing in it, a batch lost in its middle, or
/// segments removed that it has not read to their end.
fn standing(index: &Index, segments: &Segments) -> Result<Option<Standing>, DiskError> {
    let (Some(applied), Some(batches)) = (index.applied()?, index.whole_trail()?) else {
        return Ok(None);
    };
    let numbers = segments.numbers();
    let at = numbers.binary_search(&applied.last.position.segment);
    let unbroken = at.is_ok_and(|at| numbers[at..].windows(2).all(|pair| pair[1] == pair[0] + 1));
    Ok(unbroken.then_some(Standing {
        applied: Some(applied),
        batches,
        durable_lsn: applied.last.lsn,
    }))
}

fn replay(
    opening: &Opening,
    options: LogOptions,
    index: Index,
    standing: Standing,
) -> Result<Replayed, DiskError> {
    let segments = find(opening)?;
    let stamp = standing.applied.map_or(0, |applied| applied.stamp);
    let last = standing.applied.map(|applied| applied.last);
    let mut replay = Replay {
        index: &index,
        ledger: Ledger::new(&index, Mode::Replaying, stamp),
        live: index.live()?.into_iter().collect(),
        batches: standing.batches,
        last,
        frames_lost: 0,
    };
    let from = ScanFrom {
        start: last,
        durable_lsn: standing.durable_lsn,
        bodies: Bodies::First(HEAD_MAX),
    };
    let medium = opening.medium.clone();
    let writer = open_log(medium, options, from, &mut |scanned| {
        replay.visit(&segments, scanned)
    })?;
    replay.settle()?;
    let (stamp, batches, last) = (replay.ledger.stamp(), replay.batches, replay.last);
    let state = replay.state(&writer, opening)?;
    Ok(Replayed {
        writer,
        index,
        state,
        batches,
        last,
        stamp,
    })
}

struct Replay<'a> {
    index: &'a Index,
    ledger: Ledger<'a>,
    live: BTreeMap<u32, u64>,
    batches: u64,
    last: Option<Placed>,
    frames_lost: u64,
}

impl Replay<'_> {
    fn visit(&mut self, segments: &Segments, scanned: Scanned<'_>) -> Result<(), DiskError> {
        match scanned {
            // The scan begins with the last frame that is applied already.
            Scanned::Frame { header, .. } if self.last.is_some_and(|last| header.lsn <= last.lsn) => Ok(()),
            Scanned::Frame {
                position,
                header,
                body,
            } => {
                match record_of(segments, position, &header, body) {
                    Some(record) => self.ledger.apply(&record, position)?,
                    None => self.lost(1)?,
                }
                self.last = Some(Placed {
                    position,
                    lsn: header.lsn,
                });
                self.commit_if(self.ledger.len() >= BATCH)
            }
            Scanned::Damaged(damage) => self.lost(1 + damage.last_lsn.saturating_sub(damage.first_lsn)),
        }
    }

    /// Counts lost frames, and remembers them: after a crash the replay goes on behind them.
    fn lost(&mut self, frames: u64) -> Result<(), DiskError> {
        if self.frames_lost == 0 {
            self.index.set_lossy(true)?;
        }
        self.frames_lost += frames;
        Ok(())
    }

    fn commit_if(&mut self, now: bool) -> Result<(), DiskError> {
        if !now {
            return Ok(());
        }
        let stamp = self.ledger.stamp();
        let fresh = Ledger::new(self.index, Mode::Replaying, stamp);
        let ledger = std::mem::replace(&mut self.ledger, fresh);
        self.batches += 1;
        let live_before = |segment| self.live.get(&segment).copied().unwrap_or(0);
        let changed = ledger.commit(self.last, self.batches, live_before)?;
        self.live.extend(changed.live);
        Ok(())
    }

    /// Settles what the replay left open: blocks nobody refers to are free, references without a block are damage.
    fn settle(&mut self) -> Result<(), DiskError> {
        self.commit_if(!self.ledger.is_empty())?;
        if self.index.is_lossy()? {
            self.keep_blocks()?;
        }
        loop {
            let unsettled = self.index.unsettled(BATCH)?;
            if unsettled.is_empty() {
                return Ok(());
            }
            for id in unsettled {
                self.ledger.settle(id)?;
            }
            self.commit_if(true)?;
        }
    }

    /// Keeps all blocks that are here, since references to them may be lost.
    fn keep_blocks(&mut self) -> Result<(), DiskError> {
        let mut after = None;
        loop {
            let ids = self.index.blocks(after, BATCH)?;
            let Some(last) = ids.last() else {
                // A crash before this keeps some blocks twice, which is no different.
                return self.index.set_lossy(false);
            };
            after = Some(*last);
            for id in ids {
                self.ledger.keep(id)?;
            }
            self.commit_if(true)?;
        }
    }

    fn state(self, writer: &LogWriter, opening: &Opening) -> Result<State, DiskError> {
        let mut len = BTreeMap::new();
        for segment in writer.segments().numbers() {
            let bytes = writer.segments().len(segment).map_err(|source| DiskError::Io {
                directory: opening.path.clone(),
                action: "measure blocks",
                source,
            })?;
            len.insert(segment, bytes);
        }
        let gone: Vec<u32> = self
            .live
            .keys()
            .filter(|segment| !len.contains_key(segment))
            .copied()
            .collect();
        let mut live = self.live;
        for segment in gone {
            // A crash came between the removal of the file and that of its sums.
            self.index.forget_segment(segment)?;
            live.remove(&segment);
        }
        let punched = self
            .index
            .punched()?
            .into_iter()
            .filter(|(segment, _)| len.contains_key(segment));
        Ok(State {
            live,
            punched: punched.collect(),
            len,
            damaged: self.index.damaged()?.len() as u64,
            frames_lost: self.frames_lost,
            stopped: None,
        })
    }
}

/// The record of a frame, if its bytes prove it.
fn record_of(segments: &Segments, position: Position, header: &FrameHeader, body: &[u8]) -> Option<Record> {
    if Record::has_body(header.kind) {
        return Record::decode(header.kind, body).ok();
    }
    let whole;
    let body = match body.len() == header.body_len as usize {
        true => body,
        false => {
            let at = Position {
                offset: position.offset + HEADER_LEN as u64,
                ..position
            };
            whole = segments.read_at(at, header.body_len as usize).ok()?;
            &whole
        }
    };
    header
        .fits(body)
        .then(|| Record::decode(header.kind, body).ok())
        .flatten()
}
