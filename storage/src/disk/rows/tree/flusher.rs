//! Flushes memtables and merges tables of the index of rows in a thread of its own.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::store::TreeStore;
use crate::disk::DiskError;

/// Memtables that may wait to be flushed; then writers wait.
const WAITING_MAX: usize = 3;

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
        while self.wait() {
            // Memtables that become complete during a merge are flushed before the next one.
            while self.flush() && self.merge() {}
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
    fn merge(&self) -> bool {
        let merged = self.store.merge(&|| self.lock().stop);
        merged.unwrap_or_else(|error| {
            tracing::warn!(%error, "tables of the row index not merged");
            false
        })
    }

    /// Waits for work; false once stopped.
    fn wait(&self) -> bool {
        let idle = |state: &mut State| !state.wanted && !state.stop;
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.wanted = false;
        !state.stop
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
