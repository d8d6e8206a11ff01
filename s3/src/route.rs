//! Decides which operation a request asks for; what Warren does not know, it never mistakes for another.

use http::{HeaderMap, Method};
use storage::model::{BucketName, ObjectKey};

use crate::error::{S3Code, S3Error, S3Result};
use crate::uri::{Address, Query};

mod listed;
mod names;
mod sub_resource;

use listed::listed;
use sub_resource::SubResource;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `GET /`.
    ListBuckets,
    /// `PUT /bucket`.
    CreateBucket(BucketName),
    /// Something with a bucket that is there.
    Bucket(BucketName, BucketOperation),
    /// Something with an object.
    Object(BucketName, ObjectKey, ObjectOperation),
}

listed! {
    /// What can be asked that is about no bucket that is there. The names are those of the S3 API.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the names are those of S3")]
    pub enum ServiceOperation {
        ListBuckets,
        CreateBucket,
    }

    /// What can be asked of a bucket. The names are those of the S3 API.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the names are those of S3")]
    pub enum BucketOperation {
        HeadBucket,
        DeleteBucket,
        GetBucketLocation,
        ListObjects,
        ListObjectsV2,
        ListObjectVersions,
        ListMultipartUploads,
        DeleteObjects,
        PostObject,
        GetBucketVersioning,
        PutBucketVersioning,
        GetObjectLockConfiguration,
        PutObjectLockConfiguration,
        GetBucketAcl,
        PutBucketAcl,
        GetBucketPolicy,
        PutBucketPolicy,
        DeleteBucketPolicy,
        GetBucketPolicyStatus,
        GetBucketNotificationConfiguration,
        PutBucketNotificationConfiguration,
        GetBucketLogging,
        PutBucketLogging,
        /// Reading a setting that has a document of its own.
        GetSetting(Setting),
        /// Putting one.
        PutSetting(Setting),
        /// Removing one.
        DeleteSetting(Setting),
        /// A setting that answers with what holds where nobody sets it.
        GetDefault(DefaultSetting),
        /// A setting that no bucket has yet.
        GetUnset(UnsetSetting),
        /// Removing a setting that no bucket has yet.
        DeleteUnset(UnsetSetting),
        /// A browser asks whether it may.
        Preflight,
    }

    /// Settings of a bucket that are put as a document and read back as one.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the names are those of S3")]
    pub enum Setting {
        Cors,
        Tagging,
        PublicAccessBlock,
        OwnershipControls,
        Encryption,
        Lifecycle,
        Website,
    }

    /// Settings of a bucket that cannot be changed and answer with their default.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the names are those of S3")]
    pub enum DefaultSetting {
        Accelerate,
        RequestPayment,
    }

    /// Settings of a bucket that cannot be set yet and answer with their own 404.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the names are those of S3")]
    pub enum UnsetSetting {
        Replication,
    }

    /// What can be asked of an object. The names are those of the S3 API.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the names are those of S3")]
    pub enum ObjectOperation {
        GetObject,
        HeadObject,
        PutObject,
        CopyObject,
        DeleteObject,
        CreateMultipartUpload,
        UploadPart,
        UploadPartCopy,
        CompleteMultipartUpload,
        AbortMultipartUpload,
        ListParts,
        GetObjectAcl,
        PutObjectAcl,
        GetObjectTagging,
        PutObjectTagging,
        DeleteObjectTagging,
        GetObjectRetention,
        PutObjectRetention,
        GetObjectLegalHold,
        PutObjectLegalHold,
        GetObjectAttributes,
        /// A browser asks whether it may.
        Preflight,
    }
}

impl Operation {
    /// What is asked of the service itself; nothing where it is about a bucket that is there.
    pub const fn service(&self) -> Option<ServiceOperation> {
        match self {
            Self::ListBuckets => Some(ServiceOperation::ListBuckets),
            Self::CreateBucket(_) => Some(ServiceOperation::CreateBucket),
            Self::Bucket(..) | Self::Object(..) => None,
        }
    }
}

