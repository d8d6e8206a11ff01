//! Verifies stored blocks in the order in which they lie on the disk, a step at a time.

use super::directory::Directory;
use super::heads::{Head, Heads};
use super::record::{Id, Record};
use crate::disk::DiskError;
use crate::disk::frame::{FrameHeader, HEADER_LEN, Position};

/// Where a scrub stands. It stays meaningful over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ScrubPosition {
    /// Id of the directory; directories are taken in the order of their ids.
    pub directory: [u8; 16],
    /// Number of the segment.
    pub segment: u32,
    /// Byte in the segment.
    pub offset: u64,
}

/// What a step of a scrub found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where the next step begins; `None` after the last.
    pub next: Option<ScrubPosition>,
    /// Blocks verified.
    pub blocks: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Blocks that do not verify, remembered as damaged.
    pub damaged: Vec<Id>,
    /// Frames whose headers are broken. A block behind one still reads, but a rebuilt index will not find it.
    pub frames_broken: u64,
}

impl Directory {
    /// Verifies from `from` on, at most about `budget` bytes; adds what it finds to `scrubbed` and returns where to go on.
    pub(super) fn verify(
        &self,
        from: Position,
        budget: u64,
        scrubbed: &mut Scrubbed,
    ) -> Result<Option<Position>, DiskError> {
        let lens = self.shared.state().len.clone();
        for (segment, len) in lens.range(from.segment..) {
            let offset = if *segment == from.segment { from.offset } else { 0 };
            let mut heads = Heads::new(
                &self.shared.segments,
                Position {
                    segment: *segment,
                    offset,
                },
                *len,
            );
            loop {
                if scrubbed.bytes >= budget {
                    return Ok(Some(heads.position()));
                }
                let head = match heads.next() {
                    Ok(Some(head)) => head,
                    Ok(None) => break,
                    // Rewritten meanwhile: what was alive in it is verified where it is now.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => break,
                    Err(source) => return Err(self.shared.io("verify segment", source)),
                };
                scrubbed.bytes += HEADER_LEN as u64;
                match head {
                    Head::Record {
                        position,
                        header,
                        record,
                    } => {
                        self.verify_record(position, &header, &record, scrubbed)?;
                    }
                    Head::Other => {}
                    Head::Broken => scrubbed.frames_broken += 1,
                }
            }
        }
        Ok(None)
    }

    fn verify_record(
        &self,
        position: Position,
        header: &FrameHeader,
        record: &Record,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), DiskError> {
        let (Record::Stored {
            first: super::record::Reference { id, .. },
            pages,
        }
        | Record::Moved { id, pages }) = record
        else {
            return Ok(());
        };
        let Some(place) = self.place_of(id, position)? else {
            // Freed, or copied elsewhere: a hole is not damage.
            return Ok(());
        };
        let at = Position {
            offset: position.offset + HEADER_LEN as u64,
            ..position
        };
        let body = self.shared.segments.read_at(at, header.body_len as usize);
        let whole = match body {
            Ok(body) => {
                let sealed = body.len().checked_sub(pages.bytes as usize);
                let sealed = sealed.and_then(|head| body.get(head..));
                header.fits(&body) && sealed.is_some_and(|sealed| *blake3::hash(sealed).as_bytes() == *id)
            }
            // Nobody can read it now, so it is taken anew if it comes again; whoever asks for it tries all the same.
            Err(error) => {
                tracing::warn!(%error, block = hex::encode(id), "block not read");
                false
            }
        };
        scrubbed.blocks += 1;
        scrubbed.bytes += u64::from(header.body_len);
        let known = self.shared.index.is_damaged(id)?;
        // It may have been freed while it was read.
        if known == whole && self.place_of(id, position)? == Some(place) {
            self.report_verified(*id, place, whole)?;
        }
        if !whole && self.place_of(id, position)? == Some(place) {
            scrubbed.damaged.push(*id);
        }
        Ok(())
    }
}
