//! The words of the store as types: a value that exists is valid.

mod access_key;
mod acl;
mod archive;
mod bucket;
mod bucket_settings;
mod checksum;
pub mod command;
mod condition;
mod etag;
mod invocation;
mod layout;
mod lifecycle;
mod lock;
mod member;
mod mesh;
mod names;
pub(crate) mod notification;
mod object;
mod object_row;
mod partition;
mod quota;
pub(crate) mod row_key;
pub(crate) mod summary;
mod time;
mod upload;
mod versioning;
mod website;

pub use access_key::{AccessKey, AccessKeyId, AccessKeyRow, Grants, KeyName, SecretKey};
pub use acl::{ACL_GRANTS_MAX, Acl, AclGrant, AclRights, Grantee, Permission};
pub use archive::{ArchiveRow, Archived, Folding};
pub use bucket::{Bucket, BucketRow, BucketSettings, BucketState, Granted};
pub use bucket_settings::{
    BucketEncryption, BucketLogging, CorsMethod, CorsRule, ObjectOwnership, PublicAccessBlock,
};
pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumValue, InvalidChecksum};
pub use condition::{ETagMatch, Likeness, ReadConditions, ReadRefusal, WriteCondition, WriteRefusal};
pub use etag::{ETag, InvalidETag};
pub use invocation::Invocation;
pub use layout::{LayoutChange, LayoutHistory, LayoutPolicy};
pub(crate) use lifecycle::{Due, day_of, due, may_be_due, upload_is_due};
pub use lifecycle::{Expiration, LifecycleFilter, LifecycleRule, NoncurrentExpiration, expiry};
pub use lock::{DefaultRetention, Lock, ObjectLock, Period, Retention, RetentionMode};
pub use member::{InvalidZone, MemberId, Role, Zone};
pub use mesh::{AuthorityRow, GenerationRow, InviteId, InviteRow, MemberRow, MeshKey, MeshRow, Redeemed};
pub use names::{
    ArchiveId, BucketId, BucketName, InvalidBucketName, InvalidKey, InvalidPartNumber, InvalidVersionId,
    InvocationId, KeySerial, ObjectKey, OpId, PartNumber, UploadId, VersionId, WriteId,
};
pub use notification::{Cause, EventKind, EventPattern, How, NotificationRule, ObjectEvent, Telling};
pub use object::{
    BlockId, BlockRef, Content, CustomerSeal, Extent, Manifest, ObjectHeaders, ObjectRow, PartInfo,
    SealedVersion, StorageClass, VersionDetails, VersionFacts,
};
pub use object_row::{Amendment, Marker};
pub(crate) use object_row::{Changed, Removed, Terms};
pub use partition::Partition;
pub use quota::{Quota, Usage};
pub use row_key::partition_of;
pub use time::Timestamp;
pub use upload::{Closing, Completed, PartRow, UploadRow, UploadState};
pub use versioning::{Keeping, Versioning};
pub use website::{Protocol, Replacement, RoutingRule, Website};
