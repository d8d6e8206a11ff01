//! Moves older versions of a key into a row of their own, and back: what clients see stays the same.

use super::complete::finish;
use super::key::{Object, Scope};
use super::object::{has_room, set};
use super::{Decision, Outcome, Refusal, RowChange, Unneeded};
use crate::StoreError;
use crate::model::{ArchiveId, ObjectRow};

/// The object's row names the archive before there is one: what a crash leaves of it is removed with the next change.
pub(super) fn fold(scope: &Scope<'_>) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again {
        return Ok(Decision::nothing(folded(Vec::new()), vec![object.key]));
    }
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    let mut row = row.tidied();
    // No other operation has its name.
    let id = ArchiveId::from_bytes(*scope.op.as_bytes());
    let announcing = ObjectRow {
        left: vec![id],
        ..row.clone()
    };
    let Some(archive) = row.fold(id, &scope.folding) else {
        return Ok(Decision::nothing(folded(Vec::new()), vec![key]));
    };
    let written = RowChange::put(scope.archive_key(id), &archive);
    let announced = set(key.clone(), &announcing);
    let changed = set(key, &row);
    if let Some(large) = [&written, &announced, &changed]
        .iter()
        .find(|change| !has_room(change))
    {
        return Ok(Decision::refused(
            Refusal::TooManyVersions,
            vec![large.key().to_vec()],
        ));
    }
    let mut announced = vec![announced];
    announced.extend(finishing.parts);
    let stages = vec![finishing.uploads, announced, vec![written], vec![changed]];
    Ok(Decision::told_last(stages, folded(finishing.unneeded)).relying_on(finishing.relies_on))
}

/// What was the archive is removed with the next change, for which it is moved back.
pub(super) fn unfold(scope: &Scope<'_>, archive: ArchiveId) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again || !object.row.archived.iter().any(|archived| archived.id == archive) {
        return Ok(Decision::nothing(folded(Vec::new()), vec![object.key]));
    }
    let known = scope.archive(archive)?;
    let Some(versions) = known.row else {
        // It is written before the row that names it.
        return Ok(Decision::refused(
            Refusal::VersionChanged,
            vec![object.key, known.key],
        ));
    };
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    let mut row = row.tidied();
    row.unfold(archive, versions);
    let changed = set(key.clone(), &row);
    if !has_room(&changed) {
        return Ok(Decision::refused(Refusal::Crowded, vec![key]));
    }
    let mut stage = vec![changed];
    stage.extend(finishing.parts);
    Ok(
        Decision::told_last(vec![finishing.uploads, stage], folded(finishing.unneeded))
            .relying_on(finishing.relies_on)
            .relying_on([known.key]),
    )
}

fn folded(parts: Vec<crate::model::PartRow>) -> Outcome {
    Outcome::Amended {
        unneeded: Unneeded::parts(parts),
    }
}
