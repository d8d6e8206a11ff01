//! Opens an object: facts at once, content to be read.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::read::ObjectReader;
use crate::cluster::Pins;
use crate::model::{
    Bucket, Checksum, Content, ETag, Manifest, ObjectHeaders, ObjectKey, ObjectRow, PartInfo, SealedVersion,
    StorageClass, Timestamp, VersionDetails, VersionId, row_key,
};
use crate::{Store, StoreError};

/// Everything about one version but its bytes.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    /// Which version.
    pub version: VersionId,
    /// Whether clients are told the version (versioning was ever on).
    pub versioned: bool,
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
    /// What the client said about it.
    pub headers: ObjectHeaders,
}

/// One version of an object, opened. Its content stays readable while this lives, even if it is overwritten.
#[derive(Clone)]
pub struct Object {
    info: Arc<ObjectInfo>,
    pub(super) opened: Arc<OpenedContent>,
}

/// The content of an opened version.
pub(super) struct OpenedContent {
    pub(super) store: Store,
    pub(super) content: Content,
    manifest: OnceCell<Arc<Manifest>>,
    _pins: Pins,
}

impl Object {
    /// Everything but the bytes.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
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
        let end = range.end.min(self.info.size);
        ObjectReader::new(self.opened.clone(), range.start.min(end)..end)
    }
}

impl OpenedContent {
    /// Where the content is; fetched once when it is long.
    pub(super) async fn manifest(self: &Arc<Self>) -> Result<Arc<Manifest>, StoreError> {
        let fetch = async || {
            let this = self.clone();
            let manifest = self
                .store
                .0
                .disk
                .run(move || this.store.0.manifest(&this.content))
                .await??;
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
        loop {
            let row: ObjectRow = self.0.partitions.read(&row_key)?.ok_or(StoreError::NoSuchKey)?;
            let versioned = row
                .versions
                .iter()
                .any(|version| version.facts.id != VersionId::Null);
            let chosen = choose(row, version)?;
            let pins = self.0.releaser.pin(chosen.extents.clone());
            // Blocks may have been freed between reading the row and pinning them: only if the version is still there
            // did the pin come in time.
            if !chosen.extents.is_empty() && !self.still_there(&row_key, &chosen)? {
                continue;
            }
            let details = self.0.details(&entry, key, &chosen)?;
            return Ok(self.opened(chosen, details, versioned, pins));
        }
    }

    fn still_there(&self, row_key: &[u8], version: &SealedVersion) -> Result<bool, StoreError> {
        let row: Option<ObjectRow> = self.0.partitions.read(row_key)?;
        Ok(row.is_some_and(|row| row.versions.iter().any(|there| there.write == version.write)))
    }

    fn opened(&self, version: SealedVersion, details: VersionDetails, versioned: bool, pins: Pins) -> Object {
        let facts = version.facts;
        let info = ObjectInfo {
            version: facts.id,
            versioned,
            modified: facts.modified,
            size: facts.size,
            etag: facts.etag,
            class: facts.class,
            checksum: details.checksum,
            headers: details.headers,
        };
        let opened = OpenedContent {
            store: self.clone(),
            content: details.content,
            manifest: OnceCell::new(),
            _pins: pins,
        };
        Object {
            info: Arc::new(info),
            opened: Arc::new(opened),
        }
    }
}

fn choose(mut row: ObjectRow, version: Option<VersionId>) -> Result<SealedVersion, StoreError> {
    let place = match version {
        Some(id) => row
            .versions
            .iter()
            .position(|there| there.facts.id == id)
            .ok_or(StoreError::NoSuchVersion)?,
        None => 0,
    };
    if place >= row.versions.len() {
        return Err(StoreError::NoSuchKey);
    }
    let chosen = row.versions.swap_remove(place);
    if chosen.facts.delete_marker {
        return Err(StoreError::DeleteMarker {
            version: chosen.facts.id,
            named: version.is_some(),
        });
    }
    Ok(chosen)
}
