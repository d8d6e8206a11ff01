//! The rows of one partition as its acceptor sees them: what is on disk, and above it what is queued for the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

use super::record;
use crate::StoreError;
use crate::disk::Disk;
use crate::register::{Key, KeyRange, Row, Rows, Stamp};

/// Stamps told in one page.
const HEADS_MAX: usize = 1000;

/// Rows that were decided and are queued for the disk, with the number of the commit that carries each.
pub(super) type Pending = BTreeMap<Key, (u64, Row)>;

/// Whether tombstones may stand on this disk. A box alone leaves none, and need not look for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tombstones {
    /// Not one.
    None,
    /// Some may.
    Maybe,
}

impl Tombstones {
    /// Looks for them.
    pub(super) fn on(disk: &Disk) -> Result<Self, StoreError> {
        let from = record::END_OF_ROWS;
        let first = disk.first_key(Included(from), Excluded(record::END_OF_TOMBSTONES))?;
        Ok(first.map_or(Self::None, |_| Self::Maybe))
    }
}

/// Stamps of rows that were looked up on disk.
pub(super) type Stamps = BTreeMap<Key, Stamp>;

/// A view of the rows of one partition. What the disk cannot say is noted, and reads as absent: whoever asked must look at
/// [`View::failure`] before it acts on anything.
pub(super) struct View<'a> {
    disk: &'a Disk,
    /// `None` shows the durable state alone.
    pending: Option<&'a Pending>,
    /// What need not be looked up again.
    known: Option<&'a Stamps>,
    tombstones: Tombstones,
    partition: u16,
    partition_of: fn(&[u8]) -> Option<u16>,
    failure: RefCell<Option<StoreError>>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        disk: &'a Disk,
        pending: Option<&'a Pending>,
        tombstones: Tombstones,
        partition: u16,
        partition_of: fn(&[u8]) -> Option<u16>,
    ) -> Self {
        Self {
            disk,
            pending,
            known: None,
            tombstones,
            partition,
            partition_of,
            failure: RefCell::new(None),
        }
    }

    /// The same view where some stamps are known. None of these rows may have been changed on disk since.
    pub(super) fn knowing(self, known: &'a Stamps) -> Self {
        Self {
            known: Some(known),
            ..self
        }
    }

    /// Why something could not be read.
    pub(super) fn failure(self) -> Result<(), StoreError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    /// Every row of some ranges, tombstones too.
    pub(super) fn in_ranges(&self, ranges: &[KeyRange]) -> BTreeMap<Key, Row> {
        let mut rows = BTreeMap::new();
        for range in ranges {
            let found = self.collect_range(range, usize::MAX, |key, _| self.row(key));
            rows.extend(self.noted(found).unwrap_or_default());
        }
        rows
    }

    /// Keys of some rows and tombstones, about so many.
    pub(super) fn some_keys(&self, most: usize) -> Vec<Key> {
        let all = KeyRange {
            from: Key::new(),
            to: None,
        };
        let forgotten = |key: &Key| {
            let pending = self.pending.and_then(|pending| pending.get(key));
            pending.is_some_and(|(_, row)| row.stamp.is_zero())
        };
        let found = self.collect_range(&all, most, |_, _| ());
        let mut keys: Vec<Key> = self.noted(found).unwrap_or_default().into_keys().collect();
        keys.extend(self.pending.into_iter().flatten().map(|(key, _)| key.clone()));
        keys.retain(|key| !forgotten(key));
        keys
    }

    fn read(&self, key: &Key) -> Result<Row, StoreError> {
        if let Some((_, row)) = self.pending.and_then(|pending| pending.get(key)) {
            return Ok(row.clone());
        }
        let row = match self.disk.whole_row(key)? {
            Some(row) => Some(row),
            None if self.tombstones == Tombstones::None => None,
            None => self.disk.whole_row(&record::tombstone_key(key))?,
        };
        row.map_or_else(|| Ok(Row::absent()), |row| record::row(&row))
    }

    /// The first rows of a range, in the order of their keys.
    fn collect_range<T>(
        &self,
        range: &KeyRange,
        most: usize,
        of: impl Fn(&Key, &[u8]) -> T,
    ) -> Result<BTreeMap<Key, T>, StoreError> {
        let mut rows = BTreeMap::new();
        for hidden in [false, true] {
            if hidden && self.tombstones == Tombstones::None {
                break;
            }
            let bound = |key: &Key| match hidden {
                true => record::tombstone_key(key),
                false => key.to_vec(),
            };
            let from = bound(&range.from);
            let to = match (&range.to, hidden) {
                (Some(to), _) => bound(to),
                (None, false) => record::END_OF_ROWS.to_vec(),
                (None, true) => record::END_OF_TOMBSTONES.to_vec(),
            };
            let mut found = 0;
            let mut scan = self.disk.scan(Included(&from), Excluded(&to))?;
            while let Some(row) = scan.next_row()? {
                let key = match hidden {
                    true => record::hidden_key(row.key()),
                    false => Some(row.key()),
                };
                let Some(key) = key.filter(|key| (self.partition_of)(key) == Some(self.partition)) else {
                    continue;
                };
                let key = Key::copy_from_slice(key);
                // A tombstone below a row does not count.
                rows.entry(key.clone()).or_insert_with(|| of(&key, row.summary()));
                found += 1;
                if found > most {
                    break;
                }
            }
        }
        Ok(rows)
    }

    fn noted<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

impl Rows for View<'_> {
    fn row(&self, key: &Key) -> Row {
        self.noted(self.read(key)).unwrap_or_else(Row::absent)
    }

    fn stamp(&self, key: &Key) -> Stamp {
        let pending = self.pending.and_then(|pending| pending.get(key));
        let known = || self.known?.get(key).copied();
        let stamp = pending.map(|(_, row)| row.stamp).or_else(known);
        stamp.unwrap_or_else(|| self.row(key).stamp)
    }

    fn heads(&self, range: &KeyRange) -> (Vec<(Key, Stamp)>, Option<KeyRange>) {
        let found = self.collect_range(range, HEADS_MAX, |_, summary| record::stamp_of(summary));
        let mut heads: BTreeMap<Key, Stamp> = BTreeMap::new();
        for (key, stamp) in self.noted(found).unwrap_or_default() {
            let damaged = || StoreError::Damaged("summary of a register".into());
            if let Some(stamp) = self.noted(stamp.ok_or_else(damaged)) {
                heads.insert(key, stamp);
            }
        }
        let within = self
            .pending
            .into_iter()
            .flatten()
            .filter(|(key, _)| range.contains(key));
        heads.extend(within.map(|(key, (_, row))| (key.clone(), row.stamp)));
        let next = (heads.len() > HEADS_MAX)
            .then(|| heads.keys().nth(HEADS_MAX).cloned())
            .flatten();
        let next = next.map(|from| KeyRange {
            from,
            to: range.to.clone(),
        });
        (heads.into_iter().take(HEADS_MAX).collect(), next)
    }
}
