//! Counts, from what is noted on this disk, what is missing where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};

use tokio::time::Instant;

use super::Blocks;
use super::holders::Holders;
use super::noted::Noted;
use super::walk::Walking;
use crate::StoreError;
use crate::disk::DiskError;
use crate::health::Amount;
use crate::model::{MemberId, Zone, row_key};

/// A report's measure of everything.
const MILLION: u32 = 1_000_000;

/// What is not known to be everywhere it is wanted, of what this member holds or took in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// The assignment by which that is so; 0 before the first.
    pub(crate) assignment: u64,
    /// How much of what is here was handed on or noted by that assignment.
    pub(crate) proven_millionths: u32,
    /// By the zones that are known to have it.
    pub(crate) kept: BTreeMap<BTreeSet<Zone>, Amount>,
    /// By the members that are not known to have it.
    pub(crate) owed: BTreeMap<MemberId, Amount>,
    /// Bytes a second that are brought to members.
    pub(crate) rates: BTreeMap<MemberId, u64>,
}

impl Shortage {
    fn add(&mut self, holders: &Holders, noted: &Noted) {
        let amount = Amount {
            count: 1,
            bytes: u64::from(noted.bytes),
            since: Some(noted.since),
        };
        self.kept
            .entry(holders.zones(&noted.have))
            .or_default()
            .add(amount);
        for member in holders.wanted(&noted.pair.1) {
            if !noted.have.contains(&member) {
                self.owed.entry(member).or_default().add(amount);
            }
        }
    }
}

impl Blocks {
    /// What is missing where, as far as this member noted.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn shortage(&self) -> Result<Shortage, StoreError> {
        let holders = self.holders();
        let assignment = holders.version();
        let mut shortage = Shortage {
            assignment,
            rates: self.rates().all(Instant::now()),
            proven_millionths: proven(assignment, self.walked()?, *self.walking()),
            ..Shortage::default()
        };
        let disk = self.disk().clone();
        let count = move || {
            let (from, to) = row_key::all_wanted();
            let mut rows = disk.scan(Included(&from), Excluded(&to))?;
            while let Some(row) = rows.next_row()? {
                if let Some(noted) = Noted::read(row.key(), row.summary()) {
                    shortage.add(&holders, &noted);
                }
            }
            Ok::<_, DiskError>(shortage)
        };
        Ok(self.disk().run(count).await??)
    }
}

/// How many millionths of all ids were walked by an assignment. Before the first, whoever took a block in holds it.
fn proven(assignment: u64, walked: Option<u64>, walking: Walking) -> u32 {
    if assignment == 0 || walked == Some(assignment) {
        return MILLION;
    }
    let below = walking.below.filter(|_| walking.version == assignment);
    let first = below.map_or(0, |id| {
        let [a, b, c, d, ..] = id.0;
        u32::from_be_bytes([a, b, c, d])
    });
    // Below a million, as `first` is below 2³².
    u32::try_from((u64::from(first) * u64::from(MILLION)) >> 32).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BlockId;

    #[test]
    fn what_was_walked_by_an_older_assignment_is_not_proven() {
        let walking = |version, byte| Walking {
            version,
            below: Some(BlockId([byte; 32])),
        };
        assert_eq!(proven(0, None, Walking::default()), MILLION);
        assert_eq!(proven(3, Some(3), Walking::default()), MILLION);
        assert_eq!(proven(4, Some(3), walking(3, 0xff)), 0);
        assert_eq!(proven(4, Some(3), walking(4, 0x80)), 501_960);
        assert_eq!(proven(4, None, walking(4, 0xff)), 999_999);
    }
}
