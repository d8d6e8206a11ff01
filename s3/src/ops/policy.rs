//! GetBucketPolicy, PutBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus.

use http::StatusCode;
use storage::model::Bucket;

use crate::access::{POLICY_BYTES_MAX, Policy};
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, empty, json, xml};
use crate::xml::XmlWriter;

/// Gives back the policy as it was put.
pub(crate) fn get_bucket_policy(bucket: &Bucket) -> S3Result<Reply> {
    let none = || S3Error::new(S3Code::NoSuchBucketPolicy).field("BucketName", bucket.name.as_str());
    bucket.settings.policy.clone().map(json).ok_or_else(none)
}

/// Puts a policy that is understood to the last word.
pub(crate) async fn put_bucket_policy(call: &Call, bucket: &Bucket, body: RequestBody) -> S3Result<Reply> {
    let document = body.document(POLICY_BYTES_MAX).await?;
    let malformed = |why: String| S3Error::with_message(S3Code::MalformedPolicy, why);
    let text = std::str::from_utf8(&document).map_err(|_| malformed("A policy is UTF-8.".into()))?;
    let policy = Policy::parse(text, &bucket.name).map_err(|why| malformed(why.to_string()))?;
    if bucket.settings.blocked().block_policy && policy.is_public() {
        return Err(S3Error::with_message(
            S3Code::AccessDenied,
            "Access Denied. Public policies are blocked by the public access block of this bucket.",
        ));
    }
    let text = text.to_owned();
    call.gateway
        .store
        .change_bucket(bucket, move |settings| settings.policy = Some(text.clone()))
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Deletes the policy, if there is one.
pub(crate) async fn delete_bucket_policy(call: &Call, bucket: &Bucket) -> S3Result<Reply> {
    call.gateway
        .store
        .change_bucket(bucket, |settings| settings.policy = None)
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Says whether the policy allows anything to everyone.
pub(crate) fn get_bucket_policy_status(bucket: &Bucket) -> S3Result<Reply> {
    let none = || S3Error::new(S3Code::NoSuchBucketPolicy).field("BucketName", bucket.name.as_str());
    let text = bucket.settings.policy.as_deref().ok_or_else(none)?;
    // A policy that is not understood allows nothing to anyone but owners.
    let public = Policy::parse(text, &bucket.name).is_ok_and(|policy| policy.is_public());
    let mut document = XmlWriter::document();
    document.root("PolicyStatus", |xml| xml.boolean("IsPublic", public));
    Ok(xml(document.finish()))
}
