//! Linearizable listings: each row as a quorum of its partition has it at some moment during the call.
//!
//! Members are asked until every partition is covered by a quorum of its own. Per key the newest stamp counts; where it is
//! not certain to be chosen, the row is read by itself. So one round trip lists a range of a mesh at rest: a member that has
//! what the asker has sends no rows, which would take a far home several. It is no snapshot: two keys may be seen at
//! different moments.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::wire::{Call, Reaction};
use super::{DEADLINE, Inner, Machine, PARTITIONS, Registers, alike, back_off, record};
use crate::StoreError;
use crate::model::MemberId;
use crate::register::{Configs, Epoch, Key, Stamp};

/// Rows a member tells at once.
const ROWS_MAX: usize = 2000;
/// Rows that are read by themselves at a time.
const READS_AT_ONCE: usize = 16;

/// Part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// In the order of their keys.
    pub(crate) rows: Vec<ScannedKey>,
    /// Where to go on; `None` at the end of the range.
    pub(crate) next: Option<Key>,
}

/// A row that was met by a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScannedKey {
    pub(crate) key: Key,
    /// Of its content.
    pub(crate) stamp: Stamp,
    pub(crate) summary: Bytes,
}

/// What one member has of a range: rows and tombstones alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// In the order of their keys.
    pub(super) rows: Vec<ToldRow>,
    /// Nothing is told from this key on; `None` when the range is told to its end.
    pub(super) end: Option<Key>,
    /// The epoch of each partition there.
    pub(super) epochs: Vec<Epoch>,
    /// Partitions of which the asker has the same rows in the range, so that they are left out.
    #[serde(default)]
    pub(super) same: Vec<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ToldRow {
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    pub(super) chosen: bool,
    /// `None` for a tombstone.
    pub(super) summary: Option<Bytes>,
}

/// The epoch of each partition that is looked at, and its configurations.
type Views = BTreeMap<u16, (Epoch, Configs)>;

/// Whose word counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Everybody's.
    OfAll,
    /// Of those that have adopted the epoch they are looked at in: nothing older can be decided by them any more.
    OfAdopted,
}

impl Word {
    /// Whether each partition has a quorum among those that told something.
    fn covers(self, views: &Views, told: &BTreeMap<MemberId, Told>) -> bool {
        self.may_cover(views, told, &BTreeSet::new())
    }

    /// As [`Self::covers`], if those that were asked tell what is hoped for.
    fn may_cover(self, views: &Views, told: &BTreeMap<MemberId, Told>, asked: &BTreeSet<MemberId>) -> bool {
        views.iter().all(|(number, (epoch, configs))| {
            let counts = |told: &Told| self == Self::OfAll || told.epoch_of(*number) == Some(*epoch);
            let hoped = asked.iter().filter(|member| !told.contains_key(member)).copied();
            let counted = told.iter().filter(|(_, told)| counts(told));
            let agreed = counted.map(|(member, _)| *member).chain(hoped).collect();
            configs
                .get(*epoch)
                .is_some_and(|config| config.is_quorum(&agreed))
        })
    }
}

impl Told {
    fn epoch_of(&self, partition: u16) -> Option<Epoch> {
        self.epochs.get(usize::from(partition)).copied()
    }
}

/// What a new voter is to do about part of its rows.
#[derive(Default)]
pub(super) struct ToSync {
    /// Somebody may have something newer under these keys, or something that may not be chosen yet.
    pub(super) lacking: Vec<Key>,
    /// These rows are here and chosen, and do not say so: later voters may not be able to tell.
    pub(super) unmarked: Vec<(Key, Stamp)>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<Key>,
}

/// What others are asked for.
struct Asking {
    from: Key,
    to: Key,
    most: usize,
    /// What this member has there.
    mine: Vec<ToldRow>,
}

/// What is known of one key.
struct Newest {
    row: ToldRow,
    holders: BTreeSet<MemberId>,
}

impl<M: Machine> Registers<M> {
    /// Rows of these partitions from `from` on, up to but without `to`; at least one unless there is none, and about `most`.
    ///
    /// # Errors
    /// `Unavailable`: some partition has no quorum in time. The disk fails.
    pub(crate) async fn scan(
        &self,
        partitions: Range<u16>,
        (from, to): (&Key, &Key),
        most: usize,
    ) -> Result<Scanned, StoreError> {
        self.0.memories.check().await?;
        let deadline = Instant::now() + DEADLINE;
        let mut tries = 0;
        loop {
            if let Some(scanned) = self
                .attempt_scan(partitions.clone(), (from, to), most.min(ROWS_MAX))
                .await?
            {
                // What was learned meanwhile counts against what this member told itself.
                self.0.memories.check().await?;
                return Ok(scanned);
            }
            tries += 1;
            let wait = back_off(tries);
            if Instant::now() + wait >= deadline {
                return Err(StoreError::Unavailable);
            }
            sleep(wait).await;
        }
    }

