//! What a command came to.

use serde::{Deserialize, Serialize};

use crate::model::{
    AccessKeyRow, ArchiveId, BucketRow, Completed, MeshRow, PartRow, SealedVersion, Timestamp, VersionFacts,
    VersionId, WriteRefusal,
};

/// What a command came to, or had come to before it was tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The version was put.
    Stored {
        /// It, as it was put.
        facts: VersionFacts,
        /// Its id, where versioning ever was on.
        version: Option<VersionId>,
        /// Whether a row refers to what this very submission stored. If not (it was tried again with other content, or
        /// the version has been replaced), its blocks are to be freed.
        stands: bool,
        /// What it displaced.
        unneeded: Unneeded,
    },
    /// What was to be removed is not there, or not any more.
    Removed {
        /// The delete marker that hides the key now, or the version that was named, if any.
        version: Option<VersionId>,
        /// Whether that is, or was, a delete marker. A command that is tried again does not know of one that is gone.
        delete_marker: bool,
        /// What it displaced.
        unneeded: Unneeded,
    },
    /// What is said about the version was changed, or where it stands.
    Amended {
        /// Parts of ended uploads.
        unneeded: Unneeded,
    },
    /// The upload takes parts.
    UploadStarted,
    /// The part was put.
    PartStored {
        /// When.
        modified: Timestamp,
        /// As in [`Self::Stored`].
        stands: bool,
        /// What it displaced.
        unneeded: Unneeded,
    },
    /// The upload is an object.
    Completed {
        /// What it became.
        completed: Completed,
        /// As in [`Self::Stored`]; about what was stored for the version, not about its parts.
        stands: bool,
        /// What it displaced.
        unneeded: Unneeded,
    },
    /// The upload is gone.
    UploadAborted {
        /// Its parts.
        unneeded: Unneeded,
    },
    /// What was left of the upload is gone.
    RestForgotten {
        /// Parts that did not become a part of an object.
        unneeded: Unneeded,
    },
    /// The bucket is there, as it is now.
    Bucket(Box<BucketRow>),
    /// The bucket is gone.
    BucketGone,
    /// The access key is there, as it is now.
    AccessKey(AccessKeyRow),
    /// The access key is gone.
    AccessKeyGone,
    /// The row about the mesh, as it is now.
    Mesh(Option<MeshRow>),
    /// Nothing was changed.
    Refused(Refusal),
}

impl Outcome {
    /// Whether a row refers to what was stored for the submission.
    pub const fn stands(&self) -> bool {
        match self {
            Self::Stored { stands, .. }
            | Self::PartStored { stands, .. }
            | Self::Completed { stands, .. } => *stands,
            _ => false,
        }
    }

    /// The row of the bucket as it is now, where that is known.
    pub fn bucket(&self) -> Option<&BucketRow> {
        match self {
            Self::Bucket(row) => Some(row),
            Self::Refused(Refusal::BucketExists(row) | Refusal::BucketChanged(row)) => Some(&**row),
            _ => None,
        }
    }

    /// The row of the access key as it is now, where that is known.
    pub fn access_key(&self) -> Option<&AccessKeyRow> {
        match self {
            Self::AccessKey(row) => Some(row),
            Self::Refused(Refusal::AccessKeyChanged(row)) => Some(&**row),
            _ => None,
        }
    }

    /// Takes out what is to be freed.
    pub fn take_unneeded(&mut self) -> Unneeded {
        match self {
            Self::Stored { unneeded, .. }
            | Self::Removed { unneeded, .. }
            | Self::Amended { unneeded }
            | Self::PartStored { unneeded, .. }
            | Self::Completed { unneeded, .. }
            | Self::UploadAborted { unneeded }
            | Self::RestForgotten { unneeded } => std::mem::take(unneeded),
            _ => Unneeded::default(),
        }
    }
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The condition does not hold.
    PreconditionFailed,
    /// The condition wants a current object, and there is none.
    NoSuchKey,
    /// No upload of that id is open.
    NoSuchUpload,
    /// What was to go, or to be changed, is locked.
    Locked,
    /// The version is not there any more, or another by now: look again.
    VersionChanged,
    /// The row of the key has no room for another version.
    TooManyVersions,
    /// An earlier attempt of that name was refused: it is not done any more.
    RefusedBefore,
    /// Versions are to be moved out of the row of the key first.
    Crowded,
    /// This archive is to be taken back first: it has a version that is meant, or would have the current one.
    Archived(ArchiveId),
    /// A chosen part is not there any more, or is another attempt by now: choose again.
    PartsChanged,
    /// The upload is open: there is nothing to forget.
    UploadOpen,
    /// The operation began before the fence of its partition: begin it anew.
    TooOld,
    /// A bucket was closed, or keeps versions in another way, since whoever submitted this heard of the directory, perhaps
    /// this one: look again.
    BucketClosed,
    /// The name is taken by this bucket.
    BucketExists(Box<BucketRow>),
    /// No such bucket, or another one by now.
    NoSuchBucket,
    /// The bucket is not in the version that was to be changed, but as it is here.
    BucketChanged(Box<BucketRow>),
    /// A bucket is closed before it is deleted.
    BucketOpen,
    /// The id is taken.
    AccessKeyExists,
    /// No such access key, or another one by now.
    NoSuchAccessKey,
    /// The access key is not in the version that was to be changed, but as it is here.
    AccessKeyChanged(Box<AccessKeyRow>),
    /// The row about the mesh is not in the version that was to be changed, but as it is here.
    MeshChanged(Option<MeshRow>),
}

impl From<WriteRefusal> for Refusal {
    fn from(refusal: WriteRefusal) -> Self {
        match refusal {
            WriteRefusal::PreconditionFailed => Self::PreconditionFailed,
            WriteRefusal::NoSuchKey => Self::NoSuchKey,
        }
    }
}

/// What no row refers to any more: its blocks are to be freed. What a crash keeps from being told here, the collection
/// of unreferenced blocks finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unneeded {
    /// Versions that have blocks.
    pub versions: Vec<SealedVersion>,
    /// Parts, but those that became a part of an object.
    pub parts: Vec<PartRow>,
}

impl Unneeded {
    pub(super) fn new(versions: Vec<SealedVersion>, parts: Vec<PartRow>) -> Self {
        let versions = versions
            .into_iter()
            .filter(|version| !version.extents.is_empty())
            .collect();
        Self { versions, parts }
    }

    pub(super) fn parts(parts: Vec<PartRow>) -> Self {
        Self::new(Vec::new(), parts)
    }
}
