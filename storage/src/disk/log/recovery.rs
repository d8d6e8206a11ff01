//! Reads a log from a place to its end, tells a torn tail from damage, and makes the log ready to be continued.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::segments::Segments;
use super::window::Window;
use super::writer::{LogEnd, LogOptions, LogWriter, Placed};
use crate::disk::DiskError;
use crate::disk::frame::{FrameHeader, HEADER_LEN, KIND_FORGET, KIND_MARK, KIND_SEGMENT, NoFrame, Position};
use crate::disk::medium::Medium;

/// How much of each body a scan reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// All of it, verified.
    Whole,
    /// The first bytes, not verified where the frame is known to be durable: the owner judges (a hole may have been
    /// punched into it). Frames that may be torn are verified whole.
    First(usize),
}

/// Where to scan from, and what is known already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanFrom {
    /// The frame to begin with, which must be there (the last one that the owner's index knows); `None` scans all
    /// segments.
    pub(crate) start: Option<Placed>,
    /// Every frame up to this LSN is known to have been acknowledged (0: nothing is known).
    pub(crate) durable_lsn: u64,
    /// How much of each body to read.
    pub(crate) bodies: Bodies,
}

/// What a scan meets, in the order of LSNs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanned<'a> {
    /// A frame of the owner's.
    Frame {
        /// Where it begins.
        position: Position,
        /// Its header, intact.
        header: FrameHeader,
        /// Its body as far as [`Bodies`] says.
        body: &'a [u8],
    },
    /// Acknowledged frames that are gone.
    Damaged(Damage),
}

/// Acknowledged frames that are gone: broken, cut off, or with a segment that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where they were.
    pub(crate) position: Position,
    /// LSN of the first.
    pub(crate) first_lsn: u64,
    /// LSN of the last.
    pub(crate) last_lsn: u64,
}

/// Bytes written again at once.
const PIECE: usize = 1 << 20;

/// Called for everything a scan meets.
pub(crate) type Visit<'a> = dyn FnMut(Scanned<'_>) -> Result<(), DiskError> + 'a;

/// Opens a log, creating it if there is none: makes durable what an earlier process may have left undurable, visits
/// everything from `from` on, cuts a torn tail.
///
/// # Errors
/// The device fails, a newer Warren wrote the log, or `visit` fails.
pub(crate) fn open_log(
    medium: Arc<dyn Medium>,
    options: LogOptions,
    from: ScanFrom,
    visit: &mut Visit<'_>,
) -> Result<LogWriter, DiskError> {
    let directory = options.directory.clone();
    let failed = |action| {
        let directory = directory.clone();
        move |source| DiskError::Io {
            directory,
            action,
            source,
        }
    };
    let segments =
        Arc::new(Segments::find(medium.clone(), options.name, &directory).map_err(failed("list log"))?);
    let Some(last) = segments.numbers().last().copied() else {
        let lost = Damage {
            position: Position::default(),
            first_lsn: 1,
            last_lsn: from.durable_lsn,
        };
        if from.durable_lsn > 0 {
            visit(Scanned::Damaged(lost))?;
        }
        return LogWriter::begin(medium, options, segments, 1, from.durable_lsn + 1)
            .map_err(failed("create log"));
    };
    if let Some(start) = from.start {
        let len = segments
            .file(start.position.segment)
            .and_then(|file| file.len())
            .unwrap_or(0);
        if len < start.position.offset {
            return Err(DiskError::Damaged(format!(
                "the {} log ends before {:?}",
                options.name, start.position
            )));
        }
    }
    let mut scan = Scan::new(&segments, from, last, visit, &directory)?;
    // Before anybody learns of a frame.
    make_durable(&segments, last, scan.unproven.clone())
        .and_then(|()| medium.sync_directory())
        .map_err(failed("sync log"))?;
    let tail = scan.run()?;
    let forgotten = std::mem::take(&mut scan.forgotten);
    for number in forgotten {
        // The frame that forgets it is durable: finish what a crash interrupted.
        if segments.file(number).is_ok() {
            segments
                .remove(number)
                .and_then(|()| medium.sync_directory())
                .map_err(failed("remove segment"))?;
        }
    }
    match tail {
        Tail::Clean(end) => {
            cut(&segments, end).map_err(failed("sync log"))?;
            if end.position.offset == 0 {
                segments.remove(last).map_err(failed("create log"))?;
                return LogWriter::begin(medium, options, segments, last, end.lsn)
                    .map_err(failed("create log"));
            }
            LogWriter::resume(medium, options, segments, end).map_err(failed("open log"))
        }
        // What is damaged stays as it is, for a person to look at and for every later scan to report.
        Tail::Damaged { next_lsn } => {
            LogWriter::begin(medium, options, segments, last + 1, next_lsn).map_err(failed("create log"))
        }
    }
}

