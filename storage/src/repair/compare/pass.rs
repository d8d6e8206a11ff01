//! Compares the rows of this member with those of one other: until each has everything that the other had when it began.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;
use tracing::debug;

use super::Comparison;
use super::sums::{self, SLOTS, Sums};
use super::wire::{self, Answer, Call, Views};
use crate::StoreError;
use crate::cluster::peers::Class;
use crate::cluster::{ROOT_PARTITION, partition_of};
use crate::model::{MemberId, Timestamp};
use crate::register::{Ballot, Epoch, Key, Stamp};
use crate::store::Inner;

/// How long a member is given to look through its rows.
const PATIENCE: Duration = Duration::from_secs(60);
/// Slots whose keys are told at once: of ten million rows, 80,000.
const SLOTS_AT_ONCE: usize = 32;
/// Rows that are read at a time.
const READS_AT_ONCE: usize = 32;
/// Rounds after which a comparison is given up.
const ROUNDS_MAX: usize = 4;

/// Keys under which two members have something else, with the stamps of this member and of the other.
type Differing = BTreeMap<Key, (Stamp, Stamp)>;

/// Answers a call about comparing rows.
///
/// # Errors
/// It does not read, or the disk fails.
pub(crate) async fn answer(inner: &Arc<Inner>, call: &Bytes) -> Result<Bytes, StoreError> {
    let call: Call = wire::decode(call)?;
    let (views, slots) = match call {
        Call::Sums(views) => (views, None),
        Call::Heads(views, slots) => (views, Some(slots)),
    };
    let partitions = shared(inner, &views, inner.me);
    // Whoever asks for keys takes what is not told for what is not here.
    if slots.is_some() && partitions.len() != views.len() {
        return Err(StoreError::Conflict);
    }
    let rows = inner.clone();
    let look = move || match slots {
        None => {
            // First: what is told then is all that lower ballots can have left here.
            let registers = rows.partitions.registers();
            let promised = partitions.iter().map(|partition| registers.promised(*partition));
            Ok(Answer::Sums {
                promised: promised.collect(),
                sums: sums::sums(&rows.partitions, &partitions)?.encode(),
                partitions: partitions.into_iter().collect(),
            })
        }
        Some(slots) => {
            let slots = slots.into_iter().take(SLOTS_AT_ONCE).collect();
            let heads = sums::heads(&rows.partitions, &partitions, &slots)?;
            Ok(Answer::Heads(heads.into_iter().collect()))
        }
    };
    let answer: Result<Answer, StoreError> = inner.disk.run(look).await?;
    Ok(wire::encode(&answer?))
}

/// Every partition and its epoch here.
pub(super) fn views(inner: &Inner) -> Views {
    let registers = inner.partitions.registers();
    let epoch = |partition| (partition, registers.epoch(partition));
    (0..=ROOT_PARTITION).map(epoch).collect()
}

/// Those of some partitions in which this member and another vote, under the same epoch, while no voter changes.
pub(super) fn shared(inner: &Inner, views: &Views, with: MemberId) -> BTreeSet<u16> {
    let registers = inner.partitions.registers();
    let votes = |(partition, epoch): &&(u16, Epoch)| {
        *partition <= ROOT_PARTITION
            && registers.epoch(*partition) == *epoch
            && registers
                .steady_voters(*partition, *epoch)
                .is_some_and(|voters| voters.contains(&inner.me) && voters.contains(&with))
    };
    views
        .iter()
        .filter(votes)
        .map(|(partition, _)| *partition)
        .collect()
}

/// Compares, and brings each of the two what it has missed.
///
/// # Errors
/// `Unavailable`: the other does not answer, or nothing comes of it. The disk fails.
pub(super) async fn compare(inner: &Arc<Inner>, with: MemberId) -> Result<Comparison, StoreError> {
    let views = views(inner);
    let mut partitions = shared(inner, &views, with);
    let (began, before) = (Timestamp::now(), inner.partitions.registers().misses());
    let asked: Views = views
        .into_iter()
        .filter(|(partition, _)| partitions.contains(partition))
        .collect();
    let (mut first, mut covered) = (Differing::new(), 0);
    if !partitions.is_empty() {
        let promised;
        (first, promised) = differing(inner, with, &asked, &mut partitions).await?;
        covered = cover(inner, with, (&asked, &promised), &first).await;
    }
    let mut left: Vec<Key> = first.keys().cloned().collect();
    for _ in 0..ROUNDS_MAX {
        if left.is_empty() {
            break;
        }
        bring(inner, left).await?;
        let (now, _) = differing(inner, with, &asked, &mut partitions).await?;
        left = unresolved(&first, &now);
    }
    if !left.is_empty() {
        return Err(StoreError::Unavailable);
    }
    inner.partitions.registers().forget_misses(with, &before);
    let compared = asked
        .into_iter()
        .filter(|(partition, _)| partitions.contains(partition));
    Ok(Comparison {
        at: began,
        epochs: compared.collect(),
        differed: first.len() as u64,
        covered,
    })
}

