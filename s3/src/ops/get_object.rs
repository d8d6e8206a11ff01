//! GetObject and HeadObject.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use storage::model::{
    Bucket, ChecksumValue, ETag, ObjectKey, PartNumber, ReadRefusal, StorageClass, VersionId,
};
use storage::{Object, ObjectInfo};

use super::customer_key::{customer_key, tell_customer_key};
use super::expiration::tell_expiration;
use super::object_lock::tell_lock;
use super::put_object::tell_encryption;
use crate::checksum;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::{META, read_conditions, requested_range};
use crate::response::{Reply, content, empty};
use crate::time::{http_date, parse_http_date};
use crate::uri::Query;

/// Parameters that replace a header of the response.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", header::CONTENT_TYPE),
    ("response-content-language", header::CONTENT_LANGUAGE),
    ("response-expires", header::EXPIRES),
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-encoding", header::CONTENT_ENCODING),
];

/// Which bytes of an object are sent.
enum Selection {
    Whole,
    Range(Range<u64>),
    Part {
        range: Range<u64>,
        parts: usize,
        checksum: Option<ChecksumValue>,
    },
}

/// Sends an object, or for HEAD what there is to know about it; content is read only where it is sent.
pub(crate) async fn get_object(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let object = call.readable(bucket, key, version_id(&call.query)?).await?;
    object.unlock(customer_key(&call.headers)?)?;
    let info = object.info();
    if let Err(refusal) = read_conditions(&call.headers).check(info.etag, info.modified) {
        return refused(bucket, refusal, info);
    }
    let selection = select(call, &object).await?;
    let mut reply = empty(StatusCode::OK);
    describe(reply.headers_mut(), info);
    tell_customer_key(reply.headers_mut(), &call.headers);
    tell_version(reply.headers_mut(), bucket, info);
    tell_lock(call, bucket, key, reply.headers_mut(), info);
    if info.is_current {
        let facts = (info.size, info.modified);
        tell_expiration(reply.headers_mut(), bucket, key, facts, &info.headers.tags);
    }
    let range = match &selection {
        Selection::Whole => 0..info.size,
        Selection::Range(range) | Selection::Part { range, .. } => range.clone(),
    };
    if !matches!(selection, Selection::Whole) {
        *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
        tell_range(reply.headers_mut(), &range, info.size);
    }
    if let Selection::Part {
        parts: parts @ 1.., ..
    } = &selection
    {
        insert(
            reply.headers_mut(),
            HeaderName::from_static("x-amz-mp-parts-count"),
            &parts.to_string(),
        );
    }
    if call
        .headers
        .get("x-amz-checksum-mode")
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"enabled"))
    {
        tell_selected_checksum(reply.headers_mut(), &selection, info);
    }
    override_headers(call, reply.headers_mut())?;
    let bytes = range.end - range.start;
    if call.head {
        reply
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    } else {
        *reply.body_mut() = content(call, object.read(range), bytes).await?;
    }
    Ok(reply)
}

/// Opens the object, or the version, a request names.
///
/// # Errors
/// `NoSuchKey`, `NoSuchVersion`, or `AccessDenied` in their place.
pub(super) async fn open(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Object> {
    let version = version_id(&call.query)?;
    let opened = call.gateway.store.object(bucket, key, version).await;
    opened.map_err(|error| call.absence(bucket, S3Error::from(error).field("Key", key.as_str())))
}

/// The `versionId` of a request.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn version_id(query: &Query) -> S3Result<Option<VersionId>> {
    let Some(text) = query.get("versionId") else {
        return Ok(None);
    };
    VersionId::parse(text)
        .map(Some)
        .map_err(|_| S3Error::invalid_argument("versionId", text, "Invalid version id specified"))
}

/// The `partNumber` of a request.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn part_number(query: &Query) -> S3Result<Option<PartNumber>> {
    let Some(text) = query.get("partNumber") else {
        return Ok(None);
    };
    text.parse::<u16>()
        .ok()
        .and_then(|number| PartNumber::new(number).ok())
        .map(Some)
        .ok_or_else(|| {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            S3Error::invalid_argument("partNumber", text, message)
        })
}

