//! Decodes aws-chunked bodies while they arrive, and verifies the signature of each chunk and of the trailer.

use bytes::Bytes;
use storage::model::{ChecksumAlgorithm, ChecksumValue};

use crate::error::S3Result;

/// How a body is chunked, as its request said.
#[derive(Debug)]
pub struct Chunked {
    decoded_length: u64,
    trailer: Option<ChecksumAlgorithm>,
}

impl Chunked {
    /// Bytes of content (`x-amz-decoded-content-length`).
    pub fn decoded_length(&self) -> u64 {
        self.decoded_length
    }

    /// The checksum the trailer will carry.
    pub fn trailer(&self) -> Option<ChecksumAlgorithm> {
        self.trailer
    }
}

/// Takes a body apart: no input or output, no copies, and at most one line is held back.
#[derive(Debug)]
pub struct ChunkedDecoder {
    rule: Chunked,
}

impl ChunkedDecoder {
    /// A decoder at the beginning of a body.
    pub fn new(rule: Chunked) -> Self {
        Self { rule }
    }

    /// Takes bytes off the front of `input` up to the next piece of content, which shares their memory.
    /// `None` when all of `input` is taken and more is needed. A piece is handed out before the signature of
    /// its chunk has been seen: only [`Self::finish`] says that the content is whole and authentic.
    ///
    /// # Errors
    /// The body breaks its rules; nothing of it may be stored.
    pub fn decode(&mut self, input: &mut Bytes) -> S3Result<Option<Bytes>> {
        let _ = (input, &self.rule);
        unimplemented!()
    }

    /// Ends the body: gives the trailer's checksum, if one was announced.
    ///
    /// # Errors
    /// `IncompleteBody`: the final chunk is missing or the decoded length is another. `MalformedTrailerError`
    /// or `SignatureDoesNotMatch`: so is the trailer.
    pub fn finish(&mut self) -> S3Result<Option<ChecksumValue>> {
        unimplemented!()
    }
}
