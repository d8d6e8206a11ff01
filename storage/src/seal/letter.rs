//! Letters: small texts that only the holder of one node's key can open.
//!
//! ```text
//! version 1 byte (1) │ ed25519 public key made for this letter 32 │ envelope
//! ```
//! The key of the envelope is derived from the X25519 secret that both keys share (RFC 7748, over the Montgomery forms of
//! both), the letter's public key and the reader's. Whoever wrote it could not read it any more.

use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::envelope::{EnvelopeKey, InvalidEnvelope};

const VERSION: u8 = 1;
const PUBLIC_BYTES: usize = 32;
const CONTEXT: &str = "warren 2026 letters to one node";

/// The secret half of a node's ed25519 key; erased when dropped. Has no `Debug`, so that it reaches no log.
#[derive(Clone)]
pub struct NodeSecret(SigningKey);

impl NodeSecret {
    /// Takes the 32 bytes that an ed25519 key is made of.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(bytes))
    }

    /// A key that nobody else has.
    pub(crate) fn random() -> Self {
        Self::from_bytes(&Zeroizing::new(super::random()))
    }

    /// The public half.
    pub fn public(&self) -> [u8; PUBLIC_BYTES] {
        self.0.verifying_key().to_bytes()
    }

    /// Opens what [`seal_letter`] sealed to the public half, for the same context.
    pub(crate) fn open(
        &self,
        context: &[&[u8]],
        letter: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, InvalidEnvelope> {
        let (version, rest) = letter.split_first().ok_or(InvalidEnvelope::Unverified)?;
        if *version != VERSION {
            return Err(InvalidEnvelope::NewerVersion(*version));
        }
        let (from, sealed) = rest
            .split_first_chunk::<PUBLIC_BYTES>()
            .ok_or(InvalidEnvelope::Unverified)?;
        let theirs = key_of(from).ok_or(InvalidEnvelope::Unverified)?;
        let key = agreed(&self.0, &theirs, [from, &self.public()]);
        key.open_bytes(context, sealed).map(Zeroizing::new)
    }
}

/// Seals a text to the node with this public key; `None` where the bytes are no key.
pub(crate) fn seal_letter(to: &[u8], context: &[&[u8]], text: &[u8]) -> Option<Vec<u8>> {
    let theirs = key_of(to)?;
    let ours = NodeSecret::random();
    let from = ours.public();
    let key = agreed(&ours.0, &theirs, [&from, theirs.as_bytes()]);
    Some([&[VERSION], &from[..], &key.seal_bytes(context, text)].concat())
}

/// Whether a letter can be sealed to these bytes.
pub(crate) fn is_node_key(bytes: &[u8]) -> bool {
    key_of(bytes).is_some()
}

/// A key that is no point of the curve, or one whose secrets anybody can compute, is none.
fn key_of(bytes: &[u8]) -> Option<VerifyingKey> {
    let key = VerifyingKey::from_bytes(bytes.try_into().ok()?).ok()?;
    (!key.is_weak()).then_some(key)
}

fn agreed(ours: &SigningKey, theirs: &VerifyingKey, [from, to]: [&[u8; PUBLIC_BYTES]; 2]) -> EnvelopeKey {
    let secret = Zeroizing::new(ours.to_scalar_bytes());
    let shared = Zeroizing::new(theirs.to_montgomery().mul_clamped(*secret).to_bytes());
    let material = Zeroizing::new([shared.as_slice(), from, to].concat());
    EnvelopeKey::new(blake3::derive_key(CONTEXT, &material))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(seed: u8) -> NodeSecret {
        NodeSecret::from_bytes(&[seed; 32])
    }

    #[test]
    fn only_whom_a_letter_is_for_opens_it_and_only_as_what_it_was_meant() {
        let (anna, ben) = (node(1), node(2));
        let letter = seal_letter(&anna.public(), &[b"keys", b"2"], b"secret").unwrap();
        assert_eq!(
            anna.open(&[b"keys", b"2"], &letter).unwrap().as_slice(),
            b"secret"
        );
        assert!(anna.open(&[b"keys", b"3"], &letter).is_err());
        assert!(ben.open(&[b"keys", b"2"], &letter).is_err());
    }

    #[test]
    fn equal_texts_make_different_letters_and_no_flipped_bit_opens() {
        let anna = node(1);
        let letter = seal_letter(&anna.public(), &[], b"secret").unwrap();
        assert_ne!(letter, seal_letter(&anna.public(), &[], b"secret").unwrap());
        for bit in 0..letter.len() * 8 {
            let mut flipped = letter.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The highest bit of an ed25519 key is a sign, which its Montgomery form has not; it is in the derivation.
            assert!(anna.open(&[], &flipped).is_err(), "{bit}");
        }
        for len in 0..letter.len() {
            assert!(anna.open(&[], &letter[..len]).is_err());
        }
    }

    #[test]
    fn nothing_is_sealed_to_bytes_that_are_no_key_or_one_that_is_everybodys() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        for bytes in [&b""[..], &[7; 31], &neutral] {
            assert!(seal_letter(bytes, &[], b"secret").is_none());
        }
    }

    #[test]
    fn the_first_format_stays_readable() {
        let fixture = include_bytes!("../../fixtures/letter-1.bin");
        assert_eq!(node(1).open(&[b"letter"], fixture).unwrap().as_slice(), b"secret");
    }
}
