//! What the body of a verified request must satisfy.

use super::chunked::Chunked;

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
