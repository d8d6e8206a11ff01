//! What operations are called in S3: for metrics and logs.

use super::{BucketOperation, DefaultSetting, ObjectOperation, Operation, Setting, UnsetSetting};

impl Operation {
    /// All names in order, and what requests are called that are no operation.
    pub const NAMES: [&'static str; 74] = [
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "CopyObject",
        "CreateBucket",
        "CreateMultipartUpload",
        "DeleteBucket",
        "DeleteBucketCors",
        "DeleteBucketEncryption",
        "DeleteBucketLifecycle",
        "DeleteBucketOwnershipControls",
        "DeleteBucketPolicy",
        "DeleteBucketReplication",
        "DeleteBucketTagging",
        "DeleteBucketWebsite",
        "DeleteObject",
        "DeleteObjectTagging",
        "DeleteObjects",
        "DeletePublicAccessBlock",
        "GetBucketAccelerateConfiguration",
        "GetBucketAcl",
        "GetBucketCors",
        "GetBucketEncryption",
        "GetBucketLifecycleConfiguration",
        "GetBucketLocation",
        "GetBucketLogging",
        "GetBucketNotificationConfiguration",
        "GetBucketOwnershipControls",
        "GetBucketPolicy",
        "GetBucketPolicyStatus",
        "GetBucketReplication",
        "GetBucketRequestPayment",
        "GetBucketTagging",
        "GetBucketVersioning",
        "GetBucketWebsite",
        "GetObject",
        "GetObjectAcl",
        "GetObjectAttributes",
        "GetObjectLegalHold",
        "GetObjectLockConfiguration",
        "GetObjectRetention",
        "GetObjectTagging",
        "GetPublicAccessBlock",
        "HeadBucket",
        "HeadObject",
        "ListBuckets",
        "ListMultipartUploads",
        "ListObjectVersions",
        "ListObjects",
        "ListObjectsV2",
        "ListParts",
        "PostObject",
        "Preflight",
        "PutBucketAcl",
        "PutBucketCors",
        "PutBucketEncryption",
        "PutBucketLifecycleConfiguration",
        "PutBucketLogging",
        "PutBucketNotificationConfiguration",
        "PutBucketOwnershipControls",
        "PutBucketPolicy",
        "PutBucketTagging",
        "PutBucketVersioning",
        "PutBucketWebsite",
        "PutObject",
        "PutObjectAcl",
        "PutObjectLegalHold",
        "PutObjectLockConfiguration",
        "PutObjectRetention",
        "PutObjectTagging",
        "PutPublicAccessBlock",
        "Unknown",
        "UploadPart",
        "UploadPartCopy",
        "Website",
    ];

    /// Its name in S3, which is among [`Self::NAMES`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::CreateBucket(_) => "CreateBucket",
            Self::Bucket(_, operation) => operation.name(),
            Self::Object(_, _, operation) => operation.name(),
        }
    }
}

impl BucketOperation {
    /// Its name in S3.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HeadBucket => "HeadBucket",
            Self::DeleteBucket => "DeleteBucket",
            Self::GetBucketLocation => "GetBucketLocation",
            Self::ListObjects => "ListObjects",
            Self::ListObjectsV2 => "ListObjectsV2",
            Self::ListObjectVersions => "ListObjectVersions",
            Self::ListMultipartUploads => "ListMultipartUploads",
            Self::DeleteObjects => "DeleteObjects",
            Self::PostObject => "PostObject",
            Self::GetBucketVersioning => "GetBucketVersioning",
            Self::PutBucketVersioning => "PutBucketVersioning",
            Self::GetObjectLockConfiguration => "GetObjectLockConfiguration",
            Self::PutObjectLockConfiguration => "PutObjectLockConfiguration",
            Self::GetBucketAcl => "GetBucketAcl",
            Self::PutBucketAcl => "PutBucketAcl",
            Self::GetBucketPolicy => "GetBucketPolicy",
            Self::PutBucketPolicy => "PutBucketPolicy",
            Self::DeleteBucketPolicy => "DeleteBucketPolicy",
            Self::GetBucketPolicyStatus => "GetBucketPolicyStatus",
            Self::GetBucketNotificationConfiguration => "GetBucketNotificationConfiguration",
            Self::PutBucketNotificationConfiguration => "PutBucketNotificationConfiguration",
            Self::GetBucketLogging => "GetBucketLogging",
            Self::PutBucketLogging => "PutBucketLogging",
            Self::GetSetting(setting) => setting.names().0,
            Self::PutSetting(setting) => setting.names().1,
            Self::DeleteSetting(setting) => setting.names().2,
            Self::GetDefault(setting) => match setting {
                DefaultSetting::Accelerate => "GetBucketAccelerateConfiguration",
                DefaultSetting::RequestPayment => "GetBucketRequestPayment",
            },
            Self::GetUnset(UnsetSetting::Replication) => "GetBucketReplication",
            Self::DeleteUnset(UnsetSetting::Replication) => "DeleteBucketReplication",
            Self::Preflight => "Preflight",
        }
    }
}

impl Setting {
    /// What reading, putting and removing it is called.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Cors => ("GetBucketCors", "PutBucketCors", "DeleteBucketCors"),
            Self::Tagging => ("GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging"),
            Self::PublicAccessBlock => (
                "GetPublicAccessBlock",
                "PutPublicAccessBlock",
                "DeletePublicAccessBlock",
            ),
            Self::OwnershipControls => (
                "GetBucketOwnershipControls",
                "PutBucketOwnershipControls",
                "DeleteBucketOwnershipControls",
            ),
            Self::Encryption => (
                "GetBucketEncryption",
                "PutBucketEncryption",
                "DeleteBucketEncryption",
            ),
            Self::Lifecycle => (
                "GetBucketLifecycleConfiguration",
                "PutBucketLifecycleConfiguration",
                "DeleteBucketLifecycle",
            ),
            Self::Website => ("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite"),
        }
    }
}

impl ObjectOperation {
    /// Its name in S3.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GetObject => "GetObject",
            Self::HeadObject => "HeadObject",
            Self::PutObject => "PutObject",
            Self::CopyObject => "CopyObject",
            Self::DeleteObject => "DeleteObject",
            Self::CreateMultipartUpload => "CreateMultipartUpload",
            Self::UploadPart => "UploadPart",
            Self::UploadPartCopy => "UploadPartCopy",
            Self::CompleteMultipartUpload => "CompleteMultipartUpload",
            Self::AbortMultipartUpload => "AbortMultipartUpload",
            Self::ListParts => "ListParts",
            Self::GetObjectAcl => "GetObjectAcl",
            Self::PutObjectAcl => "PutObjectAcl",
            Self::GetObjectTagging => "GetObjectTagging",
            Self::PutObjectTagging => "PutObjectTagging",
            Self::DeleteObjectTagging => "DeleteObjectTagging",
            Self::GetObjectRetention => "GetObjectRetention",
            Self::PutObjectRetention => "PutObjectRetention",
            Self::GetObjectLegalHold => "GetObjectLegalHold",
            Self::PutObjectLegalHold => "PutObjectLegalHold",
            Self::GetObjectAttributes => "GetObjectAttributes",
            Self::Preflight => "Preflight",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_without_a_repetition() {
        assert!(Operation::NAMES.is_sorted_by(|one, next| one < next));
    }
}
