//! One sweep of this member's disk: closes partitions to what is old, asks everybody what their rows name, frees the rest.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::answer::tell;
use super::wire::{self, Call, Told};
use crate::StoreError;
use crate::cluster::peers::Class;
use crate::cluster::{Displaced, Owner};
use crate::disk::HeldReference;
use crate::model::{BlockId, MemberId, Partition};
use crate::register::{Ballot, Fences};
use crate::store::Inner;

/// Partitions whose fences are raised at a time.
const RAISED_AT_ONCE: usize = 32;
/// References looked at before other work gets the thread.
const PAGE: usize = 1000;
/// Owners remembered at once, as 8 bytes each; where there are more, some partitions wait for another pass.
const OWNERS_MAX: usize = 4 << 20;
/// How long a member is given for a page of its rows.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// What a sweep did.
pub(super) struct Swept {
    /// References freed, which takes a moment.
    pub(super) released: u64,
    /// References that were to be freed before, and are still here: somebody reads them.
    pub(super) waiting: u64,
    /// Partitions left for later.
    pub(super) left: usize,
    /// References that were here when it began.
    pub(super) held: u64,
}

/// What rows name, of partitions of which everything is known.
#[derive(Default)]
struct Named {
    partitions: BTreeSet<Partition>,
    owners: HashSet<u64>,
}

/// What asking came to.
enum Asked {
    /// What the rows name.
    Named(Named),
    /// More than may be remembered at once.
    TooMuch,
}

/// Frees references of writes that knew of fewer than `fence` sweeps and that no row names.
///
/// # Errors
/// The disk fails, or a row of it does not read.
pub(super) async fn run(inner: &Arc<Inner>, fence: u32) -> Result<Swept, StoreError> {
    let (old, held) = old_partitions(inner, fence).await?;
    let mut waiting = vec![old];
    let mut swept = Swept {
        released: 0,
        waiting: 0,
        left: 0,
        held,
    };
    while let Some(mut wanted) = waiting.pop() {
        let ballots = close(inner, &wanted, fence).await;
        match ask_everybody(inner, ballots).await? {
            Asked::Named(named) => {
                swept.left += wanted.len() - named.partitions.len();
                release(inner, fence, &named, &mut swept).await?;
            }
            Asked::TooMuch => {
                let half = wanted.len() / 2;
                waiting.push(wanted.split_off(half));
                waiting.push(wanted);
            }
        }
    }
    Ok(swept)
}

/// The partitions of keys whose writes left references here that are old enough, and how many references are here at all.
async fn old_partitions(inner: &Arc<Inner>, fence: u32) -> Result<(Vec<Partition>, u64), StoreError> {
    let mut held = 0;
    let mut partitions = BTreeSet::new();
    let mut after = None;
    loop {
        let page = page_of_references(inner, after).await?;
        let Some(last) = page.last() else {
            return Ok((partitions.into_iter().collect(), held));
        };
        held += page.len() as u64;
        after = Some((last.id, last.owner));
        let old = page.iter().filter(|held| sweeps_of(&held.owner) < fence);
        partitions.extend(old.map(|held| partition_of(&held.owner)));
    }
}

