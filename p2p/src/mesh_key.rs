//! The ed25519 key of a mesh: it signs the certificates of members, and its public half names the mesh.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// Why 32 bytes are no name of a mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these 32 bytes are no ed25519 public key")]
pub struct InvalidMeshId;

/// The name of a mesh: the public half of the key that signs its certificates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeshId([u8; 32]);

impl MeshId {
    /// Takes the bytes of a public key.
    ///
    /// # Errors
    /// The bytes are no point of the curve, or one that anybody can sign for.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, InvalidMeshId> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(InvalidMeshId),
        }
    }

    /// The bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether the mesh key signed `message`.
    pub(crate) fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            key.verify_strict(message, &Signature::from_bytes(signature))
                .is_ok()
        })
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshId({self})")
    }
}

/// The secret half of a mesh's key, held by trusted members only and erased when dropped.
///
/// Keeping it is the owner's job: it is sealed to trusted members, never written in clear.
pub struct MeshKey {
    key: SigningKey,
}

impl MeshKey {
    /// Makes the key of a new mesh.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut_slice())?;
        Ok(Self::from_secret(&secret))
    }

    /// Takes back what [`MeshKey::secret`] gave.
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(secret),
        }
    }

    /// The secret, to be sealed.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The name of the mesh.
    pub fn id(&self) -> MeshId {
        MeshId(self.key.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeshKey({})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_and_opened_key_still_names_its_mesh() {
        let key = MeshKey::generate().unwrap();
        assert_eq!(MeshKey::from_secret(&key.secret()).id(), key.id());
        assert_eq!(MeshId::from_bytes(*key.id().as_bytes()), Ok(key.id()));
    }

    #[test]
    fn a_key_that_anybody_can_sign_for_names_no_mesh() {
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(MeshId::from_bytes(neutral), Err(InvalidMeshId));
    }

    #[test]
    fn debug_output_never_shows_the_secret() {
        let key = MeshKey::from_secret(&[7; 32]);
        assert!(!format!("{key:?}").contains("0707"));
    }
}
