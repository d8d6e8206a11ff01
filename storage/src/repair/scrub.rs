//! Proves what is stored, block after block, so that damage is known while a good copy may still be at hand.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::cluster::Partitions;
use crate::cluster::registers::Bell;
use crate::disk::{ScrubPosition, Scrubbed};
use crate::model::{BlockId, Timestamp, row_key};
use crate::store::Inner;
use crate::{Store, StoreError};

/// Bytes verified at once.
const PIECE: u64 = 4 << 20;
/// Of its time, a scrub rests three quarters at least.
const REST_FACTOR: u32 = 3;

/// How fast a store is scrubbed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// A large store takes so long for a whole pass.
    pub(crate) pass: Duration,
    /// A small store rests at most so long between two pieces.
    pub(crate) rest_max: Duration,
    /// A pass begins no sooner than so long after the last has ended.
    pub(crate) every: Duration,
    /// After an error, and while nothing is due, so long passes until the next look; and the place is kept as often.
    pub(crate) look: Duration,
}

impl Pace {
    /// Thirty days for a pass of a large store; a store below 40 GiB is verified every week.
    pub(crate) const CALM: Self = Self {
        pass: Duration::from_secs(30 * 24 * 3600),
        rest_max: Duration::from_secs(60),
        every: Duration::from_secs(24 * 3600),
        look: Duration::from_secs(15 * 60),
    };

    /// How long to rest after a piece of a store with `used` bytes that took `worked`.
    fn rest(&self, used: u64, worked: Duration) -> Duration {
        let pieces = u32::try_from(used / PIECE).unwrap_or(u32::MAX).max(1);
        (self.pass / pieces)
            .min(self.rest_max)
            .max(self.rest_in_a_hurry(worked))
    }

    /// How long to rest after a piece that took `worked`, while a person waits for the end of the pass.
    fn rest_in_a_hurry(&self, worked: Duration) -> Duration {
        worked * REST_FACTOR
    }
}

/// What a person wants of scrubbing, until the store is closed.
#[derive(Default)]
pub(crate) struct Wish {
    paused: AtomicBool,
    /// A pass is to begin although none is due.
    now: AtomicBool,
    /// Somebody waits for the pass under way.
    hurried: AtomicBool,
    /// Rung when any of that changes.
    bell: Bell,
}

impl Wish {
    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }
}

/// How far scrubbing has come; kept in a row, so that it goes on after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// When the last whole pass ended; `None` before the first.
    pub finished: Option<Timestamp>,
    /// When the pass under way began; `None` between two.
    pub began: Option<Timestamp>,
    /// Blocks verified in this pass, or in the last.
    pub blocks: u64,
    /// Bytes read for it.
    pub bytes: u64,
    /// Blocks and frames of them that did not verify.
    pub damaged: u64,
    next: Option<ScrubPosition>,
}

impl ScrubStatus {
    /// Takes in a piece that was verified.
    fn add(&mut self, scrubbed: &Scrubbed, now: Timestamp) {
        self.blocks += scrubbed.blocks;
        self.bytes += scrubbed.bytes;
        self.damaged += scrubbed.damaged.len() as u64 + scrubbed.frames_broken;
        self.next = scrubbed.next;
        if scrubbed.next.is_none() {
            (self.began, self.finished) = (None, Some(now));
        }
    }

    /// Begins a pass unless one is under way; false if none is due.
    fn begin(&mut self, every: Duration, now: Timestamp) -> bool {
        let every = u64::try_from(every.as_millis()).unwrap_or(u64::MAX);
        let rested = |last: Timestamp| now.as_millis().saturating_sub(last.as_millis()) >= every;
        if self.began.is_none() {
            if !self.finished.is_none_or(rested) {
                return false;
            }
            *self = Self {
                began: Some(now),
                finished: self.finished,
                ..Self::default()
            };
        }
        true
    }

    /// Goes on behind a segment that cannot be read.
    fn skip_segment(&mut self) {
        if let Some(next) = &mut self.next {
            (next.segment, next.offset) = (next.segment.saturating_add(1), 0);
        }
    }
}

/// How far scrubbing had come when the store was closed. What cannot be read only costs a pass.
pub(crate) fn load(partitions: &Partitions) -> ScrubStatus {
    let row = partitions.read(&row_key::scrub());
    row.ok().flatten().unwrap_or_default()
}

