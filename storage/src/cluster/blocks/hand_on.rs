//! Brings references to everybody who is wanted to hold them, and drops those of this disk that are not wanted here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::fetch::Whole;
use super::holders::Holders;
use super::wire::{self, Answer, Call, Held, PAIRS_MAX, Pair};
use super::{BLOCK_PATIENCE, Blocks, MOVING_UNITS, by_owner, raw};
use crate::StoreError;
use crate::model::{BlockId, MemberId};

/// Blocks that are supplied before it is asked anew who lacks the next; and of those that somebody else is to supply.
const BATCH: usize = 8;
const BATCH_OF_OTHERS: usize = 4;

/// What became of a reference that was to be handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// Everybody who is wanted to hold it has it durably.
    Everywhere,
    /// Nobody has the block any more: nothing can be handed on.
    Gone,
    /// Somebody could not be asked, or could not take it.
    Later,
}

/// What handing on came to.
#[derive(Default)]
pub(super) struct HandedOn {
    /// What became of each reference.
    pub(super) each: BTreeMap<Pair, Handed>,
    /// Who has them durably, as far as they said so.
    pub(super) have: BTreeMap<Pair, BTreeSet<MemberId>>,
}

impl HandedOn {
    fn has(&mut self, member: MemberId, pair: Pair) {
        self.have.entry(pair).or_default().insert(member);
    }

    /// Takes what some were asked again. Who was not asked again may still lack what these have by now.
    fn take(&mut self, again: Self) {
        let later = again.each.into_iter();
        self.each
            .extend(later.filter(|(_, handed)| *handed == Handed::Later));
        for (pair, have) in again.have {
            self.have.entry(pair).or_default().extend(have);
        }
    }

    /// Whether some is left to be handed on later.
    pub(super) fn is_left(&self) -> bool {
        self.each.values().any(|handed| *handed == Handed::Later)
    }
}

/// Why members are asked who lacks what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To see what is to be done.
    Share,
    /// To send at once what they lack.
    Offer,
}

/// What asking members to take references came to.
#[derive(Default)]
struct Found {
    /// Who is to be sent which block.
    lacking: BTreeMap<Pair, Vec<MemberId>>,
    /// Who is being sent which block by somebody else.
    coming: BTreeMap<Pair, Vec<MemberId>>,
    handed: HandedOn,
}

/// The answer for each of so many that were asked about, and by which assignment.
fn each_of(answer: Answer, asked: usize) -> Option<(u64, Vec<Held>)> {
    match answer {
        Answer::Each { version, each } if each.len() == asked => Some((version, each)),
        _ => None,
    }
}

/// Takes out some references: which member is to be asked about which.
fn taken(lacking: &mut BTreeMap<Pair, Vec<MemberId>>, pairs: &[Pair]) -> BTreeMap<MemberId, Vec<Pair>> {
    let mut asked: BTreeMap<MemberId, Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        for member in lacking.remove(pair).unwrap_or_default() {
            asked.entry(member).or_default().push(*pair);
        }
    }
    asked
}

/// Who of those that have a block is to supply it first: another one for each block.
fn supplier(id: &BlockId, have: &BTreeSet<MemberId>) -> Option<MemberId> {
    let count = u64::try_from(have.len()).ok().filter(|count| *count > 0)?;
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    let place = u64::from_le_bytes([a, b, c, d, e, f, g, h]) % count;
    have.iter().nth(usize::try_from(place).ok()?).copied()
}

/// Which references this disk is about to drop, and who has been told that they are here.
///
/// Whoever drops asks first whether all others have theirs. Two that ask each other at the same time must not both drop:
/// a reference that somebody was told of since this disk began to ask is not dropped.
#[derive(Default)]
pub(super) struct Handover {
    /// Held shared while others are told of references, alone while some are dropped.
    gate: RwLock<()>,
    asking: Mutex<Asking>,
}

#[derive(Default)]
struct Asking {
    ticket: u64,
    pairs: BTreeMap<Pair, u64>,
}

