//! Reads what the headers of a request say about objects, and refuses those that would not be honoured.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};
use storage::model::{
    ETag, ETagMatch, Likeness, Lock, ObjectHeaders, ReadConditions, Retention, StorageClass, Timestamp,
    WriteCondition,
};

use crate::error::{S3Code, S3Error, S3Result};
use crate::route::{BucketOperation, ObjectOperation, Operation};
use crate::tags::tags_of_header;
use crate::time::{parse_http_date, parse_iso};
use crate::xml::mode_of;

mod range;

pub use range::{BehindTheEnd, range_of};
pub(crate) use range::{copy_range, requested_range};

/// The header that gives an object tags while it is written.
pub(crate) const TAGGING: &str = "x-amz-tagging";

/// The headers that lock an object while it is written, and show its lock.
pub(crate) const LOCK_MODE: &str = "x-amz-object-lock-mode";
pub(crate) const LOCK_UNTIL: &str = "x-amz-object-lock-retain-until-date";
pub(crate) const LOCK_HOLD: &str = "x-amz-object-lock-legal-hold";
/// The header that bypasses retentions of governance.
pub(crate) const BYPASS: &str = "x-amz-bypass-governance-retention";

/// The header that takes receivers of events unseen: another box may be the one that knows them.
pub(crate) const SKIP_VALIDATION: &str = "x-amz-skip-destination-validation";

/// Further conditions of a delete.
const IF_MODIFIED_AT: &str = "x-amz-if-match-last-modified-time";
const IF_SIZE: &str = "x-amz-if-match-size";

/// The headers that bring along the key of a customer.
pub(crate) struct CustomerHeaders {
    /// What it is for: `AES256`.
    pub(crate) algorithm: &'static str,
    /// Its 32 bytes, in base64.
    pub(crate) key: &'static str,
    /// Their MD5, in base64.
    pub(crate) md5: &'static str,
}

/// The key of what is written, or read.
pub(crate) const CUSTOMER_KEY: CustomerHeaders = CustomerHeaders {
    algorithm: "x-amz-server-side-encryption-customer-algorithm",
    key: "x-amz-server-side-encryption-customer-key",
    md5: "x-amz-server-side-encryption-customer-key-md5",
};
/// The key of the source of a copy.
pub(crate) const SOURCE_CUSTOMER_KEY: CustomerHeaders = CustomerHeaders {
    algorithm: "x-amz-copy-source-server-side-encryption-customer-algorithm",
    key: "x-amz-copy-source-server-side-encryption-customer-key",
    md5: "x-amz-copy-source-server-side-encryption-customer-key-md5",
};

/// From which size on objects change their class.
pub(crate) const TRANSITION_SIZE: &str = "x-amz-transition-default-minimum-object-size";
/// What it says of every bucket.
pub(crate) const TRANSITION_SIZE_DEFAULT: &str = "all_storage_classes_128K";

/// The prefix of user metadata.
pub(crate) const META: &str = "x-amz-meta-";

/// Most bytes of names and values of user metadata. Source: AWS S3 user guide, "Working with object metadata".
const METADATA_BYTES_MAX: usize = 2048;

/// The bytes of a header as text, if it is there.
///
/// # Errors
/// `InvalidArgument`: not UTF-8.
pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> S3Result<Option<&'h str>> {
    headers.get(name).map(|value| utf8(name, value)).transpose()
}

fn utf8<'h>(name: &str, value: &'h HeaderValue) -> S3Result<&'h str> {
    std::str::from_utf8(value.as_bytes())
        .map_err(|_| S3Error::invalid_argument(name, "", "The value of this header is not UTF-8."))
}

