//! Submits commands about a key, keeps or frees what was stored for them, hands on what they displaced.

use std::sync::Arc;

use bytes::Bytes;

use super::archives::first_step;
use super::put::one_of;
use crate::cluster::mesh::feed::refresh;
use crate::cluster::{BucketEntry, Displaced, Lease, Owner, Unsettled};
use crate::model::command::{Action, Command, ObjectCommand, Outcome, Refusal, Submission, Unneeded};
use crate::model::{
    BlockRef, Bucket, BucketId, Cause, Content, Extent, Invocation, Manifest, ObjectKey, ObjectRow, OpId,
    SealedVersion, Timestamp, VersionDetails, VersionFacts, VersionId, WriteCondition, WriteId, WriteRefusal,
    row_key,
};
use crate::seal::{cbor, owner_of, seal_block};
use crate::store::Inner;
use crate::{Store, StoreError};

/// How often a write is tried anew because a bucket was closed or changed, this one or another.
const CLOSINGS_MAX: usize = 16;
/// How often versions are moved for a write, also because others move them back.
const STEPS_MAX: usize = 16;

/// A version ready to be put; dropping it before frees its blocks.
pub(super) struct Ready {
    pub(super) version: SealedVersion,
    /// Everything the version refers to that was stored for it.
    pub(super) leases: Vec<Arc<Lease>>,
}

/// What a client tries, to be recognised in what it tried before.
struct Attempt {
    invocation: Option<Invocation>,
    facts: VersionFacts,
}

/// An operation of a client, from its beginning: what all its submissions have in common. Each has a name of its own: it is
/// given when the submission is made, since what is named long before it is decided may be taken for forgotten, and since
/// another decision must not be taken for another attempt of the one before.
#[derive(Clone)]
pub(super) struct Operation {
    sweeps: u32,
    cause: Option<Cause>,
    invocation: Option<Invocation>,
}

impl Operation {
    /// The same, of which others may be told why it happens.
    pub(super) fn because(self, cause: Cause) -> Self {
        let cause = Some(cause);
        Self { cause, ..self }
    }

    /// The same, of which the client says that it is an attempt of this.
    pub(super) fn attempted(self, invocation: Option<Invocation>) -> Self {
        Self { invocation, ..self }
    }
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
    /// Begins an operation, before anything is stored for it.
    pub(super) fn begin(&self) -> Operation {
        Operation {
            sweeps: self.mesh.sweeps(),
            cause: None,
            invocation: None,
        }
    }

    /// Refuses writes, before their bodies are read, where acknowledged rows are lost.
    pub(super) fn writable(&self) -> Result<(), StoreError> {
        self.loss
            .as_ref()
            .map_or(Ok(()), |loss| Err(StoreError::ReadOnly(loss.clone())))
    }

    /// Starts a write to a key.
    pub(crate) fn lease(&self, bucket: &Bucket, key: &ObjectKey) -> Arc<Lease> {
        let write = WriteId::after(self.mesh.sweeps());
        self.releaser
            .lease(write, owner_of(&self.keyring, bucket.id, key, write))
    }