/// Raises the fences; gives the ballots under which that was done, where it was.
async fn close(inner: &Arc<Inner>, wanted: &[Partition], fence: u32) -> BTreeMap<Partition, Ballot> {
    let registers = inner.partitions.registers();
    let fences = Fences {
        sweeps: u64::from(fence),
        ..Fences::default()
    };
    stream::iter(wanted.to_vec())
        .map(|partition| async move {
            let raised = registers.raise(u16::from(partition.0), fences).await;
            raised.ok().map(|ballot| (partition, ballot))
        })
        .buffer_unordered(RAISED_AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

/// Partitions, and how often rows of them have changed at one member.
type Seen = BTreeMap<Partition, u64>;

/// Asks all who vote in these partitions which owners their rows name. Only partitions count of which all told what they
/// had at one moment: where nothing changed from the first page of the first to the last of the last.
async fn ask_everybody(
    inner: &Arc<Inner>,
    ballots: BTreeMap<Partition, Ballot>,
) -> Result<Asked, StoreError> {
    let registers = inner.partitions.registers();
    let mut named = Named::default();
    let mut asked: BTreeMap<MemberId, Vec<(Partition, Ballot)>> = BTreeMap::new();
    for (partition, ballot) in ballots {
        let voters = registers.steady_voters(u16::from(partition.0), ballot.epoch);
        for member in voters.into_iter().flatten() {
            named.partitions.insert(partition);
            asked.entry(member).or_default().push((partition, ballot));
        }
    }
    let mut before: BTreeMap<MemberId, Seen> = BTreeMap::new();
    for (member, ballots) in &asked {
        before.insert(*member, seen_now(inner, *member, ballots).await?);
    }
    for (member, ballots) in &asked {
        let seen = ask_for_all(inner, *member, ballots, &mut named.owners).await?;
        if named.owners.len() > OWNERS_MAX && named.partitions.len() > 1 {
            return Ok(Asked::TooMuch);
        }
        named.keep_unchanged(ballots, before.get(member), &seen);
    }
    for (member, ballots) in &asked {
        let seen = seen_now(inner, *member, ballots).await?;
        named.keep_unchanged(ballots, before.get(member), &seen);
    }
    Ok(Asked::Named(named))
}

impl Named {
    /// Leaves out partitions of which a member told something else than before.
    fn keep_unchanged(&mut self, asked: &[(Partition, Ballot)], before: Option<&Seen>, now: &Seen) {
        for (partition, _) in asked {
            let before = before.and_then(|before| before.get(partition));
            if before.is_none() || before != now.get(partition) {
                self.partitions.remove(partition);
            }
        }
    }
}

/// How often rows have changed at a member, of those partitions that are closed there; of none where it does not say.
async fn seen_now(
    inner: &Arc<Inner>,
    member: MemberId,
    ballots: &[(Partition, Ballot)],
) -> Result<Seen, StoreError> {
    let call = Call {
        ballots: ballots.to_vec(),
        // Behind every row.
        after: Some(Bytes::from_static(&[u8::MAX])),
    };
    let told = ask(inner, member, call).await?;
    Ok(told.map_or_else(Seen::new, |told| told.closed.into_iter().collect()))
}

/// All owners that the rows of a member name; and how often rows have changed there, where that was the same at each page.
async fn ask_for_all(
    inner: &Arc<Inner>,
    member: MemberId,
    ballots: &[(Partition, Ballot)],
    owners: &mut HashSet<u64>,
) -> Result<Seen, StoreError> {
    let mut seen: Option<Seen> = None;
    let mut after = None;
    loop {
        let call = Call {
            ballots: ballots.to_vec(),
            after: after.clone(),
        };
        let Some(told) = ask(inner, member, call).await? else {
            return Ok(Seen::new());
        };
        let closed: Seen = told.closed.into_iter().collect();
        let seen = seen.get_or_insert_with(|| closed.clone());
        seen.retain(|partition, changes| closed.get(partition) == Some(changes));
        let (halves, _) = told.owners.as_chunks();
        owners.extend(halves.iter().map(|half| u64::from_le_bytes(*half)));
        if owners.len() > OWNERS_MAX && ballots.len() > 1 || told.next.is_none() {
            return Ok(std::mem::take(seen));
        }
        if told.next == after {
            return Ok(Seen::new());
        }
        after = told.next;
    }
}

/// A page of what the rows of a member name; `None` where it does not say.
async fn ask(inner: &Arc<Inner>, member: MemberId, call: Call) -> Result<Option<Told>, StoreError> {
    if member == inner.me {
        let asked = inner.clone();
        return inner.disk.run(move || tell(&asked, call)).await?.map(Some);
    }
    let asked = inner.peers.call(member, Class::Block, wire::encode(&call));
    let answer = timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
    Ok(answer.and_then(|answer| wire::decode(&answer).ok()))
}

/// Frees what is old enough and not named.
async fn release(inner: &Arc<Inner>, fence: u32, named: &Named, swept: &mut Swept) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = page_of_references(inner, after).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some((last.id, last.owner));
        let is_unnamed = |held: &HeldReference| {
            let is_known = named.partitions.contains(&partition_of(&held.owner));
            is_known && sweeps_of(&held.owner) < fence && !named.owners.contains(&second_half(&held.owner))
        };
        let unnamed: Vec<_> = page.into_iter().filter(is_unnamed).collect();
        let is_free = |held: &&HeldReference| !inner.releaser.is_pinned(&held.owner);
        let pairs = unnamed.iter().filter(is_free);
        let pairs = pairs.map(|held| (held.owner, BlockId(held.id))).collect();
        let due = inner.blocks.not_yet_released(pairs).await?;
        swept.released += due.len() as u64;
        swept.waiting += (unnamed.len() - due.len()) as u64;
        let mut gone: BTreeMap<Owner, Vec<BlockId>> = BTreeMap::new();
        for (owner, id) in due {
            gone.entry(owner).or_default().push(id);
        }
        let gone = gone
            .into_iter()
            .map(|(owner, blocks)| Displaced { owner, blocks });
        inner.blocks.release(gone.collect()).await?;
    }
}

async fn page_of_references(
    inner: &Arc<Inner>,
    after: Option<([u8; 32], Owner)>,
) -> Result<Vec<HeldReference>, StoreError> {
    let disk = inner.disk.clone();
    Ok(inner.disk.run(move || disk.references(after, PAGE)).await??)
}

// The three parts of an owner's name, see `seal::owner_of`.

fn partition_of(owner: &Owner) -> Partition {
    Partition(owner[0])
}

/// How many sweeps the gateway of a write knew of when it began.
pub(super) fn sweeps_of(owner: &Owner) -> u32 {
    let [_, a, b, c, d, ..] = *owner;
    u32::from_be_bytes([a, b, c, d])
}

fn second_half(owner: &Owner) -> u64 {
    owner.last_chunk().map_or(0, |half| u64::from_le_bytes(*half))
}
