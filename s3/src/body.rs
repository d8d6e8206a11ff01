//! The body of a request as it arrives: of exact length, in time, decoded, with what is claimed about it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use crc_fast::CrcAlgorithm;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;
use storage::model::{ChecksumAlgorithm, ChecksumValue};
use storage::{Claims, ObjectBody, StoreError};
use tokio::time::{Instant, timeout_at};

use crate::auth::{ChunkedDecoder, PayloadRule};
use crate::checksum::{ChecksumHeaders, parse_content_md5};
use crate::connection::Watch;
use crate::error::{S3Code, S3Error, S3Result};
use crate::pace::Pace;

/// What a checksum in the headers is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChecksumOver {
    /// The body of the request.
    Body,
    /// The object that the request completes.
    Object,
}

/// The body of a request. Nothing of it is read, and no `100 Continue` sent, before it is asked for.
pub(crate) struct RequestBody {
    incoming: Incoming,
    decoder: Option<ChunkedDecoder>,
    /// Received but not yet decoded.
    pending: Bytes,
    /// Bytes of content there will be, when the request says.
    length: Option<u64>,
    received: u64,
    pace: Pace,
    watch: Arc<Watch>,
    claims: Claims,
    algorithm: Option<ChecksumAlgorithm>,
}

impl RequestBody {
    /// Takes the body of a verified request.
    ///
    /// # Errors
    /// `InvalidDigest`, `InvalidRequest`: what the headers claim about it is malformed.
    pub(crate) fn new(
        incoming: Incoming,
        headers: &HeaderMap,
        payload: PayloadRule,
        over: ChecksumOver,
        timeout: Duration,
        watch: Arc<Watch>,
    ) -> S3Result<Self> {
        // A GET has no body to claim anything about; looking for claims would cost it a dozen look-ups.
        let has_body = headers.contains_key(header::CONTENT_LENGTH) || !incoming.is_end_stream();
        let (checksums, md5) = if has_body {
            let checksums = match over {
                ChecksumOver::Body => ChecksumHeaders::parse(headers)?,
                ChecksumOver::Object => ChecksumHeaders {
                    value: None,
                    ..ChecksumHeaders::parse_of_object(headers)?
                },
            };
            (checksums, parse_content_md5(headers)?)
        } else {
            (ChecksumHeaders::default(), None)
        };
        let mut claims = Claims {
            md5,
            sha256: None,
            checksum: checksums.value,
        };
        let mut length = incoming.size_hint().exact();
        let decoder = match payload {
            PayloadRule::Unsigned => None,
            PayloadRule::Sha256(sha256) => {
                claims.sha256 = Some(sha256);
                None
            }
            PayloadRule::Chunked(rule) => {
                length = Some(rule.decoded_length());
                Some(ChunkedDecoder::new(rule))
            }
        };
        Ok(Self {
            incoming,
            decoder,
            pending: Bytes::new(),
            length,
            received: 0,
            pace: Pace::new(timeout),
            watch,
            claims,
            algorithm: checksums.algorithm,
        })
    }

    /// Insists that the request says how long its content is.
    ///
    /// # Errors
    /// `MissingContentLength`.
    pub(crate) fn with_length(self, headers: &HeaderMap) -> S3Result<Self> {
        let said = headers.contains_key(header::CONTENT_LENGTH) || self.decoder.is_some();
        if said && self.length.is_some() {
            Ok(self)
        } else {
            Err(S3Error::new(S3Code::MissingContentLength))
        }
    }

