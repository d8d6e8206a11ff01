//! Commands about the rows of one object key: the object, its uploads, their parts.

use serde::{Deserialize, Serialize};

use super::rows::{Known, read};
use super::{Decision, RowKey, Rows, complete, fold, object, prune, upload};
use crate::StoreError;
use crate::model::{
    Amendment, ArchiveId, ArchiveRow, BucketId, Checksum, Folding, Keeping, Marker, ObjectKey, ObjectRow,
    OpId, PartNumber, PartRow, SealedVersion, Telling, Terms, Timestamp, UploadId, UploadRow, UploadState,
    VersionId, WriteCondition, WriteId, row_key,
};

/// What to do to the rows of one object key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectCommand {
    /// The bucket.
    pub bucket: BucketId,
    /// How many buckets had ever been closed when whoever submits this knew the bucket to be open.
    pub closings: u64,
    /// How the bucket kept versions then.
    pub keeping: Keeping,
    /// What the clock of whoever submits this says: locks are judged by it, too.
    pub asked: Timestamp,
    /// The key.
    pub key: ObjectKey,
    /// What to do.
    pub action: Action,
    /// What is to be told of it, if somebody wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telling: Option<Telling>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Makes a version the current one.
    Put {
        /// The version. Its time is the clock of whoever submits it; it is moved on if the one before is as new. Its id is
        /// given at commit.
        version: SealedVersion,
        /// What must hold for the current version.
        condition: WriteCondition,
    },
    /// Deletes the key: leaves a marker where versions are kept.
    Delete {
        /// The marker.
        marker: Marker,
        /// What must hold for the current version.
        condition: WriteCondition,
    },
    /// Removes a version, or a marker, for good.
    Remove {
        /// Which.
        version: VersionId,
        /// What must hold for the current version.
        condition: WriteCondition,
        /// Whether a retention of governance does not count.
        bypass: bool,
    },
    /// Carries out what lifecycle rules say is due of the key.
    Expire {
        /// The digest of the row that was judged: nothing is done to another.
        #[serde(with = "serde_bytes")]
        seen: [u8; 32],
        /// Hides the current version, or removes it where versions are not kept; nothing where that one is to stay.
        marker: Option<Marker>,
        /// Versions and markers to remove for good.
        remove: Vec<VersionId>,
    },
    /// Changes what is said about a version.
    Amend {
        /// Which.
        version: VersionId,
        /// The write that made it.
        write: WriteId,
        /// What to change.
        amendment: Amendment,
    },
    /// Forgets events that have been told.
    Settle {
        /// The times that name them.
        told: Vec<Timestamp>,
    },
    /// Moves older versions out of the object's row, if they take much of it.
    Fold,
    /// Moves the versions of an archive back into it.
    Unfold {
        /// Which.
        archive: ArchiveId,
    },
    /// Starts an upload.
    StartUpload {
        /// Its id, which no other upload has. One derived from the operation makes a retried client find its first try.
        upload: UploadId,
        /// Its row, open.
        row: UploadRow,
    },
    /// Adds a part, or replaces one.
    PutPart {
        /// Of which upload.
        upload: UploadId,
        /// The part. Its time is treated as that of a version.
        part: PartRow,
    },
    /// Makes parts an object.
    CompleteUpload {
        /// Which upload.
        upload: UploadId,
        /// The parts in it, in ascending order.
        parts: Vec<ChosenPart>,
        /// The object: a write of the upload's name.
        version: SealedVersion,
        /// The checksum it carries.
        checksum: Option<Checksum>,
        /// What must hold for the current version.
        condition: WriteCondition,
    },
    /// Ends an upload.
    AbortUpload {
        /// Which.
        upload: UploadId,
    },
    /// Forgets what is left of an upload that is not open.
    Forget {
        /// Which.
        upload: UploadId,
        /// What of it.
        rest: Rest,
    },
    /// Removes every row of the key: its bucket is gone for good.
    Prune,
}

impl Action {
    /// Whether something may be in the bucket afterwards that was not before.
    pub(crate) const fn adds(&self) -> bool {
        match self {
            // Where versions are kept a deletion adds a marker.
            Self::Put { .. }
            | Self::Delete { .. }
            | Self::Remove { .. }
            | Self::Expire { .. }
            | Self::StartUpload { .. }
            | Self::PutPart { .. }
            | Self::CompleteUpload { .. } => true,
            Self::Amend { .. }
            | Self::Settle { .. }
            | Self::Fold
            | Self::Unfold { .. }
            | Self::AbortUpload { .. }
            | Self::Forget { .. }
            | Self::Prune => false,
        }
    }
}

/// A part that is to become a part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChosenPart {
    /// Its number.
    pub number: PartNumber,
    /// Which attempt at it.
    pub write: WriteId,
}

/// What of an ended upload to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rest {
    /// Parts that a crash left behind.
    Parts,
    /// Everything: a repeated Complete hears of no such upload from now on.
    All,
}

