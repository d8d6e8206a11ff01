//! An object row: the versions of one key, newest first, and where their content is.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::archive::usage;
use super::notification::EVENTS_MAX;
use super::{
    Acl, ArchiveId, Archived, Checksum, ChecksumAlgorithm, Closing, ETag, EventKind, Invocation,
    InvocationId, Lock, ObjectEvent, PartNumber, Telling, Timestamp, UploadId, Usage, VersionId, WriteId,
};

/// The blake3 of a sealed block: its name and its proof.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockId(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl std::fmt::Debug for BlockId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockId({})", hex::encode(&self.0[..8]))
    }
}

/// How a client wants an object kept. Every class is served alike; the name is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of S3")]
pub enum StorageClass {
    #[default]
    Standard,
    ReducedRedundancy,
    StandardIa,
    OnezoneIa,
    IntelligentTiering,
    Glacier,
    DeepArchive,
    GlacierIr,
    Outposts,
    ExpressOnezone,
    Snow,
}

impl StorageClass {
    const NAMES: [(Self, &'static str); 11] = [
        (Self::Standard, "STANDARD"),
        (Self::ReducedRedundancy, "REDUCED_REDUNDANCY"),
        (Self::StandardIa, "STANDARD_IA"),
        (Self::OnezoneIa, "ONEZONE_IA"),
        (Self::IntelligentTiering, "INTELLIGENT_TIERING"),
        (Self::Glacier, "GLACIER"),
        (Self::DeepArchive, "DEEP_ARCHIVE"),
        (Self::GlacierIr, "GLACIER_IR"),
        (Self::Outposts, "OUTPOSTS"),
        (Self::ExpressOnezone, "EXPRESS_ONEZONE"),
        (Self::Snow, "SNOW"),
    ];

    /// Its name in S3.
    pub fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(class, _)| *class == self)
            .map_or("STANDARD", |(_, name)| name)
    }

    /// Its place in this list, which never changes: it is on disk.
    pub(crate) fn index(self) -> u8 {
        Self::NAMES
            .iter()
            .zip(0..)
            .find(|((class, _), _)| *class == self)
            .map_or(0, |(_, index)| index)
    }

    /// Reads [`Self::index`].
    pub(crate) fn from_index(index: u8) -> Option<Self> {
        Self::NAMES.get(usize::from(index)).map(|(class, _)| *class)
    }

    /// Reads [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(class, _)| *class)
    }
}

/// What a client said about an object and gets back with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHeaders {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Content-Encoding`, without `aws-chunked`.
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Expires`, as the client wrote it.
    pub expires: Option<String>,
    /// `x-amz-website-redirect-location`.
    pub website_redirect: Option<String>,
    /// `x-amz-meta-*` by lower-case name without the prefix; at most 2 KB of names and values.
    pub user: BTreeMap<String, String>,
    /// Object tags, in the client's order; at most ten.
    pub tags: Vec<(String, String)>,
    /// Who may read it besides those who may read the bucket; writing means nothing for an object.
    #[serde(default, skip_serializing_if = "Acl::is_private")]
    pub acl: Acl,
    /// By which it recognises the key of a customer that its content is sealed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer: Option<CustomerSeal>,
}

/// By which a version recognises the key of its customer (see `seal::customer`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerSeal {
    /// Random.
    #[serde(with = "serde_bytes")]
    pub(crate) salt: [u8; 16],
    /// A hash of the salt, keyed by what the key derives.
    #[serde(with = "serde_bytes")]
    pub(crate) proof: [u8; 32],
}

/// What a listing and a condition need to know about a version. Kept in the clear on trusted nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionFacts {
    /// `null` unless created while versioning was on.
    pub id: VersionId,
    /// When the write committed.
    pub modified: Timestamp,
    /// Length of the content in bytes.
    pub size: u64,
    /// Entity tag.
    pub etag: ETag,
    /// Storage class the client asked for.
    pub class: StorageClass,
    /// Checksum the object carries, if any.
    pub checksum: Option<ChecksumAlgorithm>,
    /// True for a delete marker, which has no content.
    pub delete_marker: bool,
    /// What keeps it from being removed.
    #[serde(default, skip_serializing_if = "Lock::is_none")]
    pub lock: Lock,
}

/// For so long (milliseconds) a client may try again what it did not hear the answer to.
const TRIED_FOR_MS: u64 = 3_600_000;

/// One version in a row: facts in the clear, everything else sealed with the bucket's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedVersion {
    /// In the clear.
    pub facts: VersionFacts,
    /// Which write made it: makes a retried Complete recognise itself.
    pub write: WriteId,
    /// Writes whose blocks the version holds references to.
    pub extents: Vec<WriteId>,
    /// What the client calls what made it, if it gives names: makes a request that is tried again recognise itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<InvocationId>,
    /// Sealed CBOR of [`VersionDetails`]; empty for a delete marker.
    pub details: Bytes,
}

/// The row of one object key: its versions, newest first, but for old ones of a key that has many (see `archive.rs`). A row without versions exists only as long as there are events to be
/// told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Newest first; at most one of them is `null`. Where there are archives, the first of these is newer than all in those.
    pub versions: Vec<SealedVersion>,
    /// Uploads that became a version in here and whose own rows may not say so yet. The next change of this row
    /// brings them to their end first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub closing: Vec<Closing>,
    /// What happened to it and is still to be told, oldest first; at most [`EVENTS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<ObjectEvent>,
    /// Versions that stand in rows of their own, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub archived: Vec<Archived>,
    /// Archives that count for nothing and whose rows may still be there. The next change of this row removes them first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<ArchiveId>,
}

