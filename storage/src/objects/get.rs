//! Opens an object: facts at once, content to be read.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use tokio::sync::OnceCell;

use super::read::ObjectReader;
use crate::cluster::{BucketEntry, Owner, Pins, Weigh, decode};
use crate::disk::{Found, RowId};
use crate::model::{
    BlockRef, Bucket, Checksum, Content, ETag, Lock, Manifest, ObjectHeaders, ObjectKey, ObjectRow, PartInfo,
    SealedVersion, StorageClass, Timestamp, VersionDetails, VersionId, WriteId, row_key,
};
use crate::seal::owner_of;
use crate::store::Inner;
use crate::{CustomerKey, KeyTrouble, Store, StoreError};

/// Everything about one version but its bytes.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    /// Which version.
    pub version: VersionId,
    /// Whether it was the current one when it was opened.
    pub is_current: bool,
    /// When it committed.
    pub modified: Timestamp,
    /// Bytes of content.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// Storage class.
    pub class: StorageClass,
    /// Checksum it carries.
    pub checksum: Option<Checksum>,
    /// What keeps it from being removed.
    pub lock: Lock,
    /// What the client said about it.
    pub headers: ObjectHeaders,
}

/// One version of an object, opened. Its content stays readable while this lives, even if it is overwritten.
#[derive(Clone)]
pub struct Object {
    pub(super) opened: Arc<OpenedContent>,
}

/// A version of a row, decoded and unsealed.
pub(crate) struct OpenedVersion {
    info: ObjectInfo,
    pub(super) content: Content,
    write: WriteId,
    /// Who refers to its blocks, by the write that stored them.
    owners: Vec<(WriteId, Owner)>,
    /// The row it stands in: an index that lies must not pass one object off as another.
    row: Vec<u8>,
}

impl OpenedVersion {
    /// Who refers to its blocks.
    fn owners(&self) -> Vec<Owner> {
        self.owners.iter().map(|(_, owner)| *owner).collect()
    }

    /// Who refers to the blocks that a write stored.
    ///
    /// # Errors
    /// `Damaged`: the row does not name that write, as it has to.
    pub(super) fn owner(&self, write: WriteId) -> Result<Owner, StoreError> {
        let known = self.owners.iter().find(|(known, _)| *known == write);
        let (_, owner) = known.ok_or_else(|| {
            StoreError::Damaged(format!("blocks of {write:?}, which their row does not name"))
        })?;
        Ok(*owner)
    }
}

impl Weigh for Arc<OpenedVersion> {
    fn bytes(&self) -> u64 {
        let content = match &self.content {
            Content::Inline(bytes) => bytes.len(),
            Content::Long { manifest } => size_of_val(manifest.blocks.as_slice()),
            Content::Blocks(manifest) => {
                let blocks = manifest
                    .extents
                    .iter()
                    .map(|extent| size_of_val(extent.blocks.as_slice()));
                blocks.sum::<usize>() + size_of_val(manifest.parts.as_slice())
            }
        };
        let headers = &self.info.headers;
        let words = headers
            .user
            .iter()
            .chain(headers.tags.iter().map(|(name, value)| (name, value)));
        let words: usize = words.map(|(name, value)| name.len() + value.len() + 96).sum();
        (content + words + size_of_val(self.owners.as_slice()) + self.row.len()) as u64
    }
}

/// The content of an opened version.
pub(super) struct OpenedContent {
    pub(super) store: Store,
    pub(super) version: Arc<OpenedVersion>,
    manifest: OnceCell<Arc<Manifest>>,
    /// The key of its customer, once it was given.
    customer: OnceLock<CustomerKey>,
    _pins: Pins,
}

impl Object {
    /// Everything but the bytes.
    pub fn info(&self) -> &ObjectInfo {
        &self.opened.version.info
    }

    /// Takes the key of its customer: without it, content that is sealed with one is not read.
    ///
    /// # Errors
    /// `CustomerKey`: it is missing, not applicable, or the wrong one.
    pub fn unlock(&self, key: Option<CustomerKey>) -> Result<(), StoreError> {
        let trouble = match (&self.info().headers.customer, key) {
            (None, None) => return Ok(()),
            (None, Some(_)) => KeyTrouble::NotApplicable,
            (Some(_), None) => KeyTrouble::Missing,
            (Some(seal), Some(key)) if key.fits(seal) => {
                // Given twice, it is the same one.
                let _ = self.opened.customer.set(key);
                return Ok(());
            }
            (Some(_), Some(_)) => KeyTrouble::Wrong,
        };
        Err(StoreError::CustomerKey(trouble))
    }

