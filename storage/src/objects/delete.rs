//! Deletes objects.

use crate::cluster::Writes;
use crate::model::{Bucket, ObjectKey, VersionId, WriteCondition, row_key, summary};
use crate::{Store, StoreError};

/// What to delete.
#[derive(Clone, Debug)]
pub struct DeleteTarget {
    /// Which key.
    pub key: ObjectKey,
    /// Which version; the current one if not named.
    pub version: Option<VersionId>,
    /// What must hold at commit.
    pub condition: WriteCondition,
}

/// What a delete did. Deleting what is not there succeeds and did nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The delete marker that was added or removed, or the version removed, where versioning ever was on.
    pub version: Option<VersionId>,
    /// True when `version` is a delete marker.
    pub delete_marker: bool,
}

impl Store {
    /// Deletes the current version (leaving a marker where versioning is on) or the version named.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchKey` (only for a condition), `NoSuchBucket`.
    pub async fn delete_object(
        &self,
        bucket: &Bucket,
        target: DeleteTarget,
    ) -> Result<DeleteOutcome, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        let store = self.clone();
        self.finish(async move {
            let _writer = entry.enter().await?;
            let claim = store.0.partitions.claim(entry.bucket.id, &target.key).await?;
            let row = store
                .0
                .object_row(&entry.bucket, &target.key)?
                .unwrap_or_default();
            let Some(changed) = row.remove(target.version, &target.condition)? else {
                return Ok(DeleteOutcome::default());
            };
            let row_key = row_key::object(entry.bucket.id, target.key.as_str());
            let mut writes = Writes::default();
            if changed.row.versions.is_empty() {
                writes.remove(row_key);
            } else {
                writes.put(row_key, summary::encode(&changed.row), &changed.row);
            }
            store.0.partitions.commit(&claim, writes).await?;
            store.displace(&entry, &target.key, changed.displaced).await;
            Ok(DeleteOutcome::default())
        })
        .await
    }
}