/// Where a command looks: the rows of one key.
pub(super) struct Scope<'a> {
    pub(super) op: OpId,
    pub(super) terms: Terms,
    pub(super) folding: Folding,
    /// When it was asked for: what it does is told to have been done then, however far behind another clock may be.
    pub(super) asked: Timestamp,
    pub(super) telling: Option<&'a Telling>,
    bucket: BucketId,
    key: &'a ObjectKey,
    rows: &'a dyn Rows,
}

/// The object's row as it is, empty if there is none.
pub(super) struct Object {
    pub(super) key: RowKey,
    pub(super) row: ObjectRow,
    /// Whether this very operation has changed it.
    pub(super) again: bool,
}

/// A part as it is.
pub(super) struct Part {
    pub(super) key: RowKey,
    pub(super) row: PartRow,
}

pub(super) fn decide(
    op: OpId,
    (now, folding): (Timestamp, Folding),
    command: ObjectCommand,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    let scope = Scope {
        op,
        terms: Terms {
            keeping: command.keeping,
            now,
        },
        folding,
        asked: command.asked,
        telling: command.telling.as_ref(),
        bucket: command.bucket,
        key: &command.key,
        rows,
    };
    match command.action {
        Action::Put { version, condition } => object::put(&scope, version, &condition),
        Action::Delete { marker, condition } => object::delete(&scope, marker, &condition),
        Action::Remove {
            version,
            condition,
            bypass,
        } => object::remove(&scope, version, &condition, bypass),
        Action::Expire { seen, marker, remove } => object::expire(&scope, seen, marker, &remove),
        Action::Amend {
            version,
            write,
            amendment,
        } => object::amend(&scope, (version, write), amendment),
        Action::Settle { told } => object::settle(&scope, &told),
        Action::Fold => fold::fold(&scope),
        Action::Unfold { archive } => fold::unfold(&scope, archive),
        Action::StartUpload { upload, row } => upload::start(&scope, upload, &row),
        Action::PutPart { upload, part } => upload::put_part(&scope, upload, part),
        Action::CompleteUpload {
            upload,
            parts,
            version,
            checksum,
            condition,
        } => {
            let complete = complete::Complete {
                upload,
                parts,
                version,
                checksum,
                condition,
            };
            complete::complete(&scope, complete)
        }
        Action::AbortUpload { upload } => upload::abort(&scope, upload),
        Action::Forget { upload, rest } => upload::forget(&scope, upload, rest),
        Action::Prune => prune::prune(&scope),
    }
}

impl Scope<'_> {
    pub(super) fn object(&self) -> Result<Object, StoreError> {
        let known: Known<ObjectRow> = read(self.rows, self.object_key())?;
        Ok(Object {
            key: known.key,
            row: known.row.unwrap_or_default(),
            again: known.recent.contains(self.op),
        })
    }

    /// All rows of the key.
    pub(super) fn everything(&self) -> Result<Vec<RowKey>, StoreError> {
        let object = self.object_key();
        let mut keys = Vec::new();
        if self.rows.get(&object)?.value.is_some() {
            keys.push(object);
        }
        for prefix in [
            row_key::uploads(self.bucket, self.key),
            row_key::parts_of_key(self.bucket, self.key),
            row_key::archives_of_key(self.bucket, self.key),
        ] {
            let rows = self.rows.with_prefix(&prefix)?;
            keys.extend(rows.into_iter().map(|(key, _)| key));
        }
        Ok(keys)
    }

    pub(super) fn upload(&self, upload: UploadId) -> Result<Known<UploadRow>, StoreError> {
        read(self.rows, row_key::upload(self.bucket, self.key, upload))
    }

    pub(super) fn object_key(&self) -> RowKey {
        row_key::object(self.bucket, self.key.as_str())
    }

    pub(super) fn archive_key(&self, archive: ArchiveId) -> RowKey {
        row_key::archive(self.bucket, self.key, archive)
    }

    pub(super) fn archive(&self, archive: ArchiveId) -> Result<Known<ArchiveRow>, StoreError> {
        read(self.rows, self.archive_key(archive))
    }

    pub(super) fn part(&self, upload: UploadId, number: PartNumber) -> Result<Known<PartRow>, StoreError> {
        read(self.rows, row_key::part(self.bucket, self.key, upload, number))
    }

    /// All parts of an upload, in order.
    pub(super) fn parts(&self, upload: UploadId) -> Result<Vec<Part>, StoreError> {
        let prefix = row_key::parts(self.bucket, self.key, upload);
        let parts = self.rows.with_prefix(&prefix)?.into_iter();
        parts
            .map(|(key, value)| {
                let row = super::decode_row(&value)?;
                Ok(Part { key, row })
            })
            .collect()
    }
}

/// Whether the upload of this row takes parts, given the object's row.
pub(super) fn is_open(upload: UploadId, row: Option<&UploadRow>, object: &ObjectRow) -> bool {
    object.closing(upload).is_none() && row.is_some_and(|row| row.state == UploadState::Open)
}