    /// Bytes of content there will be, when the request says.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// The checksum the request gives or announces.
    pub(crate) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }

    /// Has this checksum computed where the request names none.
    pub(crate) fn compute(&mut self, algorithm: Option<ChecksumAlgorithm>) {
        self.algorithm = self.algorithm.or(algorithm);
    }

    /// Whether the request claims anything about the integrity of its body.
    pub(crate) fn has_digest(&self) -> bool {
        self.claims.md5.is_some() || self.algorithm.is_some()
    }

    /// Reads a document of at most `bytes_max` bytes, all of it in the time of one window, and checks what is
    /// claimed about it.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded`, `RequestTimeout`, a broken body, or a digest that does not match.
    pub(crate) async fn document(mut self, bytes_max: usize) -> S3Result<Bytes> {
        let too_long = || Err(S3Error::new(S3Code::MaxMessageLengthExceeded));
        if self.length.is_some_and(|length| length > bytes_max as u64) {
            return too_long();
        }
        self.pace.stop_renewing();
        let mut document = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            if document.len() + piece.len() > bytes_max {
                return too_long();
            }
            document.extend_from_slice(&piece);
        }
        verify(&document, &self.claims)?;
        Ok(document.freeze())
    }

    /// The next piece of content, `None` at its verified end.
    pub(crate) async fn piece(&mut self) -> S3Result<Option<Bytes>> {
        loop {
            if let Some(decoder) = &mut self.decoder
                && !self.pending.is_empty()
            {
                if let Some(piece) = decoder.decode(&mut self.pending)? {
                    return self.count(piece).map(Some);
                }
                continue;
            }
            match self.receive().await? {
                Some(bytes) if self.decoder.is_some() => self.pending = bytes,
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => return self.count(bytes).map(Some),
                None => {
                    self.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    /// The next bytes from the connection; trailers of HTTP itself say nothing in S3.
    async fn receive(&mut self) -> S3Result<Option<Bytes>> {
        loop {
            let asked = Instant::now();
            match timeout_at(asked + self.pace.left(), self.incoming.frame()).await {
                Err(_) => return Err(S3Error::new(S3Code::RequestTimeout)),
                Ok(None) => {
                    self.watch.body_read();
                    return Ok(None);
                }
                Ok(Some(Err(_))) => return Err(S3Error::new(S3Code::IncompleteBody)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.pace.moved(asked.elapsed(), bytes.len());
                        self.watch.receive(bytes.len());
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    fn count(&mut self, piece: Bytes) -> S3Result<Bytes> {
        self.received += piece.len() as u64;
        // hyper knows a body of announced length has been read; without asking it for the end, a
        // connection that is to be closed would wait for bytes that never come.
        if self.incoming.is_end_stream() {
            self.watch.body_read();
        }
        match self.length {
            Some(length) if self.received > length => Err(S3Error::new(S3Code::IncompleteBody)),
            _ => Ok(piece),
        }
    }

    fn finish(&mut self) -> S3Result<()> {
        if let Some(decoder) = &mut self.decoder
            && let Some(trailer) = decoder.finish()?
        {
            self.claims.checksum = Some(trailer);
        }
        match self.length {
            Some(length) if self.received != length => Err(S3Error::new(S3Code::IncompleteBody)),
            _ => Ok(()),
        }
    }
}

impl ObjectBody for RequestBody {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        match self.piece().await {
            Ok(Some(piece)) => Some(Ok(piece)),
            Ok(None) => None,
            Err(error) => Some(Err(Box::new(error))),
        }
    }

    fn size_hint(&self) -> Option<u64> {
        self.length
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }

    fn claims_sha256(&self) -> bool {
        self.claims.sha256.is_some()
    }

    fn claims(&self) -> Claims {
        self.claims.clone()
    }
}

/// Checks what is claimed about a whole document.
fn verify(document: &[u8], claims: &Claims) -> S3Result<()> {
    let failed = |digest| Err(StoreError::DigestMismatch(digest).into());
    if claims
        .md5
        .is_some_and(|claimed| claimed != <[u8; 16]>::from(Md5::digest(document)))
    {
        return failed(storage::Digest::Md5);
    }
    if claims
        .sha256
        .is_some_and(|claimed| claimed != <[u8; 32]>::from(Sha256::digest(document)))
    {
        return failed(storage::Digest::PayloadSha256);
    }
    match claims.checksum {
        Some(claimed) if !matches(document, &claimed) => {
            failed(storage::Digest::Checksum(claimed.algorithm()))
        }
        _ => Ok(()),
    }
}

fn matches(document: &[u8], claimed: &ChecksumValue) -> bool {
    let crc32 = |algorithm| crc_fast::checksum(algorithm, document).to_be_bytes()[4..].to_vec();
    let computed = match claimed.algorithm() {
        ChecksumAlgorithm::Crc32 => crc32(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => crc32(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => crc_fast::checksum(CrcAlgorithm::Crc64Nvme, document)
            .to_be_bytes()
            .to_vec(),
        ChecksumAlgorithm::Sha1 => Sha1::digest(document).to_vec(),
        ChecksumAlgorithm::Sha256 => Sha256::digest(document).to_vec(),
    };
    computed == claimed.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::parse_value;

    fn check(algorithm: ChecksumAlgorithm, base64: &str) {
        let checksum = Some(parse_value(algorithm, base64).unwrap());
        let claims = Claims {
            checksum,
            ..Claims::default()
        };
        assert!(verify(b"123456789", &claims).is_ok(), "{algorithm:?}");
        assert!(verify(b"12345678", &claims).is_err(), "{algorithm:?}");
    }

    #[test]
    fn a_document_that_is_not_what_was_claimed_is_refused() {
        check(ChecksumAlgorithm::Crc32, "y/Q5Jg==");
        check(ChecksumAlgorithm::Crc32c, "4waSgw==");
        check(ChecksumAlgorithm::Crc64Nvme, "rosUhgp5mIg=");
        check(ChecksumAlgorithm::Sha1, "98O8HYCOBHMq32eZZczDTKeuNEE=");
        check(
            ChecksumAlgorithm::Sha256,
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        );
        let md5 = Some(*b"\x25\xf9\xe7\x94\x32\x3b\x45\x38\x85\xf5\x18\x1f\x1b\x62\x4d\x0b");
        assert!(
            verify(
                b"123456789",
                &Claims {
                    md5,
                    ..Claims::default()
                }
            )
            .is_ok()
        );
        assert!(
            verify(
                b"",
                &Claims {
                    md5,
                    ..Claims::default()
                }
            )
            .is_err()
        );
    }
}
