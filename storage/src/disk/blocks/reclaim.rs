//! Gives room back: punches holes where blocks were freed and rewrites segments that are mostly dead.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::decide::Ask;
use super::directory::Shared;
use super::owner::Request;
use super::rewrite::{self, Rewrite};
use crate::disk::DiskError;

/// Time between two looks at the segments.
const ROUND: Duration = Duration::from_secs(1);
/// Holes punched between two commits of the index.
const HOLES: usize = 64;

#[derive(Default)]
struct Flags {
    woken: bool,
    stopping: bool,
}

/// Wakes the reclaimer.
#[derive(Clone, Default)]
pub(super) struct Wake(Arc<(Mutex<Flags>, Condvar)>);

impl Wake {
    /// Something was freed.
    pub(super) fn wake(&self) {
        self.flags().woken = true;
        self.0.1.notify_all();
    }

    fn stop(&self) {
        self.flags().stopping = true;
        self.0.1.notify_all();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.flags().stopping
    }

    /// Waits until stopping, woken or `most` has passed; false when stopping.
    fn wait(&self, most: Duration) -> bool {
        let idle = |flags: &mut Flags| !flags.woken && !flags.stopping;
        let waited = self.0.1.wait_timeout_while(self.flags(), most, idle);
        let mut flags = waited.unwrap_or_else(PoisonError::into_inner).0;
        flags.woken = false;
        !flags.stopping
    }

    /// Sleeps for the time given; false as soon as stopping.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let waited = self
            .0
            .1
            .wait_timeout_while(self.flags(), time, |flags| !flags.stopping);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    fn flags(&self) -> MutexGuard<'_, Flags> {
        // Two flags, each changed by one store.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that gives room back.
pub(super) struct Reclaimer {
    wake: Wake,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Reclaimer {
    pub(super) fn start(
        shared: Arc<Shared>,
        requests: mpsc::Sender<Request>,
        pace: u64,
    ) -> io::Result<(Self, Wake)> {
        let wake = Wake::default();
        let work = Work {
            shared,
            requests,
            wake: wake.clone(),
            pace,
            blocked: false,
        };
        let thread = std::thread::Builder::new()
            .name("reclaim".into())
            .spawn(move || work.run())?;
        let thread = Mutex::new(Some(thread));
        Ok((
            Self {
                wake: wake.clone(),
                thread,
            },
            wake,
        ))
    }

    /// Ends the thread after the step it is at. Blocks the thread.
    pub(super) fn stop(&self) {
        self.wake.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the reclaim thread panicked");
        }
    }
}

impl Drop for Reclaimer {
    /// Without a close nobody waits, but the thread ends all the same, and with it the last sender to the owner.
    fn drop(&mut self) {
        self.wake.stop();
    }
}

struct Work {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    wake: Wake,
    pace: u64,
    /// A segment could not be rewritten. Until the next start no other is: see [`rewrite`].
    blocked: bool,
}

impl Work {
    fn run(mut self) {
        loop {
            if let Err(error) = self.round() {
                tracing::warn!(%error, directory = %self.shared.path.display(), "room not given back");
            }
            // The queue is closed only after this thread has ended, so this fails at worst while it is stopping.
            drop(self.requests.blocking_send(Request::Mark));
            if !self.wake.wait(ROUND) {
                return;
            }
        }
    }

    fn round(&mut self) -> Result<(), DiskError> {
        if self.shared.state().stopped {
            return Ok(());
        }
        punch(&self.shared, &self.wake)?;
        while !self.blocked && !self.wake.is_stopping() {
            let Some(segment) = rewrite::candidate(&self.shared.state()) else {
                break;
            };
            let rewrite = Rewrite {
                shared: &self.shared,
                requests: &self.requests,
                wake: &self.wake,
                pace: self.pace,
            };
            match rewrite.run(segment) {
                Ok(true) => tracing::debug!(segment, "segment rewritten"),
                Ok(false) => break,
                Err(full @ DiskError::Full { .. }) => return Err(full),
                Err(error) => {
                    self.blocked = true;
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// Punches every hole that is due, or until stopping. Each was freed by a frame that is durable.
fn punch(shared: &Shared, wake: &Wake) -> Result<(), DiskError> {
    while !wake.is_stopping() {
        let places = shared.index.unpunched(HOLES)?;
        if places.is_empty() {
            return Ok(());
        }
        let mut change = shared.index.change();
        let mut punched = shared.state().punched.clone();
        for place in &places {
            let hole = place.hole();
            let segment = place.position.segment;
            let done = match shared.segments.file(segment) {
                Ok(file) if !hole.is_empty() => file.punch_hole(hole.start, hole.end - hole.start),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => *punched.entry(segment).or_default() += hole.end - hole.start,
                // Without holes the room comes back when the segment is rewritten, or came back with its file.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::NotFound) => {}
                Err(error) => return Err(shared.io("punch hole", error)),
            }
            change.unpunched(place, false);
        }
        for (segment, bytes) in &punched {
            if places.iter().any(|place| place.position.segment == *segment) {
                change.punched(*segment, Some(*bytes));
            }
        }
        change.commit()?;
        shared.state().punched = punched;
    }
    Ok(())
}

/// Asks the owner and waits. Blocks the thread.
pub(super) fn ask(requests: &mpsc::Sender<Request>, ask: Ask) -> Result<(), DiskError> {
    let (answer, answered) = oneshot::channel();
    send(requests, Request::Ask(ask, answer), answered)
}

/// Lets the owner remove a segment and waits. Blocks the thread.
pub(super) fn forget(requests: &mpsc::Sender<Request>, segment: u32) -> Result<(), DiskError> {
    let (answer, answered) = oneshot::channel();
    send(requests, Request::Forget(segment, answer), answered)
}

fn send<T>(
    requests: &mpsc::Sender<Request>,
    request: Request,
    answered: oneshot::Receiver<Result<T, DiskError>>,
) -> Result<(), DiskError> {
    requests.blocking_send(request).map_err(|_| DiskError::Closed)?;
    answered.blocking_recv().map_err(|_| DiskError::Closed)?.map(drop)
}
