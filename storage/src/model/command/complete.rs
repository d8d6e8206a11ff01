//! Makes the parts of an upload an object, in one change of the object's row; the rest follows, whoever does it.

use std::collections::{BTreeMap, HashSet};

use super::key::{ChosenPart, Object, Part, Scope};
use super::object::{has_room_for_version, set, tell_created};
use super::rows::Known;
use super::{Decision, Outcome, Refusal, RowChange, RowKey, Unneeded};
use crate::StoreError;
use crate::model::{
    Changed, Checksum, Closing, Completed, ObjectRow, PartRow, SealedVersion, UploadId, UploadRow,
    UploadState, WriteCondition, WriteId,
};

/// What an upload is to become.
pub(super) struct Complete {
    pub(super) upload: UploadId,
    pub(super) parts: Vec<ChosenPart>,
    pub(super) version: SealedVersion,
    pub(super) checksum: Option<Checksum>,
    pub(super) condition: WriteCondition,
}

pub(super) fn complete(scope: &Scope<'_>, complete: Complete) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if let Some(Closing { completed, .. }) = object.row.closing(complete.upload).copied() {
        return again_while_closing(scope, object, completed, &complete.version);
    }
    let upload = scope.upload(complete.upload)?;
    match &upload.row {
        Some(row) if row.state == UploadState::Open => {}
        Some(UploadRow {
            state: UploadState::Completed(completed),
            ..
        }) => return again(scope, object, upload.key, *completed, &complete),
        _ => return Ok(Decision::refused(Refusal::NoSuchUpload, vec![upload.key])),
    }
    let parts = scope.parts(complete.upload)?;
    if !has_all(&parts, &complete.parts) {
        return Ok(Decision::refused(Refusal::PartsChanged, Vec::new()));
    }
    first_time(scope, object, upload, parts, complete)
}

fn first_time(
    scope: &Scope<'_>,
    object: Object,
    upload: Known<UploadRow>,
    parts: Vec<Part>,
    complete: Complete,
) -> Result<Decision, StoreError> {
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    let is_crowded = row.is_crowded(&scope.folding);
    let put = row
        .tidied()
        .put(complete.version, &complete.condition, &scope.terms);
    let Changed { row, displaced } = match put {
        Ok(changed) => changed,
        Err(refusal) => return Ok(Decision::refused(refusal, vec![key, upload.key])),
    };
    if is_crowded {
        return Ok(Decision::refused(Refusal::Crowded, vec![key, upload.key]));
    }
    let mut row = tell_created(scope, row);
    let Some(facts) = row.current().map(|current| &current.facts) else {
        return Err(StoreError::Damaged("a row without the version put in it".into()));
    };
    let completed = Completed {
        etag: facts.etag,
        checksum: complete.checksum,
        size: facts.size,
        modified: facts.modified,
        version: scope.terms.keeping.versioning.was_ever_on().then_some(facts.id),
    };
    row.closing.push(Closing {
        upload: complete.upload,
        completed,
    });
    if !has_room_for_version(&row) {
        return Ok(Decision::refused(Refusal::TooManyVersions, vec![key, upload.key]));
    }
    let decides = vec![set(key.clone(), &row)];
    row.closing.clear();
    let (mut tidying, mut unneeded) = without(parts, &row);
    tidying.push(set(key, &row));
    let mut follows = finishing.parts;
    follows.extend(
        upload
            .row
            .map(|row| completed_row(upload.key.clone(), row, completed)),
    );
    unneeded.extend(finishing.unneeded);
    let outcome = Outcome::Completed {
        completed,
        stands: true,
        unneeded: Unneeded::new(displaced, unneeded),
    };
    // Told only when the upload's row says so too, which spares listings of uploads a look at every object.
    Ok(
        Decision::told_last(vec![finishing.uploads, decides, follows], outcome)
            .then(tidying)
            .relying_on(finishing.relies_on)
            .relying_on([upload.key]),
    )
}

