//! Puts and removes versions: the object's row alone decides.

use super::complete::{Finishing, finish};
use super::key::{Object, Scope};
use super::{Decision, Outcome, RowChange, RowKey, Unneeded};
use crate::StoreError;
use crate::model::{Changed, ObjectRow, SealedVersion, VersionId, WriteCondition, summary};

pub(super) fn put(
    scope: &Scope<'_>,
    version: SealedVersion,
    condition: &WriteCondition,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again {
        return Ok(put_before(object, version));
    }
    let finishing = finish(scope, &object.row)?;
    let Object { key, mut row, .. } = object;
    row.closing.clear();
    let changed = match row.put(version, condition) {
        Ok(changed) => changed,
        Err(refusal) => return Ok(Decision::refused(refusal.into(), vec![key])),
    };
    let Some(current) = changed.row.current() else {
        return Err(StoreError::Damaged("a row without the version put in it".into()));
    };
    let facts = current.facts.clone();
    Ok(change(key, &changed.row, finishing, |parts| Outcome::Stored {
        facts,
        stands: true,
        unneeded: Unneeded::new(changed.displaced, parts),
    }))
}

pub(super) fn remove(
    scope: &Scope<'_>,
    version: Option<VersionId>,
    condition: &WriteCondition,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    let nothing = || Outcome::Removed {
        unneeded: Unneeded::default(),
    };
    if object.again {
        return Ok(Decision::nothing(nothing(), vec![object.key]));
    }
    let finishing = finish(scope, &object.row)?;
    let Object { key, mut row, .. } = object;
    row.closing.clear();
    match row.remove(version, condition) {
        Err(refusal) => Ok(Decision::refused(refusal.into(), vec![key])),
        Ok(None) => Ok(Decision::nothing(nothing(), vec![key])),
        Ok(Some(Changed { row, displaced })) => Ok(change(key, &row, finishing, |parts| Outcome::Removed {
            unneeded: Unneeded::new(displaced, parts),
        })),
    }
}

/// What a put that was tried again hears.
fn put_before(object: Object, version: SealedVersion) -> Decision {
    let same = |there: &&SealedVersion| there.write == version.write && there.extents == version.extents;
    let standing = object.row.versions.iter().find(same);
    let outcome = Outcome::Stored {
        stands: standing.is_some(),
        // What has been replaced since is told as it was submitted.
        facts: standing.map_or(version.facts, |standing| standing.facts.clone()),
        unneeded: Unneeded::default(),
    };
    Decision::nothing(outcome, vec![object.key])
}

/// Changes the object's row once what stands in `closing` is finished.
fn change(
    key: RowKey,
    row: &ObjectRow,
    finishing: Finishing,
    outcome: impl FnOnce(Vec<crate::model::PartRow>) -> Outcome,
) -> Decision {
    let mut stage = vec![set(key, row)];
    stage.extend(finishing.parts);
    Decision::told_last(vec![finishing.uploads, stage], outcome(finishing.unneeded))
        .relying_on(finishing.relies_on)
}

/// The change that makes this the object's row.
pub(super) fn set(key: RowKey, row: &ObjectRow) -> RowChange {
    if row.versions.is_empty() {
        return RowChange::Remove { key };
    }
    RowChange::Put {
        key,
        summary: summary::encode(row),
        value: super::encode_row(row),
    }
}
