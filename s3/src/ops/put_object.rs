//! PutObject.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use storage::model::{Bucket, BucketAcl, ObjectKey, WriteCondition};
use storage::{NewObject, PutOutcome, StoreError};

use super::get_object::{etag_value, insert, tell_checksum};
use super::object_lock::asked_lock;
use crate::access::parse_canned;
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::{object_headers, storage_class, text, write_condition};
use crate::response::{Reply, empty};

/// Most bytes of one PUT or one part. Source: AWS S3 user guide, "Amazon S3 multipart upload limits".
pub(super) const PUT_BYTES_MAX: u64 = 5 * 1024 * 1024 * 1024;

/// Stores an object. Everything that can be refused is refused before its content is read.
pub(crate) async fn put_object(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    let body = body.with_length(&call.headers)?;
    check_size(&body)?;
    check_object_acl(call, bucket, key)?;
    let condition = write_condition(&call.headers)?;
    call.allow_condition(bucket, key, condition)?;
    let new = NewObject {
        headers: object_headers(&call.headers)?,
        class: storage_class(&call.headers)?,
        lock: asked_lock(call, bucket, key)?,
        condition,
    };
    call.gateway.store.check_early(bucket, key, &condition).await?;
    let stored = call.gateway.store.put_object(bucket, key, new, body).await;
    let outcome = stored.map_err(|error| conditional(condition, error))?;
    let mut reply = empty(StatusCode::OK);
    tell_outcome(call, reply.headers_mut(), &outcome);
    Ok(reply)
}

/// Refuses content that is too large before any of it is read.
pub(super) fn check_size(body: &RequestBody) -> S3Result<()> {
    match body.length() {
        Some(size) if size > PUT_BYTES_MAX => Err(StoreError::EntityTooLarge {
            size,
            most: PUT_BYTES_MAX,
        }
        .into()),
        _ => Ok(()),
    }
}

/// Accepts an ACL that already holds: objects have none of their own, they are as public as their bucket.
///
/// # Errors
/// `NotImplemented` for one that does not hold.
pub(super) fn check_object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<()> {
    match text(&call.headers, "x-amz-acl")? {
        // The bucket's owner owns every object in it, whoever else may read it.
        None | Some("bucket-owner-full-control" | "bucket-owner-read") => Ok(()),
        Some(name) => check_public(call, bucket, key, parse_canned(name)?),
    }
}

/// Whether an object is as public as an ACL would make it.
pub(super) fn check_public(call: &Call, bucket: &Bucket, key: &ObjectKey, acl: BucketAcl) -> S3Result<()> {
    let public = call.gateway.access.is_public_read(bucket, key);
    let holds = match acl {
        BucketAcl::Private => !public,
        // No write access comes with an object: at AWS, too, WRITE means nothing there.
        BucketAcl::PublicRead | BucketAcl::PublicReadWrite => public,
        BucketAcl::AuthenticatedRead => public || bucket.settings.acl == BucketAcl::AuthenticatedRead,
    };
    if holds {
        return Ok(());
    }
    Err(S3Error::not_implemented(match acl {
        BucketAcl::Private => {
            "Objects have no ACL of their own here, and everyone may read this one as its bucket is: put it into a \
             private bucket, or leave x-amz-acl away."
        }
        BucketAcl::PublicRead | BucketAcl::PublicReadWrite | BucketAcl::AuthenticatedRead => {
            "Objects have no ACL of their own here: they are as public as their bucket. Set the ACL or a policy of \
             the bucket instead."
        }
    }))
}

/// A failed write, as whoever made it conditional is told.
pub(super) fn conditional(condition: WriteCondition, error: StoreError) -> S3Error {
    match error {
        StoreError::Conflict if condition != WriteCondition::None => {
            S3Error::new(S3Code::ConditionalRequestConflict)
        }
        error => error.into(),
    }
}

/// What a response says about an object just stored.
fn tell_outcome(call: &Call, headers: &mut HeaderMap, outcome: &PutOutcome) {
    headers.insert(header::ETAG, etag_value(outcome.etag));
    if let Some(version) = outcome.version {
        insert(
            headers,
            HeaderName::from_static("x-amz-version-id"),
            &version.to_string(),
        );
    }
    if let Some(checksum) = &outcome.checksum {
        tell_checksum(headers, checksum);
    }
    tell_encryption(call, headers);
}

/// Confirms encryption to whoever asked for it; every block is encrypted, asked or not.
pub(super) fn tell_encryption(call: &Call, headers: &mut HeaderMap) {
    const NAME: &str = "x-amz-server-side-encryption";
    if call.headers.contains_key(NAME) {
        headers.insert(NAME, HeaderValue::from_static("AES256"));
    }
}
