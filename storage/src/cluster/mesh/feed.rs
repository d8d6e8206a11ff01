//! Keeps this member's copy of the root rows true: reads them anew whenever somebody says that one changed, and now and then.
//!
//! Every member has all root rows, so that authenticating a request waits for nobody. The copy is as old as the last time
//! the root partition could be read; whoever misses something in it asks for that one row.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::closings;
use super::members::FOUNDER;
use crate::cluster::HeardRow;
use crate::register::{Configs, Key};
use crate::store::Inner;
use crate::{Store, StoreError};

/// How long a copy may go unread while nobody says that something changed.
const EVERY: Duration = Duration::from_secs(10);
/// Whoever names buckets and keys that do not exist has the rows read so often at most.
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// How long somebody who misses something waits for them.
const ASKED_FOR: Duration = Duration::from_secs(3);

/// The root rows this member heard of last.
pub(crate) struct Feed {
    heard: Mutex<BTreeMap<Key, HeardRow>>,
    /// When somebody who missed something last had them read.
    asked: Mutex<Option<Instant>>,
    /// Held by whoever has them read because of that.
    turn: Semaphore,
    /// Whether they could not be read when that was tried last.
    is_cut_off: AtomicBool,
}

impl Feed {
    /// Begins with what the disk remembers.
    pub(crate) fn new(rows: &[HeardRow]) -> Self {
        let heard = rows.iter().map(|row| (row.key.clone(), row.clone()));
        Self {
            heard: Mutex::new(heard.collect()),
            asked: Mutex::default(),
            turn: Semaphore::new(1),
            is_cut_off: AtomicBool::new(false),
        }
    }

    /// Whether it is time to read them for somebody who misses something.
    fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = asked.is_none_or(|last| last.elapsed() >= ASKED_EVERY);
        if is_time {
            *asked = Some(Instant::now());
        }
        is_time
    }

    fn heard(&self) -> BTreeMap<Key, HeardRow> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Refreshes until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    while let Some(inner) = inner.upgrade() {
        if inner.is_meshed()
            && let Some(Err(error)) = stop.run_until_cancelled(refresh(&inner)).await
        {
            debug!(%error, "the root rows could not be read");
            inner.note_cut_off(true);
        }
        let woken = inner.partitions.registers().feed_bell();
        drop(inner);
        let waited = timeout(EVERY, woken.heard());
        if stop.run_until_cancelled(waited).await.is_none() {
            return;
        }
    }
}

/// Reads all root rows, takes what changed, and adopts the epochs among them.
///
/// # Errors
/// `Unavailable`: the root partition has no quorum. The disk fails.
pub(crate) async fn refresh(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let others = inner.others();
    inner.partitions.registers().catch_up(&others).await?;
    // Nothing changes here by commands of this member while an older state of the rows could replace it.
    let _alone = inner.directory.alone().await?;
    let before = inner.feed.heard();
    // Before all others: whoever counts so many closed buckets must know each of them.
    let closings = closings::count(&inner.partitions).await?;
    let rows = inner.partitions.root_rows(&before).await?;
    inner.partitions.remember(&before, &rows).await?;
    inner.mesh.take(&rows);
    inner.take_keys().await;
    inner.directory.take(&inner.keyring, &rows, closings);
    inner.note_meshed();
    let heard = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
    *inner.feed.heard.lock().unwrap_or_else(PoisonError::into_inner) = heard;
    inner.note_cut_off(false);
    adopt_all(inner).await;
    Ok(())
}

impl Store {
    /// Whether other members may know something that this one has not heard of yet.
    pub fn is_meshed(&self) -> bool {
        self.0.is_meshed()
    }

    /// Whether this member has ever heard the root rows: one that has just joined knows no bucket and no key before.
    pub fn is_informed(&self) -> bool {
        self.0.me == FOUNDER || !self.0.mesh.view().members.is_empty()
    }

    /// Whether the root rows could not be read when that was tried last: others may know members that this one has not
    /// heard of.
    pub fn is_cut_off(&self) -> bool {
        self.0.feed.is_cut_off.load(Ordering::Relaxed)
    }

    /// Reads all root rows for somebody who misses something in them; whether that was done.
    pub async fn hear_news(&self) -> bool {
        let inner = &self.0;
        if !inner.is_meshed() {
            return false;
        }
        let Ok(_turn) = inner.feed.turn.try_acquire() else {
            // They are being read: whatever comes of that is news here as well.
            let read = timeout(ASKED_FOR, inner.feed.turn.acquire());
            return matches!(read.await, Ok(Ok(_)));
        };
        inner.feed.may_ask() && matches!(timeout(ASKED_FOR, refresh(inner)).await, Ok(Ok(())))
    }
}

impl Inner {
    fn note_cut_off(&self, is_cut_off: bool) {
        if self.feed.is_cut_off.swap(is_cut_off, Ordering::Relaxed) != is_cut_off {
            self.mesh.note();
        }
    }

    /// Takes the keys that the mesh began to use, before anything that was sealed with them is read.
    async fn take_keys(&self) {
        let view = self.mesh.view();
        let generations = view.generations.iter();
        let rows = generations.map(|(number, row)| (*number, &row.value));
        if !self.keyring.take(self.me, rows) {
            return;
        }
        info!(
            generations = view.generations.len() + 1,
            "new keys of the mesh are here"
        );
        self.keep_keys().await;
        self.mesh.note();
    }

    /// Has the key files say what is held.
    pub(crate) async fn keep_keys(&self) {
        let keyring = self.keyring.clone();
        match self.disk.run(move || keyring.keep()).await {
            Ok(Ok(())) => {}
            // They are in the rows that this member heard, and are taken from there at the next start.
            Ok(Err(error)) => error!(%error, "the new keys are in no file; free the disk, and restart"),
            Err(error) => error!(%error, "the new keys are in no file; free the disk, and restart"),
        }
    }
}

/// Adopts the newest epoch of every partition that root rows tell.
async fn adopt_all(inner: &Arc<Inner>) {
    let view = inner.mesh.view();
    let newer: BTreeMap<u16, Configs> = view
        .voters
        .iter()
        .filter(|(partition, voters)| {
            voters.value.newest() > Some(inner.partitions.registers().epoch(**partition))
        })
        .map(|(partition, voters)| (*partition, voters.value.clone()))
        .collect();
    // It says itself what failed, and that is tried again before long.
    drop(inner.partitions.registers().adopt_all(newer).await);
}
