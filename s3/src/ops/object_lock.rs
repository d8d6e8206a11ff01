//! Object lock: of buckets, of stored versions, and of versions to be.

use http::{HeaderMap, HeaderName, StatusCode};
use storage::ObjectInfo;
use storage::model::{Bucket, Lock, ObjectKey, Retention, Timestamp};

use super::get_object::{insert, open, tell_version_id, version_id};
use crate::access::Rule;
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::{BYPASS, LOCK_HOLD, LOCK_MODE, LOCK_UNTIL, text};
use crate::response::{Reply, empty, xml};
use crate::time::{iso_date, parse_iso};
use crate::xml::{
    BODY_BYTES_MAX, legal_hold_document, mode_name, mode_of, object_lock_document, parse_legal_hold,
    parse_object_lock, parse_retention, retention_document,
};

/// Says which lock a bucket has.
pub(crate) fn get_object_lock_configuration(bucket: &Bucket) -> S3Result<Reply> {
    match bucket.settings.lock {
        Some(lock) => Ok(xml(object_lock_document(lock))),
        None => Err(S3Error::new(S3Code::ObjectLockConfigurationNotFoundError)),
    }
}

/// Gives a bucket a lock, for good, or another default retention.
pub(crate) async fn put_object_lock_configuration(
    call: &Call,
    bucket: &Bucket,
    body: RequestBody,
) -> S3Result<Reply> {
    let lock = parse_object_lock(&body.document(BODY_BYTES_MAX).await?)?;
    call.gateway.store.set_object_lock(bucket, lock).await?;
    Ok(empty(StatusCode::OK))
}

/// Says until when a version stays.
pub(crate) async fn get_object_retention(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    must_lock(bucket)?;
    let lock = open(call, bucket, key).await?.info().lock;
    let retention = lock.retention.ok_or_else(unlocked)?;
    Ok(xml(retention_document(retention)))
}

/// Sets until when a version stays.
pub(crate) async fn put_object_retention(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    early(call, bucket, key, Rule::PUT_RETENTION)?;
    must_lock(bucket)?;
    let retention = parse_retention(&body.document(BODY_BYTES_MAX).await?)?;
    let lock = Lock {
        retention,
        legal_hold: None,
    };
    call.allow_lock(bucket, key, Rule::PUT_RETENTION, lock)?;
    if let Some(retention) = retention {
        must_be_to_come(retention)?;
    }
    let terms = (retention, bypasses(call, bucket, key, lock));
    let version = version_id(&call.query)?;
    let set = call
        .gateway
        .store
        .set_retention(bucket, key, version, terms)
        .await;
    told(call, bucket, set)
}

/// Says whether a legal hold keeps a version.
pub(crate) async fn get_object_legal_hold(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    must_lock(bucket)?;
    let lock = open(call, bucket, key).await?.info().lock;
    let hold = lock.legal_hold.ok_or_else(unlocked)?;
    Ok(xml(legal_hold_document(hold)))
}

/// Sets or lifts the legal hold of a version.
pub(crate) async fn put_object_legal_hold(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    early(call, bucket, key, Rule::PUT_LEGAL_HOLD)?;
    must_lock(bucket)?;
    let on = parse_legal_hold(&body.document(BODY_BYTES_MAX).await?)?;
    let lock = Lock {
        retention: None,
        legal_hold: Some(on),
    };
    call.allow_lock(bucket, key, Rule::PUT_LEGAL_HOLD, lock)?;
    let version = version_id(&call.query)?;
    let set = call.gateway.store.set_legal_hold(bucket, key, version, on).await;
    told(call, bucket, set)
}

/// Where locks do not decide, nobody's document is read who may not send one.
fn early(call: &Call, bucket: &Bucket, key: &ObjectKey, rule: Rule) -> S3Result<()> {
    match call.gateway.access.asks_for_locks(bucket) {
        true => Ok(()),
        false => call.allow_lock(bucket, key, rule, Lock::default()),
    }
}

fn told(
    call: &Call,
    bucket: &Bucket,
    set: Result<storage::model::VersionId, storage::StoreError>,
) -> S3Result<Reply> {
    let version = set.map_err(|error| call.absence(bucket, error.into()))?;
    let mut reply = empty(StatusCode::OK);
    tell_version_id(reply.headers_mut(), bucket, version);
    Ok(reply)
}

