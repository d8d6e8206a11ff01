//! Reads a segment file forwards in large pieces.

use std::io;
use std::sync::Arc;

use super::segments::Segments;
use crate::disk::frame::MAGIC;
use crate::disk::medium::MediumFile;

const PIECE: usize = 256 << 10;

/// A piece of a segment file in memory.
pub(super) struct Window {
    segment: u32,
    file: Arc<dyn MediumFile>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn open(segments: &Segments, segment: u32) -> io::Result<Self> {
        Ok(Self {
            segment,
            file: segments.file(segment)?,
            start: 0,
            bytes: Vec::new(),
        })
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    pub(super) fn file_len(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// The `len` bytes at `offset`; fewer at the end of the file.
    pub(super) fn at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        if !self.holds(offset, len) {
            // The piece never reaches beyond the file, whatever length a damaged header claims.
            let left = usize::try_from(self.file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX);
            self.bytes.resize(len.max(PIECE).min(left), 0);
            let read = self.file.read_at(&mut self.bytes, offset)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let from = from.min(self.bytes.len());
        Ok(&self.bytes[from..self.bytes.len().min(from.saturating_add(len))])
    }

    /// Where the magic of a frame stands at or behind `offset`.
    pub(super) fn find_magic(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        loop {
            let piece = self.at(offset, PIECE)?;
            if let Some(found) = piece.windows(MAGIC.len()).position(|bytes| bytes == MAGIC) {
                return Ok(Some(offset + found as u64));
            }
            if piece.len() < PIECE {
                return Ok(None);
            }
            offset += (PIECE - MAGIC.len() + 1) as u64;
        }
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64
    }
}
