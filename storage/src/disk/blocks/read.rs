//! Reads ranges of blocks and proves every byte of them.

use std::io;
use std::ops::Range;

use super::directory::Directory;
use super::index::{Entry, Place};
use super::record::{Id, PAGE, Pages, Record};
use crate::disk::DiskError;
use crate::disk::frame::{HEADER_LEN, Position};

/// Times a block may move away under a reader. Each needs a segment rewritten or the block freed and stored anew.
const MOVES_MAX: usize = 16;

impl Directory {
    /// Reads a range of a block, clipped to its length; `NoSuchBlock` if it is not here.
    ///
    /// Freeing, punching and rewriting may overtake the read. So bytes that do not prove themselves, or a file that
    /// is gone, mean damage only if the block is still where it was. What did not prove itself before is tried all the
    /// same: it may have been misread.
    pub(super) fn read(&self, id: &Id, range: &Range<u32>) -> Result<Vec<u8>, DiskError> {
        let mut before = None;
        for _ in 0..MOVES_MAX {
            let entry = self.shared.index.block(id)?.ok_or(DiskError::NoSuchBlock)?;
            let Entry {
                place: Some(place), ..
            } = entry
            else {
                return Err(damaged(id));
            };
            if before == Some(place) {
                if !self.shared.index.is_damaged(id)? {
                    self.report_damaged(*id, place);
                }
                return Err(damaged(id));
            }
            match self.read_at(id, place, range) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => before = Some(place),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    before = Some(place);
                }
                Err(source) => return Err(self.shared.io("read block", source)),
            }
        }
        Err(damaged(id))
    }

    /// The range, or nothing if its bytes do not prove themselves.
    fn read_at(&self, id: &Id, place: Place, range: &Range<u32>) -> io::Result<Option<Vec<u8>>> {
        let file = self.shared.segments.file(place.position.segment)?;
        let mut head = vec![0; usize::try_from(Pages::head_bytes(place.kind, place.bytes)).unwrap_or(0)];
        read_exactly(&*file, &mut head, place.position.offset + HEADER_LEN as u64)?;
        let pages = match Record::decode(place.kind, &head) {
            Ok(Record::Stored { first, pages }) if first.id == *id => pages,
            Ok(Record::Moved { id: found, pages }) if found == *id => pages,
            _ => return Ok(None),
        };
        let end = range.end.min(place.bytes);
        let start = range.start.min(end);
        if pages.bytes != place.bytes {
            return Ok(None);
        }
        if start == end {
            return Ok(Some(Vec::new()));
        }
        // Whole pages, since those have checksums.
        let first = start / PAGE;
        let whole = first * PAGE..end.next_multiple_of(PAGE).min(place.bytes);
        let mut bytes = vec![0; (whole.end - whole.start) as usize];
        read_exactly(&*file, &mut bytes, place.body() + u64::from(whole.start))?;
        if !pages.prove(first as usize, &bytes) {
            return Ok(None);
        }
        bytes.truncate((end - whole.start) as usize);
        if start > whole.start {
            bytes.drain(..(start - whole.start) as usize);
        }
        Ok(Some(bytes))
    }

    /// Whether the block at `position` is the one the index knows, and where that is.
    pub(super) fn place_of(&self, id: &Id, position: Position) -> Result<Option<Place>, DiskError> {
        let place = self.shared.index.block(id)?.and_then(|entry| entry.place);
        Ok(place.filter(|place| place.position == position))
    }
}

pub(super) fn damaged(id: &Id) -> DiskError {
    DiskError::Damaged(format!("block {}", hex::encode(id)))
}

fn read_exactly(file: &dyn crate::disk::medium::MediumFile, into: &mut [u8], at: u64) -> io::Result<()> {
    match file.read_at(into, at)? {
        read if read == into.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
