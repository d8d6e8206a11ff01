//! The owner of a directory's log in a simulation: a task serves it in its own time, and at once whoever may not wait.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::owner::{Owner, Request};
use crate::simulation;

/// An owner without a thread, and what is asked of it.
pub(super) struct Stepped {
    serving: Mutex<Option<Serving>>,
    queued: Notify,
}

struct Serving {
    owner: Owner,
    requests: mpsc::Receiver<Request>,
}

impl Stepped {
    /// Starts the task that serves the owner, which ends when the handle is dropped.
    pub(super) fn start(
        owner: Owner,
        requests: mpsc::Receiver<Request>,
    ) -> (Arc<Self>, AbortOnDropHandle<()>) {
        let stepped = Arc::new(Self {
            serving: Mutex::new(Some(Serving { owner, requests })),
            queued: Notify::new(),
        });
        let serving = stepped.clone();
        let task = tokio::spawn(async move {
            loop {
                serving.queued.notified().await;
                // Others can join whoever asked first.
                simulation::pause().await;
                serving.serve_queued();
            }
        });
        (stepped, AbortOnDropHandle::new(task))
    }

    /// Something was asked.
    pub(super) fn wake(&self) {
        self.queued.notify_one();
    }

    /// Serves everything queued, until asked to close.
    pub(super) fn serve_queued(&self) {
        let mut slot = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(serving) = &mut *slot {
            let Ok(first) = serving.requests.try_recv() else {
                return;
            };
            let goes_on = serving.owner.serve_group(first, &mut serving.requests);
            if !goes_on && let Some(ended) = slot.take() {
                ended.owner.end();
            }
        }
    }
}
