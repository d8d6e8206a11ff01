//! Tells when an object will go by the lifecycle rules of its bucket: `x-amz-expiration`.

use http::{HeaderMap, HeaderName};
use storage::model::{Bucket, ObjectKey, Timestamp, expiry};
use storage::{PutOutcome, Store};

use super::get_object::insert;
use crate::time::http_date;
use crate::uri::encode_query_into;

/// As [`tell_expiration`], of an object that was just stored from others, whose tags are its own by now.
pub(super) async fn tell_expiration_of(
    headers: &mut HeaderMap,
    store: &Store,
    bucket: &Bucket,
    key: &ObjectKey,
    outcome: &PutOutcome,
) {
    if bucket.settings.lifecycle.is_empty() {
        return;
    }
    // What cannot be read now, or was replaced meanwhile, is not spoken of.
    if let Ok(object) = store.object(bucket, key, outcome.version).await
        && object.info().etag == outcome.etag
    {
        let facts = (outcome.size, outcome.modified);
        tell_expiration(headers, bucket, key, facts, &object.info().headers.tags);
    }
}

/// Says when a current version goes, and by which rule; nothing where it stays.
pub(super) fn tell_expiration(
    headers: &mut HeaderMap,
    bucket: &Bucket,
    key: &ObjectKey,
    facts: (u64, Timestamp),
    tags: &[(String, String)],
) {
    let rules = &bucket.settings.lifecycle;
    if let Some((at, rule)) = expiry(rules, key.as_str(), facts, tags) {
        let mut id = Vec::new();
        encode_query_into(rule.id.as_bytes(), &mut id);
        let told = format!(
            "expiry-date=\"{}\", rule-id=\"{}\"",
            http_date(at),
            String::from_utf8_lossy(&id)
        );
        insert(headers, HeaderName::from_static("x-amz-expiration"), &told);
    }
}
