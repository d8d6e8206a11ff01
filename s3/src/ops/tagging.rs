//! GetObjectTagging, PutObjectTagging and DeleteObjectTagging.

use http::StatusCode;
use storage::model::{Bucket, How, ObjectKey};

use super::get_object::{open, tell_version, tell_version_id, version_id};
use crate::access::Rule;
use crate::body::RequestBody;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, empty, xml};
use crate::route::ObjectOperation;
use crate::tags::{Tags, TagsOf, tags_of_document, write_tags};
use crate::xml::{BODY_BYTES_MAX, XmlWriter};

/// Says which tags an object has; none is an empty set.
pub(crate) async fn get_object_tagging(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let rules = Rule::both_of_object(ObjectOperation::GetObjectTagging);
    call.allow_tagged(bucket, key, rules, None).await?;
    let object = open(call, bucket, key).await?;
    let mut document = XmlWriter::document();
    write_tags(&mut document, &object.info().headers.tags);
    let mut reply = xml(document.finish());
    tell_version(reply.headers_mut(), bucket, object.info());
    Ok(reply)
}

/// Replaces all tags of an object.
pub(crate) async fn put_object_tagging(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    let rules = Rule::both_of_object(ObjectOperation::PutObjectTagging);
    // Where tags do not decide, nobody's document is read who may not send one.
    if !call.gateway.access.asks_for_tags(bucket) {
        call.allow_tagged(bucket, key, rules, None).await?;
    }
    let tags = tags_of_document(&body.document(BODY_BYTES_MAX).await?, TagsOf::Object)?;
    call.allow_tagged(bucket, key, rules, Some(&tags)).await?;
    set_tags(call, bucket, key, (tags, How::Tag), StatusCode::OK).await
}

/// Takes all tags of an object away.
pub(crate) async fn delete_object_tagging(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let rules = Rule::both_of_object(ObjectOperation::DeleteObjectTagging);
    call.allow_tagged(bucket, key, rules, None).await?;
    let none = (Tags::new(), How::Untag);
    set_tags(call, bucket, key, none, StatusCode::NO_CONTENT).await
}

async fn set_tags(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    (tags, how): (Tags, How),
    status: StatusCode,
) -> S3Result<Reply> {
    let version = version_id(&call.query)?;
    let tags = (tags, call.cause(bucket, how));
    let set = call.gateway.store.set_tags(bucket, key, version, tags).await;
    let version = set.map_err(|error| call.absence(bucket, S3Error::from(error)))?;
    let mut reply = empty(status);
    tell_version_id(reply.headers_mut(), bucket, version);
    Ok(reply)
}
