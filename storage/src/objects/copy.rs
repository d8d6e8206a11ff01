//! Copies an object by referring to its blocks: no bytes move.

use crate::model::{Bucket, ChecksumAlgorithm, ObjectHeaders, ObjectKey, StorageClass, WriteCondition};
use crate::{Object, PutOutcome, Store, StoreError};

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyObject {
    /// New headers and metadata (directive REPLACE); those of the source if not given.
    pub headers: Option<ObjectHeaders>,
    /// New tags (tagging directive REPLACE); those of the source if not given.
    pub tags: Option<Vec<(String, String)>>,
    /// Storage class of the copy; STANDARD unless told.
    pub class: StorageClass,
    /// Compute this checksum over the copy; the source's full-object checksum is kept if not given.
    pub checksum: Option<ChecksumAlgorithm>,
    /// What must hold at commit for the destination.
    pub condition: WriteCondition,
}

impl Store {
    /// Copies an opened object to `key`.
    ///
    /// # Errors
    /// As [`Store::put_object`]; `EntityTooLarge` for a source over 5 GiB.
    pub async fn copy_object(
        &self,
        source: &Object,
        bucket: &Bucket,
        key: &ObjectKey,
        copy: CopyObject,
    ) -> Result<PutOutcome, StoreError> {
        let _ = (source, bucket, key, copy);
        unimplemented!()
    }
}