/// Writes a range of a segment again as it reads, and syncs.
///
/// What is read here may never have reached the device: the process before ended between a write and its sync, or its
/// sync failed. After a failed sync the system takes the pages for clean, so that a mere second sync would do nothing.
fn make_durable(segments: &Segments, segment: u32, range: Range<u64>) -> io::Result<()> {
    let file = segments.file(segment)?;
    let mut piece = vec![0; usize::try_from(range.end - range.start).map_or(PIECE, |len| len.min(PIECE))];
    let mut at = range.start;
    while at < range.end {
        let most = usize::try_from(range.end - at).map_or(piece.len(), |left| left.min(piece.len()));
        match file.read_at(&mut piece[..most], at)? {
            0 => break,
            read => {
                file.write_at(&piece[..read], at)?;
                at += read as u64;
            }
        }
    }
    file.sync_data()
}

/// Cuts whatever was torn behind the end, and the zeros a log is extended by.
fn cut(segments: &Segments, end: LogEnd) -> io::Result<()> {
    let file = segments.file(end.position.segment)?;
    if file.len()? > end.position.offset {
        file.set_len(end.position.offset)?;
        file.sync_data()?;
    }
    Ok(())
}

enum Tail {
    Clean(LogEnd),
    Damaged { next_lsn: u64 },
}

/// Reads the frames of one segment in order, with whole bodies, unverified; `visit` gets the frame's offset and says
/// whether to go on. False if something that is no frame stands before the end.
///
/// # Errors
/// The device fails, the segment is gone, or `visit` fails.
pub(crate) fn read_segment(
    segments: &Segments,
    segment: u32,
    mut visit: impl FnMut(u64, &FrameHeader, &[u8]) -> Result<bool, DiskError>,
) -> Result<bool, DiskError> {
    let failed = || segments.failed("read segment");
    let mut window = Window::open(segments, segment).map_err(failed())?;
    let (mut offset, len) = (0, window.file_len().map_err(failed())?);
    while offset < len {
        let bytes = window.at(offset, HEADER_LEN).map_err(failed())?;
        let Ok(header) = FrameHeader::decode(bytes, Position { segment, offset }) else {
            return Ok(false);
        };
        let body = window
            .at(offset + HEADER_LEN as u64, header.body_len as usize)
            .map_err(failed())?;
        if !visit(offset, &header, body)? {
            return Ok(true);
        }
        offset += header.frame_len();
    }
    Ok(true)
}

struct Scan<'a, 'v> {
    segments: &'a Segments,
    numbers: Vec<u32>,
    last: u32,
    bodies: Bodies,
    /// Everything up to here was acknowledged, as far as anything here proves.
    durable_lsn: u64,
    /// Where in the newest segment the frames stand that nothing proves to be durable.
    unproven: Range<u64>,
    start: Option<Placed>,
    expected_lsn: Option<u64>,
    /// Segments that the newest opening frame names.
    named: BTreeSet<u32>,
    forgotten: BTreeSet<u32>,
    visit: &'a mut Visit<'v>,
    directory: &'a std::path::Path,
}

impl<'a, 'v> Scan<'a, 'v> {
    fn new(
        segments: &'a Segments,
        from: ScanFrom,
        last: u32,
        visit: &'a mut Visit<'v>,
        directory: &'a std::path::Path,
    ) -> Result<Self, DiskError> {
        let first = from.start.map_or(0, |start| start.position.segment);
        let mut scan = Self {
            segments,
            numbers: segments
                .numbers()
                .into_iter()
                .filter(|number| *number >= first)
                .collect(),
            last,
            bodies: from.bodies,
            durable_lsn: from.durable_lsn,
            unproven: 0..0,
            start: from.start,
            expected_lsn: from.start.map(|start| start.lsn),
            named: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            visit,
            directory,
        };
        (scan.durable_lsn, scan.unproven) = scan.proven_in_last()?;
        Ok(scan)
    }