/// Verifies one piece after another, from where the last run stopped, until stopped.
pub(crate) async fn run(inner: Weak<Inner>, pace: Pace, stop: CancellationToken) {
    let mut kept = inner.upgrade().map(|inner| status(&inner)).unwrap_or_default();
    let (mut wait, mut looked) = (pace.rest_max, Instant::now());
    let Some(bell) = inner.upgrade().map(|inner| inner.scrub_wish.bell.clone()) else {
        return;
    };
    while stop
        .run_until_cancelled(timeout(wait, bell.heard()))
        .await
        .is_some()
    {
        let Some(inner) = inner.upgrade() else { return };
        wait = step(&inner, &pace).await;
        if looked.elapsed() >= pace.look {
            keep(&inner, &mut kept).await;
            looked = Instant::now();
        }
    }
    if let Some(inner) = inner.upgrade() {
        keep(&inner, &mut kept).await;
    }
}

/// Verifies one piece if a pass is due; says how long to rest.
async fn step(inner: &Arc<Inner>, pace: &Pace) -> Duration {
    let began = Instant::now();
    let mut status = status(inner);
    let wish = &inner.scrub_wish;
    if wish.is_paused() {
        return pace.look;
    }
    let every = match wish.now.swap(false, Ordering::Relaxed) {
        true => Duration::ZERO,
        false => pace.every,
    };
    if !status.begin(every, Timestamp::now()) {
        return pace.look;
    }
    let (disk, from) = (inner.disk.clone(), status.next);
    let verified = inner.disk.run(move || disk.verify_blocks(from, PIECE)).await;
    let rest = match verified.flatten() {
        Ok(scrubbed) => {
            report(&scrubbed);
            for block in &scrubbed.damaged {
                inner.blocks.mend(BlockId(*block)).await;
            }
            status.add(&scrubbed, Timestamp::now());
            if let ScrubStatus {
                began: None,
                blocks,
                damaged,
                ..
            } = &status
            {
                info!(blocks, damaged, "all blocks verified");
            }
            let worked = began.elapsed();
            match wish.hurried.load(Ordering::Relaxed) {
                true => pace.rest_in_a_hurry(worked),
                false => pace.rest(inner.disk.status().used, worked),
            }
        }
        Err(error) => {
            warn!(%error, "blocks not verified");
            status.skip_segment();
            pace.look
        }
    };
    let is_over = status.began.is_none();
    *inner.scrub.lock().unwrap_or_else(PoisonError::into_inner) = status;
    if is_over {
        // Last: who waits for it then finds what came of it.
        wish.hurried.store(false, Ordering::Release);
    }
    rest
}

impl Store {
    /// Begins to verify all blocks now if that is not under way; goes on where it was paused. Until the end of the pass it
    /// rests no longer than clients need.
    pub fn start_scrub(&self) {
        let wish = &self.0.scrub_wish;
        wish.paused.store(false, Ordering::Relaxed);
        wish.hurried.store(true, Ordering::Relaxed);
        wish.now.store(true, Ordering::Relaxed);
        wish.bell.ring();
    }

    /// Stops verifying blocks until [`Store::start_scrub`], or until the store is opened anew.
    pub fn pause_scrub(&self) {
        self.0.scrub_wish.paused.store(true, Ordering::Relaxed);
        self.0.scrub_wish.hurried.store(false, Ordering::Relaxed);
    }

    /// Whether [`Store::start_scrub`] asked for a pass that has not come to its end.
    pub fn is_scrub_asked_for(&self) -> bool {
        self.0.scrub_wish.hurried.load(Ordering::Acquire)
    }

    /// Whether a person paused it.
    pub fn is_scrub_paused(&self) -> bool {
        self.0.scrub_wish.is_paused()
    }
}

fn report(scrubbed: &Scrubbed) {
    for block in &scrubbed.damaged {
        error!(block = hex::encode(block), "block is damaged");
    }
    if scrubbed.frames_broken > 0 {
        error!(frames = scrubbed.frames_broken, "frames of blocks are damaged");
    }
}

