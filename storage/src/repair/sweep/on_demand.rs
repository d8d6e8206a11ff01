//! Has the whole mesh sweep now, because a person asks.
//!
//! It takes two sweeps until all is gone that was unreferenced when they asked. Each is begun once all writes have ended that
//! began before the one before it, so that none is refused because of it; those of members that are away are, and their clients
//! try again.

use std::collections::BTreeMap;

use super::{count_one, refresh};
use crate::health::Report;
use crate::model::MemberId;
use crate::{Store, StoreError};

/// How far a sweep has come that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Behind this one all is gone that was unreferenced when it was asked for.
    pub until: u32,
    /// What each member has done.
    pub members: BTreeMap<MemberId, Share>,
}

impl Swept {
    /// Whether everybody has done it.
    pub fn is_done(&self) -> bool {
        self.members.values().all(|share| share.waits.is_none())
    }
}

/// What a member has done of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// References to blocks that it has freed by all sweeps since it started; nothing where it does not say.
    pub freed: Option<u64>,
    /// References to blocks that it held when its last sweep since then began; nothing where it does not say.
    pub held: Option<u64>,
    /// What is still to be waited for.
    pub waits: Option<Waits>,
}

/// Why a member has not done its share yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// It says nothing.
    Away,
    /// It has lost rows, and frees nothing until a person has decided about that.
    RowsLost,
    /// A write is under way there that began before.
    Writing,
    /// It is at it, or waits for others.
    Sweeping,
}

impl Store {
    /// Has all members free the blocks that nothing refers to, or goes on with that: nothing in `until` begins it, and the
    /// answer says what to go on with. To be asked again until it is done.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer. The disk fails.
    pub async fn sweep_now(&self, until: Option<u32>) -> Result<Swept, StoreError> {
        let inner = &self.0;
        refresh(inner).await?;
        // No more than the two that it takes, whatever the caller says.
        let most = inner.mesh.sweeps().saturating_add(2);
        let until = until.map_or(most, |until| until.min(most));
        let said = self.0.ask_how_all_are().await?;
        let sweeps = inner.mesh.sweeps();
        let is_quiet = |(member, report): (&MemberId, &Option<Report>)| match report {
            Some(report) => report.oldest_write >= sweeps,
            // Whoever is merely slow may have writes under way.
            None => inner.peers.nearest(&[*member]).is_empty(),
        };
        if sweeps < until && said.iter().all(is_quiet) {
            count_one(inner).await?;
        }
        let share = |report: Option<Report>| share(until, sweeps, report);
        Ok(Swept {
            until,
            members: said
                .into_iter()
                .map(|(member, report)| (member, share(report)))
                .collect(),
        })
    }
}

/// What a member has done of the sweeps up to one, when so many had begun.
fn share(until: u32, sweeps: u32, report: Option<Report>) -> Share {
    let Some(report) = report else {
        return Share {
            freed: None,
            held: None,
            waits: Some(Waits::Away),
        };
    };
    let waits = match &report {
        report if report.swept >= until => None,
        report if report.rows.lost => Some(Waits::RowsLost),
        report if sweeps < until && report.oldest_write < sweeps => Some(Waits::Writing),
        _ => Some(Waits::Sweeping),
    };
    Share {
        freed: Some(report.freed),
        held: Some(report.held),
        waits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_says_what_it_waits_for() {
        let report = |swept, oldest_write| Report {
            swept,
            oldest_write,
            ..Report::default()
        };
        let waits = |sweeps, report| share(5, sweeps, report).waits;
        assert_eq!(waits(4, None), Some(Waits::Away));
        assert_eq!(waits(4, Some(report(3, 3))), Some(Waits::Writing));
        assert_eq!(waits(4, Some(report(3, 4))), Some(Waits::Sweeping));
        assert_eq!(waits(5, Some(report(4, 4))), Some(Waits::Sweeping));
        assert_eq!(waits(5, Some(report(5, 5))), None);
        let mut lost = report(3, 4);
        lost.rows.lost = true;
        assert_eq!(waits(5, Some(lost)), Some(Waits::RowsLost));
    }
}
