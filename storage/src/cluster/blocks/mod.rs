//! Blocks by name: stores, shares, fetches and frees them, on this disk and on those of the members that should hold them.
//!
//! A box that is alone asks its disk, and nothing else here is at work. In a mesh the assignment says who is wanted to
//! hold a block; whoever takes it in sends it to all of them, and what is missing somewhere is brought there later.
//!
//! | file | its job |
//! |---|---|
//! | `wire` | what members say to each other, to the byte |
//! | `answer` | answers them from this disk |
//! | `holders` | who is wanted to hold a block, and who may |
//! | `place` | stores and shares blocks where they are wanted; `tally` counts the zones |
//! | `route` | by which way a block goes there; `relay` has it passed on, and passes on |
//! | `fetch` | reads blocks, from here or from the nearest that has them; `open` opens ranges, `hedge` says when to ask a second |
//! | `hand_on` | brings references where they are wanted, and drops them where they are not |
//! | `offered` | which blocks are about to come here, so that they come once |
//! | `noted` | the row of a reference that may be missing somewhere: since when, and who has it |
//! | `wanted` | the references that may be missing somewhere, and the worker that hands them on |
//! | `walk` | hands on everything here whenever the assignment has changed |
//! | `release` | the references to be removed everywhere, and the worker that has them removed |
//! | `shortage` | what is missing where, as far as it is noted here |
//! | `rates` | how fast blocks are brought to each member |
//! | `depart` | whether a member may go without anything being lost |
//! | `pace` | when such a worker tries again |
//!
//! # Promises
//! - A reference names who refers to a block. Each holder keeps a set of them, and frees a block with the last one; so
//!   calls may arrive late, twice and in any order. A reference that is removed for good never comes back: its owner
//!   stands for one write, which no row names any more.
//! - A copy that is not wanted is dropped only after everybody who is wanted to hold it said that it is durable there,
//!   and only if nobody was told meanwhile that it is durable here. So no circle of members drops it, whatever each
//!   believes of the assignment.
//! - What is left over when something goes wrong is a reference too many, never one too few.

mod answer;
mod depart;
mod fetch;
mod hand_on;
mod hedge;
mod holders;
mod noted;
mod offered;
mod open;
mod pace;
mod place;
mod rates;
mod relay;
mod release;
mod route;
mod shortage;
mod tally;
#[cfg(test)]
mod tests;
mod walk;
mod wanted;
mod wire;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use answer::Buried;
use bytes::Bytes;
pub(crate) use depart::Departure;
use hand_on::Handover;
use hedge::Hedge;
use holders::Holders;
use offered::Expected;
pub(crate) use open::Opened;
use rates::Rates;
use route::Answering;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use walk::Walking;
pub(crate) use wire::Pair;
use wire::{ABOUT_BLOCKS, Answer, Call};

use super::mesh::Mesh;
use super::peers::{Class, Peers};
use super::registers::Bell;
use super::releaser::{Displaced, Owner, Releaser};
use crate::StoreError;
use crate::disk::{Disk, DiskError};
use crate::model::{BlockId, MemberId, Zone};
use crate::seal::SealedBlock;
use crate::tasks::Tasks;

/// How long a member is given to make up to 8 MiB durable, and how long to send as many.
const BLOCK_PATIENCE: Duration = Duration::from_secs(60);
/// Blocks that are moved at a time: two of the longest, or so many short ones, of which each waits for a far home's answer. A
/// connection carries eight calls about blocks at a time, of which some are for clients.
const MOVING_UNITS: usize = 6;
/// Blocks that are passed on at a time: half of the calls that a connection carries, or what this member sends itself waits.
const RELAYING: usize = 4;
/// How long a member is given for anything small.
const PATIENCE: Duration = Duration::from_secs(10);

/// The blocks of this store. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Blocks(Arc<Shared>);

struct Shared {
    around: Around,
    hedge: Mutex<Hedge>,
    answering: Mutex<Answering>,
    expected: Mutex<Expected>,
    buried: Mutex<Buried>,
    handover: Handover,
    /// Places for blocks that are moved from one member to others: each takes up to 17 MiB, as it came and as it is sent on.
    moving: Arc<Semaphore>,
    /// Places for blocks that are passed on for others.
    relaying: Arc<Semaphore>,
    /// References whose block is still being sent by whoever took it in, or passed on by another.
    under_way: Mutex<BTreeSet<Pair>>,
    walking: Mutex<Walking>,
    rates: Mutex<Rates>,
    /// Rung when a reference may be missing somewhere.
    wanted: Bell,
    /// Rung when references are to be removed.
    to_release: Bell,
    /// This member goes: it takes in nothing more.
    departing: AtomicBool,
}

/// What blocks are stored with.
pub(crate) struct Around {
    pub(crate) me: MemberId,
    /// Where this member stands, by its own word.
    pub(crate) zone: Zone,
    pub(crate) disk: Disk,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) mesh: Arc<Mesh>,
    /// Whether there is anybody else.
    pub(crate) meshed: Arc<AtomicBool>,
    /// Rung when another member turns out to know a newer assignment.
    pub(crate) news: Bell,
    /// What still runs when a store closes: it is waited for.
    pub(crate) tasks: Tasks,
    pub(crate) releaser: Releaser,
    /// The store closes: nothing waits for other members any more, but for writes under way.
    pub(crate) stop: CancellationToken,
    /// As in [`crate::store::Inner::memory`].
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) memory_units: usize,
    /// Blocks that leave this home once, whatever homes are to hold them, are at least so long, sealed.
    pub(crate) relayed_min: usize,
}

