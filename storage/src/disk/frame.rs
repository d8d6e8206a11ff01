//! Frames, the unit in which a log is written: encoded and judged without touching a disk.
//!
//! See [`super`] for the format to the byte.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

/// First bytes of every frame.
pub(crate) const MAGIC: [u8; 4] = *b"WRNf";
/// Format version this program writes, and the newest it reads.
pub(crate) const VERSION: u8 = 1;
/// Bytes of a frame before its body.
pub(crate) const HEADER_LEN: usize = 36;
/// Longest body: a block of 4 MiB with its overhead, or the largest commit of rows.
pub(crate) const BODY_MAX: usize = 32 << 20;
/// Kind of the frame that opens each segment; its body is the name of the log.
pub(crate) const KIND_SEGMENT: u8 = 1;
/// Kind of the frame that only says what is durable.
pub(crate) const KIND_MARK: u8 = 2;
/// Kind of the frame after which a segment is removed; its body is the number of the segment.
pub(crate) const KIND_FORGET: u8 = 3;
/// Kinds from here on belong to whoever owns the log.
pub(crate) const KIND_FIRST_OWN: u8 = 16;

/// Where a frame begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    /// Number of the segment, from 1.
    pub(crate) segment: u32,
    /// Byte in the segment's file.
    pub(crate) offset: u64,
}

/// What is known of a frame without its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// What the body is.
    pub(crate) kind: u8,
    /// Bytes of body.
    pub(crate) body_len: u32,
    /// CRC32C of the body.
    pub(crate) body_crc: u32,
    /// Number of the frame in its log: consecutive, from 1.
    pub(crate) lsn: u64,
    /// Every frame up to this LSN was known to be durable when this one was written.
    pub(crate) durable_lsn: u64,
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }

    /// The header's bytes for a frame that begins at `position`.
    pub(crate) fn encode(&self, position: Position) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.kind;
        bytes[8..12].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lsn.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_lsn.to_le_bytes());
        let crc = header_crc(&bytes, position);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of `bytes`, which were found at `position`.
    ///
    /// # Errors
    /// No intact header of this place is there, or a newer Warren wrote it.
    pub(crate) fn decode(bytes: &[u8], position: Position) -> Result<Self, NoFrame> {
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(NoFrame::Cut);
        };
        if bytes[0..4] != MAGIC {
            return Err(NoFrame::Broken);
        }
        let crc = u32::from_le_bytes([bytes[32], bytes[33], bytes[34], bytes[35]]);
        if crc != header_crc(bytes, position) {
            return Err(NoFrame::Broken);
        }
        if bytes[4] != VERSION || bytes[6..8] != [0, 0] {
            return Err(NoFrame::Newer(bytes[4]));
        }
        let header = Self {
            kind: bytes[5],
            body_len: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            lsn: u64_at(bytes, 16),
            durable_lsn: u64_at(bytes, 24),
        };
        match header.body_len as usize <= BODY_MAX && header.durable_lsn < header.lsn {
            true => Ok(header),
            false => Err(NoFrame::Broken),
        }
    }

    /// Whether `body` is the body this header was written for.
    pub(crate) fn fits(&self, body: &[u8]) -> bool {
        body.len() == self.body_len as usize && crc32_iscsi(body) == self.body_crc
    }
}

/// Why there is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// Fewer bytes than a header has.
    Cut,
    /// The bytes are no header, or not the one written here.
    Broken,
    /// An intact header of a format version this program does not read.
    Newer(u8),
}

