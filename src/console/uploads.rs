//! Takes uploads in parts from the appliance: begun, gone on with after a break, completed or given up, as those of S3.

use appliance::api::{self, Schema, UploadAt};
use appliance::{NodeError, Upload};
use storage::model::{
    Bucket, Cause, Lock, ObjectHeaders, ObjectKey, PartNumber, StorageClass, UploadId, WriteCondition,
};
use storage::{CompleteUpload, CompletedPart, ListUploads, ListedPart, NewUpload};

use super::objects::{Arriving, key_of, media_of, refused, stored_object};
use super::{Console, refusal, time_shown};

/// Entries of a page.
const PAGE: usize = 1000;

impl Console {
    pub(super) async fn uploads_shown(
        &self,
        bucket: &str,
        prefix: &str,
    ) -> Result<api::UploadList, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let list = ListUploads {
            prefix: prefix.to_owned(),
            max: PAGE,
            ..ListUploads::default()
        };
        let page = self.store.list_uploads(&in_store, list).await;
        let uploads = page.map_err(|error| refusal(error, bucket))?.uploads;
        let uploads = uploads.into_iter().map(|upload| api::ListedUpload {
            key: upload.key.to_string(),
            upload: upload.upload.to_string(),
            started: time_shown(upload.started),
        });
        Ok(api::UploadList {
            schema: Schema,
            uploads: uploads.collect(),
        })
    }

    pub(super) async fn begin_upload(
        &self,
        bucket: &str,
        request: api::StartUpload,
    ) -> Result<api::StartedUpload, NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let new = NewUpload {
            headers: ObjectHeaders {
                content_type: media_of(request.media)?,
                ..ObjectHeaders::default()
            },
            class: StorageClass::default(),
            checksum: None,
            full_object: false,
            lock: Lock::default(),
            initiator: None,
            customer: None,
        };
        let begun = self
            .store
            .create_upload(&in_store, &key_of(&request.key)?, new)
            .await;
        let upload = begun.map_err(|error| refused(error, bucket, &request.key))?;
        Ok(api::StartedUpload {
            schema: Schema,
            upload: upload.to_string(),
        })
    }

    pub(super) async fn take_part(
        &self,
        bucket: &str,
        at: &UploadAt,
        number: u16,
        content: Upload,
    ) -> Result<api::PartInfo, NodeError> {
        let (in_store, key, upload) = self.upload_named(bucket, at)?;
        let number = PartNumber::new(number).map_err(|error| NodeError::Invalid(error.to_string()))?;
        let Some(size) = content.size else {
            return Err(NodeError::Invalid(
                "a part says how long it is: Content-Length".into(),
            ));
        };
        let stored = self
            .store
            .put_part(&in_store, &key, upload, number, Arriving(content))
            .await;
        let stored = stored.map_err(|error| refused(error, bucket, &at.key))?;
        Ok(api::PartInfo {
            schema: Schema,
            part: api::StoredPart {
                number: number.get(),
                size,
                etag: stored.etag.to_string(),
            },
        })
    }

    pub(super) async fn parts_shown(&self, bucket: &str, at: &UploadAt) -> Result<api::PartList, NodeError> {
        let parts = self.parts_of(bucket, at).await?;
        let parts = parts.iter().map(|part| api::StoredPart {
            number: part.number.get(),
            size: part.size,
            etag: part.etag.to_string(),
        });
        Ok(api::PartList {
            schema: Schema,
            parts: parts.collect(),
        })
    }

    pub(super) async fn finish_upload(
        &self,
        bucket: &str,
        request: api::CompleteUpload,
    ) -> Result<api::StoredObject, NodeError> {
        let at = UploadAt {
            key: request.key,
            upload: request.upload,
        };
        let parts = self.parts_of(bucket, &at).await?;
        let (in_store, key, upload) = self.upload_named(bucket, &at)?;
        let complete = CompleteUpload {
            parts: parts.iter().map(chosen).collect(),
            condition: WriteCondition::None,
            checksum: None,
            // A part that is missing is noticed by it.
            size: Some(request.size),
            customer: None,
            // This box itself asks, for whoever is at its page.
            cause: Cause::default(),
        };
        let completed = self
            .store
            .complete_upload(&in_store, &key, upload, complete)
            .await;
        let outcome = completed.map_err(|error| refused(error, bucket, &at.key))?;
        Ok(stored_object(&key, &outcome))
    }

    pub(super) async fn give_upload_up(&self, bucket: &str, at: &UploadAt) -> Result<(), NodeError> {
        let (in_store, key, upload) = self.upload_named(bucket, at)?;
        let aborted = self.store.abort_upload(&in_store, &key, upload).await;
        aborted.map_err(|error| refused(error, bucket, &at.key))
    }

    fn upload_named(
        &self,
        bucket: &str,
        at: &UploadAt,
    ) -> Result<(std::sync::Arc<Bucket>, ObjectKey, UploadId), NodeError> {
        let in_store = self.bucket_named(bucket)?;
        let upload = UploadId::parse(&at.upload).ok_or(NodeError::NoSuchUpload)?;
        Ok((in_store, key_of(&at.key)?, upload))
    }

    /// All parts of an upload that are stored: 10,000 at most.
    async fn parts_of(&self, bucket: &str, at: &UploadAt) -> Result<Vec<ListedPart>, NodeError> {
        let (in_store, key, upload) = self.upload_named(bucket, at)?;
        let (mut parts, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list_parts(&in_store, &key, upload, after, PAGE).await;
            let page = page.map_err(|error| refused(error, bucket, &at.key))?;
            parts.extend(page.parts);
            match page.next {
                Some(last) => after = Some(last.get()),
                None => return Ok(parts),
            }
        }
    }
}

fn chosen(part: &ListedPart) -> CompletedPart {
    CompletedPart {
        number: part.number,
        etag: Some(part.etag),
        checksum: None,
    }
}
