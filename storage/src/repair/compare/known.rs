//! What is known of who has every row, from comparisons and from writes that were not acknowledged: pure, but for the lock.
//!
//! A member has every row of a partition once it was compared with so many voters that they are a quorum together: whatever
//! was chosen stands with one of them. Whoever was compared with it has every row as well, but for writes sent since that
//! it did not acknowledge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pass;
use crate::cluster::ROOT_PARTITION;
use crate::cluster::registers::Misses;
use crate::model::{MemberId, Timestamp};
use crate::register::{Config, Epoch};
use crate::store::Inner;

/// That two members had the same rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// When it began: each has whatever the other had then.
    pub(crate) at: Timestamp,
    /// The partitions, and under which epochs.
    pub(crate) epochs: BTreeMap<u16, Epoch>,
    /// Rows that one of the two had to be brought.
    pub(crate) differed: u64,
    /// Partitions of which this member, their holder, knows now what the other had.
    pub(crate) covered: usize,
}

/// The last comparison with each member since this one started.
#[derive(Default)]
pub(crate) struct Comparisons(Mutex<BTreeMap<MemberId, Comparison>>);

/// Changes of rows that somebody may lack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) count: u64,
    pub(crate) since: Option<Timestamp>,
}

/// What a member knows of the rows of those partitions in which it votes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowsKnown {
    /// Who has every row, and of which partitions.
    pub(crate) kept: BTreeMap<BTreeSet<MemberId>, Vec<u16>>,
    /// Partitions of which this member does not know whether it has every row.
    pub(crate) unknown: u16,
    /// Changes that only these are known to have.
    pub(crate) short: BTreeMap<BTreeSet<MemberId>, Changes>,
    /// Voters that may lack changes.
    pub(crate) behind: BTreeMap<MemberId, Changes>,
    /// Voters of which nothing is known, and in how many partitions.
    pub(crate) uncompared: BTreeMap<MemberId, u16>,
    /// When every other voter had been compared: the oldest of their last comparisons.
    pub(crate) compared: Option<Timestamp>,
}

impl Changes {
    fn add(&mut self, count: u64, since: Timestamp) {
        self.count = self.count.saturating_add(count);
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
    }
}

impl Comparisons {
    pub(super) fn note(&self, member: MemberId, comparison: Comparison) {
        self.lock().insert(member, comparison);
    }

    /// Whether a member was compared in all partitions in which it votes with this one now.
    pub(super) fn covers(&self, inner: &Inner, member: MemberId) -> bool {
        let views = pass::views(inner);
        let shared = pass::shared(inner, &views, member);
        let all = self.lock();
        let compared = all.get(&member).map(|comparison| &comparison.epochs);
        let mut shared = views.iter().filter(|(partition, _)| shared.contains(partition));
        shared.all(|(partition, epoch)| compared.is_some_and(|known| known.get(partition) == Some(epoch)))
    }

