//! Lists versions and delete markers: by key, newest first within a key.

use std::ops::Bound::Included;
use std::sync::Arc;

use super::list::{ListedFacts, decode_summary, object_key};
use super::roll_up::{Query, Table, roll_up};
use crate::disk::ScannedRow;
use crate::model::{Bucket, BucketId, ObjectKey, ObjectRow, SealedVersion, VersionId, row_key};
use crate::store::Inner;
use crate::{Store, StoreError};

/// Which versions to list.
#[derive(Clone, Debug, Default)]
pub struct ListVersions {
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListObjects`].
    pub delimiter: Option<String>,
    /// Only keys after this (or from this key, with `after_version`).
    pub after: Option<String>,
    /// Only versions of the key `after` that are older than this one.
    pub after_version: Option<VersionId>,
    /// At most: 0–1000.
    pub max: usize,
}

/// A listed version or delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: ObjectKey,
    /// What else is listed; meaningless but for the time when `delete_marker`.
    pub facts: ListedFacts,
    /// Which version.
    pub version: VersionId,
    /// Whether it is the current one.
    pub latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
}

/// A page of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPage {
    /// In byte order of the key, newest first within it.
    pub versions: Vec<ListedVersion>,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: key and version to give as markers for the next page.
    pub next: Option<(String, Option<VersionId>)>,
}

impl Store {
    /// A page of versions (`null` versions where versioning is off).
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_versions(
        &self,
        bucket: &Bucket,
        list: ListVersions,
    ) -> Result<VersionPage, StoreError> {
        let (inner, bucket) = (self.0.clone(), bucket.id);
        let page = move || {
            let query = Query {
                prefix: &list.prefix,
                delimiter: list.delimiter.as_deref(),
                max: list.max,
            };
            let marker = list.after.clone().zip(list.after_version);
            let mut versions = Versions {
                inner: inner.clone(),
                bucket,
                marker,
            };
            let from = match &versions.marker {
                Some((key, _)) => Included(row_key::object(bucket, key.as_str().max(&list.prefix))),
                None => query.start(&versions, list.after.as_deref()),
            };
            let page = roll_up(&inner.disk, &mut versions, &query, from)?;
            let next = page.next_of(
                |version| (version.key.as_str().to_owned(), Some(version.version)),
                |prefix| (prefix.to_owned(), None),
            );
            Ok(VersionPage {
                versions: page.items,
                prefixes: page.prefixes,
                next,
            })
        };
        self.0.disk.run(page).await?
    }
}

/// The versions of a bucket's objects.
struct Versions {
    inner: Arc<Inner>,
    bucket: BucketId,
    /// Where the last page ended inside a key.
    marker: Option<(String, VersionId)>,
}

impl Table for Versions {
    type Item = ListedVersion;

    fn rows_with(&self, prefix: &str) -> Vec<u8> {
        row_key::object(self.bucket, prefix)
    }

    fn key<'a>(&self, row: ScannedRow<'a>) -> Option<std::borrow::Cow<'a, str>> {
        object_key(row)
    }

    fn items(
        &mut self,
        row: ScannedRow<'_>,
        key: &str,
        items: &mut Vec<ListedVersion>,
    ) -> Result<(), StoreError> {
        let after = self
            .marker
            .as_ref()
            .filter(|(marker, _)| marker == key)
            .map(|(_, version)| *version);
        let summary = decode_summary(row)?;
        if summary.only_null {
            if after.is_none() {
                items.push(ListedVersion {
                    key: parse_key(key)?,
                    facts: ListedFacts::of(&summary),
                    version: VersionId::Null,
                    latest: true,
                    delete_marker: summary.delete_marker,
                });
            }
            return Ok(());
        }
        let Some(row) = self.inner.partitions.read::<ObjectRow>(row.key())? else {
            return Ok(());
        };
        let skip = after.map_or(0, |after| {
            row.versions
                .iter()
                .position(|version| version.facts.id == after)
                .map_or(row.versions.len(), |at| at + 1)
        });
        for (place, version) in row.versions.iter().enumerate().skip(skip) {
            items.push(listed_version(key, version, place == 0)?);
        }
        Ok(())
    }
}

fn parse_key(key: &str) -> Result<ObjectKey, StoreError> {
    ObjectKey::parse(key.as_bytes()).map_err(|error| StoreError::Damaged(error.to_string()))
}

fn listed_version(key: &str, version: &SealedVersion, latest: bool) -> Result<ListedVersion, StoreError> {
    let facts = &version.facts;
    Ok(ListedVersion {
        key: parse_key(key)?,
        facts: ListedFacts {
            size: facts.size,
            etag: facts.etag,
            modified: facts.modified,
            class: facts.class,
            checksum: facts.checksum,
        },
        version: facts.id,
        latest,
        delete_marker: facts.delete_marker,
    })
}
