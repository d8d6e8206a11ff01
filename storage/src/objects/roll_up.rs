//! Walks rows in key order and rolls keys with a delimiter up into common prefixes, a page at a time.

use std::borrow::Cow;
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::ops::ControlFlow;

use crate::StoreError;
use crate::cluster::{Partitions, summary_of};
use crate::disk::Disk;
use crate::model::row_key;

/// Rows of a group that are stepped over before the rest is skipped by a new scan: starting one costs about as much.
const STEPS_BEFORE_SKIP: usize = 24;

/// Rows of other members that are asked for at a time. More than make a page: whether there are more behind it has to be
/// known too, and of some rows nothing is left but that they were deleted.
const ROWS_ASKED: usize = 1100;

/// A row that was met.
#[derive(Clone, Copy)]
pub(super) struct Met<'a> {
    /// Its key.
    pub(super) key: &'a [u8],
    /// What a listing needs of it.
    pub(super) summary: &'a [u8],
}

/// One kind of rows in a bucket.
pub(super) trait Table: Send {
    /// What a row is listed as.
    type Item: Send;
    /// What has to be known of a row beside its summary.
    type More: Send;

    /// What the row keys of all keys with this prefix begin with.
    fn rows_with(&self, prefix: &str) -> Vec<u8>;

    /// The object key of a row; `None` for a row that is not of this table.
    fn key<'a>(&self, row: Met<'a>) -> Option<Cow<'a, str>>;

    /// What has to be known of a row, on this disk; `None` for a row that is not listed.
    fn more_here(&self, row: Met<'_>) -> Result<Option<Self::More>, StoreError>;

    /// As [`Self::more_here`], whoever wrote it.
    fn more(&self, row: Met<'_>) -> impl Future<Output = Result<Option<Self::More>, StoreError>> + Send;

    /// Adds what the row is listed as: nothing, or one or several items.
    fn items(
        &mut self,
        row: Met<'_>,
        key: &str,
        more: Self::More,
        items: &mut Vec<Self::Item>,
    ) -> Result<(), StoreError>;
}

/// Which keys a page is made of.
pub(super) struct Query<'a> {
    pub(super) prefix: &'a str,
    pub(super) delimiter: Option<&'a str>,
    pub(super) max: usize,
}

/// Items and common prefixes, and whether there is more.
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) prefixes: Vec<String>,
    ended_with_prefix: bool,
    truncated: bool,
}

impl<T> Page<T> {
    /// Where the next page begins, if another entry exists.
    pub(super) fn next(&self, of_item: impl FnOnce(&T) -> String) -> Option<String> {
        self.next_of(of_item, str::to_owned)
    }

    /// As [`Self::next`], for markers of other kinds.
    pub(super) fn next_of<M>(
        &self,
        of_item: impl FnOnce(&T) -> M,
        of_prefix: impl FnOnce(&str) -> M,
    ) -> Option<M> {
        match self.truncated {
            false => None,
            true if self.ended_with_prefix => self.prefixes.last().map(|prefix| of_prefix(prefix)),
            true => self.items.last().map(of_item),
        }
    }

    fn len(&self) -> usize {
        self.items.len() + self.prefixes.len()
    }
}

impl Query<'_> {
    /// The common prefix a key is rolled up into.
    fn group<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter?;
        let rest = key.get(self.prefix.len()..)?;
        let at = rest.find(delimiter)?;
        key.get(..self.prefix.len() + at + delimiter.len())
    }

    /// Whether a key is a common prefix itself.
    pub(super) fn is_group(&self, key: &str) -> bool {
        key.starts_with(self.prefix) && self.group(key) == Some(key)
    }

    /// The first row behind `after`: behind the whole group when `after` is a common prefix.
    pub(super) fn start(&self, table: &impl Table, after: Option<&str>) -> Bound<Vec<u8>> {
        match after {
            Some(after) if self.is_group(after) => Included(row_key::after_prefix(table.rows_with(after))),
            Some(after) if after >= self.prefix => Excluded(table.rows_with(after)),
            _ => Included(table.rows_with(self.prefix)),
        }
    }
}

/// A page of the rows from `from` on, of this disk alone. Blocks the thread.
pub(super) fn roll_up<T: Table>(
    disk: &Disk,
    table: &mut T,
    query: &Query<'_>,
    mut from: Bound<Vec<u8>>,
) -> Result<Page<T::Item>, StoreError> {
    let end = row_key::after_prefix(table.rows_with(query.prefix));
    let mut roll = Roll::new(query);
    'scans: while roll.goes_on(&from, &end) {
        let mut scan = disk.scan(from.as_ref().map(Vec::as_slice), Excluded(&end[..]))?;
        while let Some(row) = scan.next_row()? {
            let row = Met {
                key: row.key(),
                summary: summary_of(row),
            };
            let Some(key) = table.key(row) else { continue };
            match roll.meet(&key, table) {
                Meeting::InGroup => continue,
                Meeting::BehindGroup(next) => {
                    from = Included(next);
                    continue 'scans;
                }
                Meeting::New => {}
            }
            if let Some(more) = table.more_here(row)?
                && roll.take(table, (row, &key), more)?.is_break()
            {
                break 'scans;
            }
        }
        break;
    }
    Ok(roll.page)
}

