//! What each failure of the store becomes for a client: the one mapping.

use http::{HeaderName, HeaderValue, header};
use storage::model::{Quota, Timestamp, Usage, VersionId};
use storage::{Digest, KeyTrouble, QuotaOf, StoreError};

use super::{S3Code, S3Error};
use crate::time::http_date;

/// The smallest a part that is not the last may be: 5 MiB.
const PART_BYTES_MIN: u64 = 5 * 1024 * 1024;

impl From<StoreError> for S3Error {
    /// Facts of the store become S3's words. What only the owner of the box can mend keeps its cause for the
    /// log; the client hears no more than that it happened.
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::NoSuchBucket => S3Code::NoSuchBucket,
            StoreError::BucketNotEmpty => S3Code::BucketNotEmpty,
            StoreError::BucketAlreadyOwnedByYou => S3Code::BucketAlreadyOwnedByYou,
            StoreError::BucketAlreadyExists => S3Code::BucketAlreadyExists,
            StoreError::NoSuchKey => S3Code::NoSuchKey,
            StoreError::NoSuchVersion => S3Code::NoSuchVersion,
            StoreError::NoSuchUpload => S3Code::NoSuchUpload,
            StoreError::TooManyVersions => S3Code::MaxVersionsExceeded,
            StoreError::InvalidPartOrder => S3Code::InvalidPartOrder,
            StoreError::PreconditionFailed => S3Code::PreconditionFailed,
            StoreError::NoSuchAccessKey => S3Code::InvalidAccessKeyId,
            StoreError::AccessKeyExists | StoreError::Conflict => S3Code::OperationAborted,
            StoreError::DiskFull => S3Code::InsufficientStorage,
            StoreError::Busy => S3Code::SlowDown,
            StoreError::Closed
            | StoreError::Unavailable
            | StoreError::KeysBehind(_)
            | StoreError::Outdated
            | StoreError::Forgotten(_)
            | StoreError::NoSuchMember
            | StoreError::StillHere { .. }
            | StoreError::AlsoAway { .. }
            | StoreError::NoVoteHere
            | StoreError::StillNeeded { .. }
            | StoreError::StillHolds { .. }
            | StoreError::MemberAway
            | StoreError::NoSuchInvite
            | StoreError::InviteUsed
            | StoreError::InviteExpired => S3Code::ServiceUnavailable,
            StoreError::Locked => {
                let message = "Access Denied because object protected by object lock.";
                return Self::with_message(S3Code::AccessDenied, message);
            }
            StoreError::QuotaExceeded { of, quota, held } => return quota_exceeded(&of, quota, held),
            StoreError::CustomerKey(trouble) => return customer_key(trouble),
            StoreError::BucketState(why) => return Self::with_message(S3Code::InvalidBucketState, why),
            StoreError::Body(cause) => return from_body(cause),
            StoreError::DeleteMarker {
                version,
                named,
                modified,
            } => return delete_marker(version, named, modified),
            StoreError::DigestMismatch(digest) => return digest_mismatch(digest),
            StoreError::InvalidPart(_)
            | StoreError::InvalidPartNumber(_)
            | StoreError::EntityTooSmall { .. }
            | StoreError::EntityTooLarge { .. }
            | StoreError::SizeMismatch { .. } => return from_sizes_and_parts(&error),
            StoreError::ReadOnly(_) | StoreError::Damaged(_) | StoreError::Disk(_) | StoreError::Keys(_) => {
                return from_disk(error);
            }
        };
        Self::new(code)
    }
}

/// What is wrong about the key a customer sent along, or did not.
fn customer_key(trouble: KeyTrouble) -> S3Error {
    S3Error::invalid_request(match trouble {
        KeyTrouble::Missing => {
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
             retrieve the object."
        }
        KeyTrouble::NotApplicable => "The encryption parameters are not applicable to this object.",
        KeyTrouble::Wrong => {
            return S3Error::with_message(
                S3Code::AccessDenied,
                "Access Denied. The object is encrypted with another customer provided key.",
            );
        }
        KeyTrouble::NotOfUpload => {
            "The provided encryption parameters did not match the ones used when the multipart upload was initiated."
        }
    })
}

/// Whose quota it is, what may be held and what is.
fn quota_exceeded(of: &QuotaOf, quota: Quota, held: Usage) -> S3Error {
    let whose = match of {
        QuotaOf::Bucket => "the quota of this bucket".to_owned(),
        QuotaOf::Key(owner) => format!("the quota of all buckets that {owner} owns"),
    };
    let mut bounds = Vec::new();
    bounds.extend(quota.bytes.map(|bytes| format!("{bytes} bytes")));
    bounds.extend(quota.objects.map(|objects| format!("{objects} objects")));
    S3Error::with_message(
        S3Code::QuotaExceeded,
        format!(
            "This would exceed {whose}: {}; {} bytes in {} objects are held, old versions and unfinished uploads \
             included. Delete something, or have the owner of the box raise the quota.",
            bounds.join(" and "),
            held.bytes,
            held.objects
        ),
    )
}

