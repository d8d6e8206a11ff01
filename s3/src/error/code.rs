//! The error codes of S3 that this store gives, with their status and what they say.
//!
//! Source: AWS S3 API reference, "Error responses". `InsufficientStorage` (507) and `QuotaExceeded` (403, which clients do not
//! try again) are our own: S3 knows no full disk and no quota.

use http::StatusCode;

/// Declares [`S3Code`] from one table, so that a code cannot be without a status or a message.
macro_rules! codes {
    ($($code:ident $status:ident $message:literal,)*) => {
        /// An error code of S3. The variants carry the names clients compare with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum S3Code {
            $(#[doc = $message] $code,)*
        }

        impl S3Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// The name in the Code element.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)* }
            }

            /// The status it is answered with.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status,)* }
            }

            /// What it means in general, and what the caller can do.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$code => $message,)* }
            }
        }
    };
}

codes! {
    AccessControlListNotSupported BAD_REQUEST
        "The bucket does not allow ACLs.",
    AccessDenied FORBIDDEN
        "Access Denied. The access key has no grant for this operation.",
    AccessForbidden FORBIDDEN
        "Access forbidden. The CORS rules of the bucket do not allow this request.",
    AuthorizationHeaderMalformed BAD_REQUEST
        "The authorization header that you provided is not valid.",
    AuthorizationQueryParametersError BAD_REQUEST
        "The authorization query parameters that you provided are not valid.",
    BadDigest BAD_REQUEST
        "The content does not match the digest given with it. Nothing was stored; send it again.",
    BadRequest BAD_REQUEST
        "The request is not valid.",
    BucketAlreadyExists CONFLICT
        "The requested bucket name is not available. Select a different name and try again.",
    BucketAlreadyOwnedByYou CONFLICT
        "The bucket exists already and you own it.",
    BucketNotEmpty CONFLICT
        "The bucket you tried to delete is not empty. Delete its objects and versions first.",
    ConditionalRequestConflict CONFLICT
        "A conflicting operation occurred during this conditional request. Read the object again, then retry.",
    EntityTooLarge BAD_REQUEST
        "Your proposed upload exceeds the maximum allowed size.",
    EntityTooSmall BAD_REQUEST
        "Your proposed upload is smaller than the minimum allowed size. Every part but the last has at least 5 MiB.",
    IncompleteBody BAD_REQUEST
        "You did not provide the number of bytes that the request announced. Nothing was stored; send it again.",
    InsufficientStorage INSUFFICIENT_STORAGE
        "The disk is too full for new data. Delete something or add a disk.",
    InternalError INTERNAL_SERVER_ERROR
        "We encountered an internal error. Please try again.",
    InvalidAccessKeyId FORBIDDEN
        "The access key id you provided does not exist here.",
    InvalidArgument BAD_REQUEST
        "Invalid argument.",
    InvalidBucketAclWithObjectOwnership BAD_REQUEST
        "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting. Make its ACL private first.",
    InvalidBucketName BAD_REQUEST
        "The specified bucket is not valid.",
    InvalidBucketState CONFLICT
        "The request is not valid for the current state of the bucket.",
    InvalidDigest BAD_REQUEST
        "The Content-MD5 you specified is not valid: it is the base64 of 16 bytes.",
    InvalidEncryptionAlgorithmError BAD_REQUEST
        "The encryption request you specified is not valid. The valid value is AES256.",
    InvalidPart BAD_REQUEST
        "One or more of the specified parts could not be found, or its entity tag or checksum differs.",
    InvalidPartOrder BAD_REQUEST
        "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
    InvalidPolicyDocument BAD_REQUEST
        "The content of the form does not meet the conditions specified in the policy document.",
    InvalidRange RANGE_NOT_SATISFIABLE
        "The requested range is not satisfiable.",
    InvalidRequest BAD_REQUEST
        "Invalid request.",
    InvalidStorageClass BAD_REQUEST
        "The storage class you specified is not valid.",
    InvalidTargetBucketForLogging BAD_REQUEST
        "The target bucket for logging does not exist, is not owned by you, or belongs to another owner.",
    InvalidTag BAD_REQUEST
        "The tag provided was not a valid tag.",
    InvalidToken BAD_REQUEST
        "The provided token is not valid here: this store gives no temporary credentials.",
    InvalidURI BAD_REQUEST
        "The specified URI could not be parsed.",
    KeyTooLongError BAD_REQUEST
        "Your key is too long. A key has at most 1024 bytes.",
    MalformedACLError BAD_REQUEST
        "The ACL that you provided was not well formed or did not validate against our published schema.",
    MalformedPOSTRequest BAD_REQUEST
        "The body of your POST request is not well-formed multipart/form-data.",
    MalformedPolicy BAD_REQUEST
        "The policy that you provided is not valid.",
    MalformedTrailerError BAD_REQUEST
        "The request contained trailing data that was not well-formed or was not announced in x-amz-trailer.",
    MalformedXML BAD_REQUEST
        "The XML that you provided was not well formed or did not validate against our published schema.",
    MaxMessageLengthExceeded BAD_REQUEST
        "Your request was too large.",
    MaxPostPreDataLengthExceededError BAD_REQUEST
        "Your POST request fields preceding the upload file were too large.",
    MaxVersionsExceeded BAD_REQUEST
        "This key has as many versions as one key can have here. Delete some of them, then try again.",
    MetadataTooLarge BAD_REQUEST
        "Your metadata headers exceed the maximum allowed metadata size of 2 KB.",
    MethodNotAllowed METHOD_NOT_ALLOWED
        "The specified method is not allowed against this resource.",
    MissingContentLength LENGTH_REQUIRED
        "You must provide the Content-Length HTTP header (and x-amz-decoded-content-length for aws-chunked).",
    MissingSecurityHeader BAD_REQUEST
        "Your request is missing a required header.",
    NoSuchBucket NOT_FOUND
        "The specified bucket does not exist.",
    NoSuchBucketPolicy NOT_FOUND
        "The bucket policy does not exist.",
    NoSuchCORSConfiguration NOT_FOUND
        "The CORS configuration does not exist.",
    NoSuchKey NOT_FOUND
        "The specified key does not exist.",
    NoSuchLifecycleConfiguration NOT_FOUND
        "The lifecycle configuration does not exist.",
    NoSuchObjectLockConfiguration NOT_FOUND
        "The specified object does not have an object lock configuration.",
    NoSuchPublicAccessBlockConfiguration NOT_FOUND
        "The public access block configuration was not found.",
    NoSuchTagSet NOT_FOUND
        "The TagSet does not exist.",
    NoSuchUpload NOT_FOUND
        "The specified multipart upload does not exist. It may have been aborted or completed.",
    NoSuchVersion NOT_FOUND
        "The specified version does not exist.",
    NoSuchWebsiteConfiguration NOT_FOUND
        "The specified bucket does not have a website configuration.",
    NotImplemented NOT_IMPLEMENTED
        "A header or a query parameter you provided asks for something that is not implemented.",
    ObjectLockConfigurationNotFoundError NOT_FOUND
        "Object Lock configuration does not exist for this bucket.",
    OperationAborted CONFLICT
        "A conflicting operation is in progress against this resource. Try again.",
    OwnershipControlsNotFoundError NOT_FOUND
        "The bucket ownership controls were not found.",
    PreconditionFailed PRECONDITION_FAILED
        "At least one of the preconditions that you specified did not hold.",
    QuotaExceeded FORBIDDEN
        "The quota is exhausted. Delete something, or have the owner of the box raise the quota.",
    ReplicationConfigurationNotFoundError NOT_FOUND
        "The replication configuration was not found.",
    RequestHeaderSectionTooLarge BAD_REQUEST
        "The request header and query parameters exceed the maximum allowed size.",
    RequestTimeTooSkewed FORBIDDEN
        "The difference between the request time and the server's time is too large. Set the clock of the client or of the server.",
    RequestTimeout BAD_REQUEST
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ServerSideEncryptionConfigurationNotFoundError NOT_FOUND
        "The server-side encryption configuration was not found.",
    ServiceUnavailable SERVICE_UNAVAILABLE
        "The store is shutting down or cannot take this request now. Try again.",
    SignatureDoesNotMatch FORBIDDEN
        "The request signature we calculated does not match the signature you provided. Check the secret access key, and that a proxy before the server preserves the Host header (with its port), the path and the query.",
    SlowDown SERVICE_UNAVAILABLE
        "Please reduce your request rate.",
    UnexpectedContent BAD_REQUEST
        "This request does not support content. Give an access control list in headers or in the body, not in both.",
    UnresolvableGrantByEmailAddress BAD_REQUEST
        "The e-mail address you provided does not match any account on record: grantees here are access keys, by their ids.",
    XAmzContentSHA256Mismatch BAD_REQUEST
        "The provided x-amz-content-sha256 does not match the content. Nothing was stored; send it again.",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_an_error_status_and_a_sentence() {
        for code in S3Code::ALL {
            assert!(code.status().as_u16() >= 400, "{code:?}");
            assert!(code.message().ends_with('.'), "{code:?}");
        }
    }
}
