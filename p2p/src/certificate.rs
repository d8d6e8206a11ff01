//! What a mesh says of a member, signed with the mesh key: who it is, what it may do, where it stands.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::{MeshId, MeshKey, NodeId};

/// The only format so far.
const VERSION: u8 = 1;
/// Sets these signatures apart from every other thing the mesh key signs.
const CONTEXT: &[u8] = b"warren certificate 1";
/// The longest certificate, in bytes; refuses work on anything larger.
pub(crate) const BYTES_MAX: usize = 1024;
/// The longest name of a node or zone, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Holds the keys of the mesh, votes, serves clients.
    Trusted,
    /// Stores what it cannot read.
    Vault,
    /// Votes on what it cannot read, stores no blocks.
    Witness,
}

impl Role {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Trusted => 1,
            Self::Vault => 2,
            Self::Witness => 3,
        }
    }

    pub(crate) const fn of_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Trusted),
            2 => Some(Self::Vault),
            3 => Some(Self::Witness),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::Vault => "vault",
            Self::Witness => "witness",
        })
    }
}

/// Why bytes are no certificate of this mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// The bytes are no certificate of a format known here.
    #[error("not a certificate that this version reads")]
    Malformed,
    /// It speaks for another mesh.
    #[error("a certificate of another mesh")]
    OtherMesh,
    /// The mesh key did not sign it.
    #[error("a certificate that the mesh did not sign")]
    Forged,
    /// A name is empty, too long, or holds control characters.
    #[error("a name must have 1 to {NAME_BYTES_MAX} bytes and no control characters")]
    Name,
}

/// What a certificate says of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whom it is about.
    pub node: NodeId,
    /// What it may do.
    pub role: Role,
    /// The site it stands in.
    pub zone: String,
    /// What people call it.
    pub name: String,
    /// Higher replaces lower for the same node.
    pub serial: u64,
    /// When it was issued, in seconds since 1970. For people only: a certificate does not expire.
    pub issued_s: u64,
}

/// A signed statement of a mesh about a member. One that exists has been verified.
///
/// It proves a peer to one that has not heard of it yet. It does not make a member: that is for the directory to say.
///
/// The bytes are CBOR: the array `[version = 1, body, signature]` of an integer and two byte strings. The body is the CBOR
/// array `[mesh: 32 bytes, node: 32 bytes, role: integer, zone: text, name: text, serial: integer, issued: integer]`, the
/// role 1 for trusted, 2 for vault and 3 for witness. The signature is ed25519 by the mesh key over the ASCII text
/// `warren certificate 1` followed by the body's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    claims: Claims,
    bytes: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Body(ByteArray<32>, ByteArray<32>, u8, String, String, u64, u64);

#[derive(Serialize, Deserialize)]
struct Envelope(u8, ByteBuf, ByteArray<64>);

impl Certificate {
    /// Signs what the mesh says of a member.
    ///
    /// # Errors
    /// A name is not one.
    pub fn issue(key: &MeshKey, claims: Claims) -> Result<Self, InvalidCertificate> {
        if !is_name(&claims.zone) || !is_name(&claims.name) {
            return Err(InvalidCertificate::Name);
        }
        let body = cbor(&Body(
            ByteArray::new(*key.id().as_bytes()),
            ByteArray::new(*claims.node.as_bytes()),
            claims.role.code(),
            claims.zone.clone(),
            claims.name.clone(),
            claims.serial,
            claims.issued_s,
        ))?;
        let signature = ByteArray::new(key.sign(&[CONTEXT, &body].concat()));
        let bytes = cbor(&Envelope(VERSION, ByteBuf::from(body), signature))?.into();
        Ok(Self { claims, bytes })
    }

    /// Reads a certificate and verifies that `mesh` signed it.
    ///
    /// # Errors
    /// It is none, or not of this mesh.
    pub fn verify(bytes: &[u8], mesh: &MeshId) -> Result<Self, InvalidCertificate> {
        let malformed = InvalidCertificate::Malformed;
        let Envelope(version, body, signature) = whole(bytes).ok_or(malformed)?;
        if version != VERSION {
            return Err(malformed);
        }
        if !mesh.signed(&[CONTEXT, &body].concat(), &signature) {
            // Which of the two it is helps only who is honest; both are refused.
            return Err(match whole::<Body>(&body) {
                Some(Body(named, ..)) if *named != *mesh.as_bytes() => InvalidCertificate::OtherMesh,
                Some(_) => InvalidCertificate::Forged,
                None => malformed,
            });
        }
        let Body(named, node, role, zone, name, serial, issued_s) = whole(&body).ok_or(malformed)?;
        if *named != *mesh.as_bytes() {
            return Err(InvalidCertificate::OtherMesh);
        }
        if !is_name(&zone) || !is_name(&name) {
            return Err(InvalidCertificate::Name);
        }
        Ok(Self {
            claims: Claims {
                node: NodeId::from_bytes(*node).map_err(|_| malformed)?,
                role: Role::of_code(role).ok_or(malformed)?,
                zone,
                name,
                serial,
                issued_s,
            },
            bytes: Bytes::copy_from_slice(bytes),
        })
    }

