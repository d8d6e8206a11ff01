//! Sums of rows, partition by partition: a member that is asked what it has leaves out what the asker has too.
//!
//! By partitions, since each has voters of its own: of neighbouring keys two members hold different ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::scan::{Told, ToldRow};

/// What somebody has of a partition within a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartitionSum {
    partition: u16,
    /// Of keys and stamps in the order of the keys: rows of one stamp have one content. Half of a BLAKE3 hash, so that nobody
    /// finds two lists of one sum.
    #[serde(with = "serde_bytes")]
    sum: [u8; 16],
}

/// Which partition a key belongs to.
type PartitionOf = fn(&[u8]) -> Option<u16>;

/// What these rows are of each partition.
pub(super) fn sums_of(rows: &[ToldRow], partition_of: PartitionOf) -> Vec<PartitionSum> {
    let mut hashers: BTreeMap<u16, blake3::Hasher> = BTreeMap::new();
    for row in rows {
        let Some(partition) = partition_of(&row.key) else {
            continue;
        };
        let hasher = hashers.entry(partition).or_default();
        hasher
            .update(&(row.key.len() as u64).to_le_bytes())
            .update(&row.key);
        hasher.update(&crate::seal::cbor(&row.stamp));
    }
    hashers
        .into_iter()
        .map(|(partition, hasher)| {
            let mut sum = [0; 16];
            hasher.finalize_xof().fill(&mut sum);
            PartitionSum { partition, sum }
        })
        .collect()
}

impl Told {
    /// Leaves out what the asker has too.
    pub(super) fn without_same(mut self, known: &[PartitionSum], partition_of: PartitionOf) -> Self {
        // Of a range that is not told to its end nothing is known behind it.
        if self.end.is_some() {
            return self;
        }
        let mine = sums_of(&self.rows, partition_of);
        let same: BTreeSet<u16> = mine
            .iter()
            .filter(|sum| known.contains(sum))
            .map(|sum| sum.partition)
            .collect();
        self.rows
            .retain(|row| !partition_of(&row.key).is_some_and(|partition| same.contains(&partition)));
        self.same = same.into_iter().collect();
        self
    }

    /// Puts in what was left out, which are the asker's own rows; `None` where that cannot be.
    pub(super) fn with_same(
        mut self,
        known: &[PartitionSum],
        mine: &[ToldRow],
        partition_of: PartitionOf,
    ) -> Option<Self> {
        let same: BTreeSet<u16> = std::mem::take(&mut self.same).into_iter().collect();
        let is_same = |row: &&ToldRow| partition_of(&row.key).is_some_and(|number| same.contains(&number));
        let is_known = |number: &u16| known.iter().any(|sum| sum.partition == *number);
        if !same.iter().all(is_known) || self.rows.iter().any(|row| is_same(&row)) {
            return None;
        }
        self.rows.extend(mine.iter().filter(is_same).cloned());
        self.rows.sort_by(|one, other| one.key.cmp(&other.key));
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::MemberId;
    use crate::register::{Ballot, Key, Stamp};

    fn row(key: u16, seq: u32) -> ToldRow {
        ToldRow {
            key: Key::from(format!("k{key:04}")),
            stamp: Stamp {
                ballot: Ballot {
                    epoch: 1,
                    round: 1,
                    member: MemberId(1),
                },
                seq,
            },
            chosen: false,
            summary: None,
        }
    }

    /// Ten partitions, and keys that are in none.
    fn partition_of(key: &[u8]) -> Option<u16> {
        let last = *key.last()?;
        (key.len() == 5).then(|| u16::from(last - b'0'))
    }

    fn told(rows: &BTreeMap<u16, u32>, end: Option<u16>) -> Told {
        let end = end.map(|end| row(end, 0).key);
        let rows = rows.iter().map(|(key, seq)| row(*key, *seq));
        Told {
            rows: rows
                .filter(|row| end.as_ref().is_none_or(|end| row.key < *end))
                .collect(),
            end,
            ..Told::default()
        }
    }

    fn rows() -> impl Strategy<Value = BTreeMap<u16, u32>> {
        prop::collection::btree_map(0..300_u16, Just(1), 0..250)
    }

    proptest! {
        #[test]
        fn what_is_left_out_is_put_in_again(
            mine in rows(),
            changes in prop::collection::btree_map(0..300_u16, prop::option::of(2..4_u32), 0..4),
            end in prop::option::of(0..300_u16),
        ) {
            let mut theirs = mine.clone();
            for (key, seq) in changes {
                match seq {
                    Some(seq) => drop(theirs.insert(key, seq)),
                    None => drop(theirs.remove(&key)),
                }
            }
            let (mine, theirs) = (told(&mine, None), told(&theirs, end));
            let known = sums_of(&mine.rows, partition_of);
            let sent = theirs.clone().without_same(&known, partition_of);
            prop_assert_eq!(sent.with_same(&known, &mine.rows, partition_of), Some(theirs));
        }

        #[test]
        fn sums_of_somebody_hostile_do_no_harm(
            mine in rows(),
            known in prop::collection::vec((0..12_u16, any::<[u8; 16]>()), 0..9),
            same in prop::collection::vec(0..12_u16, 0..9),
        ) {
            let known: Vec<_> = known
                .into_iter()
                .map(|(partition, sum)| PartitionSum { partition, sum })
                .collect();
            let mine = told(&mine, None);
            let answer = mine.clone().without_same(&known, partition_of);
            prop_assert_eq!(&answer.rows, &mine.rows);
            // Whoever names what it also tells, or what nobody asked about, is not listened to.
            let lying = Told { same: same.clone(), ..mine.clone() };
            let known = sums_of(&mine.rows, partition_of);
            let read = lying.with_same(&known, &mine.rows, partition_of);
            prop_assert_eq!(read.is_some(), same.is_empty());
        }
    }

    #[test]
    fn of_equal_rows_none_is_sent_and_of_one_that_differs_its_partition() {
        let mine: BTreeMap<u16, u32> = (0..200).map(|key| (key, 1)).collect();
        let known = sums_of(&told(&mine, None).rows, partition_of);
        assert_eq!(known.len(), 10);
        let equal = told(&mine, None).without_same(&known, partition_of);
        assert_eq!((equal.rows.len(), equal.same.len()), (0, 10));
        let mut other = mine.clone();
        other.insert(43, 2);
        let differing = told(&other, None).without_same(&known, partition_of);
        assert_eq!(
            (differing.rows.len(), differing.same),
            (20, vec![0, 1, 2, 4, 5, 6, 7, 8, 9])
        );
    }
}
