//! PostObject: an upload by a form.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use storage::model::{AccessKey, Bucket, BucketName, How, Timestamp};
use storage::{PutOutcome, StoreError};

use super::customer_key::tell_customer_key;
use super::expiration::tell_expiration;
use super::multipart::location;
use super::put_object::{store, tell_outcome};
use crate::access::Rule;
use crate::auth::{Identity, SignedForm};
use crate::body::RequestBody;
use crate::error::{S3Code, S3Error, S3Result};
use crate::form::{Fields, Form, argument};
use crate::gateway::Call;
use crate::headers::{TAGGING, refuse_unhonoured};
use crate::response::{Reply, empty, xml};
use crate::route::{ObjectOperation, Operation};
use crate::tags::{TagsOf, tags_of_document, tags_of_header};
use crate::uri::{encode_path_into, encode_query_into, parse_key};
use crate::xml::XmlWriter;

/// Stores the file of a form for whoever signed its policy, or for anyone where anyone may write. The policy speaks of the
/// bucket by the name that the form is sent to, which may be another than its own.
pub(crate) async fn post_object(
    call: &Call,
    (bucket, name): (&Bucket, &BucketName),
    body: RequestBody,
) -> S3Result<Reply> {
    if call.is_signed() {
        return Err(argument(
            "Authorization",
            "Only one auth mechanism allowed: a form is signed in its fields.",
        ));
    }
    let body = body.with_length(&call.headers)?;
    if body.has_digest() {
        return Err(S3Error::invalid_request(
            "A form has the digest of its file in a field: one of the whole body is not looked at.",
        ));
    }
    let Form { fields, file } = Form::read(&call.headers, body).await?;
    let key = fields.get("key").filter(|key| !key.is_empty()).ok_or_else(|| {
        argument(
            "key",
            "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.",
        )
    })?;
    let key = parse_key(key.as_bytes())?;
    let (identity, file) = match policy(&fields)? {
        None => (Identity::Anonymous, file),
        Some(form) => {
            let signer = signer(call, form).await?;
            let json = BASE64.decode(form.policy).map_err(|_| {
                S3Error::with_message(S3Code::InvalidPolicyDocument, "Invalid Policy: it is not base64.")
            })?;
            let file = file.under_policy(&json, &fields, name, Timestamp::now())?;
            (Identity::Key(signer), file)
        }
    };
    let at = location(call);
    let call = Call {
        identity,
        headers: headers(&fields)?,
        ..call.clone()
    };
    let put = ObjectOperation::PutObject;
    let operation = Operation::Object(bucket.name.clone(), key, put);
    refuse_unhonoured(&operation, &call.headers)?;
    let Operation::Object(_, key, _) = &operation else {
        return Err(S3Error::new(S3Code::InternalError));
    };
    call.allow(bucket, Some(key), Rule::of_object(put, false))?;
    if call.headers.contains_key(TAGGING) {
        call.allow(bucket, Some(key), Rule::TAG_OBJECT)?;
    }
    let outcome = Box::pin(store(&call, (bucket, key), file, How::Post)).await?;
    let mut reply = answer(&at, bucket, key.as_str(), &fields, &outcome);
    tell_customer_key(reply.headers_mut(), &call.headers);
    let facts = (outcome.size, outcome.modified);
    let tags = tags_of_header(&call.headers)?.unwrap_or_default();
    tell_expiration(reply.headers_mut(), bucket, key, facts, &tags);
    Ok(reply)
}

/// What a form says about its signature; `None` where it has none and no policy either.
fn policy(fields: &Fields) -> S3Result<Option<SignedForm<'_>>> {
    if fields.get("signature").is_some() || fields.get("awsaccesskeyid").is_some() {
        return Err(S3Error::invalid_request(
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        ));
    }
    if fields
        .get("x-amz-security-token")
        .is_some_and(|token| !token.is_empty())
    {
        return Err(S3Code::InvalidToken.into());
    }
    let names = [
        "policy",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-signature",
    ];
    let values = names.map(|name| fields.get(name));
    if values.iter().all(Option::is_none) {
        return Ok(None);
    }
    match values {
        [
            Some(policy),
            Some(algorithm),
            Some(credential),
            Some(date),
            Some(signature),
        ] => Ok(Some(SignedForm {
            algorithm,
            credential,
            date,
            signature,
            policy,
        })),
        _ => Err(argument(
            names
                .into_iter()
                .find(|name| fields.get(name).is_none())
                .unwrap_or_default(),
            "A form that is signed has the fields policy, x-amz-algorithm, x-amz-credential, x-amz-date and \
             x-amz-signature.",
        )),
    }
}

