//! What a member's acceptor makes of requests, and what it refuses although no ballot forbids it.
//!
//! A row that is known to be chosen may say that something in it must stay (DESIGN.md section 4, "Locked versions"). Whatever
//! holder wants it gone before its time, by the clock here, gets no answer: that is as if the request were lost, and so
//! breaks nothing. An honest holder does not ask for it, for it judges by the clock that is furthest behind. A row that is not
//! known to be chosen binds nobody, or a write that never came to be could keep another from a quorum for ever. `Learn` brings
//! what others chose, and is not judged.

use super::{Commit, Decided, Partition};
use crate::StoreError;
use crate::cluster::registers::Machine;
use crate::cluster::registers::rows::{Heads, View};
use crate::disk::Room;
use crate::register::{Acceptor, Broken, Reply, Request, Rows as _, Step};

impl<M: Machine> Partition<M> {
    /// Decides on requests of another member; the replies may leave when the commit is durable.
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
            let step = self.accept(request, &Heads::new())?;
            let reply = self.apply(step, &mut decided);
            decided.waits |= reply.is_some() && !matches!(request, Request::Read { .. }) && self.is_behind();
            replies.push(reply);
        }
        Ok((self.commit(decided, room)?, replies))
    }

    /// What this member's acceptor makes of a request. Reads see durable state only.
    pub(super) fn accept(&self, request: &Request, known: &Heads) -> Result<Step, StoreError> {
        let acceptor = Acceptor {
            me: self.me,
            configs: &self.configs,
            broken: Broken::NOTHING,
        };
        let (part, view) = match request {
            Request::Read { .. } => (&self.durable, self.view(None)),
            _ => (&self.part, self.newest().knowing(known)),
        };
        let step = match self.must_stay(&view, request) {
            true => Step::default(),
            false => acceptor.step(part, &view, request),
        };
        view.failure()?;
        Ok(step)
    }

    /// Whether a request would replace a chosen row in which something must stay by one in which it does not.
    fn must_stay(&self, view: &View<'_>, request: &Request) -> bool {
        let Request::Accept {
            stamp, key, content, ..
        } = request
        else {
            return false;
        };
        let here = view.head(key);
        if !here.must_stay || here.stamp >= *stamp {
            return false;
        }
        let row = view.row(key);
        let next = content.value.as_ref();
        let stays = row
            .content
            .value
            .is_some_and(|here| !self.machine.may_follow(key, &here, next));
        if stays {
            tracing::warn!(
                partition = self.number,
                "refused to let go of what is locked; is the clock of some box wrong?"
            );
        }
        stays
    }
}
