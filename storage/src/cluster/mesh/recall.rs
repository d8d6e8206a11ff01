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
    let registers = inner.partitions.registers();
    if inner.is_meshed() {
        let others = inner.others();
        let asked = registers.recall(&others);
        if stop.run_until_cancelled(asked).await.is_none() {
            return;
        }
    }
    let memories = registers.memories();
    let mut kept = (memories.known(), memories.forgotten());
    loop {
        let stops = stop.run_until_cancelled(sleep(EVERY)).await.is_none();
        let known = (memories.known(), memories.forgotten());
        if known != kept {
            match memories.keep().await {
                Ok(()) => kept = known,
                // Whoever is read-only says why itself.
                Err(StoreError::ReadOnly(_)) => {}
                Err(error) => debug!(%error, "what is remembered of other disks is not kept"),
            }
        }
        if stops {
            return;
        }
    }
}

impl Store {
    /// What the disk of this member has forgotten of what it promised to the others, if anything: it answers nothing about
    /// rows then, and has to take its place anew ([`Store::readmit`]).
    pub fn forgotten(&self) -> Option<Forgotten> {
        self.0.partitions.registers().memories().forgotten()
    }

    /// Waits until [`Self::forgotten`] says something.
    pub async fn until_forgotten(&self) -> Forgotten {
        self.0.partitions.registers().memories().until_forgotten().await
    }
}
