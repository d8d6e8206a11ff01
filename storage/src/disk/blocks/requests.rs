//! The way to the owner of a directory's log: asks it, and waits as a task or as a thread.

use tokio::sync::{mpsc, oneshot};

use super::decide::Ask;
use super::owner::{Answer, Request};
use super::record::Id;
#[cfg(any(test, feature = "simulation"))]
use super::stepped::Stepped;
use crate::disk::DiskError;
use crate::disk::drive::Drive;

/// Sends requests to an owner. The owner ends when no sender is left.
#[derive(Clone)]
pub(super) struct Requests {
    sender: mpsc::Sender<Request>,
    #[cfg(any(test, feature = "simulation"))]
    stepped: Option<std::sync::Arc<Stepped>>,
}

impl Requests {
    /// To the owner, a thread, that takes what is sent out of the other end.
    pub(super) fn to_thread(sender: mpsc::Sender<Request>) -> Self {
        Self {
            sender,
            #[cfg(any(test, feature = "simulation"))]
            stepped: None,
        }
    }

    /// To an owner in a simulation.
    #[cfg(any(test, feature = "simulation"))]
    pub(super) fn to_stepped(sender: mpsc::Sender<Request>, stepped: std::sync::Arc<Stepped>) -> Self {
        Self {
            sender,
            stepped: Some(stepped),
        }
    }

    /// To nobody.
    pub(super) fn closed() -> Self {
        Self::to_thread(mpsc::channel(1).0)
    }

    /// Asks and waits for the ids that gained a reference.
    pub(super) async fn ask(&self, ask: Ask) -> Result<Vec<Id>, DiskError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.sender.send(Request::Ask(ask, answer)).await;
        sent.map_err(|_| DiskError::Closed)?;
        self.wake();
        let answer = answered.await;
        self.drive().pause().await;
        answer.map_err(|_| DiskError::Closed)?
    }

    /// Tells something without waiting, if there is room in the queue.
    pub(super) fn tell(&self, ask: Ask) {
        let (answer, _) = oneshot::channel();
        drop(self.sender.try_send(Request::Ask(ask, answer)));
        self.wake();
    }

    /// Asks and waits. Blocks the thread.
    pub(super) fn ask_blocking(&self, ask: Ask) -> Result<(), DiskError> {
        self.wait(|answer| Request::Ask(ask, answer))
    }

    /// Lets the owner remove a segment and waits. Blocks the thread.
    pub(super) fn forget_blocking(&self, segment: u32) -> Result<(), DiskError> {
        self.wait(|answer| Request::Forget(segment, answer))
    }

    /// Sends what needs no answer; in vain if the owner has ended. Blocks the thread.
    pub(super) fn send_blocking(&self, request: Request) -> Result<(), DiskError> {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(stepped) = &self.stepped {
            stepped.serve_queued();
            let sent = self.sender.try_send(request).map_err(|_| DiskError::Closed);
            stepped.serve_queued();
            return sent;
        }
        self.sender.blocking_send(request).map_err(|_| DiskError::Closed)
    }

    fn wait(&self, request: impl FnOnce(Answer) -> Request) -> Result<(), DiskError> {
        let (answer, answered) = oneshot::channel();
        self.send_blocking(request(answer))?;
        self.received(answered)?.map(drop)
    }

    fn received<T>(&self, answered: oneshot::Receiver<T>) -> Result<T, DiskError> {
        match self.drive() {
            Drive::Threads => answered.blocking_recv().map_err(|_| DiskError::Closed),
            #[cfg(any(test, feature = "simulation"))]
            Drive::Simulated => {
                let mut answered = answered;
                answered.try_recv().map_err(|_| DiskError::Closed)
            }
        }
    }

    fn drive(&self) -> Drive {
        #[cfg(any(test, feature = "simulation"))]
        if self.stepped.is_some() {
            return Drive::Simulated;
        }
        Drive::Threads
    }

    /// Threads wake by themselves.
    fn wake(&self) {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(stepped) = &self.stepped {
            stepped.wake();
        }
    }
}
