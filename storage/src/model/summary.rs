//! What the row index keeps of an object, so that a listing never touches the row log.
//!
//! ```text
//! version 1 byte (1) │ flags 1 │ class 1 │ checksum 1 │ modified u64 │ size u64 │ md5 16 │ parts u16    (38 bytes, little-endian)
//! flags: 1 delete marker, 2 there are other versions, 4 the version id is not `null`, 8 the row or an archive of it names blocks, 16 events are to be told
//! checksum: index + 1 of the algorithm, 0 for none; parts: 0 for a plain PUT
//!
//! A row without versions, of which only events are left: version 1 byte (1)
//! ```

use super::{ChecksumAlgorithm, ETag, ObjectRow, StorageClass, Timestamp};

const VERSION: u8 = 1;
const BYTES: usize = 38;
const DELETE_MARKER: u8 = 1;
const OTHER_VERSIONS: u8 = 2;
const NAMED_VERSION: u8 = 4;
const NAMES_BLOCKS: u8 = 8;
const TO_BE_TOLD: u8 = 16;

/// The current version of an object as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) modified: Timestamp,
    pub(crate) size: u64,
    pub(crate) etag: ETag,
    pub(crate) class: StorageClass,
    pub(crate) checksum: Option<ChecksumAlgorithm>,
    pub(crate) delete_marker: bool,
    /// The row holds exactly one version and it is `null`: nothing more to learn from the row.
    pub(crate) only_null: bool,
    /// The object has exactly one version.
    pub(crate) only_version: bool,
    /// Some version refers to blocks, or there are archives.
    pub(crate) names_blocks: bool,
}

/// Encodes the current version of a row.
pub(crate) fn encode(row: &ObjectRow) -> Vec<u8> {
    let Some(current) = row.current() else {
        return vec![VERSION];
    };
    let facts = &current.facts;
    let (md5, parts) = match facts.etag {
        ETag::Md5(md5) => (md5, 0),
        ETag::Multipart { md5, parts } => (md5, parts),
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.push(
        flag(facts.delete_marker, DELETE_MARKER)
            | flag(row.versions.len() > 1 || !row.archived.is_empty(), OTHER_VERSIONS)
            | flag(facts.id != super::VersionId::Null, NAMED_VERSION)
            | flag(
                !row.archived.is_empty() || row.versions.iter().any(|version| !version.extents.is_empty()),
                NAMES_BLOCKS,
            )
            | flag(!row.events.is_empty(), TO_BE_TOLD),
    );
    bytes.push(facts.class.index());
    bytes.push(facts.checksum.map_or(0, |algorithm| algorithm.index() + 1));
    bytes.extend_from_slice(&facts.modified.as_millis().to_le_bytes());
    bytes.extend_from_slice(&facts.size.to_le_bytes());
    bytes.extend_from_slice(&md5);
    bytes.extend_from_slice(&parts.to_le_bytes());
    bytes
}

/// Whether a row has no versions: nothing of it is listed.
pub(crate) fn is_of_no_version(bytes: &[u8]) -> bool {
    bytes == [VERSION]
}

/// Whether events are to be told of a row.
pub(crate) fn is_to_be_told(bytes: &[u8]) -> bool {
    is_of_no_version(bytes) || bytes.get(1).is_some_and(|flags| flags & TO_BE_TOLD != 0)
}

/// Decodes a summary; `None` when it is not one of ours.
pub(crate) fn decode(bytes: &[u8]) -> Option<Summary> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    if bytes[0] != VERSION {
        return None;
    }
    let flags = bytes[1];
    let md5 = *bytes[20..].first_chunk()?;
    let parts = u16::from_le_bytes(*bytes[36..].first_chunk()?);
    Some(Summary {
        modified: Timestamp::from_millis(u64::from_le_bytes(*bytes[4..].first_chunk()?)),
        size: u64::from_le_bytes(*bytes[12..].first_chunk()?),
        etag: if parts == 0 {
            ETag::Md5(md5)
        } else {
            ETag::Multipart { md5, parts }
        },
        class: StorageClass::from_index(bytes[2])?,
        checksum: match bytes[3] {
            0 => None,
            index => Some(ChecksumAlgorithm::from_index(index - 1)?),
        },
        delete_marker: flags & DELETE_MARKER != 0,
        only_null: flags & (OTHER_VERSIONS | NAMED_VERSION) == 0,
        only_version: flags & OTHER_VERSIONS == 0,
        names_blocks: flags & NAMES_BLOCKS != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{SealedVersion, VersionFacts, WriteId};
    use super::*;

    #[test]
    fn a_summary_reads_back_the_current_version() {
        for etag in [
            ETag::Md5([7; 16]),
            ETag::Multipart {
                md5: [8; 16],
                parts: 3,
            },
        ] {
            let facts = VersionFacts {
                etag,
                size: 1 << 40,
                modified: Timestamp::from_millis(12345),
                class: StorageClass::Glacier,
                checksum: Some(ChecksumAlgorithm::Sha256),
                delete_marker: false,
                ..VersionFacts::marker_for_tests()
            };
            let version = SealedVersion {
                facts,
                write: WriteId::after(0),
                extents: Vec::new(),
                invocation: None,
                details: bytes::Bytes::new(),
            };
            let summary = decode(&encode(&ObjectRow {
                versions: vec![version],
                ..ObjectRow::default()
            }))
            .unwrap();
            assert_eq!((summary.etag, summary.size), (etag, 1 << 40));
            assert_eq!(
                (summary.class, summary.checksum),
                (StorageClass::Glacier, Some(ChecksumAlgorithm::Sha256))
            );
            assert!(
                summary.only_null && summary.only_version && !summary.delete_marker && !summary.names_blocks
            );
        }
        let nothing = encode(&ObjectRow::default());
        assert!(is_of_no_version(&nothing) && is_to_be_told(&nothing) && decode(&nothing).is_none());
        assert_eq!(decode(&[9; BYTES]), None);
        assert_eq!(decode(b""), None);
    }
}