/// Notes what follows for partitions that this member holds under the epochs that were asked about: what the other has of
/// them that this one has not is known now. Of how many that is enough.
async fn cover(
    inner: &Arc<Inner>,
    with: MemberId,
    (asked, promised): (&Views, &BTreeMap<u16, Ballot>),
    first: &Differing,
) -> usize {
    let registers = inner.partitions.registers();
    let mut held = registers.uncovered();
    held.retain(|partition, ballot| {
        asked.contains(&(*partition, ballot.epoch)) && promised.get(partition) == Some(ballot)
    });
    let mut behind: BTreeMap<u16, Vec<Key>> = BTreeMap::new();
    for (key, (mine, theirs)) in first {
        if mine < theirs
            && let Some(partition) = partition_of(key)
        {
            behind.entry(partition).or_default().push(key.clone());
        }
    }
    for (partition, ballot) in &held {
        let behind = behind.remove(partition).unwrap_or_default();
        let noting = registers.note_told_all(with, (*partition, *ballot), behind);
        if let Err(error) = noting.await {
            // New rows cost more for a while; what was missed is brought all the same.
            debug!(partition, %error, "a holder does not know what others have");
        }
    }
    let left = registers.uncovered();
    held.keys()
        .filter(|partition| !left.contains_key(partition))
        .count()
}

/// Those keys under which one of the two still lacks what the other had at first.
fn unresolved(first: &Differing, now: &Differing) -> Vec<Key> {
    let lacks = |(key, (mine, theirs)): (&Key, &(Stamp, Stamp))| {
        let (mine_now, theirs_now) = now.get(key)?;
        (mine_now < theirs || theirs_now < mine).then(|| key.clone())
    };
    first.iter().filter_map(lacks).collect()
}

/// Has rows be read as a quorum has them, and taught to whoever lacks them.
async fn bring(inner: &Arc<Inner>, keys: Vec<Key>) -> Result<(), StoreError> {
    stream::iter(keys)
        .map(|key| async move { inner.partitions.registers().sync_row(key).await })
        .buffer_unordered(READS_AT_ONCE)
        .try_collect::<()>()
        .await
}

/// Where the two differ, and what the other had promised before it looked. Only partitions stay of which it tells.
async fn differing(
    inner: &Arc<Inner>,
    with: MemberId,
    asked: &Views,
    partitions: &mut BTreeSet<u16>,
) -> Result<(Differing, BTreeMap<u16, Ballot>), StoreError> {
    let Answer::Sums {
        partitions: told,
        sums,
        promised,
    } = ask(inner, with, Call::Sums(asked.clone())).await?
    else {
        return Err(StoreError::Unavailable);
    };
    let theirs = Sums::decode(&sums).ok_or(StoreError::Unavailable)?;
    let promised = told.iter().copied().zip(promised).collect();
    let told: BTreeSet<u16> = told.into_iter().collect();
    partitions.retain(|partition| told.contains(partition));
    let (rows, counted) = (inner.clone(), told.clone());
    let mine = inner
        .disk
        .run(move || sums::sums(&rows.partitions, &counted))
        .await??;
    let mut differing = Differing::new();
    let mut asked = asked.clone();
    asked.retain(|(partition, _)| told.contains(partition));
    for slots in mine.differing(&theirs).chunks(SLOTS_AT_ONCE) {
        differing.extend(differing_in(inner, with, &asked, &told, slots).await?);
    }
    Ok((differing, promised))
}

/// Where the two differ in some slots.
async fn differing_in(
    inner: &Arc<Inner>,
    with: MemberId,
    asked: &Views,
    told: &BTreeSet<u16>,
    slots: &[u16],
) -> Result<Differing, StoreError> {
    let Answer::Heads(theirs) = ask(inner, with, Call::Heads(asked.clone(), slots.to_vec())).await? else {
        return Err(StoreError::Unavailable);
    };
    let slots: BTreeSet<u16> = slots.iter().copied().filter(|slot| *slot < SLOTS).collect();
    let (rows, told) = (inner.clone(), told.clone());
    let mine = inner
        .disk
        .run(move || sums::heads(&rows.partitions, &told, &slots))
        .await??;
    let mut both: Differing = mine
        .into_iter()
        .map(|(key, stamp)| (key, (stamp, Stamp::ZERO)))
        .collect();
    for (key, stamp) in theirs {
        both.entry(key).or_insert((Stamp::ZERO, Stamp::ZERO)).1 = stamp;
    }
    both.retain(|_, (mine, theirs)| mine != theirs);
    Ok(both)
}

async fn ask(inner: &Arc<Inner>, member: MemberId, call: Call) -> Result<Answer, StoreError> {
    let asked = inner.peers.call(member, Class::Block, wire::encode(&call));
    let answer = timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
    wire::decode(&answer.ok_or(StoreError::Unavailable)?)
}
