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

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8; HEADER_LEN], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
