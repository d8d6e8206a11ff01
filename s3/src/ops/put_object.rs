//! PutObject.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use storage::model::{Acl, Bucket, How, ObjectHeaders, ObjectKey, WriteCondition};
use storage::{NewObject, ObjectBody, PutOutcome, StoreError};

use super::asked_acl::{Asked, Ids, asked_acl};
use super::customer_key::{SealedWith, customer_key, tell_customer_key};
use super::expiration::tell_expiration;
use super::get_object::{etag_value, insert, tell_checksum};
use super::object_lock::asked_lock;
use super::setting::check_settable;
use crate::access::Rule;
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::{object_headers, storage_class, write_condition};
use crate::response::{Reply, empty};
use crate::tags::tags_of_header;

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
    let outcome = store(call, (bucket, key), body, How::Put).await?;
    let mut reply = empty(StatusCode::OK);
    tell_outcome(reply.headers_mut(), &outcome);
    tell_customer_key(reply.headers_mut(), &call.headers);
    let facts = (outcome.size, outcome.modified);
    let tags = tags_of_header(&call.headers)?.unwrap_or_default();
    tell_expiration(reply.headers_mut(), bucket, key, facts, &tags);
    Ok(reply)
}

/// Stores what the body holds as the headers say, if its writer may do all that they ask for.
pub(super) async fn store(
    call: &Call,
    (bucket, key): (&Bucket, &ObjectKey),
    body: impl ObjectBody,
    how: How,
) -> S3Result<PutOutcome> {
    let acl = object_acl(call, bucket, key)?;
    let condition = write_condition(&call.headers)?;
    call.allow_condition(bucket, key, condition)?;
    let new = NewObject {
        headers: ObjectHeaders {
            acl,
            ..object_headers(&call.headers)?
        },
        class: storage_class(&call.headers)?,
        lock: asked_lock(call, bucket, key)?,
        condition,
        cause: call.cause(bucket, how),
        invocation: call.invocation(),
    };
    let store = &call.gateway.store;
    store.check_early(bucket, key, &new).await?;
    let body = SealedWith {
        key: customer_key(&call.headers)?,
        body,
    };
    let stored = store.put_object(bucket, key, new, body).await;
    stored.map_err(|error| conditional(condition, error))
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

/// The ACL that a request gives an object it writes, private unless told.
///
/// # Errors
/// `AccessDenied`, `AccessControlListNotSupported`; `NotImplemented` for one that the ACL of the bucket belies.
pub(super) fn object_acl(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Acl> {
    let ids = Ids::of(&call.gateway.store, bucket.owner.as_str());
    // The bucket's owner owns every object in it, whoever else may read it.
    let asked = asked_acl(&call.headers, &ids)?.filter(|asked| *asked != Asked::OwnerControls);
    let Some(asked) = asked else {
        return Ok(Acl::Private);
    };
    let holds_anyway = asked == Asked::OwnerReads;
    let acl = asked.acl();
    call.allow(bucket, Some(key), Rule::ACL_OF_OBJECT)?;
    check_settable(&bucket.settings, &acl)?;
    if !holds_anyway && !acl.is_public() && call.gateway.access.is_opened_by_bucket(bucket, key) {
        return Err(private_in_public());
    }
    Ok(acl)
}

/// The answer to an ACL without the public for an object that the ACL of its bucket lets everyone read.
///
/// In S3 the ACL of a bucket lists it and opens no object; here it opens them all, as people who make a bucket public
/// expect. A private object in it would be private by its ACL and readable in truth, so nobody is told that it is.
pub(super) fn private_in_public() -> S3Error {
    S3Error::not_implemented(
        "The ACL of an object takes nothing away from what the ACL of its bucket gives, by which everyone may read this one: \
         put it into a bucket with a private ACL, or leave x-amz-acl away.",
    )
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
pub(super) fn tell_outcome(headers: &mut HeaderMap, outcome: &PutOutcome) {
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
    tell_encryption(headers);
}

/// Says that what is stored is encrypted: everything is, asked or not, before it is written.
pub(super) fn tell_encryption(headers: &mut HeaderMap) {
    headers.insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
}
