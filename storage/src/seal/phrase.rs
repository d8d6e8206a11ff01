//! The recovery phrase: 24 words of BIP-39 that stand for a 256-bit key of their own.

use bip39::Mnemonic;
use zeroize::Zeroizing;

use super::letter::NodeSecret;

const CONTEXT: &str = "warren 2026 recovery phrase opens mesh keys";

/// A key a person can write down. Every generation of the mesh key is sealed to it, so that rotation never voids it.
pub(crate) struct RecoveryPhrase(Mnemonic);

impl RecoveryPhrase {
    /// A fresh phrase.
    #[allow(clippy::expect_used, reason = "32 bytes are a valid BIP-39 entropy")]
    pub(crate) fn new() -> Self {
        let entropy = Zeroizing::new(super::random::<32>());
        Self(Mnemonic::from_entropy(entropy.as_slice()).expect("32 bytes make 24 words"))
    }

    /// Reads 24 words, forgiving case and spaces.
    pub(crate) fn parse(words: &str) -> Result<Self, String> {
        let words = Zeroizing::new(
            words
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase(),
        );
        let phrase =
            Mnemonic::parse_normalized(&words).map_err(|error| format!("not a recovery phrase: {error}"))?;
        if phrase.word_count() == 24 {
            Ok(Self(phrase))
        } else {
            Err("a recovery phrase has 24 words".into())
        }
    }

    /// The words, for showing once.
    pub(crate) fn words(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// The key the words stand for: its public half is enough to seal to it.
    pub(super) fn secret(&self) -> NodeSecret {
        let (entropy, len) = self.0.to_entropy_array();
        let entropy = Zeroizing::new(entropy);
        NodeSecret::from_bytes(&Zeroizing::new(blake3::derive_key(CONTEXT, &entropy[..len])))
    }
}
