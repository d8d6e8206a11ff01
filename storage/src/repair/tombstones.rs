//! Forgets tombstones some time after what they hide is gone everywhere, so that deleting leaves nothing behind.
//!
//! They are asked for once nobody is expected to try again what they remember. That is a matter of manners: whoever does is
//! told that nobody can say, and no clock is relied on. A home that is away keeps the tombstones of its partitions until it is
//! back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::StoreError;
use crate::model::Timestamp;
use crate::store::Inner;

/// From one pass to the next.
const EVERY: Duration = Duration::from_secs(600);
/// After so long nobody is expected to try again what a tombstone remembers, in milliseconds: clocks may differ by as much.
const AGE_MS: u64 = 15 * 60 * 1000;

/// Forgets until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        let Some(inner) = inner.upgrade() else { return };
        let before = Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(AGE_MS));
        match stop.run_until_cancelled(forget(&inner, before)).await {
            Some(Ok(0)) => {}
            Some(Ok(asked)) => info!(asked, "tombstones were to be forgotten"),
            Some(Err(error)) => debug!(%error, "tombstones are left for later"),
            None => return,
        }
    }
}

/// One pass: asks for all tombstones here that remember nothing that began later; says how many those were.
///
/// # Errors
/// The disk fails, or is full.
pub(crate) async fn forget(inner: &Arc<Inner>, before: Timestamp) -> Result<usize, StoreError> {
    if inner.loss.is_some() {
        // What is lost may come back from a copy, behind them.
        return Ok(0);
    }
    let registers = inner.partitions.registers();
    registers.memories().check().await?;
    let (mut from, mut asked) = (None, 0);
    loop {
        let pass = registers.forget_tombstones(from, before).await?;
        asked += pass.asked;
        match pass.next {
            Some(next) => from = Some(next),
            None => return Ok(asked),
        }
    }
}
