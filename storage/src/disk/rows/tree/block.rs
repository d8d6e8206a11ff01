//! A block of rows in key order: what memtables and tables are made of.
//!
//! Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | p | what all keys begin with |
//! | … | entries in key order: bytes of the rest of the key (2), bytes of the entry (2; `FFFF`: the row is forgotten), the rest of the key, the entry |
//! | 2 × n | where each entry begins, from the start of the block |
//! | 2 | n |
//! | 2 | p |

use std::cmp::Ordering;
use std::ops::Range;

/// Bytes of an entry's two lengths.
const LENGTHS: usize = 4;
/// Bytes behind the places of the entries.
const TRAILER: usize = 4;
/// Length of the entry of a row that is forgotten.
const FORGOTTEN: u16 = u16::MAX;
/// What a block may have, so that all places fit 16 bits.
const BYTES_MAX: usize = u16::MAX as usize;

/// A row in a block: the rest of its key, and its entry unless it is forgotten.
pub(super) type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// A block that is well-formed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    bytes: Vec<u8>,
    prefix: usize,
    /// Where the places of the entries begin.
    places: usize,
    rows: usize,
}

impl Block {
    /// Reads a block; `None` if it is none. Whether the keys are in order is for a checksum to say.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let trailer = bytes.len().checked_sub(TRAILER)?;
        let (rows, prefix) = (u16_at(&bytes, trailer)?, u16_at(&bytes, trailer + 2)?);
        let (rows, prefix) = (usize::from(rows), usize::from(prefix));
        let places = trailer.checked_sub(2 * rows).filter(|places| prefix <= *places)?;
        let mut next = prefix;
        for row in 0..rows {
            let at = usize::from(u16_at(&bytes, places + 2 * row)?);
            let (key, entry) = (u16_at(&bytes, at)?, u16_at(&bytes, at + 2)?);
            let entry = if entry == FORGOTTEN { 0 } else { entry };
            if at != next {
                return None;
            }
            next += LENGTHS + usize::from(key) + usize::from(entry);
        }
        (next == places).then_some(Self {
            bytes,
            prefix,
            places,
            rows,
        })
    }

    /// A block of one row.
    pub(super) fn of_row(key: &[u8], entry: Option<&[u8]>) -> Self {
        let nothing = Self::from_entries(&[], std::iter::empty());
        nothing.with(key, entry)
    }

    /// The block of whole keys with these entries, the first of which begins at 0.
    fn from_entries(entries: &[u8], places: impl Iterator<Item = u16>) -> Self {
        let mut bytes = Vec::with_capacity(entries.len() + entries.len() / 16 + TRAILER);
        bytes.extend_from_slice(entries);
        for place in places {
            bytes.extend_from_slice(&place.to_le_bytes());
        }
        let rows = (bytes.len() - entries.len()) / 2;
        bytes.extend_from_slice(&short(rows));
        bytes.extend_from_slice(&[0, 0]);
        Self {
            bytes,
            prefix: 0,
            places: entries.len(),
            rows,
        }
    }

    /// Its bytes as they are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What all keys begin with.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.bytes[..self.prefix]
    }

    /// The `row`-th row, which must be there.
    #[inline]
    pub(super) fn row(&self, row: usize) -> Row<'_> {
        let (key, entry) = self.row_at(row);
        (&self.bytes[key], entry.map(|entry| &self.bytes[entry]))
    }

    /// Where the parts of the `row`-th row, which must be there, lie in [`Self::bytes`].
    #[inline]
    pub(super) fn row_at(&self, row: usize) -> (Range<usize>, Option<Range<usize>>) {
        let at = self.place(row);
        let (key, entry) = (self.short_at(at), self.short_at(at + 2));
        let start = at + LENGTHS;
        let end = start + usize::from(key);
        let entry = (entry != FORGOTTEN).then(|| end..end + usize::from(entry));
        (start..end, entry)
    }

    /// The entry of a key: `None` if the block has none, `Some(None)` if the row is forgotten.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let (row, found) = self.seek(key);
        found.then(|| self.row(row).1)
    }

    /// How many rows come before a key, and whether the next one has that key.
    pub(super) fn seek(&self, key: &[u8]) -> (usize, bool) {
        let Some(rest) = key.strip_prefix(self.prefix()) else {
            return match key.cmp(self.prefix()) {
                Ordering::Less => (0, false),
                _ => (self.rows, false),
            };
        };
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low.midpoint(high);
            match self.row(middle).0.cmp(rest) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// This block of whole keys with one row set.
    pub(super) fn with(&self, key: &[u8], entry: Option<&[u8]>) -> Self {
        let (row, found) = self.seek(key);
        let (start, end) = (self.place(row), self.place(row + usize::from(found)));
        let added = LENGTHS + key.len() + entry.map_or(0, <[u8]>::len);
        let mut bytes = Vec::with_capacity(self.bytes.len() + added + 2);
        bytes.extend_from_slice(&self.bytes[..start]);
        push_entry(&mut bytes, key, entry);
        bytes.extend_from_slice(&self.bytes[end..self.places]);
        let places = bytes.len();
        bytes.extend_from_slice(&self.bytes[self.places..self.places + 2 * row]);
        bytes.extend_from_slice(&short(start));
        for later in row + usize::from(found)..self.rows {
            bytes.extend_from_slice(&short(self.place(later) - end + start + added));
        }
        let rows = self.rows + usize::from(!found);
        bytes.extend_from_slice(&short(rows));
        bytes.extend_from_slice(&[0, 0]);
        Self {
            bytes,
            prefix: 0,
            places,
            rows,
        }
    }

    /// This block of whole keys in two, the second from the `row`-th row on.
    pub(super) fn split(&self, row: usize) -> (Self, Self) {
        let at = self.place(row);
        let places = |rows: Range<usize>, from: usize| {
            rows.map(move |row| u16::from_le_bytes(short(self.place(row) - from)))
        };
        (
            Self::from_entries(&self.bytes[..at], places(0..row, 0)),
            Self::from_entries(&self.bytes[at..self.places], places(row..self.rows, at)),
        )
    }

    /// Where the `row`-th row begins; where the entries end for the one behind the last.
    #[inline]
    fn place(&self, row: usize) -> usize {
        if row == self.rows {
            return self.places;
        }
        usize::from(self.short_at(self.places + 2 * row))
    }

    #[inline]
    fn short_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }
}

