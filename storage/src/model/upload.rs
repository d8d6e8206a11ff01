//! Multipart uploads and their parts as rows.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AccessKeyId, Checksum, ChecksumAlgorithm, ChecksumValue, ETag, Lock, PartNumber, StorageClass, Timestamp,
    UploadId, VersionId, WriteId,
};

/// What an upload became: the answer to its Complete, and to every repetition of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The tag of the object it became.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Its size in bytes.
    pub size: u64,
    /// When it committed.
    pub modified: Timestamp,
    /// Which version of the object it is, where versioning ever was on.
    pub version: Option<VersionId>,
}

/// An upload that became the object in whose row this stands, and whose own row may not say so yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Which upload.
    pub upload: UploadId,
    /// What its row is to say.
    pub completed: Completed,
}

/// How far an upload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    /// Parts may be added.
    Open,
    /// It became an object; kept for a while so that a retried Complete hears the same answer.
    Completed(Completed),
}

/// The row of one multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// When it was started.
    pub started: Timestamp,
    /// Who started it; `None` for an anonymous writer.
    pub initiator: Option<AccessKeyId>,
    /// Storage class of the object to be.
    pub class: StorageClass,
    /// Checksum the parts carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// True when the object is to carry a checksum over all its bytes, false for one over the parts'.
    pub full_object: bool,
    /// The lock of the object to be.
    pub lock: Lock,
    /// How far it has come.
    pub state: UploadState,
    /// Sealed CBOR of the [`ObjectHeaders`](super::ObjectHeaders) of the object to be.
    pub headers: Bytes,
}

/// The row of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Its number.
    pub number: PartNumber,
    /// Which attempt at this part: owner of its blocks.
    pub write: WriteId,
    /// When it committed.
    pub modified: Timestamp,
    /// Bytes of content.
    pub size: u64,
    /// MD5 of its content.
    pub etag: ETag,
    /// Its checksum, when it carries one.
    pub checksum: Option<ChecksumValue>,
    /// Sealed CBOR of its [`Content`](super::Content).
    pub content: Bytes,
}
