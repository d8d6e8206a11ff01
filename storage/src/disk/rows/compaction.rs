//! Gives back the room of rows that no longer count: live records of emptying segments move to the end of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::KIND_ROWS;
use super::apply::{Moving, RowApply, RowNote};
use super::index::Index;
use super::record::Record;
use crate::disk::DiskError;
use crate::disk::drive::Drive;
use crate::disk::frame::{HEADER_LEN, Position};
use crate::disk::log::{Log, Segments, read_segment};

/// How often the log's size is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
#[cfg(any(test, feature = "simulation"))]
const SIMULATED_LOOK_EVERY: Duration = Duration::from_millis(300);
/// Segments are weighed again when the log has grown by this, or by a quarter where that is more.
const WEIGH_AFTER: u64 = 64 << 20;
/// Bytes of records moved at once.
const MOVE_BYTES: usize = 256 << 10;
/// Records moved at once: each costs a lookup in the log's thread.
const MOVE_RECORDS: usize = 256;
/// Of its time, a compaction rests three quarters.
const REST_FACTOR: u32 = 3;

/// What a segment holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Bytes of its file.
    pub(super) total: u64,
    /// Bytes of rows that count.
    pub(super) live: u64,
    /// Bytes of drops, which count until no older segment is left.
    pub(super) drops: u64,
}

/// The segment to rewrite, if any is worth it. `weights` holds every segment but the newest.
///
/// A segment goes when half of it is dead. Drops in it are dead only if it is the oldest: an older record of the same key
/// would come back otherwise. So that drops do not pile up behind an old segment full of live rows, the oldest goes too
/// when drops are a quarter of the log.
pub(super) fn choose(weights: &BTreeMap<u32, Weight>) -> Option<u32> {
    let (oldest, _) = weights.first_key_value()?;
    let kept = |number: u32, weight: &Weight| weight.live + if number == *oldest { 0 } else { weight.drops };
    let emptiest = weights
        .iter()
        .filter(|(_, weight)| weight.total > 0)
        .min_by_key(|(number, weight)| {
            u128::from(kept(**number, weight)) * 1_000_000 / u128::from(weight.total)
        });
    if let Some((number, weight)) = emptiest
        && kept(*number, weight) * 2 < weight.total
    {
        return Some(*number);
    }
    let sum = |of: fn(&Weight) -> u64| weights.values().map(of).sum::<u64>();
    (sum(|weight| weight.drops) * 4 > sum(|weight| weight.total)).then_some(*oldest)
}

/// The thread that compacts, owned; in a simulation a task.
pub(super) struct Compactor {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(any(test, feature = "simulation"))]
    task: Mutex<Option<tokio_util::task::AbortOnDropHandle<()>>>,
}

