//! Reads a signature from the Authorization header.

use std::borrow::Cow;

use http::HeaderMap;

use super::claim::{Claim, Lifetime};
use super::credential::Credential;
use crate::error::{S3Code, S3Error, S3Result};
use crate::time;

/// An `AWS4-HMAC-SHA256` Authorization header, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization<'r> {
    /// `Credential=`.
    pub credential: Credential<'r>,
    /// `SignedHeaders=`: lower-case names with `;` between them.
    pub signed_headers: &'r str,
    /// `Signature=`.
    pub signature: &'r str,
}

impl<'r> Authorization<'r> {
    /// Reads the header's value: three fields in any order, each once.
    ///
    /// # Errors
    /// `NotImplemented` for the other two signature versions of AWS, `InvalidArgument` for any other scheme,
    /// `AccessDenied` for an empty value, `AuthorizationHeaderMalformed` for anything else.
    pub fn parse(value: &'r str) -> S3Result<Self> {
        let value = value.trim();
        let (scheme, fields) = value.split_once([' ', '\t']).unwrap_or((value, ""));
        match scheme {
            "AWS4-HMAC-SHA256" => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(sigv4a_refused()),
            "AWS" => return Err(sigv2_refused()),
            "" => return Err(S3Code::AccessDenied.into()),
            other => {
                let message = "Unsupported Authorization Type. Sign requests with AWS4-HMAC-SHA256.";
                return Err(S3Error::invalid_argument("Authorization", other, message));
            }
        }
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            let (name, value) = field
                .split_once('=')
                .ok_or_else(|| malformed("has a field without `=`"))?;
            let place = match name.trim() {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed_headers,
                "Signature" => &mut signature,
                _ => {
                    return Err(malformed(
                        "has a field that is none of Credential, SignedHeaders, Signature",
                    ));
                }
            };
            if place.replace(value.trim()).is_some() {
                return Err(malformed("has a field twice"));
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature)) =
            (credential, signed_headers, signature)
        else {
            return Err(malformed("lacks one of Credential, SignedHeaders, Signature"));
        };
        let credential = Credential::parse(credential).map_err(malformed_credential)?;
        Ok(Self {
            credential,
            signed_headers,
            signature,
        })
    }
}

/// What a request with an Authorization header claims.
pub(super) fn claim<'r>(authorization: &'r str, headers: &'r HeaderMap) -> S3Result<Claim<'r>> {
    let authorization = Authorization::parse(authorization)?;
    let (timestamp, signed_at) = timestamp(headers)?;
    if !timestamp.starts_with(authorization.credential.date) {
        return Err(malformed_credential("has another date than x-amz-date"));
    }
    let payload_hash = super::payload::header(headers)?.ok_or_else(|| {
        S3Error::invalid_request("Missing required header for this request: x-amz-content-sha256")
    })?;
    Ok(Claim {
        credential: authorization.credential,
        signed_headers: authorization.signed_headers,
        signature: authorization.signature,
        timestamp,
        signed_at,
        payload_hash,
        lifetime: Lifetime::Now,
    })
}

/// When the request was signed: `x-amz-date`, or else Date.
fn timestamp(headers: &HeaderMap) -> S3Result<(Cow<'_, str>, u64)> {
    let refused = || {
        S3Error::with_message(
            S3Code::AccessDenied,
            "AWS authentication requires a valid Date or x-amz-date header",
        )
    };
    let only = |name| {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => value
                .map(|value| value.to_str().map_err(|_| refused()))
                .transpose(),
            (_, Some(_)) => Err(refused()),
        }
    };
    if let Some(text) = only("x-amz-date")? {
        let secs = time::parse_basic(text).ok_or_else(refused)?;
        return Ok((Cow::Borrowed(text), secs));
    }
    let text = only("date")?.ok_or_else(refused)?;
    let secs = time::parse_basic(text)
        .or_else(|| time::parse_http_date(text))
        .ok_or_else(refused)?;
    Ok((Cow::Owned(time::format_basic(secs)), secs))
}

fn malformed(what: &str) -> S3Error {
    S3Error::with_message(
        S3Code::AuthorizationHeaderMalformed,
        format!("The authorization header is malformed: it {what}."),
    )
}

fn malformed_credential(what: &str) -> S3Error {
    S3Error::with_message(
        S3Code::AuthorizationHeaderMalformed,
        format!("The authorization header is malformed: the credential {what}."),
    )
}

/// SigV4A exists for buckets in several regions at once, which this store does not have.
pub(super) fn sigv4a_refused() -> S3Error {
    S3Error::not_implemented(
        "Signatures of AWS4-ECDSA-P256-SHA256 (SigV4A) are not supported. Sign with AWS4-HMAC-SHA256.",
    )
}

pub(super) fn sigv2_refused() -> S3Error {
    S3Error::not_implemented(
        "The authorization mechanism you have provided (signature version 2) is not supported. \
         Please use AWS4-HMAC-SHA256; boto3 and aws-cli 1 sign links so with signature_version = s3v4, or for a region that AWS does not have.",
    )
}
