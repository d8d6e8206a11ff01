//! ListObjects and ListObjectsV2.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use storage::model::Bucket;
use storage::{ListObjects, ObjectPage};

use super::listing::{Listing, bucket_name, checksum_algorithm, given, owner_for, user};
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, xml};
use crate::xml::XmlWriter;

/// About how many bytes an entry takes, so that a page is written without growing its buffer often.
const ENTRY_BYTES: usize = 320;

async fn page(
    call: &Call,
    bucket: &Bucket,
    listing: &Listing<'_>,
    after: Option<String>,
) -> S3Result<ObjectPage> {
    let list = ListObjects {
        prefix: listing.prefix.to_owned(),
        delimiter: listing.delimiter.map(str::to_owned),
        after,
        max: listing.max,
    };
    let mut page = call.gateway.store.list_objects(bucket, list).await?;
    if listing.max == 0 {
        page.next = None;
    }
    Ok(page)
}

fn document(page: &ObjectPage) -> XmlWriter {
    XmlWriter::with_capacity(1024 + ENTRY_BYTES * page.entries())
}

fn entries(xml: &mut XmlWriter, listing: &Listing<'_>, page: &ObjectPage, owner: Option<&str>) {
    for (key, object) in page.objects() {
        xml.element("Contents", |xml| {
            listing.key(xml, "Key", key);
            xml.time("LastModified", object.modified);
            xml.etag("ETag", object.etag);
            checksum_algorithm(xml, object.checksum);
            xml.number("Size", object.size);
            if let Some(owner) = owner {
                user(xml, "Owner", owner, owner);
            }
            xml.text("StorageClass", object.class.name());
        });
    }
    listing.prefixes(xml, &page.prefixes);
}

/// Lists as version 1: the marker is a key, and every object names its owner.
pub(crate) async fn list_objects(call: &Call, bucket: &Bucket) -> S3Result<Reply> {
    let listing = Listing::parse(&call.query, "max-keys")?;
    let marker = call.query.get("marker").unwrap_or_default();
    let after = (!marker.is_empty()).then(|| marker.to_owned());
    let page = page(call, bucket, &listing, after).await?;
    let mut document = document(&page);
    document.root("ListBucketResult", |xml| {
        bucket_name(xml, &bucket.name);
        listing.key(xml, "Marker", marker);
        listing.repeat(xml, "MaxKeys");
        xml.boolean("IsTruncated", page.next.is_some());
        if let Some(next) = page.next.as_deref().filter(|_| listing.delimiter.is_some()) {
            listing.key(xml, "NextMarker", next);
        }
        entries(xml, &listing, &page, owner_for(call, bucket));
    });
    Ok(xml(document.finish()))
}

/// Lists as version 2: the next page is named by a token.
pub(crate) async fn list_objects_v2(call: &Call, bucket: &Bucket) -> S3Result<Reply> {
    let listing = Listing::parse(&call.query, "max-keys")?;
    let token = call.query.get("continuation-token");
    let start_after = given(&call.query, "start-after");
    let after = match token.filter(|token| !token.is_empty()) {
        Some(token) => Some(after_token(token)?),
        None => start_after.map(str::to_owned),
    };
    let fetch_owner = call.query.get("fetch-owner") == Some("true");
    let page = page(call, bucket, &listing, after).await?;
    let mut document = document(&page);
    document.root("ListBucketResult", |xml| {
        bucket_name(xml, &bucket.name);
        listing.repeat(xml, "MaxKeys");
        xml.number("KeyCount", page.entries() as u64);
        xml.boolean("IsTruncated", page.next.is_some());
        xml.text_if("ContinuationToken", token);
        if let Some(next) = &page.next {
            xml.text("NextContinuationToken", &token_after(next));
        }
        if let Some(start_after) = start_after {
            listing.key(xml, "StartAfter", start_after);
        }
        entries(
            xml,
            &listing,
            &page,
            owner_for(call, bucket).filter(|_| fetch_owner),
        );
    });
    Ok(xml(document.finish()))
}

/// A token is the key after which the next page begins, in an alphabet that survives every client.
fn token_after(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

fn after_token(token: &str) -> S3Result<String> {
    URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|key| String::from_utf8(key).ok())
        .ok_or_else(|| {
            let message = "The continuation token provided is incorrect";
            S3Error::invalid_argument("continuation-token", token, message)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_any_key() {
        for key in ["a", "a/b+c d", "e\u{301}\u{1}"] {
            assert_eq!(after_token(&token_after(key)).unwrap(), key);
        }
        assert!(after_token("not a token").is_err());
    }
}
