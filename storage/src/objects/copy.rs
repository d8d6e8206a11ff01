//! Copies an object by referring to its blocks: no bytes move.

use std::ops::Range;

use bytes::Bytes;

use super::put::one_of;
use super::{Claims, NewObject, ObjectBody, PUT_BYTES_MAX};
use crate::model::{
    Bucket, Cause, ChecksumAlgorithm, ChecksumKind, Content, Extent, How, Invocation, Lock, Manifest,
    ObjectHeaders, ObjectKey, StorageClass, Timestamp, VersionDetails, VersionFacts, VersionId,
    WriteCondition,
};
use crate::{CustomerKey, KeyTrouble, Object, ObjectReader, PutOutcome, Store, StoreError};

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyObject {
    /// New headers and metadata (directive REPLACE); those of the source if not given.
    pub headers: Option<ObjectHeaders>,
    /// New tags (tagging directive REPLACE); those of the source if not given.
    pub tags: Option<Vec<(String, String)>>,
    /// Storage class of the copy; STANDARD unless told.
    pub class: StorageClass,
    /// Compute this checksum over the copy; the source's full-object checksum is kept if not given.
    pub checksum: Option<ChecksumAlgorithm>,
    /// What keeps the copy from being removed; the source's lock does not.
    pub lock: Lock,
    /// What must hold at commit for the destination.
    pub condition: WriteCondition,
    /// The key of a customer that the copy is to be sealed with.
    pub customer: Option<CustomerKey>,
    /// Who asks for it, for those who are told.
    pub cause: Cause,
    /// What the client calls what it does.
    pub invocation: Option<Invocation>,
}

impl Store {
    /// Copies an opened object to `key`.
    ///
    /// # Errors
    /// As [`Store::put_object`]; `EntityTooLarge` for a source over 5 GiB; `CustomerKey` for one that was not unlocked.
    pub async fn copy_object(
        &self,
        source: &Object,
        bucket: &Bucket,
        key: &ObjectKey,
        copy: CopyObject,
    ) -> Result<PutOutcome, StoreError> {
        let info = source.info();
        if info.headers.customer.is_some() && source.customer().is_none() {
            return Err(StoreError::CustomerKey(KeyTrouble::Missing));
        }
        if info.size > PUT_BYTES_MAX {
            return Err(StoreError::EntityTooLarge {
                size: info.size,
                most: PUT_BYTES_MAX,
            });
        }
        let mut headers = copy.headers.clone().unwrap_or_else(|| info.headers.clone());
        headers.customer = copy.customer.as_ref().map(CustomerKey::seal);
        headers.tags = copy.tags.clone().unwrap_or_else(|| info.headers.tags.clone());
        let kept = info
            .checksum
            .filter(|checksum| checksum.kind == ChecksumKind::FullObject);
        let keeps = copy
            .checksum
            .is_none_or(|wanted| kept.is_some_and(|kept| kept.value.algorithm() == wanted));
        // The keys of blocks are hidden by the same key, or by none.
        let is_sealed_alike = source.customer() == copy.customer.as_ref();
        if keeps
            && is_sealed_alike
            && let Some(outcome) = self
                .copy_by_reference(source, bucket, key, &copy, &headers)
                .await?
        {
            return Ok(outcome);
        }
        let new = NewObject {
            headers,
            class: copy.class,
            lock: copy.lock,
            condition: copy.condition,
            cause: copy.cause.of(How::Copy),
            invocation: copy.invocation,
        };
        let body = CopyBody {
            customer: copy.customer,
            ..CopyBody::new(source, 0..info.size, copy.checksum)
        };
        self.put_object(bucket, key, new, body).await
    }

    /// Refers to the source's blocks; `None` when one of them is gone, which only a damaged store shows.
    async fn copy_by_reference(
        &self,
        source: &Object,
        bucket: &Bucket,
        key: &ObjectKey,
        copy: &CopyObject,
        headers: &ObjectHeaders,
    ) -> Result<Option<PutOutcome>, StoreError> {
        let info = source.info();
        let entry = self.0.directory.entry(bucket.id)?;
        let named = |invocation: Invocation| invocation.storing(headers, copy.class, &copy.lock);
        let invocation = copy.invocation.map(named);
        self.check_condition((bucket, key), &copy.condition, invocation)
            .await?;
        if !self.0.tried_before(bucket, key, invocation).await? {
            self.must_fit(&entry, key, one_of(info.size)).await?;
        }
        let cause = copy.cause.clone().of(How::Copy);
        let operation = self.0.begin().because(cause).attempted(invocation);
        let lease = self.0.lease(bucket, key);
        let content = match &source.opened.version.content {
            Content::Inline(bytes) => Content::Inline(bytes.clone()),
            Content::Blocks(_) | Content::Long { .. } => {
                let manifest = source.opened.manifest().await?;
                let blocks: Vec<_> = manifest
                    .extents
                    .iter()
                    .flat_map(|extent| extent.blocks.clone())
                    .collect();
                lease.note(blocks.iter().map(|block| block.id));
                if !self
                    .0
                    .blocks
                    .share(lease.owner(), blocks.iter().map(|block| block.id).collect())
                    .await?
                {
                    return Ok(None);
                }
                let extents = vec![Extent {
                    write: lease.write(),
                    blocks,
                }];
                Content::Blocks(Manifest {
                    extents,
                    parts: manifest.parts.clone(),
                })
            }
        };
        let facts = VersionFacts {
            id: VersionId::Null,
            modified: Timestamp::now(),
            size: info.size,
            etag: info.etag,
            class: copy.class,
            checksum: info.checksum.map(|checksum| checksum.value.algorithm()),
            delete_marker: false,
            lock: copy.lock,
        };
        let details = VersionDetails {
            headers: headers.clone(),
            checksum: info.checksum,
            content,
        };
        let ready = self
            .ready(&entry, key, lease.write(), facts, details, vec![lease])
            .await?;
        let (facts, version) = self
            .commit_version(operation, entry, key.clone(), ready, copy.condition)
            .await?;
        Ok(Some(PutOutcome::new(&facts, version, info.checksum)))
    }
}

/// A range of an object as the body of a new object or of a part. Its failures are those of the store.
pub struct CopyBody {
    reader: ObjectReader,
    size: u64,
    checksum: Option<ChecksumAlgorithm>,
    customer: Option<CustomerKey>,
}

impl CopyBody {
    /// These bytes of the object, with this checksum to compute.
    pub fn new(source: &Object, range: Range<u64>, checksum: Option<ChecksumAlgorithm>) -> Self {
        Self {
            size: range.end - range.start,
            reader: source.read(range),
            checksum,
            customer: None,
        }
    }
}

impl ObjectBody for CopyBody {
    async fn next(&mut self) -> Option<Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> {
        self.reader.next().await.map(|piece| piece.map_err(Into::into))
    }

    fn size_hint(&self) -> Option<u64> {
        Some(self.size)
    }

    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum
    }

    fn claims_sha256(&self) -> bool {
        false
    }

    fn claims(&self) -> Claims {
        Claims::default()
    }

    fn customer_key(&self) -> Option<&CustomerKey> {
        self.customer.as_ref()
    }
}
