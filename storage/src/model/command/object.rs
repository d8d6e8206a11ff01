//! Puts, deletes, removes, expires and amends versions: the object's row alone decides.
//!
//! Versions in archives are not looked at: where they matter the change is refused, and whoever wants it has the archive taken
//! back first, see `archive.rs`.

use super::complete::{Finishing, finish};
use super::key::{Object, Scope};
use super::{Decision, Outcome, Refusal, RowChange, RowKey, Unneeded};
use crate::StoreError;
use crate::model::{
    Amendment, Changed, How, Marker, ObjectRow, Removed, SealedVersion, Timestamp, VersionId, Versioning,
    WriteCondition, WriteId, summary,
};

/// Bytes an object's row may have: a disk takes values of 1 MiB, and 64 KiB of that are left to what stands around it there.
/// Whoever writes more hears [`Refusal::TooManyVersions`]; removing versions makes room.
const ROW_BYTES_MAX: usize = (1 << 20) - (64 << 10);

/// Bytes it may have with a new version: less, so that a key that is full can still be deleted and its tags changed.
const ROW_BYTES_WITH_NEW_VERSION: usize = ROW_BYTES_MAX - (64 << 10);

/// Archives a key may have with a new version: each takes about 90 bytes, so that there is room to take any of them back. With
/// what stands in one, about 100 KB, a key has room for about 90,000 versions of the largest objects whose content is in the row,
/// and for more of others. A marker is let in all the same, so that a key that is full can be deleted.
const ARCHIVES_MAX: usize = 4000;

pub(super) fn put(
    scope: &Scope<'_>,
    version: SealedVersion,
    condition: &WriteCondition,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again {
        return Ok(put_before(object, version, scope.terms.keeping.versioning));
    }
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    let is_crowded = row.is_crowded(&scope.folding);
    let Changed { row, displaced } = match row.tidied().put(version, condition, &scope.terms) {
        Ok(changed) => changed,
        Err(refusal) => return Ok(Decision::refused(refusal, vec![key])),
    };
    if is_crowded {
        return Ok(Decision::refused(Refusal::Crowded, vec![key]));
    }
    let row = tell_created(scope, row);
    let Some(current) = row.current() else {
        return Err(StoreError::Damaged("a row without the version put in it".into()));
    };
    let facts = current.facts.clone();
    if !has_room_for_version(&row) {
        return Ok(Decision::refused(Refusal::TooManyVersions, vec![key]));
    }
    let version = scope.terms.keeping.versioning.was_ever_on().then_some(facts.id);
    Ok(change(key, &row, finishing, |parts| Outcome::Stored {
        facts,
        version,
        stands: true,
        unneeded: Unneeded::new(displaced, parts),
    }))
}

pub(super) fn delete(
    scope: &Scope<'_>,
    marker: Marker,
    condition: &WriteCondition,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again {
        return Ok(delete_before(object, marker, scope.terms.keeping.versioning));
    }
    take_out(scope, object, |row| row.delete(marker, condition, &scope.terms))
}

pub(super) fn remove(
    scope: &Scope<'_>,
    version: VersionId,
    condition: &WriteCondition,
    bypass: bool,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again {
        let outcome = Outcome::Removed {
            version: Some(version),
            delete_marker: false,
            unneeded: Unneeded::default(),
        };
        return Ok(Decision::nothing(outcome, vec![object.key]));
    }
    if let Some(archived) = object.row.archive_of(version) {
        return Ok(Decision::refused(
            Refusal::Archived(archived.id),
            vec![object.key],
        ));
    }
    take_out(scope, object, |row| {
        row.remove(version, condition, (scope.terms.now, bypass))
    })
}

pub(super) fn expire(
    scope: &Scope<'_>,
    seen: [u8; 32],
    marker: Option<Marker>,
    remove: &[VersionId],
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    if object.again {
        let outcome = Outcome::Removed {
            version: None,
            delete_marker: false,
            unneeded: Unneeded::default(),
        };
        return Ok(Decision::nothing(outcome, vec![object.key]));
    }
    if object.row.digest() != seen {
        return Ok(Decision::refused(Refusal::VersionChanged, vec![object.key]));
    }
    if let Some(archived) = remove.iter().find_map(|version| object.row.archive_of(*version)) {
        return Ok(Decision::refused(
            Refusal::Archived(archived.id),
            vec![object.key],
        ));
    }
    take_out(scope, object, |row| row.expire(marker, remove, &scope.terms))
}

