//! CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use storage::model::{
    Bucket, ChecksumAlgorithm, ChecksumValue, How, ObjectHeaders, ObjectKey, PartNumber, UploadId,
};
use storage::{CompleteUpload, Digest, NewUpload, PutOutcome, StoreError};

use super::customer_key::{SealedWith, customer_key, tell_customer_key};
use super::expiration::tell_expiration_of;
use super::get_object::{etag_value, insert, part_number};
use super::object_lock::asked_lock;
use super::put_object::{check_size, conditional, object_acl, tell_encryption};
use super::slow::{self, Answer};
use crate::access::key_of;
use crate::body::RequestBody;
use crate::checksum::{self, ChecksumHeaders, ChecksumType};
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::{object_headers, storage_class, text, write_condition};
use crate::response::{Reply, empty, xml};
use crate::uri::Query;
use crate::xml::{BODY_BYTES_MAX, CompleteMultipartUpload, XmlWriter};

/// The upload a request names; one we never gave is simply unknown.
pub(super) fn upload_id(query: &Query) -> S3Result<UploadId> {
    let text = query.get("uploadId").unwrap_or_default();
    UploadId::parse(text).ok_or_else(|| S3Error::new(S3Code::NoSuchUpload).field("UploadId", text))
}

/// The upload and the part a request names.
pub(super) fn part_target(query: &Query) -> S3Result<(UploadId, PartNumber)> {
    let missing = || S3Error::invalid_argument("partNumber", "", "A part has a number.");
    let number = part_number(query)?.ok_or_else(missing)?;
    Ok((upload_id(query)?, number))
}

/// Over what the checksum of an upload is, as S3 calls it.
pub(super) const fn type_name(full_object: bool) -> &'static str {
    if full_object { "FULL_OBJECT" } else { "COMPOSITE" }
}

/// The checksum of a part, if it carries one.
pub(super) fn checksum_element(xml: &mut XmlWriter, value: Option<&ChecksumValue>) {
    if let Some(value) = value {
        xml.text(
            checksum::element_name(value.algorithm()),
            &checksum::print_value(value),
        );
    }
}

/// Whether an upload's checksum is over all bytes: told, or what its algorithm is used for.
fn is_full_object(algorithm: Option<ChecksumAlgorithm>, kind: Option<ChecksumType>) -> S3Result<bool> {
    match (algorithm, kind) {
        (None, None) => Ok(false),
        (None, Some(_)) => Err(S3Error::invalid_request(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
        )),
        (Some(ChecksumAlgorithm::Crc64Nvme), None) => Ok(true),
        (Some(_), None) => Ok(false),
        (Some(algorithm), Some(ChecksumType::FullObject)) if algorithm.is_linear() => Ok(true),
        (Some(algorithm), Some(ChecksumType::Composite)) if algorithm != ChecksumAlgorithm::Crc64Nvme => {
            Ok(false)
        }
        (Some(algorithm), Some(_)) => Err(S3Error::invalid_request(format!(
            "The given checksum type cannot be used with the {} checksum algorithm.",
            algorithm.name().to_lowercase()
        ))),
    }
}

/// Starts an upload.
pub(crate) async fn create_multipart_upload(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
) -> S3Result<Reply> {
    let acl = object_acl(call, bucket, key)?;
    let checksums = ChecksumHeaders::parse(&call.headers)?;
    let full_object = is_full_object(checksums.algorithm, checksums.kind)?;
    let new = NewUpload {
        headers: ObjectHeaders {
            acl,
            ..object_headers(&call.headers)?
        },
        class: storage_class(&call.headers)?,
        lock: asked_lock(call, bucket, key)?,
        checksum: checksums.algorithm,
        full_object,
        initiator: key_of(&call.identity).map(|key| key.id.clone()),
        customer: customer_key(&call.headers)?,
    };
    let upload = call.gateway.store.create_upload(bucket, key, new).await?;
    let mut document = XmlWriter::document();
    document.root("InitiateMultipartUploadResult", |xml| {
        xml.text("Bucket", bucket.name.as_str());
        xml.text("Key", key.as_str());
        xml.text("UploadId", &upload.to_string());
    });
    let mut reply = xml(document.finish());
    let headers = reply.headers_mut();
    if let Some(algorithm) = checksums.algorithm {
        headers.insert(
            "x-amz-checksum-algorithm",
            HeaderValue::from_static(algorithm.name()),
        );
        headers.insert(
            "x-amz-checksum-type",
            HeaderValue::from_static(type_name(full_object)),
        );
    }
    tell_encryption(headers);
    tell_customer_key(headers, &call.headers);
    Ok(reply)
}

/// Stores a part; an earlier one of its number is replaced.
pub(crate) async fn upload_part(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    let (upload, number) = part_target(&call.query)?;
    let mut body = body.with_length(&call.headers)?;
    check_size(&body)?;
    let known = call.gateway.store.upload(bucket, key, upload).await?;
    if let (Some(expected), Some(given)) = (known.checksum, body.algorithm())
        && expected != given
    {
        return Err(S3Error::invalid_request(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            expected.name().to_lowercase(),
            given.name().to_lowercase()
        )));
    }
    body.compute(known.checksum);
    let body = SealedWith {
        key: customer_key(&call.headers)?,
        body,
    };
    let outcome = call
        .gateway
        .store
        .put_part(bucket, key, upload, number, body)
        .await?;
    let mut reply = empty(StatusCode::OK);
    let headers = reply.headers_mut();
    headers.insert(header::ETAG, etag_value(outcome.etag));
    if let Some(value) = &outcome.checksum {
        let name = HeaderName::from_static(checksum::header_name(value.algorithm()));
        insert(headers, name, &checksum::print_value(value));
    }
    tell_encryption(headers);
    tell_customer_key(headers, &call.headers);
    Ok(reply)
}

