//! Lists unfinished uploads: by key, then by id.

use std::borrow::Cow;
use std::ops::Bound::{self, Excluded, Included};
use std::sync::Arc;

use super::roll_up::{Met, Page, Query, Table, roll_up, roll_up_all};
use crate::model::{
    AccessKeyId, Bucket, BucketId, ChecksumAlgorithm, ObjectKey, StorageClass, Timestamp, UploadId,
    UploadRow, row_key,
};
use crate::store::Inner;
use crate::{Store, StoreError};

/// Which unfinished uploads to list.
#[derive(Clone, Debug, Default)]
pub struct ListUploads {
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListObjects`].
    pub delimiter: Option<String>,
    /// Only keys after this (or from this key, with `after_upload`).
    pub after: Option<String>,
    /// Only uploads of the key `after` that come after this one.
    pub after_upload: Option<UploadId>,
    /// At most: 0–1000.
    pub max: usize,
}

/// A listed upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUpload {
    /// Key of the object to be.
    pub key: ObjectKey,
    /// Its id.
    pub upload: UploadId,
    /// When it was started.
    pub started: Timestamp,
    /// Who started it.
    pub initiator: Option<AccessKeyId>,
    /// Storage class of the object to be.
    pub class: StorageClass,
    /// Checksum its parts carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// As in `NewUpload`.
    pub full_object: bool,
}

/// A page of uploads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    /// In byte order of the key, then of the id.
    pub uploads: Vec<ListedUpload>,
    /// Common prefixes, in byte order.
    pub prefixes: Vec<String>,
    /// Set when another entry exists: markers for the next page.
    pub next: Option<(String, Option<UploadId>)>,
}

impl Store {
    /// A page of unfinished uploads.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn list_uploads(&self, bucket: &Bucket, list: ListUploads) -> Result<UploadPage, StoreError> {
        let mut uploads = Uploads {
            inner: self.0.clone(),
            bucket: bucket.id,
        };
        if !self.0.partitions.decides_alone() {
            let query = list.query();
            let from = list.from(&uploads, &query);
            let page = roll_up_all(&self.0.partitions, &mut uploads, &query, from).await?;
            return Ok(page_of(page));
        }
        let disk = self.0.disk.clone();
        let page = move || {
            let query = list.query();
            let from = list.from(&uploads, &query);
            roll_up(&disk, &mut uploads, &query, from).map(page_of)
        };
        self.0.disk.run(page).await?
    }
}

impl ListUploads {
    fn query(&self) -> Query<'_> {
        Query {
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max: self.max,
        }
    }

    /// Where the page begins.
    fn from(&self, uploads: &Uploads, query: &Query<'_>) -> Bound<Vec<u8>> {
        let bucket = uploads.bucket;
        let marker = self
            .after
            .as_ref()
            .and_then(|key| ObjectKey::parse(key.as_bytes()).ok());
        // A marker before the prefix leads to the prefix, never to what comes before it.
        let marker = marker.filter(|key| key.as_str() >= self.prefix.as_str());
        match (marker, self.after_upload) {
            (Some(key), Some(upload)) => Excluded(row_key::upload(bucket, &key, upload)),
            (Some(key), None) if !query.is_group(key.as_str()) => {
                Included(row_key::after_prefix(row_key::uploads(bucket, &key)))
            }
            _ => query.start(uploads, self.after.as_deref()),
        }
    }
}

fn page_of(page: Page<ListedUpload>) -> UploadPage {
    let next = page.next_of(
        |upload| (upload.key.as_str().to_owned(), Some(upload.upload)),
        |prefix| (prefix.to_owned(), None),
    );
    UploadPage {
        uploads: page.items,
        prefixes: page.prefixes,
        next,
    }
}

/// The unfinished uploads of a bucket.
struct Uploads {
    inner: Arc<Inner>,
    bucket: BucketId,
}

impl Table for Uploads {
    type Item = ListedUpload;
    type More = ListedUpload;

    fn rows_with(&self, prefix: &str) -> Vec<u8> {
        row_key::upload_prefix(self.bucket, prefix)
    }

    fn key<'a>(&self, row: Met<'a>) -> Option<Cow<'a, str>> {
        row_key::parse_upload(row.key).map(|(key, _)| String::from(key).into())
    }

    fn more_here(&self, row: Met<'_>) -> Result<Option<ListedUpload>, StoreError> {
        let Some((key, upload)) = row_key::parse_upload(row.key) else {
            return Ok(None);
        };
        listed(
            self.inner.open_upload_here(self.bucket, &key, upload),
            key,
            upload,
        )
    }

    async fn more(&self, row: Met<'_>) -> Result<Option<ListedUpload>, StoreError> {
        let Some((key, upload)) = row_key::parse_upload(row.key) else {
            return Ok(None);
        };
        let open = self.inner.open_upload(self.bucket, &key, upload).await;
        listed(open, key, upload)
    }

    fn items(
        &mut self,
        _: Met<'_>,
        _: &str,
        upload: ListedUpload,
        items: &mut Vec<ListedUpload>,
    ) -> Result<(), StoreError> {
        items.push(upload);
        Ok(())
    }
}

/// Nothing where the upload is not open any more.
fn listed(
    open: Result<UploadRow, StoreError>,
    key: ObjectKey,
    upload: UploadId,
) -> Result<Option<ListedUpload>, StoreError> {
    match open {
        Ok(row) => Ok(Some(ListedUpload {
            key,
            upload,
            started: row.started,
            initiator: row.initiator,
            class: row.class,
            checksum: row.checksum,
            full_object: row.full_object,
        })),
        Err(StoreError::NoSuchUpload) => Ok(None),
        Err(error) => Err(error),
    }
}
