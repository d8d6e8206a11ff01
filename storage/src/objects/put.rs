//! Stores an object: chunk, hash, seal, store blocks, commit the row.

use super::ObjectBody;
use crate::model::{
    Bucket, Checksum, ETag, ObjectHeaders, ObjectKey, StorageClass, Timestamp, VersionId, WriteCondition,
};
use crate::{Store, StoreError};

/// A new object, without its content.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// What the client says about it.
    pub headers: ObjectHeaders,
    /// Storage class.
    pub class: StorageClass,
    /// What must hold at commit.
    pub condition: WriteCondition,
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

impl Store {
    /// Stores an object, streaming: at most 32 MiB of it are in memory.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NoSuchKey` (If-Match on nothing), `DigestMismatch`, `Body`, `EntityTooLarge`
    /// (over 5 GiB), `DiskFull`, `NoSuchBucket` (deleted meanwhile).
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
        let _ = (bucket, key, new, body);
        unimplemented!()
    }
}