/// Decides what is asked for.
///
/// # Errors
/// `NotImplemented` for what S3 or Warren does not know, `MethodNotAllowed`, `InvalidArgument` for
/// parameters that contradict each other.
pub fn route(method: &Method, address: Address, query: &Query, headers: &HeaderMap) -> S3Result<Operation> {
    if method == Method::OPTIONS {
        return preflight(address);
    }
    let about = SubResource::in_query(query)?;
    match address {
        Address::Service => match (method, about) {
            (&Method::GET, SubResource::Nothing) if !lists_a_bucket(query) => Ok(Operation::ListBuckets),
            // Answered with a list of buckets, such a client would take its bucket for empty.
            (&Method::GET, _) => Err(S3Error::invalid_request(
                "This request is about a bucket, but neither its path nor its host name names one. Have the client \
                 address buckets by path, or set `s3.domains` of the server to the domain of your endpoint.",
            )),
            _ => Err(S3Error::new(S3Code::MethodNotAllowed)),
        },
        Address::Bucket(bucket) if method == Method::PUT && about == SubResource::Nothing => {
            Ok(Operation::CreateBucket(bucket))
        }
        Address::Bucket(bucket) => {
            let version_2 = query.get("list-type") == Some("2");
            Ok(Operation::Bucket(
                bucket,
                bucket_operation(method, about, version_2)?,
            ))
        }
        Address::Object(bucket, key) => {
            let part = query.has("partNumber");
            let copies = headers.contains_key("x-amz-copy-source");
            if query.has("versionId")
                && matches!(*method, Method::PUT | Method::POST)
                && !about.is_of_a_version()
            {
                return Err(S3Error::invalid_argument(
                    "versionId",
                    "",
                    "This operation does not accept a version-id.",
                ));
            }
            Ok(Operation::Object(
                bucket,
                key,
                object_operation(method, about, part, copies)?,
            ))
        }
    }
}

/// Whether a query has parameters that only a listing of objects has.
fn lists_a_bucket(query: &Query) -> bool {
    [
        "list-type",
        "delimiter",
        "marker",
        "max-keys",
        "start-after",
        "fetch-owner",
    ]
    .into_iter()
    .any(|name| query.has(name))
}

fn preflight(address: Address) -> S3Result<Operation> {
    match address {
        Address::Service => Err(S3Error::new(S3Code::MethodNotAllowed)),
        Address::Bucket(bucket) => Ok(Operation::Bucket(bucket, BucketOperation::Preflight)),
        Address::Object(bucket, key) => Ok(Operation::Object(bucket, key, ObjectOperation::Preflight)),
    }
}