impl Handover {
    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others are about to be told that these are here; none is dropped while the guard lives.
    pub(super) async fn tell(&self, pairs: impl IntoIterator<Item = Pair>) -> RwLockReadGuard<'_, ()> {
        let told = self.gate.read().await;
        let mut asking = self.asking();
        if !asking.pairs.is_empty() {
            for pair in pairs {
                asking.pairs.remove(&pair);
            }
        }
        told
    }

    /// Waits until nobody is being told of anything; nobody is, while the guard lives.
    pub(super) async fn closed(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().await
    }

    /// Begins to ask whether these may be dropped.
    fn begin(&self, pairs: &[Pair]) -> u64 {
        let mut asking = self.asking();
        asking.ticket += 1;
        let ticket = asking.ticket;
        asking.pairs.extend(pairs.iter().map(|pair| (*pair, ticket)));
        ticket
    }

    /// Ends asking; gives those of `pairs` that nobody was told of since.
    fn end(&self, ticket: u64, pairs: &[Pair]) -> Vec<Pair> {
        let mut asking = self.asking();
        let kept = pairs
            .iter()
            .filter(|pair| asking.pairs.get(pair) == Some(&ticket))
            .copied()
            .collect();
        asking.pairs.retain(|_, held| *held != ticket);
        kept
    }
}

impl Blocks {
    /// Hands on references that may be missing where they are wanted.
    pub(super) async fn hand_on(&self, pairs: &[Pair]) -> HandedOn {
        let holders = self.holders();
        let me = self.me();
        let unwanted = |pair: &&Pair| !holders.wanted(&pair.1).contains(&me);
        let to_drop: Vec<Pair> = pairs.iter().filter(unwanted).copied().collect();
        let ticket = self.0.handover.begin(&to_drop);
        let mut asked: BTreeMap<MemberId, Vec<Pair>> = BTreeMap::new();
        for pair in pairs {
            for member in holders.wanted(&pair.1) {
                asked.entry(member).or_default().push(*pair);
            }
        }
        let found = self.who_lacks(&holders, asked, Purpose::Share).await;
        let (mut lacking, mut handed) = (found.lacking, found.handed);
        let (mine, mut others) = self.shared_out(&lacking, &handed);
        // From the other end: whoever is to supply these begins at this one.
        others.reverse();
        let mut coming = BTreeMap::new();
        for batch in mine.chunks(BATCH).chain(others.chunks(BATCH_OF_OTHERS)) {
            // Only those that lacked them are asked: who is silent is waited for once.
            let asked = taken(&mut lacking, batch);
            let mut offered = self.who_lacks(&holders, asked, Purpose::Offer).await;
            handed.take(offered.handed);
            coming.append(&mut offered.coming);
            self.supply_all(offered.lacking.into_iter().collect(), &mut handed)
                .await;
        }
        if !coming.is_empty() {
            let pairs: Vec<Pair> = coming.keys().copied().collect();
            let came = self
                .who_lacks(&holders, taken(&mut coming, &pairs), Purpose::Share)
                .await;
            handed.take(came.handed);
            for pair in came.lacking.into_keys().chain(came.coming.into_keys()) {
                handed.each.insert(pair, Handed::Later);
            }
        }
        if let Err(error) = self.drop_unwanted(&holders, ticket, &to_drop, &handed.each).await {
            debug!(%error, "blocks that are held elsewhere were not dropped");
        }
        if self.holders().version() != holders.version() {
            // Something else is wanted by now, perhaps of these very references.
            handed
                .each
                .values_mut()
                .for_each(|handed| *handed = Handed::Later);
        }
        self.note_stand_ins(&to_drop, &mut handed).await;
        handed
    }

    /// Which of the lacking blocks this member supplies first, and which only if those do not who are to: or all that have
    /// them would send the same at once to somebody who lacks everything.
    fn shared_out(
        &self,
        lacking: &BTreeMap<Pair, Vec<MemberId>>,
        handed: &HandedOn,
    ) -> (Vec<Pair>, Vec<Pair>) {
        let is_mine = |pair: &Pair| {
            let have = handed.have.get(pair);
            have.and_then(|have| supplier(&pair.1, have))
                .is_none_or(|first| first == self.me())
        };
        lacking.keys().copied().partition(is_mine)
    }