    fn io<T>(&self, result: io::Result<T>) -> Result<T, DiskError> {
        let directory = self.directory;
        result.map_err(|source| DiskError::Io {
            directory: directory.into(),
            action: "read log",
            source,
        })
    }

    /// The newest durable LSN that is known or that any intact header of the newest segment proves, and where the frames
    /// above it stand there.
    fn proven_in_last(&self) -> Result<(u64, Range<u64>), DiskError> {
        let mut window = self.io(Window::open(self.segments, self.last))?;
        let (mut offset, mut durable_lsn) = (0, self.durable_lsn);
        if let Some(start) = self.start.filter(|start| start.position.segment == self.last) {
            offset = start.position.offset;
        }
        let mut proven_end = offset;
        // At most the last batch and the marks behind it.
        let mut unproven = VecDeque::new();
        while let Some((at, header)) = self.next_intact(&mut window, offset, 0)? {
            offset = at + header.frame_len();
            durable_lsn = durable_lsn.max(header.durable_lsn);
            unproven.push_back((header.lsn, offset));
            while let Some((_, end)) = unproven.pop_front_if(|(lsn, _)| *lsn <= durable_lsn) {
                proven_end = end;
            }
        }
        let end = offset.min(self.io(window.file_len())?);
        Ok((durable_lsn, proven_end.min(end)..end))
    }

    /// The first intact header at or behind `offset` with an LSN of at least `lsn`.
    fn next_intact(
        &self,
        window: &mut Window,
        mut offset: u64,
        lsn: u64,
    ) -> Result<Option<(u64, FrameHeader)>, DiskError> {
        loop {
            match self.header_at(window, offset)? {
                Some(header) if header.lsn >= lsn => return Ok(Some((offset, header))),
                _ => match self.io(window.find_magic(offset + 1))? {
                    Some(found) => offset = found,
                    None => return Ok(None),
                },
            }
        }
    }

    fn header_at(&self, window: &mut Window, offset: u64) -> Result<Option<FrameHeader>, DiskError> {
        let position = Position {
            segment: window.segment(),
            offset,
        };
        match FrameHeader::decode(self.io(window.at(offset, HEADER_LEN))?, position) {
            Ok(header) => Ok(Some(header)),
            Err(NoFrame::Cut | NoFrame::Broken) => Ok(None),
            Err(NoFrame::Newer(found)) => Err(DiskError::NewerFormat {
                directory: self.directory.into(),
                found: found.into(),
                known: crate::disk::frame::VERSION.into(),
            }),
        }
    }

    fn run(&mut self) -> Result<Tail, DiskError> {
        let numbers = std::mem::take(&mut self.numbers);
        let mut tail = None;
        for number in numbers {
            let offset = match self.start {
                Some(start) if start.position.segment == number => start.position.offset,
                _ => 0,
            };
            tail = self.scan_segment(number, offset)?;
        }
        self.report_missing()?;
        let end = LogEnd {
            position: Position {
                segment: self.last,
                offset: 0,
            },
            lsn: self.expected_lsn.unwrap_or(self.durable_lsn + 1),
        };
        match tail {
            Some(tail) => Ok(tail),
            None => self.end_at(end.position, end.lsn),
        }
    }

    /// Visits the frames of one segment; gives the tail if it is the last.
    fn scan_segment(&mut self, number: u32, mut offset: u64) -> Result<Option<Tail>, DiskError> {
        let mut window = self.io(Window::open(self.segments, number))?;
        loop {
            let here = Position {
                segment: number,
                offset,
            };
            let lowest = self.expected_lsn.unwrap_or(0);
            let header = self
                .header_at(&mut window, offset)?
                .filter(|header| header.lsn >= lowest);
            let intact = match header {
                Some(header) => self.body_is_intact(&mut window, offset, &header)?,
                None => false,
            };
            if let Some(header) = header.filter(|_| intact) {
                self.report_gap(here, header.lsn)?;
                self.visit_frame(&mut window, here, &header)?;
                self.expected_lsn = Some(header.lsn + 1);
                offset += header.frame_len();
                continue;
            }
            let next = match header {
                // A frame with a broken body: its header says where the next one is.
                Some(header) => offset + header.frame_len(),
                None => offset + 1,
            };
            let bad_lsn = header.map_or(lowest.max(1), |header| header.lsn);
            if number == self.last && bad_lsn > self.durable_lsn {
                return self.end_at(here, bad_lsn).map(Some);
            }
            match self.next_intact(&mut window, next, bad_lsn + u64::from(header.is_some()))? {
                // What stood between is reported as the gap before this frame.
                Some((found, _)) => offset = found,
                None if number == self.last => return self.end_at(here, bad_lsn).map(Some),
                None => {
                    if let Some(header) = header {
                        self.damaged(here, lowest.max(1), header.lsn)?;
                        self.expected_lsn = Some(header.lsn + 1);
                    }
                    return Ok(None);
                }
            }
        }
    }

