//! Commands about the directory: each changes one row, of a bucket, an access key or the mesh itself.
//!
//! Who may do what to a bucket stands in the bucket's row, by the access key's id and serial. So deleting an access key
//! leaves grants behind: they grant nothing, since no key has that serial, and go when the bucket's row is written next.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::rows::{Known, read};
use super::{Decision, Outcome, Refusal, RowChange, RowKey, Rows};
use crate::StoreError;
use crate::model::{
    AccessKeyId, AccessKeyRow, Bucket, BucketId, BucketName, BucketRow, BucketState, KeySerial, MeshKey,
    MeshRow, OpId, row_key,
};

/// What to do to one row of the directory. Versions are given by the row; those in the command do not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootCommand {
    /// Creates a bucket, with what its creator may do to it.
    CreateBucket(BucketRow),
    /// Replaces a bucket's row: its settings, its grants, whether it is closing.
    ReplaceBucket {
        /// What it becomes.
        row: BucketRow,
        /// The version it was made from.
        from: u64,
    },
    /// Deletes a bucket that is closing.
    DeleteBucket {
        /// Its name.
        name: BucketName,
        /// Which bucket of that name.
        id: BucketId,
        /// The version in which it was closed, and after that found to be empty.
        from: u64,
    },
    /// Creates an access key.
    CreateAccessKey {
        /// Its id.
        id: AccessKeyId,
        /// Its row.
        row: AccessKeyRow,
    },
    /// Replaces an access key's row.
    ReplaceAccessKey {
        /// Its id.
        id: AccessKeyId,
        /// What it becomes.
        row: AccessKeyRow,
        /// The version it was made from.
        from: u64,
    },
    /// Deletes an access key.
    DeleteAccessKey {
        /// Its id.
        id: AccessKeyId,
        /// Which key of that id.
        serial: KeySerial,
    },
    /// Creates, replaces or removes a row about the mesh.
    ReplaceMesh {
        /// Which.
        key: MeshKey,
        /// What it becomes; nothing removes it.
        body: Option<Bytes>,
        /// The version it was made from; 0 where there was none.
        from: u64,
    },
}

impl RootCommand {
    /// The row it is about.
    pub fn row(&self) -> RowKey {
        match self {
            Self::CreateBucket(row) | Self::ReplaceBucket { row, .. } => row_key::bucket(&row.bucket.name),
            Self::DeleteBucket { name, .. } => row_key::bucket(name),
            Self::CreateAccessKey { id, .. }
            | Self::ReplaceAccessKey { id, .. }
            | Self::DeleteAccessKey { id, .. } => row_key::access_key(id),
            Self::ReplaceMesh { key, .. } => key.row(),
        }
    }
}

pub(super) fn decide(op: OpId, command: RootCommand, rows: &dyn Rows) -> Result<Decision, StoreError> {
    match command {
        RootCommand::CreateBucket(row) => create_bucket(op, row, rows),
        RootCommand::ReplaceBucket { row, from } => replace_bucket(op, row, from, rows),
        RootCommand::DeleteBucket { name, id, from } => delete_bucket(op, &name, id, from, rows),
        RootCommand::CreateAccessKey { id, row } => create_access_key(op, &id, row, rows),
        RootCommand::ReplaceAccessKey { id, row, from } => replace_access_key(op, &id, row, from, rows),
        RootCommand::DeleteAccessKey { id, serial } => delete_access_key(op, &id, serial, rows),
        RootCommand::ReplaceMesh { key, body, from } => replace_mesh(op, key, body, from, rows),
    }
}

fn create_bucket(op: OpId, mut row: BucketRow, rows: &dyn Rows) -> Result<Decision, StoreError> {
    let known: Known<BucketRow> = read(rows, row_key::bucket(&row.bucket.name))?;
    row.bucket.version = 1;
    row.bucket.state = BucketState::Open;
    if known.recent.contains(op) {
        return Ok(bucket_before(known, row));
    }
    if let Some(taken) = known.row {
        let refusal = Refusal::BucketExists(Box::new(taken));
        return Ok(Decision::refused(refusal, vec![known.key]));
    }
    if let Some(gone) = drop_dangling(&mut row.bucket, rows)?.into_iter().next() {
        return Ok(Decision::refused(Refusal::NoSuchAccessKey, vec![known.key, gone]));
    }
    let creators = row
        .bucket
        .grants
        .keys()
        .map(row_key::access_key)
        .collect::<Vec<_>>();
    Ok(put_bucket(known.key, row).relying_on(creators))
}

fn replace_bucket(op: OpId, mut row: BucketRow, from: u64, rows: &dyn Rows) -> Result<Decision, StoreError> {
    let known: Known<BucketRow> = read(rows, row_key::bucket(&row.bucket.name))?;
    row.bucket.version = from.saturating_add(1);
    if known.recent.contains(op) {
        return Ok(bucket_before(known, row));
    }
    match known.row {
        Some(there) if there.bucket.id == row.bucket.id && there.bucket.version == from => {
            let gone = drop_dangling(&mut row.bucket, rows)?;
            Ok(put_bucket(known.key, row).relying_on(gone))
        }
        there => Ok(Decision::refused(
            not_that_bucket(there, row.bucket.id),
            vec![known.key],
        )),
    }
}

