//! Small sealed texts inside rows: a random nonce, so that equal texts look different.
//!
//! ```text
//! version 1 byte (1) │ nonce 24 │ ciphertext │ tag 16
//! ```
//! Associated data is the caller's context and the version: a text moved to another row does not open.

use serde::Serialize;
use zeroize::Zeroizing;

use super::aead::{TAG_BYTES, XKey};
use crate::StoreError;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + NONCE_BYTES;

/// Sealed bytes that do not open here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidEnvelope {
    /// Written by a newer version.
    #[error("sealed by a newer version of Warren ({0})")]
    NewerVersion(u8),
    /// Too short, damaged, moved, or sealed with another key.
    #[error("sealed bytes do not verify")]
    Unverified,
    /// Sealed with keys of the mesh that this node does not have; it may not have heard of them yet.
    #[error("sealed with keys of generation {0}, which are not here")]
    UnknownGeneration(u32),
    /// Opened, but not what was expected inside.
    #[error("sealed bytes do not hold what they should")]
    Unreadable,
}

impl InvalidEnvelope {
    /// What it means to whoever asked for what was sealed.
    pub(crate) fn of(self, what: impl std::fmt::Display) -> StoreError {
        match self {
            Self::UnknownGeneration(number) => StoreError::KeysBehind(number),
            other => StoreError::Damaged(format!("{what}: {other}")),
        }
    }
}

/// A key that seals small texts.
#[derive(Clone)]
pub(crate) struct EnvelopeKey(Zeroizing<[u8; 32]>);

impl EnvelopeKey {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// Seals bytes for one context.
    pub(crate) fn seal_bytes(&self, context: &[&[u8]], text: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = super::random();
        let mut sealed = Vec::with_capacity(HEAD_BYTES + text.len() + TAG_BYTES);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(text);
        let (head, tail) = split(&nonce);
        let tag = XKey::new(&self.0, &head).seal(tail, &associated(context), &mut sealed[HEAD_BYTES..]);
        sealed.extend_from_slice(&tag);
        sealed
    }

    /// Opens what [`Self::seal_bytes`] sealed for the same context.
    pub(crate) fn open_bytes(&self, context: &[&[u8]], sealed: &[u8]) -> Result<Vec<u8>, InvalidEnvelope> {
        let version = *sealed.first().ok_or(InvalidEnvelope::Unverified)?;
        if version != VERSION {
            return Err(InvalidEnvelope::NewerVersion(version));
        }
        let nonce = sealed.get(1..HEAD_BYTES).ok_or(InvalidEnvelope::Unverified)?;
        let (head, tail) = split(nonce);
        let mut text = sealed
            .get(HEAD_BYTES..)
            .ok_or(InvalidEnvelope::Unverified)?
            .to_vec();
        let key = XKey::new(&self.0, &head);
        let opened = key
            .open(tail, &associated(context), &mut text)
            .map_err(|_| InvalidEnvelope::Unverified)?
            .len();
        text.truncate(opened);
        Ok(text)
    }
}

/// The CBOR of a value of ours.
#[allow(
    clippy::expect_used,
    reason = "our own types have no unserialisable parts, and memory does not fail"
)]
pub(crate) fn cbor<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    ciborium::into_writer(value, &mut bytes).expect("our own types serialise into memory");
    bytes
}

fn split(nonce: &[u8]) -> ([u8; 16], [u8; 8]) {
    let mut head = [0; 16];
    let mut tail = [0; 8];
    head.copy_from_slice(&nonce[..16]);
    tail.copy_from_slice(&nonce[16..24]);
    (head, tail)
}

/// Joins the context unambiguously: every piece is preceded by its length.
fn associated(context: &[&[u8]]) -> Vec<u8> {
    let mut joined = vec![VERSION];
    for piece in context {
        joined.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        joined.extend_from_slice(piece);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_opens_only_in_its_own_context() {
        let key = EnvelopeKey::new([3; 32]);
        let sealed = key.seal_bytes(&[b"row", b"a"], b"secret");
        assert_eq!(key.open_bytes(&[b"row", b"a"], &sealed).unwrap(), b"secret");
        assert_eq!(
            key.open_bytes(&[b"rowa", b""], &sealed),
            Err(InvalidEnvelope::Unverified)
        );
        assert_eq!(
            EnvelopeKey::new([4; 32]).open_bytes(&[b"row", b"a"], &sealed),
            Err(InvalidEnvelope::Unverified)
        );
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let key = EnvelopeKey::new([3; 32]);
        let sealed = key.seal_bytes(&[], b"secret");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(key.open_bytes(&[], &flipped).is_err());
        }
        for len in 0..sealed.len() {
            assert!(key.open_bytes(&[], &sealed[..len]).is_err());
        }
    }
}
