//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): HChaCha20 from `chacha20`, the rest from `ring`.
//!
//! `ring` has no extended nonces but assembly that runs at twice the speed of the pure Rust ciphers; HChaCha20
//! turns key and first sixteen nonce bytes into the key it then uses.

use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of authentication tag behind every sealed text.
pub(super) const TAG_BYTES: usize = 16;

/// The bytes do not verify under this key, nonce and associated data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unverified;

/// A key bound to the first 16 bytes of an extended nonce.
pub(super) struct XKey(LessSafeKey);

impl XKey {
    #[allow(clippy::expect_used, reason = "a 32-byte key always fits the cipher")]
    pub(super) fn new(key: &[u8; 32], nonce_head: &[u8; 16]) -> Self {
        let subkey = hchacha::<R20>(&(*key).into(), &(*nonce_head).into());
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &subkey).expect("32 bytes are a ChaCha20 key");
        Self(LessSafeKey::new(unbound))
    }

    /// Seals `text` in place and gives the tag.
    #[allow(clippy::expect_used, reason = "only texts of 256 GiB are refused")]
    pub(super) fn seal(&self, nonce_tail: [u8; 8], associated: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(nonce_tail), Aad::from(associated), text)
            .expect("the text is far shorter than the cipher's limit");
        let mut bytes = [0; TAG_BYTES];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    /// Opens text followed by its tag, in place; the text is the front of `sealed`.
    pub(super) fn open<'a>(
        &self,
        nonce_tail: [u8; 8],
        associated: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Unverified> {
        self.0
            .open_in_place(nonce(nonce_tail), Aad::from(associated), sealed)
            .map_err(|_| Unverified)
    }
}

fn nonce(tail: [u8; 8]) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[4..].copy_from_slice(&tail);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vector A.3.1 of draft-irtf-cfrg-xchacha-03.
    #[test]
    fn the_published_vector_seals_and_opens() {
        let counted = |from: u8, to: u8| (from..to).collect::<Vec<_>>();
        let key: [u8; 32] = counted(0x80, 0xa0).try_into().unwrap();
        let nonce_head: [u8; 16] = counted(0x40, 0x50).try_into().unwrap();
        let nonce_tail: [u8; 8] = counted(0x50, 0x58).try_into().unwrap();
        let associated = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let plain =
            b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
                      sunscreen would be it.";
        let mut text = plain.to_vec();
        let x = XKey::new(&key, &nonce_head);
        let tag = x.seal(nonce_tail, &associated, &mut text);
        assert_eq!(hex::encode(&text[..16]), "bd6d179d3e83d43b9576579493c0e939");
        assert_eq!(hex::encode(tag), "c0875924c1c7987947deafd8780acf49");
        text.extend_from_slice(&tag);
        assert_eq!(x.open(nonce_tail, &associated, &mut text).unwrap(), plain);
        text[0] ^= 1;
        assert_eq!(x.open(nonce_tail, &associated, &mut text), Err(Unverified));
    }
}
