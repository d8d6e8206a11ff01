//! One directory of blocks: what its threads and its readers share, and how it opens and closes.

use std::collections::BTreeMap;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::decide::Ask;
use super::index::{Index, Place};
use super::map::Maps;
use super::owner::{Owner, Request};
use super::reclaim::{Reclaimer, Wake};
use super::record::Id;
use super::replay;
use super::requests::Requests;
use super::room::Room;
use super::stamps::Stamps;
#[cfg(any(test, feature = "simulation"))]
use super::stepped::Stepped;
use crate::disk::DiskError;
use crate::disk::drive::Drive;
use crate::disk::log::{LogOptions, Segments};
use crate::disk::medium::Medium;

/// First part of the names of a directory's segments.
pub(super) const LOG: &str = "blocks";
/// Requests that may wait for the owner.
const QUEUE: usize = 1024;

/// What opening a directory takes.
pub(super) struct Opening {
    pub(super) path: PathBuf,
    pub(super) identity: [u8; 16],
    pub(super) medium: Arc<dyn Medium>,
    pub(super) capacity: Option<u64>,
    pub(super) segment_bytes: u64,
    pub(super) maps: Maps,
    pub(super) stamps: Arc<Stamps>,
    /// Bytes a second at which old segments are rewritten.
    pub(super) rewrite_pace: u64,
    /// Who serves the log and gives room back.
    pub(super) drive: Drive,
}

/// What the threads and readers of a directory share.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) medium: Arc<dyn Medium>,
    pub(super) segments: Arc<Segments>,
    pub(super) index: Index,
    pub(super) stamps: Arc<Stamps>,
    capacity: Option<u64>,
    state: Mutex<State>,
}

/// Sums that follow from the index, kept at hand.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Bytes of each segment's file.
    pub(super) len: BTreeMap<u32, u64>,
    /// Bytes of live frames in each segment.
    pub(super) live: BTreeMap<u32, u64>,
    /// Bytes given back by holes in each segment.
    pub(super) punched: BTreeMap<u32, u64>,
    /// Blocks that do not verify.
    pub(super) damaged: u64,
    /// Frames known to be lost when the directory was opened.
    pub(super) frames_lost: u64,
    /// Nothing is written any more.
    pub(super) stopped: Option<Stop>,
}

/// Why nothing is written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The device failed while writing.
    Device,
    /// The index failed, which follows from the log: it may be opened anew.
    Index,
}

impl State {
    /// Bytes held, holes not counted.
    pub(super) fn used(&self) -> u64 {
        let len: u64 = self.len.values().sum();
        len.saturating_sub(self.punched.values().sum())
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Sums only: a panic elsewhere leaves at worst an inexact one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn room(&self) -> Result<Room, DiskError> {
        let space = self
            .medium
            .space()
            .map_err(|source| self.io("measure room", source))?;
        Ok(Room::new(self.state().used(), self.capacity, space))
    }

    pub(super) fn io(&self, action: &'static str, source: std::io::Error) -> DiskError {
        DiskError::Io {
            directory: self.path.clone(),
            action,
            source,
        }
    }

    pub(super) fn stopped(&self) -> DiskError {
        DiskError::Stopped {
            directory: self.path.clone(),
        }
    }
}

/// One directory of blocks, open.
pub(super) struct Directory {
    pub(super) identity: [u8; 16],
    pub(super) shared: Arc<Shared>,
    requests: Requests,
    reclaimer: Reclaimer,
    owner: Mutex<Option<JoinHandle<()>>>,
    #[cfg(any(test, feature = "simulation"))]
    _owner_task: Option<tokio_util::task::AbortOnDropHandle<()>>,
}

/// Who serves an owner; a task ends when this is dropped.
struct Served {
    thread: Option<JoinHandle<()>>,
    #[cfg(any(test, feature = "simulation"))]
    task: Option<tokio_util::task::AbortOnDropHandle<()>>,
}

impl Directory {
    /// Opens the log, brings the index up to it and starts the two threads. Blocks the thread.
    pub(super) fn open(opening: Opening) -> Result<Self, DiskError> {
        let options = LogOptions {
            name: LOG,
            directory: opening.path.clone(),
            segment_bytes: opening.segment_bytes,
            extend_bytes: 0,
        };
        let replayed = replay::open(&opening, options)?;
        opening.stamps.pass(replayed.stamp);
        let shared = Arc::new(Shared {
            path: opening.path,
            segments: replayed.writer.segments().clone(),
            medium: opening.medium,
            index: replayed.index,
            stamps: opening.stamps,
            capacity: opening.capacity,
            state: Mutex::new(replayed.state),
        });
        let failed = |source| shared.io("start thread", source);
        let wake = Wake::default();
        let owner = Owner::new(
            shared.clone(),
            replayed.writer,
            replayed.batches,
            replayed.last,
            wake.clone(),
        );
        let (requests, owner) = serve(owner, opening.drive).map_err(failed)?;
        let reclaimer = Reclaimer::start(
            shared.clone(),
            requests.clone(),
            wake,
            opening.rewrite_pace,
            opening.drive,
        )
        .map_err(failed)?;
        Ok(Self {
            identity: opening.identity,
            shared,
            requests,
            reclaimer,
            owner: Mutex::new(owner.thread),
            #[cfg(any(test, feature = "simulation"))]
            _owner_task: owner.task,
        })
    }

    /// Asks the owner and waits for the answer: the ids that gained a reference.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Vec<Id>, DiskError> {
        self.requests.ask(ask).await
    }

    /// Tells the owner that a block does not verify. If its queue is full, the next reader tells it.
    pub(super) fn report_damaged(&self, id: Id, place: Place) {
        self.requests.tell(Ask::Verified {
            id,
            place,
            whole: false,
        });
    }

    /// Tells the owner whether a block verifies and waits until that is remembered. Blocks the thread.
    pub(super) fn report_verified(&self, id: Id, place: Place, whole: bool) -> Result<(), DiskError> {
        self.requests.ask_blocking(Ask::Verified { id, place, whole })
    }

    /// Writes what is queued and ends both threads. Blocks the thread.
    pub(super) fn close(&self) {
        self.reclaimer.stop();
        // The queue is closed by whoever gets here first; what was sent before is still served.
        drop(self.requests.send_blocking(Request::Close));
        let thread = self.owner.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(directory = %self.shared.path.display(), "the blocks thread panicked");
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Both threads end, and let go of the directory's lock, before whoever dropped it can open it again.
        self.reclaimer.stop();
        drop(mem::replace(&mut self.requests, Requests::closed()));
        let thread = self
            .owner
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(directory = %self.shared.path.display(), "the blocks thread panicked");
        }
    }
}

/// Starts whoever serves an owner.
fn serve(owner: Owner, drive: Drive) -> std::io::Result<(Requests, Served)> {
    let (sender, asked) = mpsc::channel(QUEUE);
    match drive {
        Drive::Threads => {
            let thread = std::thread::Builder::new().name("blocks".into());
            let served = Served {
                thread: Some(thread.spawn(move || owner.serve(asked))?),
                #[cfg(any(test, feature = "simulation"))]
                task: None,
            };
            Ok((Requests::to_thread(sender), served))
        }
        #[cfg(any(test, feature = "simulation"))]
        Drive::Simulated => {
            let (stepped, task) = Stepped::start(owner, asked);
            let served = Served {
                thread: None,
                task: Some(task),
            };
            Ok((Requests::to_stepped(sender, stepped), served))
        }
    }
}
