//! A bucket: its name, its identity and its settings.

use serde::{Deserialize, Serialize};

use super::{AccessKeyId, BucketId, BucketName, Timestamp};

/// A bucket as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Names it in rows.
    pub id: BucketId,
    /// Names it to clients.
    pub name: BucketName,
    /// When it was created.
    pub created: Timestamp,
    /// The access key that created it; shown as its owner.
    pub owner: AccessKeyId,
    /// What people set on it.
    pub settings: BucketSettings,
}

/// What people set on a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Canned access control list.
    pub acl: BucketAcl,
    /// Bucket policy: the JSON a client put, checked by whoever put it.
    pub policy: Option<String>,
}

/// The canned access control lists that change anything here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketAcl {
    /// Only keys with a grant.
    #[default]
    Private,
    /// Anyone may read and list.
    PublicRead,
    /// Anyone may read, list and write.
    PublicReadWrite,
    /// Any access key of this mesh may read and list.
    AuthenticatedRead,
}
