//! Stores and shares blocks where they are wanted: sent everywhere at once, or passed on by one that has them, and
//! acknowledged as soon as two zones have them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::fetch::Whole;
use super::holders::Holders;
use super::noted::Noted;
use super::tally::{Kept, Tally, Verdict};
use super::wire::{Answer, Call, Held, PAIRS_MAX, Pair};
use super::{Around, BLOCK_PATIENCE, Blocks};
use crate::StoreError;
use crate::cluster::Owner;
use crate::model::{BlockId, MemberId};
use crate::store::MEMORY_UNIT;

/// References whose block is on its way somewhere, of which nobody else sees to; more are noted at once for whoever hands on.
const UNDER_WAY_MAX: usize = 1024;

/// Blocks that are sent under way, each with the member it goes to.
type Sends = FuturesUnordered<BoxFuture<'static, (MemberId, Kept)>>;

/// What an acknowledged block still goes to.
struct Rest {
    sends: Sends,
    /// Those it is to be passed on to, and how long sending it to whoever passes it on took.
    passed: Vec<MemberId>,
    took: Duration,
}

/// Where a reference was shared.
#[derive(Default)]
struct Shared {
    tally: Tally,
    have: BTreeSet<MemberId>,
}

impl Blocks {
    /// Sends a block to everybody who is wanted to hold it, or has it passed on to some.
    ///
    /// # Errors
    /// `DiskFull`: a zone that could be reached has no room. `Unavailable`: nobody has it. The disk fails.
    pub(super) async fn store_in_mesh(&self, pair: Pair, sealed: Bytes) -> Result<(), StoreError> {
        let holders = self.holders();
        let route = self.route(&holders, &pair.1, sealed.len());
        let call = route.call(holders.version(), pair, &sealed);
        let (bytes, mut have) = (sealed.len(), BTreeSet::new());
        drop(sealed);
        let send = |member: MemberId| self.clone().send(member, call.clone()).boxed();
        let mut sends: Sends = route.direct.iter().copied().map(send).collect();
        let (began, mut passed) = (Instant::now(), route.passed);
        // Until then those are waited for that it was sent to.
        let until = route.via.map(|via| began + self.answering().wait(via));
        let mut silent: BTreeSet<MemberId> = match route.via {
            Some(_) => route
                .direct
                .into_iter()
                .filter(|member| *member != self.me())
                .collect(),
            None => BTreeSet::new(),
        };
        let mut tally = Tally::default();
        while !tally.is_enough() {
            let sent = next_until(&mut sends, until.filter(|_| !passed.is_empty())).await;
            if let Some((member, kept)) = sent {
                have.extend((kept == Kept::Yes).then_some(member));
                tally.note(holders.zone(member), kept);
                if silent.remove(&member) {
                    self.answering().note(member, kept == Kept::Yes, began.elapsed());
                }
            } else if passed.is_empty() {
                break;
            }
            let is_refused = tally.has_failures() && !tally.is_enough();
            if !passed.is_empty() && (is_refused || sent.is_none()) {
                // Somebody is slow or has not taken it, perhaps who was to pass it on: nobody waits for that.
                for member in std::mem::take(&mut silent) {
                    self.answering().note(member, false, began.elapsed());
                }
                sends.extend(std::mem::take(&mut passed).into_iter().map(send));
            }
        }
        let here = holders.zone(self.me());
        if tally.wants_stand_in(&here) {
            let (_, kept) = self.clone().send(self.me(), call.clone()).await;
            have.extend((kept == Kept::Yes).then_some(self.me()));
            tally.note(here, kept);
        }
        match tally.verdict() {
            Verdict::Enough => {}
            Verdict::Full => return Err(StoreError::DiskFull),
            Verdict::Nowhere => return Err(StoreError::Unavailable),
        }
        let is_complete = !tally.has_failures() && self.holders().version() == holders.version();
        let rest = Rest {
            sends,
            passed,
            took: began.elapsed(),
        };
        if is_complete && rest.sends.is_empty() && rest.passed.is_empty() {
            return Ok(());
        }
        let version = is_complete.then(|| holders.version());
        self.leave_the_rest(Noted::now(pair, bytes, have), version, rest)
            .await
    }

    /// Has what is missing brought later. Where nothing but time is missing to what an assignment wants, the block goes on
    /// being sent if there is memory for it, and being passed on.
    async fn leave_the_rest(
        &self,
        noted: Noted,
        complete_by: Option<u64>,
        rest: Rest,
    ) -> Result<(), StoreError> {
        let pair = noted.pair;
        let bytes = usize::try_from(noted.bytes).unwrap_or(usize::MAX);
        // What others pass on takes no memory here.
        let room = (!rest.sends.is_empty()).then(|| self.room_now(bytes));
        let has_room = room.as_ref().is_none_or(Option::is_some);
        let going_on = complete_by.filter(|_| has_room && self.under_way().len() < UNDER_WAY_MAX);
        let Some(version) = going_on else {
            return self.want(vec![noted]).await;
        };
        self.under_way().insert(pair);
        if let Err(error) = self.note_wanted(&[noted]).await {
            self.under_way().remove(&pair);
            return Err(error);
        }
        let finishing = self.clone().finish(pair, version, rest, room.flatten());
        self.0.around.tasks.spawn(finishing);
        Ok(())
    }