/// Builds blocks of rows that come in key order.
#[derive(Default)]
pub(super) struct BlockBuilder {
    /// Entries with whole keys.
    entries: Vec<u8>,
    places: Vec<usize>,
}

impl BlockBuilder {
    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of the block, less what its keys have in common, if this row were added.
    pub(super) fn bytes_with(&self, key: &[u8], entry: Option<&[u8]>) -> usize {
        let added = LENGTHS + key.len() + entry.map_or(0, <[u8]>::len);
        let whole = self.entries.len() + added + 2 * (self.places.len() + 1) + TRAILER;
        // In key order, so the new key shares no more with the first one than all others do.
        whole - self.common(key) * self.places.len()
    }

    /// Adds the next row.
    pub(super) fn add(&mut self, key: &[u8], entry: Option<&[u8]>) {
        self.places.push(self.entries.len());
        push_entry(&mut self.entries, key, entry);
    }

    /// Key of the first row; empty if there is none.
    pub(super) fn first_key(&self) -> &[u8] {
        self.key(0)
    }

    /// Adds the block of what was added to `out`, and begins another.
    pub(super) fn finish_into(&mut self, out: &mut Vec<u8>) {
        let prefix = self.common(self.key(self.places.len().saturating_sub(1)));
        let start = out.len();
        out.extend_from_slice(&self.first_key()[..prefix]);
        let ends = self.places.iter().skip(1).copied().chain([self.entries.len()]);
        for (place, end) in self.places.iter().zip(ends) {
            let entry = &self.entries[*place..end];
            let key = usize::from(u16::from_le_bytes([entry[0], entry[1]]));
            out.extend_from_slice(&short(key - prefix));
            out.extend_from_slice(&entry[2..LENGTHS]);
            out.extend_from_slice(&entry[LENGTHS + prefix..]);
        }
        for (row, place) in self.places.iter().enumerate() {
            // Each row before it has lost what the keys have in common; the first place is behind that.
            out.extend_from_slice(&short(place + prefix - row * prefix));
        }
        out.extend_from_slice(&short(self.places.len()));
        out.extend_from_slice(&short(prefix));
        debug_assert!(out.len() - start <= BYTES_MAX);
        self.entries.clear();
        self.places.clear();
    }

