//! Walks the frames of one segment by their headers, reading past bodies and finding its way after damage.

use std::io;

use super::record::{HEAD_MAX, Record};
use crate::disk::frame::{FrameHeader, HEADER_LEN, MAGIC, NoFrame, Position};
use crate::disk::log::Segments;

/// Bytes searched at once for the next header after a broken one.
const SEARCH: usize = 256 << 10;

/// What stands at a place of a segment.
pub(super) enum Head {
    /// A frame of a block log.
    Record {
        position: Position,
        header: FrameHeader,
        record: Record,
    },
    /// A frame of the log's own.
    Other,
    /// Bytes that are no frame, or a frame whose record is broken.
    Broken,
}

/// Walks a segment from an offset to an end that is known to be durable.
pub(super) struct Heads<'a> {
    segments: &'a Segments,
    next: Position,
    end: u64,
}

impl<'a> Heads<'a> {
    pub(super) fn new(segments: &'a Segments, from: Position, end: u64) -> Self {
        Self {
            segments,
            next: from,
            end,
        }
    }

    /// Where the next frame is expected.
    pub(super) fn position(&self) -> Position {
        self.next
    }

    /// The next head; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Head>> {
        if self.next.offset >= self.end {
            return Ok(None);
        }
        let position = self.next;
        let most = usize::try_from(self.end - position.offset).unwrap_or(usize::MAX);
        let mut bytes = self.segments.read_at(position, most.min(HEADER_LEN + HEAD_MAX))?;
        let header = match FrameHeader::decode(&bytes, position) {
            Ok(header) if header.frame_len() <= self.end - position.offset => header,
            Ok(_) | Err(NoFrame::Cut | NoFrame::Broken) => {
                self.next.offset = self.search(position.offset + 1)?;
                return Ok(Some(Head::Broken));
            }
            Err(NoFrame::Newer(_)) => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.next.offset += header.frame_len();
        let mut body = bytes.split_off(HEADER_LEN);
        let body_len = header.body_len as usize;
        if !Record::has_body(header.kind) {
            if body.len() < body_len {
                let at = Position {
                    offset: position.offset + HEADER_LEN as u64,
                    ..position
                };
                body = self.segments.read_at(at, body_len)?;
            }
            body.truncate(body_len);
            if !header.fits(&body) {
                return Ok(Some(Head::Broken));
            }
        }
        if header.kind < crate::disk::frame::KIND_FIRST_OWN {
            return Ok(Some(Head::Other));
        }
        body.truncate(body_len);
        Ok(Some(match Record::decode(header.kind, &body) {
            Ok(record) => Head::Record {
                position,
                header,
                record,
            },
            Err(_) => Head::Broken,
        }))
    }

    /// The offset of the next header that proves itself, or the end.
    fn search(&self, mut from: u64) -> io::Result<u64> {
        while from + HEADER_LEN as u64 <= self.end {
            let most = usize::try_from(self.end - from).unwrap_or(usize::MAX).min(SEARCH);
            let segment = self.next.segment;
            let bytes = self.segments.read_at(
                Position {
                    segment,
                    offset: from,
                },
                most,
            )?;
            let starts = bytes
                .windows(MAGIC.len())
                .enumerate()
                .filter(|(_, start)| **start == MAGIC);
            for (index, _) in starts {
                let position = Position {
                    segment,
                    offset: from + index as u64,
                };
                let header = match bytes.get(index..index + HEADER_LEN) {
                    Some(header) => FrameHeader::decode(header, position),
                    None => break,
                };
                if header.is_ok() {
                    return Ok(position.offset);
                }
            }
            // A header may straddle two pieces.
            from += (most - (HEADER_LEN - 1)).max(1) as u64;
        }
        Ok(self.end)
    }
}
