//! Deletes objects.

use super::commit::refusal_of;
use crate::model::command::{Action, Outcome};
use crate::model::{Bucket, ObjectKey, VersionId, WriteCondition};
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
            let DeleteTarget {
                key,
                version,
                condition,
            } = target;
            let remove = Action::Remove { version, condition };
            match store
                .submit(store.0.begin(), &entry, &key, remove, Vec::new())
                .await?
            {
                Outcome::Removed { .. } => Ok(DeleteOutcome::default()),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }
}