/// How far scrubbing has come.
pub(crate) fn status(inner: &Inner) -> ScrubStatus {
    // Replaced as a whole.
    inner.scrub.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Writes down how far scrubbing has come since it was `kept` last.
async fn keep(inner: &Inner, kept: &mut ScrubStatus) {
    let status = status(inner);
    if status == *kept || inner.loss.is_some() {
        return;
    }
    match inner.partitions.keep(row_key::scrub(), &status).await {
        Ok(()) => *kept = status,
        // A disk without room has other worries.
        Err(StoreError::DiskFull) => {}
        Err(error) => warn!(%error, "place of the scrub not kept"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::Options;
    use crate::disk::BlockDirectory;
    use crate::seal::seal_block;

    const HASTY: Pace = Pace {
        pass: Duration::ZERO,
        rest_max: Duration::from_millis(1),
        every: Duration::ZERO,
        look: Duration::from_millis(1),
    };

    fn options(folder: &Path) -> Options {
        Options {
            state: folder.join("state"),
            blocks: vec![BlockDirectory {
                path: folder.join("blocks"),
                capacity: None,
            }],
            accept_loss: false,
            recovery_phrase: None,
            memory: 0,
            hot: 0,
            membership: crate::Membership::alone(),
        }
    }

    async fn passed(store: &Store, holds: impl Fn(&ScrubStatus) -> bool) -> ScrubStatus {
        for _ in 0..1000 {
            let status = status(&store.0);
            if status.began.is_none() && holds(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{:?}", status(&store.0));
    }

    #[tokio::test]
    async fn damage_is_found_without_a_reader_and_the_place_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path());
        let path = options.blocks[0].path.clone();
        let (store, _) = Store::open(options.clone()).await.unwrap();
        let inner = &store.0;
        for content in 0..3 {
            let block = seal_block(inner.keyring.dedup_key(), &[content; 100_000]);
            inner.blocks.store([content; 16], block).await.unwrap();
        }
        let stop = CancellationToken::new();
        let scrub = tokio::spawn(run(Arc::downgrade(inner), HASTY, stop.clone()));
        let status = passed(&store, |status| status.finished.is_some()).await;
        assert_eq!((status.blocks, status.damaged), (3, 0));
        store.pause_scrub();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let paused = super::status(&store.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(super::status(&store.0), paused);
        store.start_scrub();
        let file = path.join("blocks-00000001.log");
        let mut bytes = fs::read(&file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).unwrap();
        let status = passed(&store, |status| status.damaged > 0).await;
        assert_eq!((status.blocks, status.damaged), (3, 1));
        assert_eq!(store.disk_status().damaged_blocks, 1);
        stop.cancel();
        scrub.await.unwrap();
        store.close().await.unwrap();
        let kept = super::status(&store.0);
        drop(store);
        let (store, _) = Store::open(options).await.unwrap();
        assert_eq!(super::status(&store.0), kept);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn who_asks_for_a_pass_does_not_wait_for_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(options(folder.path())).await.unwrap();
        let inner = &store.0;
        for content in 0..3 {
            let block = seal_block(inner.keyring.dedup_key(), &vec![content; 4 << 20]);
            inner.blocks.store([content; 16], block).await.unwrap();
            let noise: Vec<u8> = (0..90_000_u32)
                .flat_map(|word| {
                    *blake3::hash(&[u32::from(content), word].map(u32::to_le_bytes).concat()).as_bytes()
                })
                .collect();
            let block = seal_block(inner.keyring.dedup_key(), &noise);
            inner.blocks.store([content; 16], block).await.unwrap();
        }
        let stop = CancellationToken::new();
        let scrub = tokio::spawn(run(Arc::downgrade(inner), Pace::CALM, stop.clone()));
        store.start_scrub();
        // Several pieces, between which nobody would wait a minute.
        let status = passed(&store, |status| status.finished.is_some()).await;
        assert_eq!((status.blocks, status.damaged), (6, 0));
        assert!(status.bytes > 2 * PIECE);
        stop.cancel();
        scrub.await.unwrap();
        store.close().await.unwrap();
    }

    #[test]
    fn a_large_store_takes_thirty_days_and_a_small_one_less_than_a_week() {
        let days = |used: u64| {
            let rest = Pace::CALM.rest(used, Duration::ZERO);
            (rest * u32::try_from(used / PIECE).unwrap()).as_secs_f64() / 86_400.0
        };
        assert!((29.0..30.1).contains(&days(10 << 40)));
        assert!(days(32 << 30) < 6.0);
        let worked = Duration::from_secs(100);
        assert_eq!(Pace::CALM.rest(1 << 30, worked), worked * REST_FACTOR);
    }

    #[test]
    fn a_pass_begins_a_day_after_the_last() {
        let every = Duration::from_secs(1);
        let at = Timestamp::from_millis;
        let mut status = ScrubStatus::default();
        assert!(status.begin(every, at(5000)));
        status.add(&Scrubbed::default(), at(6000));
        assert!(!status.begin(every, at(6999)));
        assert!(status.begin(every, at(7000)));
        assert_eq!((status.began, status.finished), (Some(at(7000)), Some(at(6000))));
    }
}