    /// The key of its customer, once it was given.
    pub(super) fn customer(&self) -> Option<&CustomerKey> {
        self.opened.customer.get()
    }

    /// The parts of a multipart object in order; empty for a plain PUT.
    ///
    /// # Errors
    /// The manifest cannot be read.
    pub async fn parts(&self) -> Result<Vec<PartInfo>, StoreError> {
        Ok(self.opened.manifest().await?.parts.clone())
    }

    /// The bytes of a range within the content; what lies outside of it is left out.
    pub fn read(&self, range: Range<u64>) -> ObjectReader {
        let end = range.end.min(self.info().size);
        ObjectReader::new(self.opened.clone(), range.start.min(end)..end)
    }
}

impl OpenedContent {
    /// A block of the content with the key that opens it.
    ///
    /// # Errors
    /// `CustomerKey`: it takes the key of a customer, which was not given.
    pub(super) fn unmasked(&self, block: BlockRef) -> Result<BlockRef, StoreError> {
        match (&self.version.info.headers.customer, self.customer.get()) {
            (None, _) => Ok(block),
            (Some(_), Some(key)) => Ok(key.unmasked(block)),
            (Some(_), None) => Err(StoreError::CustomerKey(KeyTrouble::Missing)),
        }
    }

    /// Where the content is; fetched once when it is long.
    pub(super) async fn manifest(self: &Arc<Self>) -> Result<Arc<Manifest>, StoreError> {
        let fetch = async || {
            let owner = |write| self.version.owner(write);
            let manifest = self.store.0.manifest(&self.version.content, owner).await?;
            Ok(Arc::new(manifest))
        };
        self.manifest.get_or_try_init(fetch).await.cloned()
    }
}

impl Store {
    /// Opens the current version of an object, or the one named.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `DeleteMarker`.
    pub async fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Object, StoreError> {
        let entry = self.0.directory.entry(bucket.id)?;
        let row_key = row_key::object(bucket.id, key.as_str());
        let (version, pins) = self.open_pinned(&entry, key, &row_key, version).await?;
        let opened = OpenedContent {
            store: self.clone(),
            version,
            manifest: OnceCell::new(),
            customer: OnceLock::new(),
            _pins: pins,
        };
        Ok(Object {
            opened: Arc::new(opened),
        })
    }

    /// Opens a version and pins its blocks: by this disk as long as it is the truth about it.
    async fn open_pinned(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        row_key: &[u8],
        version: Option<VersionId>,
    ) -> Result<(Arc<OpenedVersion>, Pins), StoreError> {
        while self.0.partitions.decides_alone_about(row_key) {
            let opened = match version {
                None => self.current(entry, key, row_key)?,
                Some(_) => {
                    let row = self.0.row_with(entry.bucket.id, key, version).await?;
                    let row = row.ok_or(StoreError::NoSuchVersion)?;
                    Arc::new(self.open_version(entry, key, row, version)?)
                }
            };
            let pins = self.0.releaser.pin(opened.owners());
            // Blocks may have been freed between reading the row and pinning them: only if the version is still there
            // did the pin come in time.
            if opened.owners.is_empty() || self.still_there(entry, key, (version, opened.write))? {
                return Ok((opened, pins));
            }
        }
        self.open_anywhere(entry, key, version).await
    }