fn delete_bucket(
    op: OpId,
    name: &BucketName,
    id: BucketId,
    from: u64,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    let known: Known<BucketRow> = read(rows, row_key::bucket(name))?;
    // The name may be another bucket's by now.
    let is_there = known.row.as_ref().is_some_and(|there| there.bucket.id == id);
    if known.recent.contains(op) && !is_there {
        return Ok(Decision::nothing(Outcome::BucketGone, vec![known.key]));
    }
    match known.row {
        Some(there) if there.bucket.id == id && there.bucket.version == from => {
            if there.bucket.state != BucketState::Closing {
                return Ok(Decision::refused(Refusal::BucketOpen, vec![known.key]));
            }
            let stage = vec![RowChange::Remove { key: known.key }];
            Ok(Decision::told_last(vec![stage], Outcome::BucketGone))
        }
        there => Ok(Decision::refused(not_that_bucket(there, id), vec![known.key])),
    }
}

fn create_access_key(
    op: OpId,
    id: &AccessKeyId,
    mut row: AccessKeyRow,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    let known: Known<AccessKeyRow> = read(rows, row_key::access_key(id))?;
    row.version = 1;
    if known.recent.contains(op) {
        return Ok(access_key_before(known, row));
    }
    if known.row.is_some() {
        return Ok(Decision::refused(Refusal::AccessKeyExists, vec![known.key]));
    }
    Ok(put_access_key(known.key, row))
}

fn replace_access_key(
    op: OpId,
    id: &AccessKeyId,
    mut row: AccessKeyRow,
    from: u64,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    let known: Known<AccessKeyRow> = read(rows, row_key::access_key(id))?;
    row.version = from.saturating_add(1);
    if known.recent.contains(op) {
        return Ok(access_key_before(known, row));
    }
    let refusal = match known.row {
        Some(there) if there.serial == row.serial && there.version == from => {
            return Ok(put_access_key(known.key, row));
        }
        Some(there) if there.serial == row.serial => Refusal::AccessKeyChanged(Box::new(there)),
        _ => Refusal::NoSuchAccessKey,
    };
    Ok(Decision::refused(refusal, vec![known.key]))
}

fn delete_access_key(
    op: OpId,
    id: &AccessKeyId,
    serial: KeySerial,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    let known: Known<AccessKeyRow> = read(rows, row_key::access_key(id))?;
    if known.row.is_some_and(|there| there.serial == serial) {
        let stage = vec![RowChange::Remove { key: known.key }];
        return Ok(Decision::told_last(vec![stage], Outcome::AccessKeyGone));
    }
    let outcome = if known.recent.contains(op) {
        Outcome::AccessKeyGone
    } else {
        Outcome::Refused(Refusal::NoSuchAccessKey)
    };
    Ok(Decision::nothing(outcome, vec![known.key]))
}

fn replace_mesh(
    op: OpId,
    key: MeshKey,
    body: Option<Bytes>,
    from: u64,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    let known: Known<MeshRow> = read(rows, key.row())?;
    if known.recent.contains(op) {
        return Ok(Decision::nothing(Outcome::Mesh(known.row), vec![known.key]));
    }
    if known.row.as_ref().map_or(0, |there| there.version) != from {
        return Ok(Decision::refused(
            Refusal::MeshChanged(known.row),
            vec![known.key],
        ));
    }
    let Some(body) = body else {
        if known.row.is_none() {
            return Ok(Decision::nothing(Outcome::Mesh(None), vec![known.key]));
        }
        let stage = vec![RowChange::Remove { key: known.key }];
        return Ok(Decision::told_last(vec![stage], Outcome::Mesh(None)));
    };
    let row = MeshRow {
        version: from.saturating_add(1),
        body,
    };
    let stage = vec![RowChange::put(known.key, &row)];
    Ok(Decision::told_last(vec![stage], Outcome::Mesh(Some(row))))
}

/// Drops grants of access keys that are gone, and names their rows.
fn drop_dangling(bucket: &mut Bucket, rows: &dyn Rows) -> Result<Vec<RowKey>, StoreError> {
    let mut gone = Vec::new();
    for (id, granted) in &bucket.grants {
        let known: Known<AccessKeyRow> = read(rows, row_key::access_key(id))?;
        if known.row.is_none_or(|there| there.serial != granted.serial) {
            gone.push((id.clone(), known.key));
        }
    }
    for (id, _) in &gone {
        bucket.grants.remove(id);
    }
    Ok(gone.into_iter().map(|(_, key)| key).collect())
}

fn put_bucket(key: RowKey, row: BucketRow) -> Decision {
    let stage = vec![RowChange::put(key, &row)];
    Decision::told_last(vec![stage], Outcome::Bucket(Box::new(row)))
}

fn put_access_key(key: RowKey, row: AccessKeyRow) -> Decision {
    let stage = vec![RowChange::put(key, &row)];
    Decision::told_last(vec![stage], Outcome::AccessKey(row))
}

/// What a change that was tried again hears: the row as it is now, or as it was written where it is gone since.
fn bucket_before(known: Known<BucketRow>, written: BucketRow) -> Decision {
    let same = known.row.filter(|there| there.bucket.id == written.bucket.id);
    Decision::nothing(
        Outcome::Bucket(Box::new(same.unwrap_or(written))),
        vec![known.key],
    )
}

fn access_key_before(known: Known<AccessKeyRow>, written: AccessKeyRow) -> Decision {
    let same = known.row.filter(|there| there.serial == written.serial);
    Decision::nothing(Outcome::AccessKey(same.unwrap_or(written)), vec![known.key])
}

fn not_that_bucket(there: Option<BucketRow>, id: BucketId) -> Refusal {
    match there {
        Some(there) if there.bucket.id == id => Refusal::BucketChanged(Box::new(there)),
        _ => Refusal::NoSuchBucket,
    }
}
