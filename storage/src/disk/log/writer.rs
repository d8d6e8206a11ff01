//! Writes batches of frames to the newest segment: plain synchronous steps, driven by the log's thread or by a simulation.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::segments::Segments;
use crate::disk::DiskError;
use crate::disk::frame::{
    BODY_MAX, FrameHeader, HEADER_LEN, KIND_FORGET, KIND_MARK, KIND_SEGMENT, Position, body_crc,
};
use crate::disk::medium::{Medium, MediumFile};

/// Pieces from this size on are written from where they are; smaller ones are gathered into one write.
const WRITE_ALONE: usize = 64 << 10;
/// Zeros are written in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How a log is laid out.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    /// First part of its files' names.
    pub(crate) name: &'static str,
    /// Its directory, for messages.
    pub(crate) directory: PathBuf,
    /// A segment that has this many bytes is followed by another.
    pub(crate) segment_bytes: u64,
    /// The file is extended by written zeros in steps of this many bytes (0: never), so that syncing a small append
    /// need not commit the file system's journal.
    pub(crate) extend_bytes: u64,
}

/// A frame to append.
pub(crate) struct Frame {
    kind: u8,
    body: Vec<Bytes>,
    body_len: u32,
    body_crc: u32,
}

impl Frame {
    /// Takes the body in pieces and computes its CRC on the caller's thread; `None` if it is longer than [`BODY_MAX`].
    pub(crate) fn new(kind: u8, body: Vec<Bytes>) -> Option<Self> {
        let len = body.iter().map(Bytes::len).sum::<usize>();
        let body_len = u32::try_from(len).ok().filter(|_| len <= BODY_MAX)?;
        let body_crc = body_crc(&body);
        Some(Self {
            kind,
            body,
            body_len,
            body_crc,
        })
    }

    /// Bytes it takes in the log.
    pub(crate) fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }
}

/// Where an appended frame stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Where it begins.
    pub(crate) position: Position,
    /// Its number.
    pub(crate) lsn: u64,
}

/// Where a log continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// Where the next frame begins.
    pub(crate) position: Position,
    /// Its number.
    pub(crate) lsn: u64,
}

/// The end of a log being written. After an error other than a refusal it refuses everything.
pub(crate) struct LogWriter {
    medium: Arc<dyn Medium>,
    options: LogOptions,
    segments: Arc<Segments>,
    file: Arc<dyn MediumFile>,
    end: LogEnd,
    /// Length of the file; zeros stand between `end` and here.
    extended: u64,
    durable_lsn: u64,
    marked: bool,
    stopped: bool,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Continues at `end`, behind which the segment holds nothing; everything before is durable.
    pub(super) fn resume(
        medium: Arc<dyn Medium>,
        options: LogOptions,
        segments: Arc<Segments>,
        end: LogEnd,
    ) -> io::Result<Self> {
        let file = segments.file(end.position.segment)?;
        let extended = file.len()?;
        segments.note_durable(end.lsn - 1);
        Ok(Self {
            medium,
            options,
            segments,
            file,
            end,
            extended,
            durable_lsn: end.lsn - 1,
            marked: false,
            stopped: false,
            buffer: Vec::new(),
        })
    }

    /// Begins segment `number`, whose first frame has number `lsn`.
    pub(super) fn begin(
        medium: Arc<dyn Medium>,
        options: LogOptions,
        segments: Arc<Segments>,
        number: u32,
        lsn: u64,
    ) -> io::Result<Self> {
        segments.create(number)?;
        let end = LogEnd {
            position: Position {
                segment: number,
                offset: 0,
            },
            lsn,
        };
        let mut writer = Self::resume(medium, options, segments, end)?;
        let frame = writer.opening_frame(end.position);
        writer.file.write_at(&frame, 0)?;
        writer.file.sync_data()?;
        writer.medium.sync_directory()?;
        writer.note_durable(lsn);
        writer.extended = frame.len() as u64;
        let position = Position {
            segment: number,
            offset: writer.extended,
        };
        writer.end = LogEnd {
            position,
            lsn: lsn + 1,
        };
        Ok(writer)
    }

    /// How the log is laid out.
    pub(crate) fn options(&self) -> &LogOptions {
        &self.options
    }