    /// Opens a version by what a quorum has, and pins its blocks. What stands on this disk is most often what a quorum has:
    /// pinned before that is known, it is known in one go.
    async fn open_anywhere(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<(Arc<OpenedVersion>, Pins), StoreError> {
        let mut pins = self.0.releaser.pin(self.owners_here(entry, key, version));
        let mut before: Option<Arc<OpenedVersion>> = None;
        loop {
            let row = self.0.row_with(entry.bucket.id, key, version).await?;
            let row = row.ok_or(match version {
                None => StoreError::NoSuchKey,
                Some(_) => StoreError::NoSuchVersion,
            })?;
            // It was current a moment ago, and its blocks were pinned before it was seen to be there.
            if let Some(opened) = before.take().filter(|opened| lists(&row, opened.write)) {
                return Ok((opened, pins));
            }
            let opened = Arc::new(self.open_version(entry, key, row, version)?);
            let owners = opened.owners();
            if pins.hold(&owners) {
                return Ok((opened, pins));
            }
            pins = self.0.releaser.pin(owners);
            before = Some(opened);
        }
    }

    /// Who refers to the blocks of a version, by what stands on this disk.
    fn owners_here(&self, entry: &BucketEntry, key: &ObjectKey, version: Option<VersionId>) -> Vec<Owner> {
        // What does not read here may read elsewhere.
        let row = self.0.row_here_with(entry.bucket.id, key, version).ok().flatten();
        let chosen = row.and_then(|row| row.chosen(version).ok());
        let writes = chosen.into_iter().flat_map(|chosen| chosen.extents);
        writes
            .map(|write| owner_of(&self.0.keyring, entry.bucket.id, key, write))
            .collect()
    }

    /// The current version on this disk, from memory if it was read lately.
    fn current(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        row_key: &[u8],
    ) -> Result<Arc<OpenedVersion>, StoreError> {
        let hot = &self.0.hot;
        match self
            .0
            .partitions
            .find(row_key, |id| hot.row(id))?
            .ok_or(StoreError::NoSuchKey)?
        {
            (_, Found::Known(opened)) => Ok(opened),
            (id, Found::Read(value)) => {
                let opened = Arc::new(self.open_version(entry, key, decode(&value)?, None)?);
                self.0.hot.keep_row(id, opened.clone());
                Ok(opened)
            }
        }
    }

    /// Whether a version still stands on this disk, which is the truth about it.
    fn still_there(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        (version, write): (Option<VersionId>, WriteId),
    ) -> Result<bool, StoreError> {
        let row_key = row_key::object(entry.bucket.id, key.as_str());
        match self
            .0
            .partitions
            .find(&row_key, |id| self.0.hot_row(id, &row_key))?
        {
            None => Ok(false),
            Some((_, Found::Known(opened))) if opened.write == write => Ok(true),
            Some(_) => {
                let row = self.0.row_here_with(entry.bucket.id, key, version)?;
                Ok(row.is_some_and(|row| lists(&row, write)))
            }
        }
    }

    fn open_version(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        row: ObjectRow,
        version: Option<VersionId>,
    ) -> Result<OpenedVersion, StoreError> {
        let current = row.current().map(|current| current.write);
        let chosen = row.chosen(version)?;
        let VersionDetails {
            headers,
            checksum,
            content,
        } = self.0.details(entry, key, &chosen)?;
        let facts = chosen.facts;
        let info = ObjectInfo {
            version: facts.id,
            is_current: current == Some(chosen.write),
            modified: facts.modified,
            size: facts.size,
            etag: facts.etag,
            class: facts.class,
            checksum,
            lock: facts.lock,
            headers,
        };
        let owners = chosen
            .extents
            .iter()
            .map(|write| (*write, owner_of(&self.0.keyring, entry.bucket.id, key, *write)));
        Ok(OpenedVersion {
            info,
            content,
            write: chosen.write,
            owners: owners.collect(),
            row: row_key::object(entry.bucket.id, key.as_str()),
        })
    }
}

/// Whether a row has the version that a write made.
fn lists(row: &ObjectRow, write: WriteId) -> bool {
    row.versions.iter().any(|there| there.write == write)
}

impl Inner {
    /// What is in memory of this content of this row.
    fn hot_row(&self, id: RowId, row_key: &[u8]) -> Option<Arc<OpenedVersion>> {
        self.hot.row(id).filter(|opened| opened.row == row_key)
    }
}

impl ObjectRow {
    /// The version named, or the current one.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `DeleteMarker`.
    pub(super) fn chosen(mut self, version: Option<VersionId>) -> Result<SealedVersion, StoreError> {
        let place = match version {
            Some(id) => self
                .versions
                .iter()
                .position(|there| there.facts.id == id)
                .ok_or(StoreError::NoSuchVersion)?,
            None => 0,
        };
        if place >= self.versions.len() {
            return Err(StoreError::NoSuchKey);
        }
        let chosen = self.versions.swap_remove(place);
        if chosen.facts.delete_marker {
            return Err(StoreError::DeleteMarker {
                version: chosen.facts.id,
                named: version.is_some(),
                modified: chosen.facts.modified,
            });
        }
        Ok(chosen)
    }
}
