//! Frees references whose owner is gone, in a mesh: what crashes left between storing blocks and committing their row.
//!
//! | file | its job |
//! |---|---|
//! | `wire` | what members say to each other, to the byte |
//! | `named` | the owners that a row names |
//! | `answer` | tells another member which owners the rows here name |
//! | `pass` | one sweep of this member's disk |
//! | `prune` | removes rows of buckets that are gone |
//! | `on_demand` | has the whole mesh sweep now, because a person asks |
//!
//! # Why nothing is freed that is needed
//! A reference may be freed if no row names its owner and none ever will. No clock has a say in that:
//! - A root row counts sweeps. A write says how many its gateway knew of when it began, in its id, hence in the owner of
//!   its references, and in the submission that commits it.
//! - Sweep `n` frees references of writes that knew of fewer than `n − 1`. First the fences of each partition are raised to
//!   `n − 1`: once a quorum has them under a ballot, no holder of that ballot or a higher one lets such a write in, or is
//!   still at it.
//! - What an older holder had begun may stand at few members, and be brought to light by a holder to come. So **all** who
//!   vote in the partition are asked which owners their rows name, and only those answers count that they gave while each
//!   of them had promised that ballot and no other, and while no row changed at any: then there was one moment at which
//!   they had just these rows. Nothing older is taken in any more. The holder's own row is the newest it proposed, or what
//!   stands behind it was chosen, and stands with somebody else. Whatever comes to stand later follows from rows of that
//!   moment, or from writes that pass the fence.
//! - A partition that is written to all the time is left for later, as one whose voters change or are away: that delays a
//!   sweep, and breaks nothing.
//!
//! A write may take as long as it is from one sweep to the next but one: a week at least, and where a person has the mesh sweep,
//! until the writes of all members that answer have ended. One that takes longer is refused, and its client is told to try again.

mod answer;
pub(super) mod named;
mod on_demand;
mod pass;
mod prune;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

pub(crate) use self::answer::answer;
pub use self::on_demand::{Share, Swept, Waits};
use crate::StoreError;
use crate::cluster::mesh::feed::refresh;
use crate::disk::RowWrite;
use crate::model::{MeshKey, Timestamp, row_key};
use crate::store::Inner;

/// From one sweep to the next, in milliseconds.
const EVERY_MS: u64 = 7 * 24 * 3600 * 1000;
/// How often it is looked whether a sweep is due, and tried again what could not be done, at the least.
const LOOK: Duration = Duration::from_secs(1800);
/// What could not be done is tried again after so long, then after twice as long, and so on.
const RETRY: Duration = Duration::from_secs(1);
/// A sweep that was under way when this member ended is gone on with after so long.
const FIRST_AFTER: Duration = Duration::from_secs(20);
/// Version byte of the row under `0x09`, in front of a u32, little-endian.
const VERSION: u8 = 1;

/// Whether a call is about sweeps.
pub(crate) fn is_about_sweeps(call: &[u8]) -> bool {
    wire::is_about_sweeps(call)
}

/// Sweeps until stopped: what is begun at once, and one that nobody begins when it is due.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let Some(mut changes) = inner.upgrade().map(|inner| inner.mesh.changes()) else {
        return;
    };
    let (mut retry, mut looked, mut wait) = (RETRY, Instant::now(), FIRST_AFTER);
    let mut known = inner.upgrade().map_or(0, |inner| inner.mesh.sweeps());
    loop {
        let begun = async {
            while changes.changed().await.is_ok() {
                if inner.upgrade().is_none_or(|inner| inner.mesh.sweeps() != known) {
                    return;
                }
            }
            // Nothing changes any more.
            std::future::pending().await
        };
        if stop.run_until_cancelled(timeout(wait, begun)).await.is_none() {
            return;
        }
        let Some(inner) = inner.upgrade() else { return };
        if inner.mesh.sweeps() != known {
            (known, retry) = (inner.mesh.sweeps(), RETRY);
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if let Some(Err(error)) = stop.run_until_cancelled(count_if_due(&inner)).await {
                debug!(%error, "no sweep could be begun");
            }
        }
        wait = LOOK;
        match stop.run_until_cancelled(sweep_if_begun(&inner)).await {
            Some(Ok(())) => retry = RETRY,
            Some(Err(error)) => {
                debug!(%error, "not everything could be swept");
                wait = retry;
                retry = (retry * 2).min(LOOK);
            }
            None => return,
        }
    }
}

