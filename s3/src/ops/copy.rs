//! CopyObject and UploadPartCopy.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use storage::model::{Acl, Bucket, BucketName, How, ObjectKey, VersionId};
use storage::{CopyBody, CopyObject, Object};

use super::customer_key::{SealedWith, customer_key, source_customer_key, tell_customer_key};
use super::expiration::tell_expiration_of;
use super::get_object::insert;
use super::multipart::{checksum_element, part_target};
use super::object_lock::asked_lock;
use super::put_object::{conditional, object_acl, tell_encryption};
use super::slow::{self, Answer};
use crate::checksum::{self, ChecksumHeaders};
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::{
    CUSTOMER_KEY, LOCK_HOLD, LOCK_MODE, SOURCE_CUSTOMER_KEY, copy_range, object_headers, source_conditions,
    storage_class, text, write_condition,
};
use crate::response::Reply;
use crate::tags::tags_of_header;
use crate::uri::{decode_path, parse_key};
use crate::xml::XmlWriter;

const SOURCE: &str = "x-amz-copy-source";

/// What an `x-amz-copy-source` names.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    bucket: BucketName,
    key: ObjectKey,
    version: Option<VersionId>,
}

impl Source {
    /// Reads `/bucket/key?versionId=…`: the version is split off before decoding, so that a key may hold `?`.
    fn parse(text: &str) -> S3Result<Self> {
        let invalid = || {
            let message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
            S3Error::invalid_argument(SOURCE, text, message)
        };
        let (path, version) = match text.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let path = decode_path(path)?;
        let path = path.strip_prefix(b"/").unwrap_or(&path);
        let slash = path.iter().position(|byte| *byte == b'/').ok_or_else(invalid)?;
        let bucket = std::str::from_utf8(&path[..slash])
            .ok()
            .and_then(|name| BucketName::parse(name).ok());
        let version = version.map(VersionId::parse).transpose();
        let unknown = |_| S3Error::invalid_argument(SOURCE, text, "Invalid version id specified");
        Ok(Self {
            bucket: bucket.ok_or_else(invalid)?,
            key: parse_key(&path[slash + 1..])?,
            version: version.map_err(unknown)?,
        })
    }

    /// Opens the source for whoever may read it, if its conditions hold.
    async fn open(&self, call: &Call) -> S3Result<(Arc<Bucket>, Object)> {
        let bucket = call
            .bucket_of_owner(&self.bucket, "x-amz-source-expected-bucket-owner")
            .await?;
        let opened = call.readable(&bucket, &self.key, self.version).await;
        let object = opened.map_err(|error| match error.code() {
            S3Code::MethodNotAllowed => S3Error::invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ),
            _ => error,
        })?;
        object.unlock(source_customer_key(&call.headers)?)?;
        let info = object.info();
        let held = source_conditions(&call.headers).check(info.etag, info.modified);
        held.map_err(|_| S3Error::new(S3Code::PreconditionFailed))?;
        Ok((bucket, object))
    }
}

fn source(call: &Call) -> S3Result<Source> {
    Source::parse(text(&call.headers, SOURCE)?.unwrap_or_default())
}

/// Whether a directive says to replace rather than to copy.
fn replaces(call: &Call, directive: &str) -> S3Result<bool> {
    match text(&call.headers, directive)? {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(S3Error::invalid_argument(directive, other, "Unknown directive.")),
    }
}

/// Copies an object; no bytes move.
pub(crate) async fn copy_object(call: &Call, bucket: &Arc<Bucket>, key: &ObjectKey) -> S3Result<Reply> {
    let acl = object_acl(call, bucket, key)?;
    let condition = write_condition(&call.headers)?;
    call.allow_condition(bucket, key, condition)?;
    let from = source(call)?;
    let replaces_metadata = replaces(call, "x-amz-metadata-directive")?;
    let replaces_tags = replaces(call, "x-amz-tagging-directive")?;
    let changes = replaces_metadata || replaces_tags || changes_otherwise(&call.headers);
    let copy = CopyObject {
        headers: replaces_metadata
            .then(|| object_headers(&call.headers))
            .transpose()?,
        tags: match replaces_tags {
            true => Some(tags_of_header(&call.headers)?.unwrap_or_default()),
            false => None,
        },
        class: storage_class(&call.headers)?,
        lock: asked_lock(call, bucket, key)?,
        checksum: ChecksumHeaders::parse(&call.headers)?.algorithm,
        condition,
        customer: customer_key(&call.headers)?,
        cause: call.cause(bucket, How::Copy),
        invocation: call.invocation(),
    };
    let (source, object) = from.open(call).await?;
    // Not by their names: a bucket may have several.
    let is_itself = source.id == bucket.id && from.key == *key;
    let restores = from.version.is_some() && source.settings.versioning.was_ever_on();
    if is_itself && !changes && !restores {
        return Err(S3Error::invalid_request(
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes.",
        ));
    }
    let copy = with_headers(call, copy, &object, acl)?;
    let mut headers = HeaderMap::new();
    tell_source_version(&mut headers, &source, &object);
    tell_encryption(&mut headers);
    tell_customer_key(&mut headers, &call.headers);
    let (store, bucket, key) = (call.gateway.store.clone(), bucket.clone(), key.clone());
    let work = async move {
        let copied = store.copy_object(&object, &bucket, &key, copy).await;
        let outcome = copied.map_err(|error| conditional(condition, error))?;
        let mut document = XmlWriter::fragment();
        document.root("CopyObjectResult", |xml| {
            xml.time("LastModified", outcome.modified);
            xml.etag("ETag", outcome.etag);
            if let Some(checksum) = &outcome.checksum {
                xml.text(
                    checksum::element_name(checksum.value.algorithm()),
                    &checksum::print(checksum),
                );
                xml.text("ChecksumType", checksum::kind_name(checksum.kind));
            }
        });
        tell_expiration_of(&mut headers, &store, &bucket, &key, &outcome).await;
        if let Some(version) = outcome.version {
            insert(
                &mut headers,
                HeaderName::from_static("x-amz-version-id"),
                &version.to_string(),
            );
        }
        Ok(Answer { headers, document })
    };
    slow::answer(call, work).await
}

