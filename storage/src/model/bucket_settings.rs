//! What people set on a bucket beside its ACL and policy, in the words of S3's documents.

use serde::{Deserialize, Serialize};

use super::{BucketId, BucketName};

/// Which pages of other origins may use a bucket from a browser. Source: AWS S3 API reference, `CORSRule`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// What people call it; at most 255 characters.
    pub id: Option<String>,
    /// Origins, each with at most one `*`; at least one.
    pub origins: Vec<String>,
    /// Methods; at least one.
    pub methods: Vec<CorsMethod>,
    /// Names of request headers, each with at most one `*`; case means nothing.
    pub headers: Vec<String>,
    /// Names of response headers that a page may read.
    pub exposed: Vec<String>,
    /// How long a browser may remember the answer, in seconds.
    pub max_age_secs: Option<u32>,
}

/// A method that a CORS rule may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of HTTP")]
pub enum CorsMethod {
    Get,
    Put,
    Post,
    Delete,
    Head,
}

impl CorsMethod {
    /// Its name in HTTP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Head => "HEAD",
        }
    }

    /// Reads [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Get, Self::Put, Self::Post, Self::Delete, Self::Head]
            .into_iter()
            .find(|method| method.name() == name)
    }
}

/// What a bucket never lets the public have, whatever its ACL and policy say.
/// Source: AWS S3 user guide, "Blocking public access to your Amazon S3 storage".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// Refuse requests that would set a public ACL.
    pub block_acls: bool,
    /// Grant nothing by a public ACL.
    pub ignore_acls: bool,
    /// Refuse a public policy.
    pub block_policy: bool,
    /// Let a public policy allow things only to keys that have a grant on the bucket.
    pub restrict_policy: bool,
}

/// Whether ACLs mean anything in a bucket. Objects belong to the bucket's owner either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectOwnership {
    /// They do not, and requests that set one are refused.
    BucketOwnerEnforced,
    /// They do.
    BucketOwnerPreferred,
}

impl ObjectOwnership {
    /// Its name in S3.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BucketOwnerEnforced => "BucketOwnerEnforced",
            Self::BucketOwnerPreferred => "BucketOwnerPreferred",
        }
    }

    /// Reads [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::BucketOwnerEnforced, Self::BucketOwnerPreferred]
            .into_iter()
            .find(|ownership| ownership.name() == name)
    }
}

/// Where the access logs of a bucket go. Source: AWS S3 API reference, `LoggingEnabled`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BucketLogging {
    /// The bucket that takes them: this very one, not a later one of the same name.
    pub target: BucketId,
    /// What it was called when that was said.
    pub target_name: BucketName,
    /// What the keys of logs begin with.
    pub prefix: String,
}

/// The default encryption a client asked for: S3's own, `AES256`. Everything is encrypted with or without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketEncryption {
    /// `BucketKeyEnabled`, which changes nothing where no KMS is asked; read back as it was put.
    pub bucket_key: Option<bool>,
}
