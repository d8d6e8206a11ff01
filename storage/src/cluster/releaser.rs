//! Frees the blocks of versions that nobody can read any more, after their last reader has gone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Blocks;
use crate::model::{BlockId, WriteId};

/// Writes whose blocks are freed together.
const RELEASED_AT_ONCE: usize = 64;

/// The name under which a write refers to its blocks.
pub(crate) type Owner = [u8; 16];

/// Blocks of one write that lost their version.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Displaced {
    /// The name under which the write refers to its blocks.
    pub(crate) owner: Owner,
    /// Its blocks.
    pub(crate) blocks: Vec<BlockId>,
}

/// Hands displaced blocks to the task that frees them. Cloning gives another handle.
///
/// The queue holds what commits displaced; what a crash drops from it the collection of unreferenced blocks finds.
#[derive(Clone, Default)]
pub(crate) struct Releaser(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    added: Notify,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Displaced>,
    /// Some were taken out of the queue and are being freed.
    is_freeing: bool,
    /// Something was not freed that should have been.
    failed: bool,
    pins: HashMap<Owner, Pin>,
    /// Owners of writes whose row is not committed yet.
    pending: HashSet<Owner>,
}

#[derive(Default)]
struct Pin {
    readers: usize,
    waiting: Vec<Displaced>,
}

impl Releaser {
    /// Frees these blocks as soon as nobody reads them.
    pub(crate) fn displace(&self, displaced: impl IntoIterator<Item = Displaced>) {
        let mut state = self.state();
        for displaced in displaced
            .into_iter()
            .filter(|displaced| !displaced.blocks.is_empty())
        {
            match state.pins.get_mut(&displaced.owner) {
                Some(pin) => pin.waiting.push(displaced),
                None => state.ready.push_back(displaced),
            }
        }
        drop(state);
        self.0.added.notify_one();
    }

    /// Keeps the blocks of these owners until the guard is dropped.
    pub(crate) fn pin(&self, owners: Vec<Owner>) -> Pins {
        if !owners.is_empty() {
            let mut state = self.state();
            for owner in &owners {
                state.pins.entry(*owner).or_default().readers += 1;
            }
        }
        Pins {
            releaser: self.clone(),
            owners,
        }
    }

    /// Whether somebody reads blocks of this owner.
    pub(crate) fn is_pinned(&self, owner: &Owner) -> bool {
        self.state().pins.contains_key(owner)
    }

    /// Whether nothing is left to free, and nothing failed to be freed.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state();
        let is_idle = state.ready.is_empty() && !state.is_freeing;
        is_idle && state.pins.is_empty() && state.pending.is_empty() && !state.failed
    }

    /// Remembers that something was not freed that should have been.
    pub(crate) fn fail(&self) {
        self.state().failed = true;
    }

    /// Starts a write that is going to store blocks as `owner`.
    pub(crate) fn lease(&self, write: WriteId, owner: Owner) -> Arc<Lease> {
        self.state().pending.insert(owner);
        Arc::new(Lease {
            releaser: self.clone(),
            write,
            owner,
            stored: Mutex::default(),
        })
    }

    /// Owners of writes that are under way: they may have stored blocks, and their rows may not be committed.
    pub(crate) fn pending(&self) -> HashSet<Owner> {
        self.state().pending.clone()
    }

    /// Frees displaced blocks, some writes after others, until stopped and the queue is empty.
    pub(crate) async fn run(self, blocks: Blocks, stop: CancellationToken) {
        loop {
            let next = self.next();
            if !next.is_empty() {
                if let Err(error) = blocks.release(next).await {
                    warn!(%error, "blocks not freed; the next collection will");
                    self.fail();
                }
                continue;
            }
            if stop.is_cancelled() {
                return;
            }
            let added = self.0.added.notified();
            let _ = stop.run_until_cancelled(added).await;
        }
    }

    /// Takes out what is to be freed next; what was taken out before has been freed.
    fn next(&self) -> Vec<Displaced> {
        let mut state = self.state();
        let some = state.ready.len().min(RELEASED_AT_ONCE);
        state.is_freeing = some > 0;
        state.ready.drain(..some).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Blocks that are being read. Dropping it frees those that were displaced meanwhile.
pub(crate) struct Pins {
    releaser: Releaser,
    owners: Vec<Owner>,
}

impl Pins {
    /// Whether the blocks of all these owners are kept.
    pub(crate) fn hold(&self, owners: &[Owner]) -> bool {
        owners.iter().all(|owner| self.owners.contains(owner))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.owners.is_empty() {
            return;
        }
        let mut state = self.releaser.state();
        for owner in &self.owners {
            let Some(pin) = state.pins.get_mut(owner) else {
                continue;
            };
            pin.readers -= 1;
            if pin.readers == 0
                && let Some(pin) = state.pins.remove(owner)
            {
                state.ready.extend(pin.waiting);
            }
        }
        drop(state);
        self.releaser.0.added.notify_one();
    }
}

/// Blocks stored by a write that has not committed: freed when the last handle is dropped, unless kept.
pub(crate) struct Lease {
    releaser: Releaser,
    write: WriteId,
    owner: Owner,
    stored: Mutex<Stored>,
}

#[derive(Default)]
struct Stored {
    blocks: Vec<BlockId>,
    kept: bool,
}

impl Lease {
    /// The write this is.
    pub(crate) fn write(&self) -> WriteId {
        self.write
    }

    /// The name under which it refers to its blocks.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// Notes blocks that are stored, or are about to be: freeing one that is not there does nothing.
    pub(crate) fn note(&self, blocks: impl IntoIterator<Item = BlockId>) {
        self.stored().blocks.extend(blocks);
    }

    /// The row that refers to the blocks is committed, or may be: they stay.
    pub(crate) fn keep(&self) {
        self.stored().kept = true;
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let stored = std::mem::take(&mut *self.stored());
        let mut state = self.releaser.state();
        state.pending.remove(&self.owner);
        drop(state);
        if !stored.kept {
            self.releaser.displace([Displaced {
                owner: self.owner,
                blocks: stored.blocks,
            }]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_wait_for_their_last_reader() {
        let releaser = Releaser::default();
        let displaced = || Displaced {
            owner: [1; 16],
            blocks: vec![BlockId([2; 32])],
        };
        let (first, second) = (releaser.pin(vec![[1; 16]]), releaser.pin(vec![[1; 16]]));
        releaser.displace([displaced()]);
        drop(first);
        assert!(releaser.state().ready.is_empty() && releaser.is_pinned(&[1; 16]));
        drop(second);
        assert_eq!(releaser.state().ready.pop_front(), Some(displaced()));
        assert!(!releaser.is_pinned(&[1; 16]) && releaser.is_settled());
    }

    #[test]
    fn blocks_of_a_write_that_was_given_up_are_freed_and_kept_ones_stay() {
        let releaser = Releaser::default();
        let kept = releaser.lease(WriteId::after(0), [1; 16]);
        kept.note([BlockId([2; 32])]);
        kept.keep();
        let given_up = releaser.lease(WriteId::after(0), [3; 16]);
        given_up.note([BlockId([4; 32])]);
        assert_eq!(releaser.pending().len(), 2);
        drop((kept, given_up));
        assert!(releaser.pending().is_empty());
        let ready = std::mem::take(&mut releaser.state().ready);
        assert_eq!(ready.into_iter().map(|d| d.owner).collect::<Vec<_>>(), [[3; 16]]);
    }
}