fn bucket_operation(method: &Method, about: SubResource, version_2: bool) -> S3Result<BucketOperation> {
    use BucketOperation as Op;
    use SubResource as About;
    Ok(match (method, about) {
        (&Method::GET, About::Nothing) if version_2 => Op::ListObjectsV2,
        (&Method::GET, About::Nothing) => Op::ListObjects,
        (&Method::HEAD, About::Nothing) => Op::HeadBucket,
        (&Method::DELETE, About::Nothing) => Op::DeleteBucket,
        (&Method::POST, About::Nothing) => Op::PostObject,
        (&Method::POST, About::Delete) => Op::DeleteObjects,
        (&Method::GET, About::Acl) => Op::GetBucketAcl,
        (&Method::PUT, About::Acl) => Op::PutBucketAcl,
        (&Method::GET, About::Location) => Op::GetBucketLocation,
        (&Method::GET, About::Policy) => Op::GetBucketPolicy,
        (&Method::PUT, About::Policy) => Op::PutBucketPolicy,
        (&Method::DELETE, About::Policy) => Op::DeleteBucketPolicy,
        (&Method::GET, About::PolicyStatus) => Op::GetBucketPolicyStatus,
        (&Method::GET, About::Notification) => Op::GetBucketNotificationConfiguration,
        (&Method::PUT, About::Notification) => Op::PutBucketNotificationConfiguration,
        (&Method::GET, About::Logging) => Op::GetBucketLogging,
        (&Method::PUT, About::Logging) => Op::PutBucketLogging,
        (&Method::GET, About::Uploads) => Op::ListMultipartUploads,
        (&Method::GET, About::Versioning) => Op::GetBucketVersioning,
        (&Method::PUT, About::Versioning) => Op::PutBucketVersioning,
        (&Method::GET, About::Versions) => Op::ListObjectVersions,
        (&Method::GET, About::ObjectLock) => Op::GetObjectLockConfiguration,
        (&Method::PUT, About::ObjectLock) => Op::PutObjectLockConfiguration,
        (&Method::GET, About::Default(setting)) => Op::GetDefault(setting),
        (&Method::GET, About::Unset(setting)) => Op::GetUnset(setting),
        (&Method::DELETE, About::Unset(setting)) => Op::DeleteUnset(setting),
        (&Method::GET, About::Setting(setting)) => Op::GetSetting(setting),
        (&Method::PUT, About::Setting(setting)) => Op::PutSetting(setting),
        (&Method::DELETE, About::Setting(setting)) => Op::DeleteSetting(setting),
        (&Method::GET, About::Tagging) => Op::GetSetting(Setting::Tagging),
        (&Method::PUT, About::Tagging) => Op::PutSetting(Setting::Tagging),
        (&Method::DELETE, About::Tagging) => Op::DeleteSetting(Setting::Tagging),
        (_, About::Unset(_) | About::Default(_)) => {
            return Err(S3Error::not_implemented(
                "This setting of a bucket cannot be changed yet.",
            ));
        }
        _ => return Err(S3Error::new(S3Code::MethodNotAllowed)),
    })
}

fn object_operation(
    method: &Method,
    about: SubResource,
    part: bool,
    copies: bool,
) -> S3Result<ObjectOperation> {
    use ObjectOperation as Op;
    use SubResource as About;
    Ok(match (method, about, part) {
        (&Method::GET, About::Nothing, _) => Op::GetObject,
        (&Method::HEAD, About::Nothing, _) => Op::HeadObject,
        (&Method::DELETE, About::Nothing, false) => Op::DeleteObject,
        (&Method::PUT, About::Nothing, false) if copies => Op::CopyObject,
        (&Method::PUT, About::Nothing, false) => Op::PutObject,
        (&Method::PUT, About::Upload, true) if copies => Op::UploadPartCopy,
        (&Method::PUT, About::Upload, true) => Op::UploadPart,
        (&Method::PUT, About::Nothing, true) | (&Method::PUT, About::Upload, false) => {
            return Err(S3Error::invalid_argument(
                "partNumber",
                "",
                "uploadId and partNumber come together.",
            ));
        }
        (&Method::POST, About::Uploads, _) => Op::CreateMultipartUpload,
        (&Method::POST, About::Upload, _) => Op::CompleteMultipartUpload,
        (&Method::DELETE, About::Upload, _) => Op::AbortMultipartUpload,
        (&Method::GET, About::Upload, _) => Op::ListParts,
        (&Method::GET, About::Acl, _) => Op::GetObjectAcl,
        (&Method::PUT, About::Acl, _) => Op::PutObjectAcl,
        (&Method::GET, About::Tagging, _) => Op::GetObjectTagging,
        (&Method::PUT, About::Tagging, _) => Op::PutObjectTagging,
        (&Method::DELETE, About::Tagging, _) => Op::DeleteObjectTagging,
        (&Method::GET, About::Retention, _) => Op::GetObjectRetention,
        (&Method::PUT, About::Retention, _) => Op::PutObjectRetention,
        (&Method::GET, About::LegalHold, _) => Op::GetObjectLegalHold,
        (&Method::PUT, About::LegalHold, _) => Op::PutObjectLegalHold,
        (&Method::GET, About::Attributes, _) => Op::GetObjectAttributes,
        _ => return Err(S3Error::new(S3Code::MethodNotAllowed)),
    })
}

