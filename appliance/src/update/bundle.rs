//! The file an update comes in: what it consists of, signed, and the parts themselves.
//!
//! Format 1, integers little-endian:
//!
//! | offset | bytes | what                                                                     |
//! |-------:|------:|--------------------------------------------------------------------------|
//! | 0      | 7     | `WRNUPD` and a zero byte                                                 |
//! | 7      | 1     | format, 1                                                                |
//! | 8      | 4     | bytes of the manifest, *n*: at most 65,536                               |
//! | 12     | 64    | ed25519 signature (RFC 8032) of the 23 bytes `warren update manifest\0` and the manifest |
//! | 76     | *n*   | manifest, JSON                                                           |
//! | 76+*n* | …     | the parts in the manifest's order, nothing between them and nothing after |
//!
//! Only the manifest is signed: it names the SHA-256 of each part, which are large and are verified while they are written.

use std::fmt;
use std::io::{self, Read, Write};

use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

const MAGIC: [u8; 7] = *b"WRNUPD\0";
const FORMAT: u8 = 1;
const MANIFEST_BYTES_MAX: u32 = 64 << 10;
const SIGNED_FOR: &[u8] = b"warren update manifest\0";
/// How much of a part is in memory at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// The key whose signature a box believes.
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads the 64 hexadecimal digits of a key, with white space around them.
    ///
    /// # Errors
    /// It is no point of the curve, or not so written.
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let bytes = hex_bytes(text.trim()).ok_or(BundleError::InvalidKey)?;
        VerifyingKey::from_bytes(&bytes)
            .map(Self)
            .map_err(|_| BundleError::InvalidKey)
    }
}

/// What an update consists of.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// For which image it is, as `IMAGE_ID` of os-release names it.
    pub system: String,
    /// Counts upwards: of two updates the one with the higher number is the newer.
    pub build: u64,
    /// What people call it.
    pub version: String,
    /// What follows, in this order.
    pub parts: Vec<Part>,
}

/// A piece of a system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Where it belongs.
    pub name: PartName,
    /// How long it is.
    pub bytes: u64,
    /// What it must hash to, as 64 hexadecimal digits.
    pub sha256: String,
}

/// Where a part belongs: `root`, or `boot/` and the name of a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum PartName {
    /// The partition of the slot.
    Root,
    /// A file in the slot's folder of the boot partition: a plain name, so that nothing is written outside it.
    Boot(String),
}

impl TryFrom<String> for PartName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |name: &&str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            (1..=64).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(known)
        };
        match text.strip_prefix("boot/").filter(plain) {
            Some(name) => Ok(Self::Boot(name.to_owned())),
            None if text == "root" => Ok(Self::Root),
            None => Err(format!("{text:?} is no part of a system")),
        }
    }
}

impl fmt::Display for PartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Boot(name) => write!(f, "boot/{name}"),
        }
    }
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The key to verify with is none.
    #[error("the key for updates is not 64 hexadecimal digits of an ed25519 key")]
    InvalidKey,
    /// It is another kind of file, or of a later format.
    #[error("this is no update, or one that needs a newer Warren to be read")]
    NotABundle,
    /// Somebody else made it, or it was changed.
    #[error("the update is not signed by the key of this box")]
    WrongSignature,
    /// It is signed and still makes no sense.
    #[error("the update's table of contents cannot be understood")]
    InvalidManifest(#[source] serde_json::Error),
    /// A part is not what was signed.
    #[error("part {0} of the update is damaged")]
    Damaged(PartName),
    /// It cannot be read, ends early, or a part cannot be written.
    #[error("copy the update")]
    Io(#[from] io::Error),
}

/// A bundle whose manifest is verified; its parts are, as they are taken.
pub struct Bundle<R> {
    manifest: Manifest,
    rest: R,
}

impl<R: Read> Bundle<R> {
    /// Reads and verifies the manifest.
    ///
    /// # Errors
    /// It is no bundle, not signed by `key`, or cannot be read.
    pub fn open(mut reader: R, key: &PublicKey) -> Result<Self, BundleError> {
        let mut head = [0; 12];
        read_all_of(&mut reader, &mut head)?;
        let [magic @ .., a, b, c, d] = head;
        let length = u32::from_le_bytes([a, b, c, d]);
        if magic[..7] != MAGIC || magic[7] != FORMAT || length > MANIFEST_BYTES_MAX {
            return Err(BundleError::NotABundle);
        }
        let mut signature = [0; 64];
        read_all_of(&mut reader, &mut signature)?;
        let mut signed = SIGNED_FOR.to_vec();
        let taken = (&mut reader).take(length.into()).read_to_end(&mut signed)?;
        if taken as u64 != u64::from(length) {
            return Err(BundleError::NotABundle);
        }
        // Strictly: a signature is good for one message and one key.
        key.0
            .verify_strict(&signed, &Signature::from_bytes(&signature))
            .map_err(|_| BundleError::WrongSignature)?;
        let manifest =
            serde_json::from_slice(&signed[SIGNED_FOR.len()..]).map_err(BundleError::InvalidManifest)?;
        Ok(Self {
            manifest,
            rest: reader,
        })
    }

    /// What the bundle consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Writes each part where `place` says. What is written must not be used before this has returned: a part is only
    /// known to be whole at its end.
    ///
    /// # Errors
    /// A part is damaged or missing, more follows the last, or something cannot be read or written.
    pub fn unpack<W: Write>(
        mut self,
        mut place: impl FnMut(&Part) -> io::Result<W>,
        mut done: impl FnMut(W) -> io::Result<()>,
    ) -> Result<Manifest, BundleError> {
        for part in &self.manifest.parts {
            let mut target = place(part)?;
            copy_verified(&mut self.rest, part, &mut target)?;
            done(target)?;
        }
        match self.rest.read(&mut [0])? {
            0 => Ok(self.manifest),
            _ => Err(BundleError::NotABundle),
        }
    }
}

/// A file too short to be a bundle is none.
fn read_all_of(reader: &mut impl Read, bytes: &mut [u8]) -> Result<(), BundleError> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BundleError::NotABundle,
        _ => BundleError::Io(error),
    })
}

