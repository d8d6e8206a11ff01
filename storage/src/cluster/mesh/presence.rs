//! Since when members are here or away, as far as this member saw since it started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::model::{MemberId, Timestamp};
use crate::placement::Presence;

/// What this member saw of the others.
#[derive(Default)]
pub(crate) struct Presences(Mutex<BTreeMap<MemberId, Presence>>);

impl Presences {
    /// Notes who of all members can be reached now.
    pub(crate) fn note(&self, all: impl Iterator<Item = MemberId>, here: &[MemberId], now: Timestamp) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for member in all {
            let is_here = here.contains(&member);
            match (seen.get(&member), is_here) {
                (Some(Presence::Here { .. }), true) | (Some(Presence::Away { .. }), false) => {}
                (_, true) => drop(seen.insert(member, Presence::Here { since: now })),
                (_, false) => drop(seen.insert(member, Presence::Away { since: now })),
            }
        }
    }

    /// What was seen of a member; one nobody looked for is away from now on.
    pub(crate) fn of(&self, member: MemberId, now: Timestamp) -> Presence {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.get(&member)
            .copied()
            .unwrap_or(Presence::Away { since: now })
    }
}