/// Refuses a request with a header that changes what it means and that Warren does not honour.
///
/// # Errors
/// `NotImplemented` that names the header; `InvalidRequest` where AWS says so.
pub(crate) fn refuse_unhonoured(operation: &Operation, headers: &HeaderMap) -> S3Result<()> {
    for (name, value) in headers {
        if let Some(rest) = name.as_str().strip_prefix("x-amz-") {
            refuse_amz(rest, value)?;
        }
    }
    for (name, is_honoured) in [
        (LOCK_MODE, may_lock(operation)),
        (LOCK_UNTIL, may_lock(operation)),
        (LOCK_HOLD, may_lock(operation)),
        (CUSTOMER_KEY.algorithm, may_be_sealed(operation)),
        (CUSTOMER_KEY.key, may_be_sealed(operation)),
        (CUSTOMER_KEY.md5, may_be_sealed(operation)),
        (SOURCE_CUSTOMER_KEY.algorithm, is_copy(operation)),
        (SOURCE_CUSTOMER_KEY.key, is_copy(operation)),
        (SOURCE_CUSTOMER_KEY.md5, is_copy(operation)),
        (IF_MODIFIED_AT, is_delete(operation)),
        (IF_SIZE, is_delete(operation)),
        (SKIP_VALIDATION, names_receivers(operation)),
    ] {
        if !is_honoured && headers.contains_key(name) {
            return Err(not_implemented(name));
        }
    }
    if let Operation::Object(_, _, op) = operation
        && is_part(*op)
        && let Some(name) = WRITE_CONDITIONS.iter().find(|name| headers.contains_key(*name))
    {
        return Err(not_implemented(name.as_str()));
    }
    let refused: &[HeaderName] = match operation {
        Operation::Object(_, _, op) if is_upload(*op) => &[
            header::CONTENT_RANGE,
            header::RANGE,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
        ],
        Operation::Object(_, _, ObjectOperation::DeleteObject) => &[
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::IF_UNMODIFIED_SINCE,
        ],
        Operation::CreateBucket(_) => &WRITE_CONDITIONS,
        _ => &[],
    };
    match refused.iter().find(|name| headers.contains_key(*name)) {
        Some(name) => Err(not_implemented(name.as_str())),
        None => Ok(()),
    }
}

/// Conditions of a write; only what makes an object current can honour them.
const WRITE_CONDITIONS: [HeaderName; 2] = [header::IF_MATCH, header::IF_NONE_MATCH];

/// Whether an operation prepares an object that another one makes current.
const fn is_part(operation: ObjectOperation) -> bool {
    matches!(
        operation,
        ObjectOperation::CreateMultipartUpload
            | ObjectOperation::UploadPart
            | ObjectOperation::UploadPartCopy
    )
}

/// Whether an operation makes an object that it may lock.
const fn may_lock(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Object(
            _,
            _,
            ObjectOperation::PutObject | ObjectOperation::CopyObject | ObjectOperation::CreateMultipartUpload
        )
    )
}

/// Whether an operation is about content that the key of a customer may seal.
const fn may_be_sealed(operation: &Operation) -> bool {
    use ObjectOperation as Op;
    matches!(
        operation,
        Operation::Object(
            _,
            _,
            Op::GetObject
                | Op::HeadObject
                | Op::GetObjectAttributes
                | Op::PutObject
                | Op::CopyObject
                | Op::CreateMultipartUpload
                | Op::UploadPart
                | Op::UploadPartCopy
                | Op::CompleteMultipartUpload
        )
    )
}

const fn is_copy(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Object(
            _,
            _,
            ObjectOperation::CopyObject | ObjectOperation::UploadPartCopy
        )
    )
}

const fn is_delete(operation: &Operation) -> bool {
    matches!(operation, Operation::Object(_, _, ObjectOperation::DeleteObject))
}

const fn names_receivers(operation: &Operation) -> bool {
    use BucketOperation::PutBucketNotificationConfiguration;
    matches!(
        operation,
        Operation::Bucket(_, PutBucketNotificationConfiguration)
    )
}

const fn is_upload(operation: ObjectOperation) -> bool {
    matches!(
        operation,
        ObjectOperation::PutObject | ObjectOperation::UploadPart | ObjectOperation::CompleteMultipartUpload
    )
}

fn not_implemented(header: &str) -> S3Error {
    S3Error::not_implemented(format!(
        "A header you provided implies functionality that is not implemented: {header}."
    ))
    .field("Header", header)
}

