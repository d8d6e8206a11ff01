//! Walks rows of several memtables and tables as one, in key order, the newest version of each.

use std::io;
use std::ops::Bound;
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
        };
        cursor.enter(to);
        Ok(cursor.settle(to)?.then_some(cursor))
    }

    /// Moves to the next row; false if there is none.
    #[inline]
    fn step(&mut self, to: &Bound<Vec<u8>>) -> io::Result<bool> {
        self.row += 1;
        if self.row < self.end {
            self.take_key();
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
        self.take_key();
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
    fn take_key(&mut self) {
        self.key.truncate(self.block.prefix().len());
        self.key.extend_from_slice(self.block.row(self.row).0);
    }
}

/// Rows of a range in key order, as they were when the scan began.
pub(crate) struct TreeScan {
    /// Newest source first.
    cursors: Vec<Cursor>,
    /// Places of cursors with a row: the smallest key first, and of equal ones the newest.
    order: Vec<usize>,
    to: Bound<Vec<u8>>,
    /// The first row was given already.
    given: bool,
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
            self.advance(0)?;
        }
        let Some(&first) = self.order.first() else {
            self.given = false;
            return Ok(None);
        };
        self.given = true;
        // Older versions of this row.
        while let Some(&second) = self.order.get(1)
            && self.cursors[second].key == self.cursors[first].key
        {
            self.advance(1)?;
        }
        let cursor = &self.cursors[first];
        Ok(Some((&cursor.key, cursor.block.row(cursor.row).1)))
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
            (cursor.key.as_slice(), cursor.block.row(cursor.row).1)
        });
        Ok(row.and_then(|(key, entry)| Some((key, entry?))))
    }

    /// Moves the cursor that stands at a place of the order to its next row.
    #[inline]
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
