//! Shows the objects of the store to the appliance: lists, reads, stores, deletes and brings back, by the store's own operations.

use std::ops::Range;
use std::sync::Arc;

use appliance::api::{self, ObjectAt, Schema};
use appliance::{Content, ContentError, FormEvent, FormReader, NodeError, Upload};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage::model::{
    Bucket, Cause, Lock, ObjectHeaders, ObjectKey, StorageClass, VersionId, Versioning, WriteCondition,
};
use storage::{
    Claims, CopyObject, DeleteTarget, ListObjects, ListVersions, NewObject, Object, ObjectBody, ObjectInfo,
    ObjectReader, PutOutcome, StoreError,
};

use super::{Console, existing, refusal, time_shown};

/// Versions of an object that are looked at to bring one back: as many as its row has room for.
const VERSIONS_MAX: usize = 1000;

/// The longest media type. Source: RFC 6838 section 4.2, twice 127 characters and the slash; and parameters.
const MEDIA_BYTES_MAX: usize = 512;

/// How a version is brought back.
#[derive(Debug, PartialEq, Eq)]
enum BringBack {
    /// It is the newest already.
    Nothing,
    /// The marks of deletes that lie above it go.
    Unmark(Vec<VersionId>),
    /// It is copied to the front.
    Copy(VersionId),
}

