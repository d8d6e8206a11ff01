//! Lists current objects in UTF-8 byte order, a page at a time.

use crate::cluster::summary_of;
use crate::disk::ScannedRow;
use crate::model::{
    Bucket, BucketId, ChecksumAlgorithm, ETag, ObjectKey, StorageClass, Timestamp, row_key, summary,
};
use crate::{Store, StoreError};

use super::roll_up::{Query, Table, roll_up};

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

/// A listed object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
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
    pub objects: Vec<ListedObject>,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: the key or common prefix to give as `after` for the next page.
    pub next: Option<String>,
}

impl Store {
    /// A page of current objects.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_objects(&self, bucket: &Bucket, list: ListObjects) -> Result<ObjectPage, StoreError> {
        let (disk, bucket) = (self.0.disk.clone(), bucket.id);
        let page = move || {
            let query = Query {
                prefix: &list.prefix,
                delimiter: list.delimiter.as_deref(),
                max: list.max,
            };
            let from = query.start(&Objects(bucket), list.after.as_deref());
            let page = roll_up(&disk, &Objects(bucket), &query, from)?;
            let next = page.next(|object| object.key.as_str().to_owned());
            Ok(ObjectPage {
                objects: page.items,
                prefixes: page.prefixes,
                next,
            })
        };
        self.0.disk.run(page).await?
    }
}

/// The objects of a bucket, by their summaries.
struct Objects(BucketId);

impl Table for Objects {
    type Item = ListedObject;

    fn rows_with(&self, prefix: &str) -> Vec<u8> {
        row_key::object(self.0, prefix)
    }

    fn key<'a>(&self, row: &'a ScannedRow) -> Option<std::borrow::Cow<'a, str>> {
        object_key(row)
    }

    fn items(&self, row: &ScannedRow, key: &str, items: &mut Vec<ListedObject>) -> Result<(), StoreError> {
        let summary = decode_summary(row)?;
        if !summary.delete_marker {
            items.push(listed(key, &summary)?);
        }
        Ok(())
    }
}

pub(super) fn object_key(row: &ScannedRow) -> Option<std::borrow::Cow<'_, str>> {
    std::str::from_utf8(row.key().get(row_key::OBJECT_KEY_AT..)?)
        .ok()
        .map(Into::into)
}

pub(super) fn decode_summary(row: &ScannedRow) -> Result<summary::Summary, StoreError> {
    summary::decode(summary_of(row)).ok_or_else(|| StoreError::Damaged("summary of a row".into()))
}

pub(super) fn listed(key: &str, summary: &summary::Summary) -> Result<ListedObject, StoreError> {
    let key = ObjectKey::parse(key.as_bytes()).map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(ListedObject {
        key,
        size: summary.size,
        etag: summary.etag,
        modified: summary.modified,
        class: summary.class,
        checksum: summary.checksum,
    })
}
