//! Closing a bucket for all gateways: none that takes it to be open gets anything into it any more. A change of how a bucket
//! keeps versions is counted and fenced in the same way, so that no gateway writes by what was set before.
//!
//! Whoever closes a bucket counts that in a root row of its own, and then raises the fences of all partitions to the new
//! count. A gateway says with each write how many closed buckets it knows of; a partition that has heard of more refuses, and
//! the gateway looks again. Only then is the bucket looked through.
//!
//! What a holder had written for a write that it never finished may come to light after that. Whoever waits for this write
//! is not told that it was done (see `Commands::decide`), so that what is found then in a deleted bucket was promised to
//! nobody.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::feed::refresh;
use crate::StoreError;
use crate::cluster::{Partitions, ROOT_PARTITION};
use crate::model::{MeshKey, MeshRow};
use crate::register::Fences;
use crate::store::Inner;

/// Partitions whose fences are raised at a time.
const RAISED_AT_ONCE: usize = 32;
/// Attempts to count a closed bucket while others count theirs.
const TRIES_MAX: usize = 100;

/// How many buckets were ever closed.
///
/// # Errors
/// `Unavailable`: the root partition has no quorum. The disk fails, or the row does not read.
pub(crate) async fn count(partitions: &Partitions) -> Result<u64, StoreError> {
    let row = partitions.current::<MeshRow>(&MeshKey::Closings.row()).await?;
    Ok(row.map_or(0, |row| row.version))
}

/// After a bucket was closed, or changed: keeps out all gateways that take it for what it was before. Everything that was written before is found
/// by reads from now on.
///
/// # Errors
/// `Unavailable`: too few members answer. The disk fails.
pub(crate) async fn keep_others_out(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let closings = count_one(inner).await?;
    refresh(inner).await?;
    let fences = Fences {
        directory: closings,
        ..Fences::default()
    };
    let registers = inner.partitions.registers();
    stream::iter(0..ROOT_PARTITION)
        .map(|partition| async move { registers.raise(partition, fences).await.map(drop) })
        .buffer_unordered(RAISED_AT_ONCE)
        .try_collect()
        .await
}

/// Counts one more; the new count.
async fn count_one(inner: &Arc<Inner>) -> Result<u64, StoreError> {
    for _ in 0..TRIES_MAX {
        let closings = count(&inner.partitions).await?;
        let replaced = inner
            .mesh
            .replace(&inner.partitions, MeshKey::Closings, Some(&()), closings);
        if replaced.await? {
            return Ok(closings.saturating_add(1));
        }
    }
    Err(StoreError::Conflict)
}