impl appliance::Objects for Console {
    async fn list_objects(&self, bucket: &str, list: api::ListObjects) -> Result<api::ObjectList, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let list = ListObjects {
            prefix: list.prefix,
            delimiter: list.delimiter,
            after: list.after,
            max: list.max as usize,
        };
        let page = self.store.list_objects(&in_store, list).await;
        let page = page.map_err(|error| refusal(error, bucket))?;
        let objects = page.objects().map(|(key, facts)| api::ListedObject {
            key: key.to_owned(),
            size: facts.size,
            modified: time_shown(facts.modified),
            etag: facts.etag.to_string(),
        });
        Ok(api::ObjectList {
            schema: Schema,
            objects: objects.collect(),
            folders: page.prefixes,
            next: page.next,
        })
    }

    async fn list_versions(
        &self,
        bucket: &str,
        list: api::ListVersions,
    ) -> Result<api::VersionList, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let list = ListVersions {
            prefix: list.of.prefix,
            delimiter: list.of.delimiter,
            after: list.of.after,
            after_version: list.after_version.as_deref().map(version_of).transpose()?,
            max: list.of.max as usize,
        };
        let page = self.store.list_versions(&in_store, list).await;
        let page = page.map_err(|error| refusal(error, bucket))?;
        let versions = page.versions.into_iter().map(|version| api::ListedVersion {
            key: version.key.to_string(),
            version: version.version.to_string(),
            latest: version.latest,
            delete_marker: version.delete_marker,
            size: version.facts.size,
            modified: time_shown(version.facts.modified),
        });
        let (next, next_version) = page
            .next
            .map_or((None, None), |(key, version)| (Some(key), version));
        Ok(api::VersionList {
            schema: Schema,
            versions: versions.collect(),
            folders: page.prefixes,
            next,
            next_version: next_version.map(|version| version.to_string()),
        })
    }

    async fn object(&self, bucket: &str, at: &ObjectAt) -> Result<api::ObjectInfo, NodeError> {
        Ok(shown(&at.key, self.opened(bucket, at).await?.info()))
    }

    async fn read_object(
        &self,
        bucket: &str,
        at: &ObjectAt,
        range: Option<&str>,
    ) -> Result<Content, NodeError> {
        let object = self.opened(bucket, at).await?;
        object
            .unlock(None)
            .map_err(|error| refused(error, bucket, &at.key))?;
        let size = object.info().size;
        let wanted = range.map(|range| s3::range_of(range, size)).transpose();
        let wanted = wanted.map_err(|_| NodeError::OutOfRange(size))?.flatten();
        let range = wanted.clone().unwrap_or(0..size);
        Ok(Content {
            object: shown(&at.key, object.info()),
            is_part: wanted.is_some(),
            pieces: pieces(&object, range.clone()),
            range,
        })
    }

    async fn put_object(
        &self,
        bucket: &str,
        key: &str,
        upload: Upload,
    ) -> Result<api::StoredObject, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let (key, media) = (key_of(key)?, media_of(upload.media.clone())?);
        let new = NewObject {
            headers: ObjectHeaders {
                content_type: media,
                ..ObjectHeaders::default()
            },
            class: StorageClass::default(),
            // The bucket may have a default retention, which the store gives it.
            lock: Lock::default(),
            condition: WriteCondition::None,
            // This box itself asks, for whoever is at its page.
            cause: Cause::default(),
            invocation: None,
        };
        let stored = self
            .store
            .put_object(&in_store, &key, new, Arriving(upload))
            .await;
        let outcome = stored.map_err(|error| refused(error, bucket, key.as_str()))?;
        Ok(stored_object(&key, &outcome))
    }

    async fn delete_object(&self, bucket: &str, at: &ObjectAt) -> Result<(), NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let version = at.version.as_deref().map(version_of).transpose()?;
        self.delete(&in_store, key_of(&at.key)?, version).await
    }

    async fn restore_object(
        &self,
        bucket: &str,
        request: api::RestoreObject,
    ) -> Result<api::ObjectInfo, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        if !in_store.settings.versioning.was_ever_on() {
            return Err(NodeError::NoVersions(bucket.into()));
        }
        let key = key_of(&request.key)?;
        let wanted = request.version.as_deref().map(version_of).transpose()?;
        let versions = self.versions_of(&in_store, &key).await?;
        match bring_back(&versions, wanted).ok_or_else(|| match wanted {
            Some(_) => NodeError::NoSuchVersion(request.key.clone()),
            None => NodeError::NoSuchObject(request.key.clone()),
        })? {
            BringBack::Nothing => {}
            BringBack::Unmark(marks) => {
                for mark in marks {
                    self.delete(&in_store, key.clone(), Some(mark)).await?;
                }
            }
            BringBack::Copy(version) => self.copy_to_front(&in_store, &key, version).await?,
        }
        let newest = ObjectAt {
            key: request.key,
            version: None,
        };
        self.object(bucket, &newest).await
    }

    async fn share_object(&self, bucket: &str, request: api::ShareObject) -> Result<api::Shared, NodeError> {
        self.share(bucket, request).await
    }

    async fn set_versioning(&self, bucket: &str, on: bool) -> Result<api::BucketInfo, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let wanted = match (on, in_store.settings.versioning) {
            (true, _) => Versioning::Enabled,
            (false, Versioning::Off) => Versioning::Off,
            (false, _) => Versioning::Suspended,
        };
        let set = self.store.set_versioning(&in_store, wanted).await;
        let changed = set.map_err(|error| match error {
            StoreError::BucketState(why) => NodeError::Invalid(why.into()),
            other => refusal(other, bucket),
        })?;
        Ok(self.bucket_info(&changed).await)
    }

    async fn set_lock(&self, bucket: &str, request: api::SetLock) -> Result<api::BucketInfo, NodeError> {
        self.lock_bucket(bucket, request).await
    }

    async fn set_website(
        &self,
        bucket: &str,
        request: api::SetWebsite,
    ) -> Result<api::BucketInfo, NodeError> {
        self.serve_website(bucket, request).await
    }

    async fn uploads(&self, bucket: &str, prefix: &str) -> Result<api::UploadList, NodeError> {
        self.uploads_shown(bucket, prefix).await
    }

    async fn start_upload(
        &self,
        bucket: &str,
        request: api::StartUpload,
    ) -> Result<api::StartedUpload, NodeError> {
        self.begin_upload(bucket, request).await
    }

    async fn put_part(
        &self,
        bucket: &str,
        at: &api::UploadAt,
        number: u16,
        upload: Upload,
    ) -> Result<api::PartInfo, NodeError> {
        self.take_part(bucket, at, number, upload).await
    }

    async fn parts(&self, bucket: &str, at: &api::UploadAt) -> Result<api::PartList, NodeError> {
        self.parts_shown(bucket, at).await
    }

    async fn complete_upload(
        &self,
        bucket: &str,
        request: api::CompleteUpload,
    ) -> Result<api::StoredObject, NodeError> {
        self.finish_upload(bucket, request).await
    }

    async fn abort_upload(&self, bucket: &str, at: &api::UploadAt) -> Result<(), NodeError> {
        self.give_upload_up(bucket, at).await
    }

    fn form(&self, content_type: &str) -> Option<Box<dyn FormReader>> {
        let boundary = s3::form::boundary_of(content_type)?;
        Some(Box::new(Form(s3::form::Multipart::new(&boundary))))
    }
}

impl Console {
    /// The bucket of that name.
    pub(super) fn bucket_named(&self, bucket: &str) -> Result<Arc<Bucket>, NodeError> {
        let found = self.store.bucket(&existing(bucket)?);
        found.map_err(|error| refusal(error, bucket))
    }

