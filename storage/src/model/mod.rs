//! The words of the store as types: a value that exists is valid.

mod access_key;
mod bucket;
mod checksum;
mod condition;
mod etag;
mod member;
mod names;
mod object;
pub(crate) mod row_key;
pub(crate) mod summary;
mod time;
mod upload;

pub use access_key::{AccessKey, AccessKeyId, Grants, KeyName, SecretKey};
pub use bucket::{Bucket, BucketAcl, BucketSettings};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumValue, InvalidChecksum};
pub use condition::{ETagMatch, ReadConditions, ReadRefusal, WriteCondition, WriteRefusal};
pub use etag::{ETag, InvalidETag};
pub use member::MemberId;
pub use names::{
    BucketId, BucketName, InvalidBucketName, InvalidKey, InvalidPartNumber, InvalidVersionId, ObjectKey,
    PartNumber, UploadId, VersionId, WriteId,
};
pub(crate) use object::Changed;
pub use object::{
    BlockId, BlockRef, Content, Extent, Manifest, ObjectHeaders, ObjectRow, PartInfo, SealedVersion,
    StorageClass, VersionDetails, VersionFacts,
};
pub use time::Timestamp;
pub use upload::{PartRow, UploadRow, UploadState};