    async fn finish(self, pair: Pair, version: u64, rest: Rest, room: Option<OwnedSemaphorePermit>) {
        let Rest {
            mut sends,
            passed,
            took,
        } = rest;
        let stop = &self.0.around.stop;
        let mut complete = true;
        while !sends.is_empty() {
            let sent = stop.run_until_cancelled(sends.next()).await.flatten();
            complete &= matches!(sent, Some((_, Kept::Yes)));
            if sent.is_none() {
                break;
            }
        }
        drop((sends, room));
        complete &= self.is_passed_on(pair, passed, took).await;
        complete &= self.holders().version() == version;
        if complete && let Err(error) = self.forget(&[pair]).await {
            warn!(%error, "a reference that is everywhere is not forgotten yet");
        }
        self.under_way().remove(&pair);
        if !complete {
            self.0.wanted.ring();
        }
    }

    /// Memory for so many bytes, if that leaves half of it to new writes.
    pub(super) fn room_now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let Around {
            memory, memory_units, ..
        } = &self.0.around;
        let units = bytes.div_ceil(MEMORY_UNIT);
        if memory.available_permits() < memory_units / 2 + units {
            return None;
        }
        memory
            .clone()
            .try_acquire_many_owned(u32::try_from(units).ok()?)
            .ok()
    }

    /// Sends the call that stores a block to a member, which may be this one.
    async fn send(self, member: MemberId, call: Bytes) -> (MemberId, Kept) {
        let answer = match member == self.me() {
            true => self.send_here(&call).await,
            false => self.ask(member, call, BLOCK_PATIENCE).await,
        };
        let kept = match answer {
            Some(Answer::Done) => Kept::Yes,
            Some(Answer::Full) => Kept::Full,
            _ => Kept::Unknown,
        };
        (member, kept)
    }

    async fn send_here(&self, call: &Bytes) -> Option<Answer> {
        let (version, pair, sealed) = match Call::decode(call) {
            Ok(
                Call::Put {
                    version,
                    pair,
                    sealed,
                }
                | Call::Relay {
                    version,
                    pair,
                    sealed,
                    ..
                },
            ) => (version, pair, sealed),
            _ => return None,
        };
        match self.put_here(version, pair, sealed).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                warn!(%error, "a block is not stored on this disk");
                None
            }
        }
    }

    /// Adds references of `owner` wherever the blocks are wanted; false when nobody has one of them any more.
    ///
    /// # Errors
    /// As [`Self::store_in_mesh`].
    pub(super) async fn share_in_mesh(&self, owner: Owner, ids: &[BlockId]) -> Result<bool, StoreError> {
        let holders = self.holders();
        let mut pairs: Vec<Pair> = ids.iter().map(|id| (owner, *id)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let shared = self.share_everywhere(&holders, &pairs).await;
        let (mut wanted, mut everywhere) = (Vec::new(), Vec::new());
        for (pair, Shared { tally, have }) in shared {
            if tally.is_enough() || !tally.has_failures() {
                match tally.has_failures() {
                    true => wanted.push(Noted::now(pair, 0, have)),
                    false => everywhere.push(Noted::now(pair, 0, have)),
                }
                continue;
            }
            let Some((whole, _room)) = self.whole(pair.1).await else {
                return Err(StoreError::Busy);
            };
            match whole {
                Whole::Here(sealed) => self.store_in_mesh(pair, sealed).await?,
                Whole::Nowhere => return Ok(false),
                Whole::Unreached => return Err(StoreError::Unavailable),
            }
        }
        if self.holders().version() != holders.version() {
            // Somebody else is wanted by now. What was stored anew is noted by whoever stored it.
            wanted.append(&mut everywhere);
        }
        self.want(wanted).await?;
        Ok(true)
    }

    /// Asks everybody who is wanted to hold these to add the references, and counts where they are.
    async fn share_everywhere(&self, holders: &Holders, pairs: &[Pair]) -> BTreeMap<Pair, Shared> {
        let mut asked: BTreeMap<MemberId, Vec<Pair>> = BTreeMap::new();
        for pair in pairs {
            for member in holders.wanted(&pair.1) {
                asked.entry(member).or_default().push(*pair);
            }
        }
        let asking = asked.into_iter().map(|(member, pairs)| async move {
            let mut answers = Vec::new();
            for pairs in pairs.chunks(PAIRS_MAX) {
                let each = self.share_at(member, holders.version(), pairs).await;
                let each = each.map_or_else(|| vec![Held::No; pairs.len()], |(_, each)| each);
                answers.extend(pairs.iter().copied().zip(each));
            }
            (member, answers)
        });
        let mut shared: BTreeMap<Pair, Shared> = BTreeMap::new();
        for (member, answers) in join_all(asking).await {
            for (pair, held) in answers {
                let of = shared.entry(pair).or_default();
                let kept = match held {
                    Held::Yes => Kept::Yes,
                    Held::No | Held::Coming | Held::Released => Kept::Unknown,
                };
                of.have.extend((kept == Kept::Yes).then_some(member));
                of.tally.note(holders.zone(member), kept);
            }
        }
        shared
    }
}

/// The next that was sent; `None` when all were, or at that time.
async fn next_until(sends: &mut Sends, until: Option<Instant>) -> Option<(MemberId, Kept)> {
    match until {
        Some(until) => timeout_at(until, sends.next()).await.ok().flatten(),
        None => sends.next().await,
    }
}
