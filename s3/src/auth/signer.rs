//! Signs requests as a client does: links that open something for a while, and what this box asks of itself.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request};
use storage::model::{AccessKey, Timestamp};

use super::canonical::{Spelling, canonical_request, string_to_sign};
use super::chunk_signing::sign;
use super::claim::{Claim, Lifetime};
use super::credential::Credential;
use super::payload::UNSIGNED;
use super::signing_key::derive;
use crate::error::{S3Error, S3Result};
use crate::time::format_basic;
use crate::uri::{Query, encode_path_into, encode_query_into};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const PAYLOAD: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// What requests that carry their signature in headers sign.
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// Signs as an access key.
#[derive(Debug)]
pub struct Signer<'k> {
    key: &'k AccessKey,
    /// As the credential has it.
    region: &'k str,
    /// In whole seconds since 1970.
    now: u64,
}

/// A request before it is signed.
#[derive(Clone, Debug)]
pub struct Unsigned<'r> {
    /// Its method.
    pub method: Method,
    /// The host and port it is sent to, as its `Host` says.
    pub host: &'r str,
    /// Bucket and key, decoded: `bucket/a b`.
    pub path: &'r str,
    /// Its parameters, decoded.
    pub query: &'r [(&'r str, &'r str)],
}

impl<'k> Signer<'k> {
    /// Signs as `key` at this time.
    pub fn new(key: &'k AccessKey, region: &'k str, now: Timestamp) -> Self {
        Self {
            key,
            region,
            now: now.as_secs(),
        }
    }

    /// Path and query of a link that does what `request` asks, for so many seconds: 1 to 604,800.
    ///
    /// # Errors
    /// The host cannot be one.
    pub fn link(&self, request: &Unsigned<'_>, seconds: u64) -> S3Result<String> {
        let (timestamp, credential) = self.credential();
        let seconds = seconds.to_string();
        let signature_parameters = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &timestamp),
            ("X-Amz-Expires", &seconds),
            ("X-Amz-SignedHeaders", "host"),
        ];
        let query: Vec<_> = request
            .query
            .iter()
            .chain(&signature_parameters)
            .copied()
            .collect();
        let head = head(&Unsigned {
            query: &query,
            ..request.clone()
        })?;
        let signature = self.signature(&head, (&credential, &timestamp), "host")?;
        Ok(format!("{}&X-Amz-Signature={signature}", head.uri))
    }

    /// The head of a request that carries its signature, which does not cover its body.
    ///
    /// # Errors
    /// The host cannot be one.
    pub fn signed(&self, request: &Unsigned<'_>) -> S3Result<Parts> {
        let (timestamp, credential) = self.credential();
        let mut head = head(request)?;
        head.headers.insert(DATE, value(&timestamp)?);
        head.headers.insert(PAYLOAD, HeaderValue::from_static(UNSIGNED));
        let signature = self.signature(&head, (&credential, &timestamp), SIGNED_HEADERS)?;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}"
        );
        head.headers.insert(AUTHORIZATION, value(&authorization)?);
        Ok(head)
    }

    fn credential(&self) -> (String, String) {
        let timestamp = format_basic(self.now);
        let (id, date) = (&self.key.id, &timestamp[..8]);
        let credential = format!("{id}/{date}/{}/s3/aws4_request", self.region);
        (timestamp, credential)
    }

    fn signature(
        &self,
        head: &Parts,
        (credential, timestamp): (&str, &str),
        signed_headers: &str,
    ) -> S3Result<String> {
        let credential = Credential::parse(credential).map_err(S3Error::invalid_request)?;
        let claim = Claim {
            credential,
            signed_headers,
            signature: "",
            timestamp: Cow::Borrowed(timestamp),
            signed_at: self.now,
            payload_hash: UNSIGNED,
            lifetime: Lifetime::Now,
        };
        let query = Query::parse(head.uri.query())?;
        let canonical = canonical_request(head, &query, &claim, Spelling::Canonical);
        let key = derive(&self.key.secret, &credential);
        let signature = sign(&key, &string_to_sign(&claim, &canonical));
        Ok(String::from_utf8_lossy(&signature).into_owned())
    }
}

/// The head of a request without a signature.
fn head(request: &Unsigned<'_>) -> S3Result<Parts> {
    let mut target = vec![b'/'];
    encode_path_into(request.path.as_bytes(), &mut target);
    for (index, (name, text)) in request.query.iter().enumerate() {
        target.push(if index == 0 { b'?' } else { b'&' });
        encode_query_into(name.as_bytes(), &mut target);
        target.push(b'=');
        encode_query_into(text.as_bytes(), &mut target);
    }
    let head = Request::builder()
        .method(request.method.clone())
        .uri(target.as_slice())
        .header(HOST, request.host)
        .body(());
    let head =
        head.map_err(|error| S3Error::invalid_request("The request cannot be sent.").caused_by(error))?;
    Ok(head.into_parts().0)
}

fn value(text: &str) -> S3Result<HeaderValue> {
    HeaderValue::try_from(text)
        .map_err(|error| S3Error::invalid_request("The region cannot be signed.").caused_by(error))
}
