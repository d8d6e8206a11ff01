//! Deletes objects, at a client's word or as lifecycle rules have it.

use super::commit::refusal_of;
use crate::model::command::{Action, Outcome};
use crate::model::{Bucket, Cause, Due, How, Marker, ObjectKey, VersionId, WriteCondition};
use crate::{Store, StoreError};

/// What to delete.
#[derive(Clone, Debug)]
pub struct DeleteTarget {
    /// Which key.
    pub key: ObjectKey,
    /// Which version; the current one if not named.
    pub version: Option<VersionId>,
    /// What must hold at commit for the current version.
    pub condition: WriteCondition,
    /// Whether a retention of governance does not count.
    pub bypass: bool,
    /// Who asks for it, for those who are told.
    pub cause: Cause,
}

/// What a delete did. Deleting what is not there succeeds and did nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeleteOutcome {
    /// The delete marker that was added where versioning ever was on, or the version that was named.
    pub version: Option<VersionId>,
    /// True when `version` is a delete marker.
    pub delete_marker: bool,
}

impl Store {
    /// Deletes the current version (leaving a marker where versioning is on) or the version named.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchKey` (only for a condition), `TooManyVersions` (no room for a marker), `Locked`, `NoSuchBucket`.
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
                bypass,
                cause,
            } = target;
            let delete = match version {
                None => Action::Delete {
                    marker: Marker::new(),
                    condition,
                },
                Some(version) => Action::Remove {
                    version,
                    condition,
                    bypass,
                },
            };
            let operation = store.0.begin().because(cause.of(How::Delete));
            match store.submit(operation, &entry, &key, delete, Vec::new()).await? {
                Outcome::Removed {
                    version,
                    delete_marker,
                    ..
                } => Ok(DeleteOutcome {
                    version,
                    delete_marker,
                }),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }

    /// Carries out what is due of a key whose row was judged; `seen` is the digest of that row.
    ///
    /// # Errors
    /// `Conflict`: the row is another by now, and nothing was done. `Locked`, `TooManyVersions`, `NoSuchBucket`.
    pub(crate) async fn expire(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        seen: [u8; 32],
        due: Due,
    ) -> Result<(), StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let expire = Action::Expire {
                seen,
                marker: due.current.then(Marker::new),
                remove: due.remove,
            };
            let operation = store.0.begin().because(Cause::default().of(How::Expire));
            match store.submit(operation, &entry, &key, expire, Vec::new()).await? {
                Outcome::Removed { .. } => Ok(()),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }
}