fn copy_verified(from: &mut impl Read, part: &Part, to: &mut impl Write) -> Result<(), BundleError> {
    let damaged = || BundleError::Damaged(part.name.clone());
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut left = part.bytes;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let taken = from.read(&mut piece[..most])?;
        if taken == 0 {
            return Err(damaged());
        }
        hash.update(&piece[..taken]);
        to.write_all(&piece[..taken])?;
        left -= taken as u64;
    }
    match hex_bytes(&part.sha256) {
        Some(expected) if expected == <[u8; 32]>::from(hash.finalize()) => Ok(()),
        _ => Err(damaged()),
    }
}

/// 32 bytes written as hexadecimal digits.
fn hex_bytes(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;

    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    pub(in crate::update) fn public_key() -> PublicKey {
        PublicKey(SigningKey::from_bytes(&SECRET).verifying_key())
    }

    /// A bundle for `system` with these parts, signed.
    pub(in crate::update) fn made(system: &str, build: u64, parts: &[(&str, &[u8])]) -> Vec<u8> {
        let listed: Vec<_> = parts
            .iter()
            .map(|(name, content)| {
                let sha256: String = Sha256::digest(content)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                serde_json::json!({ "name": name, "bytes": content.len(), "sha256": sha256 })
            })
            .collect();
        let manifest =
            serde_json::json!({ "system": system, "build": build, "version": "1", "parts": listed })
                .to_string();
        let signature = SigningKey::from_bytes(&SECRET)
            .sign(&[SIGNED_FOR, manifest.as_bytes()].concat())
            .to_bytes();
        let length = u32::try_from(manifest.len()).unwrap().to_le_bytes();
        let head = [&MAGIC[..], &[FORMAT], &length, &signature, manifest.as_bytes()].concat();
        parts.iter().fold(head, |mut bundle, (_, content)| {
            bundle.extend_from_slice(content);
            bundle
        })
    }

    fn unpacked(bundle: &[u8], key: &PublicKey) -> Result<Vec<Vec<u8>>, BundleError> {
        let mut parts = Vec::new();
        Bundle::open(bundle, key)?.unpack(
            |_| Ok(Vec::new()),
            |part| {
                parts.push(part);
                Ok(())
            },
        )?;
        Ok(parts)
    }

    fn example() -> Vec<u8> {
        made("box", 1, &[("root", b"a root"), ("boot/vmlinuz", b"a kernel")])
    }

    #[test]
    fn a_bundle_gives_back_its_parts() {
        assert_eq!(
            unpacked(&example(), &public_key()).unwrap(),
            [b"a root".to_vec(), b"a kernel".to_vec()]
        );
    }

    #[test]
    fn a_bundle_of_somebody_else_is_refused() {
        let other = PublicKey(SigningKey::from_bytes(&[8; 32]).verifying_key());
        assert!(matches!(
            unpacked(&example(), &other),
            Err(BundleError::WrongSignature)
        ));
    }

    #[test]
    fn no_part_leaves_its_place() {
        for name in [
            "boot/../x",
            "boot/",
            "boot/.x",
            "boot/a/b",
            "root/",
            "",
            "boot/a b",
            "/root",
        ] {
            assert!(PartName::try_from(name.to_owned()).is_err(), "{name}");
        }
        for name in ["root", "boot/vmlinuz", "boot/bcm2711-rpi-4-b.dtb"] {
            assert_eq!(PartName::try_from(name.to_owned()).unwrap().to_string(), name);
        }
    }

    /// What the build script writes, so that both sides keep to the format: `testdata/` beside this file has the key, too.
    #[test]
    fn a_bundle_made_by_the_build_script_is_understood() {
        let key = PublicKey::parse(include_str!("testdata/update.pub")).unwrap();
        let bundle = Bundle::open(&include_bytes!("testdata/format-1.bundle")[..], &key).unwrap();
        assert_eq!(
            (bundle.manifest().system.as_str(), bundle.manifest().build),
            ("warren-arm64", 42)
        );
        assert_eq!(bundle.manifest().parts.len(), 2);
        bundle.unpack(|_| Ok(io::sink()), |_| Ok(())).unwrap();
    }

    proptest! {
        #[test]
        fn any_change_is_noticed(at in 0..example().len(), bit in 0..8_u8) {
            let mut bundle = example();
            bundle[at] ^= 1 << bit;
            prop_assert!(unpacked(&bundle, &public_key()).is_err());
        }

        #[test]
        fn any_cut_and_any_addition_is_noticed(cut in 1..example().len()) {
            let bundle = example();
            prop_assert!(unpacked(&bundle[..bundle.len() - cut], &public_key()).is_err());
            prop_assert!(unpacked(&[&bundle[..], &[0]].concat(), &public_key()).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = unpacked(&bytes, &public_key());
        }
    }
}
