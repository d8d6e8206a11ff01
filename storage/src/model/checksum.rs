//! The five additional checksums of S3, as values.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which checksum. Source: AWS S3 user guide, "Checking object integrity".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC), 4 bytes.
    Crc32,
    /// CRC-32C (Castagnoli), 4 bytes.
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
}

impl ChecksumAlgorithm {
    /// Every algorithm, in the order S3 documents them.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The length of its value in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// Whether parts' values can be combined into the value of the whole object.
    pub const fn is_linear(self) -> bool {
        matches!(self, Self::Crc32 | Self::Crc32c | Self::Crc64Nvme)
    }

    /// Its name in S3's XML and headers, e.g. `CRC64NVME`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Its place in [`Self::ALL`], which never changes: it is on disk.
    pub(crate) fn index(self) -> u8 {
        Self::ALL
            .into_iter()
            .zip(0..)
            .find(|(known, _)| *known == self)
            .map_or(0, |(_, index)| index)
    }

    /// Reads [`Self::index`].
    pub(crate) fn from_index(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }

    /// Reads [`Self::name`], in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// Over what a checksum of a multipart object was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// Over all bytes of the object.
    FullObject,
    /// Over the concatenated checksums of the parts; printed with `-N`.
    Composite {
        /// How many parts.
        parts: u16,
    },
}

/// Bytes that are no value of their algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {} value has {} bytes", .0.name(), .0.bytes())]
pub struct InvalidChecksum(pub ChecksumAlgorithm);

/// The value of one checksum; as long as its algorithm says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChecksumValue {
    algorithm: ChecksumAlgorithm,
    #[serde(with = "serde_bytes")]
    bytes: [u8; 32],
}

impl ChecksumValue {
    /// Takes the raw bytes.
    ///
    /// # Errors
    /// The wrong number of bytes for the algorithm.
    pub fn new(algorithm: ChecksumAlgorithm, raw: &[u8]) -> Result<Self, InvalidChecksum> {
        if raw.len() != algorithm.bytes() {
            return Err(InvalidChecksum(algorithm));
        }
        let mut bytes = [0; 32];
        bytes[..raw.len()].copy_from_slice(raw);
        Ok(Self { algorithm, bytes })
    }

    /// Which checksum this is.
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.bytes()]
    }
}

impl fmt::Debug for ChecksumValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), hex::encode(self.as_bytes()))
    }
}

/// A checksum of an object: its value and over what it was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checksum {
    /// The value.
    pub value: ChecksumValue,
    /// Over all bytes, or over the parts' checksums.
    pub kind: ChecksumKind,
}