    /// Bytes that a key and the first one begin with alike.
    fn common(&self, key: &[u8]) -> usize {
        let pairs = self.first_key().iter().zip(key);
        pairs.take_while(|(a, b)| a == b).count()
    }

    fn key(&self, row: usize) -> &[u8] {
        let Some(at) = self.places.get(row) else {
            return &[];
        };
        let entry = &self.entries[*at..];
        let key = usize::from(u16::from_le_bytes([entry[0], entry[1]]));
        &entry[LENGTHS..LENGTHS + key]
    }
}

fn push_entry(out: &mut Vec<u8>, key: &[u8], entry: Option<&[u8]>) {
    out.extend_from_slice(&short(key.len()));
    out.extend_from_slice(&entry.map_or(FORGOTTEN.to_le_bytes(), |entry| short(entry.len())));
    out.extend_from_slice(key);
    out.extend_from_slice(entry.unwrap_or_default());
}

/// A number that is known to fit: keys, entries and blocks are bounded by their writers.
fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn rows() -> impl Strategy<Value = Rows> {
        let key = "(photos/)?[ab]{0,4}".prop_map(String::into_bytes);
        let entry = prop::option::of(prop::collection::vec(any::<u8>(), 0..20));
        prop::collection::btree_map(key, entry, 1..20)
    }

    fn built(rows: &Rows) -> Block {
        let (mut builder, mut bytes) = (BlockBuilder::default(), Vec::new());
        let mut expected = 0;
        for (key, entry) in rows {
            expected = builder.bytes_with(key, entry.as_deref());
            builder.add(key, entry.as_deref());
        }
        builder.finish_into(&mut bytes);
        assert_eq!(bytes.len(), expected);
        assert!(builder.is_empty());
        Block::parse(bytes).unwrap()
    }

    fn read(block: &Block) -> Rows {
        let row = |row| {
            let (rest, entry) = block.row(row);
            ([block.prefix(), rest].concat(), entry.map(<[u8]>::to_vec))
        };
        (0..block.rows()).map(row).collect()
    }

    proptest! {
        #[test]
        fn a_block_reads_back_what_was_built(rows in rows(), key in "(photos/)?[abc]{0,4}") {
            let block = built(&rows);
            prop_assert_eq!(&read(&block), &rows);
            let key = key.into_bytes();
            prop_assert_eq!(block.get(&key), rows.get(&key).map(Option::as_deref));
            prop_assert_eq!(block.seek(&key).0, rows.range(..key).count());
        }

        #[test]
        fn a_block_in_memory_is_set_and_split_like_a_map(
            changes in prop::collection::vec(("[ab]{1,3}", prop::option::of("[0-9]{0,9}")), 1..40),
            at in any::<prop::sample::Index>(),
        ) {
            let (mut block, mut map) = (None::<Block>, Rows::new());
            for (key, entry) in changes {
                let (key, entry) = (key.into_bytes(), entry.map(String::into_bytes));
                block = Some(match &block {
                    None => Block::of_row(&key, entry.as_deref()),
                    Some(block) => block.with(&key, entry.as_deref()),
                });
                map.insert(key, entry);
                let block = block.as_ref().unwrap();
                prop_assert_eq!(&read(block), &map);
                let parsed = Block::parse(block.bytes().to_vec());
                prop_assert_eq!(parsed.as_ref(), Some(block));
            }
            let (left, right) = block.unwrap().split(at.index(map.len() + 1));
            let halves: Rows = read(&left).into_iter().chain(read(&right)).collect();
            prop_assert_eq!(halves, map);
        }

        #[test]
        fn hostile_blocks_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..64), rows in rows(), at in any::<prop::sample::Index>(), to: u8) {
            let mut damaged = built(&rows).bytes().to_vec();
            let at = at.index(damaged.len());
            damaged[at] = to;
            for bytes in [std::mem::take(&mut bytes), damaged] {
                if let Some(block) = Block::parse(bytes) {
                    drop(read(&block));
                    block.get(b"photos/a");
                }
            }
        }
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let rows = [(b"ab1".to_vec(), Some(b"x".to_vec())), (b"ab23".to_vec(), None)];
        let block = built(&Rows::from(rows));
        assert_eq!(
            hex::encode(block.bytes()),
            concat!(
                "6162", "01000100", "31", "78", "0200ffff", "3233", "0200", "0800", "0200", "0200"
            )
        );
    }
}
