//! Lists objects, versions and uploads in UTF-8 byte order, a page at a time.

use crate::model::{
    AccessKeyId, Bucket, ChecksumAlgorithm, ETag, ObjectKey, StorageClass, Timestamp, UploadId, VersionId,
};
use crate::{Store, StoreError};

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct ListObjects {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys with this text after the prefix are rolled up into one common prefix. Never empty.
    pub delimiter: Option<String>,
    /// Only keys (and common prefixes) after this; a common prefix skips its whole group.
    pub after: Option<String>,
    /// Keys plus common prefixes at most: 0–1000.
    pub max: usize,
}

/// A listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Bytes of content.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// When it committed.
    pub modified: Timestamp,
    /// Storage class.
    pub class: StorageClass,
    /// Checksum it carries.
    pub checksum: Option<ChecksumAlgorithm>,
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// In byte order.
    pub objects: Vec<ListedObject>,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: the key or common prefix to give as `after` for the next page.
    pub next: Option<String>,
}

/// Which versions to list.
#[derive(Clone, Debug, Default)]
pub struct ListVersions {
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListObjects`].
    pub delimiter: Option<String>,
    /// Only keys after this (or from this key, with `after_version`).
    pub after: Option<String>,
    /// Only versions of the key `after` that are older than this one.
    pub after_version: Option<VersionId>,
    /// At most: 0–1000.
    pub max: usize,
}

/// A listed version or delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// The object; meaningless but for key and time when `delete_marker`.
    pub object: ListedObject,
    /// Which version.
    pub version: VersionId,
    /// Whether it is the current one.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
}

/// A page of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// In byte order of the key, newest first within it.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: key and version to give as markers for the next page.
    pub next: Option<(String, Option<VersionId>)>,
}

/// Which unfinished uploads to list.
#[derive(Clone, Debug, Default)]
pub struct ListUploads {
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListObjects`].
    pub delimiter: Option<String>,
    /// Only keys after this (or from this key, with `after_upload`).
    pub after: Option<String>,
    /// Only uploads of the key `after` that come after this one.
    pub after_upload: Option<UploadId>,
    /// At most: 0–1000.
    pub max: usize,
}

/// A listed upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    /// Key of the object to be.
    pub key: ObjectKey,
    /// Its id.
    pub upload: UploadId,
    /// When it was started.
    pub started: Timestamp,
    /// Who started it.
    pub initiator: Option<AccessKeyId>,
    /// Storage class of the object to be.
    pub class: StorageClass,
    /// Checksum its parts carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// As in `NewUpload`.
    pub full_object: bool,
}

/// A page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// In byte order of the key, then of the id.
    pub uploads: Vec<ListedUpload>,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: markers for the next page.
    pub next: Option<(String, Option<UploadId>)>,
}

impl Store {
    /// A page of current objects.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_objects(&self, bucket: &Bucket, list: ListObjects) -> Result<ObjectPage, StoreError> {
        let _ = (bucket, list);
        unimplemented!()
    }

    /// A page of versions (`null` versions where versioning is off).
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_versions(
        &self,
        bucket: &Bucket,
        list: ListVersions,
    ) -> Result<VersionPage, StoreError> {
        let _ = (bucket, list);
        unimplemented!()
    }

    /// A page of unfinished uploads.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_uploads(&self, bucket: &Bucket, list: ListUploads) -> Result<UploadPage, StoreError> {
        let _ = (bucket, list);
        unimplemented!()
    }
}
