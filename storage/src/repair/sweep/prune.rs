//! Removes rows of buckets that are gone: what was written too late to be found when the bucket was looked through.
//!
//! Nobody was told that such a write was done (see `cluster::mesh::closings`), and what would open it was deleted with the
//! bucket.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use crate::StoreError;
use crate::cluster::mesh::feed::refresh;
use crate::disk::{Disk, DiskError};
use crate::model::command::{Action, Command, ObjectCommand, Submission};
use crate::model::{BucketId, Keeping, ObjectKey, OpId, Timestamp, row_key};
use crate::store::Inner;

/// Keys that are looked for in one sweep.
const KEYS_MAX: usize = 1000;

/// Removes them: some in each sweep, since a row may stand here alone and be gone everywhere else.
///
/// # Errors
/// `Unavailable`: too few members answer. The disk fails.
pub(super) async fn run(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let found = find(inner).await?;
    if found.is_empty() {
        return Ok(());
    }
    // A bucket that was created elsewhere a moment ago is known from now on.
    refresh(inner).await?;
    for (bucket, key) in found {
        if !is_gone(inner, bucket) {
            continue;
        }
        let command = Command::Object(ObjectCommand {
            bucket,
            // What only removes passes every fence.
            closings: 0,
            keeping: Keeping::default(),
            asked: Timestamp::now(),
            key,
            action: Action::Prune,
            telling: None,
        });
        let submission = Submission {
            op: OpId::new(),
            sweeps: 0,
            command,
        };
        inner.partitions.submit(submission).await?;
    }
    Ok(())
}

/// A bucket whose row does not read is not gone: nobody knows which one that is.
fn is_gone(inner: &Inner, bucket: BucketId) -> bool {
    inner.directory.is_whole() && inner.directory.standing(bucket).is_none()
}

/// Some keys on this disk whose bucket is not known.
async fn find(inner: &Arc<Inner>) -> Result<BTreeSet<(BucketId, ObjectKey)>, StoreError> {
    let (looking, disk) = (inner.clone(), inner.disk.clone());
    let find = move || {
        let mut found = BTreeSet::new();
        for (from, to) in [
            row_key::all_objects(),
            row_key::all_uploads(),
            row_key::all_parts(),
            row_key::all_archives(),
        ] {
            let mut next = Some(from);
            while let Some(from) = next.take() {
                next = step(&looking, &disk, (&from, &to), &mut found)?;
            }
        }
        Ok::<_, DiskError>(found)
    };
    Ok(inner.disk.run(find).await??)
}

/// Looks at the first row from a place on; gives the next place, behind a bucket that is known at once.
fn step(
    inner: &Inner,
    disk: &Disk,
    (from, to): (&[u8], &[u8]),
    found: &mut BTreeSet<(BucketId, ObjectKey)>,
) -> Result<Option<Vec<u8>>, DiskError> {
    let Some(row) = disk.first_key(Included(from), Excluded(to))? else {
        return Ok(None);
    };
    let Some(bucket) = row_key::bucket_id(&row).filter(|_| found.len() < KEYS_MAX) else {
        return Ok(None);
    };
    if !is_gone(inner, bucket) {
        return Ok(Some(row_key::after_bucket(&row)));
    }
    found.extend(row_key::object_key(&row).map(|key| (bucket, key)));
    Ok(Some([row.as_slice(), &[0]].concat()))
}