    fn body_is_intact(
        &self,
        window: &mut Window,
        offset: u64,
        header: &FrameHeader,
    ) -> Result<bool, DiskError> {
        let verify = self.bodies == Bodies::Whole
            || header.kind <= KIND_FORGET
            || (header.lsn > self.durable_lsn && window.segment() == self.last);
        let body_at = offset + HEADER_LEN as u64;
        if !verify {
            return Ok(body_at + u64::from(header.body_len) <= self.io(window.file_len())?);
        }
        Ok(header.fits(self.io(window.at(body_at, header.body_len as usize))?))
    }

    fn visit_frame(
        &mut self,
        window: &mut Window,
        position: Position,
        header: &FrameHeader,
    ) -> Result<(), DiskError> {
        let len = match self.bodies {
            Bodies::First(most) if header.kind > KIND_FORGET => most.min(header.body_len as usize),
            _ => header.body_len as usize,
        };
        let body = self.io(window.at(position.offset + HEADER_LEN as u64, len))?;
        match header.kind {
            KIND_SEGMENT => {
                let name_len = usize::from(body.first().copied().unwrap_or(0));
                let numbers = body.get(1 + name_len..).unwrap_or_default().chunks_exact(4);
                self.named = numbers
                    .map(|n| u32::from_le_bytes([n[0], n[1], n[2], n[3]]))
                    .collect();
                self.forgotten.clear();
            }
            KIND_FORGET => {
                if let Ok(number) = body.try_into().map(u32::from_le_bytes) {
                    self.forgotten.insert(number);
                }
            }
            KIND_MARK => {}
            _ => (self.visit)(Scanned::Frame {
                position,
                header: *header,
                body,
            })?,
        }
        Ok(())
    }

    /// Reports frames between the last one met and `lsn`. Only a removed segment may leave such a gap, and then the
    /// opening frame of a later one does not name it.
    fn report_gap(&mut self, position: Position, lsn: u64) -> Result<(), DiskError> {
        match self.expected_lsn {
            Some(expected) if lsn > expected && !self.segment_was_removed_before(position) => {
                self.damaged(position, expected, lsn - 1)
            }
            _ => Ok(()),
        }
    }

    fn segment_was_removed_before(&self, position: Position) -> bool {
        position.offset == 0 && position.segment > 1 && self.segments.file(position.segment - 1).is_err()
    }

    fn damaged(&mut self, position: Position, first_lsn: u64, last_lsn: u64) -> Result<(), DiskError> {
        (self.visit)(Scanned::Damaged(Damage {
            position,
            first_lsn,
            last_lsn,
        }))
    }

    /// Reports segments that should be there and are not.
    fn report_missing(&mut self) -> Result<(), DiskError> {
        let gone = |number: &u32| self.segments.file(*number).is_err();
        let missing: BTreeSet<u32> = self
            .named
            .difference(&self.forgotten)
            .copied()
            .filter(gone)
            .collect();
        self.segments.note_missing(missing.clone());
        for segment in missing {
            let last_lsn = self.expected_lsn.map_or(0, |lsn| lsn - 1);
            self.damaged(Position { segment, offset: 0 }, 0, last_lsn)?;
        }
        Ok(())
    }

    /// The last segment ends at `position`, where the frame `lsn` would stand.
    fn end_at(&mut self, position: Position, lsn: u64) -> Result<Tail, DiskError> {
        let first_lost = self.expected_lsn.unwrap_or(lsn).min(lsn);
        if first_lost > self.durable_lsn {
            return Ok(Tail::Clean(LogEnd {
                position,
                lsn: first_lost,
            }));
        }
        self.damaged(position, first_lost, self.durable_lsn.max(lsn.saturating_sub(1)))?;
        Ok(Tail::Damaged {
            next_lsn: self.durable_lsn.max(lsn) + 1,
        })
    }
}
