//! Events as S3 writes them. Source: AWS S3 user guide, "Event message structure".

use serde_json::{Value, json};
use storage::model::{Bucket, EventKind, ObjectEvent, ObjectKey, Timestamp};

use crate::gateway::HOST_ID;
use crate::time::iso_date;
use crate::uri::encode_path_into;

/// The event as the body of a POST.
pub(super) fn message(
    event: &ObjectEvent,
    key: &ObjectKey,
    bucket: &Bucket,
    rule: &str,
    region: &str,
) -> String {
    json!({ "Records": [record(event, key, bucket, rule, region)] }).to_string()
}

fn record(event: &ObjectEvent, key: &ObjectKey, bucket: &Bucket, rule: &str, region: &str) -> Value {
    let by_rule = matches!(event.kind, EventKind::Expired | EventKind::ExpiredMarker);
    let cause = &event.cause;
    let requester = match (&cause.requester, by_rule) {
        (Some(key), _) => key.as_str(),
        (None, true) => "s3.amazonaws.com",
        (None, false) => "anonymous",
    };
    let from = match cause.from {
        Some(from) => from.to_string(),
        None => "s3.amazonaws.com".to_owned(),
    };
    json!({
        "eventVersion": version_of(event.kind),
        "eventSource": "aws:s3",
        "awsRegion": region,
        "eventTime": iso_date(event.at),
        "eventName": event.kind.name(),
        "userIdentity": { "principalId": requester },
        "requestParameters": { "sourceIPAddress": from },
        "responseElements": { "x-amz-request-id": cause.request, "x-amz-id-2": HOST_ID },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": rule,
            "bucket": {
                "name": bucket.name.as_str(),
                "ownerIdentity": { "principalId": bucket.owner.as_str() },
                "arn": format!("arn:aws:s3:::{}", bucket.name),
            },
            "object": object(event, key),
        },
    })
}

/// What it is about. What is gone has neither size nor entity tag, and only what is new has a size.
fn object(event: &ObjectEvent, key: &ObjectKey) -> Value {
    let mut name = Vec::new();
    encode_path_into(key.as_str().as_bytes(), &mut name);
    // As forms have it: receivers undo that.
    let name = String::from_utf8_lossy(&name).replace("%20", "+");
    let mut object = json!({
        "key": name,
        // Of two events of a key, the one with the greater text is the later.
        "sequencer": format!("{:016X}", event.at.as_millis()),
    });
    if let (Some(tag), Some(fields)) = (event.etag, object.as_object_mut()) {
        if is_of_creation(event.kind) {
            fields.insert("size".into(), event.size.into());
        }
        if !is_of_removal(event.kind) {
            fields.insert("eTag".into(), tag.to_string().into());
        }
    }
    if let (Some(version), Some(fields)) = (event.version, object.as_object_mut()) {
        fields.insert("versionId".into(), version.to_string().into());
    }
    object
}

const fn is_of_creation(kind: EventKind) -> bool {
    use EventKind::{CreatedComplete, CreatedCopy, CreatedPost, CreatedPut};
    matches!(kind, CreatedPut | CreatedPost | CreatedCopy | CreatedComplete)
}

const fn is_of_removal(kind: EventKind) -> bool {
    use EventKind::{Expired, ExpiredMarker, Removed, RemovedMarker};
    matches!(kind, Removed | RemovedMarker | Expired | ExpiredMarker)
}

/// The version of the format. Source: AWS S3 user guide, "Event message structure".
const fn version_of(kind: EventKind) -> &'static str {
    use EventKind::{AclPut, Expired, ExpiredMarker, Tagged, Untagged};
    match kind {
        Expired | ExpiredMarker | Tagged | Untagged | AclPut => "2.3",
        _ => "2.1",
    }
}

/// What a receiver is told when a bucket begins to name it.
pub(crate) fn test_event(bucket: &Bucket, request: &str, now: Timestamp) -> String {
    json!({
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": iso_date(now),
        "Bucket": bucket.name.as_str(),
        "RequestId": request,
        "HostId": HOST_ID,
    })
    .to_string()
}