/// What a client got wrong about sizes and parts, with the numbers it needs to get it right.
fn from_sizes_and_parts(error: &StoreError) -> S3Error {
    match *error {
        StoreError::InvalidPart(number) => {
            S3Error::new(S3Code::InvalidPart).field("PartNumber", number.get().to_string())
        }
        StoreError::EntityTooSmall { number, size } => S3Error::new(S3Code::EntityTooSmall)
            .field("PartNumber", number.get().to_string())
            .field("ProposedSize", size.to_string())
            .field("MinSizeAllowed", PART_BYTES_MIN.to_string()),
        StoreError::EntityTooLarge { size, most } => S3Error::new(S3Code::EntityTooLarge)
            .field("ProposedSize", size.to_string())
            .field("MaxSizeAllowed", most.to_string()),
        StoreError::SizeMismatch { claimed, actual } => S3Error::invalid_request(format!(
            "The x-amz-mp-object-size of {claimed} bytes does not match the {actual} bytes of the parts."
        )),
        _ => S3Error::with_message(
            S3Code::InvalidArgument,
            "Part number must be an integer between 1 and 10000, inclusive.",
        )
        .field("ArgumentName", "partNumber"),
    }
}

/// What only the owner of the box can mend.
fn from_disk(error: StoreError) -> S3Error {
    let refusal = match error {
        StoreError::ReadOnly(_) => S3Error::with_message(
            S3Code::ServiceUnavailable,
            "The store takes no writes: its disk lost data. The status page says what its owner can do.",
        ),
        StoreError::Damaged(_) => S3Error::with_message(
            S3Code::InternalError,
            "Stored data is damaged and was not served. The status page says what is affected.",
        ),
        _ => S3Error::new(S3Code::InternalError),
    };
    refusal.caused_by(error)
}

/// A body fails with the error its reader raised, that of a copy with the store's own; anything else is a connection
/// that broke off.
fn from_body(cause: Box<dyn std::error::Error + Send + Sync>) -> S3Error {
    match cause.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(cause) => match cause.downcast::<StoreError>() {
            Ok(error) => (*error).into(),
            Err(cause) => S3Error::new(S3Code::IncompleteBody).caused_by(cause),
        },
    }
}

/// 405 for a marker asked for by version, which says when it was made, 404 for one that hides the key; both say that it is
/// a marker.
fn delete_marker(version: VersionId, named: bool, modified: Timestamp) -> S3Error {
    let error = if named {
        S3Error::new(S3Code::MethodNotAllowed)
            .field("Method", "GET")
            .field("ResourceType", "DeleteMarker")
            .header(header::ALLOW, HeaderValue::from_static("DELETE"))
            .header_text(header::LAST_MODIFIED, &http_date(modified))
    } else {
        S3Error::new(S3Code::NoSuchKey)
    };
    let error = error.header(
        HeaderName::from_static("x-amz-delete-marker"),
        HeaderValue::from_static("true"),
    );
    error.header_text(HeaderName::from_static("x-amz-version-id"), &version.to_string())
}

fn digest_mismatch(digest: Digest) -> S3Error {
    match digest {
        Digest::PayloadSha256 => S3Error::new(S3Code::XAmzContentSHA256Mismatch),
        Digest::Md5 | Digest::Checksum(_) => S3Error::with_message(
            S3Code::BadDigest,
            format!(
                "The {digest} you specified did not match the content. Nothing was stored; send it again."
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_raised_while_reading_a_body_reaches_the_client_unchanged() {
        let raised = S3Error::new(S3Code::SignatureDoesNotMatch);
        let seen = S3Error::from(StoreError::Body(Box::new(raised)));
        assert_eq!(seen.code(), S3Code::SignatureDoesNotMatch);
        let broken = S3Error::from(StoreError::Body("connection reset".into()));
        assert_eq!(broken.code(), S3Code::IncompleteBody);
        let damaged = StoreError::Damaged("block 4242".into());
        let copied = S3Error::from(StoreError::Body(Box::new(damaged)));
        assert_eq!(copied.code(), S3Code::InternalError);
    }

    #[test]
    fn a_delete_marker_says_so_in_a_header() {
        for (named, status) in [(true, 405), (false, 404)] {
            let version = VersionId::Named([7; 16]);
            let modified = Timestamp::from_millis(0);
            let error = S3Error::from(StoreError::DeleteMarker {
                version,
                named,
                modified,
            });
            assert_eq!(error.status().as_u16(), status);
            let headers = error.headers();
            assert!(
                headers
                    .iter()
                    .any(|(name, value)| name == "x-amz-delete-marker" && value == "true")
            );
            assert!(
                headers
                    .iter()
                    .any(|(name, value)| name == "x-amz-version-id" && *value == version.to_string())
            );
        }
    }

    #[test]
    fn damage_is_named_in_the_log_and_not_to_the_client() {
        let error = S3Error::from(StoreError::Damaged("block 4242".into()));
        assert_eq!(error.status().as_u16(), 500);
        assert!(!error.message().contains("4242"));
        assert!(std::error::Error::source(&error).is_some_and(|cause| cause.to_string().contains("4242")));
    }

    #[test]
    fn whoever_finds_no_memory_is_asked_to_come_later() {
        let error = S3Error::from(StoreError::Busy);
        assert_eq!((error.code(), error.status().as_u16()), (S3Code::SlowDown, 503));
    }

    #[test]
    fn a_wrong_payload_hash_has_its_own_code() {
        let code = |digest| S3Error::from(StoreError::DigestMismatch(digest)).code();
        assert_eq!(code(Digest::PayloadSha256), S3Code::XAmzContentSHA256Mismatch);
        assert_eq!(code(Digest::Md5), S3Code::BadDigest);
    }
}
