//! Calls boxes back that wait with an invite where this box can reach them, and they cannot reach it.
//!
//! Kept in memory only: a box that was started anew is told again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use p2p::{Address, CALLED_ABOUT_MAX, CallBackError, InviteId, NodeId};
use storage::Store;
use storage::model::{InviteRow, Timestamp};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// Boxes called at once; of more, the one asked for first is called no more.
const CALLED_MAX: usize = 8;
/// How long between two calls.
const CALL_EVERY: Duration = Duration::from_secs(3);
/// How long a box that answered may take to ask, and the mesh to let it in.
const LET_IN_WITHIN: Duration = Duration::from_secs(20);
/// How often it is looked whether it is in.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How far a call has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It is about to be made, or being made.
    Calling,
    /// It came to nothing so far, and is made again.
    InVain(CallBackError),
    /// The box answered, and asks to be let in.
    Answered,
    /// It is a member.
    LetIn(NodeId),
    /// No invite is open any more.
    Over,
}

/// A box to call, and how far that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    pub(crate) address: Address,
    pub(crate) progress: Progress,
}

impl Called {
    const fn is_over(&self) -> bool {
        matches!(self.progress, Progress::LetIn(_) | Progress::Over)
    }
}

/// The boxes to call. Cloning gives another handle.
#[derive(Clone, Default)]
pub(crate) struct Callbacks {
    called: Arc<Mutex<Vec<Called>>>,
    asked: Arc<Notify>,
}

impl Callbacks {
    /// Has a box called from now on, until it is in or no invite is open.
    pub(super) fn call(&self, address: Address) {
        let mut called = self.locked();
        called.retain(|other| other.address != address);
        while called.len() >= CALLED_MAX {
            let oldest = called.iter().position(Called::is_over).unwrap_or_default();
            called.remove(oldest);
        }
        called.push(Called {
            address,
            progress: Progress::Calling,
        });
        drop(called);
        self.asked.notify_one();
    }

    /// All boxes that were to be called, the one asked for last at the end.
    pub(crate) fn all(&self) -> Vec<Called> {
        self.locked().clone()
    }

    fn set(&self, address: &Address, progress: Progress) {
        let mut called = self.locked();
        if let Some(called) = called.iter_mut().find(|called| called.address == *address) {
            called.progress = progress;
        }
    }

    fn waiting(&self) -> Vec<Address> {
        let called = self.locked();
        let waiting = called.iter().filter(|called| !called.is_over());
        waiting.map(|called| called.address.clone()).collect()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Called>> {
        self.called.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls whoever is to be called, again and again, until stopped.
pub(super) async fn keep_calling(
    callbacks: Callbacks,
    store: Store,
    node: p2p::Node,
    stop: CancellationToken,
) {
    let calling = async {
        loop {
            let waiting = callbacks.waiting();
            if waiting.is_empty() {
                callbacks.asked.notified().await;
                continue;
            }
            let open = open(&store.invites(), Timestamp::now());
            join_all(waiting.iter().map(|at| call(&callbacks, &node, at, &open))).await;
            // Whoever asks for another meanwhile does not wait for this.
            drop(timeout(CALL_EVERY, callbacks.asked.notified()).await);
        }
    };
    stop.run_until_cancelled(calling).await;
}

async fn call(callbacks: &Callbacks, node: &p2p::Node, at: &Address, open: &[InviteId]) {
    if open.is_empty() {
        return callbacks.set(at, Progress::Over);
    }
    match node.call_back(at, open).await {
        Ok(called) => {
            info!(%at, %called, "called back, now it asks to be let in");
            callbacks.set(at, Progress::Answered);
            let is_in = timeout(LET_IN_WITHIN, until_member(node, &called)).await.is_ok();
            callbacks.set(
                at,
                if is_in {
                    Progress::LetIn(called)
                } else {
                    Progress::Calling
                },
            );
        }
        Err(error) => {
            debug!(%at, %error, "called in vain");
            callbacks.set(at, Progress::InVain(error));
        }
    }
}

async fn until_member(node: &p2p::Node, who: &NodeId) {
    while !node.is_member(who) {
        sleep(LOOK_EVERY).await;
    }
}

/// The invites that let somebody in, the newest first.
fn open(invites: &[(storage::model::InviteId, InviteRow)], now: Timestamp) -> Vec<InviteId> {
    let mut open: Vec<_> = invites
        .iter()
        .filter(|(_, row)| row.redeemed.is_none() && now < row.expires)
        .collect();
    open.sort_by_key(|(_, row)| std::cmp::Reverse(row.created));
    let newest = open.into_iter().take(CALLED_ABOUT_MAX);
    newest
        .map(|(invite, _)| InviteId::from_bytes(*invite.as_bytes()))
        .collect()
}

#[cfg(test)]
mod tests {
    use storage::model::{MemberId, Redeemed, Role};

    use super::*;

    fn at(host: u8) -> Address {
        Address::new([203, 0, 113, host].into(), 4001)
    }

    #[test]
    fn a_box_is_called_until_it_is_in_and_the_newest_find_room() {
        let callbacks = Callbacks::default();
        callbacks.call(at(1));
        callbacks.set(&at(1), Progress::InVain(CallBackError::NobodyAnswers));
        assert_eq!(callbacks.waiting(), [at(1)]);
        callbacks.set(&at(1), Progress::Over);
        assert_eq!(callbacks.waiting(), []);
        callbacks.call(at(1));
        assert_eq!(callbacks.all().len(), 1);
        for host in 2..40 {
            callbacks.call(at(host));
        }
        let waiting = callbacks.waiting();
        assert_eq!((waiting.len(), waiting.last()), (CALLED_MAX, Some(&at(39))));
    }

    #[test]
    fn only_invites_that_let_somebody_in_are_called_about() {
        let row = |created, expires| InviteRow {
            role: Role::Trusted,
            created: Timestamp::from_millis(created),
            expires: Timestamp::from_millis(expires),
            redeemed: None,
        };
        let id = |seed| storage::model::InviteId::from_bytes([seed; 32]);
        let mut used = row(5, 9000);
        used.redeemed = Some(Redeemed {
            node: bytes::Bytes::new(),
            member: MemberId(2),
            at: Timestamp::from_millis(6),
        });
        let invites = [
            (id(1), row(1, 9000)),
            (id(2), row(2, 900)),
            (id(3), used),
            (id(4), row(7, 9000)),
        ];
        let open = open(&invites, Timestamp::from_millis(1000));
        assert_eq!(open, [4, 1].map(|seed| InviteId::from_bytes([seed; 32])));
    }
}