#[cfg(test)]
mod tests {
    use super::sub_resource::UNKNOWN;
    use super::*;

    /// Routes e.g. `PUT /b/k?acl` and prints the operation or the error code.
    fn outcome(line: &str, copies: bool) -> String {
        let (method, rest) = line.split_once(" /").unwrap();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let bucket = || BucketName::parse("bucket").unwrap();
        let address = match path {
            "" => Address::Service,
            "b" => Address::Bucket(bucket()),
            _ => Address::Object(bucket(), ObjectKey::parse(b"k").unwrap()),
        };
        let query = Query::parse(Some(query)).unwrap();
        let mut headers = HeaderMap::new();
        if copies {
            headers.insert("x-amz-copy-source", http::HeaderValue::from_static("b/k"));
        }
        match route(&method.parse().unwrap(), address, &query, &headers) {
            Ok(Operation::ListBuckets) => "ListBuckets".into(),
            Ok(Operation::CreateBucket(_)) => "CreateBucket".into(),
            Ok(Operation::Bucket(_, operation)) => format!("{operation:?}"),
            Ok(Operation::Object(_, _, operation)) => format!("{operation:?}"),
            Err(error) => error.code().as_str().into(),
        }
    }

    fn check(line: &str, expected: &str) {
        assert_eq!(outcome(line, false), expected, "{line}");
    }

    #[test]
    fn every_operation_on_buckets_has_one_form() {
        check("GET /", "ListBuckets");
        check("PUT /", "MethodNotAllowed");
        check("GET /?x-id=ListBuckets&prefix=p&max-buckets=5", "ListBuckets");
        for listing in [
            "list-type=2",
            "delimiter=%2F",
            "marker=",
            "max-keys=5&prefix=a",
            "versions",
            "uploads",
        ] {
            check(&format!("GET /?{listing}"), "InvalidRequest");
        }
        check("PUT /b", "CreateBucket");
        check("HEAD /b", "HeadBucket");
        check("DELETE /b", "DeleteBucket");
        check("GET /b", "ListObjects");
        check("GET /b?prefix=&delimiter=%2F&marker=", "ListObjects");
        check("GET /b?list-type=2&prefix=&continuation-token=", "ListObjectsV2");
        check("GET /b?versions&prefix=", "ListObjectVersions");
        check("GET /b?uploads=&prefix=x", "ListMultipartUploads");
        check("GET /b?location", "GetBucketLocation");
        check("POST /b?delete=", "DeleteObjects");
        check("POST /b", "PostObject");
        check("GET /b?versioning", "GetBucketVersioning");
        check("PUT /b?versioning", "PutBucketVersioning");
        check("GET /b?object-lock", "GetObjectLockConfiguration");
        check("PUT /b?object-lock", "PutObjectLockConfiguration");
        check("DELETE /b?object-lock", "MethodNotAllowed");
        check("GET /b?acl", "GetBucketAcl");
        check("PUT /b?acl", "PutBucketAcl");
        check("GET /b?policy", "GetBucketPolicy");
        check("PUT /b?policy", "PutBucketPolicy");
        check("DELETE /b?policy", "DeleteBucketPolicy");
        check("GET /b?policyStatus", "GetBucketPolicyStatus");
        check("GET /b?notification", "GetBucketNotificationConfiguration");
        check("PUT /b?notification", "PutBucketNotificationConfiguration");
        check("DELETE /b?notification", "MethodNotAllowed");
        check("GET /b?logging", "GetBucketLogging");
        check("PUT /b?logging", "PutBucketLogging");
        check("DELETE /b?logging", "MethodNotAllowed");
        check("OPTIONS /b", "Preflight");
        check("DELETE /b?acl", "MethodNotAllowed");
    }

    #[test]
    fn a_setting_can_be_read_but_not_written() {
        for name in ["accelerate", "requestPayment"] {
            assert!(
                outcome(&format!("GET /b?{name}"), false).starts_with("GetDefault("),
                "{name}"
            );
            check(&format!("PUT /b?{name}"), "NotImplemented");
        }
        assert!(outcome("GET /b?replication", false).starts_with("GetUnset("));
        assert!(outcome("DELETE /b?replication=", false).starts_with("DeleteUnset("));
        check("PUT /b?replication", "NotImplemented");
    }

