//! The tasks of a store: they run to their end, unless a simulation kills the store.

#[cfg(any(test, feature = "simulation"))]
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(any(test, feature = "simulation"))]
use tokio::task::AbortHandle;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Tasks that somebody waits for at the end. Cloning gives another handle.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    #[cfg(any(test, feature = "simulation"))]
    running: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Tasks {
    /// Starts a task.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let handle = self.tracker.spawn(task);
        #[cfg(any(test, feature = "simulation"))]
        if crate::simulation::millis().is_some() {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            running.retain(|task| !task.is_finished());
            running.push(handle.abort_handle());
        }
        handle
    }

    /// Lets [`Tasks::wait`] end once no task is left.
    pub(crate) fn close(&self) {
        self.tracker.close();
    }

    /// Waits until it is closed and no task is left.
    pub(crate) async fn wait(&self) {
        self.tracker.wait().await;
    }

    /// Drops every task of a simulated store at the point where it waits.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn kill(&self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.drain(..).for_each(|task| task.abort());
    }
}
