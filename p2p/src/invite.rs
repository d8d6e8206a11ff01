//! The one line that lets a new node into a mesh: who invites, as what, until when, and where to knock.

use std::fmt;
use std::net::IpAddr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32m, Hrp};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::address::Host;
use crate::{Address, MeshId, NodeId, Role};

/// What every invite begins with, before the separator `1`.
const PREFIX: Hrp = Hrp::parse_unchecked("wrn");
/// The only format so far.
const VERSION: u8 = 1;
/// The most places to knock that an invite carries; more makes a QR code that phones cannot read.
pub const ADDRESSES_MAX: usize = 8;
/// The longest invite, in characters; refuses work on a pasted novel.
const CHARACTERS_MAX: usize = 1000;
/// Latest expiry that five bytes hold, in seconds since 1970.
const EXPIRY_MAX: u64 = (1 << 40) - 1;
/// Makes the invite key from the seed, and nothing else.
const KEY_CONTEXT: &str = "warren 2026 invite key 1";
/// Sets these signatures apart from every other thing an invite key could sign.
const PROOF_CONTEXT: &[u8] = b"warren join 1";

/// Why a text is no invite, each saying what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInvite {
    /// It does not begin like one.
    #[error("an invite begins with wrn1; copy the whole line that `warren invite` printed")]
    NotAnInvite,
    /// Its checksum is wrong.
    #[error("a character of the invite is missing or wrong; copy the whole line again")]
    Damaged,
    /// A later version of Warren made it.
    #[error("this invite needs a newer Warren (format {0}); update this box, then join again")]
    Newer(u8),
    /// Its checksum holds but its content makes no sense.
    #[error("this invite makes no sense to this version; ask for a new one")]
    Malformed,
}

/// The public half of an invite: what the mesh keeps of it, and what names it when it is listed or revoked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InviteId([u8; 32]);

impl InviteId {
    /// The bytes of the public key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Takes bytes that [`InviteId::as_bytes`] gave. Bytes that are no key match no proof.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether who holds the invite made this proof, for exactly this occasion.
    pub(crate) fn proves(&self, occasion: &Occasion, proof: &[u8; 64]) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| {
            !key.is_weak()
                && key
                    .verify_strict(&occasion.message(), &Signature::from_bytes(proof))
                    .is_ok()
        })
    }
}

impl fmt::Debug for InviteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteId(")?;
        self.0
            .iter()
            .take(4)
            .try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

/// One attempt to join; a proof made for it is worth nothing on any other.
pub(crate) struct Occasion {
    pub(crate) mesh: MeshId,
    pub(crate) joiner: NodeId,
    pub(crate) responder: NodeId,
    /// Chosen by the responder, used once.
    pub(crate) nonce: [u8; 32],
}

impl Occasion {
    /// What is signed: five parts of fixed lengths, so that no two occasions have one message.
    fn message(&self) -> Vec<u8> {
        [
            PROOF_CONTEXT,
            self.mesh.as_bytes(),
            self.joiner.as_bytes(),
            self.responder.as_bytes(),
            &self.nonce,
        ]
        .concat()
    }
}

/// Lets one node into a mesh, once. Whoever holds its text can use it; the text never travels, only proofs of holding it.
///
/// The text is bech32m (BIP 350) with the prefix `wrn`, in lower case, or in upper case for a compact QR code. Its bytes:
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | role: 1 trusted, 2 vault, 3 witness |
/// | 32 | public key of the mesh |
/// | 16 | random seed; the invite key is ed25519 of `blake3::derive_key("warren 2026 invite key 1", seed)` |
/// | 5 | expiry, big-endian, in seconds since 1970 |
/// | rest | up to 8 addresses, each: kind (4: IPv4, 6: IPv6, 1: name), then 4 or 16 bytes or a length byte and the name, then the port, 2 bytes big-endian |
#[derive(Clone, PartialEq, Eq)]
pub struct Invite {
    mesh: MeshId,
    role: Role,
    seed: Zeroizing<[u8; 16]>,
    expires_s: u64,
    addresses: Vec<Address>,
}

impl Invite {
    /// Makes an invite that nobody has seen, valid until `expires_s` (seconds since 1970). Of the addresses the first
    /// [`ADDRESSES_MAX`] are taken, so the best come first.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(
        mesh: MeshId,
        role: Role,
        expires_s: u64,
        mut addresses: Vec<Address>,
    ) -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 16]);
        getrandom::fill(seed.as_mut_slice())?;
        addresses.truncate(ADDRESSES_MAX);
        Ok(Self {
            mesh,
            role,
            seed,
            expires_s: expires_s.min(EXPIRY_MAX),
            addresses,
        })
    }

    /// Reads what a person pasted: spaces, line breaks, quotes and upper case do no harm.
    ///
    /// # Errors
    /// It is no invite; the error says what to do.
    pub fn parse(text: &str) -> Result<Self, InvalidInvite> {
        let text = Zeroizing::new(cleaned(text)?);
        let checked = CheckedHrpstring::new::<Bech32m>(&text).map_err(|_| InvalidInvite::Damaged)?;
        if checked.hrp() != PREFIX {
            return Err(InvalidInvite::Damaged);
        }
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
        match bytes.split_first() {
            Some((&VERSION, rest)) => read(rest).ok_or(InvalidInvite::Malformed),
            Some((version, _)) => Err(InvalidInvite::Newer(*version)),
            None => Err(InvalidInvite::Malformed),
        }
    }

    /// The line to paste, secret.
    pub fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(bech32::encode_lower::<Bech32m>(PREFIX, &self.bytes()).unwrap_or_default())
    }

    /// The same for a QR code, which stores upper case in half the space.
    pub fn qr_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.text().to_ascii_uppercase())
    }

    /// What the mesh keeps of it.
    pub fn id(&self) -> InviteId {
        InviteId(self.key().verifying_key().to_bytes())
    }

    /// Which mesh it opens.
    pub const fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// What it makes of who joins.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Until when it works, in seconds since 1970, by the clock of the member that answers.
    pub const fn expires_s(&self) -> u64 {
        self.expires_s
    }

    /// Where to knock.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    pub(crate) fn prove(&self, occasion: &Occasion) -> [u8; 64] {
        self.key().sign(&occasion.message()).to_bytes()
    }

    fn key(&self) -> SigningKey {
        let secret = Zeroizing::new(blake3::derive_key(KEY_CONTEXT, self.seed.as_slice()));
        SigningKey::from_bytes(&secret)
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        // Room for all, so that no copy of the seed is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(CHARACTERS_MAX));
        bytes.extend([VERSION, self.role.code()]);
        bytes.extend(self.mesh.as_bytes());
        bytes.extend(self.seed.iter());
        bytes.extend(self.expires_s.to_be_bytes().iter().skip(3));
        let mut room = CHARACTERS_MAX / 2;
        for address in &self.addresses {
            let encoded = encode_address(address);
            // The first and best addresses stay whole where long names do not all fit.
            let Some(left) = room.checked_sub(encoded.len()) else {
                break;
            };
            room = left;
            bytes.extend(encoded);
        }
        bytes
    }
}

