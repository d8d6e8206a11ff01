//! Serves the queue of a log in a simulation: a task does in its own time, and at once whoever may not wait for it.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Apply, MARK_AFTER, Owner, Shared};
use crate::simulation;

/// A log served without a thread.
pub(super) struct Stepped<A: Apply> {
    owner: Arc<Mutex<Option<Owner<A>>>>,
    _task: AbortOnDropHandle<()>,
}

impl<A: Apply> Stepped<A> {
    /// Starts the task.
    pub(super) fn start(shared: Arc<Shared<A::Note>>, owner: Owner<A>) -> Self {
        let owner = Arc::new(Mutex::new(Some(owner)));
        let task = tokio::spawn(serve(shared, owner.clone()));
        Self {
            owner,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Serves everything queued at once, and gives the answer to one of it; `None` if the log has stopped.
    pub(super) fn answer<T>(
        &self,
        shared: &Shared<A::Note>,
        mut answered: oneshot::Receiver<T>,
    ) -> Option<T> {
        step(shared, &self.owner, IfIdle::Rest);
        answered.try_recv().ok()
    }

    /// Serves everything queued, marks the end, and gives the index back, once.
    pub(super) fn close(&self, shared: &Shared<A::Note>) -> Option<A> {
        step(shared, &self.owner, IfIdle::Rest);
        step(shared, &self.owner, IfIdle::Mark);
        lock(&self.owner).take().map(|owner| owner.apply)
    }
}

/// What to do when nothing is queued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfIdle {
    Mark,
    Rest,
}

/// Serves the queue until the log closes or stops; a while after each first request, so that others can join it.
async fn serve<A: Apply>(shared: Arc<Shared<A::Note>>, owner: Arc<Mutex<Option<Owner<A>>>>) {
    loop {
        let asked = timeout(MARK_AFTER, shared.wake_task.notified()).await.is_ok();
        let if_idle = if asked { IfIdle::Rest } else { IfIdle::Mark };
        if asked {
            simulation::pause().await;
        }
        if !step(&shared, &owner, if_idle) {
            return;
        }
    }
}

/// Serves everything queued, with one sync; false when there is nothing to serve any more.
fn step<A: Apply>(shared: &Shared<A::Note>, slot: &Mutex<Option<Owner<A>>>, if_idle: IfIdle) -> bool {
    let Some(mut owner) = lock(slot).take() else {
        return false;
    };
    let mut requests = mem::take(&mut shared.lock().requests);
    let served = match (requests.is_empty(), if_idle) {
        (false, _) => owner.serve(&mut requests),
        (true, IfIdle::Mark) => owner.mark(),
        (true, IfIdle::Rest) => Ok(()),
    };
    if let Err(error) = served {
        tracing::error!(%error, log = owner.writer.options().name, "log stopped");
        shared.stop(owner);
        return false;
    }
    *lock(slot) = Some(owner);
    true
}

fn lock<A: Apply>(slot: &Mutex<Option<Owner<A>>>) -> MutexGuard<'_, Option<Owner<A>>> {
    // Taken and put back, each by one call.
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
