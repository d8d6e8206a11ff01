//! Digests of a body while it passes: the MD5 of its tag, and what else is claimed.

use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha2::digest::Digest as _;

use super::{Claims, ObjectBody};
use crate::model::{ChecksumAlgorithm, ChecksumValue};
use crate::{Digest, StoreError};

/// Digests in progress.
#[derive(Clone)]
pub(super) struct Digests {
    md5: Md5,
    sha256: Option<ring::digest::Context>,
    checksum: Option<Checksummer>,
}

/// The finished digests.
#[derive(Clone, Debug)]
pub(super) struct Digested {
    pub(super) md5: [u8; 16],
    pub(super) checksum: Option<ChecksumValue>,
    sha256: Option<[u8; 32]>,
}

impl Digests {
    pub(super) fn of(body: &impl ObjectBody) -> Self {
        Self {
            md5: Md5::new(),
            sha256: body
                .claims_sha256()
                .then(|| ring::digest::Context::new(&ring::digest::SHA256)),
            checksum: body.checksum_algorithm().map(Checksummer::new),
        }
    }

    /// Takes the next bytes. Slow: about 1.5 ms for a MiB.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
    }

    pub(super) fn finish(self) -> Digested {
        Digested {
            md5: self.md5.finalize().into(),
            checksum: self.checksum.map(Checksummer::finish),
            sha256: self
                .sha256
                .and_then(|context| context.finish().as_ref().try_into().ok()),
        }
    }
}

impl Digested {
    /// Compares with what the client claimed.
    ///
    /// # Errors
    /// `DigestMismatch` naming the first claim that does not hold.
    pub(super) fn check(&self, claims: &Claims) -> Result<(), StoreError> {
        if claims.md5.is_some_and(|claimed| claimed != self.md5) {
            return Err(StoreError::DigestMismatch(Digest::Md5));
        }
        if claims.sha256.is_some() && claims.sha256 != self.sha256 {
            return Err(StoreError::DigestMismatch(Digest::PayloadSha256));
        }
        match claims.checksum {
            Some(claimed) if self.checksum != Some(claimed) => {
                Err(StoreError::DigestMismatch(Digest::Checksum(claimed.algorithm())))
            }
            _ => Ok(()),
        }
    }
}

/// One additional checksum in progress.
#[derive(Clone)]
pub(super) enum Checksummer {
    Crc(ChecksumAlgorithm, crc_fast::Digest),
    Sha1(sha1::Sha1),
    Sha256(ring::digest::Context),
}

impl Checksummer {
    pub(super) fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256(ring::digest::Context::new(&ring::digest::SHA256)),
            crc => Self::Crc(crc, crc_fast::Digest::new(crc_algorithm(crc))),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    pub(super) fn finish(self) -> ChecksumValue {
        match self {
            Self::Crc(algorithm, digest) => crc_value(algorithm, digest.finalize()),
            Self::Sha1(digest) => value(ChecksumAlgorithm::Sha1, &digest.finalize()),
            Self::Sha256(digest) => value(ChecksumAlgorithm::Sha256, digest.finish().as_ref()),
        }
    }
}

/// The CRC of two texts behind one another, from their CRCs and the second one's length.
pub(super) fn combine(first: ChecksumValue, second: ChecksumValue, second_bytes: u64) -> ChecksumValue {
    let algorithm = first.algorithm();
    let number = |value: ChecksumValue| {
        value
            .as_bytes()
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    };
    let combined = crc_fast::checksum_combine(
        crc_algorithm(algorithm),
        number(first),
        number(second),
        second_bytes,
    );
    crc_value(algorithm, combined)
}

fn crc_algorithm(algorithm: ChecksumAlgorithm) -> CrcAlgorithm {
    match algorithm {
        ChecksumAlgorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
        ChecksumAlgorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
        _ => CrcAlgorithm::Crc32IsoHdlc,
    }
}

fn crc_value(algorithm: ChecksumAlgorithm, number: u64) -> ChecksumValue {
    let bytes = number.to_be_bytes();
    value(algorithm, &bytes[8 - algorithm.bytes()..])
}

#[allow(
    clippy::expect_used,
    reason = "every digest has the length its algorithm says"
)]
fn value(algorithm: ChecksumAlgorithm, raw: &[u8]) -> ChecksumValue {
    ChecksumValue::new(algorithm, raw).expect("a digest is as long as its algorithm says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: ChecksumAlgorithm, text: &[u8]) -> ChecksumValue {
        let mut checksummer = Checksummer::new(algorithm);
        checksummer.update(text);
        checksummer.finish()
    }

    /// Check values of the CRC catalogue (reveng.sourceforge.io) and of FIPS 180.
    #[test]
    fn every_algorithm_gives_its_published_value() {
        let hex = |algorithm, text: &[u8]| hex::encode(digest(algorithm, text).as_bytes());
        assert_eq!(hex(ChecksumAlgorithm::Crc32, b"123456789"), "cbf43926");
        assert_eq!(hex(ChecksumAlgorithm::Crc32c, b"123456789"), "e3069283");
        assert_eq!(
            hex(ChecksumAlgorithm::Crc64Nvme, b"123456789"),
            "ae8b14860a799888"
        );
        assert_eq!(
            hex(ChecksumAlgorithm::Sha1, b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(&hex(ChecksumAlgorithm::Sha256, b"abc")[..16], "ba7816bf8f01cfea");
    }

    #[test]
    fn crcs_of_parts_combine_into_the_crc_of_the_whole() {
        let (first, second) = (b"all work and ".as_slice(), b"no play".as_slice());
        for algorithm in ChecksumAlgorithm::ALL
            .into_iter()
            .filter(|algorithm| algorithm.is_linear())
        {
            let combined = combine(
                digest(algorithm, first),
                digest(algorithm, second),
                second.len() as u64,
            );
            assert_eq!(combined, digest(algorithm, &[first, second].concat()));
        }
    }
}
