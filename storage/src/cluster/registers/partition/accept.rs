//! What a member's acceptor makes of requests: its own holder's, and those of others.

use super::{Commit, Decided, Partition};
use crate::StoreError;
use crate::cluster::registers::Machine;
use crate::cluster::registers::rows::Stamps;
use crate::disk::Room;
use crate::register::{Acceptor, Broken, Reply, Request, Step};

impl<M: Machine> Partition<M> {
    /// Decides on requests of another member; the replies may leave when the commit is durable. Where one cannot be decided,
    /// it and those behind it are left without a reply, as if they had not come: what those before it changed still has to
    /// become durable.
    ///
    /// # Errors
    /// The disk fails, and nothing was decided.
    pub(in super::super) fn requests(
        &mut self,
        requests: &[Request],
        room: Room,
    ) -> Result<(Option<Commit>, Vec<Option<Reply>>), StoreError> {
        if self.failed {
            return Err(StoreError::Unavailable);
        }
        let mut decided = Decided::default();
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            let step = match self.accept(request, &Stamps::new()) {
                Ok(step) => step,
                Err(error) if replies.is_empty() => return Err(error),
                Err(error) => {
                    tracing::warn!(%error, partition = self.number, "a request of another box is not answered");
                    break;
                }
            };
            let reply = self.apply(step, &mut decided);
            decided.waits |= reply.is_some() && !matches!(request, Request::Read { .. }) && self.is_behind();
            replies.push(reply);
        }
        replies.resize_with(requests.len(), || None);
        Ok((self.commit(decided, room)?, replies))
    }

    /// What this member's acceptor makes of a request. Reads see durable state only.
    pub(super) fn accept(&self, request: &Request, known: &Stamps) -> Result<Step, StoreError> {
        let acceptor = Acceptor {
            me: self.me,
            configs: &self.configs,
            broken: Broken::NOTHING,
        };
        let (part, view) = match request {
            Request::Read { .. } => (&self.durable, self.view(None)),
            _ => (&self.part, self.newest().knowing(known)),
        };
        let step = acceptor.step(part, &view, request);
        view.failure()?;
        Ok(step)
    }
}