    /// What it says.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The bytes that travel and are kept.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Whether people can be shown `text` as a name.
pub(crate) fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}

fn cbor<T: Serialize>(value: &T) -> Result<Vec<u8>, InvalidCertificate> {
    let mut bytes = Vec::new();
    // Writing to memory fails only for values that CBOR cannot hold, of which there are none here.
    ciborium::into_writer(value, &mut bytes).map_err(|_| InvalidCertificate::Malformed)?;
    Ok(bytes)
}

/// Reads a value that is all of `bytes`, so that nothing unsigned can trail behind it.
fn whole<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    if bytes.len() > BYTES_MAX {
        return None;
    }
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;

    fn claims() -> Claims {
        Claims {
            node: NodeId::of(&SigningKey::from_bytes(&[2; 32]).verifying_key()),
            role: Role::Vault,
            zone: "Ben's flat".into(),
            name: "ben".into(),
            serial: 7,
            issued_s: 1_800_000_000,
        }
    }

    fn key() -> MeshKey {
        MeshKey::from_secret(&[1; 32])
    }

    #[test]
    fn a_member_proves_itself_to_its_mesh() {
        let certificate = Certificate::issue(&key(), claims()).unwrap();
        let read = Certificate::verify(certificate.bytes(), &key().id()).unwrap();
        assert_eq!(read, certificate);
        assert_eq!(read.claims(), &claims());
    }

    #[test]
    fn the_first_format_stays_readable() {
        let bytes = include_bytes!("../fixtures/certificate-1");
        let read = Certificate::verify(bytes, &key().id()).unwrap();
        assert_eq!(read.claims(), &claims());
        assert_eq!(
            &bytes[..],
            Certificate::issue(&key(), claims()).unwrap().bytes().as_ref()
        );
    }

    #[test]
    fn a_certificate_of_tomorrow_or_of_long_ago_proves_as_much() {
        for issued_s in [0, u64::MAX] {
            let claims = Claims { issued_s, ..claims() };
            let certificate = Certificate::issue(&key(), claims).unwrap();
            assert_eq!(
                Certificate::verify(certificate.bytes(), &key().id()),
                Ok(certificate)
            );
        }
    }

    #[test]
    fn another_mesh_and_a_forged_signature_are_told_apart() {
        let other = MeshKey::from_secret(&[9; 32]);
        let certificate = Certificate::issue(&other, claims()).unwrap();
        assert_eq!(
            Certificate::verify(certificate.bytes(), &key().id()),
            Err(InvalidCertificate::OtherMesh)
        );
        let mut bytes = Certificate::issue(&key(), claims()).unwrap().bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(
            Certificate::verify(&bytes, &key().id()),
            Err(InvalidCertificate::Forged)
        );
    }

    #[test]
    fn names_that_would_confuse_people_are_refused() {
        for name in ["", " ", "a\nb", "\u{1b}[2J", &"x".repeat(NAME_BYTES_MAX + 1)] {
            let bad = Claims {
                name: name.into(),
                ..claims()
            };
            assert_eq!(
                Certificate::issue(&key(), bad),
                Err(InvalidCertificate::Name),
                "{name:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unseen(at in 0_usize..400, flip in 1_u8..=255) {
            let mut bytes = Certificate::issue(&key(), claims()).unwrap().bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            // CBOR has several spellings of a length, so a changed byte outside what is signed may read the same.
            if let Ok(read) = Certificate::verify(&bytes, &key().id()) {
                prop_assert_eq!(read.claims(), &claims());
            }
        }

        #[test]
        fn any_bytes_are_refused_without_harm(bytes: Vec<u8>) {
            prop_assert!(Certificate::verify(&bytes, &key().id()).is_err());
        }
    }
}