/// A 304, which still says what it is about, or a 412.
fn refused(bucket: &Bucket, refusal: ReadRefusal, info: &ObjectInfo) -> S3Result<Reply> {
    if refusal == ReadRefusal::PreconditionFailed {
        return Err(S3Error::new(S3Code::PreconditionFailed));
    }
    let mut reply = empty(StatusCode::NOT_MODIFIED);
    let headers = reply.headers_mut();
    headers.insert(header::ETAG, etag_value(info.etag));
    insert(headers, header::LAST_MODIFIED, &http_date(info.modified));
    insert_if(
        headers,
        header::CACHE_CONTROL,
        info.headers.cache_control.as_deref(),
    );
    insert_if(headers, header::EXPIRES, info.headers.expires.as_deref());
    tell_version(headers, bucket, info);
    Ok(reply)
}

async fn select(call: &Call, object: &Object) -> S3Result<Selection> {
    let info = object.info();
    let part = part_number(&call.query)?;
    let has_range = call.headers.contains_key(header::RANGE);
    match part {
        Some(_) if has_range => Err(S3Error::invalid_request(
            "Cannot specify both Range header and partNumber query parameter",
        )),
        Some(part) => select_part(object, part).await,
        None if has_range && range_applies(&call.headers, info) => {
            Ok(requested_range(&call.headers, info.size)?.map_or(Selection::Whole, Selection::Range))
        }
        None => Ok(Selection::Whole),
    }
}

/// Whether the object is still the one of which the client has a part (`If-Range`, RFC 9110 section 13.1.5).
fn range_applies(headers: &HeaderMap, info: &ObjectInfo) -> bool {
    let Some(validator) = headers
        .get(header::IF_RANGE)
        .map(|value| value.to_str().unwrap_or_default())
    else {
        return true;
    };
    match parse_http_date(validator) {
        Some(date) => date == info.modified.as_secs(),
        None => ETag::parse(validator) == Ok(info.etag),
    }
}

async fn select_part(object: &Object, wanted: PartNumber) -> S3Result<Selection> {
    let info = object.info();
    let parts = object.parts().await?;
    if parts.is_empty() && wanted == PartNumber::FIRST {
        let checksum = info.checksum.map(|checksum| checksum.value);
        return Ok(Selection::Part {
            range: 0..info.size,
            parts: 0,
            checksum,
        });
    }
    let mut start = 0_u64;
    for part in &parts {
        let end = start.saturating_add(part.size);
        if part.number == wanted {
            return Ok(Selection::Part {
                range: start..end,
                parts: parts.len(),
                checksum: part.checksum,
            });
        }
        start = end;
    }
    Err(
        S3Error::with_message(S3Code::InvalidPart, "The object has no part of that number.")
            .field("PartNumber", wanted.get().to_string()),
    )
}

/// Everything a response says about an object but its length.
fn describe(headers: &mut HeaderMap, info: &ObjectInfo) {
    headers.reserve(13);
    headers.insert(header::ETAG, etag_value(info.etag));
    insert(headers, header::LAST_MODIFIED, &http_date(info.modified));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let said = &info.headers;
    match &said.content_type {
        Some(content_type) => insert(headers, header::CONTENT_TYPE, content_type),
        None => {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("binary/octet-stream"),
            );
        }
    }
    insert_if(
        headers,
        header::CONTENT_ENCODING,
        said.content_encoding.as_deref(),
    );
    insert_if(
        headers,
        header::CONTENT_DISPOSITION,
        said.content_disposition.as_deref(),
    );
    insert_if(
        headers,
        header::CONTENT_LANGUAGE,
        said.content_language.as_deref(),
    );
    insert_if(headers, header::CACHE_CONTROL, said.cache_control.as_deref());
    insert_if(headers, header::EXPIRES, said.expires.as_deref());
    let redirect = HeaderName::from_static("x-amz-website-redirect-location");
    insert_if(headers, redirect, said.website_redirect.as_deref());
    for (name, value) in &said.user {
        if let Ok(name) = HeaderName::try_from(format!("{META}{name}")) {
            insert(headers, name, value);
        }
    }
    if !said.tags.is_empty() {
        insert(
            headers,
            HeaderName::from_static("x-amz-tagging-count"),
            &said.tags.len().to_string(),
        );
    }
    if info.class != StorageClass::Standard {
        headers.insert("x-amz-storage-class", HeaderValue::from_static(info.class.name()));
    }
    tell_encryption(headers);
}

