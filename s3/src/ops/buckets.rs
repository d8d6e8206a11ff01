//! ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, header};
use storage::StoreError;
use storage::model::{Bucket, BucketName, BucketSettings, Grants, ObjectLock, ObjectOwnership, Versioning};

use super::asked_acl::{Asked, Ids, asked_acl};
use super::listing::{given, page_max};
use super::setting::check_ownership;
use super::user::User;
use crate::body::RequestBody;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::text;
use crate::response::{Reply, empty, xml};
use crate::xml::{BODY_BYTES_MAX, XmlWriter, parse_create_bucket};

/// The region that has no name in a location.
const CLASSIC_REGION: &str = "us-east-1";

/// Lists the buckets the key has any grant on.
pub(crate) fn list_buckets(call: &Call) -> S3Result<Reply> {
    let key = call.signer()?;
    let prefix = call.query.get("prefix").unwrap_or_default();
    let after = given(&call.query, "continuation-token").unwrap_or_default();
    // More than a page of buckets is shown only to clients that ask for pages.
    let max = match given(&call.query, "max-buckets") {
        Some(_) => page_max(&call.query, "max-buckets")?,
        None => usize::MAX,
    };
    let store = &call.gateway.store;
    let aliases = key.aliases.keys().filter_map(|alias| {
        let bucket = store.bucket_for(Some(key), alias).ok()?;
        Some((alias.clone(), bucket))
    });
    let all = store.buckets().into_iter();
    // By whichever name the key finds it; an alias of its own hides a bucket of that name.
    let buckets: BTreeMap<BucketName, Arc<Bucket>> = all
        .map(|bucket| (bucket.name.clone(), bucket))
        .chain(aliases)
        .collect();
    let mut buckets: Vec<_> = buckets.into_iter().collect();
    buckets.retain(|(name, bucket)| {
        let name = name.as_str();
        bucket.grants_of(key) != Grants::NONE && name.starts_with(prefix) && name > after
    });
    let next = (max > 0 && buckets.len() > max).then(|| buckets[max - 1].0.clone());
    buckets.truncate(max);
    let mut document = XmlWriter::document();
    document.root("ListAllMyBucketsResult", |xml| {
        User::from(&**key).element(xml, "Owner");
        xml.element("Buckets", |xml| {
            for (name, bucket) in &buckets {
                xml.element("Bucket", |xml| {
                    xml.text("Name", name.as_str());
                    xml.time("CreationDate", bucket.created);
                    xml.text("BucketRegion", &call.gateway.region);
                });
            }
        });
        xml.text_if("Prefix", given(&call.query, "prefix"));
        xml.text_if("ContinuationToken", next.as_ref().map(BucketName::as_str));
    });
    Ok(xml(document.finish()))
}

/// Creates a bucket for the key that signed; any region a client asks for is this one.
pub(crate) async fn create_bucket(call: &Call, name: &BucketName, body: RequestBody) -> S3Result<Reply> {
    let key = call.signer()?;
    let ids = Ids::of(&call.gateway.store, key.id.as_str());
    let acl = asked_acl(&call.headers, &ids)?.map(Asked::acl);
    let settings = BucketSettings {
        acl: acl.clone().unwrap_or_default(),
        ownership: text(&call.headers, "x-amz-object-ownership")?.and_then(ObjectOwnership::from_name),
        ..with_lock(call)
    };
    check_ownership(&settings)?;
    parse_create_bucket(&body.document(BODY_BYTES_MAX).await?)?;
    let store = &call.gateway.store;
    let (ownership, locks) = (settings.ownership, settings.lock.is_some());
    // A repeated request may not say that an ACL, an ownership or a lock holds which does not.
    let is_repeated = || {
        let settings = store.bucket(name).map(|known| known.settings.clone());
        settings.is_ok_and(|known| {
            acl.as_ref().is_none_or(|acl| known.acl == *acl)
                && ownership.is_none_or(|ownership| known.ownership == Some(ownership))
                && (!locks || known.lock.is_some())
        })
    };
    match store.create_bucket(name, &key.id, settings).await {
        Ok(_) => {}
        // Source: AWS S3 API reference, CreateBucket: us-east-1 answers one's own bucket with 200.
        Err(StoreError::BucketAlreadyOwnedByYou)
            if call.gateway.region == CLASSIC_REGION && is_repeated() => {}
        Err(error) => return Err(S3Error::from(error).field("BucketName", name.as_str())),
    }
    let mut reply = empty(StatusCode::OK);
    if let Ok(location) = HeaderValue::try_from(format!("/{name}")) {
        reply.headers_mut().insert(header::LOCATION, location);
    }
    Ok(reply)
}

/// What a bucket begins with: where it is to have locks it keeps versions.
fn with_lock(call: &Call) -> BucketSettings {
    let asked = call.headers.get("x-amz-bucket-object-lock-enabled");
    if asked.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true")) {
        return BucketSettings {
            versioning: Versioning::Enabled,
            lock: Some(ObjectLock::default()),
            ..BucketSettings::default()
        };
    }
    BucketSettings::default()
}

/// Says that the bucket is there.
pub(crate) fn head_bucket(call: &Call) -> Reply {
    let mut reply = empty(StatusCode::OK);
    if let Ok(region) = HeaderValue::from_str(&call.gateway.region) {
        reply.headers_mut().insert("x-amz-bucket-region", region);
    }
    reply
}

/// Deletes an empty bucket, called by its own name: whoever deletes a nickname must not lose what it stands for.
///
/// # Errors
/// `InvalidRequest`: `name` is an alias.
pub(crate) async fn delete_bucket(call: &Call, bucket: &Bucket, name: &BucketName) -> S3Result<Reply> {
    if bucket.name != *name {
        let own = &bucket.name;
        return Err(S3Error::invalid_request(format!(
            "{name} is another name of the bucket {own}. Delete the bucket by its own name, or only this name with \
             `warren bucket alias`."
        ))
        .field("BucketName", own.as_str()));
    }
    call.gateway.store.delete_bucket(bucket).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Names the region; the classic one by saying nothing.
pub(crate) fn get_bucket_location(call: &Call) -> Reply {
    let region = Some(call.gateway.region.as_str()).filter(|region| *region != CLASSIC_REGION);
    let mut document = XmlWriter::document();
    document.root("LocationConstraint", |xml| {
        xml.content(region.unwrap_or_default())
    });
    xml(document.finish())
}
