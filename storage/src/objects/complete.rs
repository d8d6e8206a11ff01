//! Completes a multipart upload: its parts become one object, in one commit.

use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::PutOutcome;
use super::commit::{Ready, refusal_of};
use super::digest::{Checksummer, combine};
use super::put::one_of;
use crate::cluster::BucketEntry;
use crate::model::command::{Action, ChosenPart, Outcome, Refusal};
use crate::model::{
    Bucket, Cause, Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumValue, Content, ETag, How, Manifest,
    ObjectKey, PartInfo, PartNumber, PartRow, Timestamp, UploadId, UploadRow, UploadState, VersionDetails,
    VersionFacts, VersionId, WriteCondition,
};
use crate::{CustomerKey, Digest, Store, StoreError};

/// How often parts are chosen anew because a client replaces them meanwhile.
const TRIES_MAX: usize = 8;

/// A part a client names in its Complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// The tag the client was given; `None` is a tag no part has.
    pub etag: Option<ETag>,
    /// The checksum the client claims.
    pub checksum: Option<ChecksumValue>,
}

/// How to complete.
#[derive(Clone, Debug)]
pub struct CompleteUpload {
    /// In the client's order.
    pub parts: Vec<CompletedPart>,
    /// What must hold at commit for the object.
    pub condition: WriteCondition,
    /// The whole object's checksum the client claims, if any.
    pub checksum: Option<ChecksumValue>,
    /// The whole object's size the client claims, if any.
    pub size: Option<u64>,
    /// The key of a customer, if the client names it once more.
    pub customer: Option<CustomerKey>,
    /// Who asks for it, for those who are told.
    pub cause: Cause,
}

impl Store {
    /// Makes the named parts the object. A repeated call hears the same answer.
    ///
    /// # Errors
    /// `InvalidPartOrder`, `InvalidPart`, `EntityTooSmall`, `NoSuchUpload`, `PreconditionFailed`, `NoSuchKey`,
    /// `DigestMismatch`, `SizeMismatch`; `Conflict` while a client keeps replacing the parts.
    pub async fn complete_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: UploadId,
        complete: CompleteUpload,
    ) -> Result<PutOutcome, StoreError> {
        if !complete.parts.is_sorted_by(|a, b| a.number < b.number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let entry = self.0.directory.entry(bucket.id)?;
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move { store.complete(entry, key, upload, complete).await })
            .await
    }

    async fn complete(
        &self,
        entry: Arc<BucketEntry>,
        key: ObjectKey,
        upload: UploadId,
        complete: CompleteUpload,
    ) -> Result<PutOutcome, StoreError> {
        let _writer = entry.enter().await?;
        let operation = self.0.begin().because(complete.cause.clone().of(How::Complete));
        for _ in 0..TRIES_MAX {
            let (row, stored) = self.0.upload_with_parts(entry.bucket.id, &key, upload).await?;
            if let UploadState::Completed(completed) = row.state {
                return Ok(completed.into());
            }
            if let Some(customer) = &complete.customer {
                self.0
                    .must_be_of_upload(&entry, &key, (upload, &row), Some(customer))?;
            }
            let chosen = choose(stored, &complete.parts)?;
            let parts = chosen.iter().map(|part| ChosenPart {
                number: part.number,
                write: part.write,
            });
            let parts = parts.collect();
            let (ready, checksum) = self
                .become_version(&entry, &key, upload, row, chosen, &complete)
                .await?;
            let action = Action::CompleteUpload {
                upload,
                parts,
                version: ready.version,
                checksum,
                condition: complete.condition,
            };
            match self
                .submit_inside(operation.clone(), &entry, &key, action, ready.leases)
                .await?
            {
                Outcome::Completed { completed, .. } => {
                    // Its parts are counted, and it was not when they were.
                    self.0.counts.add(entry.bucket.id, one_of(0));
                    return Ok(completed.into());
                }
                Outcome::Refused(Refusal::PartsChanged) => {}
                other => return Err(refusal_of(other)),
            }
        }
        Err(StoreError::Conflict)
    }

    /// The version that the chosen parts of an upload become, and the checksum it carries.
    async fn become_version(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        upload: UploadId,
        row: UploadRow,
        chosen: Vec<PartRow>,
        complete: &CompleteUpload,
    ) -> Result<(Ready, Option<Checksum>), StoreError> {
        let size = check_sizes(&chosen, complete.size, self.0.limits.part_bytes_min)?;
        let checksum = checksum_of(&row, &chosen, complete.checksum)?;
        let facts = VersionFacts {
            id: VersionId::Null,
            modified: Timestamp::now(),
            size,
            etag: etag_of(&chosen),
            class: row.class,
            checksum: row.checksum,
            delete_marker: false,
            lock: row.lock,
        };
        let details = VersionDetails {
            headers: self.0.upload_headers(entry, key, upload, &row)?,
            checksum,
            content: Content::Blocks(self.manifest_of(entry, key, &chosen)?),
        };
        let ready = self
            .ready(entry, key, upload.into(), facts, details, Vec::new())
            .await?;
        Ok((ready, checksum))
    }

    fn manifest_of(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        parts: &[PartRow],
    ) -> Result<Manifest, StoreError> {
        let mut manifest = Manifest::default();
        for part in parts {
            match self.0.part_content(entry, key, part)? {
                Content::Blocks(blocks) => manifest.extents.extend(blocks.extents),
                Content::Inline(_) | Content::Long { .. } => {
                    return Err(StoreError::Damaged(format!(
                        "part {} of {key:?} has no blocks",
                        part.number.get()
                    )));
                }
            }
            manifest.parts.push(PartInfo {
                number: part.number,
                size: part.size,
                checksum: part.checksum,
            });
        }
        Ok(manifest)
    }
}

