//! Finds versions that stand in archives, and has archives written and taken back where a command needs that first.

use std::sync::Arc;

use crate::cluster::BucketEntry;
use crate::model::command::{Action, Command, ObjectCommand, Outcome, Refusal, Submission};
use crate::model::{
    ArchiveId, ArchiveRow, Archived, BucketId, Keeping, ObjectKey, ObjectRow, OpId, SealedVersion, Timestamp,
    VersionId, row_key,
};
use crate::store::Inner;
use crate::{Store, StoreError};

/// How often a row and its archives are read anew because they were rearranged meanwhile.
pub(super) const READS_MAX: usize = 16;

/// An object's row and all its archives, as they were at one time.
pub(crate) struct Whole {
    /// The row itself.
    pub(crate) head: ObjectRow,
    archives: Vec<(ArchiveId, ArchiveRow)>,
}

impl Whole {
    /// The row as if it had all versions itself.
    pub(crate) fn joined(self) -> ObjectRow {
        let mut row = self.head;
        if !self.archives.is_empty() {
            row.archived.clear();
            let archives = self.archives.into_iter();
            row.versions
                .extend(archives.flat_map(|(_, archive)| archive.versions));
            row.versions
                .sort_by_key(|version| std::cmp::Reverse(version.facts.modified));
        }
        row
    }

    /// All versions, in no order.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &SealedVersion> {
        let archives = self.archives.iter();
        let archived = archives.flat_map(|(_, archive)| &archive.versions);
        self.head.versions.iter().chain(archived)
    }
}

/// What has to be done before a command that was refused so.
pub(super) fn first_step(outcome: &Outcome) -> Option<Action> {
    match outcome {
        Outcome::Refused(Refusal::Crowded) => Some(Action::Fold),
        Outcome::Refused(Refusal::Archived(archive)) => Some(Action::Unfold { archive: *archive }),
        _ => None,
    }
}

impl Inner {
    /// The row of an object as it stands now, with the version named among those in it, if there is one.
    pub(crate) async fn row_with(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Option<ObjectRow>, StoreError> {
        for _ in 0..READS_MAX {
            let row = row_key::object(bucket, key.as_str());
            let Some(mut row) = self.partitions.current::<ObjectRow>(&row).await? else {
                return Ok(None);
            };
            let Some(id) = version
                .and_then(|id| row.archive_of(id))
                .map(|archived| archived.id)
            else {
                return Ok(Some(row));
            };
            let archive = row_key::archive(bucket, key, id);
            // It is gone only where it was taken back.
            if let Some(archive) = self.partitions.current::<ArchiveRow>(&archive).await? {
                row.join(id, archive);
                return Ok(Some(row));
            }
        }
        Err(StoreError::Busy)
    }

    /// The row of an object as it stands now, with all its archives.
    pub(crate) async fn whole_row(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
    ) -> Result<Option<Whole>, StoreError> {
        let row = row_key::object(bucket, key.as_str());
        'anew: for _ in 0..READS_MAX {
            let Some(head) = self.partitions.current::<ObjectRow>(&row).await? else {
                return Ok(None);
            };
            let mut archives = Vec::with_capacity(head.archived.len());
            for Archived { id, .. } in &head.archived {
                let archive = row_key::archive(bucket, key, *id);
                match self.partitions.current::<ArchiveRow>(&archive).await? {
                    Some(archive) => archives.push((*id, archive)),
                    None => continue 'anew,
                }
            }
            return Ok(Some(Whole { head, archives }));
        }
        Err(StoreError::Busy)
    }

    /// As [`Self::row_with`], as this disk knows it: `None` also where it does not have the archive. Blocks the thread.
    pub(super) fn row_here_with(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Option<ObjectRow>, StoreError> {
        let row = row_key::object(bucket, key.as_str());
        let Some(mut row) = self.partitions.read::<ObjectRow>(&row)? else {
            return Ok(None);
        };
        let Some(id) = version
            .and_then(|id| row.archive_of(id))
            .map(|archived| archived.id)
        else {
            return Ok(Some(row));
        };
        let archive = self
            .partitions
            .read::<ArchiveRow>(&row_key::archive(bucket, key, id))?;
        Ok(archive.map(|archive| {
            row.join(id, archive);
            row
        }))
    }

    /// The row of an object as this disk knows it, with all its archives. Blocks the thread.
    ///
    /// # Errors
    /// `Busy`: an archive is not here, or not here yet. A row does not read.
    pub(crate) fn whole_row_here(&self, row: &[u8]) -> Result<Option<Whole>, StoreError> {
        let (Some(bucket), Some(key)) = (row_key::bucket_id(row), row_key::object_key(row)) else {
            return Ok(None);
        };
        'anew: for _ in 0..READS_MAX {
            let Some(head) = self.partitions.read::<ObjectRow>(row)? else {
                return Ok(None);
            };
            let mut archives = Vec::with_capacity(head.archived.len());
            for Archived { id, .. } in &head.archived {
                match self
                    .partitions
                    .read::<ArchiveRow>(&row_key::archive(bucket, &key, *id))?
                {
                    Some(archive) => archives.push((*id, archive)),
                    None => continue 'anew,
                }
            }
            return Ok(Some(Whole { head, archives }));
        }
        Err(StoreError::Busy)
    }
}

impl Store {
    /// Moves versions of a key, so that a command can be decided.
    ///
    /// # Errors
    /// `TooManyVersions`: the row has no room for as many archives. The disk fails, or too few members answer.
    pub(super) async fn rearrange(
        &self,
        entry: &Arc<BucketEntry>,
        key: &ObjectKey,
        mut step: Action,
    ) -> Result<(), StoreError> {
        loop {
            let command = Command::Object(ObjectCommand {
                bucket: entry.bucket.id,
                // What adds nothing passes every fence.
                closings: 0,
                keeping: Keeping::default(),
                asked: Timestamp::now(),
                key: key.clone(),
                action: step.clone(),
                telling: None,
            });
            let submission = Submission {
                op: OpId::new(),
                sweeps: 0,
                command,
            };
            let mut outcome = self.0.partitions.submit(submission).await?;
            self.displace(entry, key, outcome.take_unneeded()).await;
            step = match outcome {
                Outcome::Refused(Refusal::Crowded) if step != Action::Fold => Action::Fold,
                Outcome::Refused(Refusal::RefusedBefore) => return Ok(()),
                Outcome::Refused(refusal) => return Err(refusal.into()),
                _ => return Ok(()),
            };
        }
    }
}
