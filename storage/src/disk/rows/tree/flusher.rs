//! Flushes memtables and merges tables of the index of rows in a thread of its own.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::levels::Writers;
use super::store::TreeStore;
use crate::disk::DiskError;

/// Memtables that may wait to be flushed; then writers wait.
const WAITING_MAX: usize = 3;

/// Without a flush for so long, nobody is taken to write.
const QUIET: Duration = Duration::from_secs(2);

/// The thread that flushes, owned.
pub(super) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    store: Arc<TreeStore>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: bool,
    stop: bool,
    /// The last flush failed, or the thread has ended.
    failed: bool,
}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(store: Arc<TreeStore>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            store,
            // An earlier run may have ended before its tables were in order.
            state: Mutex::new(State {
                wanted: true,
                ..State::default()
            }),
            changed: Condvar::new(),
        });
        let served = shared.clone();
        let thread = std::thread::Builder::new()
            .name("row index".into())
            .spawn(move || served.serve())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has complete memtables flushed; waits only where too many are. Blocks the thread.
    ///
    /// # Errors
    /// `Index`: memtables pile up because flushing fails.
    pub(super) fn flush(&self) -> Result<(), DiskError> {
        let mut state = self.shared.lock();
        state.wanted = true;
        self.shared.changed.notify_all();
        while self.shared.store.waiting() > WAITING_MAX {
            if state.failed {
                return Err(DiskError::Index("it cannot be flushed".into()));
            }
            let waited = self.shared.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the row index panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Three flags: a panic elsewhere cannot leave them half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let _ended = Ended(self);
        let mut tidy = false;
        while let Some(writers) = self.wait(tidy) {
            // Memtables that become complete during a merge are flushed before the next one.
            while self.flush() && self.merge(writers) {}
            tidy = writers == Writers::Quiet;
        }
    }

    /// False if it failed: the next flush tries again.
    fn flush(&self) -> bool {
        let flushed = self.store.flush();
        if let Err(error) = &flushed {
            // The memtable stays, and so does the log it came from.
            tracing::warn!(%error, "row index not flushed");
        }
        self.lock().failed = flushed.is_err();
        self.changed.notify_all();
        flushed.is_ok()
    }

    /// Does one merge that is due; false if there is no more to do for now.
    fn merge(&self, writers: Writers) -> bool {
        let merged = self.store.merge(writers, &|| self.lock().stop);
        merged.unwrap_or_else(|error| {
            tracing::warn!(%error, "tables of the row index not merged");
            false
        })
    }

    /// Waits for work, or unless all is `tidy` until nobody has written for a while; `None` once stopped.
    fn wait(&self, tidy: bool) -> Option<Writers> {
        let idle = |state: &mut State| !state.wanted && !state.stop;
        let mut state = if tidy {
            let waited = self.changed.wait_while(self.lock(), idle);
            waited.unwrap_or_else(PoisonError::into_inner)
        } else {
            let waited = self.changed.wait_timeout_while(self.lock(), QUIET, idle);
            waited.unwrap_or_else(PoisonError::into_inner).0
        };
        let writers = if state.wanted {
            Writers::Busy
        } else {
            Writers::Quiet
        };
        state.wanted = false;
        (!state.stop).then_some(writers)
    }
}

/// Lets nobody wait for a thread that has ended.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.lock().failed = true;
        self.0.changed.notify_all();
    }
}
