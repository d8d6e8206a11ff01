//! Asks the others, at the start, what they remember of this disk, and has this disk remember what is known of theirs.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::cluster::Forgotten;
use crate::store::Inner;
use crate::{Store, StoreError};

/// How often what is remembered of other disks is kept, if it is news.
const EVERY: Duration = Duration::from_secs(10);

/// Works until stopped.
pub(crate) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let asked = async {
        if inner.is_meshed() {
            inner.partitions.registers().recall(|| inner.others()).await;
        }
    };
    let asked = stop.run_until_cancelled(asked);
    tokio::join!(asked, keep(&inner, &stop));
}

/// Has the disk remember what is news, now and then, and before this ends.
async fn keep(inner: &Inner, stop: &CancellationToken) {
    let memories = inner.partitions.registers().memories();
    let mut kept = (memories.known(), memories.forgotten());
    loop {
        let known = (memories.known(), memories.forgotten());
        let is_unrecorded = memories.has_met() && !memories.is_recorded();
        if known != kept || is_unrecorded {
            match memories.keep().await {
                Ok(()) => kept = known,
                // Whoever is read-only says why itself.
                Err(StoreError::ReadOnly(_)) => {}
                Err(error) => debug!(%error, "what is remembered of other disks is not kept"),
            }
        }
        if stop.is_cancelled() {
            return;
        }
        // The last round, once it is to stop, keeps what was heard since.
        let _ = stop.run_until_cancelled(sleep(EVERY)).await;
    }
}

impl Store {
    /// What the disk of this member has forgotten of what it promised to the others, if anything: it answers nothing about
    /// rows then, and has to take its place anew ([`Store::readmit`]).
    pub fn forgotten(&self) -> Option<Forgotten> {
        self.0.partitions.registers().memories().forgotten()
    }

    /// Waits until [`Self::forgotten`] says something, and has the disk remember it.
    pub async fn until_forgotten(&self) -> Forgotten {
        let memories = self.0.partitions.registers().memories();
        let why = memories.until_forgotten().await;
        // A disk that takes nothing says by itself, at each start, that it cannot be relied on.
        if let Err(error) = memories.keep().await {
            debug!(%error, "that this disk has forgotten is not kept");
        }
        why
    }
}
