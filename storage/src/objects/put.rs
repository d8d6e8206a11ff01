//! Stores an object: chunk, hash, seal, store blocks, commit the row.

use super::ObjectBody;
use super::ingest::{Inline, ingest};
use crate::model::{
    Bucket, Cause, Checksum, ChecksumKind, Completed, ETag, Invocation, Lock, ObjectHeaders, ObjectKey,
    StorageClass, Timestamp, Usage, VersionDetails, VersionFacts, VersionId, WriteCondition,
};
use crate::{CustomerKey, Store, StoreError};

/// A new object, without its content.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// What the client says about it.
    pub headers: ObjectHeaders,
    /// Storage class.
    pub class: StorageClass,
    /// What keeps it from being removed; its bucket may have a default retention.
    pub lock: Lock,
    /// What must hold at commit.
    pub condition: WriteCondition,
    /// Who asks for it, for those who are told.
    pub cause: Cause,
    /// What the client calls what it does.
    pub invocation: Option<Invocation>,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutOutcome {
    /// Entity tag.
    pub etag: ETag,
    /// Set when the bucket's versioning is on or suspended.
    pub version: Option<VersionId>,
    /// The checksum the object carries.
    pub checksum: Option<Checksum>,
    /// Bytes of content.
    pub size: u64,
    /// When it committed.
    pub modified: Timestamp,
}

impl NewObject {
    /// What the client calls storing this.
    fn named(&self) -> Option<Invocation> {
        let invocation = self.invocation?;
        Some(invocation.storing(&self.headers, self.class, &self.lock))
    }
}

impl Store {
    /// Stores an object, streaming: at most 32 MiB of it are in memory.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchKey` (If-Match on nothing), `DigestMismatch`, `Body`, `EntityTooLarge`
    /// (over 5 GiB), `DiskFull`, `QuotaExceeded` (before content is read whose size is known), `TooManyVersions`, `NoSuchBucket` (deleted meanwhile).
    ///
    /// # Cancellation
    /// Dropped before the row commits, nothing is stored.
    pub async fn put_object<B: ObjectBody>(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        new: NewObject,
        body: B,
    ) -> Result<PutOutcome, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        self.0.writable()?;
        self.check_early(bucket, key, &new).await?;
        let invocation = new.named();
        let tried = self.0.tried_before(bucket, key, invocation).await?;
        let announced = body.size_hint();
        if let Some(size) = announced.filter(|_| !tried) {
            self.must_fit(&entry, key, one_of(size)).await?;
        }
        let customer = body.customer_key().cloned();
        let operation = self.0.begin().because(new.cause).attempted(invocation);
        let lease = self.0.lease(bucket, key);
        let write = lease.write();
        let inline = Inline::of(entry.bucket.settings.versioning);
        let taken = ingest(self, &lease, body, inline).await?;
        if announced.is_none() && !tried {
            self.must_fit(&entry, key, one_of(taken.size)).await?;
        }
        let checksum = taken.digested.checksum.map(|value| Checksum {
            value,
            kind: ChecksumKind::FullObject,
        });
        let facts = VersionFacts {
            id: VersionId::Null,
            modified: Timestamp::now(),
            size: taken.size,
            etag: tag_of(taken.digested.md5, customer.as_ref()),
            class: new.class,
            checksum: checksum.map(|checksum| checksum.value.algorithm()),
            delete_marker: false,
            lock: new.lock,
        };
        let details = VersionDetails {
            headers: ObjectHeaders {
                customer: customer.map(|key| key.seal()),
                ..new.headers
            },
            checksum,
            content: taken.content.into_content(write),
        };
        let ready = self
            .ready(&entry, key, write, facts, details, vec![lease])
            .await?;
        let (facts, version) = self
            .commit_version(operation, entry, key.clone(), ready, new.condition)
            .await?;
        Ok(PutOutcome::new(&facts, version, checksum))
    }

    /// Refuses a write whose condition cannot hold before its body is read, unless an earlier attempt of it may be why. The
    /// commit decides again.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchKey`.
    pub async fn check_early(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        new: &NewObject,
    ) -> Result<(), StoreError> {
        self.check_condition((bucket, key), &new.condition, new.named())
            .await
    }

    /// As [`Self::check_early`].
    pub(super) async fn check_condition(
        &self,
        (bucket, key): (&Bucket, &ObjectKey),
        condition: &WriteCondition,
        invocation: Option<Invocation>,
    ) -> Result<(), StoreError> {
        if *condition == WriteCondition::None {
            return Ok(());
        }
        let row = self.0.object_row(bucket, key).await?;
        if row.as_ref().is_some_and(|row| row.made_by(invocation).is_some()) {
            return Ok(());
        }
        Ok(condition.check(
            row.as_ref()
                .and_then(|row| row.current())
                .map(|current| &current.facts),
        )?)
    }
}

/// The entity tag of content: under the key of a customer it tells nothing of it.
pub(super) fn tag_of(md5: [u8; 16], customer: Option<&CustomerKey>) -> ETag {
    ETag::Md5(customer.map_or(md5, |key| key.tag(md5)))
}

/// What an object of so many bytes adds to its bucket.
pub(super) const fn one_of(bytes: u64) -> Usage {
    Usage { bytes, objects: 1 }
}

impl PutOutcome {
    pub(super) fn new(facts: &VersionFacts, version: Option<VersionId>, checksum: Option<Checksum>) -> Self {
        Self {
            etag: facts.etag,
            version,
            checksum,
            size: facts.size,
            modified: facts.modified,
        }
    }
}

impl From<Completed> for PutOutcome {
    fn from(completed: Completed) -> Self {
        let Completed {
            etag,
            checksum,
            size,
            modified,
            version,
        } = completed;
        Self {
            etag,
            version,
            checksum,
            size,
            modified,
        }
    }
}
