//! Multipart uploads: start, parts, complete, abort, list parts.

use super::ObjectBody;
use crate::model::{
    AccessKeyId, Bucket, Checksum, ChecksumAlgorithm, ChecksumValue, ETag, ObjectHeaders, ObjectKey,
    PartNumber, StorageClass, Timestamp, UploadId, WriteCondition,
};
use crate::{PutOutcome, Store, StoreError};

/// A new upload.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// What the client says about the object to be.
    pub headers: ObjectHeaders,
    /// Storage class.
    pub class: StorageClass,
    /// Checksum the parts will carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Whether the object's checksum is over all its bytes (linear algorithms only) or over the parts'.
    pub full_object: bool,
    /// Who starts it.
    pub initiator: Option<AccessKeyId>,
}

/// What is known of an open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Checksum its parts carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// As in [`NewUpload`].
    pub full_object: bool,
    /// Storage class.
    pub class: StorageClass,
    /// Who started it.
    pub initiator: Option<AccessKeyId>,
    /// When.
    pub started: Timestamp,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOutcome {
    /// MD5 of the part.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<ChecksumValue>,
    /// When it committed.
    pub modified: Timestamp,
}

/// A part a client names in its Complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// The tag the client was given; `None` is a tag no part has.
    pub etag: Option<ETag>,
    /// The checksum the client claims.
    pub checksum: Option<ChecksumValue>,
}

/// How to complete.
#[derive(Clone, Debug)]
pub struct CompleteUpload {
    /// In the client's order.
    pub parts: Vec<CompletedPart>,
    /// What must hold at commit for the object.
    pub condition: WriteCondition,
    /// The whole object's checksum the client claims, if any.
    pub checksum: Option<ChecksumValue>,
    /// The whole object's size the client claims, if any.
    pub size: Option<u64>,
}

/// A listed part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// Bytes of content.
    pub size: u64,
    /// MD5.
    pub etag: ETag,
    /// Checksum.
    pub checksum: Option<ChecksumValue>,
    /// When it committed.
    pub modified: Timestamp,
}

/// A page of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPage {
    /// The upload they belong to.
    pub upload: UploadInfo,
    /// In order.
    pub parts: Vec<ListedPart>,
    /// Set when another part exists: the last number of this page.
    pub next: Option<PartNumber>,
}

impl Store {
    /// Starts an upload.
    ///
    /// # Errors
    /// The disk fails, `NoSuchBucket`.
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        new: NewUpload,
    ) -> Result<UploadId, StoreError> {
        let _ = (bucket, key, new);
        unimplemented!()
    }

    /// What is known of an open upload, before its parts' bodies are read.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadInfo, StoreError> {
        let _ = (bucket, key, upload);
        unimplemented!()
    }

    /// Stores a part, streaming; replaces an earlier part of that number.
    ///
    /// # Errors
    /// As [`Store::put_object`], and `NoSuchUpload`, also when the upload ended while the part came in.
    pub async fn put_part<B: ObjectBody>(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        number: PartNumber,
        body: B,
    ) -> Result<PartOutcome, StoreError> {
        let _ = (bucket, key, upload, number, body);
        unimplemented!()
    }

    /// Makes the named parts the object. A repeated call hears the same answer.
    ///
    /// # Errors
    /// `InvalidPartOrder`, `InvalidPart`, `EntityTooSmall`, `NoSuchUpload`, `PreconditionFailed`, `NoSuchKey`,
    /// `DigestMismatch`, `SizeMismatch`.
    pub async fn complete_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        complete: CompleteUpload,
    ) -> Result<PutOutcome, StoreError> {
        let _ = (bucket, key, upload, complete);
        unimplemented!()
    }

    /// Ends an upload and frees its parts.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn abort_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(), StoreError> {
        let _ = (bucket, key, upload);
        unimplemented!()
    }

    /// A page of at most `max` (0–1000) parts after `after`.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        after: Option<u16>,
        max: usize,
    ) -> Result<PartPage, StoreError> {
        let _ = (bucket, key, upload, after, max);
        unimplemented!()
    }
}

/// The checksum a completed object carries; exported for tests of the gateway.
pub type CompletedChecksum = Checksum;