    /// Its segments.
    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// Writes as many of `frames` as belong in one segment and syncs them once: each is then durable, and `placed`
    /// says where it is. Returns their number, at least one unless `frames` is empty.
    ///
    /// # Errors
    /// `Full`, `FilesExhausted`: none of these frames is in the log, and the log goes on. Any other: the log has stopped, and which of them
    /// are durable is unknown until it is opened again.
    pub(crate) fn commit<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a Frame>,
        placed: &mut Vec<Placed>,
    ) -> Result<usize, DiskError> {
        if self.stopped {
            return Err(DiskError::Stopped {
                directory: self.options.directory.clone(),
            });
        }
        if let Err(failure) = self.roll_if_full() {
            return Err(self.fail(failure, self.end));
        }
        let (end_before, placed_before) = (self.end, placed.len());
        let written = self.write(frames, placed);
        let result = written.and_then(|()| self.file.sync_data().map_err(Failure::Sync));
        if let Err(failure) = result {
            placed.truncate(placed_before);
            return Err(self.fail(failure, end_before));
        }
        self.note_durable(self.end.lsn - 1);
        self.marked = false;
        Ok(placed.len() - placed_before)
    }

    /// Writes a frame saying that everything before it is durable, unless nothing has been written since the last one.
    ///
    /// Without it a damaged last frame could not be told from one that was torn before it was acknowledged.
    pub(crate) fn mark(&mut self) -> Result<(), DiskError> {
        if self.marked || self.stopped {
            return Ok(());
        }
        self.commit_own(KIND_MARK, Vec::new())?;
        self.marked = true;
        Ok(())
    }

    /// Writes the frame that announces the removal of a segment; `None` for the newest, or one that is gone.
    pub(crate) fn announce_removal(&mut self, number: u32) -> Result<Option<Placed>, DiskError> {
        if number == self.end.position.segment || self.segments.file(number).is_err() {
            return Ok(None);
        }
        self.commit_own(KIND_FORGET, number.to_le_bytes().to_vec())
            .map(Some)
    }

    /// Writes a frame for each segment that is lost, after which it counts as removed.
    pub(super) fn accept_missing(&mut self) -> Result<(), DiskError> {
        let mut missing = self.segments.missing();
        while let Some(number) = missing.pop_first() {
            self.commit_own(KIND_FORGET, number.to_le_bytes().to_vec())?;
            // A segment begun on the way names only those that are left.
            self.segments.note_missing(missing.clone());
        }
        Ok(())
    }

    /// Removes a segment whose removal is announced.
    pub(crate) fn remove(&mut self, number: u32) -> Result<(), DiskError> {
        let removed = self
            .segments
            .remove(number)
            .and_then(|()| self.medium.sync_directory());
        removed.map_err(|error| self.fail(Failure::Sync(error), self.end))
    }

    fn commit_own(&mut self, kind: u8, body: Vec<u8>) -> Result<Placed, DiskError> {
        let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let body = vec![Bytes::from(body)];
        let frame = Frame {
            kind,
            body_crc: body_crc(&body),
            body,
            body_len,
        };
        let mut placed = Vec::with_capacity(1);
        self.commit(std::iter::once(&frame), &mut placed)?;
        Ok(placed[0])
    }

    fn write<'a>(
        &mut self,
        frames: impl Iterator<Item = &'a Frame>,
        placed: &mut Vec<Placed>,
    ) -> Result<(), Failure> {
        let mut frames = frames.peekable();
        let mut at = self.end.position.offset;
        while let Some(frame) = frames.next() {
            self.gather(frame, &mut at, placed)?;
            let full = self.end.position.offset >= self.options.segment_bytes;
            if full || frames.peek().is_none() {
                break;
            }
        }
        self.write_gathered(&mut at)
    }

    /// Appends one frame to the buffer, or to the file where the buffer would only copy it; `at` is where the buffer goes.
    fn gather(&mut self, frame: &Frame, at: &mut u64, placed: &mut Vec<Placed>) -> Result<(), Failure> {
        let LogEnd { position, lsn } = self.end;
        let header = FrameHeader {
            kind: frame.kind,
            body_len: frame.body_len,
            body_crc: frame.body_crc,
            lsn,
            durable_lsn: self.durable_lsn,
        };
        placed.push(Placed { position, lsn });
        self.end.position.offset += frame.frame_len();
        self.end.lsn += 1;
        self.buffer.extend_from_slice(&header.encode(position));
        for piece in &frame.body {
            if piece.len() < WRITE_ALONE {
                self.buffer.extend_from_slice(piece);
            } else {
                self.write_gathered(at)?;
                self.extend_to(*at + piece.len() as u64)?;
                self.file.write_at(piece, *at).map_err(Failure::Write)?;
                *at += piece.len() as u64;
            }
        }
        Ok(())
    }

    fn write_gathered(&mut self, at: &mut u64) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.extend_to(*at + self.buffer.len() as u64)?;
        self.file.write_at(&self.buffer, *at).map_err(Failure::Write)?;
        *at += self.buffer.len() as u64;
        self.buffer.clear();
        // One large batch must not hold its memory for ever.
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Makes sure that the file has room up to `offset`, so that a full disk is met before anything is written.
    fn extend_to(&mut self, offset: u64) -> Result<(), Failure> {
        if offset <= self.extended {
            return Ok(());
        }
        if self.options.extend_bytes == 0 {
            self.extended = offset;
            return Ok(());
        }
        let target = offset.next_multiple_of(self.options.extend_bytes);
        let mut at = self.extended;
        while at < target {
            let len = ZEROS
                .len()
                .min(usize::try_from(target - at).unwrap_or(ZEROS.len()));
            self.file.write_at(&ZEROS[..len], at).map_err(Failure::Write)?;
            at += len as u64;
        }
        self.extended = target;
        Ok(())
    }

    /// Follows a full segment by a new one. The full one is synced at its exact length first, and the directory before
    /// any frame of the new one can be acknowledged: a segment that exists proves all earlier ones complete.
    fn roll_if_full(&mut self) -> Result<(), Failure> {
        if self.end.position.offset < self.options.segment_bytes {
            return Ok(());
        }
        if self.extended > self.end.position.offset {
            self.file
                .set_len(self.end.position.offset)
                .map_err(Failure::Write)?;
            self.extended = self.end.position.offset;
            self.file.sync_data().map_err(Failure::Sync)?;
        }
        self.open_segment(self.end.position.segment + 1)
    }

    /// Creates a segment with the frame that opens it: the log's name and the segments there are, so that a missing one
    /// is noticed. Where the disk is full or no file can be had, everything is as it was before.
    fn open_segment(&mut self, segment: u32) -> Result<(), Failure> {
        let position = Position { segment, offset: 0 };
        let file = self.segments.create(segment).map_err(Failure::Create)?;
        let frame = self.opening_frame(position);
        if let Err(error) = file.write_at(&frame, 0) {
            self.segments.remove(segment).map_err(Failure::Sync)?;
            return Err(Failure::Write(error));
        }
        file.sync_data()
            .and_then(|()| self.medium.sync_directory())
            .map_err(Failure::Sync)?;
        self.file = file;
        self.note_durable(self.end.lsn);
        self.extended = frame.len() as u64;
        let position = Position {
            segment,
            offset: self.extended,
        };
        self.end = LogEnd {
            position,
            lsn: self.end.lsn + 1,
        };
        Ok(())
    }

    fn note_durable(&mut self, lsn: u64) {
        self.durable_lsn = lsn;
        self.segments.note_durable(lsn);
    }

    fn opening_frame(&self, position: Position) -> Vec<u8> {
        let mut body = vec![u8::try_from(self.options.name.len()).unwrap_or(u8::MAX)];
        body.extend_from_slice(self.options.name.as_bytes());
        // One that is lost is named until its loss is accepted, so that every scan finds it.
        let missing = self.segments.missing();
        for number in self.segments.numbers().into_iter().chain(missing) {
            body.extend_from_slice(&number.to_le_bytes());
        }
        let header = FrameHeader {
            kind: KIND_SEGMENT,
            body_len: u32::try_from(body.len()).unwrap_or(u32::MAX),
            body_crc: crc_fast::crc32_iscsi(&body),
            lsn: self.end.lsn,
            durable_lsn: self.durable_lsn,
        };
        [&header.encode(position)[..], &body].concat()
    }

    /// Decides what a failure means: a full disk and a lack of files cost this batch, anything else the log.
    fn fail(&mut self, failure: Failure, before: LogEnd) -> DiskError {
        self.buffer = Vec::new();
        let (action, source) = match failure {
            // The file never came to be, so there is nothing to take back. Who is to blame is whoever holds all files,
            // which may be callers from the network, and not the device.
            Failure::Create(source) if lacks_files(&source) => {
                return DiskError::FilesExhausted {
                    directory: self.options.directory.clone(),
                };
            }
            Failure::Create(source) | Failure::Write(source) => ("write log", source),
            Failure::Sync(source) => ("sync log", source),
        };
        let no_room = matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        );
        let full = no_room && action == "write log";
        if full && self.file.set_len(before.position.offset).is_ok() {
            self.end = before;
            self.extended = before.position.offset;
            let used = self
                .medium
                .space()
                .map(|space| (space.total - space.available, space.total));
            let (used, given) = used.unwrap_or((0, 0));
            return DiskError::Full { used, given };
        }
        self.stopped = true;
        DiskError::Io {
            directory: self.options.directory.clone(),
            action,
            source,
        }
    }
}

