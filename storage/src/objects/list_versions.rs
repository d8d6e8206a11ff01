//! Lists versions and delete markers: by key, newest first within a key.

use std::borrow::Cow;
use std::ops::Bound::{self, Included};
use std::sync::Arc;

use super::archives::READS_MAX;
use super::list::{ListedFacts, decode_summary, object_key};
use super::roll_up::{Met, Page, Query, Table, roll_up, roll_up_all};
use crate::model::summary::Summary;
use crate::model::{
    ArchiveId, ArchiveRow, Bucket, BucketId, ObjectKey, ObjectRow, SealedVersion, VersionId, row_key, summary,
};
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
        let mut versions = Versions {
            inner: self.0.clone(),
            bucket: bucket.id,
            max: list.max,
            marker: list.after.clone().zip(list.after_version),
        };
        if !self.0.partitions.decides_alone() {
            let query = list.query();
            let from = list.from(&versions, &query);
            let page = roll_up_all(&self.0.partitions, &mut versions, &query, from).await?;
            return Ok(page_of(page));
        }
        let disk = self.0.disk.clone();
        let page = move || {
            let query = list.query();
            let from = list.from(&versions, &query);
            roll_up(&disk, &mut versions, &query, from).map(page_of)
        };
        self.0.disk.run(page).await?
    }
}

impl ListVersions {
    fn query(&self) -> Query<'_> {
        Query {
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max: self.max,
        }
    }

    /// Where the page begins.
    fn from(&self, versions: &Versions, query: &Query<'_>) -> Bound<Vec<u8>> {
        match &versions.marker {
            Some((key, _)) => Included(row_key::object(versions.bucket, key.as_str().max(&self.prefix))),
            None => query.start(versions, self.after.as_deref()),
        }
    }
}

fn page_of(page: Page<ListedVersion>) -> VersionPage {
    let next = page.next_of(
        |version| (version.key.as_str().to_owned(), Some(version.version)),
        |prefix| (prefix.to_owned(), None),
    );
    VersionPage {
        versions: page.items,
        prefixes: page.prefixes,
        next,
    }
}

/// The versions of a bucket's objects.
struct Versions {
    inner: Arc<Inner>,
    bucket: BucketId,
    /// Versions on a page.
    max: usize,
    /// Where the last page ended inside a key.
    marker: Option<(String, VersionId)>,
}

impl Versions {
    /// Where the last page ended in this row, if it did.
    fn after(&self, row: Met<'_>) -> Option<VersionId> {
        let (marker, version) = self.marker.as_ref()?;
        (object_key(row)? == marker.as_str()).then_some(*version)
    }
}

impl Table for Versions {
    type Item = ListedVersion;
    type More = Versioned;

    fn rows_with(&self, prefix: &str) -> Vec<u8> {
        row_key::object(self.bucket, prefix)
    }

    fn key<'a>(&self, row: Met<'a>) -> Option<Cow<'a, str>> {
        object_key(row)
    }

    fn more_here(&self, row: Met<'_>) -> Result<Option<Versioned>, StoreError> {
        if summary::is_of_no_version(row.summary) {
            return Ok(None);
        }
        let summary = decode_summary(row)?;
        if summary.only_null {
            return Ok(Some(Versioned::OnlyNull(summary)));
        }
        for _ in 0..READS_MAX {
            let Some(mut object) = self.inner.partitions.read::<ObjectRow>(row.key)? else {
                return Ok(None);
            };
            let after = self.after(row);
            while let Some((id, archive)) = needed(row, &mut object, after, self.max) {
                match self.inner.partitions.read::<ArchiveRow>(&archive)? {
                    Some(archive) => object.join(id, archive),
                    None => break,
                }
            }
            if needed(row, &mut object, after, self.max).is_none() {
                return Ok(Some(Versioned::Several(object)));
            }
        }
        Err(StoreError::Busy)
    }

    async fn more(&self, row: Met<'_>) -> Result<Option<Versioned>, StoreError> {
        if summary::is_of_no_version(row.summary) {
            return Ok(None);
        }
        let summary = decode_summary(row)?;
        if summary.only_null {
            return Ok(Some(Versioned::OnlyNull(summary)));
        }
        for _ in 0..READS_MAX {
            let Some(mut object) = self.inner.partitions.current::<ObjectRow>(row.key).await? else {
                return Ok(None);
            };
            let after = self.after(row);
            while let Some((id, archive)) = needed(row, &mut object, after, self.max) {
                match self.inner.partitions.current::<ArchiveRow>(&archive).await? {
                    Some(archive) => object.join(id, archive),
                    None => break,
                }
            }
            if needed(row, &mut object, after, self.max).is_none() {
                return Ok(Some(Versioned::Several(object)));
            }
        }
        Err(StoreError::Busy)
    }

    fn items(
        &mut self,
        row: Met<'_>,
        key: &str,
        versioned: Versioned,
        items: &mut Vec<ListedVersion>,
    ) -> Result<(), StoreError> {
        let after = self.after(row);
        let row = match versioned {
            Versioned::OnlyNull(summary) => {
                let is_listed = match after {
                    None => true,
                    Some(VersionId::Null) => false,
                    Some(named) => named.made().is_some_and(|made| summary.modified < made),
                };
                if is_listed {
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
            Versioned::Several(row) => row,
        };
        let skip = after.map_or(0, |after| skipped(&row, after));
        for (place, version) in row.versions.iter().enumerate().skip(skip) {
            items.push(listed_version(key, version, place == 0)?);
        }
        Ok(())
    }
}

/// The archive of a row that has to be looked at next for a page that goes on behind a version: the newest, unless it is in front
/// of the page, or a page is full before it. With the key of its row.
fn needed(
    row: Met<'_>,
    object: &mut ObjectRow,
    after: Option<VersionId>,
    max: usize,
) -> Option<(ArchiveId, Vec<u8>)> {
    let place = |version: VersionId| object.version(version).map(|version| version.facts.modified);
    let behind = after.and_then(|after| after.made().or_else(|| place(after)));
    if let Some(behind) = behind {
        object.archived.retain(|archived| archived.oldest <= behind);
    }
    let next = object.archived.first()?;
    let before = |version: &&SealedVersion| {
        let made = version.facts.modified;
        made > next.newest && behind.is_none_or(|behind| made < behind)
    };
    if object.versions.iter().filter(before).count() > max {
        return None;
    }
    let (bucket, key) = (row_key::bucket_id(row.key)?, row_key::object_key(row.key)?);
    Some((next.id, row_key::archive(bucket, &key, next.id)))
}

/// How many versions of a row stand in front of the next page. Where the one that ended the last page is gone, those made
/// since are left out; where it was `null`, which has no time, a version is rather listed twice than not at all.
fn skipped(row: &ObjectRow, after: VersionId) -> usize {
    let place = |is_it: &dyn Fn(&SealedVersion) -> bool| row.versions.iter().position(is_it);
    match (place(&|version| version.facts.id == after), after.made()) {
        (Some(at), _) => at + 1,
        (None, Some(made)) => place(&|version| version.facts.modified < made).unwrap_or(row.versions.len()),
        (None, None) => 0,
    }
}

/// What is known of the versions of an object.
enum Versioned {
    /// It has but one, by its summary.
    OnlyNull(Summary),
    /// All of them.
    Several(ObjectRow),
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