/// A Complete of an upload that stands in `closing`: brings it to its end.
fn again_while_closing(
    scope: &Scope<'_>,
    object: Object,
    completed: Completed,
    version: &SealedVersion,
) -> Result<Decision, StoreError> {
    let finishing = finish(scope, &object.row)?;
    let outcome = Outcome::Completed {
        completed,
        stands: stands(&object.row, version),
        unneeded: Unneeded::parts(finishing.unneeded),
    };
    let Object { key, row, .. } = object;
    let mut tidying = finishing.parts;
    tidying.push(set(key.clone(), &row.tidied()));
    Ok(Decision::told_last(vec![finishing.uploads], outcome)
        .then(tidying)
        .relying_on(finishing.relies_on)
        .relying_on([key]))
}

/// A Complete of an upload whose row says that it is completed: drops parts that a crash left.
fn again(
    scope: &Scope<'_>,
    object: Object,
    upload: RowKey,
    completed: Completed,
    complete: &Complete,
) -> Result<Decision, StoreError> {
    let (tidying, unneeded) = without(scope.parts(complete.upload)?, &object.row);
    let outcome = Outcome::Completed {
        completed,
        stands: stands(&object.row, &complete.version),
        unneeded: Unneeded::parts(unneeded),
    };
    Ok(Decision::nothing(outcome, vec![upload]).then(tidying))
}

/// Whether the version is there; it may be in an archive.
fn stands(object: &ObjectRow, version: &SealedVersion) -> bool {
    let same = |there: &SealedVersion| there.write == version.write && there.extents == version.extents;
    !object.archived.is_empty() || object.versions.iter().any(same)
}

fn has_all(stored: &[Part], chosen: &[ChosenPart]) -> bool {
    let writes: BTreeMap<_, WriteId> = stored
        .iter()
        .map(|part| (part.row.number, part.row.write))
        .collect();
    chosen
        .iter()
        .all(|chosen| writes.get(&chosen.number) == Some(&chosen.write))
}

/// What brings the uploads that stand in `closing` to their end.
#[derive(Default)]
pub(super) struct Finishing {
    /// First: their rows say that they are completed. And archives go that count for nothing.
    pub(super) uploads: Vec<RowChange>,
    /// Then, beside the change that drops them from `closing`: their parts go.
    pub(super) parts: Vec<RowChange>,
    /// Parts that did not become a part of an object.
    pub(super) unneeded: Vec<PartRow>,
    /// The row of the object, and rows of uploads that say so already, or are gone.
    pub(super) relies_on: Vec<RowKey>,
}

/// Finishes everything in `closing` and in `left` of the object's row, which still holds what those uploads became: it is not changed
/// before.
pub(super) fn finish(scope: &Scope<'_>, object: &ObjectRow) -> Result<Finishing, StoreError> {
    let mut finishing = Finishing::default();
    let left = object.left.iter().map(|archive| RowChange::Remove {
        key: scope.archive_key(*archive),
    });
    finishing.uploads.extend(left);
    if !object.left.is_empty() || !object.closing.is_empty() {
        // It was read, and may stand at few: what is done on its word must not outlive it.
        finishing.relies_on.push(scope.object_key());
    }
    for closing in &object.closing {
        let upload = scope.upload(closing.upload)?;
        match upload.row {
            Some(row) if row.state == UploadState::Open => {
                finishing
                    .uploads
                    .push(completed_row(upload.key, row, closing.completed));
            }
            _ => finishing.relies_on.push(upload.key),
        }
        let (parts, unneeded) = without(scope.parts(closing.upload)?, object);
        finishing.parts.extend(parts);
        finishing.unneeded.extend(unneeded);
    }
    Ok(finishing)
}

/// Removes parts of an upload that is not open; those that no version refers to are not needed any more. Where versions are in
/// archives that is left to the sweep.
pub(super) fn without(parts: Vec<Part>, object: &ObjectRow) -> (Vec<RowChange>, Vec<PartRow>) {
    let referred: HashSet<WriteId> = object
        .versions
        .iter()
        .flat_map(|version| version.extents.iter().copied())
        .collect();
    let mut removed = Vec::with_capacity(parts.len());
    let mut unneeded = Vec::new();
    for Part { key, row } in parts {
        removed.push(RowChange::Remove { key });
        if object.archived.is_empty() && !referred.contains(&row.write) {
            unneeded.push(row);
        }
    }
    (removed, unneeded)
}

fn completed_row(key: RowKey, row: UploadRow, completed: Completed) -> RowChange {
    let state = UploadState::Completed(completed);
    RowChange::put(key, &UploadRow { state, ..row })
}