    /// Sends blocks to those that lack them, and notes what came of it.
    async fn supply_all(&self, lacking: Vec<(Pair, Vec<MemberId>)>, handed: &mut HandedOn) {
        let supplied: Vec<(Pair, Handed, Vec<MemberId>)> = stream::iter(lacking)
            .map(|(pair, members)| async move {
                let (outcome, taken) = self.supply(pair, members).await;
                (pair, outcome, taken)
            })
            .buffer_unordered(MOVING_UNITS)
            .collect()
            .await;
        for (pair, outcome, taken) in supplied {
            taken.into_iter().for_each(|member| handed.has(member, pair));
            let is_first = handed.each.get(&pair) == Some(&Handed::Everywhere);
            if is_first || outcome == Handed::Gone {
                handed.each.insert(pair, outcome);
            }
        }
    }

    /// Counts this member among those that have what it is not wanted to hold, and keeps until others have it.
    async fn note_stand_ins(&self, unwanted: &[Pair], handed: &mut HandedOn) {
        let is_left = |pair: &&Pair| handed.each.get(pair) == Some(&Handed::Later);
        let left: Vec<Pair> = unwanted.iter().filter(is_left).copied().collect();
        if left.is_empty() {
            return;
        }
        let disk = self.disk().clone();
        let look = move || {
            let is_here = |pair: &Pair| disk.holds_block(pair.1.0).unwrap_or(false);
            left.into_iter().filter(is_here).collect::<Vec<Pair>>()
        };
        for pair in self.disk().run(look).await.unwrap_or_default() {
            handed.has(self.me(), pair);
        }
    }

    /// Asks members to take references that they are wanted to hold; gives who lacks which block, and what is known so far.
    async fn who_lacks(
        &self,
        holders: &Holders,
        asked: BTreeMap<MemberId, Vec<Pair>>,
        purpose: Purpose,
    ) -> Found {
        let pairs = asked.values().flatten();
        let mut handed = HandedOn {
            each: pairs.map(|pair| (*pair, Handed::Everywhere)).collect(),
            have: BTreeMap::new(),
        };
        let others: Vec<MemberId> = asked
            .keys()
            .copied()
            .filter(|member| *member != self.me())
            .collect();
        let mut here: BTreeSet<MemberId> = self.connected(&others).into_iter().collect();
        here.insert(self.me());
        let asking = asked.into_iter().map(|(member, pairs)| {
            let is_here = here.contains(&member);
            async move {
                let mut answers = Vec::new();
                for pairs in pairs.chunks(PAIRS_MAX) {
                    let each = match is_here {
                        true if purpose == Purpose::Offer => {
                            self.offer_at(member, holders.version(), pairs).await
                        }
                        true => self.share_at(member, holders.version(), pairs).await,
                        false => None,
                    };
                    answers.push((pairs.to_vec(), each));
                }
                (member, answers)
            }
        });
        let (mut lacking, mut coming) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let mut released = Vec::new();
        for (member, answers) in join_all(asking).await {
            for (pairs, each) in answers {
                let Some((version, each)) = each else {
                    handed
                        .each
                        .extend(pairs.into_iter().map(|pair| (pair, Handed::Later)));
                    continue;
                };
                if version > holders.version() {
                    // What is wanted has changed: nothing is settled by this.
                    self.0.around.news.ring();
                    handed
                        .each
                        .extend(pairs.iter().map(|pair| (*pair, Handed::Later)));
                }
                for (pair, held) in pairs.into_iter().zip(each) {
                    match held {
                        Held::Yes => handed.has(member, pair),
                        Held::No => lacking.entry(pair).or_default().push(member),
                        Held::Coming => coming.entry(pair).or_default().push(member),
                        Held::Released => released.push(pair),
                    }
                }
            }
        }
        for pair in &released {
            lacking.remove(pair);
            coming.remove(pair);
        }
        if let Err(error) = self.release_here(&released).await {
            debug!(%error, "references that were removed elsewhere are still here");
        }
        Found {
            lacking,
            coming,
            handed,
        }
    }

    /// Has a member add references to what it holds; its version of the assignment, and what is true of each.
    pub(super) async fn share_at(
        &self,
        member: MemberId,
        version: u64,
        pairs: &[Pair],
    ) -> Option<(u64, Vec<Held>)> {
        let answer = match member == self.me() {
            true => self.share_here(version, pairs).await.ok()?,
            false => {
                let pairs = pairs.to_vec();
                self.ask_briefly(member, &Call::Share { version, pairs }).await?
            }
        };
        each_of(answer, pairs.len())
    }

