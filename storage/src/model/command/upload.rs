//! Uploads until they complete: started, given parts, aborted, forgotten.

use super::complete::{finish, without};
use super::key::{Object, Rest, Scope, is_open};
use super::object::set;
use super::rows::Known;
use super::{Decision, Outcome, Refusal, RowChange, Unneeded};
use crate::StoreError;
use crate::model::{PartRow, UploadId, UploadRow};

pub(super) fn start(scope: &Scope<'_>, upload: UploadId, row: &UploadRow) -> Result<Decision, StoreError> {
    let known = scope.upload(upload)?;
    // Where it is gone again it must not come back.
    if known.recent.contains(scope.op) || known.row.is_some() {
        return Ok(Decision::nothing(Outcome::UploadStarted, vec![known.key]));
    }
    let started = RowChange::put(known.key, row);
    Ok(Decision::told_last(vec![vec![started]], Outcome::UploadStarted))
}

pub(super) fn put_part(
    scope: &Scope<'_>,
    upload: UploadId,
    mut part: PartRow,
) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    let known = scope.part(upload, part.number)?;
    // A gateway that goes on under another name, because a bucket was closed, may have stored it before.
    let stands = known.row.as_ref().is_some_and(|row| row.write == part.write);
    if stands || known.recent.contains(scope.op) {
        return Ok(put_part_before(known, object, &part));
    }
    let upload_row = scope.upload(upload)?;
    let relies_on = vec![object.key, upload_row.key];
    if !is_open(upload, upload_row.row.as_ref(), &object.row) {
        return Ok(Decision::refused(Refusal::NoSuchUpload, relies_on));
    }
    part.modified = part
        .modified
        .after(known.row.as_ref().map(|replaced| replaced.modified));
    let outcome = Outcome::PartStored {
        modified: part.modified,
        stands: true,
        unneeded: Unneeded::parts(known.row.into_iter().collect()),
    };
    let stage = vec![RowChange::put(known.key, &part)];
    Ok(Decision::told_last(vec![stage], outcome).relying_on(relies_on))
}

/// What a part that was tried again hears.
fn put_part_before(known: Known<PartRow>, object: Object, part: &PartRow) -> Decision {
    let standing = known.row.filter(|there| there.write == part.write);
    let outcome = Outcome::PartStored {
        modified: standing.as_ref().map_or(part.modified, |there| there.modified),
        stands: standing.is_some() || object.row.may_refer_to(part.write),
        unneeded: Unneeded::default(),
    };
    Decision::nothing(outcome, vec![known.key, object.key])
}

pub(super) fn abort(scope: &Scope<'_>, upload: UploadId) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    let known = scope.upload(upload)?;
    let aborted_before = known.row.is_none() && known.recent.contains(scope.op);
    if !aborted_before && !is_open(upload, known.row.as_ref(), &object.row) {
        return Ok(Decision::refused(
            Refusal::NoSuchUpload,
            vec![object.key, known.key],
        ));
    }
    let (tidying, unneeded) = without(scope.parts(upload)?, &object.row);
    let outcome = Outcome::UploadAborted {
        unneeded: Unneeded::parts(unneeded),
    };
    Ok(if aborted_before {
        Decision::nothing(outcome, vec![known.key]).then(tidying)
    } else {
        let stage = vec![RowChange::Remove { key: known.key }];
        Decision::told_last(vec![stage], outcome)
            .then(tidying)
            .relying_on([object.key])
    })
}

pub(super) fn forget(scope: &Scope<'_>, upload: UploadId, rest: Rest) -> Result<Decision, StoreError> {
    let object = scope.object()?;
    let known = scope.upload(upload)?;
    if is_open(upload, known.row.as_ref(), &object.row) {
        return Ok(Decision::refused(
            Refusal::UploadOpen,
            vec![object.key, known.key],
        ));
    }
    let forgotten = match rest {
        Rest::All if known.row.is_some() => vec![RowChange::Remove {
            key: known.key.clone(),
        }],
        Rest::All | Rest::Parts => Vec::new(),
    };
    if object.row.closing(upload).is_some() {
        return forget_closing(scope, object, forgotten);
    }
    let (parts, unneeded) = without(scope.parts(upload)?, &object.row);
    let outcome = Outcome::RestForgotten {
        unneeded: Unneeded::parts(unneeded),
    };
    let stage = [forgotten, parts].concat();
    Ok(Decision::told_last(vec![stage], outcome).relying_on([object.key, known.key]))
}

/// Forgets an upload that stands in `closing` after it has been brought to its end: its row goes last, since without it
/// nothing could end it.
fn forget_closing(
    scope: &Scope<'_>,
    object: Object,
    forgotten: Vec<RowChange>,
) -> Result<Decision, StoreError> {
    let finishing = finish(scope, &object.row)?;
    let outcome = Outcome::RestForgotten {
        unneeded: Unneeded::parts(finishing.unneeded),
    };
    let mut ended = vec![set(object.key.clone(), &object.row.tidied())];
    ended.extend(finishing.parts);
    Ok(
        Decision::told_last(vec![finishing.uploads, ended, forgotten], outcome)
            .relying_on(finishing.relies_on)
            .relying_on([object.key]),
    )
}
