//! ListObjects and ListObjectsV2.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use storage::model::{Bucket, ETag};
use storage::{ListObjects, ListedFacts, ObjectPage};

use super::listing::{Listing, bucket_name, checksum_algorithm, given, owner_for};
use super::user::User;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, xml};
use crate::time::IsoTime;
use crate::xml::{KeyEncoding, XmlWriter, hex_digits};

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

fn entries(xml: &mut XmlWriter, listing: &Listing<'_>, page: &ObjectPage, owner: Option<&User>) {
    let mut contents = Contents::new(listing.encoding, owner);
    for (key, facts) in page.objects() {
        contents.write(xml, key, facts);
    }
    listing.prefixes(xml, &page.prefixes);
}

/// What stands between key and size of an object that was not uploaded in parts.
const MIDDLE: &[u8; 116] = b"</Key><LastModified>1970-01-01T00:00:00.000Z</LastModified>\
    <ETag>&quot;00000000000000000000000000000000&quot;</ETag>";
/// Where in it the moment stands.
const TIME: Range<usize> = 20..44;
/// Where in it the digits of the MD5 stand.
const MD5: Range<usize> = 71..103;

/// Writes objects of a listing. A page has a thousand, so most of each is copied in one piece.
struct Contents {
    encoding: KeyEncoding,
    middle: [u8; 116],
    iso: IsoTime,
    /// The element that names the owner of each object, if they are to be named.
    owner: Vec<u8>,
}

impl Contents {
    fn new(encoding: KeyEncoding, owner: Option<&User>) -> Self {
        let mut xml = XmlWriter::fragment();
        if let Some(owner) = owner {
            owner.element(&mut xml, "Owner");
        }
        Self {
            encoding,
            middle: *MIDDLE,
            iso: IsoTime::default(),
            owner: xml.finish(),
        }
    }

    fn write(&mut self, xml: &mut XmlWriter, key: &str, facts: &ListedFacts) {
        xml.markup(b"<Contents><Key>");
        xml.key_content(key, self.encoding);
        match facts.etag {
            ETag::Md5(md5) => {
                self.middle[TIME].copy_from_slice(self.iso.bytes(facts.modified));
                self.middle[MD5].copy_from_slice(&hex_digits(md5));
                xml.markup(&self.middle);
            }
            ETag::Multipart { .. } => {
                xml.markup(b"</Key>");
                xml.time("LastModified", facts.modified);
                xml.etag("ETag", facts.etag);
            }
        }
        checksum_algorithm(xml, facts.checksum);
        xml.number("Size", facts.size);
        xml.markup(&self.owner);
        xml.text("StorageClass", facts.class.name());
        xml.markup(b"</Contents>");
    }
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
        entries(xml, &listing, &page, owner_for(call, bucket).as_ref());
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
        let owner = owner_for(call, bucket).filter(|_| fetch_owner);
        entries(xml, &listing, &page, owner.as_ref());
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
    use storage::model::{ChecksumAlgorithm, StorageClass, Timestamp};

    use super::*;

    fn written(key: &str, etag: ETag, owner: Option<&str>) -> String {
        let facts = ListedFacts {
            size: 1024,
            etag,
            modified: Timestamp::from_millis(1_795_335_000_007),
            class: StorageClass::Standard,
            checksum: owner.map(|_| ChecksumAlgorithm::Sha256),
        };
        let mut xml = XmlWriter::fragment();
        Contents::new(KeyEncoding::Plain, owner.map(User::unnamed).as_ref()).write(&mut xml, key, &facts);
        String::from_utf8(xml.finish()).unwrap()
    }

    #[test]
    fn an_object_is_listed_as_s3_lists_it() {
        let md5 = *b"\x00\x19\x2a\xf0\x9f\xa9\x12\x34\x56\x78\x90\xab\xcd\xef\xff\x0a";
        assert_eq!(
            written("a&b", ETag::Md5(md5), None),
            "<Contents><Key>a&amp;b</Key><LastModified>2026-11-22T08:10:00.007Z</LastModified>\
             <ETag>&quot;00192af09fa91234567890abcdefff0a&quot;</ETag><Size>1024</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        );
        assert_eq!(
            written("k", ETag::Multipart { md5, parts: 2 }, Some("me")),
            "<Contents><Key>k</Key><LastModified>2026-11-22T08:10:00.007Z</LastModified>\
             <ETag>&quot;00192af09fa91234567890abcdefff0a-2&quot;</ETag>\
             <ChecksumAlgorithm>SHA256</ChecksumAlgorithm><Size>1024</Size>\
             <Owner><ID>me</ID><DisplayName>me</DisplayName></Owner>\
             <StorageClass>STANDARD</StorageClass></Contents>"
        );
    }

    #[test]
    fn a_token_names_any_key() {
        for key in ["a", "a/b+c d", "e\u{301}\u{1}"] {
            assert_eq!(after_token(&token_after(key)).unwrap(), key);
        }
        assert!(after_token("not a token").is_err());
    }
}
