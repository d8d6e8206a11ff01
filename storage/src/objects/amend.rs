//! Changes what is said about a stored version: its tags, its ACL, its retention, its legal hold.

use super::commit::refusal_of;
use crate::model::command::{Action, Outcome, Refusal};
use crate::model::{
    Acl, Amendment, Bucket, Cause, How, ObjectHeaders, ObjectKey, Retention, SealedVersion, VersionId,
};
use crate::{Store, StoreError};

/// How often a change is made anew because others changed the same version meanwhile.
const TRIES_MAX: usize = 16;

/// A change of what is said about a version.
#[derive(Clone, Debug)]
enum Change {
    Tags(Vec<(String, String)>),
    Acl(Acl),
    Retention(Option<Retention>, bool),
    LegalHold(bool),
}

impl Change {
    /// How others are told that it came about, if they are; `before` is what was said so far.
    fn how(&self, before: &ObjectHeaders) -> Option<How> {
        match self {
            Self::Tags(tags) if !tags.is_empty() => Some(How::Tag),
            Self::Tags(_) => (!before.tags.is_empty()).then_some(How::Untag),
            Self::Acl(acl) => (*acl != before.acl).then_some(How::SetAcl),
            Self::Retention(..) | Self::LegalHold(_) => None,
        }
    }
}

impl Store {
    /// Replaces the tags of an object, or of the version named; says which version that is.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `DeleteMarker`, `TooManyVersions` (no room for the tags); `Conflict` while others keep
    /// changing it.
    pub async fn set_tags(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        (tags, cause): (Vec<(String, String)>, Cause),
    ) -> Result<VersionId, StoreError> {
        self.amend(bucket, key, version, (Change::Tags(tags), cause))
            .await
    }

    /// Replaces the ACL of an object, or of the version named; says which version that is.
    ///
    /// # Errors
    /// As [`Self::set_tags`].
    pub async fn set_acl(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        (acl, cause): (Acl, Cause),
    ) -> Result<VersionId, StoreError> {
        self.amend(bucket, key, version, (Change::Acl(acl), cause)).await
    }

    /// Replaces the retention of an object, or of the version named. `bypass`: whether one of governance may be shortened.
    ///
    /// # Errors
    /// As [`Self::set_tags`], and `Locked`.
    pub async fn set_retention(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        (retention, bypass): (Option<Retention>, bool),
    ) -> Result<VersionId, StoreError> {
        let change = Change::Retention(retention, bypass);
        self.amend(bucket, key, version, (change, Cause::default())).await
    }

    /// Sets the legal hold of an object, or of the version named.
    ///
    /// # Errors
    /// As [`Self::set_tags`].
    pub async fn set_legal_hold(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        on: bool,
    ) -> Result<VersionId, StoreError> {
        let change = Change::LegalHold(on);
        self.amend(bucket, key, version, (change, Cause::default())).await
    }

    async fn amend(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        (change, cause): (Change, Cause),
    ) -> Result<VersionId, StoreError> {
        let (store, bucket, key) = (self.clone(), bucket.clone(), key.clone());
        self.finish(async move {
            for _ in 0..TRIES_MAX {
                let amended = store
                    .try_to_amend(&bucket, &key, version, (&change, &cause))
                    .await?;
                if let Some(version) = amended {
                    return Ok(version);
                }
            }
            Err(StoreError::Conflict)
        })
        .await
    }

    /// Changes the version as it is now; `None` where it was changed meanwhile.
    async fn try_to_amend(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        (change, cause): (&Change, &Cause),
    ) -> Result<Option<VersionId>, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        let row = self
            .0
            .row_with(bucket.id, key, version)
            .await?
            .unwrap_or_default();
        let there = row.chosen(version)?;
        let mut operation = self.0.begin();
        let mut reworded = |reword: &dyn Fn(&mut ObjectHeaders)| {
            let mut details = self.0.details(&entry, key, &there)?;
            if let Some(how) = change.how(&details.headers) {
                operation = operation.clone().because(cause.clone().of(how));
            }
            reword(&mut details.headers);
            Ok::<_, StoreError>(Amendment::Details {
                from: *blake3::hash(&there.details).as_bytes(),
                details: self.0.seal_details(&entry, key, there.write, &details),
            })
        };
        let amendment = match change {
            Change::Tags(tags) => reworded(&|headers| headers.tags.clone_from(tags))?,
            Change::Acl(acl) => reworded(&|headers| headers.acl.clone_from(acl))?,
            Change::Retention(retention, bypass) => Amendment::Retention {
                retention: *retention,
                bypass: *bypass,
            },
            Change::LegalHold(on) => Amendment::LegalHold(*on),
        };
        let SealedVersion { facts, write, .. } = there;
        let amend = Action::Amend {
            version: facts.id,
            write,
            amendment,
        };
        match self.submit(operation, &entry, key, amend, Vec::new()).await? {
            Outcome::Amended { .. } => Ok(Some(facts.id)),
            Outcome::Refused(Refusal::VersionChanged) => Ok(None),
            other => Err(refusal_of(other)),
        }
    }
}