/// Decides about one `x-amz-*` header, named without its prefix.
fn refuse_amz(rest: &str, value: &HeaderValue) -> S3Result<()> {
    let honoured = match rest {
        // Authentication and checksums, read where they are verified.
        "date"
        | "content-sha256"
        | "security-token"
        | "decoded-content-length"
        | "trailer"
        | "sdk-checksum-algorithm"
        | "checksum-algorithm"
        | "checksum-mode"
        | "checksum-type"
        | "checksum-crc32"
        | "checksum-crc32c"
        | "checksum-crc64nvme"
        | "checksum-sha1"
        | "checksum-sha256" => true,
        // Objects and copies.
        "acl"
        | "grant-full-control"
        | "grant-read"
        | "grant-read-acp"
        | "grant-write"
        | "grant-write-acp"
        | "storage-class"
        | "tagging"
        | "tagging-directive"
        | "metadata-directive"
        | "website-redirect-location"
        | "mp-object-size"
        | "copy-source"
        | "copy-source-range"
        | "copy-source-if-match"
        | "copy-source-if-none-match"
        | "copy-source-if-modified-since"
        | "copy-source-if-unmodified-since"
        | "expected-bucket-owner"
        | "source-expected-bucket-owner"
        | "object-attributes"
        | "max-parts"
        | "part-number-marker"
        | "if-match-last-modified-time"
        | "if-match-size"
        | "bypass-governance-retention"
        | "object-lock-mode"
        | "object-lock-retain-until-date"
        | "object-lock-legal-hold" => true,
        // True without our doing anything: nobody pays, and these only describe the client.
        "request-payer"
        | "user-agent"
        | "confirm-remove-self-bucket-access"
        | "optional-object-attributes"
        | "te" => true,
        // Decided by operation.
        "server-side-encryption-customer-algorithm"
        | "server-side-encryption-customer-key"
        | "server-side-encryption-customer-key-md5"
        | "copy-source-server-side-encryption-customer-algorithm"
        | "copy-source-server-side-encryption-customer-key"
        | "copy-source-server-side-encryption-customer-key-md5"
        | "skip-destination-validation" => true,
        // Nothing changes its class here, and this is what is told.
        "transition-default-minimum-object-size" => value == TRANSITION_SIZE_DEFAULT,
        // Every block is encrypted, by keys of this store.
        "server-side-encryption" => value == "AES256",
        "bucket-object-lock-enabled" => {
            let value = value.as_bytes();
            value.eq_ignore_ascii_case(b"true") || value.eq_ignore_ascii_case(b"false")
        }
        "server-side-encryption-bucket-key-enabled" => value.as_bytes().eq_ignore_ascii_case(b"false"),
        // Objects belong to the owner of their bucket, whoever writes them.
        "object-ownership" => value == "BucketOwnerEnforced" || value == "BucketOwnerPreferred",
        _ if rest.starts_with("meta-") || rest.starts_with("cf-") => true,
        _ => false,
    };
    if honoured {
        Ok(())
    } else {
        Err(not_implemented(&format!("x-amz-{rest}")))
    }
}

/// The lock that headers ask for, as far as they can be read; whoever writes the object refuses what cannot.
pub(crate) fn lock_in(headers: &HeaderMap) -> Lock {
    let said = |name| headers.get(name)?.to_str().ok();
    let retention = || {
        let (mode, until) = (mode_of(said(LOCK_MODE)?)?, parse_iso(said(LOCK_UNTIL)?)?);
        Some(Retention { mode, until })
    };
    Lock {
        retention: retention(),
        legal_hold: said(LOCK_HOLD).map(|hold| hold == "ON"),
    }
}

