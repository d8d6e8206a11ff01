//! Opens the directories again, in the same process, once an index that failed can be written.
//!
//! An index follows from the log, so that its failure loses nothing: but a map that could not be written, as on a file system
//! that somebody else has filled, takes nothing more. All maps of a node are one database, which must be closed by all who use
//! it before it is opened again. Until then no directory is open, and a block may be in one that is not there.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use super::directory::Stop;
use super::open::BlocksOptions;
use super::{Blocks, DirectoryState, DirectoryStatus, Inner};
use crate::disk::DiskError;
use crate::disk::medium::Space;

/// What an index that is opened again should be able to write: its journal, twice.
const ROOM_BYTES: u64 = 128 << 20;
/// Of a small file system, this much.
const ROOM_SHARE: u64 = 50;
/// How long readers are waited for. Each reads one block, or one page of an index.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// The directories, which may be opened again.
pub(super) struct Reopening {
    inner: RwLock<Arc<Inner>>,
    /// Held while they are opened again, and while they are closed.
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    /// For good.
    closed: bool,
    /// Closed, and used by a reader when it was last seen.
    leaving: Weak<Inner>,
    /// Identities of directories that were open before, and are not yet again.
    were_open: BTreeSet<[u8; 16]>,
}

impl Reopening {
    pub(super) fn new(inner: Inner) -> Self {
        Self {
            inner: RwLock::new(Arc::new(inner)),
            turn: Mutex::default(),
        }
    }

    fn set(&self, inner: Inner) -> Arc<Inner> {
        let mut current = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut *current, Arc::new(inner))
    }
}

impl Blocks {
    /// The directories as they are open now.
    pub(super) fn inner(&self) -> Arc<Inner> {
        let current = self.0.inner.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// The same, if they are open: what is in them is not known otherwise.
    ///
    /// # Errors
    /// `Stopped`: they are being opened again.
    pub(super) fn open_now(&self) -> Result<Arc<Inner>, DiskError> {
        let inner = self.inner();
        match (&inner.maps, inner.absent.first()) {
            (None, Some(closed)) => Err(DiskError::Stopped {
                directory: closed.path.clone(),
            }),
            _ => Ok(inner),
        }
    }

    /// Finishes what is queued and ends all threads, for good. Blocks the thread.
    pub(crate) fn close(&self) {
        let mut turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.closed = true;
        self.inner().close();
    }

    /// Whether an index has failed, so that [`Blocks::reopen`] may help.
    pub(crate) fn has_lost_index(&self) -> bool {
        self.inner().has_lost_index()
    }

    /// Opens all directories again if an index has failed and there is room for it; says whether it did. What a caller may
    /// rely on holds across it: references keep their stamps, and later ones get higher ones. Blocks the thread.
    ///
    /// # Errors
    /// As [`Blocks::open`]; `Locked`: somebody still reads. Nothing is open then, until a later call succeeds. `Missing`: one that
    /// was open before could not be opened; the others are.
    pub(crate) fn reopen(&self, options: &BlocksOptions<'_>) -> Result<bool, DiskError> {
        let mut turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.inner();
        if turn.closed || !current.has_lost_index() || !has_room(options)? {
            return Ok(false);
        }
        tracing::warn!("no block is read or stored until their index is open again");
        let stamps = current.stamps.clone();
        if current.maps.is_some() {
            let failed = self.0.set(current.stand_in());
            turn.leaving = Arc::downgrade(&failed);
            let open = failed.directories.iter();
            turn.were_open.extend(open.map(|directory| directory.identity));
            failed.close();
        }
        drop(current);
        let since = Instant::now();
        let opened = loop {
            let locked = match turn.leaving.strong_count() {
                // The last reader may still be letting go of the locks.
                0 => match Inner::open(options, stamps.clone()) {
                    Err(locked @ DiskError::Locked { .. }) => locked,
                    opened => break opened?,
                },
                _ => DiskError::Locked {
                    directory: options.state_path.clone(),
                },
            };
            if since.elapsed() > PATIENCE {
                return Err(locked);
            }
            std::thread::sleep(LOOK);
        };
        let is_open = |identity: &[u8; 16]| opened.directories.iter().any(|one| one.identity == *identity);
        turn.were_open.retain(|identity| !is_open(identity));
        let is_short = !turn.were_open.is_empty();
        let missing = opened.absent();
        drop(self.0.set(Inner { is_short, ..opened }));
        match is_short {
            true => Err(missing),
            false => Ok(true),
        }
    }
}

impl Inner {
    fn has_lost_index(&self) -> bool {
        let stopped = |why| {
            let mut directories = self.directories.iter();
            directories.any(|one| one.shared.state().stopped == Some(why))
        };
        // A device that failed to sync is not written again before a person has looked at it.
        let is_broken = self.maps.is_none() || self.is_short || stopped(Stop::Index);
        is_broken && !stopped(Stop::Device)
    }

    /// What stands in for it while nothing is open.
    fn stand_in(&self) -> Self {
        let stopped = |status: DirectoryStatus| match status.state {
            DirectoryState::Missing => status,
            DirectoryState::Serving | DirectoryState::Stopped => DirectoryStatus {
                state: DirectoryState::Stopped,
                ..status
            },
        };
        Self {
            directories: Vec::new(),
            absent: self.status().into_iter().map(stopped).collect(),
            maps: None,
            is_short: false,
            stamps: self.stamps.clone(),
            drive: self.drive,
        }
    }
}

/// Whether an index can be written where it is.
fn has_room(options: &BlocksOptions<'_>) -> Result<bool, DiskError> {
    let Space { total, available } = options.state.space().map_err(|source| DiskError::Io {
        directory: options.state_path.clone(),
        action: "measure room",
        source,
    })?;
    Ok(available >= ROOM_BYTES.min(total / ROOM_SHARE))
}