impl ObjectRow {
    /// The version that an earlier attempt made of what a client tries again; an hour later nobody tries any more.
    pub(crate) fn made_by(&self, invocation: Option<Invocation>) -> Option<&SealedVersion> {
        let retry = invocation.filter(|invocation| invocation.is_retry)?;
        let now = Timestamp::now().as_millis();
        let is_recent = |made: Timestamp| now.abs_diff(made.as_millis()) < TRIED_FOR_MS;
        let mut versions = self.versions.iter();
        versions.find(|made| made.invocation == Some(retry.id) && is_recent(made.facts.modified))
    }

    /// Notes what is to be told of a version, if somebody wants to know that.
    pub(crate) fn tell(
        &mut self,
        telling: &Telling,
        kind: EventKind,
        of: (&VersionFacts, bool),
        now: Timestamp,
    ) {
        if !telling.wanted.contains(&kind) {
            return;
        }
        if self.events.len() >= EVENTS_MAX {
            self.events.remove(0);
        }
        let (facts, is_kept) = of;
        let is_content = !facts.delete_marker;
        self.events.push(ObjectEvent {
            kind,
            at: now.after(self.events.last().map(|event| event.at)),
            version: is_kept.then_some(facts.id),
            size: facts.size,
            etag: is_content.then_some(facts.etag),
            cause: telling.cause.clone(),
        });
    }

    /// The row once what stands in `closing` has been brought to its end, and what is in `left` is gone.
    pub(crate) fn tidied(self) -> Self {
        Self {
            closing: Vec::new(),
            left: Vec::new(),
            ..self
        }
    }

    /// What this upload became, if it became a version in here a moment ago.
    pub fn closing(&self, upload: UploadId) -> Option<&Closing> {
        self.closing.iter().find(|closing| closing.upload == upload)
    }

    /// Whether some version may refer to blocks that this write stored: what is in archives is not known here.
    pub fn may_refer_to(&self, write: WriteId) -> bool {
        let mut versions = self.versions.iter();
        !self.archived.is_empty() || versions.any(|version| version.extents.contains(&write))
    }

    /// The version a plain GET is answered with, delete marker or not.
    pub fn current(&self) -> Option<&SealedVersion> {
        self.versions.first()
    }

    /// What all versions hold.
    pub fn usage(&self) -> Usage {
        let archived = self.archived.iter().map(|archived| archived.usage);
        archived.fold(usage(&self.versions), Usage::plus)
    }

    /// The version of this id, if it stands in the row itself.
    pub fn version(&self, id: VersionId) -> Option<&SealedVersion> {
        self.versions.iter().find(|version| version.facts.id == id)
    }
}

/// The sealed part of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionDetails {
    /// What the client said about it.
    pub headers: ObjectHeaders,
    /// The checksum it carries.
    pub checksum: Option<Checksum>,
    /// Where its bytes are.
    pub content: Content,
}

/// Where the bytes of a version are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Here: up to 4 KiB.
    Inline(Bytes),
    /// In blocks named here.
    Blocks(Manifest),
    /// In blocks named by a manifest that is too long for a row and is itself stored in blocks.
    Long {
        /// Blocks that hold the CBOR of the [`Manifest`].
        manifest: Extent,
    },
}

/// Which blocks make up a content, in order, and where its parts end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Runs of blocks, each stored by one write.
    pub extents: Vec<Extent>,
    /// Parts of a multipart upload in order; empty for a plain PUT.
    pub parts: Vec<PartInfo>,
}

/// A run of blocks stored by one write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Owner of the references.
    pub write: WriteId,
    /// In order.
    pub blocks: Vec<BlockRef>,
}

impl Extent {
    /// Bytes of content in all blocks.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.bytes)).sum()
    }
}

/// A block and the key that opens it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRef {
    /// Name of the sealed block.
    pub id: BlockId,
    /// Opens it; derived from its content.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// Bytes of content it holds: 1 byte to 4 MiB.
    pub bytes: u32,
    /// Bytes of the sealed block.
    pub sealed: u32,
}

impl std::fmt::Debug for BlockRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockRef({:?}, {} bytes)", self.id, self.bytes)
    }
}

/// One part of a completed multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartInfo {
    /// Its number; ascending, gaps are fine.
    pub number: PartNumber,
    /// Bytes of content.
    pub size: u64,
    /// Its checksum, when the object carries one.
    pub checksum: Option<super::ChecksumValue>,
}

#[cfg(test)]
impl VersionFacts {
    /// A delete marker with nothing special about it.
    pub fn marker_for_tests() -> Self {
        Self {
            id: VersionId::Null,
            modified: Timestamp::from_millis(0),
            size: 0,
            etag: ETag::Md5([0; 16]),
            class: StorageClass::Standard,
            checksum: None,
            delete_marker: true,
            lock: Lock::default(),
        }
    }
}
