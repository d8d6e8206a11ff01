//! Lists current objects in UTF-8 byte order, a page at a time.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::{Bucket, BucketId, ChecksumAlgorithm, ETag, StorageClass, Timestamp, row_key, summary};
use crate::{Store, StoreError};

use super::roll_up::{Met, Page, Query, Table, roll_up, roll_up_all};

/// Bytes of a key, about, so that those of a page are gathered without growing their place often.
const KEY_BYTES: usize = 48;

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct ListObjects {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys with this text after the prefix are rolled up into one common prefix. Never empty.
    pub delimiter: Option<String>,
    /// Only keys (and common prefixes) after this; a common prefix skips its whole group.
    pub after: Option<String>,
    /// Keys plus common prefixes at most: 0–1000.
    pub max: usize,
}

/// What is listed of an object beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedFacts {
    /// Bytes of content.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// When it committed.
    pub modified: Timestamp,
    /// Storage class.
    pub class: StorageClass,
    /// Checksum it carries.
    pub checksum: Option<ChecksumAlgorithm>,
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectPage {
    /// In byte order.
    listed: Vec<Listed>,
    /// Keys one after another: a thousand texts of their own would cost more than reading the index.
    keys: String,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: the key or common prefix to give as `after` for the next page.
    pub next: Option<String>,
}

/// A listed object, its key elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    key: Range<usize>,
    facts: ListedFacts,
}

impl ObjectPage {
    /// The objects, in byte order of their keys.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = (&str, &ListedFacts)> {
        // Each range was made by writing that very key.
        let key = |listed: &Listed| self.keys.get(listed.key.clone()).unwrap_or_default();
        self.listed.iter().map(move |listed| (key(listed), &listed.facts))
    }

    /// Objects and common prefixes.
    pub fn entries(&self) -> usize {
        self.listed.len() + self.prefixes.len()
    }
}

impl Store {
    /// A page of current objects.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_objects(&self, bucket: &Bucket, list: ListObjects) -> Result<ObjectPage, StoreError> {
        let mut objects = Objects {
            bucket: bucket.id,
            keys: String::with_capacity(list.max * KEY_BYTES),
        };
        if !self.0.partitions.decides_alone() {
            let query = list.query();
            let from = query.start(&objects, list.after.as_deref());
            let page = roll_up_all(&self.0.partitions, &mut objects, &query, from).await?;
            return Ok(objects.page(page));
        }
        let disk = self.0.disk.clone();
        let page = move || {
            let query = list.query();
            let from = query.start(&objects, list.after.as_deref());
            let page = roll_up(&disk, &mut objects, &query, from)?;
            Ok(objects.page(page))
        };
        self.0.disk.run(page).await?
    }
}

impl ListObjects {
    fn query(&self) -> Query<'_> {
        Query {
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max: self.max,
        }
    }
}

/// The objects of a bucket, by their summaries.
struct Objects {
    bucket: BucketId,
    /// Keys that were listed.
    keys: String,
}

impl Objects {
    fn page(self, page: Page<Listed>) -> ObjectPage {
        let keys = self.keys;
        let next = page.next(|last| keys.get(last.key.clone()).unwrap_or_default().to_owned());
        ObjectPage {
            listed: page.items,
            keys,
            prefixes: page.prefixes,
            next,
        }
    }
}

impl Table for Objects {
    type Item = Listed;
    type More = ();

    fn rows_with(&self, prefix: &str) -> Vec<u8> {
        row_key::object(self.bucket, prefix)
    }

    fn key<'a>(&self, row: Met<'a>) -> Option<Cow<'a, str>> {
        object_key(row)
    }

    fn more_here(&self, row: Met<'_>) -> Result<Option<()>, StoreError> {
        Ok((!summary::is_of_no_version(row.summary)).then_some(()))
    }

    async fn more(&self, row: Met<'_>) -> Result<Option<()>, StoreError> {
        self.more_here(row)
    }

    fn items(&mut self, row: Met<'_>, key: &str, (): (), items: &mut Vec<Listed>) -> Result<(), StoreError> {
        let summary = decode_summary(row)?;
        if !summary.delete_marker {
            let start = self.keys.len();
            self.keys.push_str(key);
            items.push(Listed {
                key: start..self.keys.len(),
                facts: ListedFacts::of(&summary),
            });
        }
        Ok(())
    }
}

pub(super) fn object_key(row: Met<'_>) -> Option<Cow<'_, str>> {
    std::str::from_utf8(row.key.get(row_key::OBJECT_KEY_AT..)?)
        .ok()
        .map(Into::into)
}

pub(super) fn decode_summary(row: Met<'_>) -> Result<summary::Summary, StoreError> {
    summary::decode(row.summary).ok_or_else(|| StoreError::Damaged("summary of a row".into()))
}

impl ListedFacts {
    /// What a summary says.
    pub(super) fn of(summary: &summary::Summary) -> Self {
        Self {
            size: summary.size,
            etag: summary.etag,
            modified: summary.modified,
            class: summary.class,
            checksum: summary.checksum,
        }
    }
}
