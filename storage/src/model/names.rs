//! Names and identifiers: what S3 permits, parsed once at the door.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Why a text is not a bucket name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidBucketName(&'static str);

/// A bucket name that S3 permits: 3–63 of `a-z 0-9 . -`, not shaped like an IPv4 address.
///
/// Source: AWS S3 user guide, "General purpose bucket naming rules".
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

impl BucketName {
    /// Checks the naming rules.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidBucketName> {
        let bytes = text.as_bytes();
        if !(3..=63).contains(&bytes.len()) {
            return Err(InvalidBucketName("a bucket name has 3 to 63 characters"));
        }
        if !bytes
            .iter()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'))
        {
            return Err(InvalidBucketName(
                "a bucket name has only lower-case letters, digits, dots and hyphens",
            ));
        }
        let edge = |b: &u8| b.is_ascii_alphanumeric();
        if !bytes.first().is_some_and(edge) || !bytes.last().is_some_and(edge) {
            return Err(InvalidBucketName(
                "a bucket name begins and ends with a letter or a digit",
            ));
        }
        if text.contains("..") {
            return Err(InvalidBucketName("a bucket name has no two dots in a row"));
        }
        if text.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(InvalidBucketName("a bucket name is not an IP address"));
        }
        if text.starts_with("xn--") || text.ends_with("-s3alias") {
            return Err(InvalidBucketName("this prefix or suffix is reserved"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BucketName {
    type Error = InvalidBucketName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<BucketName> for String {
    fn from(name: BucketName) -> Self {
        name.0
    }
}

/// Why bytes are not an object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The key has no bytes.
    #[error("an object key has at least one byte")]
    Empty,
    /// The key has more than [`ObjectKey::BYTES_MAX`] bytes.
    #[error("an object key has at most 1024 bytes, this one has {0}")]
    TooLong(usize),
    /// The key is not UTF-8.
    #[error("an object key is UTF-8")]
    NotUtf8,
}

/// The name of an object inside its bucket: 1–1024 bytes of UTF-8, never normalised.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

impl ObjectKey {
    /// The longest key S3 permits, in bytes of UTF-8.
    pub const BYTES_MAX: usize = 1024;

    /// Takes the decoded bytes of a request path.
    ///
    /// # Errors
    /// Empty, longer than [`Self::BYTES_MAX`], or not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidKey> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(InvalidKey::TooLong(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidKey::NotUtf8)?;
        if text.is_empty() {
            Err(InvalidKey::Empty)
        } else {
            Ok(Self(text.to_owned()))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(text.as_bytes())
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        id! {
            $(#[$doc])*
            $name
        }

        impl $name {
            /// A fresh random identifier.
            #[allow(clippy::new_without_default, reason = "a random value is no default")]
            pub fn new() -> Self {
                Self(crate::seal::random())
            }
        }
    };
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "serde_bytes")] [u8; 16]);

        impl $name {
            /// An identifier read back from a row or a wire.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The sixteen bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

random_id! {
    /// Names a bucket in rows, so that a bucket re-created under an old name shares nothing with it.
    BucketId
}
id! {
    /// Names a row of versions of an object that do not stand in the object's own row. Each is written once.
    ArchiveId
}
id! {
    /// Names one write (a PUT, a part, a copy): the owner of the blocks it stored.
    ///
    /// The first four bytes say how many sweeps its gateway knew of when it began, big-endian; the rest is random.
    WriteId
}
random_id! {
    /// Names a multipart upload.
    UploadId
}
id! {
    /// Names one submission of a command, whatever number of times it is tried.
    ///
    /// The first six bytes say when it began by its gateway's clock, in milliseconds since 1970, big-endian; the rest is
    /// random. See [`crate::register::OpId`] for what that is good for.
    OpId
}
id! {
    /// Names one thing that a holder of one access key does, for all attempts of it; a digest of what the client calls it.
    InvocationId
}
random_id! {
    /// Tells an access key from a later one of the same id.
    KeySerial
}

impl OpId {
    /// A fresh one, of what begins now.
    #[allow(clippy::new_without_default, reason = "what begins now is no default")]
    pub fn new() -> Self {
        Self(crate::seal::random()).began(Timestamp::now())
    }

    fn began(mut self, at: Timestamp) -> Self {
        let [_, _, six @ ..] = at.as_millis().min(Self::LAST).to_be_bytes();
        self.0[..6].copy_from_slice(&six);
        self
    }

    /// Half of what a name can tell: a clock that is further ahead leaves the others room behind it.
    const LAST: u64 = (1 << 47) - 1;
}

impl WriteId {
    /// A fresh one, of a write that begins now: its gateway knows of so many sweeps.
    pub fn after(sweeps: u32) -> Self {
        let mut bytes: [u8; 16] = crate::seal::random();
        bytes[..4].copy_from_slice(&sweeps.to_be_bytes());
        Self(bytes)
    }

    /// How many sweeps its gateway knew of when it began.
    pub fn sweeps(&self) -> u32 {
        self.0.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
    }
}

/// The version that an upload becomes is a write of that name, so that a repeated Complete recognises its own.
impl From<UploadId> for WriteId {
    fn from(upload: UploadId) -> Self {
        Self(upload.0)
    }
}

impl UploadId {
    /// Reads the hexadecimal text a client sends; anything else is simply unknown.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// Why a text is not a version id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a version id is `null` or 32 hexadecimal digits")]
pub struct InvalidVersionId;

/// Names one version of an object: `null`, or one created while versioning was on.
///
/// The first eight bytes of such a name are the time of the version in milliseconds since 1970, big-endian, which
/// grows from version to version of a key whatever the clocks say; the others are the last eight of its write. So a
/// listing that was cut behind a version goes on in the right place also when that version is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VersionId {
    /// The version of a bucket whose versioning is off or suspended.
    Null,
    /// A version created while versioning was on.
    Named(#[serde(with = "serde_bytes")] [u8; 16]),
}

impl VersionId {
    /// The name of what a write made at that time.
    pub fn new(modified: Timestamp, write: WriteId) -> Self {
        let mut bytes = *write.as_bytes();
        bytes[..8].copy_from_slice(&modified.as_millis().to_be_bytes());
        Self::Named(bytes)
    }

    /// When the version was made, unless it is called `null`.
    pub fn made(self) -> Option<Timestamp> {
        match self {
            Self::Null => None,
            Self::Named(bytes) => bytes
                .first_chunk()
                .map(|millis| Timestamp::from_millis(u64::from_be_bytes(*millis))),
        }
    }

    /// Reads the text of a `versionId` parameter.
    ///
    /// # Errors
    /// Neither `null` nor 32 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, InvalidVersionId> {
        if text == "null" {
            return Ok(Self::Null);
        }
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidVersionId)?;
        Ok(Self::Named(bytes))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Named(bytes) => f.write_str(&hex::encode(bytes)),
        }
    }
}

/// Why a number does not name a part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a part number is between 1 and 10000")]
pub struct InvalidPartNumber;

/// The number of a part of a multipart upload: 1–10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PartNumber(u16);

impl PartNumber {
    /// The first part; a plain PUT has only this one.
    pub const FIRST: Self = Self(1);

    /// Checks the bounds.
    ///
    /// # Errors
    /// Outside 1–10000.
    pub fn new(number: u16) -> Result<Self, InvalidPartNumber> {
        if (1..=10_000).contains(&number) {
            Ok(Self(number))
        } else {
            Err(InvalidPartNumber)
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for PartNumber {
    type Error = InvalidPartNumber;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}

impl From<PartNumber> for u16 {
    fn from(number: PartNumber) -> Self {
        number.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_submission_says_when_it_began() {
        let before = Timestamp::now().as_millis();
        let began = crate::register::OpId(*OpId::new().as_bytes()).began();
        assert!((before..=Timestamp::now().as_millis()).contains(&began));
        assert_ne!(OpId::new(), OpId::new());
    }

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "a.b-c", "0-9", &"x".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "ab",
            "Abc",
            "-ab",
            "ab-",
            "a..b",
            "a_b",
            "10.0.0.1",
            "xn--abc",
            &"x".repeat(64),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_keep_every_byte_they_were_given() {
        for key in ["/", "//a", "a/../b", ".", "a b+c", "e\u{301}", "\u{0}x"] {
            assert_eq!(ObjectKey::parse(key.as_bytes()).unwrap().as_str(), key);
        }
        assert_eq!(ObjectKey::parse(b""), Err(InvalidKey::Empty));
        assert_eq!(ObjectKey::parse(&[b'a'; 1025]), Err(InvalidKey::TooLong(1025)));
        assert_eq!(ObjectKey::parse(&[0xff]), Err(InvalidKey::NotUtf8));
    }

    #[test]
    fn version_and_upload_ids_read_back_what_they_print() {
        let upload = UploadId::new();
        assert_eq!(UploadId::parse(&upload.to_string()), Some(upload));
        for version in [VersionId::Null, VersionId::Named([7; 16])] {
            assert_eq!(VersionId::parse(&version.to_string()), Ok(version));
        }
        assert_eq!(VersionId::parse("nul"), Err(InvalidVersionId));
    }

    #[test]
    fn a_version_id_says_when_and_by_which_write_it_was_made() {
        let (time, write) = (Timestamp::from_millis(0x0102_0304), WriteId([9; 16]));
        let version = VersionId::new(time, write);
        assert_eq!(version.to_string(), "00000000010203040909090909090909");
        assert_eq!((version.made(), VersionId::Null.made()), (Some(time), None));
        assert_ne!(version, VersionId::new(time, WriteId([8; 16])));
    }
}