impl fmt::Debug for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invite")
            .field("id", &self.id())
            .field("role", &self.role)
            .field("expires_s", &self.expires_s)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Only the letters and digits, in lower case, if they begin like an invite.
fn cleaned(text: &str) -> Result<String, InvalidInvite> {
    let around = |letter: char| matches!(letter, '"' | '\'' | '`' | '<' | '>');
    let mut cleaned = String::with_capacity(CHARACTERS_MAX);
    let kept = text.chars().filter(|letter| {
        !letter.is_whitespace() && !letter.is_control() && !around(*letter) && *letter != '\u{200b}'
    });
    for letter in kept {
        if cleaned.len() >= CHARACTERS_MAX {
            return Err(InvalidInvite::NotAnInvite);
        }
        cleaned.push(letter.to_ascii_lowercase());
    }
    if cleaned.starts_with("wrn1") {
        Ok(cleaned)
    } else {
        Err(InvalidInvite::NotAnInvite)
    }
}

/// Reads what follows the version.
fn read(bytes: &[u8]) -> Option<Invite> {
    let (&role, rest) = bytes.split_first()?;
    let (mesh, rest) = rest.split_first_chunk::<32>()?;
    let (seed, rest) = rest.split_first_chunk::<16>()?;
    let (expiry, mut rest) = rest.split_first_chunk::<5>()?;
    let mut addresses = Vec::new();
    while !rest.is_empty() {
        if addresses.len() == ADDRESSES_MAX {
            return None;
        }
        let (address, after) = decode_address(rest)?;
        addresses.push(address);
        rest = after;
    }
    Some(Invite {
        mesh: MeshId::from_bytes(*mesh).ok()?,
        role: Role::of_code(role)?,
        seed: Zeroizing::new(*seed),
        expires_s: expiry.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        addresses,
    })
}

const KIND_V4: u8 = 4;
const KIND_V6: u8 = 6;
const KIND_NAME: u8 = 1;

fn encode_address(address: &Address) -> Vec<u8> {
    let mut bytes = Vec::new();
    match address.host() {
        Host::Ip(IpAddr::V4(ip)) => {
            bytes.push(KIND_V4);
            bytes.extend(ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) => {
            bytes.push(KIND_V6);
            bytes.extend(ip.octets());
        }
        Host::Dns(name) => {
            bytes.push(KIND_NAME);
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend(name.bytes());
        }
    }
    bytes.extend(address.port().to_be_bytes());
    bytes
}

fn decode_address(bytes: &[u8]) -> Option<(Address, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (host, rest): (&[u8], _) = match kind {
        KIND_V4 => rest.split_at_checked(4)?,
        KIND_V6 => rest.split_at_checked(16)?,
        KIND_NAME => {
            let (&length, rest) = rest.split_first()?;
            rest.split_at_checked(usize::from(length))?
        }
        _ => return None,
    };
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let address = if kind == KIND_NAME {
        Address::named(std::str::from_utf8(host).ok()?, port).ok()?
    } else if let Ok(ip) = <[u8; 4]>::try_from(host) {
        Address::new(IpAddr::from(ip), port)
    } else {
        Address::new(IpAddr::from(<[u8; 16]>::try_from(host).ok()?), port)
    };
    Some((address, rest))
}

#[cfg(test)]
#[path = "invite_tests.rs"]
mod tests;