/// Who signed; a key that was made elsewhere a moment ago is asked for.
async fn signer(call: &Call, form: SignedForm<'_>) -> S3Result<Arc<AccessKey>> {
    let gateway = &call.gateway;
    let verify = || {
        gateway
            .authenticator
            .verify_form(form, |id| gateway.store.access_key(id).ok())
    };
    match verify() {
        Err(error) if error.code() == S3Code::InvalidAccessKeyId => {
            if gateway.store.hear_news().await {
                verify()
            } else if gateway.store.is_informed() {
                Err(error)
            } else {
                Err(StoreError::Unavailable.into())
            }
        }
        verified => verified,
    }
}

/// The headers that a PUT of the file would have; the tags of a form are a document.
fn headers(fields: &Fields) -> S3Result<HeaderMap> {
    let mut headers = fields.headers()?;
    if let Some(document) = fields.get("tagging") {
        let mut query = Vec::new();
        for (name, value) in tags_of_document(document.as_bytes(), TagsOf::Object)? {
            if !query.is_empty() {
                query.push(b'&');
            }
            encode_query_into(name.as_bytes(), &mut query);
            query.push(b'=');
            encode_query_into(value.as_bytes(), &mut query);
        }
        if let Ok(value) = HeaderValue::from_bytes(&query) {
            headers.insert(TAGGING, value);
        }
    }
    Ok(headers)
}

/// What the form asks to be answered: a redirect, a document, or nothing. `at` is the URL of the bucket.
fn answer(at: &str, bucket: &Bucket, key: &str, fields: &Fields, outcome: &PutOutcome) -> Reply {
    let etag = format!("\"{}\"", outcome.etag);
    let redirect = fields
        .get("success_action_redirect")
        .or_else(|| fields.get("redirect"));
    let redirect = redirect.and_then(|to| redirected(to, &bucket.name, key, &etag));
    let mut url = at.trim_end_matches('/').as_bytes().to_vec();
    url.push(b'/');
    encode_path_into(key.as_bytes(), &mut url);
    let location = String::from_utf8_lossy(&url).into_owned();
    let mut reply = match (&redirect, fields.get("success_action_status")) {
        (Some(_), _) => empty(StatusCode::SEE_OTHER),
        (None, Some("201")) => {
            let mut document = XmlWriter::document();
            document.element("PostResponse", |xml| {
                xml.text("Location", &location);
                xml.text("Bucket", bucket.name.as_str());
                xml.text("Key", key);
                xml.text("ETag", &etag);
            });
            let mut reply = xml(document.finish());
            *reply.status_mut() = StatusCode::CREATED;
            reply
        }
        (None, Some("200")) => empty(StatusCode::OK),
        (None, _) => empty(StatusCode::NO_CONTENT),
    };
    if let Some(to) = redirect.or_else(|| HeaderValue::try_from(location).ok()) {
        reply.headers_mut().insert(header::LOCATION, to);
    }
    tell_outcome(reply.headers_mut(), outcome);
    reply
}

/// Where the browser goes next, told what was stored; `None` where the form names no place on the web.
fn redirected(to: &str, bucket: &BucketName, key: &str, etag: &str) -> Option<HeaderValue> {
    let uri: Uri = to.parse().ok()?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return None;
    }
    let mut url = to.as_bytes().to_vec();
    url.push(if uri.query().is_some() { b'&' } else { b'?' });
    for (name, value) in [("bucket=", bucket.as_str()), ("&key=", key), ("&etag=", etag)] {
        url.extend_from_slice(name.as_bytes());
        encode_query_into(value.as_bytes(), &mut url);
    }
    HeaderValue::from_bytes(&url).ok()
}
