//! What a client sends as content: bytes, then what it claims about them.

use bytes::Bytes;

use crate::CustomerKey;
use crate::model::{ChecksumAlgorithm, ChecksumValue};

/// What the client claims about a body; whatever does not hold means nothing is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `Content-MD5`.
    pub md5: Option<[u8; 16]>,
    /// `x-amz-content-sha256` of a signed payload.
    pub sha256: Option<[u8; 32]>,
    /// `x-amz-checksum-*`, from a header or a trailer.
    pub checksum: Option<ChecksumValue>,
}

/// The content of an object or a part while it arrives. Dropping it is always safe.
pub trait ObjectBody: Send + 'static {
    /// The next bytes, `None` at the verified end of the body.
    ///
    /// # Errors
    /// The body broke off or broke its own rules (length, chunk signature, time-out): nothing is stored.
    /// The store hands the error back in [`StoreError::Body`](crate::StoreError::Body).
    fn next(
        &mut self,
    ) -> impl Future<Output = Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>>> + Send;

    /// How many bytes there will be, when known beforehand.
    fn size_hint(&self) -> Option<u64>;

    /// Which checksum to compute while the bytes pass, known before the first byte.
    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm>;

    /// Whether a SHA-256 of all bytes will be claimed, known before the first byte.
    fn claims_sha256(&self) -> bool;

    /// What is claimed; asked once, after `next` gave `None`.
    fn claims(&self) -> Claims;

    /// The key of a customer that the content is to be sealed with, besides those of the mesh.
    fn customer_key(&self) -> Option<&CustomerKey> {
        None
    }
}