/// Names the version where versioning ever was on.
pub(super) fn tell_version(headers: &mut HeaderMap, bucket: &Bucket, info: &ObjectInfo) {
    tell_version_id(headers, bucket, info.version);
}

/// As [`tell_version`], by its id.
pub(super) fn tell_version_id(headers: &mut HeaderMap, bucket: &Bucket, version: VersionId) {
    if bucket.settings.versioning.was_ever_on() {
        insert(
            headers,
            HeaderName::from_static("x-amz-version-id"),
            &version.to_string(),
        );
    }
}

fn tell_range(headers: &mut HeaderMap, range: &Range<u64>, size: u64) {
    // An empty part has no first and last byte to name.
    if let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) {
        insert(
            headers,
            header::CONTENT_RANGE,
            &format!("bytes {}-{last}/{size}", range.start),
        );
    }
}

/// The checksum of what is sent, where there is one: of a range there is none.
fn tell_selected_checksum(headers: &mut HeaderMap, selection: &Selection, info: &ObjectInfo) {
    match (selection, info.checksum) {
        (Selection::Whole, Some(checksum)) => tell_checksum(headers, &checksum),
        (
            Selection::Part {
                checksum: Some(value),
                ..
            },
            Some(whole),
        ) => {
            let name = HeaderName::from_static(checksum::header_name(value.algorithm()));
            insert(headers, name, &checksum::print_value(value));
            headers.insert(
                "x-amz-checksum-type",
                HeaderValue::from_static(checksum::kind_name(whole.kind)),
            );
        }
        _ => {}
    }
}

/// The checksum of an object and over what it is.
pub(super) fn tell_checksum(headers: &mut HeaderMap, checksum: &storage::model::Checksum) {
    let name = HeaderName::from_static(checksum::header_name(checksum.value.algorithm()));
    insert(headers, name, &checksum::print(checksum));
    headers.insert(
        "x-amz-checksum-type",
        HeaderValue::from_static(checksum::kind_name(checksum.kind)),
    );
}

/// Replaces headers as the query says; only for whoever signed, else a link could be made to say anything.
fn override_headers(call: &Call, headers: &mut HeaderMap) -> S3Result<()> {
    if call.query.is_empty() {
        return Ok(());
    }
    for (parameter, name) in OVERRIDES {
        let Some(value) = call.query.get(parameter) else {
            continue;
        };
        if !call.is_signed() {
            return Err(S3Error::invalid_request(
                "Request specific response headers cannot be used for anonymous GET requests.",
            ));
        }
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| S3Error::invalid_argument(parameter, value, "A header cannot have this value."))?;
        headers.insert(name, value);
    }
    Ok(())
}

/// An entity tag in its quotes.
pub(super) fn etag_value(etag: ETag) -> HeaderValue {
    let mut text = [b'"'; 34];
    let hashed = match etag {
        ETag::Md5(md5) => hex::encode_to_slice(md5, &mut text[1..33])
            .map(|()| HeaderValue::from_bytes(&text).ok())
            .ok()
            .flatten(),
        ETag::Multipart { .. } => None,
    };
    hashed
        .or_else(|| HeaderValue::try_from(format!("\"{etag}\"")).ok())
        .unwrap_or_else(|| HeaderValue::from_static("\"\""))
}

/// Sets a header to text a client once sent or we made; what no header can carry is left out.
pub(super) fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

fn insert_if(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(value) = value {
        insert(headers, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_stands_in_quotes() {
        assert_eq!(
            etag_value(ETag::Md5([0xab; 16])),
            format!("\"{}\"", "ab".repeat(16))
        );
        let multipart = ETag::Multipart {
            md5: [1; 16],
            parts: 3,
        };
        assert_eq!(etag_value(multipart), format!("\"{}-3\"", "01".repeat(16)));
    }
}