    /// Opens an object.
    pub(super) async fn opened(&self, bucket: &str, at: &ObjectAt) -> Result<Object, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let version = at.version.as_deref().map(version_of).transpose()?;
        let opened = self.store.object(&in_store, &key_of(&at.key)?, version).await;
        opened.map_err(|error| refused(error, bucket, &at.key))
    }

    async fn delete(
        &self,
        bucket: &Bucket,
        key: ObjectKey,
        version: Option<VersionId>,
    ) -> Result<(), NodeError> {
        let name = key.to_string();
        let target = DeleteTarget {
            key,
            version,
            condition: WriteCondition::None,
            bypass: false,
            // This box itself asks, for whoever is at its page.
            cause: Cause::default(),
        };
        let deleted = self.store.delete_object(bucket, target).await;
        deleted
            .map(drop)
            .map_err(|error| refused(error, bucket.name.as_str(), &name))
    }

    /// The versions of one object, the newest first, and which of them are marks of deletes.
    async fn versions_of(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Vec<(VersionId, bool)>, NodeError> {
        let list = ListVersions {
            prefix: key.to_string(),
            max: VERSIONS_MAX,
            ..ListVersions::default()
        };
        let page = self.store.list_versions(bucket, list).await;
        let page = page.map_err(|error| refused(error, bucket.name.as_str(), key.as_str()))?;
        // Of all names that begin so, the one that ends there comes first.
        let own = page.versions.into_iter().filter(|version| version.key == *key);
        Ok(own
            .map(|version| (version.version, version.delete_marker))
            .collect())
    }

    async fn copy_to_front(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: VersionId,
    ) -> Result<(), NodeError> {
        let refused = |error| refused(error, bucket.name.as_str(), key.as_str());
        let source = self
            .store
            .object(bucket, key, Some(version))
            .await
            .map_err(refused)?;
        let copy = CopyObject {
            headers: None,
            tags: None,
            class: source.info().class,
            checksum: None,
            lock: Lock::default(),
            condition: WriteCondition::None,
            customer: None,
            // This box itself asks, for whoever is at its page.
            cause: Cause::default(),
            invocation: None,
        };
        let copied = self.store.copy_object(&source, bucket, key, copy).await;
        copied.map(drop).map_err(refused)
    }
}

/// How the wanted version becomes the newest, or the newest that is no mark of a delete. `versions` are those of one object,
/// the newest first; none where there is no such version, or it is a mark itself.
fn bring_back(versions: &[(VersionId, bool)], wanted: Option<VersionId>) -> Option<BringBack> {
    let place = versions
        .iter()
        .position(|(version, is_mark)| !is_mark && wanted.is_none_or(|wanted| wanted == *version))?;
    let (above, version) = (&versions[..place], versions[place].0);
    Some(match above {
        [] => BringBack::Nothing,
        // Nothing is written, so it takes no room and any size will do.
        marks if marks.iter().all(|(_, is_mark)| *is_mark) => {
            BringBack::Unmark(marks.iter().map(|(mark, _)| *mark).collect())
        }
        _ => BringBack::Copy(version),
    })
}

/// Content that arrives from a person, as the store takes it: nothing is claimed about it.
pub(super) struct Arriving(pub(super) Upload);

impl ObjectBody for Arriving {
    async fn next(&mut self) -> Option<Result<Bytes, ContentError>> {
        self.0.pieces.next().await
    }

    fn size_hint(&self) -> Option<u64> {
        self.0.size
    }

    fn checksum_algorithm(&self) -> Option<storage::model::ChecksumAlgorithm> {
        None
    }

    fn claims_sha256(&self) -> bool {
        false
    }

    fn claims(&self) -> Claims {
        Claims::default()
    }
}

/// The bytes of a range, a step ahead of whoever takes them.
fn pieces(object: &Object, range: Range<u64>) -> appliance::Pieces {
    let next = |mut reader: ObjectReader| async move {
        let piece = reader.next().await?.map_err(ContentError::from);
        Some((piece, reader))
    };
    Box::pin(stream::unfold(object.read(range), next))
}

/// A form, taken apart by what takes those of S3 apart.
struct Form(s3::form::Multipart);

impl FormReader for Form {
    fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    fn event(&mut self) -> Result<Option<FormEvent>, NodeError> {
        use s3::form::{Event, Part};
        let event = self.0.event();
        let event = event.map_err(|error| NodeError::Invalid(error.message().to_owned()))?;
        Ok(event.map(|event| match event {
            Event::Part(Part {
                name,
                filename,
                content_type,
            }) => FormEvent::Field {
                name,
                file: filename,
                media: content_type,
            },
            Event::Content(content) => FormEvent::Content(content),
            Event::PartEnd => FormEvent::FieldEnd,
            Event::End => FormEvent::End,
        }))
    }
}

