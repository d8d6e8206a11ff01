//! Completes a multipart upload: its parts become one object, in one commit.

use std::sync::Arc;

use md5::{Digest as _, Md5};

use super::PutOutcome;
use super::digest::{Checksummer, combine};
use crate::cluster::{BucketEntry, Writes};
use crate::model::{
    Bucket, Checksum, ChecksumAlgorithm, ChecksumKind, ChecksumValue, Content, ETag, Manifest, ObjectKey,
    PartInfo, PartNumber, PartRow, Timestamp, UploadId, UploadRow, UploadState, VersionDetails, VersionFacts,
    VersionId, WriteCondition, row_key,
};
use crate::{Digest, Store, StoreError};

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
}

impl Store {
    /// Makes the named parts the object. A repeated call hears the same answer.
    ///
    /// # Errors
    /// `InvalidPartOrder`, `InvalidPart`, `EntityTooSmall`, `NoSuchUpload`, `PreconditionFailed`, `NoSuchKey`,
    /// `DigestMismatch`, `SizeMismatch`.
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
        let claim = self.0.partitions.claim(entry.bucket.id, &key).await?;
        let upload_key = row_key::upload(entry.bucket.id, &key, upload);
        let row: UploadRow = self
            .0
            .partitions
            .read(&upload_key)?
            .ok_or(StoreError::NoSuchUpload)?;
        if let UploadState::Completed {
            etag,
            checksum,
            size,
            modified,
        } = row.state
        {
            return Ok(PutOutcome {
                etag,
                version: None,
                checksum,
                size,
                modified,
            });
        }
        let mut writes = Writes::default();
        let stored = self.0.take_parts(entry.bucket.id, upload, &mut writes).await?;
        let (chosen, unused) = choose(stored, &complete.parts)?;
        let size = check_sizes(&chosen, complete.size, self.0.limits.part_bytes_min)?;
        let checksum = checksum_of(&row, &chosen, complete.checksum)?;
        let manifest = self.manifest_of(&entry, &key, &chosen)?;
        let facts = VersionFacts {
            id: VersionId::Null,
            modified: Timestamp::now(),
            size,
            etag: etag_of(&chosen),
            class: row.class,
            checksum: row.checksum,
            delete_marker: false,
        };
        let headers = self.0.upload_headers(&entry, &key, upload, &row)?;
        let details = VersionDetails {
            headers,
            checksum,
            content: Content::Blocks(manifest),
        };
        let lease = self.0.lease(&entry.bucket, &key);
        let ready = self.ready(&entry, &key, facts.clone(), details, lease).await?;
        // Object, upload and parts change in one commit: no crash leaves parts that two of them would free.
        let state = UploadState::Completed {
            etag: facts.etag,
            checksum,
            size,
            modified: facts.modified,
        };
        writes.put(upload_key, Vec::new(), &UploadRow { state, ..row });
        let facts = self
            .commit_claimed(&entry, &key, ready, complete.condition, &claim, writes)
            .await?;
        self.0.releaser.displace(
            unused
                .iter()
                .flat_map(|part| self.0.blocks_of_part(&entry, &key, part)),
        );
        Ok(PutOutcome::new(&facts, checksum))
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

/// Splits the stored parts into those the client names and the rest.
fn choose(stored: Vec<PartRow>, named: &[CompletedPart]) -> Result<(Vec<PartRow>, Vec<PartRow>), StoreError> {
    let find = |number: PartNumber| named.binary_search_by_key(&number, |part| part.number).ok();
    let (chosen, unused): (Vec<_>, Vec<_>) = stored.into_iter().partition(|part| find(part.number).is_some());
    let mut have = chosen.iter();
    for part in named {
        // Both are in ascending order, and every chosen part is named.
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
    Ok((chosen, unused))
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
