//! Continues a request's signature over its chunks: each signature covers the one before it.

use std::fmt;

use ring::digest::{SHA256, digest};
use ring::hmac;
use subtle::ConstantTimeEq;

use super::canonical::push_hex;
use crate::error::{S3Code, S3Error, S3Result};

/// The signature of what came last, and what is needed to compute the next.
pub struct ChunkSigning {
    key: hmac::Key,
    timestamp: String,
    scope: String,
    previous: [u8; 64],
}

/// A verified signature of a request's headers, from which a chain over its chunks could begin.
pub(super) struct Seed<'r> {
    pub(super) key: hmac::Key,
    pub(super) timestamp: &'r str,
    pub(super) scope: &'r str,
    /// 64 lower-case hexadecimal digits.
    pub(super) signature: [u8; 64],
}

impl Seed<'_> {
    pub(super) fn chain(self) -> ChunkSigning {
        ChunkSigning {
            key: self.key,
            timestamp: self.timestamp.to_owned(),
            scope: self.scope.to_owned(),
            previous: self.signature,
        }
    }
}

impl ChunkSigning {
    /// A chain of any signing key and any first signature, for tests and fuzzers of the decoder.
    pub fn new(key: &[u8], timestamp: &str, scope: &str, signature: [u8; 64]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Seed {
            key,
            timestamp,
            scope,
            signature,
        }
        .chain()
    }

    /// Checks the next chunk.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`.
    pub(super) fn verify_chunk(&mut self, sha256: &[u8], signature: &[u8; 64]) -> S3Result<()> {
        let mut text = self.string_to_sign("AWS4-HMAC-SHA256-PAYLOAD");
        push_hex(digest(&SHA256, b"").as_ref(), &mut text);
        text.push(b'\n');
        push_hex(sha256, &mut text);
        self.verify(&text, signature)
    }

    /// Checks the trailer, the last of the chain.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`.
    pub(super) fn verify_trailer(&mut self, trailer: &[u8], signature: &[u8; 64]) -> S3Result<()> {
        let mut text = self.string_to_sign("AWS4-HMAC-SHA256-TRAILER");
        push_hex(digest(&SHA256, trailer).as_ref(), &mut text);
        self.verify(&text, signature)
    }

    fn string_to_sign(&self, algorithm: &str) -> Vec<u8> {
        let mut text = Vec::with_capacity(320);
        for line in [
            algorithm.as_bytes(),
            self.timestamp.as_bytes(),
            self.scope.as_bytes(),
            &self.previous,
        ] {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text
    }

    fn verify(&mut self, string_to_sign: &[u8], signature: &[u8; 64]) -> S3Result<()> {
        let computed = sign(&self.key, string_to_sign);
        if bool::from(computed.ct_eq(signature)) {
            self.previous = computed;
            return Ok(());
        }
        Err(S3Error::with_message(
            S3Code::SignatureDoesNotMatch,
            "The signature of a chunk or of the trailer does not match its content. Nothing was stored.",
        ))
    }
}

impl fmt::Debug for ChunkSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChunkSigning")
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// The signature of a string to sign, in lower-case hexadecimal digits.
pub(super) fn sign(key: &hmac::Key, string_to_sign: &[u8]) -> [u8; 64] {
    let mut digits = [0; 64];
    let tag = hmac::sign(key, string_to_sign);
    // An HMAC-SHA-256 has 32 bytes, which are 64 digits.
    hex::encode_to_slice(tag.as_ref(), &mut digits).expect("32 bytes are 64 hexadecimal digits");
    digits
}
