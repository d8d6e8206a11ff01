//! Forgets tombstones some time after what they hide is gone everywhere, so that deleting leaves nothing behind.
//!
//! They are asked for once nobody is expected to try again what they remember, since they have been here for so long. That is
//! a matter of manners: whoever does is told that nobody can say, and no clock is relied on. A home that is away keeps the tombstones of its partitions until it is
//! back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::StoreError;
use crate::cluster::Look;
use crate::store::Inner;

/// From one pass to the next.
const EVERY: Duration = Duration::from_secs(600);
/// When it has been here for so long nobody is expected to try again what a tombstone remembers. Not measured by when that began
/// by its name: a clock that is years ahead would keep it for years.
const AGE: Duration = Duration::from_secs(15 * 60);

/// Forgets until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        let Some(inner) = inner.upgrade() else { return };
        match stop.run_until_cancelled(forget(&inner, AGE)).await {
            Some(Ok(0)) => {}
            Some(Ok(asked)) => info!(asked, "tombstones were to be forgotten"),
            Some(Err(error)) => debug!(%error, "tombstones are left for later"),
            None => return,
        }
    }
}

/// One pass: asks for all tombstones that have been here for so long; says how many those were.
///
/// # Errors
/// The disk fails, or is full.
pub(crate) async fn forget(inner: &Arc<Inner>, age: Duration) -> Result<usize, StoreError> {
    if inner.loss.is_some() {
        // What is lost may come back from a copy, behind them.
        return Ok(0);
    }
    let registers = inner.partitions.registers();
    registers.memories().check().await?;
    let at = Instant::now();
    let (mut from, mut asked) = (None, 0);
    loop {
        let pass = registers.forget_tombstones(from, Look { at, age }).await?;
        asked += pass.asked;
        match pass.next {
            Some(next) => from = Some(next),
            None => return Ok(asked),
        }
    }
}