impl Compactor {
    /// Starts it.
    pub(super) fn start(
        log: Arc<Log<RowApply>>,
        index: Arc<Index>,
        directory: &Path,
        drive: Drive,
    ) -> Result<Self, DiskError> {
        let compactor = Self {
            stop: Arc::new((Mutex::new(false), Condvar::new())),
            thread: Mutex::default(),
            #[cfg(any(test, feature = "simulation"))]
            task: Mutex::default(),
        };
        let work = Compaction {
            log,
            index,
            stop: compactor.stop.clone(),
            spared: BTreeSet::new(),
        };
        match drive {
            Drive::Threads => {
                let thread = start_thread(work, directory)?;
                *compactor.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
            }
            #[cfg(any(test, feature = "simulation"))]
            Drive::Simulated => {
                let task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(work.run_in_simulation()));
                *compactor.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            }
        }
        Ok(compactor)
    }

    /// Ends the thread at its next step and waits for it.
    pub(super) fn stop(&self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("row compaction panicked");
        }
        #[cfg(any(test, feature = "simulation"))]
        drop(self.task.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

fn start_thread(mut work: Compaction, directory: &Path) -> Result<JoinHandle<()>, DiskError> {
    let thread = std::thread::Builder::new()
        .name("rows compaction".into())
        .spawn(move || work.run());
    thread.map_err(|source| DiskError::Io {
        directory: directory.to_path_buf(),
        action: "start compaction thread",
        source,
    })
}

/// Bytes of the log when its segments were weighed last: none at the start, so that a box that is restarted often
/// compacts too.
#[derive(Default)]
struct Weighed(u64);

impl Weighed {
    fn is_due_again(&mut self, bytes: u64) -> bool {
        self.0 = self.0.min(bytes);
        bytes >= self.0 + WEIGH_AFTER.max(self.0 / 4)
    }
}

struct Compaction {
    log: Arc<Log<RowApply>>,
    index: Arc<Index>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    /// Segments with damage: they stay for a person to look at.
    spared: BTreeSet<u32>,
}

impl Compaction {
    fn run(&mut self) {
        let mut weighed = Weighed::default();
        while self.rest(LOOK_EVERY) {
            if !weighed.is_due_again(self.log_bytes()) {
                continue;
            }
            if let Err(error) = self.compact() {
                tracing::warn!(%error, "row log not compacted");
            }
            weighed = Weighed(self.log_bytes());
        }
    }

    /// Waits; false when it is time to stop.
    fn rest(&self, time: Duration) -> bool {
        let stop = self.stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stop.1.wait_timeout_while(stop, time, |stop| !*stop);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn log_bytes(&self) -> u64 {
        let segments = self.log.segments();
        segments
            .numbers()
            .iter()
            .filter_map(|number| segments.len(*number).ok())
            .sum()
    }

    /// Rewrites segments until none is worth it.
    fn compact(&mut self) -> Result<(), DiskError> {
        let mut weights = self.weigh()?;
        while let Some(segment) = choose(&weights) {
            let rest = |worked| self.rest(worked * REST_FACTOR);
            let moved = self.rewrite(segment, &weights, rest)?;
            if moved == Moved::Stopped {
                return Ok(());
            }
            self.end(segment, moved)?;
            weights.remove(&segment);
        }
        Ok(())
    }

    /// What each segment that may go holds.
    fn weigh(&self) -> Result<BTreeMap<u32, Weight>, DiskError> {
        // The index then needs no journal older than this, and a crash no long replay.
        self.index.checkpoint()?;
        let mut weights = weigh(self.log.segments(), &self.index)?;
        weights.retain(|number, _| !self.spared.contains(number));
        Ok(weights)
    }

    fn rewrite(
        &self,
        segment: u32,
        weights: &BTreeMap<u32, Weight>,
        rest: impl FnMut(Duration) -> bool,
    ) -> Result<Moved, DiskError> {
        let oldest = weights
            .first_key_value()
            .is_some_and(|(number, _)| *number == segment);
        let outlives = !oldest || !self.spared.is_empty();
        let moves = |moving| self.log.decide_blocking(RowNote::Move(moving)).map(drop);
        rewrite(self.log.segments(), segment, outlives, moves, rest)
    }

    /// Removes a segment that was rewritten, and spares one that could not be.
    fn end(&mut self, segment: u32, moved: Moved) -> Result<(), DiskError> {
        match moved {
            Moved::All => {
                self.log.forget_blocking(segment)?;
                tracing::info!(segment, "row log segment compacted");
            }
            Moved::Damaged => {
                tracing::warn!(segment, "row log segment is damaged and stays");
                self.spared.insert(segment);
            }
            Moved::Stopped => {}
        }
        Ok(())
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Compaction {
    /// As [`Self::run`], looking more often, at a log of any size, and in steps between which others have their turn.
    async fn run_in_simulation(mut self) {
        loop {
            tokio::time::sleep(SIMULATED_LOOK_EVERY).await;
            if let Err(error) = self.compact_in_simulation().await {
                tracing::warn!(%error, "row log not compacted");
            }
        }
    }

    async fn compact_in_simulation(&mut self) -> Result<(), DiskError> {
        let mut weights = self.weigh()?;
        while let Some(segment) = choose(&weights) {
            let moved = self.rewrite(segment, &weights, |_| true)?;
            crate::simulation::pause().await;
            self.end(segment, moved)?;
            weights.remove(&segment);
        }
        Ok(())
    }
}

/// What every segment but the newest holds, from one pass over the index.
pub(super) fn weigh(segments: &Segments, index: &Index) -> Result<BTreeMap<u32, Weight>, DiskError> {
    let mut weights = BTreeMap::new();
    for number in segments.numbers() {
        let total = segments.len(number).map_err(segments.failed("weigh segment"))?;
        weights.insert(
            number,
            Weight {
                total,
                ..Weight::default()
            },
        );
    }
    weights.pop_last();
    let mut rows = index.scan(Bound::Unbounded, Bound::Unbounded)?;
    while let Some(row) = rows.next_row()? {
        if let Some(place) = row.place()
            && let Some(weight) = weights.get_mut(&place.position.segment)
        {
            weight.live += u64::from(place.len);
        }
    }
    for (segment, bytes) in index.drops() {
        if let Some(weight) = weights.get_mut(&segment) {
            weight.drops = bytes;
        }
    }
    Ok(weights)
}

/// How a rewrite ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// What counts has moved; the segment may go.
    All,
    /// Something in the segment does not verify; it stays.
    Damaged,
    /// There was no time to finish; nothing is lost.
    Stopped,
}

/// Moves what counts in a segment to the end of the log. A crash at any point leaves each row in at least one place, and
/// the newest place is the one that counts. `rest` is told how long a step took, and says whether to go on.
pub(super) fn rewrite(
    segments: &Segments,
    segment: u32,
    older_segments: bool,
    mut moves: impl FnMut(Vec<Moving>) -> Result<(), DiskError>,
    mut rest: impl FnMut(Duration) -> bool,
) -> Result<Moved, DiskError> {
    let mut moving: Vec<Moving> = Vec::new();
    let (mut bytes, mut began) = (0, Instant::now());
    let mut stopped = None;
    let whole = read_segment(segments, segment, |offset, header, body| {
        if header.kind != KIND_ROWS {
            return Ok(true);
        }
        let Some(records) = Record::decode_all(body).filter(|_| header.fits(body)) else {
            stopped = Some(Moved::Damaged);
            return Ok(false);
        };
        for (at, len, _) in records {
            let position = Position {
                segment,
                offset: offset + (HEADER_LEN + at) as u64,
            };
            let record = Bytes::copy_from_slice(&body[at..at + len]);
            moving.push(Moving {
                position,
                record,
                older_segments,
            });
            bytes += len;
        }
        if bytes >= MOVE_BYTES || moving.len() >= MOVE_RECORDS {
            moves(std::mem::take(&mut moving))?;
            stopped = (!rest(began.elapsed())).then_some(Moved::Stopped);
            (bytes, began) = (0, Instant::now());
        }
        Ok(stopped.is_none())
    })?;
    match stopped {
        Some(stopped) => Ok(stopped),
        None if !whole => Ok(Moved::Damaged),
        None => moves(moving).map(|()| Moved::All),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(segments: &[(u64, u64, u64)]) -> BTreeMap<u32, Weight> {
        let weights = segments.iter().map(|(total, live, drops)| Weight {
            total: *total,
            live: *live,
            drops: *drops,
        });
        (1..).zip(weights).collect()
    }

    #[test]
    fn the_emptiest_segment_goes_first() {
        assert_eq!(
            choose(&weights(&[(100, 60, 0), (100, 10, 0), (100, 40, 0)])),
            Some(2)
        );
    }

    #[test]
    fn a_large_log_is_weighed_soon_after_each_start_and_then_as_it_grows() {
        assert!(!Weighed::default().is_due_again(WEIGH_AFTER - 1));
        assert!(Weighed::default().is_due_again(WEIGH_AFTER));
        let mut weighed = Weighed(8 * WEIGH_AFTER);
        assert!(!weighed.is_due_again(10 * WEIGH_AFTER - 1));
        assert!(weighed.is_due_again(10 * WEIGH_AFTER));
        assert!(!weighed.is_due_again(2 * WEIGH_AFTER), "it has shrunk");
        assert!(weighed.is_due_again(3 * WEIGH_AFTER));
    }

    #[test]
    fn full_segments_stay() {
        assert_eq!(choose(&weights(&[(100, 60, 0), (100, 50, 0)])), None);
        assert_eq!(choose(&BTreeMap::new()), None);
    }

    #[test]
    fn drops_count_as_live_except_in_the_oldest_segment() {
        assert_eq!(choose(&weights(&[(100, 90, 0), (100, 10, 45)])), None);
        assert_eq!(choose(&weights(&[(100, 10, 45), (100, 90, 0)])), Some(1));
    }

    #[test]
    fn the_oldest_segment_goes_when_drops_pile_up_behind_it() {
        assert_eq!(choose(&weights(&[(100, 90, 0), (100, 10, 80)])), Some(1));
    }
}