    /// Reads the row of an object.
    pub(crate) async fn object_row(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<ObjectRow>, StoreError> {
        self.partitions
            .current(&row_key::object(bucket.id, key.as_str()))
            .await
    }

    /// Whether there is what an earlier attempt of the client made, perhaps of other content.
    pub(super) async fn tried_before(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        invocation: Option<Invocation>,
    ) -> Result<bool, StoreError> {
        if !invocation.is_some_and(|invocation| invocation.is_retry) {
            return Ok(false);
        }
        let row = Box::pin(self.object_row(bucket, key)).await?;
        Ok(row.is_some_and(|row| row.made_by(invocation).is_some()))
    }

    /// What an earlier attempt of the client made of the same content, if it stands: where versions are kept, what others put
    /// over it since is not undone by a retry. An attempt that is decided after this has looked is done as well; a condition
    /// keeps one of the two from happening.
    async fn done_before(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        attempt: &Attempt,
    ) -> Result<Option<(VersionFacts, Option<VersionId>)>, StoreError> {
        let row = self.object_row(&entry.bucket, key).await?.unwrap_or_default();
        let made = row.made_by(attempt.invocation).map(|made| made.facts.clone());
        let same = made.filter(|made| (made.etag, made.size) == (attempt.facts.etag, attempt.facts.size));
        let was_ever_on = entry.bucket.settings.versioning.was_ever_on();
        Ok(same.map(|facts| {
            // This gateway may not have heard yet that versions are kept.
            let id = (was_ever_on || facts.id != VersionId::Null).then_some(facts.id);
            (facts, id)
        }))
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
            .open(&details_context(key, &version.write), &version.details)
            .map_err(|error| error.of(format_args!("details of {key:?}")))
    }

    /// Seals what [`Self::details`] opens.
    pub(super) fn seal_details(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        write: WriteId,
        details: &VersionDetails,
    ) -> Bytes {
        entry.key.seal(&details_context(key, &write), details)
    }

    /// The manifest of a content that has one, fetched from its own blocks if it is long; `owner_of` says who refers to
    /// what a write stored.
    pub(crate) async fn manifest(
        &self,
        content: &Content,
        owner_of: impl Fn(WriteId) -> Result<Owner, StoreError>,
    ) -> Result<Manifest, StoreError> {
        match content {
            Content::Inline(_) => Ok(Manifest::default()),
            Content::Blocks(manifest) => Ok(manifest.clone()),
            Content::Long { manifest } => {
                let owner = owner_of(manifest.write)?;
                let mut text = Vec::new();
                for block in &manifest.blocks {
                    let whole = 0..block.bytes as usize;
                    for piece in self.blocks.fetch(owner, block, whole, None).await?.pieces {
                        text.extend_from_slice(&piece);
                    }
                }
                ciborium::from_reader(text.as_slice())
                    .map_err(|error| StoreError::Damaged(format!("manifest: {error}")))
            }
        }
    }

    /// The blocks of a version by the write that stored them.
    pub(crate) async fn blocks_of(
        self: &Arc<Self>,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        version: SealedVersion,
    ) -> Result<Vec<Displaced>, StoreError> {
        if version.extents.is_empty() {
            return Ok(Vec::new());
        }
        let (inner, opening, named) = (self.clone(), entry.clone(), key.clone());
        let open = move || inner.details(&opening, &named, &version);
        let content = self.disk.run(open).await??.content;
        let owner = |write| Ok(owner_of(&self.keyring, entry.bucket.id, key, write));
        let mut extents = self.manifest(&content, owner).await?.extents;
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
        write: WriteId,
        facts: VersionFacts,
        mut details: VersionDetails,
        mut leases: Vec<Arc<Lease>>,
    ) -> Result<Ready, StoreError> {
        let mut extents: Vec<WriteId> = match &details.content {
            Content::Blocks(manifest) => manifest.extents.iter().map(|extent| extent.write).collect(),
            Content::Inline(_) | Content::Long { .. } => Vec::new(),
        };
        if let Content::Blocks(manifest) = &details.content {
            let text = cbor(manifest);
            if text.len() > self.0.limits.manifest_bytes {
                let (manifest, lease) = self.store_manifest(&entry.bucket, key, text).await?;
                extents.push(manifest.write);
                details.content = Content::Long { manifest };
                leases.push(lease);
            }
        }
        let sealed = self.0.seal_details(entry, key, write, &details);
        Ok(Ready {
            version: SealedVersion {
                facts,
                write,
                extents,
                invocation: None,
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

    /// Makes a version the current one, unless an earlier attempt of the client did; says its id where versioning ever was on.
    /// Runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// The condition does not hold, the bucket is gone, or the disk fails.
    pub(super) async fn commit_version(
        &self,
        operation: Operation,
        entry: Arc<BucketEntry>,
        key: ObjectKey,
        ready: Ready,
        condition: WriteCondition,
    ) -> Result<(VersionFacts, Option<VersionId>), StoreError> {
        let Ready { mut version, leases } = ready;
        version.invocation = operation.invocation.map(|invocation| invocation.id);
        let attempt = Attempt {
            invocation: operation.invocation,
            facts: version.facts.clone(),
        };
        let action = Action::Put { version, condition };
        let store = self.clone();
        self.finish(async move {
            let is_retry = attempt.invocation.is_some_and(|invocation| invocation.is_retry);
            // What is rare is boxed here, lest every write carries room for it.
            if is_retry {
                if let Some(done) = Box::pin(store.0.done_before(&entry, &key, &attempt)).await? {
                    return Ok(done);
                }
                Box::pin(store.must_fit(&entry, &key, one_of(attempt.facts.size))).await?;
            }
            match store.submit(operation, &entry, &key, action, leases).await? {
                Outcome::Stored { facts, version, .. } => Ok((facts, version)),
                // The earlier attempt may have been decided meanwhile.
                other if is_retry => {
                    let done = Box::pin(store.0.done_before(&entry, &key, &attempt)).await?;
                    done.ok_or_else(|| refusal_of(other))
                }
                other => Err(refusal_of(other)),
            }
        })
        .await
    }

    /// Submits a command about a key; what was stored for it under `leases` stays if a row refers to it, or may.
    ///
    /// # Errors
    /// The bucket is gone, or the disk fails. What the rows refuse is an outcome.
    pub(super) async fn submit(
        &self,
        operation: Operation,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        action: Action,
        leases: Vec<Arc<Lease>>,
    ) -> Result<Outcome, StoreError> {
        let _writer = entry.enter().await?;
        self.submit_inside(operation, entry, key, action, leases).await
    }

    /// As [`Self::submit`], for who has passed the bucket's gate.
    pub(super) async fn submit_inside(
        &self,
        operation: Operation,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        action: Action,
        leases: Vec<Arc<Lease>>,
    ) -> Result<Outcome, StoreError> {
        let mut outcome = self.decided(&operation, entry.bucket.id, key, &action).await;
        for _ in 0..STEPS_MAX {
            let Some(step) = outcome.as_ref().ok().and_then(first_step) else {
                break;
            };
            outcome = match Box::pin(self.rearrange(entry, key, step)).await {
                Ok(()) => self.decided(&operation, entry.bucket.id, key, &action).await,
                Err(error) => Err(Unsettled::nothing_written(error)),
            };
        }
        keep_what_stands(&leases, &outcome);
        if let Ok(outcome) = &mut outcome {
            self.displace(entry, key, outcome.take_unneeded()).await;
        }
        Ok(outcome?)
    }

    /// Submits a command, and again as long as buckets are closed, or keep versions in another way, of which this gateway has
    /// not heard.
    async fn decided(
        &self,
        operation: &Operation,
        bucket: BucketId,
        key: &ObjectKey,
        action: &Action,
    ) -> Result<Outcome, Unsettled> {
        let sweeps = operation.sweeps;
        let cause = operation.cause.as_ref();
        let telling = cause.and_then(|cause| self.0.telling(bucket, key, cause));
        for _ in 0..CLOSINGS_MAX {
            let (closings, keeping) = match action.adds() {
                true => self
                    .0
                    .open_bucket(bucket)
                    .await
                    .map_err(Unsettled::nothing_written)?,
                // Nothing is added, but events tell whether there are versions.
                false => {
                    let standing = self.0.directory.standing(bucket);
                    (0, standing.map(|standing| standing.keeping).unwrap_or_default())
                }
            };
            let command = Command::Object(ObjectCommand {
                bucket,
                closings,
                keeping,
                asked: Timestamp::now(),
                key: key.clone(),
                action: action.clone(),
                telling: telling.clone(),
            });
            // A name may be refused for good.
            let op = OpId::new();
            match self
                .0
                .partitions
                .submit(Submission { op, sweeps, command })
                .await?
            {
                Outcome::Refused(Refusal::BucketClosed) => {}
                // Under another name it is decided anew, and says why.
                Outcome::Refused(Refusal::RefusedBefore) => continue,
                Outcome::Refused(Refusal::TooOld) => {
                    // It took ages, or this gateway was cut off for as long: what begins from now on knows better. What was
                    // stored is left to the sweep, which knows whether an earlier attempt was written.
                    let heard = refresh(&self.0).await;
                    let error = heard.err().unwrap_or(StoreError::Busy);
                    return Err(Unsettled::submitted(error, false));
                }
                outcome => {
                    if telling.is_some() && !matches!(outcome, Outcome::Refused(_)) {
                        self.0.events.note(bucket, key);
                    }
                    return Ok(outcome);
                }
            }
            refresh(&self.0).await.map_err(Unsettled::nothing_written)?;
        }
        Err(Unsettled::nothing_written(StoreError::Conflict))
    }

    /// Frees the blocks of what no row refers to any more.
    pub(super) async fn displace(&self, entry: &Arc<BucketEntry>, key: &ObjectKey, unneeded: Unneeded) {
        for version in unneeded.versions {
            match self.0.blocks_of(entry, key, version).await {
                Ok(blocks) => self.0.releaser.displace(blocks),
                Err(error) => {
                    tracing::warn!(%error, "blocks of an old version not freed; the next collection will")
                }
            }
        }
        let parts = unneeded.parts.iter();
        self.0
            .releaser
            .displace(parts.flat_map(|part| self.0.blocks_of_part(entry, key, part)));
    }
}

/// Lets what was stored for a command stay if a row refers to it, or may.
fn keep_what_stands(leases: &[Arc<Lease>], outcome: &Result<Outcome, Unsettled>) {
    let stays = match outcome {
        Ok(outcome) => outcome.stands(),
        Err(unsettled) => unsettled.may_have_happened(),
    };
    if stays {
        leases.iter().for_each(|lease| lease.keep());
    }
}

/// Why an outcome is not the one hoped for.
pub(super) fn refusal_of(outcome: Outcome) -> StoreError {
    match outcome {
        Outcome::Refused(refusal) => refusal.into(),
        other => StoreError::Damaged(format!("the outcome of another command: {other:?}")),
    }
}

/// What a version's details are sealed for: this key and this write.
fn details_context<'a>(key: &'a ObjectKey, write: &'a WriteId) -> [&'a [u8]; 3] {
    [b"version", key.as_str().as_bytes(), write.as_bytes()]
}
