//! Who does the work of a disk: threads of its own or, in a simulation, tasks in an order that a seed decides.

use super::DiskError;

/// Who does the work of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Threads.
    Threads,
    /// Tasks of the runtime that the disk was opened in; what blocks is done where it is asked for.
    #[cfg(any(test, feature = "simulation"))]
    Simulated,
}

impl Drive {
    /// Runs work that blocks.
    ///
    /// # Errors
    /// `Closed`: the runtime is shutting down, or the work panicked.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, DiskError> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .map_err(|_| DiskError::Closed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Simulated => {
                self.pause().await;
                let done = work();
                self.pause().await;
                Ok(done)
            }
        }
    }

    /// Lets a simulation do other things first; nothing else ever waits here.
    pub(crate) async fn pause(self) {
        match self {
            Self::Threads => {}
            #[cfg(any(test, feature = "simulation"))]
            Self::Simulated => crate::simulation::pause().await,
        }
    }
}
