//! What the body of a request must satisfy, read from `x-amz-content-sha256` and its companions.
//!
//! Source: AWS S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in
//! Multiple Chunks" and "Trailing headers".

use http::HeaderMap;

use super::chunk_signing::Seed;
use super::chunked::Chunked;
use crate::checksum;
use crate::error::{S3Code, S3Error, S3Result};

/// The payload hash of a body the signature does not cover.
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// What the body of a request must satisfy, beyond its length.
#[derive(Debug)]
pub enum PayloadRule {
    /// Nothing: `UNSIGNED-PAYLOAD`, presigned and anonymous requests.
    Unsigned,
    /// Its SHA-256 is this one, which the signature covers.
    Sha256([u8; 32]),
    /// It is aws-chunked; decode it with [`ChunkedDecoder`](super::ChunkedDecoder).
    Chunked(Chunked),
}

/// How a body is encoded, by the names AWS gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Streaming {
    signed: bool,
    trailer: bool,
}

impl PayloadRule {
    /// Reads the rule from the payload hash of the canonical request (`None` for an anonymous request that
    /// gives none) and the headers. `seed` is the request's own signature, if it has one.
    ///
    /// # Errors
    /// `InvalidArgument` for a hash that is none, `NotImplemented` for SigV4A, `MissingContentLength` without
    /// `x-amz-decoded-content-length`, `InvalidRequest` for a trailer that could not arrive.
    pub(super) fn parse(hash: Option<&str>, headers: &HeaderMap, seed: Option<Seed<'_>>) -> S3Result<Self> {
        let streaming = match hash {
            // Some clients leave the body unsigned and chunk it all the same, as they do without any key.
            None | Some(UNSIGNED) if is_aws_chunked(headers) => Streaming {
                signed: false,
                trailer: headers.contains_key("x-amz-trailer"),
            },
            None | Some(UNSIGNED) => {
                refuse_trailer(headers)?;
                return Ok(Self::Unsigned);
            }
            Some(hash) => match hash.strip_prefix("STREAMING-") {
                Some(form) => streaming_form(form)?,
                None => {
                    let sha256 = parse_sha256(hash)?;
                    refuse_trailer(headers)?;
                    return Ok(Self::Sha256(sha256));
                }
            },
        };
        streaming.rule(headers, seed).map(Self::Chunked)
    }
}

impl Streaming {
    fn rule(self, headers: &HeaderMap, seed: Option<Seed<'_>>) -> S3Result<Chunked> {
        let trailer = if self.trailer {
            checksum::announced_trailer(headers)?
        } else {
            refuse_trailer(headers)?;
            None
        };
        let signing = match (self.signed, seed) {
            (false, _) => None,
            (true, Some(seed)) => Some(seed.chain()),
            (true, None) => {
                return Err(S3Error::with_message(
                    S3Code::AccessDenied,
                    "A body with chunk signatures needs a signed request.",
                ));
            }
        };
        Ok(Chunked::new(decoded_length(headers)?, trailer, signing))
    }
}

/// The one `x-amz-content-sha256` header, if any.
pub(super) fn header(headers: &HeaderMap) -> S3Result<Option<&str>> {
    let mut values = headers.get_all("x-amz-content-sha256").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| not_a_hash("?")),
        (Some(_), Some(_)) => Err(not_a_hash("given twice")),
    }
}

fn streaming_form(form: &str) -> S3Result<Streaming> {
    let (signed, trailer) = match form {
        "AWS4-HMAC-SHA256-PAYLOAD" => (true, false),
        "AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => (true, true),
        "UNSIGNED-PAYLOAD-TRAILER" => (false, true),
        "UNSIGNED-PAYLOAD" => (false, false),
        _ if form.starts_with("AWS4-ECDSA-P256-SHA256-PAYLOAD") => {
            return Err(super::sigv4::sigv4a_refused());
        }
        _ => return Err(not_a_hash(&format!("STREAMING-{form}"))),
    };
    Ok(Streaming { signed, trailer })
}

fn parse_sha256(hash: &str) -> S3Result<[u8; 32]> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(hash, &mut sha256).map_err(|_| not_a_hash(hash))?;
    Ok(sha256)
}

fn not_a_hash(value: &str) -> S3Error {
    S3Error::invalid_argument(
        "x-amz-content-sha256",
        value,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    )
}

fn is_aws_chunked(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all("content-encoding");
    headers.contains_key("x-amz-decoded-content-length")
        && encodings
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|encoding| encoding.trim().eq_ignore_ascii_case("aws-chunked"))
}

/// A trailer that the body has no room for would be a checksum that is never checked.
fn refuse_trailer(headers: &HeaderMap) -> S3Result<()> {
    if headers.contains_key("x-amz-trailer") {
        return Err(S3Error::invalid_request(
            "x-amz-trailer needs an x-amz-content-sha256 of STREAMING-UNSIGNED-PAYLOAD-TRAILER or \
             STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER.",
        ));
    }
    Ok(())
}

fn decoded_length(headers: &HeaderMap) -> S3Result<u64> {
    let mut values = headers.get_all("x-amz-decoded-content-length").iter();
    let value = values.next().ok_or(S3Code::MissingContentLength)?;
    let text = value.to_str().unwrap_or("?").trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits && values.next().is_none())
        .ok_or_else(|| {
            let message = "x-amz-decoded-content-length must be a number of bytes, given once.";
            S3Error::invalid_argument("x-amz-decoded-content-length", text, message)
        })
}
