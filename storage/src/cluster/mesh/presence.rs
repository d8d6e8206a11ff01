//! Since when members are here or away, as far as this member saw since it started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::model::{MemberId, Timestamp};
use crate::placement::Presence;

/// What this member saw of the others. Counted by a clock that nobody sets: whoever has it put right by a day neither gives
/// up on friends who were away for a minute, nor makes newcomers wait.
#[derive(Default)]
pub(crate) struct Presences(Mutex<BTreeMap<MemberId, Seen>>);

#[derive(Clone, Copy)]
struct Seen {
    is_here: bool,
    since: Instant,
}

impl Presences {
    /// Notes who of all members can be reached now.
    pub(crate) fn note(&self, all: impl Iterator<Item = MemberId>, here: &[MemberId]) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = Instant::now();
        for member in all {
            let is_here = here.contains(&member);
            if seen.get(&member).is_none_or(|known| known.is_here != is_here) {
                seen.insert(member, Seen { is_here, since });
            }
        }
    }

    /// What was seen of a member, for whom `now` is now; one nobody looked for is away from now on.
    pub(crate) fn of(&self, member: MemberId, now: Timestamp) -> Presence {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = seen.get(&member) else {
            return Presence::Away { since: now };
        };
        let elapsed = u64::try_from(seen.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(elapsed));
        if seen.is_here {
            Presence::Here { since }
        } else {
            Presence::Away { since }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_put_right_by_a_day_makes_nobody_seem_long_away_or_just_come() {
        let presences = Presences::default();
        let (anna, ben) = (MemberId(1), MemberId(2));
        presences.note([anna, ben].into_iter(), &[anna]);
        tokio::time::sleep(Duration::from_secs(60)).await;
        presences.note([anna, ben].into_iter(), &[anna]);
        let day = 24 * 3600 * 1000;
        for now in [day, 2 * day, 3 * day] {
            let since = Timestamp::from_millis(now - 60_000);
            let now = Timestamp::from_millis(now);
            assert_eq!(presences.of(anna, now), Presence::Here { since });
            assert_eq!(presences.of(ben, now), Presence::Away { since });
        }
        presences.note([anna, ben].into_iter(), &[ben]);
        let since = Timestamp::from_millis(day);
        assert_eq!(presences.of(anna, since), Presence::Away { since });
    }
}
