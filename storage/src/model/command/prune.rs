//! Removes whatever stands under a key of a bucket that is gone for good.

use super::key::Scope;
use super::{Decision, Outcome, RowChange, Unneeded};
use crate::StoreError;

/// Object, uploads and parts go unread: what opens them was deleted with the bucket. Their blocks are left to the sweep.
pub(super) fn prune(scope: &Scope<'_>) -> Result<Decision, StoreError> {
    let outcome = Outcome::RestForgotten {
        unneeded: Unneeded::default(),
    };
    let removed: Vec<RowChange> = scope
        .everything()?
        .into_iter()
        .map(|key| RowChange::Remove { key })
        .collect();
    match removed.is_empty() {
        true => Ok(Decision::nothing(outcome, Vec::new())),
        false => Ok(Decision::told_last(vec![removed], outcome)),
    }
}