    #[test]
    fn a_setting_with_a_document_is_read_put_and_deleted() {
        for (name, setting) in [
            ("cors", "Cors"),
            ("tagging", "Tagging"),
            ("encryption", "Encryption"),
            ("lifecycle", "Lifecycle"),
            ("publicAccessBlock", "PublicAccessBlock"),
            ("ownershipControls", "OwnershipControls"),
            ("website", "Website"),
        ] {
            check(&format!("GET /b?{name}"), &format!("GetSetting({setting})"));
            check(&format!("PUT /b?{name}="), &format!("PutSetting({setting})"));
            check(&format!("DELETE /b?{name}"), &format!("DeleteSetting({setting})"));
            check(&format!("POST /b?{name}"), "MethodNotAllowed");
        }
    }

    #[test]
    fn every_operation_on_objects_has_one_form() {
        check("GET /b/k", "GetObject");
        check("GET /b/k?partNumber=1&versionId=null&x-id=GetObject", "GetObject");
        check("HEAD /b/k", "HeadObject");
        check("PUT /b/k", "PutObject");
        check("DELETE /b/k?versionId=null", "DeleteObject");
        check("POST /b/k?uploads", "CreateMultipartUpload");
        check("PUT /b/k?partNumber=1&uploadId=x", "UploadPart");
        check("POST /b/k?uploadId=x", "CompleteMultipartUpload");
        check("DELETE /b/k?uploadId=x", "AbortMultipartUpload");
        check("GET /b/k?uploadId=x&max-parts=5", "ListParts");
        check("GET /b/k?acl", "GetObjectAcl");
        check("PUT /b/k?acl", "PutObjectAcl");
        check("GET /b/k?tagging", "GetObjectTagging");
        check("PUT /b/k?tagging&versionId=null", "PutObjectTagging");
        check("DELETE /b/k?tagging", "DeleteObjectTagging");
        check("GET /b/k?retention", "GetObjectRetention");
        check("PUT /b/k?retention&versionId=null", "PutObjectRetention");
        check("GET /b/k?legal-hold", "GetObjectLegalHold");
        check("PUT /b/k?legal-hold&versionId=null", "PutObjectLegalHold");
        check("DELETE /b/k?retention", "MethodNotAllowed");
        check("GET /b/k?attributes", "GetObjectAttributes");
        check("PUT /b/k?versionId=null", "InvalidArgument");
        check("OPTIONS /b/k", "Preflight");
        assert_eq!(outcome("PUT /b/k", true), "CopyObject");
        assert_eq!(
            outcome("PUT /b/k?uploadId=x&partNumber=1", true),
            "UploadPartCopy"
        );
        check("POST /b/k", "MethodNotAllowed");
    }

    #[test]
    fn what_is_not_known_never_becomes_a_get_or_a_put() {
        for name in UNKNOWN.into_iter().chain(["inventedTomorrow", "annotations"]) {
            for method in ["GET", "PUT", "POST", "DELETE", "HEAD"] {
                check(&format!("{method} /b?{name}"), "NotImplemented");
                check(&format!("{method} /b/k?{name}"), "NotImplemented");
            }
        }
        check("GET /b?inventory&id=1", "NotImplemented");
        check("POST /b/k?select&select-type=2", "NotImplemented");
        check("PATCH /b/k", "MethodNotAllowed");
    }

    #[test]
    fn parameters_that_contradict_each_other_are_refused() {
        check("GET /b?acl&policy", "InvalidArgument");
        check("PUT /b/k?partNumber=1", "InvalidArgument");
        check("PUT /b/k?uploadId=x", "InvalidArgument");
        check("PUT /b/k?versionId=null", "InvalidArgument");
        check("GET /b/k?170000000", "GetObject");
        check("GET /b/k?v=3", "GetObject");
    }
}
