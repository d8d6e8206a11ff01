//! Multipart uploads until they complete: start, parts, list parts, abort.

use std::sync::Arc;

use super::ObjectBody;
use super::commit::refusal_of;
use super::ingest::{Inline, ingest};
use super::put::{one_of, tag_of};
use crate::cluster::{BucketEntry, Displaced};
use crate::model::command::{Action, Outcome, Refusal, Rest};
use crate::model::{
    AccessKeyId, Bucket, BucketId, ChecksumAlgorithm, ChecksumValue, Content, ETag, Lock, ObjectHeaders,
    ObjectKey, ObjectRow, PartNumber, PartRow, StorageClass, Timestamp, UploadId, UploadRow, UploadState,
    Usage, WriteId, row_key,
};
use crate::store::Inner;
use crate::{CustomerKey, KeyTrouble, Store, StoreError};

/// A new upload.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// What the client says about the object to be.
    pub headers: ObjectHeaders,
    /// Storage class.
    pub class: StorageClass,
    /// Checksum the parts will carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// Whether the object's checksum is over all its bytes (linear algorithms only) or over the parts'.
    pub full_object: bool,
    /// The lock of the object to be.
    pub lock: Lock,
    /// Who starts it.
    pub initiator: Option<AccessKeyId>,
    /// The key of a customer that every part will be sealed with.
    pub customer: Option<CustomerKey>,
}

/// What is known of an open upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    /// Checksum its parts carry.
    pub checksum: Option<ChecksumAlgorithm>,
    /// As in [`NewUpload`].
    pub full_object: bool,
    /// Storage class.
    pub class: StorageClass,
    /// Who started it.
    pub initiator: Option<AccessKeyId>,
    /// When.
    pub started: Timestamp,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartOutcome {
    /// MD5 of the part.
    pub etag: ETag,
    /// Its checksum.
    pub checksum: Option<ChecksumValue>,
    /// When it committed.
    pub modified: Timestamp,
}

/// A listed part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// Bytes of content.
    pub size: u64,
    /// MD5.
    pub etag: ETag,
    /// Checksum.
    pub checksum: Option<ChecksumValue>,
    /// When it committed.
    pub modified: Timestamp,
}

/// A page of parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPage {
    /// The upload they belong to.
    pub upload: UploadInfo,
    /// In order.
    pub parts: Vec<ListedPart>,
    /// Set when another part exists: the last number of this page.
    pub next: Option<PartNumber>,
}

