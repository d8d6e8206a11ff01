//! Commits a version: decides under the key's claim, writes the row, hands on what it displaced.

use std::sync::Arc;

use crate::cluster::{BucketEntry, Claim, Displaced, Lease, Writes};
use crate::disk::DiskError;
use crate::model::{
    BlockRef, Bucket, Changed, Content, Extent, Manifest, ObjectKey, ObjectRow, SealedVersion,
    VersionDetails, VersionFacts, WriteCondition, WriteId, WriteRefusal, row_key, summary,
};
use crate::seal::{cbor, owner_of, seal_block};
use crate::store::Inner;
use crate::{Store, StoreError};

/// A version ready to be committed; dropping it uncommitted frees its blocks.
pub(super) struct Ready {
    pub(super) version: SealedVersion,
    /// Everything the version refers to that was stored for it.
    pub(super) leases: Vec<Arc<Lease>>,
}

impl From<WriteRefusal> for StoreError {
    fn from(refusal: WriteRefusal) -> Self {
        match refusal {
            WriteRefusal::PreconditionFailed => Self::PreconditionFailed,
            WriteRefusal::NoSuchKey => Self::NoSuchKey,
        }
    }
}

impl Inner {
    /// Refuses writes, before their bodies are read, where acknowledged rows are lost.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.loss
            .as_ref()
            .map_or(Ok(()), |loss| Err(StoreError::ReadOnly(loss.clone())))
    }

    /// Starts a write to a key.
    pub(crate) fn lease(&self, bucket: &Bucket, key: &ObjectKey) -> Arc<Lease> {
        let write = WriteId::new();
        self.releaser
            .lease(write, owner_of(&self.keyring, bucket.id, key, write))
    }

    /// Reads the row of an object.
    pub(super) fn object_row(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<ObjectRow>, StoreError> {
        self.partitions.read(&row_key::object(bucket.id, key.as_str()))
    }

    /// Opens the sealed part of a version.
    pub(crate) fn details(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        version: &SealedVersion,
    ) -> Result<VersionDetails, StoreError> {
        entry
            .key
            .rows()
            .open(&details_context(key, &version.write), &version.details)
            .map_err(|error| StoreError::Damaged(format!("details of {key:?}: {error}")))
    }

    /// The manifest of a content that has one, fetched from its own blocks if it is long. Blocks the thread.
    pub(crate) fn manifest(&self, content: &Content) -> Result<Manifest, StoreError> {
        match content {
            Content::Inline(_) => Ok(Manifest::default()),
            Content::Blocks(manifest) => Ok(manifest.clone()),
            Content::Long { manifest } => {
                let mut text = Vec::new();
                for block in &manifest.blocks {
                    for piece in self.blocks.fetch(block, 0..block.bytes as usize, None)?.pieces {
                        text.extend_from_slice(&piece);
                    }
                }
                ciborium::from_reader(text.as_slice())
                    .map_err(|error| StoreError::Damaged(format!("manifest: {error}")))
            }
        }
    }

    /// The blocks of a version by the write that stored them. Blocks the thread.
    pub(crate) fn blocks_of(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        version: &SealedVersion,
    ) -> Result<Vec<Displaced>, StoreError> {
        if version.extents.is_empty() {
            return Ok(Vec::new());
        }
        let content = self.details(entry, key, version)?.content;
        let mut extents = self.manifest(&content)?.extents;
        if let Content::Long { manifest } = content {
            extents.push(manifest);
        }
        Ok(extents
            .into_iter()
            .map(|extent| self.displaced(entry, key, extent.write, &extent.blocks))
            .collect())
    }

    /// The blocks of one write, named for the releaser.
    pub(super) fn displaced(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        write: WriteId,
        blocks: &[BlockRef],
    ) -> Displaced {
        let owner = owner_of(&self.keyring, entry.bucket.id, key, write);
        Displaced {
            owner,
            blocks: blocks.iter().map(|block| block.id).collect(),
        }
    }
}

