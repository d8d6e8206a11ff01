//! Forgets tombstones that all voters have, in the partitions that this member holds (rule 5 of registers).
//!
//! Names and ages decide only what is worth asking for; that nothing is lost is the holder's business.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::ages::Look;
use super::partition::Tombstone;
use super::{Machine, PARTITIONS, RESEND, Registers, record};
use crate::StoreError;
use crate::disk::Disk;
use crate::register::{Event, Key};

/// Tombstones that are looked at in one pass; the next goes on behind them.
const LOOKED_AT_MAX: usize = 64 << 10;
/// Tombstones of one partition that go together: the partition changes its ballot for them.
const TOGETHER_MAX: usize = 512;
/// How long voters are given to say that they have a tombstone: whoever is slower is asked in the next pass.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(3);
/// How often everybody is asked again after that, until the holder gives up.
const ASKED_AGAIN: u32 = 10;

/// Where a pass ended, and what it did.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// The next one goes on from here; `None` where all were looked at.
    pub(crate) next: Option<Key>,
    /// Tombstones that the voters were asked to forget.
    pub(crate) asked: usize,
}

impl<M: Machine> Registers<M> {
    /// Has tombstones from one on be forgotten that were here long before this look. Only in partitions that this member holds,
    /// or that nobody does.
    ///
    /// # Errors
    /// The disk fails, or is full.
    pub(crate) async fn forget_tombstones(&self, from: Option<Key>, look: Look) -> Result<Pass, StoreError> {
        let mine: BTreeSet<u16> = (0..PARTITIONS).filter(|number| self.is_mine(*number)).collect();
        if mine.is_empty() {
            return Ok(Pass::default());
        }
        let disk = self.0.disk.clone();
        let find = move || tombstones::<M>(&disk, from.as_ref(), &mine);
        let found = self.0.disk.run(find).await??;
        let mut pass = Pass {
            next: found.next,
            asked: 0,
        };
        for (partition, keys) in found.by_partition {
            for batch in self.due(partition, &keys, look)?.chunks(TOGETHER_MAX) {
                // Somebody may have fallen silent.
                if self.is_mine(partition) {
                    pass.asked += self.forget_here(partition, batch).await?;
                }
            }
        }
        Ok(pass)
    }

    /// What may be forgotten of a partition: first what began first, so that the fence is not raised before it has to be. It
    /// stops whoever has a slower clock for a moment.
    fn due(&self, number: u16, keys: &[Key], look: Look) -> Result<Vec<Tombstone>, StoreError> {
        let mut due = Vec::new();
        for keys in keys.chunks(TOGETHER_MAX) {
            let mut partition = self.partition(number);
            let ripe = partition.ripe_tombstones(keys, look)?;
            if partition.may_forget(look) {
                due.extend(ripe);
            }
        }
        due.sort_by_key(|tombstone| tombstone.newest);
        Ok(due)
    }

    /// Whether a tombstone stands on this disk.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn has_tombstones(&self) -> Result<bool, StoreError> {
        Ok(super::Tombstones::on(&self.0.disk)? == super::Tombstones::Maybe)
    }

    /// Whether it is this member's business what is forgotten of a partition, and all who would be asked are here. Voters that
    /// are changing have other worries.
    fn is_mine(&self, number: u16) -> bool {
        let partition = self.partition(number);
        let Some(config) = partition.config().filter(|config| config.new.is_none()) else {
            return false;
        };
        let members = config.members();
        let holder = partition
            .believed_holder()
            .map(|(holder, _)| holder)
            .filter(|holder| members.contains(holder));
        if holder.or_else(|| members.first().copied()) != Some(self.0.me) {
            return false;
        }
        let others: Vec<_> = members
            .into_iter()
            .filter(|member| *member != self.0.me)
            .collect();
        self.0.peers.nearest(&others).len() == others.len() && !self.0.silence.is_among(&others)
    }

    async fn forget_here(&self, number: u16, due: &[Tombstone]) -> Result<usize, StoreError> {
        let (Some(first), Some(last)) = (due.first(), due.last()) else {
            return Ok(0);
        };
        if self.partition(number).ballot().is_none() && self.confirm(number, &first.key).await.is_err() {
            return Ok(0);
        }
        let tombstones = due
            .iter()
            .map(|tombstone| (tombstone.key.clone(), tombstone.stamp));
        let event = Event::Collect {
            tombstones: tombstones.collect(),
            newest: last.newest,
        };
        self.feed(number, event).await?;
        let mut wait = CONFIRMED_WITHIN;
        for _ in 0..ASKED_AGAIN {
            let over = Instant::now() + wait;
            while self.partition(number).is_forgetting() && Instant::now() < over {
                sleep(RESEND / 5).await;
            }
            if !self.partition(number).is_forgetting() {
                break;
            }
            self.feed(number, Event::Resend).await?;
            wait = RESEND;
        }
        Ok(due.len())
    }
}

/// Keys of tombstones on this disk, and where to go on.
#[derive(Default)]
struct Found {
    by_partition: BTreeMap<u16, Vec<Key>>,
    next: Option<Key>,
}

fn tombstones<M: Machine>(
    disk: &Disk,
    from: Option<&Key>,
    partitions: &BTreeSet<u16>,
) -> Result<Found, StoreError> {
    let from = from.map_or_else(|| record::END_OF_ROWS.to_vec(), |key| record::tombstone_key(key));
    let mut found = Found::default();
    let mut scan = disk.scan(Included(&from), Excluded(record::END_OF_TOMBSTONES))?;
    let mut looked_at = 0;
    while let Some(row) = scan.next_row()? {
        let Some(key) = record::hidden_key(row.key()) else {
            continue;
        };
        if looked_at == LOOKED_AT_MAX {
            found.next = Some(Key::copy_from_slice(key));
            break;
        }
        looked_at += 1;
        if let Some(partition) = M::partition_of(key).filter(|number| partitions.contains(number)) {
            let keys = found.by_partition.entry(partition).or_default();
            keys.push(Key::copy_from_slice(key));
        }
    }
    Ok(found)
}
