//! What operations are called in S3: for metrics and logs.

use super::{
    BucketOperation, DefaultSetting, ObjectOperation, Operation, ServiceOperation, Setting, UnsetSetting,
};

impl Operation {
    /// All names in order.
    pub fn names() -> Vec<&'static str> {
        let service = ServiceOperation::all().into_iter().map(ServiceOperation::name);
        let bucket = BucketOperation::all().into_iter().map(BucketOperation::name);
        let object = ObjectOperation::all().into_iter().map(ObjectOperation::name);
        let mut names: Vec<_> = service.chain(bucket).chain(object).collect();
        names.sort_unstable();
        // A browser that asks before it does is answered alike for buckets and objects.
        names.dedup();
        names
    }

    /// Its name in S3, which is among [`Self::names`].
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ListBuckets => ServiceOperation::ListBuckets.name(),
            Self::CreateBucket(_) => ServiceOperation::CreateBucket.name(),
            Self::Bucket(_, operation) => operation.name(),
            Self::Object(_, _, operation) => operation.name(),
        }
    }
}

impl ServiceOperation {
    /// Its name in S3.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListBuckets => "ListBuckets",
            Self::CreateBucket => "CreateBucket",
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
    fn every_operation_has_a_name_of_its_own() {
        let all = ServiceOperation::all().len() + BucketOperation::all().len() + ObjectOperation::all().len();
        // But for the preflight, which both buckets and objects have.
        assert_eq!(Operation::names().len(), all - 1);
        assert!(BucketOperation::all().contains(&BucketOperation::DeleteSetting(Setting::Website)));
    }
}