impl Blocks {
    pub(crate) fn new(around: Around) -> Self {
        Self(Arc::new(Shared {
            around,
            hedge: Mutex::default(),
            answering: Mutex::default(),
            expected: Mutex::default(),
            buried: Mutex::default(),
            handover: Handover::default(),
            moving: Arc::new(Semaphore::new(MOVING_UNITS)),
            relaying: Arc::new(Semaphore::new(RELAYING)),
            under_way: Mutex::default(),
            walking: Mutex::default(),
            rates: Mutex::default(),
            wanted: Bell::default(),
            to_release: Bell::default(),
            departing: AtomicBool::new(false),
        }))
    }

    /// Stores a block with a reference of `owner`; both are durable when it returns, in two zones if so many can be
    /// reached.
    ///
    /// # Errors
    /// The disk fails or is full; nobody who should hold the block can be reached.
    ///
    /// # Cancellation
    /// The reference may be made although nobody waits for it.
    pub(crate) async fn store(&self, owner: Owner, block: SealedBlock) -> Result<(), StoreError> {
        let (id, sealed) = (block.block.id, block.sealed);
        match self.is_meshed() {
            false => Ok(self.disk().put_block(id.0, owner, sealed).await?),
            true => self.store_in_mesh((owner, id), sealed).await,
        }
    }

    /// Adds references of `owner`; `false` when a block is gone, and some may be added then.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub(crate) async fn share(&self, owner: Owner, ids: Vec<BlockId>) -> Result<bool, StoreError> {
        if self.is_meshed() {
            return self.share_in_mesh(owner, &ids).await;
        }
        match self.disk().add_references(owner, raw(&ids)).await {
            Ok(()) => Ok(true),
            Err(DiskError::NoSuchBlock) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes references for good, from this disk; in a mesh, sees to it that they are removed from all others too.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn release(&self, released: Vec<Displaced>) -> Result<(), StoreError> {
        if self.is_meshed() {
            return self.release_in_mesh(released).await;
        }
        let mut result = Ok(());
        for Displaced { owner, blocks } in released {
            if let Err(error) = self.disk().release(owner, raw(&blocks)).await {
                result = Err(error.into());
            }
        }
        result
    }

    /// Whether a call is about blocks.
    pub(crate) fn is_about_blocks(call: &[u8]) -> bool {
        call.first() == Some(&ABOUT_BLOCKS)
    }

    /// Who should hold a block.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn wanted_holders(&self, id: &BlockId) -> Vec<MemberId> {
        self.holders().wanted(id)
    }

    fn is_meshed(&self) -> bool {
        self.0.around.meshed.load(Ordering::Relaxed)
    }

    fn disk(&self) -> &Disk {
        &self.0.around.disk
    }

    fn me(&self) -> MemberId {
        self.0.around.me
    }

    /// Who is wanted to hold what, as it is known now.
    fn holders(&self) -> Holders {
        let Around { me, zone, mesh, .. } = &self.0.around;
        Holders::new(*me, zone.clone(), mesh.view())
    }

    /// Those of `members` that are connected, the nearest first.
    fn connected(&self, members: &[MemberId]) -> Vec<MemberId> {
        self.0.around.peers.nearest(members)
    }

    /// Asks another member; `None` where it does not answer.
    async fn ask(&self, to: MemberId, call: Bytes, patience: Duration) -> Option<Answer> {
        let asked = self.0.around.peers.call(to, Class::Block, call);
        let answer = timeout(patience, asked).await.ok()?.ok()?;
        Answer::decode(&answer).ok()
    }

    /// Asks another member something small.
    async fn ask_briefly(&self, to: MemberId, call: &Call) -> Option<Answer> {
        self.ask(to, call.encode(), PATIENCE).await
    }

    fn under_way(&self) -> MutexGuard<'_, BTreeSet<Pair>> {
        self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn walking(&self) -> MutexGuard<'_, Walking> {
        self.0.walking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rates(&self) -> MutexGuard<'_, Rates> {
        self.0.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answering(&self) -> MutexGuard<'_, Answering> {
        self.0.answering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.0.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buried(&self) -> MutexGuard<'_, Buried> {
        self.0.buried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hedge(&self) -> MutexGuard<'_, Hedge> {
        self.0.hedge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn raw(ids: &[BlockId]) -> Vec<[u8; 32]> {
    ids.iter().map(|id| id.0).collect()
}

/// References by who refers: disks change those of one owner at a time.
fn by_owner(pairs: impl IntoIterator<Item = Pair>) -> std::collections::BTreeMap<Owner, Vec<BlockId>> {
    let mut owners = std::collections::BTreeMap::<Owner, Vec<BlockId>>::new();
    for (owner, id) in pairs {
        owners.entry(owner).or_default().push(id);
    }
    owners
}
