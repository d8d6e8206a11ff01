//! DeleteObject and DeleteObjects.

use futures_util::stream::{self, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode};
use storage::model::{Bucket, ETag, How, Lock, ObjectKey, VersionId, WriteCondition};
use storage::{DeleteOutcome, DeleteTarget};

use super::get_object::{insert, version_id};
use super::object_lock::bypasses;
use super::put_object::conditional;
use crate::access::Rule;
use crate::body::RequestBody;
use crate::error::{S3Error, S3Result};
use crate::gateway::{Call, log_refusal};
use crate::headers::{delete_condition, like, modified_at, size_of};
use crate::response::{Reply, empty, xml};
use crate::uri::parse_key;
use crate::xml::{BODY_BYTES_MAX, Delete, DeleteEntry, XmlWriter};

/// How many deletes of one request wait for the disk at a time; they share its syncs.
const AT_A_TIME: usize = 64;

/// Deletes an object or a version; deleting what is not there succeeds.
pub(crate) async fn delete_object(call: &Call, bucket: &Bucket, key: ObjectKey) -> S3Result<Reply> {
    let condition = delete_condition(&call.headers)?;
    call.allow_condition(bucket, &key, condition)?;
    let target = DeleteTarget {
        version: version_id(&call.query)?,
        condition,
        bypass: bypasses(call, bucket, &key, Lock::default()),
        cause: call.cause(bucket, How::Delete),
        key,
    };
    let deleted = call.gateway.store.delete_object(bucket, target).await;
    let outcome = deleted.map_err(|error| conditional(condition, error))?;
    let mut reply = empty(StatusCode::NO_CONTENT);
    if let Some(version) = outcome.version {
        let name = HeaderName::from_static("x-amz-version-id");
        insert(reply.headers_mut(), name, &version.to_string());
    }
    if outcome.delete_marker {
        reply
            .headers_mut()
            .insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    }
    Ok(reply)
}

/// Deletes up to a thousand objects, each on its own: permitted, done and reported one by one.
pub(crate) async fn delete_objects(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<Reply> {
    // The body says what is to be deleted; whoever may delete nothing need not send it.
    call.gateway.access.allow_some_delete(&call.identity, bucket)?;
    if !body.has_digest() {
        return Err(S3Error::invalid_request(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*",
        ));
    }
    let delete = Delete::parse(&body.document(BODY_BYTES_MAX).await?)?;
    let deletes: Vec<_> = delete
        .objects
        .iter()
        .map(|entry| delete_one(call, bucket, entry))
        .collect();
    let outcomes: Vec<_> = stream::iter(deletes).buffered(AT_A_TIME).collect().await;
    let mut document = XmlWriter::document();
    document.root("DeleteResult", |xml| {
        for (entry, outcome) in delete.objects.iter().zip(&outcomes) {
            match outcome {
                Ok(_) if delete.quiet => {}
                Ok(outcome) => deleted(xml, entry, outcome),
                Err(error) => {
                    log_refusal(call.id, &entry.key, error);
                    failed(xml, entry, error);
                }
            }
        }
    });
    Ok(xml(document.finish()))
}

async fn delete_one(call: &Call, bucket: &Bucket, entry: &DeleteEntry) -> S3Result<DeleteOutcome> {
    let key = parse_key(entry.key.as_bytes())?;
    let rules = (Rule::DELETE_OBJECT, Rule::DELETE_VERSION);
    call.allow_version(bucket, &key, entry.version_id.as_deref(), rules)?;
    let version = match &entry.version_id {
        None => None,
        Some(text) => Some(
            VersionId::parse(text)
                .map_err(|_| S3Error::invalid_argument("VersionId", text, "Invalid version id specified"))?,
        ),
    };
    let condition = match entry.etag.as_deref() {
        None => WriteCondition::None,
        Some("*") => WriteCondition::Present,
        Some(tag) => WriteCondition::Tag(ETag::parse(tag).ok()),
    };
    let (modified, size) = (entry.modified.as_deref(), entry.size.as_deref());
    let modified = modified.map(|given| modified_at("LastModifiedTime", given));
    let size = size.map(|given| size_of("Size", given));
    let condition = like(condition, modified.transpose()?, size.transpose()?);
    call.allow_condition(bucket, &key, condition)?;
    let target = DeleteTarget {
        version,
        condition,
        bypass: bypasses(call, bucket, &key, Lock::default()),
        cause: call.cause(bucket, How::Delete),
        key,
    };
    let outcome = call.gateway.store.delete_object(bucket, target).await;
    outcome.map_err(|error| conditional(condition, error))
}

fn deleted(xml: &mut XmlWriter, entry: &DeleteEntry, outcome: &DeleteOutcome) {
    xml.element("Deleted", |xml| {
        xml.text("Key", &entry.key);
        xml.text_if("VersionId", entry.version_id.as_deref());
        if outcome.delete_marker {
            xml.boolean("DeleteMarker", true);
            let version = outcome.version.map(|version| version.to_string());
            xml.text_if("DeleteMarkerVersionId", version.as_deref());
        }
    });
}

fn failed(xml: &mut XmlWriter, entry: &DeleteEntry, error: &S3Error) {
    xml.element("Error", |xml| {
        xml.text("Key", &entry.key);
        xml.text_if("VersionId", entry.version_id.as_deref());
        xml.text("Code", error.code().as_str());
        xml.text("Message", error.message());
    });
}
