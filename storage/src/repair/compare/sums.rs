//! Sums up the rows of some partitions, slot by slot: equal rows give equal sums, in whatever order they are met.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes};

use crate::StoreError;
use crate::cluster::Partitions;
use crate::register::{Key, Stamp};

/// Slots into which all keys fall: of a million rows about 250 fall into each.
pub(super) const SLOTS: u16 = 4096;

/// A sum for each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums(Vec<u64>);

impl Sums {
    fn nothing() -> Self {
        Self(vec![0; usize::from(SLOTS)])
    }

    /// Adds a row: its key, and its stamp as it is written.
    fn add(&mut self, key: &[u8], stamp: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(stamp).update(key);
        let hash = hasher.finalize();
        let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
        if let Some(sum) = self.0.get_mut(usize::from(slot_of(key))) {
            *sum = sum.wrapping_add(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        }
    }

    /// The bytes of them.
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(self.0.len() * 8);
        self.0.iter().for_each(|sum| bytes.put_u64_le(*sum));
        bytes.into()
    }

    /// Reads [`Self::encode`].
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (sums, rest) = bytes.as_chunks();
        let sums: Vec<u64> = sums.iter().map(|sum| u64::from_le_bytes(*sum)).collect();
        (rest.is_empty() && sums.len() == usize::from(SLOTS)).then_some(Self(sums))
    }

    /// The slots in which two differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<u16> {
        let pairs = (0..SLOTS).zip(self.0.iter().zip(&other.0));
        pairs
            .filter(|(_, (mine, theirs))| mine != theirs)
            .map(|(slot, _)| slot)
            .collect()
    }
}

fn slot_of(key: &[u8]) -> u16 {
    let [a, b, ..] = *blake3::hash(key).as_bytes();
    u16::from_le_bytes([a, b]) % SLOTS
}

/// The sums of these partitions as this disk has them. Blocks the thread.
///
/// # Errors
/// The disk fails.
pub(super) fn sums(rows: &Partitions, partitions: &BTreeSet<u16>) -> Result<Sums, StoreError> {
    let mut sums = Sums::nothing();
    rows.registers().heads(|head| {
        if partitions.contains(&head.partition) {
            sums.add(head.key, head.written);
        }
    })?;
    Ok(sums)
}

/// Every key of these partitions in these slots, with its stamp. Blocks the thread.
///
/// # Errors
/// The disk fails.
pub(super) fn heads(
    rows: &Partitions,
    partitions: &BTreeSet<u16>,
    slots: &BTreeSet<u16>,
) -> Result<BTreeMap<Key, Stamp>, StoreError> {
    let mut heads: BTreeMap<Key, Stamp> = BTreeMap::new();
    rows.registers().heads(|head| {
        if partitions.contains(&head.partition) && slots.contains(&slot_of(head.key)) {
            // A row may still stand beside the newer tombstone that hides it.
            let newest = heads.entry(Key::copy_from_slice(head.key)).or_insert(Stamp::ZERO);
            *newest = head.stamp.max(*newest);
        }
    })?;
    Ok(heads)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equal_rows_have_equal_sums_and_one_that_differs_shows(
            rows in prop::collection::btree_map("[a-e]{1,4}", any::<[u8; 16]>(), 1..20),
            changed: prop::sample::Index,
        ) {
            let sum = |rows: &mut dyn Iterator<Item = (&String, &[u8; 16])>| {
                let mut sums = Sums::nothing();
                rows.for_each(|(key, stamp)| sums.add(key.as_bytes(), stamp));
                sums
            };
            let sums = sum(&mut rows.iter());
            prop_assert_eq!(&sum(&mut rows.iter().rev()), &sums);
            prop_assert_eq!(&Sums::decode(&sums.encode()), &Some(sums.clone()));
            let mut other = rows.clone();
            let key = rows.keys().nth(changed.index(rows.len())).unwrap();
            other.get_mut(key).unwrap()[0] ^= 1;
            prop_assert_eq!(sum(&mut other.iter()).differing(&sums), [slot_of(key.as_bytes())]);
        }
    }

    #[test]
    fn sums_that_are_not_one_for_each_slot_are_refused() {
        assert_eq!(Sums::decode(&[0; 8]), None);
        assert_eq!(Sums::decode(&vec![0; usize::from(SLOTS) * 8 + 1]), None);
    }
}
