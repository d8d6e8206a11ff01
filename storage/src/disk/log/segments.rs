//! The segment files of one log: their names, and reading from them while they are written.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::disk::DiskError;
use crate::disk::frame::Position;
use crate::disk::medium::{Medium, MediumFile};

/// Most files kept open for reading; any other is opened when it is read.
const OPEN_MAX: usize = 128;

/// The segment files of one log. Any thread may read while the owner appends.
pub(crate) struct Segments {
    medium: Arc<dyn Medium>,
    log: &'static str,
    directory: PathBuf,
    inner: RwLock<Inner>,
    /// Every frame up to it is durable.
    durable_lsn: AtomicU64,
}

#[derive(Default)]
struct Inner {
    numbers: BTreeSet<u32>,
    missing: BTreeSet<u32>,
    open: HashMap<u32, Arc<dyn MediumFile>>,
}

impl Segments {
    /// Finds the segments of the log called `log`.
    pub(crate) fn find(medium: Arc<dyn Medium>, log: &'static str, directory: &Path) -> io::Result<Self> {
        let numbers = medium
            .list()?
            .iter()
            .filter_map(|name| number_of(log, name))
            .collect();
        let inner = RwLock::new(Inner {
            numbers,
            missing: BTreeSet::new(),
            open: HashMap::new(),
        });
        Ok(Self {
            medium,
            log,
            directory: directory.to_path_buf(),
            inner,
            durable_lsn: AtomicU64::new(0),
        })
    }

    /// Numbers of all segments, ascending.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.read().numbers.iter().copied().collect()
    }

    /// Every frame up to this one is durable.
    pub(crate) fn durable_lsn(&self) -> u64 {
        self.durable_lsn.load(Ordering::Acquire)
    }

    /// Every frame up to this one has become durable.
    pub(super) fn note_durable(&self, lsn: u64) {
        self.durable_lsn.store(lsn, Ordering::Release);
    }

    /// Numbers of segments that are lost, as far as the last scan met them.
    pub(super) fn missing(&self) -> BTreeSet<u32> {
        self.read().missing.clone()
    }

    /// Remembers which segments are lost.
    pub(super) fn note_missing(&self, missing: BTreeSet<u32>) {
        self.write().missing = missing;
    }

    /// The file of a segment; `NotFound` if it has been removed.
    pub(crate) fn file(&self, number: u32) -> io::Result<Arc<dyn MediumFile>> {
        {
            let inner = self.read();
            if let Some(file) = inner.open.get(&number) {
                return Ok(file.clone());
            }
            if !inner.numbers.contains(&number) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        let file = self.medium.open(&name_of(self.log, number))?;
        let mut inner = self.write();
        // Removed meanwhile: its room comes back only when nobody keeps it open.
        if !inner.numbers.contains(&number) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if inner.open.len() >= OPEN_MAX
            && let Some(other) = inner.open.keys().next().copied()
        {
            inner.open.remove(&other);
        }
        inner.open.insert(number, file.clone());
        Ok(file)
    }

    /// Reads `len` bytes at a place of a segment.
    ///
    /// # Errors
    /// `NotFound`: the segment has been removed, its rows and blocks live elsewhere now. `UnexpectedEof`: it ends before.
    pub(crate) fn read_at(&self, position: Position, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        match self
            .file(position.segment)?
            .read_at(&mut bytes, position.offset)?
        {
            read if read == len => Ok(bytes),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Bytes of a segment's file.
    pub(crate) fn len(&self, number: u32) -> io::Result<u64> {
        self.file(number)?.len()
    }

    /// The error of a failed `action` on this log.
    pub(crate) fn failed(&self, action: &'static str) -> impl FnOnce(io::Error) -> DiskError + use<> {
        let directory = self.directory.clone();
        move |source| DiskError::Io {
            directory,
            action,
            source,
        }
    }

    /// Creates the file of a segment. Durable after the directory is synced.
    pub(super) fn create(&self, number: u32) -> io::Result<Arc<dyn MediumFile>> {
        let file = self.medium.create(&name_of(self.log, number))?;
        let mut inner = self.write();
        inner.numbers.insert(number);
        inner.open.insert(number, file.clone());
        Ok(file)
    }

    /// Removes the file of a segment. Durable after the directory is synced.
    pub(super) fn remove(&self, number: u32) -> io::Result<()> {
        let mut inner = self.write();
        inner.numbers.remove(&number);
        inner.open.remove(&number);
        drop(inner);
        self.medium.remove(&name_of(self.log, number))
    }

    // A panic elsewhere cannot leave the map half changed: each change is one call.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// File name of a segment: `rows-00000001.log`.
pub(crate) fn name_of(log: &str, number: u32) -> String {
    format!("{log}-{number:08}.log")
}

/// Whether a file is a segment of a log.
pub(crate) fn is_segment(log: &str, name: &str) -> bool {
    number_of(log, name).is_some()
}

fn number_of(log: &str, name: &str) -> Option<u32> {
    let digits = name.strip_prefix(log)?.strip_prefix('-')?.strip_suffix(".log")?;
    let number = digits.parse().ok().filter(|number| *number > 0)?;
    (name_of(log, number) == name).then_some(number)
}
