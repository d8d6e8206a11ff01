//! For each partition, the members that hold it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{MemberId, Partition};

/// For each of the 256 partitions its members, in ascending order and each once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<MemberId>>", into = "Vec<Vec<MemberId>>")]
pub(super) struct Holders(Vec<Vec<MemberId>>);

impl Holders {
    /// Held by nobody.
    pub(super) fn nobody() -> Self {
        Self(vec![Vec::new(); Partition::COUNT])
    }

    /// Asks for the members of each partition.
    pub(super) fn from_fn(mut members: impl FnMut(Partition) -> Vec<MemberId>) -> Self {
        let sorted = |partition| {
            let mut members = members(partition);
            members.sort_unstable();
            members.dedup();
            members
        };
        Self(Partition::all().map(sorted).collect())
    }

    pub(super) fn of(&self, partition: Partition) -> &[MemberId] {
        &self.0[usize::from(partition.0)]
    }

    pub(super) fn holds(&self, partition: Partition, member: MemberId) -> bool {
        self.of(partition).binary_search(&member).is_ok()
    }

    /// How many partitions each member holds; members without any are not in it.
    pub(super) fn counts(&self) -> BTreeMap<MemberId, usize> {
        let mut counts = BTreeMap::new();
        for member in self.0.iter().flatten() {
            *counts.entry(*member).or_default() += 1;
        }
        counts
    }

    /// Copies of the partition that has most.
    pub(super) fn copies(&self) -> usize {
        self.0.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Copies of all partitions together.
    pub(super) fn total(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// How many copies are here and not in `before`: what has to be copied.
    pub(super) fn copied_since(&self, before: &Self) -> usize {
        let gained = |partition| {
            let gained = self.of(partition).iter();
            gained.filter(|member| !before.holds(partition, **member)).count()
        };
        Partition::all().map(gained).sum()
    }
}

impl TryFrom<Vec<Vec<MemberId>>> for Holders {
    type Error = &'static str;

    fn try_from(partitions: Vec<Vec<MemberId>>) -> Result<Self, Self::Error> {
        if partitions.len() != Partition::COUNT {
            Err("not 256 partitions")
        } else if !partitions
            .iter()
            .all(|members| members.is_sorted_by(|a, b| a < b))
        {
            Err("members of a partition are not in ascending order")
        } else {
            Ok(Self(partitions))
        }
    }
}

impl From<Holders> for Vec<Vec<MemberId>> {
    fn from(holders: Holders) -> Self {
        holders.0
    }
}