/// The stored parts that the client names.
fn choose(mut stored: Vec<PartRow>, named: &[CompletedPart]) -> Result<Vec<PartRow>, StoreError> {
    let find = |number: PartNumber| named.binary_search_by_key(&number, |part| part.number).ok();
    stored.retain(|part| find(part.number).is_some());
    let mut have = stored.iter();
    for part in named {
        // Both are in ascending order, and every one that is left is named.
        let same = have.next().is_some_and(|stored| {
            stored.number == part.number
                && part.etag == Some(stored.etag)
                && part
                    .checksum
                    .is_none_or(|claimed| stored.checksum == Some(claimed))
        });
        if !same {
            return Err(StoreError::InvalidPart(part.number));
        }
    }
    Ok(stored)
}

fn check_sizes(parts: &[PartRow], claimed: Option<u64>, least: u64) -> Result<u64, StoreError> {
    let but_last = parts.len().saturating_sub(1);
    if let Some(small) = parts[..but_last].iter().find(|part| part.size < least) {
        return Err(StoreError::EntityTooSmall {
            number: small.number,
            size: small.size,
        });
    }
    let actual = parts.iter().map(|part| part.size).sum();
    match claimed {
        Some(claimed) if claimed != actual => Err(StoreError::SizeMismatch { claimed, actual }),
        _ => Ok(actual),
    }
}

fn etag_of(parts: &[PartRow]) -> ETag {
    let mut md5 = Md5::new();
    for part in parts {
        let (ETag::Md5(part) | ETag::Multipart { md5: part, .. }) = part.etag;
        md5.update(part);
    }
    ETag::Multipart {
        md5: md5.finalize().into(),
        parts: part_count(parts),
    }
}

fn part_count(parts: &[PartRow]) -> u16 {
    u16::try_from(parts.len()).unwrap_or(u16::MAX)
}

/// The checksum of the whole, if every part carries one, compared with the client's claim.
fn checksum_of(
    upload: &UploadRow,
    parts: &[PartRow],
    claimed: Option<ChecksumValue>,
) -> Result<Option<Checksum>, StoreError> {
    let Some(algorithm) = upload.checksum else {
        return claimed.map_or(Ok(None), |claimed| {
            Err(StoreError::DigestMismatch(Digest::Checksum(claimed.algorithm())))
        });
    };
    let values: Option<Vec<_>> = parts
        .iter()
        .map(|part| Some((part.checksum?, part.size)))
        .collect();
    let Some(values) = values else { return Ok(None) };
    let checksum = if upload.full_object {
        full_object(&values)
    } else {
        Some(composite(algorithm, &values))
    };
    match (claimed, checksum) {
        (Some(claimed), Some(actual)) if claimed != actual.value => {
            Err(StoreError::DigestMismatch(Digest::Checksum(algorithm)))
        }
        _ => Ok(checksum),
    }
}

fn full_object(values: &[(ChecksumValue, u64)]) -> Option<Checksum> {
    let value = values
        .iter()
        .copied()
        .reduce(|(first, size), (second, more)| (combine(first, second, more), size + more));
    value.map(|(value, _)| Checksum {
        value,
        kind: ChecksumKind::FullObject,
    })
}

fn composite(algorithm: ChecksumAlgorithm, values: &[(ChecksumValue, u64)]) -> Checksum {
    let mut checksummer = Checksummer::new(algorithm);
    for (value, _) in values {
        checksummer.update(value.as_bytes());
    }
    let parts = u16::try_from(values.len()).unwrap_or(u16::MAX);
    Checksum {
        value: checksummer.finish(),
        kind: ChecksumKind::Composite { parts },
    }
}
