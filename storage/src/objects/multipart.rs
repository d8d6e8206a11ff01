//! Multipart uploads until they complete: start, parts, list parts, abort.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use super::ObjectBody;
use super::commit::keep_unless_refused;
use super::ingest::{Inline, ingest};
use crate::cluster::{BucketEntry, Claim, Displaced, Writes};
use crate::model::{
    AccessKeyId, Bucket, BucketId, ChecksumAlgorithm, ChecksumValue, Content, ETag, ObjectHeaders, ObjectKey,
    PartNumber, PartRow, StorageClass, Timestamp, UploadId, UploadRow, UploadState, WriteId, row_key,
};
use crate::store::Inner;
use crate::{Store, StoreError};

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
    /// Who starts it.
    pub initiator: Option<AccessKeyId>,
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
        let upload = UploadId::new();
        let row = UploadRow {
            started: Timestamp::now(),
            initiator: new.initiator,
            class: new.class,
            checksum: new.checksum,
            full_object: new.full_object,
            state: UploadState::Open,
            headers: entry.key.rows().seal(&upload_context(key, &upload), &new.headers),
        };
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let _writer = entry.enter().await?;
            let claim = store.0.partitions.claim(entry.bucket.id, &key).await?;
            let mut writes = Writes::default();
            writes.put(row_key::upload(entry.bucket.id, &key, upload), Vec::new(), &row);
            store.0.partitions.commit(&claim, writes).await?;
            Ok(upload)
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
        Ok(UploadInfo::from(&self.0.open_upload(bucket.id, key, upload)?))
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
        self.0.open_upload(bucket.id, key, upload)?;
        let lease = self.0.lease(bucket, key);
        let write = lease.write();
        // Parts are never inline: an object's manifest names blocks only.
        let taken = ingest(self, &lease, body, Inline::Never).await?;
        let content = taken.content.into_content(write);
        let row = PartRow {
            number,
            write,
            modified: Timestamp::now(),
            size: taken.size,
            etag: ETag::Md5(taken.digested.md5),
            checksum: taken.digested.checksum,
            content: entry.key.rows().seal(&part_context(key, &write), &content),
        };
        let outcome = PartOutcome {
            etag: row.etag,
            checksum: row.checksum,
            modified: row.modified,
        };
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let _writer = entry.enter().await?;
            let inner = &store.0;
            let claim = inner.partitions.claim(entry.bucket.id, &key).await?;
            // Under the claim: an upload that ended meanwhile must not get another part.
            inner.open_upload(entry.bucket.id, &key, upload)?;
            let row_key = row_key::part(entry.bucket.id, upload, number);
            let replaced: Option<PartRow> = inner.partitions.read(&row_key)?;
            let mut writes = Writes::default();
            writes.put(row_key, Vec::new(), &row);
            let committed = inner.partitions.commit(&claim, writes).await;
            keep_unless_refused(&[lease], &committed);
            committed?;
            if let Some(replaced) = replaced {
                inner
                    .releaser
                    .displace(inner.blocks_of_part(&entry, &key, &replaced));
            }
            Ok(outcome)
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
            let _writer = entry.enter().await?;
            let claim = store.0.partitions.claim(entry.bucket.id, &key).await?;
            // Under the claim: a Complete that came first must stay repeatable.
            store.0.open_upload(entry.bucket.id, &key, upload)?;
            store.abort(&entry, &key, upload, &claim).await
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
        let (inner, bucket, key) = (self.0.clone(), bucket.id, key.clone());
        let list = move || {
            let info = UploadInfo::from(&inner.open_upload(bucket, &key, upload)?);
            // One more than is asked for says whether there are more.
            let rows = inner.part_rows(bucket, upload, after, max.saturating_add(1))?;
            let parts: Vec<_> = rows.iter().take(max).map(ListedPart::from).collect();
            let more = max > 0 && rows.len() > max;
            let next = parts.last().map(|part: &ListedPart| part.number).filter(|_| more);
            Ok(PartPage {
                upload: info,
                parts,
                next,
            })
        };
        self.0.disk.run(list).await?
    }

    /// Aborts every upload of a bucket whose writers are kept out.
    pub(super) async fn abort_all(&self, entry: &Arc<BucketEntry>) -> Result<(), StoreError> {
        let (from, to) = row_key::uploads_of(entry.bucket.id);
        loop {
            let (disk, from, to) = (self.0.disk.clone(), from.clone(), to.clone());
            let first = move || disk.first_key(Included(&from), Excluded(&to));
            let Some(row) = self.0.disk.run(first).await?? else {
                return Ok(());
            };
            let (key, upload) = row_key::parse_upload(&row)
                .ok_or_else(|| StoreError::Damaged("row key of an upload".into()))?;
            let claim = self.0.partitions.claim(entry.bucket.id, &key).await?;
            self.abort(entry, &key, upload, &claim).await?;
        }
    }

    async fn abort(
        &self,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        upload: UploadId,
        claim: &Claim,
    ) -> Result<(), StoreError> {
        let mut writes = Writes::default();
        writes.remove(row_key::upload(entry.bucket.id, key, upload));
        let parts = self.0.take_parts(entry.bucket.id, upload, &mut writes).await?;
        self.0.partitions.commit(claim, writes).await?;
        let displaced = parts
            .iter()
            .flat_map(|part| self.0.blocks_of_part(entry, key, part));
        self.0.releaser.displace(displaced);
        Ok(())
    }
}

impl Inner {
    /// The row of an upload that still takes parts.
    pub(super) fn open_upload(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        upload: UploadId,
    ) -> Result<UploadRow, StoreError> {
        let row: Option<UploadRow> = self.partitions.read(&row_key::upload(bucket, key, upload))?;
        row.filter(|row| row.state == UploadState::Open)
            .ok_or(StoreError::NoSuchUpload)
    }

    /// At most `most` parts of an upload after a number, in order. Blocks the thread.
    fn part_rows(
        self: &Arc<Self>,
        bucket: BucketId,
        upload: UploadId,
        after: Option<u16>,
        most: usize,
    ) -> Result<Vec<PartRow>, StoreError> {
        let prefix = row_key::parts(bucket, upload);
        let mut from = prefix.clone();
        from.extend_from_slice(&after.map_or(0, |after| after.saturating_add(1)).to_be_bytes());
        let end = row_key::after_prefix(prefix);
        let mut scan = self.disk.scan(Included(&from), Excluded(&end))?;
        let mut parts = Vec::new();
        while parts.len() < most
            && let Some(row) = scan.next_row()?
        {
            parts.extend(self.partitions.read(row.key())?);
        }
        Ok(parts)
    }

    /// Removes all part rows of an upload together with whatever `writes` holds, and gives them.
    pub(super) async fn take_parts(
        self: &Arc<Self>,
        bucket: BucketId,
        upload: UploadId,
        writes: &mut Writes,
    ) -> Result<Vec<PartRow>, StoreError> {
        let inner = self.clone();
        let parts: Vec<PartRow> = self
            .disk
            .run(move || inner.part_rows(bucket, upload, None, usize::MAX))
            .await??;
        for part in &parts {
            writes.remove(row_key::part(bucket, upload, part.number));
        }
        Ok(parts)
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
            .rows()
            .open(&part_context(key, &part.write), &part.content)
            .map_err(|error| StoreError::Damaged(format!("part {} of {key:?}: {error}", part.number.get())))
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
            .rows()
            .open(&upload_context(key, &upload), &row.headers)
            .map_err(|error| StoreError::Damaged(format!("upload of {key:?}: {error}")))
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