pub(super) fn amend(
    scope: &Scope<'_>,
    version: (VersionId, WriteId),
    amendment: Amendment,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    let amended = |parts| Outcome::Amended {
        unneeded: Unneeded::parts(parts),
    };
    if object.again {
        return Ok(Decision::nothing(amended(Vec::new()), vec![object.key]));
    }
    if let Some(archived) = object.row.archive_of(version.0) {
        return Ok(Decision::refused(
            Refusal::Archived(archived.id),
            vec![object.key],
        ));
    }
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    Ok(match row.tidied().amend(version, amendment, scope.terms.now) {
        Ok(row) => change(key, &tell_amended(scope, row, version.1), finishing, amended),
        Err(refusal) => Decision::refused(refusal, vec![key]),
    })
}

/// Forgets events that have been told; others of the key stay.
pub(super) fn settle(scope: &Scope<'_>, told: &[Timestamp]) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    let settled = |parts| Outcome::Amended {
        unneeded: Unneeded::parts(parts),
    };
    let stands = object.row.events.iter().any(|event| told.contains(&event.at));
    if object.again || !stands {
        return Ok(Decision::nothing(settled(Vec::new()), vec![object.key]));
    }
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    let mut row = row.tidied();
    row.events.retain(|event| !told.contains(&event.at));
    Ok(change(key, &row, finishing, settled))
}

/// Notes what is to be told of the version that was put.
pub(super) fn tell_created(scope: &Scope<'_>, mut row: ObjectRow) -> ObjectRow {
    let told = scope
        .telling
        .and_then(|telling| Some((telling, telling.cause.how.created()?)));
    if let (Some((telling, kind)), Some(facts)) = (told, row.current().map(|current| current.facts.clone())) {
        let is_kept = scope.terms.keeping.versioning.was_ever_on();
        row.tell(telling, kind, (&facts, is_kept), facts.modified);
    }
    row
}

/// Notes what is to be told of the version of which something else is said now.
fn tell_amended(scope: &Scope<'_>, mut row: ObjectRow, write: WriteId) -> ObjectRow {
    let told = scope
        .telling
        .and_then(|telling| Some((telling, telling.cause.how.amended()?)));
    let mut versions = row.versions.iter();
    let amended = versions.find(|version| version.write == write);
    if let (Some((telling, kind)), Some(facts)) = (told, amended.map(|amended| amended.facts.clone())) {
        let is_kept = scope.terms.keeping.versioning.was_ever_on();
        // Later than its creation, of which the row may know no event any more.
        let at = scope.asked.after(Some(facts.modified));
        row.tell(telling, kind, (&facts, is_kept), at);
    }
    row
}

/// Notes what is to be told of a deletion: of the marker it left, or else of what is gone; where a rule did both, of both.
/// `before` are the versions that were there.
fn tell_removed(scope: &Scope<'_>, before: &[WriteId], changed: &mut Changed) {
    let Some(telling) = scope.telling else {
        return;
    };
    let Changed { row, displaced } = changed;
    let (how, at) = (telling.cause.how, scope.asked);
    let (Some(removed), Some(hidden)) = (how.removed(false), how.removed(true)) else {
        return;
    };
    let is_kept = scope.terms.keeping.versioning.was_ever_on();
    let marker = row.current().filter(|current| !before.contains(&current.write));
    let marker = marker.map(|marker| marker.facts.clone());
    if marker.is_none() || how == How::Expire {
        for gone in &*displaced {
            row.tell(telling, removed, (&gone.facts, is_kept), at);
        }
    }
    if let Some(facts) = marker {
        row.tell(telling, hidden, (&facts, is_kept), at);
    }
}