    /// `None` when too few answered, or somebody was in a newer epoch.
    async fn attempt_scan(
        &self,
        partitions: Range<u16>,
        (from, to): (&Key, &Key),
        most: usize,
    ) -> Result<Option<Scanned>, StoreError> {
        let views = self.views(partitions);
        match self.covering(&views, Word::OfAll, (from, to, most)).await? {
            Some(told) => self.merge(&views, told, to).await.map(Some),
            None => Ok(None),
        }
    }

    /// What this member is to do about some partitions before it has every row of them, from `from` on. Told by a covering set
    /// of members that have adopted the epoch this one has: whatever was decided before is among it.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub(super) async fn keys_to_sync(
        &self,
        from: &Key,
        partitions: &BTreeSet<u16>,
    ) -> Result<ToSync, StoreError> {
        self.0.memories.check().await?;
        let deadline = Instant::now() + DEADLINE;
        let to = Key::from_static(record::END_OF_ROWS);
        let mut tries = 0;
        loop {
            let views = self.views(partitions.iter().copied());
            if let Some(told) = self
                .covering(&views, Word::OfAdopted, (from, &to, ROWS_MAX))
                .await?
            {
                // What was learned meanwhile counts against what this member told itself.
                self.0.memories.check().await?;
                let own = told.get(&self.0.me).map_or(&[][..], |own| &own.rows);
                let marked = own.iter().filter(|row| row.chosen).map(|row| row.key.clone());
                let marked: BTreeSet<Key> = marked.collect();
                let (newest, next) = newest_of(told, &to);
                let mut to_sync = ToSync {
                    next,
                    ..ToSync::default()
                };
                for (key, newest) in newest {
                    let partition = M::partition_of(&key);
                    if !partition.is_some_and(|number| partitions.contains(&number)) {
                        continue;
                    }
                    let is_here = newest.holders.contains(&self.0.me);
                    match is_here && is_chosen(&views, partition, &newest) {
                        false => to_sync.lacking.push(key),
                        true if marked.contains(&key) => {}
                        true => to_sync.unmarked.push((key, newest.row.stamp)),
                    }
                }
                return Ok(to_sync);
            }
            tries += 1;
            let wait = back_off(tries);
            if Instant::now() + wait >= deadline {
                return Err(StoreError::Unavailable);
            }
            sleep(wait).await;
        }
    }

    /// What a covering set tells of a range; `None` when too few answered, or somebody was in a newer epoch.
    async fn covering(
        &self,
        views: &Views,
        word: Word,
        (from, to, most): (&Key, &Key, usize),
    ) -> Result<Option<BTreeMap<MemberId, Told>>, StoreError> {
        let members: BTreeSet<MemberId> = views
            .values()
            .filter_map(|(epoch, configs)| configs.get(*epoch))
            .flat_map(|config| config.members())
            .collect();
        let others: Vec<_> = members
            .iter()
            .copied()
            .filter(|member| *member != self.0.me)
            .collect();
        let mut waiting: Vec<_> = self.0.peers.nearest(&others);
        waiting.reverse();
        let mut told: BTreeMap<MemberId, Told> = BTreeMap::new();
        let mut asking = Asking {
            from: from.clone(),
            to: to.clone(),
            most,
            mine: Vec::new(),
        };
        if members.contains(&self.0.me) {
            let own = self.0.tell(from, to, most)?;
            // Nobody else is needed behind the end of one's own.
            if let Some(end) = &own.end {
                (asking.to, asking.most) = (end.clone(), ROWS_MAX);
            }
            asking.mine = own.rows.clone();
            told.insert(self.0.me, own);
        }
        let asking = Arc::new(asking);
        let is_newer = |told: &Told| {
            views
                .iter()
                .any(|(number, (mine, _))| told.epoch_of(*number) > Some(*mine))
        };
        if told.values().any(is_newer) {
            // This member has adopted some itself meanwhile.
            return Ok(None);
        }
        let mut calls = FuturesUnordered::new();
        let mut asked: BTreeSet<MemberId> = told.keys().copied().collect();
        while !word.covers(views, &told) {
            // As many as may suffice, and another for each that does not answer or is not there yet.
            while !word.may_cover(views, &told, &asked)
                && let Some(next) = waiting.pop()
            {
                asked.insert(next);
                calls.push(self.ask_to_tell(next, asking.clone()));
            }
            match calls.next().await {
                Some((member, Some(answer))) if is_newer(&answer) => {
                    self.hear_epochs_of(member);
                    return Ok(None);
                }
                Some((member, Some(answer))) => drop(told.insert(member, answer)),
                Some((member, None)) => drop(asked.remove(&member)),
                None => return Ok(None),
            }
        }
        Ok(Some(told))
    }

    /// The rows of all, each as the newest that is known, and read by itself where that is not certain.
    async fn merge(
        &self,
        views: &Views,
        told: BTreeMap<MemberId, Told>,
        to: &Key,
    ) -> Result<Scanned, StoreError> {
        let (newest, end) = newest_of(told, to);
        let rows = stream::iter(newest)
            .map(|(key, newest)| async {
                let (stamp, summary) = match is_chosen(views, M::partition_of(&key), &newest) {
                    true => (newest.row.stamp, newest.row.summary),
                    false => self.summary_read(&key).await?,
                };
                Ok::<_, StoreError>(summary.map(|summary| ScannedKey { key, stamp, summary }))
            })
            .buffered(READS_AT_ONCE)
            .try_filter_map(|row| std::future::ready(Ok(row)))
            .try_collect()
            .await?;
        Ok(Scanned { rows, next: end })
    }

    async fn summary_read(&self, key: &Key) -> Result<(Stamp, Option<Bytes>), StoreError> {
        let Some(partition) = M::partition_of(key) else {
            return Ok((Stamp::ZERO, None));
        };
        let row = self.read(partition, key).await?;
        Ok((row.stamp, row.content.value.map(|value| value.summary)))
    }

    fn views(&self, numbers: impl Iterator<Item = u16>) -> Views {
        let view = |number| {
            let partition = self.partition(number);
            (number, (partition.epoch(), partition.configs().clone()))
        };
        numbers.map(view).collect()
    }

    async fn ask_to_tell(&self, member: MemberId, asking: Arc<Asking>) -> (MemberId, Option<Told>) {
        let known = alike::sums_of(&asking.mine, M::partition_of);
        let call = Call::Tell {
            from: asking.from.clone(),
            to: asking.to.clone(),
            most: u32::try_from(asking.most).unwrap_or(u32::MAX),
            known: known.clone(),
        };
        match self.exchange(member, &call).await {
            Some(Reaction::Told(told)) => (member, told.with_same(&known, &asking.mine, M::partition_of)),
            Some(_) | None => (member, None),
        }
    }
}