/// A key that a person names.
pub(super) fn key_of(key: &str) -> Result<ObjectKey, NodeError> {
    ObjectKey::parse(key.as_bytes()).map_err(|error| NodeError::Invalid(error.to_string()))
}

fn version_of(version: &str) -> Result<VersionId, NodeError> {
    VersionId::parse(version).map_err(|error| NodeError::Invalid(error.to_string()))
}

/// A media type that is stored with an object; none where nothing is said.
pub(super) fn media_of(media: Option<String>) -> Result<Option<String>, NodeError> {
    let media = media.filter(|media| !media.is_empty());
    match &media {
        Some(text) if text.len() > MEDIA_BYTES_MAX || text.chars().any(char::is_control) => {
            Err(NodeError::Invalid("that is no media type".into()))
        }
        _ => Ok(media),
    }
}

pub(super) fn stored_object(key: &ObjectKey, outcome: &PutOutcome) -> api::StoredObject {
    api::StoredObject {
        schema: Schema,
        key: key.to_string(),
        version: outcome.version.map(|version| version.to_string()),
        size: outcome.size,
        etag: outcome.etag.to_string(),
    }
}

fn shown(key: &str, info: &ObjectInfo) -> api::ObjectInfo {
    api::ObjectInfo {
        schema: Schema,
        key: key.to_owned(),
        version: info.version.to_string(),
        latest: info.is_current,
        size: info.size,
        modified: time_shown(info.modified),
        etag: info.etag.to_string(),
        media: info.headers.content_type.clone(),
        encoding: info.headers.content_encoding.clone(),
        locked_until: info.lock.retention.map(|retention| time_shown(retention.until)),
        held: info.lock.legal_hold == Some(true),
        sealed_by_customer: info.headers.customer.is_some(),
    }
}

/// Why the store refused something about an object.
pub(super) fn refused(error: StoreError, bucket: &str, key: &str) -> NodeError {
    match error {
        StoreError::NoSuchKey | StoreError::DeleteMarker { .. } => NodeError::NoSuchObject(key.into()),
        StoreError::NoSuchVersion => NodeError::NoSuchVersion(key.into()),
        StoreError::NoSuchUpload => NodeError::NoSuchUpload,
        StoreError::Locked => NodeError::Locked(key.into()),
        StoreError::TooManyVersions => NodeError::TooManyVersions(key.into()),
        StoreError::CustomerKey(_) => NodeError::CustomerKey(key.into()),
        StoreError::Body(_) => NodeError::BrokeOff,
        StoreError::QuotaExceeded { .. } => NodeError::OverQuota(
            "that would be more than the bucket may hold, with old versions and unfinished uploads".into(),
        ),
        StoreError::EntityTooLarge { .. } => NodeError::TooLarge(error.to_string()),
        StoreError::InvalidPart(_)
        | StoreError::InvalidPartNumber(_)
        | StoreError::InvalidPartOrder
        | StoreError::EntityTooSmall { .. }
        | StoreError::SizeMismatch { .. } => NodeError::Invalid(error.to_string()),
        other => refusal(other, bucket),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u8) -> VersionId {
        VersionId::Named([number; 16])
    }

    /// Versions like `3 2x 1`, the newest first, a mark with an x.
    #[track_caller]
    fn check(versions: &str, wanted: Option<u8>, expected: Option<BringBack>) {
        let versions = versions.split_whitespace().map(|word| {
            let number = word.trim_end_matches('x').parse().unwrap();
            (version(number), word.ends_with('x'))
        });
        let found = bring_back(&versions.collect::<Vec<_>>(), wanted.map(version));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_deleted_comes_back_without_being_written_again() {
        check("2x 1", None, Some(BringBack::Unmark(vec![version(2)])));
        check(
            "3x 2x 1",
            Some(1),
            Some(BringBack::Unmark(vec![version(3), version(2)])),
        );
    }

    #[test]
    fn an_earlier_version_becomes_the_newest_by_a_copy() {
        check("2 1", Some(1), Some(BringBack::Copy(version(1))));
        check("3x 2 1", Some(1), Some(BringBack::Copy(version(1))));
    }

    #[test]
    fn what_is_there_stays_and_what_never_was_cannot_come_back() {
        check("2 1x", None, Some(BringBack::Nothing));
        check("2 1", Some(2), Some(BringBack::Nothing));
        check("1x", None, None);
        check("2x 1", Some(2), None);
        check("", Some(1), None);
    }
}
