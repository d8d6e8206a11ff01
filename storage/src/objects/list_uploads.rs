//! Lists unfinished uploads: by key, then by id.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use super::roll_up::{Query, Table, roll_up};
use crate::disk::ScannedRow;
use crate::model::{
    AccessKeyId, Bucket, BucketId, ChecksumAlgorithm, ObjectKey, StorageClass, Timestamp, UploadId, row_key,
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
        let (inner, bucket) = (self.0.clone(), bucket.id);
        let page = move || {
            let query = Query {
                prefix: &list.prefix,
                delimiter: list.delimiter.as_deref(),
                max: list.max,
            };
            let mut uploads = Uploads {
                inner: inner.clone(),
                bucket,
            };
            let marker = list
                .after
                .as_ref()
                .and_then(|key| ObjectKey::parse(key.as_bytes()).ok());
            // A marker before the prefix leads to the prefix, never to what comes before it.
            let marker = marker.filter(|key| key.as_str() >= list.prefix.as_str());
            let from = match (marker, list.after_upload) {
                (Some(key), Some(upload)) => Excluded(row_key::upload(bucket, &key, upload)),
                (Some(key), None) if !query.is_group(key.as_str()) => {
                    Included(row_key::after_prefix(row_key::uploads(bucket, &key)))
                }
                _ => query.start(&uploads, list.after.as_deref()),
            };
            let page = roll_up(&inner.disk, &mut uploads, &query, from)?;
            let next = page.next_of(
                |upload| (upload.key.as_str().to_owned(), Some(upload.upload)),
                |prefix| (prefix.to_owned(), None),
            );
            Ok(UploadPage {
                uploads: page.items,
                prefixes: page.prefixes,
                next,
            })
        };
        self.0.disk.run(page).await?
    }
}

/// The unfinished uploads of a bucket.
struct Uploads {
    inner: Arc<Inner>,
    bucket: BucketId,
}

impl Table for Uploads {
    type Item = ListedUpload;

    fn rows_with(&self, prefix: &str) -> Vec<u8> {
        row_key::upload_prefix(self.bucket, prefix)
    }

    fn key<'a>(&self, row: ScannedRow<'a>) -> Option<std::borrow::Cow<'a, str>> {
        row_key::parse_upload(row.key()).map(|(key, _)| String::from(key).into())
    }

    fn items(
        &mut self,
        row: ScannedRow<'_>,
        _key: &str,
        items: &mut Vec<ListedUpload>,
    ) -> Result<(), StoreError> {
        let Some((key, upload)) = row_key::parse_upload(row.key()) else {
            return Ok(());
        };
        match self.inner.open_upload_here(self.bucket, &key, upload) {
            Ok(row) => items.push(ListedUpload {
                key,
                upload,
                started: row.started,
                initiator: row.initiator,
                class: row.class,
                checksum: row.checksum,
                full_object: row.full_object,
            }),
            Err(StoreError::NoSuchUpload) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