/// What a request says about an object to be, tags included.
///
/// # Errors
/// `MetadataTooLarge`, `InvalidTag`, `InvalidArgument` for text that is not UTF-8.
pub(crate) fn object_headers(headers: &HeaderMap) -> S3Result<ObjectHeaders> {
    let owned = |name: HeaderName| text(headers, name.as_str()).map(|text| text.map(str::to_owned));
    let mut object = ObjectHeaders {
        content_type: owned(header::CONTENT_TYPE)?,
        content_encoding: text(headers, "content-encoding")?.and_then(without_aws_chunked),
        content_disposition: owned(header::CONTENT_DISPOSITION)?,
        content_language: owned(header::CONTENT_LANGUAGE)?,
        cache_control: owned(header::CACHE_CONTROL)?,
        expires: owned(header::EXPIRES)?,
        website_redirect: redirect(headers)?,
        tags: tags_of_header(headers)?.unwrap_or_default(),
        ..ObjectHeaders::default()
    };
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META) else {
            continue;
        };
        let value = utf8(name, value)?;
        bytes += name.len() + value.len();
        // A repeated header is one list (RFC 9110 section 5.3).
        object
            .user
            .entry(name.to_owned())
            .and_modify(|known| {
                known.push(',');
                known.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    if bytes > METADATA_BYTES_MAX {
        return Err(S3Error::new(S3Code::MetadataTooLarge)
            .field("Size", bytes.to_string())
            .field("MaxSizeAllowed", METADATA_BYTES_MAX.to_string()));
    }
    Ok(object)
}

/// `Content-Encoding` without the framing of the transfer, which the object does not keep.
fn without_aws_chunked(encoding: &str) -> Option<String> {
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

fn redirect(headers: &HeaderMap) -> S3Result<Option<String>> {
    const NAME: &str = "x-amz-website-redirect-location";
    match text(headers, NAME)? {
        None => Ok(None),
        Some(to) if to.starts_with('/') || to.starts_with("http://") || to.starts_with("https://") => {
            Ok(Some(to.to_owned()))
        }
        Some(to) => Err(S3Error::invalid_argument(
            NAME,
            to,
            "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
        )),
    }
}

/// `x-amz-storage-class`, STANDARD unless told.
///
/// # Errors
/// `InvalidStorageClass`.
pub(crate) fn storage_class(headers: &HeaderMap) -> S3Result<StorageClass> {
    match headers.get("x-amz-storage-class") {
        None => Ok(StorageClass::Standard),
        Some(name) => name
            .to_str()
            .ok()
            .and_then(StorageClass::from_name)
            .ok_or(S3Error::new(S3Code::InvalidStorageClass)),
    }
}

/// Names of the headers that make a read conditional.
struct ConditionNames {
    matches: &'static str,
    none_match: &'static str,
    modified: &'static str,
    unmodified: &'static str,
}

/// The conditions of a read. A date that is none is no condition (RFC 9110 section 13.1.3).
pub(crate) fn read_conditions(headers: &HeaderMap) -> ReadConditions {
    conditions(
        headers,
        &ConditionNames {
            matches: "if-match",
            none_match: "if-none-match",
            modified: "if-modified-since",
            unmodified: "if-unmodified-since",
        },
    )
}

/// The conditions on the source of a copy.
pub(crate) fn source_conditions(headers: &HeaderMap) -> ReadConditions {
    conditions(
        headers,
        &ConditionNames {
            matches: "x-amz-copy-source-if-match",
            none_match: "x-amz-copy-source-if-none-match",
            modified: "x-amz-copy-source-if-modified-since",
            unmodified: "x-amz-copy-source-if-unmodified-since",
        },
    )
}

fn conditions(headers: &HeaderMap, names: &ConditionNames) -> ReadConditions {
    let date = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .and_then(parse_http_date)
    };
    ReadConditions {
        if_match: etag_match(headers, names.matches),
        if_none_match: etag_match(headers, names.none_match),
        if_modified_since: date(names.modified),
        if_unmodified_since: date(names.unmodified),
    }
}

/// The tags a condition names. Ours are strong; a weak mark before one is forgiven.
fn etag_match(headers: &HeaderMap, name: &str) -> Option<ETagMatch> {
    let mut tags = Vec::new();
    for value in headers.get_all(name) {
        for tag in value.to_str().unwrap_or_default().split(',').map(str::trim) {
            if tag == "*" {
                return Some(ETagMatch::Any);
            }
            tags.extend(ETag::parse(tag.strip_prefix("W/").unwrap_or(tag)).ok());
        }
    }
    headers.contains_key(name).then_some(ETagMatch::OneOf(tags))
}

/// What must hold for a delete to happen: as for a write, and what the object is like.
///
/// # Errors
/// `InvalidArgument`: a date or a size that is none.
pub(crate) fn delete_condition(headers: &HeaderMap) -> S3Result<WriteCondition> {
    let modified = text(headers, IF_MODIFIED_AT)?
        .map(|given| modified_at(IF_MODIFIED_AT, given))
        .transpose()?;
    let size = text(headers, IF_SIZE)?
        .map(|given| size_of(IF_SIZE, given))
        .transpose()?;
    Ok(like(write_condition(headers)?, modified, size))
}

/// The time that a condition names, in whole seconds since 1970.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn modified_at(name: &str, given: &str) -> S3Result<u64> {
    let seconds = parse_http_date(given).or_else(|| parse_iso(given).map(Timestamp::as_secs));
    seconds.ok_or_else(|| S3Error::invalid_argument(name, given, "This is not a date."))
}