    /// What follows from them.
    pub(crate) fn known(&self, inner: &Inner) -> RowsKnown {
        let registers = inner.partitions.registers();
        let mut known = RowsKnown::default();
        let (misses, comparisons) = (registers.misses(), self.lock().clone());
        for partition in 0..=ROOT_PARTITION {
            let (epoch, configs) = (registers.epoch(partition), registers.configs(partition));
            if let Some(config) = configs.get(epoch) {
                known.add(inner.me, (partition, epoch, config), &comparisons, &misses);
            }
        }
        known
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MemberId, Comparison>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RowsKnown {
    /// Adds what is known of one partition.
    fn add(
        &mut self,
        me: MemberId,
        (partition, epoch, config): (u16, Epoch, &Config),
        comparisons: &BTreeMap<MemberId, Comparison>,
        misses: &Misses,
    ) {
        let voters = config.members();
        if !voters.contains(&me) {
            return;
        }
        let mut have = BTreeSet::from([me]);
        for member in voters.iter().filter(|member| **member != me) {
            let comparison = comparisons.get(member);
            let comparison =
                comparison.filter(|comparison| comparison.epochs.get(&partition) == Some(&epoch));
            match comparison {
                Some(Comparison { at, .. }) => {
                    have.insert(*member);
                    self.compared = Some(self.compared.map_or(*at, |earliest| earliest.min(*at)));
                }
                None => *self.uncompared.entry(*member).or_default() += 1,
            }
        }
        if config.new.is_some() || !config.is_quorum(&have) {
            self.unknown += 1;
            return;
        }
        let missing: BTreeMap<_, _> = have
            .iter()
            .filter_map(|member| Some((*member, misses.get(&(*member, partition))?)))
            .collect();
        for (member, miss) in &missing {
            self.behind
                .entry(*member)
                .or_default()
                .add(miss.changes, miss.since);
        }
        // Several may lack the same changes.
        if let Some(miss) = missing.values().max_by_key(|miss| miss.changes) {
            let left: BTreeSet<_> = have
                .iter()
                .copied()
                .filter(|member| !missing.contains_key(member))
                .collect();
            self.short.entry(left).or_default().add(miss.changes, miss.since);
        }
        self.kept.entry(have).or_default().push(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::registers::Miss;
    use crate::register::Votes;

    const ME: MemberId = MemberId(1);
    const BEN: MemberId = MemberId(2);
    const CLEO: MemberId = MemberId(3);

    /// What is known of partition 7 in epoch 4.
    fn known(
        votes: &[(MemberId, u8)],
        compared: &[(MemberId, Epoch)],
        missed: &[(MemberId, u64)],
    ) -> RowsKnown {
        let config = Config::stable(Votes::new(votes.iter().copied()).unwrap());
        let comparison = |epoch| Comparison {
            at: Timestamp::from_millis(9),
            epochs: [(7, epoch)].into(),
            differed: 0,
            covered: 0,
        };
        let comparisons = compared
            .iter()
            .map(|(member, epoch)| (*member, comparison(*epoch)));
        let miss = |changes| Miss {
            changes,
            since: Timestamp::from_millis(5),
        };
        let misses = missed
            .iter()
            .map(|(member, changes)| ((*member, 7), miss(*changes)));
        let mut known = RowsKnown::default();
        known.add(ME, (7, 4, &config), &comparisons.collect(), &misses.collect());
        known
    }

    fn kept(known: &RowsKnown) -> Vec<Vec<u32>> {
        known
            .kept
            .keys()
            .map(|members| members.iter().map(|member| member.0).collect())
            .collect()
    }

    #[test]
    fn a_member_that_decides_alone_has_every_row_and_knows_of_nobody_else_until_it_is_compared() {
        assert_eq!(kept(&known(&[(ME, 1)], &[], &[])), [[1]]);
        let alone = known(&[(ME, 2), (BEN, 1)], &[], &[]);
        assert_eq!(
            (kept(&alone), alone.uncompared),
            (vec![vec![1]], [(BEN, 1)].into())
        );
        let both = known(&[(ME, 2), (BEN, 1)], &[(BEN, 4)], &[]);
        assert_eq!(
            (kept(&both), both.compared),
            (vec![vec![1, 2]], Some(Timestamp::from_millis(9)))
        );
    }

    #[test]
    fn a_comparison_under_older_voters_says_nothing() {
        let old = known(&[(ME, 2), (BEN, 1)], &[(BEN, 3)], &[]);
        assert_eq!((kept(&old), old.uncompared), (vec![vec![1]], [(BEN, 1)].into()));
    }

    #[test]
    fn who_is_no_quorum_with_those_it_was_compared_with_knows_nothing() {
        let third = known(&[(ME, 1), (BEN, 2)], &[], &[]);
        assert_eq!((kept(&third), third.unknown), (vec![], 1));
        let of_three = [(ME, 1), (BEN, 1), (CLEO, 1)];
        assert_eq!(known(&of_three, &[], &[]).unknown, 1);
        assert_eq!(kept(&known(&of_three, &[(CLEO, 4)], &[])), [[1, 3]]);
    }

    #[test]
    fn a_write_that_was_not_acknowledged_is_only_where_it_is_known_to_be() {
        let missed = known(&[(ME, 2), (BEN, 1)], &[(BEN, 4)], &[(BEN, 3)]);
        let since = Some(Timestamp::from_millis(5));
        let changes = Changes { count: 3, since };
        assert_eq!(missed.short, [([ME].into(), changes)].into());
        assert_eq!(
            (kept(&missed), missed.behind),
            (vec![vec![1, 2]], [(BEN, changes)].into())
        );
    }

    #[test]
    fn rows_of_partitions_in_which_others_vote_are_for_them_to_know() {
        assert_eq!(known(&[(BEN, 1)], &[], &[]), RowsKnown::default());
    }
}