/// Carries out what a deletion does to the row.
fn take_out(
    scope: &Scope<'_>,
    object: Object,
    deletion: impl FnOnce(ObjectRow) -> Result<Removed, Refusal>,
) -> Result<Decision, StoreError> {
    let finishing = finish(scope, &object.row)?;
    let Object { key, row, .. } = object;
    let (is_crowded, row) = (row.is_crowded(&scope.folding), row.tidied());
    let before: Vec<_> = row.versions.iter().map(|version| version.write).collect();
    let removed = match deletion(row) {
        Ok(removed) => removed,
        Err(refusal) => return Ok(Decision::refused(refusal, vec![key])),
    };
    let Removed {
        changed,
        version,
        delete_marker,
    } = removed;
    let outcome = |unneeded| Outcome::Removed {
        version,
        delete_marker,
        unneeded,
    };
    // What comes first then has to be in the row.
    if let Some(front) = changed
        .as_ref()
        .and_then(|changed| changed.row.archive_in_front())
    {
        return Ok(Decision::refused(Refusal::Archived(front.id), vec![key]));
    }
    Ok(match changed {
        None => Decision::nothing(outcome(Unneeded::default()), vec![key]),
        // Only a marker makes it longer.
        Some(changed) if is_crowded && changed.row.versions.len() > before.len() => {
            Decision::refused(Refusal::Crowded, vec![key])
        }
        Some(mut changed) => {
            tell_removed(scope, &before, &mut changed);
            let Changed { row, displaced } = changed;
            change(key, &row, finishing, |parts| {
                outcome(Unneeded::new(displaced, parts))
            })
        }
    })
}

/// What a put that was tried again hears.
fn put_before(object: Object, version: SealedVersion, versioning: Versioning) -> Decision {
    let same = |there: &&SealedVersion| there.write == version.write && there.extents == version.extents;
    let standing = object.row.versions.iter().find(same);
    let id = standing.map_or_else(
        || given_id(versioning, version.facts.modified, version.write),
        |standing| standing.facts.id,
    );
    let outcome = Outcome::Stored {
        // It may be in an archive.
        stands: standing.is_some() || !object.row.archived.is_empty(),
        // What has been replaced since is told as it was submitted.
        facts: standing.map_or(version.facts, |standing| standing.facts.clone()),
        version: versioning.was_ever_on().then_some(id),
        unneeded: Unneeded::default(),
    };
    Decision::nothing(outcome, vec![object.key])
}

/// What a delete that was tried again hears.
fn delete_before(object: Object, marker: Marker, versioning: Versioning) -> Decision {
    let mut versions = object.row.versions.iter();
    let standing = versions.find(|there| there.write == marker.write);
    let id = standing.map_or_else(
        || given_id(versioning, marker.at, marker.write),
        |standing| standing.facts.id,
    );
    let version = versioning.was_ever_on().then_some(id);
    let outcome = Outcome::Removed {
        version,
        delete_marker: version.is_some(),
        unneeded: Unneeded::default(),
    };
    Decision::nothing(outcome, vec![object.key])
}

/// The id that a version which is gone again had, unless its time was moved on.
fn given_id(versioning: Versioning, at: Timestamp, write: WriteId) -> VersionId {
    match versioning {
        Versioning::Enabled => VersionId::new(at, write),
        Versioning::Off | Versioning::Suspended => VersionId::Null,
    }
}

/// Changes the object's row once what stands in `closing` is finished.
fn change(
    key: RowKey,
    row: &ObjectRow,
    finishing: Finishing,
    outcome: impl FnOnce(Vec<crate::model::PartRow>) -> Outcome,
) -> Decision {
    let changed = set(key, row);
    if !has_room(&changed) {
        return Decision::refused(Refusal::TooManyVersions, vec![changed.key().to_vec()]);
    }
    let mut stage = vec![changed];
    stage.extend(finishing.parts);
    Decision::told_last(vec![finishing.uploads, stage], outcome(finishing.unneeded))
        .relying_on(finishing.relies_on)
}

/// Whether a row is small enough with a new version in it.
pub(super) fn has_room_for_version(row: &ObjectRow) -> bool {
    // A single version always fits, and most keys have no other: they are not measured.
    row.versions.len() == 1
        || row.archived.len() <= ARCHIVES_MAX && super::encode_row(row).len() <= ROW_BYTES_WITH_NEW_VERSION
}

pub(super) fn has_room(change: &RowChange) -> bool {
    match change {
        RowChange::Put { value, .. } => value.len() <= ROW_BYTES_MAX,
        RowChange::Remove { .. } => true,
    }
}

/// The change that makes this the object's row.
pub(super) fn set(key: RowKey, row: &ObjectRow) -> RowChange {
    if row.versions.is_empty() && row.events.is_empty() {
        return RowChange::Remove { key };
    }
    RowChange::Put {
        key,
        summary: summary::encode(row),
        value: super::rows::encode_object(row),
    }
}