impl Store {
    /// Seals the details of a version; a long manifest goes into blocks of its own first.
    pub(super) async fn ready(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        facts: VersionFacts,
        mut details: VersionDetails,
        lease: Arc<Lease>,
    ) -> Result<Ready, StoreError> {
        let write = lease.write();
        let mut extents: Vec<WriteId> = match &details.content {
            Content::Blocks(manifest) => manifest.extents.iter().map(|extent| extent.write).collect(),
            Content::Inline(_) | Content::Long { .. } => Vec::new(),
        };
        let mut leases = vec![lease];
        if let Content::Blocks(manifest) = &details.content {
            let text = cbor(manifest);
            if text.len() > self.0.limits.manifest_bytes {
                let (manifest, lease) = self.store_manifest(&entry.bucket, key, text).await?;
                extents.push(manifest.write);
                details.content = Content::Long { manifest };
                leases.push(lease);
            }
        }
        let sealed = entry.key.rows().seal(&details_context(key, &write), &details);
        Ok(Ready {
            version: SealedVersion {
                facts,
                write,
                extents,
                details: sealed,
            },
            leases,
        })
    }

    async fn store_manifest(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        text: Vec<u8>,
    ) -> Result<(Extent, Arc<Lease>), StoreError> {
        let lease = self.0.lease(bucket, key);
        let text = Arc::new(text);
        let mut blocks = Vec::new();
        let block_bytes = self.0.limits.block_bytes;
        for start in (0..text.len()).step_by(block_bytes) {
            let (inner, text) = (self.0.clone(), text.clone());
            let sealed = self
                .0
                .disk
                .run(move || {
                    let end = text.len().min(start + block_bytes);
                    seal_block(inner.keyring.dedup_key(), &text[start..end])
                })
                .await?;
            lease.note([sealed.block.id]);
            blocks.push(sealed.block.clone());
            self.0.blocks.store(lease.owner(), sealed).await?;
        }
        Ok((
            Extent {
                write: lease.write(),
                blocks,
            },
            lease,
        ))
    }

    /// Makes a version the current one. Runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// The condition does not hold, the bucket is gone, or the disk fails.
    pub(super) async fn commit_version(
        &self,
        entry: Arc<BucketEntry>,
        key: ObjectKey,
        ready: Ready,
        condition: WriteCondition,
    ) -> Result<VersionFacts, StoreError> {
        let store = self.clone();
        self.finish(async move {
            let _writer = entry.enter().await?;
            let claim = store.0.partitions.claim(entry.bucket.id, &key).await?;
            store
                .commit_claimed(&entry, &key, ready, condition, &claim, Writes::default())
                .await
        })
        .await
    }

    /// As [`Self::commit_version`] under a claim already held, together with other rows.
    pub(super) async fn commit_claimed(
        &self,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        ready: Ready,
        condition: WriteCondition,
        claim: &Claim,
        mut writes: Writes,
    ) -> Result<VersionFacts, StoreError> {
        let row = self.0.object_row(&entry.bucket, key)?.unwrap_or_default();
        let Changed { row, displaced } = row.put(ready.version, &condition)?;
        let facts = row
            .current()
            .map(|version| version.facts.clone())
            .ok_or(StoreError::Closed)?;
        writes.put(
            row_key::object(entry.bucket.id, key.as_str()),
            summary::encode(&row),
            &row,
        );
        let committed = self.0.partitions.commit(claim, writes).await;
        keep_unless_refused(&ready.leases, &committed);
        committed?;
        self.displace(entry, key, displaced).await;
        Ok(facts)
    }

    /// Frees what versions that left a row refer to.
    pub(super) async fn displace(
        &self,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        displaced: Vec<SealedVersion>,
    ) {
        for version in displaced
            .into_iter()
            .filter(|version| !version.extents.is_empty())
        {
            let (inner, entry, key) = (self.0.clone(), entry.clone(), key.clone());
            let blocks = self
                .0
                .disk
                .run(move || inner.blocks_of(&entry, &key, &version))
                .await;
            match blocks.map_err(StoreError::from).flatten() {
                Ok(blocks) => self.0.releaser.displace(blocks),
                Err(error) => {
                    tracing::warn!(%error, "blocks of an old version not freed; the next collection will")
                }
            }
        }
    }
}

/// Lets what was stored for a row stay, unless the row certainly was not committed.
pub(super) fn keep_unless_refused(leases: &[Arc<Lease>], committed: &Result<(), StoreError>) {
    use StoreError::{Disk, DiskFull, ReadOnly};
    if !matches!(
        committed,
        Err(DiskFull | ReadOnly(_) | Disk(DiskError::TooLarge { .. }))
    ) {
        leases.iter().for_each(|lease| lease.keep());
    }
}

/// What a version's details are sealed for: this key and this write.
fn details_context<'a>(key: &'a ObjectKey, write: &'a WriteId) -> [&'a [u8]; 3] {
    [b"version", key.as_str().as_bytes(), write.as_bytes()]
}