/// A page of the rows from `from` on, whoever wrote them.
pub(super) async fn roll_up_all<T: Table>(
    partitions: &Partitions,
    table: &mut T,
    query: &Query<'_>,
    mut from: Bound<Vec<u8>>,
) -> Result<Page<T::Item>, StoreError> {
    let end = row_key::after_prefix(table.rows_with(query.prefix));
    let mut roll = Roll::new(query);
    'scans: while roll.goes_on(&from, &end) {
        let start = match &from {
            Included(from) => from.clone(),
            // The first key behind it.
            Excluded(from) => [from, &[0][..]].concat(),
            Unbounded => Vec::new(),
        };
        let scanned = partitions.listed(start, end.clone(), ROWS_ASKED).await?;
        for row in &scanned.rows {
            let row = Met {
                key: &row.key,
                summary: &row.summary,
            };
            let Some(key) = table.key(row) else { continue };
            match roll.meet(&key, table) {
                Meeting::InGroup => continue,
                Meeting::BehindGroup(next) => {
                    from = Included(next);
                    continue 'scans;
                }
                Meeting::New => {}
            }
            if let Some(more) = table.more(row).await?
                && roll.take(table, (row, &key), more)?.is_break()
            {
                break 'scans;
            }
        }
        match scanned.next {
            Some(next) => from = Included(next.to_vec()),
            None => break,
        }
    }
    Ok(roll.page)
}

/// What a row is to the page.
enum Meeting {
    /// It is in the common prefix that was listed last.
    InGroup,
    /// As [`Self::InGroup`], and so are so many that the rest is best skipped: go on here.
    BehindGroup(Vec<u8>),
    /// It may be listed.
    New,
}

/// A page being made.
struct Roll<'q, 'a, I> {
    query: &'q Query<'a>,
    page: Page<I>,
    /// Rows met in the common prefix listed last.
    steps: usize,
}

impl<'q, 'a, I> Roll<'q, 'a, I> {
    fn new(query: &'q Query<'a>) -> Self {
        Self {
            query,
            page: Page {
                items: Vec::with_capacity(query.max.min(1000)),
                prefixes: Vec::new(),
                ended_with_prefix: false,
                truncated: false,
            },
            steps: 0,
        }
    }

    /// Whether there is anything between the bounds that is wanted.
    fn goes_on(&mut self, from: &Bound<Vec<u8>>, end: &[u8]) -> bool {
        self.steps = 0;
        let is_over = matches!(from, Included(from) | Excluded(from) if from.as_slice() >= end);
        self.query.max > 0 && !is_over
    }

    fn meet<T: Table<Item = I>>(&mut self, key: &str, table: &T) -> Meeting {
        let group = self.page.prefixes.last().filter(|_| self.steps > 0);
        match group.filter(|group| key.starts_with(group.as_str())) {
            Some(group) if self.steps == STEPS_BEFORE_SKIP => {
                Meeting::BehindGroup(row_key::after_prefix(table.rows_with(group)))
            }
            Some(_) => {
                self.steps += 1;
                Meeting::InGroup
            }
            None => {
                self.steps = 0;
                Meeting::New
            }
        }
    }

    /// Takes a row that is new; breaks when the page is full.
    fn take<T: Table<Item = I>>(
        &mut self,
        table: &mut T,
        (row, key): (Met<'_>, &str),
        more: T::More,
    ) -> Result<ControlFlow<()>, StoreError> {
        let (page, max) = (&mut self.page, self.query.max);
        let before = page.items.len();
        table.items(row, key, more, &mut page.items)?;
        if page.items.len() == before {
            return Ok(ControlFlow::Continue(()));
        }
        if let Some(group) = self.query.group(key) {
            page.items.truncate(before);
            if page.len() == max {
                page.truncated = true;
                return Ok(ControlFlow::Break(()));
            }
            page.prefixes.push(group.to_owned());
            page.ended_with_prefix = true;
            self.steps = 1;
        } else {
            if page.len() > max {
                page.items.truncate(max - page.prefixes.len());
                page.truncated = true;
                // Some items of the row may be on the page.
                page.ended_with_prefix &= page.items.len() == before;
                return Ok(ControlFlow::Break(()));
            }
            page.ended_with_prefix = false;
        }
        Ok(ControlFlow::Continue(()))
    }
}