impl Store {
    /// Starts an upload.
    ///
    /// # Errors
    /// The disk fails, `NoSuchBucket`.
    pub async fn create_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        new: NewUpload,
    ) -> Result<UploadId, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        self.must_fit(&entry, key, one_of(0)).await?;
        let upload = UploadId::new();
        let headers = ObjectHeaders {
            customer: new.customer.map(|key| key.seal()),
            ..new.headers
        };
        let row = UploadRow {
            started: Timestamp::now(),
            initiator: new.initiator,
            class: new.class,
            checksum: new.checksum,
            full_object: new.full_object,
            lock: new.lock,
            state: UploadState::Open,
            headers: entry.key.seal(&upload_context(key, &upload), &headers),
        };
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let start = Action::StartUpload { upload, row };
            match store
                .submit(store.0.begin(), &entry, &key, start, Vec::new())
                .await?
            {
                Outcome::UploadStarted => Ok(upload),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }

    /// What is known of an open upload, before its parts' bodies are read.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadInfo, StoreError> {
        Ok(UploadInfo::from(
            &self.0.open_upload(bucket.id, key, upload).await?,
        ))
    }

    /// Stores a part, streaming; replaces an earlier part of that number.
    ///
    /// # Errors
    /// As [`Store::put_object`], and `NoSuchUpload`, also when the upload ended while the part came in.
    pub async fn put_part<B: ObjectBody>(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        number: PartNumber,
        body: B,
    ) -> Result<PartOutcome, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        self.0.writable()?;
        let known = self.0.open_upload(bucket.id, key, upload).await?;
        let customer = body.customer_key().cloned();
        self.0
            .must_be_of_upload(&entry, key, (upload, &known), customer.as_ref())?;
        let announced = body.size_hint();
        let part_of = |bytes| Usage { bytes, objects: 0 };
        if let Some(size) = announced {
            self.must_fit(&entry, key, part_of(size)).await?;
        }
        let operation = self.0.begin();
        let lease = self.0.lease(bucket, key);
        let write = lease.write();
        // Parts are never inline: an object's manifest names blocks only.
        let taken = ingest(self, &lease, body, Inline::Never).await?;
        if announced.is_none() {
            self.must_fit(&entry, key, part_of(taken.size)).await?;
        }
        let content = taken.content.into_content(write);
        let row = PartRow {
            number,
            write,
            modified: Timestamp::now(),
            size: taken.size,
            etag: tag_of(taken.digested.md5, customer.as_ref()),
            checksum: taken.digested.checksum,
            content: entry.key.seal(&part_context(key, &write), &content),
        };
        let (etag, checksum) = (row.etag, row.checksum);
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let put = Action::PutPart { upload, part: row };
            match store.submit(operation, &entry, &key, put, vec![lease]).await? {
                Outcome::PartStored { modified, .. } => Ok(PartOutcome {
                    etag,
                    checksum,
                    modified,
                }),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }

    /// Ends an upload and frees its parts.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn abort_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(), StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let abort = Action::AbortUpload { upload };
            match store
                .submit(store.0.begin(), &entry, &key, abort, Vec::new())
                .await?
            {
                Outcome::UploadAborted { .. } => Ok(()),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }

    /// A page of at most `max` (0–1000) parts after `after`.
    ///
    /// # Errors
    /// `NoSuchUpload`.
    pub async fn list_parts(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        after: Option<u16>,
        max: usize,
    ) -> Result<PartPage, StoreError> {
        let mut rows = self
            .0
            .part_rows(bucket.id, key, upload, after, max.saturating_add(1))
            .await?;
        let more = max > 0 && rows.len() > max;
        rows.truncate(max);
        // After its parts: while an upload is open they are all there.
        let row = self.0.open_upload(bucket.id, key, upload).await?;
        Ok(PartPage {
            upload: UploadInfo::from(&row),
            next: rows.last().map(|part| part.number).filter(|_| more),
            parts: rows.iter().map(ListedPart::from).collect(),
        })
    }

    /// Ends every upload of an empty bucket whose writers are kept out.
    pub(super) async fn end_uploads(&self, entry: &Arc<BucketEntry>) -> Result<(), StoreError> {
        let (from, to) = row_key::uploads_of(entry.bucket.id);
        loop {
            let first = self.0.partitions.first(from.clone(), to.clone()).await?;
            let Some(row) = first else { return Ok(()) };
            let (key, upload) = row_key::parse_upload(&row)
                .ok_or_else(|| StoreError::Damaged("row key of an upload".into()))?;
            self.end_upload(entry, &key, upload).await?;
        }
    }

    async fn end_upload(
        &self,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(), StoreError> {
        let rest = Rest::All;
        for end in [Action::AbortUpload { upload }, Action::Forget { upload, rest }] {
            match self
                .submit_inside(self.0.begin(), entry, key, end, Vec::new())
                .await?
            {
                Outcome::UploadAborted { .. } | Outcome::RestForgotten { .. } => break,
                // It is completed.
                Outcome::Refused(Refusal::NoSuchUpload) => {}
                other => return Err(refusal_of(other)),
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The row of an upload as it stands: completed if the object's row says so.
    async fn upload_row(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadRow, StoreError> {
        // In this order: an upload that is open when its own row is read was open before.
        let object = row_key::object(bucket, key.as_str());
        let object: Option<ObjectRow> = self.partitions.current(&object).await?;
        let row = row_key::upload(bucket, key, upload);
        let row: Option<UploadRow> = self.partitions.current(&row).await?;
        as_it_stands(upload, object.as_ref(), row)
    }

    /// As [`Self::open_upload`], as this disk knows it.
    pub(super) fn open_upload_here(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadRow, StoreError> {
        let object: Option<ObjectRow> = self.partitions.read(&row_key::object(bucket, key.as_str()))?;
        let row = self.partitions.read(&row_key::upload(bucket, key, upload))?;
        must_be_open(as_it_stands(upload, object.as_ref(), row)?)
    }

    /// The row of an upload that still takes parts.
    pub(super) async fn open_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadRow, StoreError> {
        must_be_open(self.upload_row(bucket, key, upload).await?)
    }

    /// An upload and, if it is open, all its parts in order.
    pub(super) async fn upload_with_parts(
        self: &Arc<Self>,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<(UploadRow, Vec<PartRow>), StoreError> {
        let parts = self.part_rows(bucket, key, upload, None, usize::MAX).await?;
        // After its parts: while an upload is open they are all there.
        Ok((self.upload_row(bucket, key, upload).await?, parts))
    }

    /// At most so many parts of an upload after a number, in order.
    async fn part_rows(
        self: &Arc<Self>,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
        after: Option<u16>,
        most: usize,
    ) -> Result<Vec<PartRow>, StoreError> {
        let prefix = row_key::parts(bucket, key, upload);
        let mut from = prefix.clone();
        from.extend_from_slice(&after.map_or(0, |after| after.saturating_add(1)).to_be_bytes());
        self.partitions
            .rows(from, row_key::after_prefix(prefix), most)
            .await
    }

    /// Where the content of a part is.
    pub(super) fn part_content(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        part: &PartRow,
    ) -> Result<Content, StoreError> {
        entry
            .key
            .open(&part_context(key, &part.write), &part.content)
            .map_err(|error| error.of(format_args!("part {} of {key:?}", part.number.get())))
    }

    /// Whether a key is the one an upload was started with.
    ///
    /// # Errors
    /// `CustomerKey`: it is not.
    pub(super) fn must_be_of_upload(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        (upload, row): (UploadId, &UploadRow),
        customer: Option<&CustomerKey>,
    ) -> Result<(), StoreError> {
        let seal = self.upload_headers(entry, key, upload, row)?.customer;
        match (seal, customer) {
            (None, None) => Ok(()),
            (Some(seal), Some(key)) if key.fits(&seal) => Ok(()),
            _ => Err(StoreError::CustomerKey(KeyTrouble::NotOfUpload)),
        }
    }

    /// The headers an upload's object will have.
    pub(super) fn upload_headers(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        upload: UploadId,
        row: &UploadRow,
    ) -> Result<ObjectHeaders, StoreError> {
        entry
            .key
            .open(&upload_context(key, &upload), &row.headers)
            .map_err(|error| error.of(format_args!("upload of {key:?}")))
    }

    /// The blocks of a part that is not needed any more.
    pub(crate) fn blocks_of_part(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        part: &PartRow,
    ) -> Vec<Displaced> {
        match self.part_content(entry, key, part) {
            Ok(Content::Blocks(manifest)) => manifest
                .extents
                .iter()
                .map(|extent| self.displaced(entry, key, extent.write, &extent.blocks))
                .collect(),
            Ok(Content::Inline(_) | Content::Long { .. }) => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "blocks of an old part not freed; the next collection will");
                self.releaser.fail();
                Vec::new()
            }
        }
    }
}

/// The row of an upload: completed if the object's row says so.
fn as_it_stands(
    upload: UploadId,
    object: Option<&ObjectRow>,
    row: Option<UploadRow>,
) -> Result<UploadRow, StoreError> {
    let mut row = row.ok_or(StoreError::NoSuchUpload)?;
    if let Some(closing) = object.and_then(|object| object.closing(upload)) {
        row.state = UploadState::Completed(closing.completed);
    }
    Ok(row)
}

fn must_be_open(row: UploadRow) -> Result<UploadRow, StoreError> {
    match row.state {
        UploadState::Open => Ok(row),
        UploadState::Completed(_) => Err(StoreError::NoSuchUpload),
    }
}

impl From<&UploadRow> for UploadInfo {
    fn from(row: &UploadRow) -> Self {
        Self {
            checksum: row.checksum,
            full_object: row.full_object,
            class: row.class,
            initiator: row.initiator.clone(),
            started: row.started,
        }
    }
}

impl From<&PartRow> for ListedPart {
    fn from(row: &PartRow) -> Self {
        Self {
            number: row.number,
            size: row.size,
            etag: row.etag,
            checksum: row.checksum,
            modified: row.modified,
        }
    }
}

fn upload_context<'a>(key: &'a ObjectKey, upload: &'a UploadId) -> [&'a [u8]; 3] {
    [b"upload", key.as_str().as_bytes(), upload.as_bytes()]
}

fn part_context<'a>(key: &'a ObjectKey, write: &'a WriteId) -> [&'a [u8]; 3] {
    [b"part", key.as_str().as_bytes(), write.as_bytes()]
}