/// In a mesh one member begins a sweep every week. A box that is alone has its own way, see [`super::collect`], and sweeps only
/// where a person asks.
async fn count_if_due(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let last = inner.mesh.view().sweeps.value;
    let now = Timestamp::now().as_millis();
    let is_due = last.is_none_or(|last| now.abs_diff(last.as_millis()) >= EVERY_MS);
    if inner.is_meshed() && inner.leads() && is_due {
        count_one(inner).await?;
    }
    Ok(())
}

async fn sweep_if_begun(inner: &Arc<Inner>) -> Result<(), StoreError> {
    if swept(inner)? < inner.mesh.sweeps() {
        sweep(inner).await?;
    }
    Ok(())
}

/// Begins another sweep; whether somebody else just did.
///
/// # Errors
/// `Unavailable`: too few members answer. The disk fails.
pub(crate) async fn count_one(inner: &Arc<Inner>) -> Result<bool, StoreError> {
    let counted = inner.mesh.view().sweeps.version;
    let now = Some(Timestamp::now());
    let key = MeshKey::Sweeps;
    let is_first = inner
        .mesh
        .replace(&inner.partitions, key, Some(&now), counted)
        .await?;
    refresh(inner).await?;
    inner.tell_of_change();
    Ok(is_first)
}

/// Frees what is to be freed on this disk by the last sweep that was begun. Done is what finds nothing to be freed.
///
/// # Errors
/// `Unavailable`: some of it has to wait, if only until what was freed is gone. The disk fails, or a row somewhere does not
/// read.
pub(crate) async fn sweep(inner: &Arc<Inner>) -> Result<(), StoreError> {
    if inner.loss.is_some() {
        // What lost rows refer to must wait for a person: the rows may come back from a copy of their segment.
        return Ok(());
    }
    let sweeps = inner.mesh.sweeps();
    // One partition without a quorum does not keep the others from being swept.
    let tidied = prune::run(inner)
        .await
        .and(super::collect::forget_ended(inner).await);
    let swept = pass::run(inner, sweeps.saturating_sub(1)).await?;
    let pass::Swept {
        released,
        waiting,
        left,
        held,
    } = swept;
    inner.held.store(held, Ordering::Relaxed);
    if released > 0 {
        inner.freed.fetch_add(released, Ordering::Relaxed);
        info!(released, "unreferenced blocks swept");
    }
    if left > 0 {
        debug!(partitions = left, "left for later: voters change, or are away");
    }
    if released + waiting > 0 || left > 0 {
        return Err(StoreError::Unavailable);
    }
    tidied?;
    let value = [&[VERSION][..], &sweeps.to_le_bytes()].concat();
    let row = RowWrite::Put {
        key: row_key::swept(),
        summary: Vec::new(),
        value: Bytes::from(value),
    };
    Ok(inner.disk.commit(vec![row]).await?)
}

/// The last sweep that was done here.
///
/// # Errors
/// The disk fails.
pub(crate) fn swept(inner: &Inner) -> Result<u32, StoreError> {
    let row = inner.disk.row(&row_key::swept())?;
    let swept = row.and_then(|row| match *row {
        [VERSION, ref swept @ ..] => Some(u32::from_le_bytes(swept.try_into().ok()?)),
        _ => None,
    });
    Ok(swept.unwrap_or(0))
}

/// How many sweeps the oldest write that is under way here knew of when it began; where there is none, how many the next
/// knows of.
pub(crate) fn oldest_write(inner: &Inner) -> u32 {
    // Before the writes, as one that begins meanwhile knows of no fewer.
    let next = inner.mesh.sweeps();
    let pending = inner.releaser.pending();
    pending.iter().map(pass::sweeps_of).fold(next, u32::min)
}
