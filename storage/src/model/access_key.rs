//! Access keys: who somebody is, and what a bucket may grant them.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{BucketId, BucketName, KeySerial, Quota, Timestamp};

/// The public half of an access key, e.g. `WK0123456789ABCDEF0123`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// Takes 8–128 characters of `A-Z a-z 0-9 _ -`, so that keys of other stores can be imported.
    ///
    /// # Errors
    /// Says what such an id looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if (8..=128).contains(&text.len()) && text.bytes().all(fine) {
            Ok(Self(text.to_owned()))
        } else {
            Err("an access key id has 8 to 128 letters, digits, `_` and `-`".into())
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AccessKeyId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<AccessKeyId> for String {
    fn from(id: AccessKeyId) -> Self {
        id.0
    }
}

/// The secret half of an access key; erased from memory when dropped, never printed by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretKey(Zeroizing<String>);

impl SecretKey {
    /// Takes 16–128 printable ASCII characters without spaces.
    ///
    /// # Errors
    /// Says what such a secret looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        if (16..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(Zeroizing::new(text.to_owned())))
        } else {
            Err("a secret key has 16 to 128 printable characters and no spaces".into())
        }
    }

    /// The secret itself, for signing or for showing once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl TryFrom<String> for SecretKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<SecretKey> for String {
    fn from(secret: SecretKey) -> Self {
        secret.expose().to_owned()
    }
}

/// What people call an access key: 1–64 printable characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyName(String);

impl KeyName {
    /// Checks the length and that nothing in it is a control character.
    ///
    /// # Errors
    /// Says what such a name looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a key name has 1 to 64 printable characters".into())
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

/// What a key may do to a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// Read and list objects.
    pub read: bool,
    /// Write and delete objects.
    pub write: bool,
    /// Delete the bucket and change its settings.
    pub owner: bool,
}

impl Grants {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        owner: true,
    };
    /// Nothing.
    pub const NONE: Self = Self {
        read: false,
        write: false,
        owner: false,
    };

    /// What either allows.
    pub fn with(self, more: Self) -> Self {
        Self {
            read: self.read || more.read,
            write: self.write || more.write,
            owner: self.owner || more.owner,
        }
    }

    /// What `self` allows and `less` does not name.
    pub fn without(self, less: Self) -> Self {
        Self {
            read: self.read && !less.read,
            write: self.write && !less.write,
            owner: self.owner && !less.owner,
        }
    }
}

/// An access key as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// The public half.
    pub id: AccessKeyId,
    /// What grants name it by: a key that is imported again under its id inherits nothing.
    pub serial: KeySerial,
    /// The secret half.
    pub secret: SecretKey,
    /// What people call it.
    pub name: KeyName,
    /// When it was created.
    pub created: Timestamp,
    /// Whether it may create buckets (and then owns them).
    pub create_buckets: bool,
    /// How much all buckets together may hold that it owns.
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
    /// What buckets are called besides by whoever signs with it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<BucketName, BucketId>,
}

/// The row of an access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKeyRow {
    /// That of the key.
    pub serial: KeySerial,
    /// Grows by one with every change.
    pub version: u64,
    /// Sealed CBOR of the [`AccessKey`].
    pub sealed: Bytes,
}
