//! Tells when an object will go by the lifecycle rules of its bucket: `x-amz-expiration`.

use http::{HeaderMap, HeaderName};
use storage::model::{Bucket, ObjectKey, Timestamp, expiry};

use super::get_object::insert;
use crate::time::http_date;
use crate::uri::encode_query_into;

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