/// The lock that a request gives the object it writes.
///
/// # Errors
/// `AccessDenied`; `InvalidRequest` where the bucket has no lock; `InvalidArgument`.
pub(super) fn asked_lock(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Lock> {
    let retention = match (text(&call.headers, LOCK_MODE)?, text(&call.headers, LOCK_UNTIL)?) {
        (None, None) => None,
        (Some(mode), Some(until)) => Some(asked_retention(mode, until)?),
        _ => {
            return Err(S3Error::invalid_argument(
                LOCK_UNTIL,
                "",
                "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ));
        }
    };
    let legal_hold = match text(&call.headers, LOCK_HOLD)? {
        None => None,
        Some("ON") => Some(true),
        Some("OFF") => Some(false),
        Some(other) => {
            let message = "Legal Hold must be either of 'ON' or 'OFF'";
            return Err(S3Error::invalid_argument(LOCK_HOLD, other, message));
        }
    };
    let lock = Lock {
        retention,
        legal_hold,
    };
    if lock.is_none() {
        return Ok(lock);
    }
    must_lock(bucket)?;
    if retention.is_some() {
        call.allow(bucket, Some(key), Rule::PUT_RETENTION)?;
    }
    if legal_hold.is_some() {
        call.allow(bucket, Some(key), Rule::PUT_LEGAL_HOLD)?;
    }
    Ok(lock)
}

fn asked_retention(mode: &str, until: &str) -> S3Result<Retention> {
    let unknown = |name, given: &str, message| S3Error::invalid_argument(name, given, message);
    let mode = mode_of(mode).ok_or_else(|| unknown(LOCK_MODE, mode, "Unknown wormMode directive."))?;
    let no_date = || {
        let message = "The retain until date must be provided in ISO 8601 format";
        unknown(LOCK_UNTIL, until, message)
    };
    let until = parse_iso(until).ok_or_else(no_date)?;
    let retention = Retention { mode, until };
    must_be_to_come(retention)?;
    Ok(retention)
}

fn must_be_to_come(retention: Retention) -> S3Result<()> {
    if retention.until > Timestamp::now() {
        return Ok(());
    }
    Err(S3Error::invalid_argument(
        LOCK_UNTIL,
        iso_date(retention.until),
        "The retain until date must be in the future!",
    ))
}

/// Whether a request bypasses retentions of governance: it says so, and whoever sends it may, for the lock it asks for.
pub(super) fn bypasses(call: &Call, bucket: &Bucket, key: &ObjectKey, lock: Lock) -> bool {
    let says = call
        .headers
        .get(BYPASS)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    says && call
        .allow_lock(bucket, key, Rule::BYPASS_GOVERNANCE, lock)
        .is_ok()
}

/// Tells of a version's lock whoever may ask for it.
pub(super) fn tell_lock(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    headers: &mut HeaderMap,
    info: &ObjectInfo,
) {
    if info.lock.is_none() {
        return;
    }
    let may = |rule| call.allow(bucket, Some(key), rule).is_ok();
    if let Some(retention) = info.lock.retention.filter(|_| may(Rule::GET_RETENTION)) {
        let mode = HeaderName::from_static(LOCK_MODE);
        insert(headers, mode, mode_name(retention.mode));
        let until = HeaderName::from_static(LOCK_UNTIL);
        insert(headers, until, &iso_date(retention.until));
    }
    if let Some(on) = info.lock.legal_hold.filter(|_| may(Rule::GET_LEGAL_HOLD)) {
        let hold = HeaderName::from_static(LOCK_HOLD);
        insert(headers, hold, if on { "ON" } else { "OFF" });
    }
}

fn must_lock(bucket: &Bucket) -> S3Result<()> {
    match bucket.settings.lock {
        Some(_) => Ok(()),
        None => Err(S3Error::invalid_request(
            "Bucket is missing Object Lock Configuration",
        )),
    }
}

fn unlocked() -> S3Error {
    S3Error::new(S3Code::NoSuchObjectLockConfiguration)
}
