//! Reads an object: facts at once, content as a stream of verified pieces.

use crate::model::{
    Bucket, Checksum, ETag, ObjectHeaders, ObjectKey, PartInfo, StorageClass, Timestamp, VersionId,
};
use crate::{Store, StoreError};
use bytes::Bytes;
use std::ops::Range;

/// Everything about one version but its bytes.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    /// Which version.
    pub version: VersionId,
    /// Whether clients are told the version (versioning was ever on).
    pub versioned: bool,
    /// When it committed.
    pub modified: Timestamp,
    /// Bytes of content.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// Storage class.
    pub class: StorageClass,
    /// Checksum it carries.
    pub checksum: Option<Checksum>,
    /// What the client said about it.
    pub headers: ObjectHeaders,
}

/// One version of an object, opened. Its content stays readable while this lives, even if it is overwritten.
pub struct Object {
    info: ObjectInfo,
}

impl Object {
    /// Everything but the bytes.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The parts of a multipart object in order; empty for a plain PUT.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub async fn parts(&self) -> Result<Vec<PartInfo>, StoreError> {
        unimplemented!()
    }

    /// The bytes of a range within the content.
    pub fn read(&self, range: Range<u64>) -> ObjectReader {
        let _ = range;
        unimplemented!()
    }
}

/// A range of an object's content as verified pieces of at most 4 MiB, read ahead by one block.
pub struct ObjectReader {}

impl ObjectReader {
    /// The next bytes; `None` after the last. After an error the response must be cut off.
    ///
    /// # Errors
    /// A block is missing or damaged.
    pub async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        unimplemented!()
    }
}

impl Store {
    /// Opens the current version of an object, or the one named.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `DeleteMarker`.
    pub async fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Object, StoreError> {
        let _ = (bucket, key, version);
        unimplemented!()
    }
}
