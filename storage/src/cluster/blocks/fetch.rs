//! Reads blocks: from this disk, else from the nearest member that has them, asking a second one when the first is slow.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::open::{Front, Opened, bound, fetch_here, front_of, missing, open_front, open_rest};
use super::wire::{Answer, Call};
use super::{BLOCK_PATIENCE, Blocks, MOVING_UNITS};
use crate::StoreError;
use crate::cluster::Owner;
use crate::disk::DiskError;
use crate::model::{BlockId, BlockRef, MemberId};
use crate::seal::BlockOpener;

/// How long whoever moves a block waits for others that do.
const MOVING_PATIENCE: Duration = Duration::from_secs(60);

/// The sealed bytes of a block, if somebody has them.
pub(super) enum Whole {
    /// They are what the block is named after.
    Here(Bytes),
    /// Everybody was asked, and nobody has it.
    Nowhere,
    /// Nobody who could be asked has it.
    Unreached,
}

/// Why a member gave no block.
enum Miss {
    /// It does not have it, or what it gave does not verify.
    Absent,
    /// It did not answer.
    Silent,
}

/// A member that may have a block.
#[derive(Clone, Copy)]
struct Candidate {
    member: MemberId,
    /// Whether it should have it.
    is_wanted: bool,
}

/// What asking for a block came to.
struct Asked<T> {
    found: Option<T>,
    /// Members that should have it and do not.
    lacking: Vec<MemberId>,
    /// Whether everybody who may have it said that it does not.
    all_absent: bool,
}

/// How many of the places for blocks that are moved one takes; half of them where its length is not known.
fn units_of(bytes: Option<u32>) -> u32 {
    const BYTES: u32 = 3 << 19;
    let most = u32::try_from(MOVING_UNITS / 2).unwrap_or(1);
    bytes.map_or(most, |bytes| bytes.div_ceil(BYTES).clamp(1, most))
}

impl Blocks {
    /// Reads and opens a range of a block's content, which `owner` refers to.
    ///
    /// # Errors
    /// `Damaged`: the block is missing everywhere, or does not verify. `Unavailable`: whoever may have it does not answer.
    /// The disk fails.
    pub(crate) async fn fetch(
        &self,
        owner: Owner,
        block: &BlockRef,
        range: Range<usize>,
        opener: Option<Arc<BlockOpener>>,
    ) -> Result<Opened, StoreError> {
        let (disk, here, wanted) = (self.disk().clone(), block.clone(), range.clone());
        let known = opener.clone();
        let read = move || fetch_here(&disk, &here, wanted, known);
        let failed = match self.disk().run(read).await? {
            Ok(opened) => return Ok(opened),
            Err(error) if !self.is_meshed() => return Err(error),
            Err(error) => error,
        };
        let fetching = |member| {
            let (blocks, block) = (self.clone(), block.clone());
            let (range, opener) = (range.clone(), opener.clone());
            async move { blocks.fetch_from(member, block, range, opener).await }.boxed()
        };
        let asked = self.ask_holders(block.id, fetching).await;
        let Some(opened) = asked.found else {
            debug!(block = ?block.id, error = %failed, "a block is not read");
            let is_closed = matches!(failed, StoreError::Disk(DiskError::Stopped { .. }));
            return Err(match asked.all_absent && !is_closed {
                true => missing(block.id),
                false => StoreError::Unavailable,
            });
        };
        let is_wanted_here = self.holders().wanted(&block.id).contains(&self.me());
        if is_wanted_here || !asked.lacking.is_empty() {
            self.repair(owner, block.id).await;
        }
        Ok(opened)
    }

    /// The sealed bytes of a block, proven, with one of the few places for blocks that are moved; `None` if there is none.
    pub(super) async fn whole(&self, id: BlockId) -> Option<(Whole, OwnedSemaphorePermit)> {
        let disk = self.disk().clone();
        let bytes = self.disk().run(move || disk.sealed_bytes(id.0)).await;
        let units = units_of(bytes.ok().and_then(Result::ok).flatten());
        let place = self.0.moving.clone().acquire_many_owned(units);
        let place = timeout(MOVING_PATIENCE, place).await.ok()?.ok()?;
        let disk = self.disk().clone();
        let read = move || disk.read_block(id.0, 0..u32::MAX);
        let read = self.disk().run(read).await.and_then(|read| read);
        // Then it may well be here, a moment later.
        let is_closed = matches!(read, Err(DiskError::Stopped { .. } | DiskError::Closed));
        if let Ok(sealed) = read
            && let Some(sealed) = self.proven(id, sealed.into()).await
        {
            return Some((Whole::Here(sealed), place));
        }
        let asking = |member| {
            let blocks = self.clone();
            async move {
                let sealed = blocks.fetch_range(member, id, 0..usize::MAX).await?;
                blocks.proven(id, sealed).await.ok_or(Miss::Absent)
            }
            .boxed()
        };
        let asked = self.ask_holders(id, asking).await;
        let whole = match (asked.found, asked.all_absent && !is_closed) {
            (Some(sealed), _) => Whole::Here(sealed),
            (None, true) => Whole::Nowhere,
            (None, false) => Whole::Unreached,
        };
        Some((whole, place))
    }

