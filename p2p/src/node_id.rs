//! The name of a node: its ed25519 public key, and the text people see of it.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::VerifyingKey;
use libp2p::PeerId;
use libp2p::identity::{PublicKey, ed25519};

/// RFC 4648 base32 in lower case: double-clicks as one word, survives being read aloud.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What libp2p writes before an ed25519 key in a peer id: identity multihash of 36 bytes; key type 1; key of 32 bytes.
const PEER_PREFIX: [u8; 6] = [0, 36, 8, 1, 18, 32];

/// Why a text does not name a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node id has {} characters of a-z and 2-7", NodeId::TEXT_LEN)]
pub struct InvalidNodeId;

/// The name of a node: its ed25519 public key.
///
/// Its text is the 32 bytes in lower-case base32 without padding; one key has exactly one text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 32]);

impl NodeId {
    /// Characters of its text: 256 bits in groups of five.
    pub const TEXT_LEN: usize = 52;

    /// Takes the bytes of a public key.
    ///
    /// # Errors
    /// The bytes are no point of the curve, or one that anybody can sign for.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidNodeId> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidNodeId)?;
        if key.is_weak() {
            return Err(InvalidNodeId);
        }
        Ok(Self(bytes))
    }

    /// The bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn of(key: &VerifyingKey) -> Self {
        Self(key.to_bytes())
    }

    /// The same name as the connections speak it.
    pub(crate) fn peer(&self) -> PeerId {
        let key = ed25519::PublicKey::try_from_bytes(&self.0);
        let peer = key.map(|key| PeerId::from_public_key(&PublicKey::from(key)));
        peer.expect("a node id that exists is a point of the curve")
    }

    /// The node whose key a connection's peer has proved; none for a key of another kind.
    pub(crate) fn of_peer(peer: &PeerId) -> Option<Self> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(&PEER_PREFIX)?;
        Self::from_bytes(key.try_into().ok()?).ok()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = |at: usize| self.0.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
        let text: String = (0..Self::TEXT_LEN)
            .map(|group| (group * 5..group * 5 + 5).fold(0, |value, at| value << 1 | bit(at)))
            .map(|value| char::from(ALPHABET[usize::from(value)]))
            .collect();
        f.write_str(&text)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl FromStr for NodeId {
    type Err = InvalidNodeId;

    fn from_str(text: &str) -> Result<Self, InvalidNodeId> {
        if text.len() != Self::TEXT_LEN {
            return Err(InvalidNodeId);
        }
        let mut bytes = [0_u8; 32];
        for (group, letter) in text.bytes().enumerate() {
            let value = ALPHABET
                .iter()
                .position(|known| *known == letter)
                .ok_or(InvalidNodeId)?;
            for offset in 0..5 {
                let at = group * 5 + offset;
                let bit = value >> (4 - offset) & 1 == 1;
                match bytes.get_mut(at / 8) {
                    Some(byte) => *byte |= u8::from(bit) << (7 - at % 8),
                    // The four bits past the key are zero, or two texts would name one node.
                    None if bit => return Err(InvalidNodeId),
                    None => {}
                }
            }
        }
        Self::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_node_id_survives_being_written_and_read(seed: [u8; 32]) {
            let id = NodeId::of(&SigningKey::from_bytes(&seed).verifying_key());
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(NodeId::of_peer(&id.peer()), Some(id));
        }

        #[test]
        fn any_text_is_refused_or_is_the_one_text_of_its_node(text in "[a-z2-7]{51,53}") {
            if let Ok(id) = text.parse::<NodeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn a_key_that_anybody_can_sign_for_is_refused() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(NodeId::from_bytes(neutral), Err(InvalidNodeId));
    }
}