/// The size that a condition names.
///
/// # Errors
/// `InvalidArgument`.
pub(crate) fn size_of(name: &str, given: &str) -> S3Result<u64> {
    let invalid = |_| S3Error::invalid_argument(name, given, "The size of an object is a number.");
    given.trim().parse().map_err(invalid)
}

/// A condition together with what else the object must be like.
pub(crate) fn like(condition: WriteCondition, modified: Option<u64>, size: Option<u64>) -> WriteCondition {
    if modified.is_none() && size.is_none() {
        return condition;
    }
    let tag = match condition {
        WriteCondition::Tag(Some(tag)) => Some(tag),
        // No object has that tag, whatever else it is like.
        WriteCondition::Tag(None) => return condition,
        _ => None,
    };
    WriteCondition::Like(Likeness { tag, modified, size })
}

/// What must hold for a write to happen.
///
/// # Errors
/// `NotImplemented`: `If-None-Match` with a tag, or both conditions at once.
pub(crate) fn write_condition(headers: &HeaderMap) -> S3Result<WriteCondition> {
    match (headers.get(header::IF_MATCH), headers.get(header::IF_NONE_MATCH)) {
        (None, None) => Ok(WriteCondition::None),
        (None, Some(tag)) if tag == "*" => Ok(WriteCondition::Absent),
        (_, Some(_)) => Err(not_implemented("If-None-Match")),
        (Some(tag), None) if tag == "*" => Ok(WriteCondition::Present),
        (Some(tag), None) => Ok(WriteCondition::Tag(
            tag.to_str().ok().and_then(|tag| ETag::parse(tag).ok()),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::try_from(*name).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        map
    }

    fn refusal(lines: &[(&str, &str)]) -> Option<S3Code> {
        refusal_of(ObjectOperation::PutObject, lines)
    }

    fn refusal_of(operation: ObjectOperation, lines: &[(&str, &str)]) -> Option<S3Code> {
        let bucket = storage::model::BucketName::parse("bucket").unwrap();
        let key = storage::model::ObjectKey::parse(b"k").unwrap();
        let put = Operation::Object(bucket, key, operation);
        refuse_unhonoured(&put, &headers(lines))
            .err()
            .map(|error| error.code())
    }

    #[test]
    fn a_header_that_is_not_honoured_is_an_error() {
        for name in [
            "x-amz-server-side-encryption-customer-colour",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-copy-source-server-side-encryption-customer-key",
            "x-amz-grant-everything",
            "x-amz-write-offset-bytes",
            "x-amz-invented-tomorrow",
            "content-range",
            "if-modified-since",
        ] {
            assert_eq!(refusal(&[(name, "1")]), Some(S3Code::NotImplemented), "{name}");
        }
        assert_eq!(
            refusal(&[("x-amz-server-side-encryption", "aws:kms")]),
            Some(S3Code::NotImplemented)
        );
        assert_eq!(refusal(&[("x-amz-server-side-encryption", "AES256")]), None);
        assert_eq!(refusal(&[("x-amz-object-lock-mode", "COMPLIANCE")]), None);
        for (operation, name) in [
            (ObjectOperation::GetObject, "x-amz-object-lock-mode"),
            (ObjectOperation::UploadPart, "x-amz-object-lock-legal-hold"),
            (ObjectOperation::PutObject, "x-amz-if-match-size"),
            (ObjectOperation::PutObject, "x-amz-skip-destination-validation"),
            (
                ObjectOperation::DeleteObject,
                "x-amz-server-side-encryption-customer-key",
            ),
            (
                ObjectOperation::PutObject,
                "x-amz-copy-source-server-side-encryption-customer-key-md5",
            ),
        ] {
            assert_eq!(
                refusal_of(operation, &[(name, "1")]),
                Some(S3Code::NotImplemented),
                "{name}"
            );
        }
        assert_eq!(
            refusal(&[("x-amz-meta-anything", "x"), ("user-agent", "y")]),
            None
        );
    }

    #[test]
    fn a_part_has_no_conditions() {
        use ObjectOperation::{CompleteMultipartUpload, CreateMultipartUpload, UploadPart, UploadPartCopy};
        for name in ["if-match", "if-none-match"] {
            for operation in [CreateMultipartUpload, UploadPart, UploadPartCopy] {
                assert_eq!(
                    refusal_of(operation, &[(name, "*")]),
                    Some(S3Code::NotImplemented),
                    "{operation:?}"
                );
            }
            assert_eq!(refusal_of(CompleteMultipartUpload, &[(name, "*")]), None);
        }
    }

    #[test]
    fn metadata_keeps_its_bytes_and_has_a_bound() {
        let object = object_headers(&headers(&[
            ("x-amz-meta-Mtime", "1.5"),
            ("x-amz-meta-name", "h\u{e9}llo"),
            ("x-amz-meta-list", "a"),
            ("x-amz-meta-list", "b"),
            ("content-encoding", "aws-chunked, gzip"),
            ("x-amz-tagging", "a=1&b=c%20d"),
        ]))
        .unwrap();
        assert_eq!(object.user["mtime"], "1.5");
        assert_eq!(object.user["name"], "h\u{e9}llo");
        assert_eq!(object.user["list"], "a,b");
        assert_eq!(object.content_encoding.as_deref(), Some("gzip"));
        assert_eq!(
            object.tags,
            [("a".into(), "1".into()), ("b".into(), "c d".into())]
        );
        let big = "x".repeat(2048);
        let too_large = object_headers(&headers(&[("x-amz-meta-a", &big)])).unwrap_err();
        assert_eq!(too_large.code(), S3Code::MetadataTooLarge);
        let only_framing = object_headers(&headers(&[("content-encoding", "aws-chunked")])).unwrap();
        assert_eq!(only_framing.content_encoding, None);
    }

    #[test]
    fn conditions_say_what_clients_mean() {
        const TAG: &str = "0123456789abcdef0123456789abcdef";
        let tag = ETag::parse(TAG).unwrap();
        let quoted = format!("\"{TAG}\"");
        let read = read_conditions(&headers(&[("if-none-match", &format!("W/{quoted}, \"x\""))]));
        assert_eq!(read.if_none_match, Some(ETagMatch::OneOf(vec![tag])));
        let read = read_conditions(&headers(&[
            ("if-match", "\"foreign\""),
            ("if-modified-since", "soon"),
        ]));
        assert_eq!(read.if_match, Some(ETagMatch::OneOf(vec![])));
        assert_eq!(read.if_modified_since, None);
        let write = |lines: &[_]| write_condition(&headers(lines)).map_err(|error| error.code());
        assert_eq!(write(&[]), Ok(WriteCondition::None));
        assert_eq!(write(&[("if-none-match", "*")]), Ok(WriteCondition::Absent));
        assert_eq!(write(&[("if-none-match", &quoted)]), Err(S3Code::NotImplemented));
        assert_eq!(write(&[("if-match", TAG)]), Ok(WriteCondition::Tag(Some(tag))));
        assert_eq!(
            write(&[("if-match", "\"foreign\"")]),
            Ok(WriteCondition::Tag(None))
        );
    }
}