/// CRC32C of a body in pieces.
pub(crate) fn body_crc(pieces: &[Bytes]) -> u32 {
    if let [whole] = pieces {
        return crc32_iscsi(whole);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    // The digest of a 32-bit CRC has no bits above 32.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

/// Covers the place as well as the fields: a frame that a device wrote elsewhere, and stored data that looks like
/// a frame, are not taken for one.
fn header_crc(bytes: &[u8; HEADER_LEN], position: Position) -> u32 {
    let mut covered = [0; 44];
    covered[..32].copy_from_slice(&bytes[..32]);
    covered[32..36].copy_from_slice(&position.segment.to_le_bytes());
    covered[36..].copy_from_slice(&position.offset.to_le_bytes());
    crc32_iscsi(&covered)
}

/// The same bytes with the magic, version and checksum of a header at this place; `None` if there are too few.
#[cfg(any(test, feature = "simulation"))]
pub(super) fn forge(bytes: &[u8], position: Position) -> Option<Vec<u8>> {
    let mut forged = bytes.to_vec();
    let header = forged.first_chunk_mut::<HEADER_LEN>()?;
    header[0..4].copy_from_slice(&MAGIC);
    header[4] = VERSION;
    header[6..8].fill(0);
    let crc = header_crc(header, position);
    header[32..].copy_from_slice(&crc.to_le_bytes());
    Some(forged)
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, body: &[u8], lsn: u64, durable_lsn: u64, position: Position) -> Vec<u8> {
        let body_crc = crc32_iscsi(body);
        let body_len = u32::try_from(body.len()).unwrap();
        let header = FrameHeader {
            kind,
            body_len,
            body_crc,
            lsn,
            durable_lsn,
        };
        [&header.encode(position), body].concat()
    }

    fn reads_back(bytes: &[u8], position: Position) -> Option<FrameHeader> {
        let header = FrameHeader::decode(bytes, position).ok()?;
        let body = bytes.get(HEADER_LEN..HEADER_LEN + header.body_len as usize)?;
        header.fits(body).then_some(header)
    }

    prop_compose! {
        fn position()(segment in 1..u32::MAX, offset in any::<u64>()) -> Position {
            Position { segment, offset }
        }
    }

    proptest! {
        #[test]
        fn a_frame_reads_back_where_it_was_written_and_nowhere_else(
            kind in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..400), lsn in 1..u64::MAX,
            here in position(), elsewhere in position(),
        ) {
            let bytes = frame(kind, &body, lsn, lsn - 1, here);
            let header = reads_back(&bytes, here).unwrap();
            prop_assert_eq!((header.kind, header.lsn, header.durable_lsn), (kind, lsn, lsn - 1));
            prop_assert_eq!(header.frame_len(), bytes.len() as u64);
            prop_assert_eq!(here == elsewhere, reads_back(&bytes, elsewhere).is_some());
        }

        #[test]
        fn a_flipped_bit_or_a_cut_is_found(
            body in proptest::collection::vec(any::<u8>(), 0..400), lsn in 1..u64::MAX, here in position(),
            at in any::<prop::sample::Index>(), bit in 0..8_u32,
        ) {
            let bytes = frame(KIND_FIRST_OWN, &body, lsn, 0, here);
            let at = at.index(bytes.len());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1_u8 << bit;
            prop_assert_eq!(reads_back(&flipped, here), None);
            prop_assert_eq!(reads_back(&bytes[..at], here), None);
        }

        #[test]
        fn any_bytes_are_judged_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), here in position()) {
            prop_assert!(FrameHeader::decode(&bytes, here).is_err());
        }
    }

    #[test]
    fn a_frame_of_version_1_stays_readable() {
        let fixture = include_bytes!("../../fixtures/frame-v1.bin");
        let position = Position {
            segment: 3,
            offset: 4096,
        };
        let header = reads_back(fixture, position).unwrap();
        let body = b"a body of format version 1";
        let body_crc = crc32_iscsi(body);
        assert_eq!(
            header,
            FrameHeader {
                kind: 16,
                body_len: 26,
                body_crc,
                lsn: 77,
                durable_lsn: 70
            }
        );
        assert_eq!(&fixture[HEADER_LEN..], body);
        assert_eq!(frame(16, body, 77, 70, position), fixture);
    }

    #[test]
    fn a_newer_format_is_named_and_not_guessed_at() {
        let position = Position {
            segment: 1,
            offset: 0,
        };
        let mut bytes = frame(KIND_MARK, b"", 1, 0, position);
        bytes[4] = 2;
        let crc = header_crc(bytes.first_chunk().unwrap(), position);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(FrameHeader::decode(&bytes, position), Err(NoFrame::Newer(2)));
    }
}