/// Whether the process, or the whole system, has as many files open as it may.
fn lacks_files(error: &io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| lacks.contains(&code))
}

enum Failure {
    Create(io::Error),
    Write(io::Error),
    Sync(io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::FaultMedium;
    use crate::disk::frame::KIND_FIRST_OWN;

    #[test]
    fn a_log_that_can_create_no_file_refuses_and_goes_on_once_it_can() {
        let disk = FaultMedium::new(1);
        let medium = disk.mount();
        let options = LogOptions {
            name: "rows",
            directory: "/state".into(),
            segment_bytes: 1,
            extend_bytes: 4096,
        };
        let segments = Segments::find(medium.clone(), "rows", &options.directory).unwrap();
        let mut log = LogWriter::begin(medium, options, Arc::new(segments), 1, 1).unwrap();
        let frame = Frame::new(KIND_FIRST_OWN, vec![Bytes::from_static(b"x")]).unwrap();
        disk.exhaust_files(true);
        for _ in 0..2 {
            let refused = log.commit(std::iter::once(&frame), &mut Vec::new());
            assert!(
                matches!(refused, Err(DiskError::FilesExhausted { .. })),
                "{refused:?}"
            );
        }
        disk.exhaust_files(false);
        let mut placed = Vec::new();
        log.commit(std::iter::once(&frame), &mut placed).unwrap();
        let Position { segment, .. } = placed[0].position;
        assert_eq!((segment, log.segments().numbers()), (2, vec![1, 2]));
    }
}