    /// As [`Self::share_at`], of blocks that are sent there at once where they are missing.
    async fn offer_at(&self, member: MemberId, version: u64, pairs: &[Pair]) -> Option<(u64, Vec<Held>)> {
        let answer = match member == self.me() {
            true => self.offered_here(version, pairs).await.ok()?,
            false => {
                let pairs = pairs.to_vec();
                self.ask_briefly(member, &Call::Offer { version, pairs }).await?
            }
        };
        each_of(answer, pairs.len())
    }

    /// Sends a block to members that lack it; says who took it.
    async fn supply(&self, pair: Pair, members: Vec<MemberId>) -> (Handed, Vec<MemberId>) {
        let Some((whole, _room)) = self.whole(pair.1).await else {
            return (Handed::Later, Vec::new());
        };
        let sealed = match whole {
            Whole::Here(sealed) => sealed,
            Whole::Unreached => return (Handed::Later, Vec::new()),
            Whole::Nowhere => {
                // Mostly what referred to it is gone, and so it should be; a reader of what still does hears of the loss.
                warn!(block = ?pair.1, "nobody has this block any more: it was removed meanwhile, or is lost");
                return (Handed::Gone, Vec::new());
            }
        };
        let version = self.holders().version();
        let call = wire::put(version, pair, &sealed);
        let lacking = members.len();
        let sending = members.into_iter().map(|member| {
            let (call, sealed) = (call.clone(), sealed.clone());
            async move {
                let answer = match member == self.me() {
                    true => self.put_here(version, pair, sealed).await.ok(),
                    false => self.ask(member, call, BLOCK_PATIENCE).await,
                };
                matches!(answer, Some(Answer::Done | Answer::Released)).then_some(member)
            }
        });
        let taken: Vec<MemberId> = join_all(sending).await.into_iter().flatten().collect();
        for member in &taken {
            self.rates().note(*member, sealed.len() as u64, Instant::now());
        }
        match taken.len() == lacking {
            true => (Handed::Everywhere, taken),
            false => (Handed::Later, taken),
        }
    }

    /// Drops what is not wanted here, as far as everybody who is wanted to hold it does.
    async fn drop_unwanted(
        &self,
        holders: &Holders,
        ticket: u64,
        to_drop: &[Pair],
        handed: &BTreeMap<Pair, Handed>,
    ) -> Result<(), StoreError> {
        let _alone = self.0.handover.closed().await;
        let untold = self.0.handover.end(ticket, to_drop);
        if self.holders().version() != holders.version() {
            return Ok(());
        }
        let is_elsewhere = |pair: &Pair| handed.get(pair) == Some(&Handed::Everywhere);
        for (owner, ids) in by_owner(untold.into_iter().filter(is_elsewhere)) {
            self.disk().release(owner, raw(&ids)).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Pair = ([1; 16], BlockId([1; 32]));
    const B: Pair = ([2; 16], BlockId([2; 32]));

    #[tokio::test]
    async fn what_somebody_was_told_of_is_not_dropped() {
        let handover = Handover::default();
        let ticket = handover.begin(&[A, B]);
        drop(handover.tell([A]).await);
        assert_eq!(handover.end(ticket, &[A, B]), [B]);
    }

    #[test]
    fn of_two_that_have_all_blocks_each_supplies_about_half() {
        let have: BTreeSet<MemberId> = [3, 9].map(MemberId).into();
        let ids = (0..1000_u32).map(|number| BlockId(blake3::hash(&number.to_le_bytes()).into()));
        let of_first = ids.filter(|id| supplier(id, &have) == Some(MemberId(3))).count();
        assert!((400..600).contains(&of_first), "{of_first}");
        assert_eq!(supplier(&A.1, &BTreeSet::new()), None);
    }

    #[tokio::test]
    async fn whoever_asks_later_does_not_make_good_what_was_told_before() {
        let handover = Handover::default();
        let first = handover.begin(&[A]);
        drop(handover.tell([A]).await);
        let second = handover.begin(&[A]);
        assert_eq!(handover.end(first, &[A]), []);
        assert_eq!(handover.end(second, &[A]), [A]);
    }
}
