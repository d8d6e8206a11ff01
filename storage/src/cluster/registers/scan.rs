//! Linearizable listings: each row as a quorum of its partition has it at some moment during the call.
//!
//! Members are asked until every partition is covered by a quorum of its own. Per key the newest stamp counts; where it is
//! not certain to be chosen, the row is read by itself. So one round trip lists a range of a mesh at rest. It is no
//! snapshot: two keys may be seen at different moments.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use bytes::Bytes;
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::wire::{self, Call, Reaction};
use super::{DEADLINE, Done, Inner, Machine, PARTITIONS, Registers, Task, back_off, record};
use crate::StoreError;
use crate::cluster::peers::Class;
use crate::model::MemberId;
use crate::register::{Configs, Epoch, Key, Stamp};

/// Rows a member tells at once.
const ROWS_MAX: usize = 2000;
/// Rows that are read by themselves at a time.
const READS_AT_ONCE: usize = 16;

/// Part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// In the order of their keys, each with its summary.
    pub(crate) rows: Vec<(Key, Bytes)>,
    /// Where to go on; `None` at the end of the range.
    pub(crate) next: Option<Key>,
}

/// What one member has of a range: rows and tombstones alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// In the order of their keys.
    rows: Vec<ToldRow>,
    /// Nothing is told from this key on; `None` when the range is told to its end.
    end: Option<Key>,
    /// The epoch of each partition there.
    epochs: Vec<Epoch>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ToldRow {
    key: Key,
    stamp: Stamp,
    chosen: bool,
    /// `None` for a tombstone.
    summary: Option<Bytes>,
}

/// What is known of one key.
struct Newest {
    row: ToldRow,
    holders: BTreeSet<MemberId>,
}

impl<M: Machine> Registers<M> {
    /// Rows from `from` on, up to but without `to`; at least one unless there is none, and about `most`.
    ///
    /// # Errors
    /// `Unavailable`: some partition has no quorum in time. The disk fails.
    pub(crate) async fn scan(&self, from: &Key, to: &Key, most: usize) -> Result<Scanned, StoreError> {
        let deadline = Instant::now() + DEADLINE;
        let mut tries = 0;
        loop {
            if let Some(scanned) = self.attempt_scan(from, to, most.min(ROWS_MAX)).await? {
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
    async fn attempt_scan(&self, from: &Key, to: &Key, most: usize) -> Result<Option<Scanned>, StoreError> {
        let views = self.views();
        let members: BTreeSet<MemberId> = views
            .iter()
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
        if members.contains(&self.0.me) {
            told.insert(self.0.me, self.0.tell(from, to, most)?);
        }
        let mut calls = FuturesUnordered::new();
        let mut asked: BTreeSet<MemberId> = told.keys().copied().collect();
        while !is_covered(&views, &told.keys().copied().collect()) {
            // As many as may suffice, and another for each that does not answer.
            while !is_covered(&views, &asked)
                && let Some(next) = waiting.pop()
            {
                asked.insert(next);
                calls.push(self.ask_to_tell(next, from.clone(), to.clone(), most));
            }
            match calls.next().await {
                Some((member, Some(answer))) => drop(told.insert(member, answer)),
                Some((member, None)) => drop(asked.remove(&member)),
                None => return Ok(None),
            }
        }
        let newer = |told: &Told| {
            views
                .iter()
                .zip(&told.epochs)
                .any(|((mine, _), theirs)| theirs > mine)
        };
        if told.values().any(newer) {
            return Ok(None);
        }
        self.merge(&views, told, to).await.map(Some)
    }

    /// The rows of all, each as the newest that is known, and read by itself where that is not certain.
    async fn merge(
        &self,
        views: &[(Epoch, Configs)],
        told: BTreeMap<MemberId, Told>,
        to: &Key,
    ) -> Result<Scanned, StoreError> {
        // Nobody says anything of what lies behind the first end.
        let end = told.values().filter_map(|told| told.end.clone()).min();
        let mut newest: BTreeMap<Key, Newest> = BTreeMap::new();
        for (member, told) in told {
            for row in told.rows {
                if end.as_ref().is_none_or(|end| row.key < *end) && row.key < *to {
                    note(&mut newest, member, row);
                }
            }
        }
        let rows = stream::iter(newest)
            .map(|(key, newest)| async {
                let summary = match is_chosen(views, M::partition_of(&key), &newest) {
                    true => newest.row.summary,
                    false => self.summary_read(&key).await?,
                };
                Ok::<_, StoreError>(summary.map(|summary| (key, summary)))
            })
            .buffered(READS_AT_ONCE)
            .try_filter_map(|row| std::future::ready(Ok(row)))
            .try_collect()
            .await?;
        Ok(Scanned { rows, next: end })
    }

    async fn summary_read(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        let Some(partition) = M::partition_of(key) else {
            return Ok(None);
        };
        let row = self.read(partition, key).await?;
        Ok(row.content.value.map(|value| value.summary))
    }

    fn views(&self) -> Vec<(Epoch, Configs)> {
        let view = |number| {
            let partition = self.partition(number);
            (partition.epoch(), partition.configs().clone())
        };
        (0..PARTITIONS).map(view).collect()
    }

    async fn ask_to_tell(
        &self,
        member: MemberId,
        from: Key,
        to: Key,
        most: usize,
    ) -> (MemberId, Option<Told>) {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let call = wire::encode(&Call::<Task<M::Command>>::Tell { from, to, most });
        let called = self.0.peers.call(member, Class::Metadata, call).await;
        match called.map(|bytes| wire::decode(&bytes)) {
            Ok(Ok(Reaction::<Done<M>>::Told(told))) => (member, Some(told)),
            Ok(_) | Err(_) => (member, None),
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
            for (count, row) in self
                .disk
                .scan(Included(&bound(from)), Excluded(&bound(to)))
                .enumerate()
            {
                let row = row?;
                let key = match hidden {
                    true => record::hidden_key(row.key()).unwrap_or_default(),
                    false => row.key(),
                };
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
            }
        }
        if let Some(end) = &end {
            rows.split_off(end);
        }
        Ok(Told {
            rows: rows.into_values().collect(),
            end,
            epochs,
        })
    }
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

fn is_chosen(views: &[(Epoch, Configs)], partition: Option<u16>, newest: &Newest) -> bool {
    let view = partition.and_then(|partition| views.get(usize::from(partition)));
    let quorum = |(_, configs): &(Epoch, Configs)| {
        let config = configs.get(newest.row.stamp.ballot.epoch);
        config.is_some_and(|config| config.is_quorum(&newest.holders))
    };
    newest.row.chosen || view.is_some_and(quorum)
}

fn is_covered(views: &[(Epoch, Configs)], told: &BTreeSet<MemberId>) -> bool {
    let covered = |(epoch, configs): &(Epoch, Configs)| {
        let config = configs.get(*epoch);
        config.is_some_and(|config| config.is_quorum(told))
    };
    views.iter().all(covered)
}