    /// Notes that a block is not where it should be, for whoever refers to it. Best effort: the next reader finds it too.
    async fn repair(&self, owner: Owner, id: BlockId) {
        if let Err(error) = self.seek(&[(owner, id)]).await {
            debug!(?id, %error, "a block that is missing somewhere is not noted");
        }
    }

    /// The bytes, if the block is named after them.
    async fn proven(&self, id: BlockId, sealed: Bytes) -> Option<Bytes> {
        let prove = move || (blake3::hash(&sealed) == id.0).then_some(sealed);
        self.disk().run(prove).await.ok()?
    }

    /// Asks those that may have a block: the nearest that should have it first, and a second one when that takes long; at
    /// the end those that should not.
    async fn ask_holders<T: Send + 'static>(
        &self,
        id: BlockId,
        ask: impl Fn(MemberId) -> BoxFuture<'static, Result<T, Miss>>,
    ) -> Asked<T> {
        let (mut candidates, mut asked) = self.candidates(id);
        let hedge = self.hedge().wait();
        let mut under_way = FuturesUnordered::new();
        let mut next_at = Instant::now();
        loop {
            let is_idle = under_way.is_empty();
            if (is_idle || Instant::now() >= next_at)
                && let Some(next) = candidates.pop_front_if(|next| is_idle || next.is_wanted)
            {
                let asking = ask(next.member);
                let began = Instant::now();
                under_way.push(async move { (next, began, asking.await) });
                next_at = began + hedge;
            }
            if under_way.is_empty() {
                return asked;
            }
            let may_hedge = candidates.front().is_some_and(|next| next.is_wanted);
            let answered = tokio::select! {
                biased;
                answered = under_way.next() => answered,
                () = sleep_until(next_at), if may_hedge => None,
            };
            match answered {
                None => {}
                Some((_, began, Ok(found))) => {
                    self.hedge().note(began.elapsed());
                    asked.found = Some(found);
                    return asked;
                }
                Some((next, _, Err(Miss::Absent))) if next.is_wanted => asked.lacking.push(next.member),
                Some((_, _, Err(Miss::Absent))) => {}
                Some((_, _, Err(Miss::Silent))) => asked.all_absent = false,
            }
        }
    }

    /// Whom to ask for a block, and whether that is everybody who may have it.
    fn candidates<T>(&self, id: BlockId) -> (VecDeque<Candidate>, Asked<T>) {
        let holders = self.holders();
        let (wanted, all) = (holders.wanted(&id), holders.others());
        let here = self.connected(&all);
        let all_absent = here.len() == all.len();
        let candidate = |member: &MemberId| Candidate {
            member: *member,
            is_wanted: wanted.contains(member),
        };
        let mut candidates: Vec<Candidate> = here.iter().map(candidate).collect();
        // Stable: among equals, the nearest stays first.
        candidates.sort_by_key(|candidate| !candidate.is_wanted);
        let asked = Asked {
            found: None,
            lacking: Vec::new(),
            all_absent,
        };
        (candidates.into(), asked)
    }

    /// Fetches and opens a range of content.
    async fn fetch_from(
        &self,
        member: MemberId,
        block: BlockRef,
        range: Range<usize>,
        opener: Option<Arc<BlockOpener>>,
    ) -> Result<Opened, Miss> {
        let opener = match opener {
            Some(opener) => opener,
            None => {
                let front = self
                    .fetch_range(member, block.id, front_of(&block, &range))
                    .await?;
                let (opening, wanted) = (block.clone(), range.clone());
                let open = move || open_front(&opening, wanted, front.into());
                match self.verified(member, block.id, open).await? {
                    Front::Opened(opened) => return Ok(opened),
                    Front::Elsewhere(opener) => opener,
                }
            }
        };
        let sealed = self
            .fetch_range(member, block.id, opener.sealed_range(&range))
            .await?;
        let open = move || open_rest(range, opener, sealed.into());
        self.verified(member, block.id, open).await
    }

    async fn verified<T: Send + 'static>(
        &self,
        member: MemberId,
        id: BlockId,
        open: impl FnOnce() -> Result<T, crate::seal::InvalidBlock> + Send + 'static,
    ) -> Result<T, Miss> {
        match self.disk().run(open).await {
            Ok(Ok(opened)) => Ok(opened),
            Ok(Err(error)) => {
                tracing::warn!(%member, block = ?id, %error, "a member gave something else than a block");
                Err(Miss::Absent)
            }
            Err(_) => Err(Miss::Silent),
        }
    }

    async fn fetch_range(&self, member: MemberId, id: BlockId, sealed: Range<usize>) -> Result<Bytes, Miss> {
        let range = bound(sealed.start)..bound(sealed.end);
        let call = Call::Fetch { id, range }.encode();
        let asked = self.ask(member, call, BLOCK_PATIENCE);
        match self.0.around.stop.run_until_cancelled(asked).await.flatten() {
            Some(Answer::Bytes(bytes)) => Ok(bytes),
            Some(Answer::Absent) => Err(Miss::Absent),
            _ => Err(Miss::Silent),
        }
    }
}