/// Makes the named parts the object.
pub(crate) async fn complete_multipart_upload(
    call: &Call,
    bucket: &Arc<Bucket>,
    key: &ObjectKey,
    body: RequestBody,
) -> S3Result<Reply> {
    let upload = upload_id(&call.query)?;
    let checksums = ChecksumHeaders::parse_of_object(&call.headers)?;
    let condition = write_condition(&call.headers)?;
    call.allow_condition(bucket, key, condition)?;
    let size = claimed_size(&call.headers)?;
    check_type(call, bucket, key, upload, checksums).await?;
    // Only the commit judges the condition: a retry whose object is there already must hear that it succeeded.
    let parts = CompleteMultipartUpload::parse(&body.document(BODY_BYTES_MAX).await?)?.parts;
    if let (Some(claimed), Some(value)) = (checksums.parts, checksums.value)
        && usize::from(claimed) != parts.len()
    {
        return Err(StoreError::DigestMismatch(Digest::Checksum(value.algorithm())).into());
    }
    let complete = CompleteUpload {
        parts,
        condition,
        checksum: checksums.value,
        size,
        customer: customer_key(&call.headers)?,
        cause: call.cause(bucket, How::Complete),
    };
    let location = location(call);
    let mut headers = HeaderMap::new();
    tell_encryption(&mut headers);
    tell_customer_key(&mut headers, &call.headers);
    let (store, bucket, key) = (call.gateway.store.clone(), bucket.clone(), key.clone());
    let work = async move {
        let completed = store.complete_upload(&bucket, &key, upload, complete).await;
        let outcome = completed.map_err(|error| conditional(condition, error))?;
        if let Some(version) = outcome.version {
            insert(
                &mut headers,
                HeaderName::from_static("x-amz-version-id"),
                &version.to_string(),
            );
        }
        tell_expiration_of(&mut headers, &store, &bucket, &key, &outcome).await;
        let document = completed_document(&location, &bucket, &key, &outcome);
        Ok(Answer { headers, document })
    };
    slow::answer(call, work).await
}

fn completed_document(location: &str, bucket: &Bucket, key: &ObjectKey, outcome: &PutOutcome) -> XmlWriter {
    let mut document = XmlWriter::fragment();
    document.root("CompleteMultipartUploadResult", |xml| {
        xml.text("Location", location);
        xml.text("Bucket", bucket.name.as_str());
        xml.text("Key", key.as_str());
        xml.etag("ETag", outcome.etag);
        if let Some(checksum) = &outcome.checksum {
            xml.text(
                checksum::element_name(checksum.value.algorithm()),
                &checksum::print(checksum),
            );
            xml.text("ChecksumType", checksum::kind_name(checksum.kind));
        }
    });
    document
}

/// Where the client finds the object, by the name it called us.
pub(super) fn location(call: &Call) -> String {
    let host = call.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let scheme = if call.origin.secure { "https" } else { "http" };
    format!("{scheme}://{}{}", host.unwrap_or_default(), call.uri.path())
}

/// The size of the whole object, where the client claims one.
fn claimed_size(headers: &HeaderMap) -> S3Result<Option<u64>> {
    const NAME: &str = "x-amz-mp-object-size";
    let invalid = |text| S3Error::invalid_argument(NAME, text, "The size of an object is a number.");
    text(headers, NAME)?
        .map(|text| text.parse().map_err(|_| invalid(text)))
        .transpose()
}

/// Refuses a Complete that takes the upload for one of another type. An upload that is no longer open may
/// be a retry: the store knows.
async fn check_type(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    upload: UploadId,
    checksums: ChecksumHeaders,
) -> S3Result<()> {
    // A number of parts says as much.
    let composite = checksums.parts.map(|_| ChecksumType::Composite);
    let Some(claimed) = checksums.kind.or(composite) else {
        return Ok(());
    };
    let Ok(known) = call.gateway.store.upload(bucket, key, upload).await else {
        return Ok(());
    };
    if known.checksum.is_some() && known.full_object != (claimed == ChecksumType::FullObject) {
        return Err(S3Error::invalid_request(format!(
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode.",
            type_name(known.full_object)
        )));
    }
    Ok(())
}

/// Ends an upload and frees its parts.
pub(crate) async fn abort_multipart_upload(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    call.gateway
        .store
        .abort_upload(bucket, key, upload_id(&call.query)?)
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_over_what_its_algorithm_permits() {
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
        use ChecksumType::{Composite, FullObject};
        let full = |algorithm, kind| is_full_object(algorithm, kind).ok();
        assert_eq!(full(None, None), Some(false));
        assert_eq!(full(Some(Crc32), None), Some(false));
        assert_eq!(full(Some(Crc32), Some(FullObject)), Some(true));
        assert_eq!(full(Some(Crc64Nvme), None), Some(true));
        assert_eq!(full(Some(Crc64Nvme), Some(Composite)), None);
        assert_eq!(full(Some(Sha256), Some(Composite)), Some(false));
        assert_eq!(full(Some(Sha256), Some(FullObject)), None);
        assert_eq!(full(None, Some(FullObject)), None);
    }
}