impl<M: Machine> Inner<M> {
    /// What this disk has of a range, durably.
    pub(super) fn tell(&self, from: &Key, to: &Key, most: usize) -> Result<Told, StoreError> {
        // The epochs first: a row that is told was accepted in that epoch or a later one, which only makes the reader ask
        // again.
        let epochs = (0..PARTITIONS)
            .map(|number| self.partition(number).durable_epoch())
            .collect();
        let most = most.clamp(1, ROWS_MAX);
        let mut rows = BTreeMap::new();
        let mut end: Option<Key> = None;
        for hidden in [false, true] {
            let bound = |key: &Key| match hidden {
                true => record::tombstone_key(key),
                false => key.to_vec(),
            };
            let mut scan = self.disk.scan(Included(&bound(from)), Excluded(&bound(to)))?;
            let mut count = 0;
            while let Some(row) = scan.next_row()? {
                let key = match hidden {
                    true => record::hidden_key(row.key()).unwrap_or_default(),
                    false => row.key(),
                };
                if !M::is_shared(key) {
                    // This member's alone, as the state of a partition or what it has to hand on.
                    continue;
                }
                let key = Key::copy_from_slice(key);
                if count == most {
                    end = end.into_iter().chain([key]).min();
                    break;
                }
                let (stamp, chosen) = record::head_of(row.summary())
                    .ok_or_else(|| StoreError::Damaged("summary of a register".into()))?;
                let own = record::summary_of(row.summary()).map(Bytes::copy_from_slice);
                let summary = own.filter(|_| !hidden);
                // A row above a tombstone that was not dropped with it.
                rows.entry(key.clone()).or_insert(ToldRow {
                    key,
                    stamp,
                    chosen,
                    summary,
                });
                count += 1;
            }
        }
        if let Some(end) = &end {
            rows.split_off(end);
        }
        Ok(Told {
            rows: rows.into_values().collect(),
            end,
            epochs,
            same: Vec::new(),
        })
    }
}

/// The newest row of each key that anybody tells, up to where one of them tells no more.
fn newest_of(told: BTreeMap<MemberId, Told>, to: &Key) -> (BTreeMap<Key, Newest>, Option<Key>) {
    let end = told.values().filter_map(|told| told.end.clone()).min();
    let mut newest = BTreeMap::new();
    for (member, told) in told {
        for row in told.rows {
            if end.as_ref().is_none_or(|end| row.key < *end) && row.key < *to {
                note(&mut newest, member, row);
            }
        }
    }
    (newest, end)
}

fn note(newest: &mut BTreeMap<Key, Newest>, member: MemberId, row: ToldRow) {
    match newest.get_mut(&row.key) {
        Some(known) if known.row.stamp == row.stamp => {
            known.row.chosen |= row.chosen;
            known.holders.insert(member);
        }
        Some(known) if known.row.stamp > row.stamp => {}
        _ => {
            let holders = BTreeSet::from([member]);
            newest.insert(row.key.clone(), Newest { row, holders });
        }
    }
}

fn is_chosen(views: &Views, partition: Option<u16>, newest: &Newest) -> bool {
    let view = partition.and_then(|partition| views.get(&partition));
    let quorum = |(_, configs): &(Epoch, Configs)| {
        let config = configs.get(newest.row.stamp.ballot.epoch);
        config.is_some_and(|config| config.is_quorum(&newest.holders))
    };
    newest.row.chosen || view.is_some_and(quorum)
}