/// Whether a copy changes anything that no directive names.
fn changes_otherwise(headers: &HeaderMap) -> bool {
    [
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
        "x-amz-server-side-encryption",
        CUSTOMER_KEY.algorithm,
        SOURCE_CUSTOMER_KEY.algorithm,
        "x-amz-checksum-algorithm",
        LOCK_MODE,
        LOCK_HOLD,
    ]
    .into_iter()
    .any(|name| headers.contains_key(name))
}

/// An ACL is never copied, and a redirect given with a copy holds, also where all other metadata is the source's.
fn with_headers(call: &Call, copy: CopyObject, source: &Object, acl: Acl) -> S3Result<CopyObject> {
    let given = copy.headers.is_some();
    let mut headers = copy.headers.unwrap_or_else(|| source.info().headers.clone());
    headers.acl = acl;
    if !given && call.headers.contains_key("x-amz-website-redirect-location") {
        headers.website_redirect = object_headers(&call.headers)?.website_redirect;
    }
    Ok(CopyObject {
        headers: Some(headers),
        ..copy
    })
}

fn tell_source_version(headers: &mut HeaderMap, bucket: &Bucket, source: &Object) {
    if bucket.settings.versioning.was_ever_on() {
        let name = HeaderName::from_static("x-amz-copy-source-version-id");
        insert(headers, name, &source.info().version.to_string());
    }
}

/// Stores a part from a range of an object.
pub(crate) async fn upload_part_copy(call: &Call, bucket: &Arc<Bucket>, key: &ObjectKey) -> S3Result<Reply> {
    let (upload, number) = part_target(&call.query)?;
    let from = source(call)?;
    let known = call.gateway.store.upload(bucket, key, upload).await?;
    let (source, object) = from.open(call).await?;
    let range = copy_range(&call.headers, object.info().size)?;
    let mut headers = HeaderMap::new();
    tell_source_version(&mut headers, &source, &object);
    tell_encryption(&mut headers);
    tell_customer_key(&mut headers, &call.headers);
    let body = SealedWith {
        key: customer_key(&call.headers)?,
        body: CopyBody::new(&object, range, known.checksum),
    };
    let (store, bucket, key) = (call.gateway.store.clone(), bucket.clone(), key.clone());
    let work = async move {
        let outcome = store.put_part(&bucket, &key, upload, number, body).await?;
        let mut document = XmlWriter::fragment();
        document.root("CopyPartResult", |xml| {
            xml.time("LastModified", outcome.modified);
            xml.etag("ETag", outcome.etag);
            checksum_element(xml, outcome.checksum.as_ref());
        });
        Ok(Answer { headers, document })
    };
    slow::answer(call, work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_split_before_it_is_decoded() {
        let key = |text: &str| {
            let source = Source::parse(text).unwrap();
            (source.key.as_str().to_owned(), source.version)
        };
        assert_eq!(key("bucket/a/b"), ("a/b".into(), None));
        assert_eq!(key("/bucket/a%20b+c"), ("a b+c".into(), None));
        assert_eq!(key("bucket%2Fkey"), ("key".into(), None));
        assert_eq!(key("bucket//a"), ("/a".into(), None));
        assert_eq!(
            key("bucket/k?versionId=null"),
            ("k".into(), Some(VersionId::Null))
        );
        assert_eq!(
            key("bucket/k%3FversionId=null"),
            ("k?versionId=null".into(), None)
        );
        for bad in [
            "",
            "bucket",
            "/bucket",
            "bucket/",
            "B/k",
            "bucket/k?versionId=x",
            "bucket/%zz",
        ] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }
}
