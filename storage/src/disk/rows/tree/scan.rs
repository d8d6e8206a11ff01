//! Walks rows of several memtables and tables as one, in key order, the newest version of each.

use std::io;
use std::ops::{Bound, Range};
use std::sync::Arc;

use super::block::{Block, Row};
use super::memtable::{BlockAt, Memtable};
use super::table::{BlockCache, Table};
use crate::disk::DiskError;

/// Tables whose rows follow one another: all of one level.
pub(super) type Run = Arc<Vec<Arc<Table>>>;

/// A key and its entry.
pub(in crate::disk::rows) type Entry<'a> = (&'a [u8], &'a [u8]);

/// Where rows come from.
pub(super) enum Source {
    /// A memtable.
    Memtable(Arc<Memtable>),
    /// Tables that follow one another.
    Run(Run),
}

/// The blocks of a source that are not read yet.
enum Blocks {
    Memtable(Arc<Memtable>, BlockAt),
    Run {
        run: Run,
        table: usize,
        block: usize,
        /// Where blocks are kept; without it they are read and forgotten.
        cache: Option<Arc<BlockCache>>,
    },
}

impl Blocks {
    /// The blocks of a source from the one on in which `from` is or would be.
    fn from(source: Source, from: &Bound<Vec<u8>>, cache: Option<Arc<BlockCache>>) -> Self {
        let from = match from {
            Bound::Included(key) | Bound::Excluded(key) => key.as_slice(),
            Bound::Unbounded => &[],
        };
        match source {
            Source::Memtable(memtable) => {
                let at = memtable.block_for(from);
                Self::Memtable(memtable, at)
            }
            Source::Run(run) => {
                let table = run.partition_point(|table| table.last_key() < from);
                let block = run.get(table).map_or(0, |table| table.block_for(from));
                Self::Run {
                    run,
                    table,
                    block,
                    cache,
                }
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<Arc<Block>>> {
        match self {
            Self::Memtable(memtable, at) => Ok(memtable.next_block(at)),
            Self::Run {
                run,
                table,
                block,
                cache,
            } => {
                let Some(current) = run.get(*table) else {
                    return Ok(None);
                };
                let read = match cache {
                    Some(cache) => current.cached_block(*block, cache)?,
                    None => current.block(*block)?,
                };
                *block += 1;
                if *block == current.blocks() {
                    (*table, *block) = (*table + 1, 0);
                }
                Ok(Some(read))
            }
        }
    }
}

/// A row of one source.
struct Cursor {
    blocks: Blocks,
    block: Arc<Block>,
    row: usize,
    /// Rows of the block that lie in the range.
    end: usize,
    /// No block that follows has rows in the range.
    last: bool,
    /// The row's whole key.
    key: Vec<u8>,
    /// The row's entry in the block; `None` if the row is forgotten.
    entry: Option<Range<usize>>,
}

impl Cursor {
    /// The first row of a source in a range, if there is one.
    fn begin(mut blocks: Blocks, from: &Bound<Vec<u8>>, to: &Bound<Vec<u8>>) -> io::Result<Option<Self>> {
        let Some(block) = blocks.next()? else {
            return Ok(None);
        };
        let row = match from {
            Bound::Unbounded => 0,
            Bound::Included(key) => block.seek(key).0,
            Bound::Excluded(key) => {
                let (row, found) = block.seek(key);
                row + usize::from(found)
            }
        };
        let mut cursor = Self {
            blocks,
            block,
            row,
            end: 0,
            last: false,
            key: Vec::with_capacity(128),
            entry: None,
        };
        cursor.enter(to);
        Ok(cursor.settle(to)?.then_some(cursor))
    }

    /// Moves to the next row; false if there is none.
    #[inline]
    fn step(&mut self, to: &Bound<Vec<u8>>) -> io::Result<bool> {
        self.row += 1;
        if self.row < self.end {
            self.take_row();
            return Ok(true);
        }
        self.settle(to)
    }

    /// Goes on to the next block where this one has no more rows; false if there is none.
    fn settle(&mut self, to: &Bound<Vec<u8>>) -> io::Result<bool> {
        while self.row >= self.end {
            if self.last {
                return Ok(false);
            }
            let Some(block) = self.blocks.next()? else {
                return Ok(false);
            };
            (self.block, self.row) = (block, 0);
            self.enter(to);
        }
        self.take_row();
        Ok(true)
    }

    /// Begins a block.
    fn enter(&mut self, to: &Bound<Vec<u8>>) {
        self.end = match to {
            Bound::Unbounded => self.block.rows(),
            Bound::Excluded(key) => self.block.seek(key).0,
            Bound::Included(key) => {
                let (row, found) = self.block.seek(key);
                row + usize::from(found)
            }
        };
        self.last = self.end < self.block.rows();
        self.key.clear();
        self.key.extend_from_slice(self.block.prefix());
    }

    #[inline]
    fn take_row(&mut self) {
        let (rest, entry) = self.block.row_at(self.row);
        self.key.truncate(self.block.prefix().len());
        self.key.extend_from_slice(&self.block.bytes()[rest]);
        self.entry = entry;
    }

    #[inline]
    fn entry(&self) -> Option<&[u8]> {
        self.entry.clone().map(|entry| &self.block.bytes()[entry])
    }
}

/// A cursor that has stayed first for so many rows will stay so for some more: how many is worth a search. Where sources
/// alternate, searching would cost more than comparing.
const STAYED_MIN: u32 = 4;

/// Rows of a range in key order, as they were when the scan began.
pub(crate) struct TreeScan {
    /// Newest source first.
    cursors: Vec<Cursor>,
    /// Places of cursors with a row: the smallest key first, and of equal ones the newest.
    order: Vec<usize>,
    to: Bound<Vec<u8>>,
    /// The first row was given already.
    given: bool,
    /// Rows of the first cursor's block that come before those of all others: nothing need be compared for them.
    ahead: usize,
    /// Rows for which the first cursor has stayed first.
    stayed: u32,
}

impl TreeScan {
    /// Walks `sources`, the newest first.
    pub(super) fn begin(
        sources: impl Iterator<Item = Source>,
        from: &Bound<Vec<u8>>,
        to: Bound<Vec<u8>>,
        cache: Option<&Arc<BlockCache>>,
    ) -> io::Result<Self> {
        let mut scan = Self {
            cursors: Vec::with_capacity(8),
            order: Vec::with_capacity(8),
            to,
            given: false,
            ahead: 0,
            stayed: 0,
        };
        for source in sources {
            let blocks = Blocks::from(source, from, cache.cloned());
            if let Some(cursor) = Cursor::begin(blocks, from, &scan.to)? {
                scan.cursors.push(cursor);
            }
        }
        scan.order.extend(0..scan.cursors.len());
        let cursors = &scan.cursors;
        // A stable sort, so the newest comes first where keys are equal.
        scan.order.sort_by(|a, b| cursors[*a].key.cmp(&cursors[*b].key));
        Ok(scan)
    }

    /// The next row: its key, and its entry unless it is forgotten.
    #[inline]
    pub(super) fn next_version(&mut self) -> io::Result<Option<Row<'_>>> {
        if self.given {
            self.advance_first()?;
        }
        let Some(&first) = self.order.first() else {
            self.given = false;
            return Ok(None);
        };
        self.given = true;
        // Older versions of this row.
        while self.cursors[first].row >= self.ahead
            && let Some(&second) = self.order.get(1)
            && self.cursors[second].key == self.cursors[first].key
        {
            self.advance(1)?;
        }
        let cursor = &self.cursors[first];
        Ok(Some((&cursor.key, cursor.entry())))
    }

    /// The next row that is not forgotten: its key and its entry.
    pub(in crate::disk::rows) fn next(&mut self) -> Result<Option<Entry<'_>>, DiskError> {
        loop {
            match self.next_version().map_err(super::failed)? {
                None => return Ok(None),
                Some((_, None)) => {}
                Some((_, Some(_))) => break,
            }
        }
        let row = self.order.first().map(|first| {
            let cursor = &self.cursors[*first];
            (cursor.key.as_slice(), cursor.entry())
        });
        Ok(row.and_then(|(key, entry)| Some((key, entry?))))
    }

    /// Moves the first cursor to its next row.
    #[inline]
    fn advance_first(&mut self) -> io::Result<()> {
        let first = self.order[0];
        let cursor = &mut self.cursors[first];
        if cursor.row + 1 < self.ahead {
            cursor.step(&self.to)?;
            return Ok(());
        }
        self.ahead = 0;
        self.advance(0)?;
        if self.order.first() != Some(&first) {
            self.stayed = 0;
            return Ok(());
        }
        self.stayed += 1;
        if self.stayed >= STAYED_MIN {
            let cursor = &self.cursors[first];
            self.ahead = match self.order.get(1) {
                None => cursor.end,
                Some(second) => cursor.block.seek(&self.cursors[*second].key).0.min(cursor.end),
            };
        }
        Ok(())
    }

    /// Moves the cursor that stands at a place of the order to its next row.
    fn advance(&mut self, mut place: usize) -> io::Result<()> {
        let moved = self.order[place];
        if !self.cursors[moved].step(&self.to)? {
            self.order.remove(place);
            return Ok(());
        }
        while let Some(&next) = self.order.get(place + 1)
            && (&self.cursors[next].key, next) < (&self.cursors[moved].key, moved)
        {
            self.order.swap(place, place + 1);
            place += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::filter::KeyHash;
    use super::super::table::{BlockWeight, Proof, file_name};
    use super::super::table_writer::TablesWriter;
    use super::*;

    type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    /// Rows with keys that share much or little, so many that tables have several blocks.
    fn rows() -> impl Strategy<Value = Rows> {
        let key = prop_oneof![0..3000_u32, 1000..1100_u32];
        let key = key.prop_map(|key| format!("photos/{}/{key:05}", key % 3).into_bytes());
        let entry = prop::option::weighted(
            0.9,
            (any::<u8>(), 0..90_usize).prop_map(|(byte, len)| vec![byte; len]),
        );
        prop::collection::btree_map(key, entry, 0..600)
    }

    fn memtable(rows: &Rows) -> Memtable {
        let mut memtable = Memtable::default();
        for (key, entry) in rows {
            memtable.set(key, entry.as_deref());
        }
        memtable
    }

    fn run(home: &Path, rows: &Rows, number: &Cell<u32>) -> Run {
        let next = || number.replace(number.get() + 1);
        let mut writer = TablesWriter::new(home, 16 << 10, &next);
        for (key, entry) in rows {
            writer.add(key, entry.as_deref()).unwrap();
        }
        let written = writer.finish().unwrap();
        let reopened = written
            .iter()
            .map(|table| Arc::new(Table::open(home, table.number(), table.proof()).unwrap()));
        Arc::new(reopened.collect())
    }

    fn bound(kind: u8, key: u32) -> Bound<Vec<u8>> {
        let key = format!("photos/{}/{key:05}", key % 3).into_bytes();
        match kind {
            0 => Bound::Unbounded,
            1 => Bound::Included(key),
            _ => Bound::Excluded(key),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn memtables_and_tables_are_walked_as_one_map(
            sources in prop::collection::vec((rows(), any::<bool>()), 1..5),
            ranges in prop::collection::vec((0..3_u8, 0..3100_u32, 0..3_u8, 0..3100_u32), 1..8),
        ) {
            let home = tempfile::tempdir().unwrap();
            let (number, cache) = (Cell::new(1), Arc::new(BlockCache::with_weighter(8, 64 << 10, BlockWeight)));
            let (mut runs, mut map) = (Vec::new(), Rows::new());
            for (rows, in_memory) in sources.iter().rev() {
                map.extend(rows.clone());
                let source = match in_memory {
                    true => Err(Arc::new(memtable(rows))),
                    false => Ok(run(home.path(), rows, &number)),
                };
                runs.insert(0, source);
            }
            for (from_kind, from, to_kind, to) in ranges {
                let (from, to) = (bound(from_kind, from), bound(to_kind, to));
                if crate::disk::rows::memory_index::is_empty(&from, &to) {
                    continue;
                }
                let sources = runs.iter().cloned().map(|run| run.map_or_else(Source::Memtable, Source::Run));
                let mut scan = TreeScan::begin(sources, &from, to.clone(), Some(&cache)).unwrap();
                let mut found = Vec::new();
                while let Some((key, entry)) = scan.next().unwrap() {
                    found.push((key.to_vec(), entry.to_vec()));
                }
                let expected = map.range((from, to));
                let expected = expected.filter_map(|(key, entry)| Some((key.clone(), entry.clone()?)));
                prop_assert_eq!(found, expected.collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_table_has_the_rows_it_was_written_from(rows in rows(), absent in 0..4000_u32) {
            let home = tempfile::tempdir().unwrap();
            let cache = BlockCache::with_weighter(8, 64 << 10, BlockWeight);
            let run = run(home.path(), &rows, &Cell::new(1));
            let absent = format!("photos/{}/{absent:05}", absent % 3).into_bytes();
            for key in rows.keys().chain([&absent]) {
                let get = |table: &Arc<Table>| {
                    let own = |entry: Option<&[u8]>| entry.map(<[u8]>::to_vec);
                    table.get(key, KeyHash::of(key), &cache, own).unwrap()
                };
                prop_assert_eq!(run.iter().find_map(get), rows.get(key).cloned());
            }
            prop_assert_eq!(run.iter().map(|table| table.rows()).sum::<u64>(), rows.len() as u64);
        }
    }

    #[test]
    fn a_table_with_any_byte_changed_is_not_opened_and_a_damaged_block_is_not_read() {
        let home = tempfile::tempdir().unwrap();
        let key = |key: u32| format!("key {key:05}").into_bytes();
        let rows = (0..400).map(|number| (key(number), Some(vec![7; 60])));
        let run = run(home.path(), &rows.collect(), &Cell::new(1));
        let (table, path) = (&run[0], home.path().join(file_name(run[0].number())));
        assert!(table.blocks() > 2);
        let whole = std::fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            assert!(Table::open(home.path(), table.number(), table.proof()).is_err());
            // As though it had been proven: no byte may make it panic.
            let file = std::fs::File::open(&path).unwrap();
            if let Ok(table) = Table::read_tail(file, table.number(), table.proof()) {
                let read = (0..table.blocks())
                    .filter(|block| table.block(*block).is_err())
                    .count();
                assert!(read <= 2, "at {at}");
            }
        }
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert!(Table::open(home.path(), table.number(), table.proof()).is_err());
        let empty = Proof { bytes: 0, crc: 0 };
        std::fs::write(&path, []).unwrap();
        assert!(Table::open(home.path(), table.number(), empty).is_err());
    }
}
