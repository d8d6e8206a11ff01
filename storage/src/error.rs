//! Why the store could not do what was asked.

use crate::disk::DiskError;
use crate::model::command::Refusal;
use crate::model::{InvalidPartNumber, MemberId, PartNumber, Quota, Usage};
use crate::objects::QuotaOf;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No bucket of that name.
    #[error("no such bucket")]
    NoSuchBucket,
    /// The bucket still holds objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The name is taken by a bucket the caller owns.
    #[error("the bucket exists already and is yours")]
    BucketAlreadyOwnedByYou,
    /// The name is taken by a bucket of somebody else.
    #[error("the bucket exists already")]
    BucketAlreadyExists,
    /// No current object under that key.
    #[error("no such object")]
    NoSuchKey,
    /// The key exists, the version does not.
    #[error("no such version")]
    NoSuchVersion,
    /// The current version (or the version asked for) is a delete marker.
    #[error("a delete marker stands there")]
    DeleteMarker {
        /// The marker's version.
        version: crate::model::VersionId,
        /// True when the version was named, false when it is the current one.
        named: bool,
        /// When it was made.
        modified: crate::model::Timestamp,
    },
    /// The version is locked: a retention or a legal hold keeps it.
    #[error("the version is locked")]
    Locked,
    /// The bucket's versioning or object lock excludes this.
    #[error("the state of the bucket excludes this: {0}")]
    BucketState(&'static str),
    /// The key has as many versions as its row has room for; removing some makes room.
    #[error("no room for another version of this key")]
    TooManyVersions,
    /// With what was to be written, more would be held than may be.
    #[error("the quota is exhausted: {quota:?}, and {held:?} is held")]
    QuotaExceeded {
        /// What the quota is of.
        of: QuotaOf,
        /// What may be held.
        quota: Quota,
        /// What is held now.
        held: Usage,
    },
    /// The key of a customer is missing, or given for what it does not open.
    #[error("the customer's key: {0:?}")]
    CustomerKey(KeyTrouble),
    /// No such upload, or it is finished or aborted.
    #[error("no such upload")]
    NoSuchUpload,
    /// A part named by a Complete is missing or has another tag or checksum.
    #[error("part {} is missing or differs", .0.get())]
    InvalidPart(PartNumber),
    /// A number that names no part.
    #[error(transparent)]
    InvalidPartNumber(#[from] InvalidPartNumber),
    /// The parts of a Complete are not in ascending order.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part that is not the last is smaller than 5 MiB.
    #[error("part {} has {size} bytes, fewer than 5 MiB", .number.get())]
    EntityTooSmall {
        /// Which part.
        number: PartNumber,
        /// Its size in bytes.
        size: u64,
    },
    /// More bytes than an object, a part or a field may have.
    #[error("too large: {size} bytes, at most {most}")]
    EntityTooLarge {
        /// Bytes offered.
        size: u64,
        /// Bytes allowed.
        most: u64,
    },
    /// The content does not have the digest the client claimed; nothing was stored.
    #[error("the content does not match the {0} given")]
    DigestMismatch(Digest),
    /// A Complete said another object size than its parts add up to.
    #[error("the parts add up to {actual} bytes, not {claimed}")]
    SizeMismatch {
        /// What the client said.
        claimed: u64,
        /// What the parts add up to.
        actual: u64,
    },
    /// A condition does not hold.
    #[error("a precondition does not hold")]
    PreconditionFailed,
    /// The client's body broke off or broke its own rules; the cause is the client's front.
    #[error("the body could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No access key of that id.
    #[error("no such access key")]
    NoSuchAccessKey,
    /// An access key of that id exists already.
    #[error("the access key exists already")]
    AccessKeyExists,
    /// The bucket is being changed in a way that excludes this; try again.
    #[error("a conflicting operation is in progress")]
    Conflict,
    /// The disk is too full for new blocks.
    #[error("the disk is full")]
    DiskFull,
    /// The store opened read-only because its disk lost acknowledged rows.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// Stored bytes do not verify; they were not served.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// It was sealed with keys that the mesh began to use and this node has not heard of yet; try again.
    #[error("sealed with keys of generation {0}, which have not reached this box yet")]
    KeysBehind(u32),
    /// The keys of the mesh cannot be used; the cause says what to do.
    #[error("the keys cannot be used")]
    Keys(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The local disk failed.
    #[error("local disk failed")]
    Disk(#[source] DiskError),
    /// Others took all the memory or all the files there are; try again later.
    #[error("too much at a time")]
    Busy,
    /// Too few members answered in time: whether it was done is not known. Try again.
    #[error("too few members of the mesh answer")]
    Unavailable,
    /// Nobody takes part in the mesh under that number.
    #[error("no such member")]
    NoSuchMember,
    /// A member cannot go yet: so many partitions would have no quorum without it.
    #[error("{partitions} partitions would have no quorum without this member")]
    StillNeeded {
        /// How many of the 257.
        partitions: usize,
    },
    /// A member cannot go yet: it has not handed over all that it holds.
    #[error("{references} references to blocks are still to be handed over by this member")]
    StillHolds {
        /// How many, counted up to 10,000.
        references: u32,
    },
    /// Nothing can be forced without a member that is connected.
    #[error("{member} is connected: it is not lost")]
    StillHere {
        /// That one.
        member: MemberId,
    },
    /// Nothing can be forced without some members while another is away as well: it may be needed, or lost too.
    #[error("{member} is away as well, and is not said to be lost")]
    AlsoAway {
        /// That one.
        member: MemberId,
    },
    /// Only a voter of the root partition can force an epoch.
    #[error("this box does not vote in the root partition")]
    NoVoteHere,
    /// The member does not answer, so that nobody knows what only it has.
    #[error("this member does not answer")]
    MemberAway,
    /// No such invite, or it was revoked.
    #[error("no such invite")]
    NoSuchInvite,
    /// Somebody else used the invite.
    #[error("the invite was used already")]
    InviteUsed,
    /// The invite is too old.
    #[error("the invite has expired")]
    InviteExpired,
    /// This member was away for so long that nobody knows any more what it missed.
    #[error("this member was away for too long: it has to join anew")]
    Outdated,
    /// The disk has forgotten what this member promised to the others: it has to take its place anew.
    #[error("{0}; the box has to take its place among the others anew")]
    Forgotten(crate::cluster::Forgotten),
    /// The store is shutting down.
    #[error("the store is shutting down")]
    Closed,
}

/// What is wrong about the key of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTrouble {
    /// The object is sealed with one, and none was given.
    Missing,
    /// The object is sealed with none.
    NotApplicable,
    /// The object is sealed with another.
    Wrong,
    /// A part, or the whole, of an upload comes with another key than the upload was started with, or one of them with none.
    NotOfUpload,
}

/// Which digest did not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// `Content-MD5`.
    Md5,
    /// `x-amz-content-sha256`.
    PayloadSha256,
    /// An `x-amz-checksum-*`.
    Checksum(crate::model::ChecksumAlgorithm),
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Md5 => f.write_str("Content-MD5"),
            Self::PayloadSha256 => f.write_str("x-amz-content-sha256"),
            Self::Checksum(algorithm) => write!(f, "x-amz-checksum-{}", algorithm.name().to_lowercase()),
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::PreconditionFailed | Refusal::RefusedBefore => Self::PreconditionFailed,
            Refusal::NoSuchKey => Self::NoSuchKey,
            Refusal::NoSuchUpload => Self::NoSuchUpload,
            Refusal::TooManyVersions => Self::TooManyVersions,
            Refusal::Locked => Self::Locked,
            Refusal::NoSuchBucket | Refusal::BucketClosed => Self::NoSuchBucket,
            Refusal::BucketExists(_) => Self::BucketAlreadyExists,
            Refusal::AccessKeyExists => Self::AccessKeyExists,
            Refusal::NoSuchAccessKey => Self::NoSuchAccessKey,
            Refusal::TooOld | Refusal::Crowded | Refusal::Archived(_) => Self::Busy,
            Refusal::PartsChanged
            | Refusal::UploadOpen
            | Refusal::VersionChanged
            | Refusal::BucketChanged(_)
            | Refusal::BucketOpen
            | Refusal::AccessKeyChanged(_)
            | Refusal::MeshChanged(_) => Self::Conflict,
        }
    }
}

impl From<DiskError> for StoreError {
    fn from(error: DiskError) -> Self {
        match error {
            DiskError::Full { .. } => Self::DiskFull,
            DiskError::FilesExhausted { .. } => Self::Busy,
            DiskError::ReadOnly(why) => Self::ReadOnly(why),
            DiskError::Damaged(what) => Self::Damaged(what),
            DiskError::Closed => Self::Closed,
            other => Self::Disk(other),
        }
    }
}
