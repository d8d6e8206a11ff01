//! Walks rows in key order and rolls keys with a delimiter up into common prefixes, a page at a time.

use std::borrow::Cow;
use std::ops::Bound::{self, Excluded, Included};

use crate::StoreError;
use crate::disk::{Disk, ScannedRow};
use crate::model::row_key;

/// Rows of a group that are stepped over before the rest is skipped by a new scan: starting one costs about as much.
const STEPS_BEFORE_SKIP: usize = 24;

/// One kind of rows in a bucket.
pub(super) trait Table {
    /// What a row is listed as.
    type Item;

    /// What the row keys of all keys with this prefix begin with.
    fn rows_with(&self, prefix: &str) -> Vec<u8>;

    /// The object key of a row; `None` for a row that is not of this table.
    fn key<'a>(&self, row: ScannedRow<'a>) -> Option<Cow<'a, str>>;

    /// Adds what the row is listed as: nothing, or one or several items.
    fn items(
        &mut self,
        row: ScannedRow<'_>,
        key: &str,
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

/// A page of the rows from `from` on. Blocks the thread.
pub(super) fn roll_up<T: Table>(
    disk: &Disk,
    table: &mut T,
    query: &Query<'_>,
    mut from: Bound<Vec<u8>>,
) -> Result<Page<T::Item>, StoreError> {
    let end = row_key::after_prefix(table.rows_with(query.prefix));
    let mut page = Page {
        items: Vec::new(),
        prefixes: Vec::new(),
        ended_with_prefix: false,
        truncated: false,
    };
    if query.max == 0 {
        return Ok(page);
    }
    page.items.reserve(query.max.min(1000));
    while let Some(group_end) = walk(disk, table, query, &from, &end, &mut page)? {
        from = Included(group_end);
    }
    Ok(page)
}

/// Walks rows until the page is full or the rows end; gives where to go on when a large group is worth skipping.
fn walk<T: Table>(
    disk: &Disk,
    table: &mut T,
    query: &Query<'_>,
    from: &Bound<Vec<u8>>,
    end: &[u8],
    page: &mut Page<T::Item>,
) -> Result<Option<Vec<u8>>, StoreError> {
    if matches!(from, Included(from) | Excluded(from) if from.as_slice() >= end) {
        return Ok(None);
    }
    let mut steps = 0;
    let mut scan = disk.scan(from.as_ref().map(Vec::as_slice), Excluded(end))?;
    while let Some(row) = scan.next_row()? {
        let Some(key) = table.key(row) else { continue };
        if steps > 0
            && page
                .prefixes
                .last()
                .is_some_and(|group| key.starts_with(group.as_str()))
        {
            if steps == STEPS_BEFORE_SKIP {
                let group = page.prefixes.last().map(String::as_str).unwrap_or_default();
                return Ok(Some(row_key::after_prefix(table.rows_with(group))));
            }
            steps += 1;
            continue;
        }
        steps = 0;
        let before = page.items.len();
        table.items(row, &key, &mut page.items)?;
        if page.items.len() == before {
            continue;
        }
        if let Some(group) = query.group(&key) {
            page.items.truncate(before);
            if page.len() == query.max {
                page.truncated = true;
                return Ok(None);
            }
            page.prefixes.push(group.to_owned());
            page.ended_with_prefix = true;
            steps = 1;
        } else {
            if page.len() > query.max {
                page.items.truncate(query.max - page.prefixes.len());
                page.truncated = true;
                return Ok(None);
            }
            page.ended_with_prefix = false;
        }
    }
    Ok(None)
}
