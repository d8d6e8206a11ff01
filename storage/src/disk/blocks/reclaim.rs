//! Gives room back: punches holes where blocks were freed and rewrites segments that are mostly dead.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::directory::Shared;
use super::owner::Request;
use super::requests::Requests;
use super::rewrite::{self, Progress, Rewrite, STEP_RECORDS};
use crate::disk::DiskError;
use crate::disk::drive::Drive;

/// Time between two looks at the segments.
const ROUND: Duration = Duration::from_secs(1);
#[cfg(any(test, feature = "simulation"))]
const SIMULATED_ROUND: Duration = Duration::from_millis(200);
#[cfg(any(test, feature = "simulation"))]
const SIMULATED_STEP_RECORDS: usize = 4;
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
    /// Something was freed. In a simulation the reclaimer learns of it at its next round.
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

/// The thread that gives room back; in a simulation a task.
pub(super) struct Reclaimer {
    wake: Wake,
    thread: Mutex<Option<JoinHandle<()>>>,
    #[cfg(any(test, feature = "simulation"))]
    task: Mutex<Option<tokio_util::task::AbortOnDropHandle<()>>>,
}

impl Reclaimer {
    pub(super) fn start(
        shared: Arc<Shared>,
        requests: Requests,
        wake: Wake,
        pace: u64,
        drive: Drive,
    ) -> io::Result<Self> {
        let reclaimer = Self {
            wake: wake.clone(),
            thread: Mutex::default(),
            #[cfg(any(test, feature = "simulation"))]
            task: Mutex::default(),
        };
        let work = Work {
            shared,
            requests,
            wake,
            pace,
            blocked: false,
        };
        match drive {
            Drive::Threads => {
                let thread = std::thread::Builder::new().name("reclaim".into());
                let thread = thread.spawn(move || work.run())?;
                *reclaimer.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
            }
            #[cfg(any(test, feature = "simulation"))]
            Drive::Simulated => {
                let task = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(work.run_in_simulation()));
                *reclaimer.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
            }
        }
        Ok(reclaimer)
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
        #[cfg(any(test, feature = "simulation"))]
        drop(self.task.lock().unwrap_or_else(PoisonError::into_inner).take());
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
    requests: Requests,
    wake: Wake,
    /// Bytes a second at which segments are rewritten.
    pace: u64,
    /// A segment could not be rewritten. Until the next start no other is: see [`rewrite`].
    blocked: bool,
}

impl Work {
    fn run(mut self) {
        loop {
            if let Err(error) = self.round() {
                self.warn(&error);
            }
            // The queue is closed only after this thread has ended, so this fails at worst while it is stopping.
            drop(self.requests.send_blocking(Request::Mark));
            if !self.wake.wait(ROUND) {
                return;
            }
        }
    }

    fn round(&mut self) -> Result<(), DiskError> {
        if self.shared.state().stopped.is_some() {
            return Ok(());
        }
        punch(&self.shared, &self.wake)?;
        while !self.blocked && !self.wake.is_stopping() {
            let Some(segment) = rewrite::candidate(&self.shared.state()) else {
                break;
            };
            match self.rewrite(segment) {
                Ok(true) => tracing::debug!(segment, "segment rewritten"),
                Ok(false) => break,
                Err(error) => return Err(self.not_rewritten(error)),
            }
        }
        Ok(())
    }

    /// Rewrites a segment; false if stopped on the way, which a later start finishes.
    fn rewrite(&self, segment: u32) -> Result<bool, DiskError> {
        let mut rewrite = Rewrite::new(&self.shared, &self.requests, segment, STEP_RECORDS);
        while let Progress::Copied(bytes) = rewrite.step()? {
            let pause = Duration::from_secs_f64(bytes as f64 / self.pace.max(1) as f64);
            if !self.wake.pause(pause) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn not_rewritten(&mut self, error: DiskError) -> DiskError {
        self.blocked = !error.is_refusal();
        error
    }

    fn warn(&self, error: &DiskError) {
        tracing::warn!(%error, directory = %self.shared.path.display(), "room not given back");
    }
}

#[cfg(any(test, feature = "simulation"))]
impl Work {
    /// As [`Self::run`], in steps between which others have their turn.
    async fn run_in_simulation(mut self) {
        loop {
            if let Err(error) = self.round_in_simulation().await {
                self.warn(&error);
            }
            drop(self.requests.send_blocking(Request::Mark));
            tokio::time::sleep(SIMULATED_ROUND).await;
        }
    }

    async fn round_in_simulation(&mut self) -> Result<(), DiskError> {
        if self.shared.state().stopped.is_some() {
            return Ok(());
        }
        punch(&self.shared, &self.wake)?;
        while !self.blocked {
            let candidate = rewrite::candidate(&self.shared.state());
            let Some(segment) = candidate else {
                break;
            };
            if let Err(error) = self.rewrite_in_simulation(segment).await {
                return Err(self.not_rewritten(error));
            }
        }
        Ok(())
    }

    async fn rewrite_in_simulation(&self, segment: u32) -> Result<(), DiskError> {
        let mut rewrite = Rewrite::new(&self.shared, &self.requests, segment, SIMULATED_STEP_RECORDS);
        while let Progress::Copied(_) = rewrite.step()? {
            crate::simulation::pause().await;
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
