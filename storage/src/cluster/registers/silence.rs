//! Who did not answer lately: nothing that needs everybody is begun before they are heard of again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::MemberId;

/// After so long whoever did not answer is asked again, though nothing was heard of it: perhaps nobody asked.
const FORGIVEN_AFTER: Duration = Duration::from_secs(25 * 60);

/// Members that did not answer when they were called last, and since when; at most as many as there are members.
#[derive(Default)]
pub(super) struct Silence(Mutex<BTreeMap<MemberId, Instant>>);

impl Silence {
    /// Notes what came of a call.
    pub(super) fn note(&self, member: MemberId, has_answered: bool) {
        match has_answered {
            true => drop(self.members().remove(&member)),
            false => drop(self.members().entry(member).or_insert_with(Instant::now)),
        }
    }

    /// Whether one of these did not answer lately.
    pub(super) fn is_among(&self, members: &[MemberId]) -> bool {
        let mut silent = self.members();
        silent.retain(|_, since| since.elapsed() < FORGIVEN_AFTER);
        members.iter().any(|member| silent.contains_key(member))
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<MemberId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_left_alone_until_it_is_heard_of_or_long_after() {
        let (silence, [here, away]) = (Silence::default(), [1, 2].map(MemberId));
        assert!(!silence.is_among(&[here, away]));
        silence.note(here, true);
        silence.note(away, false);
        assert!(silence.is_among(&[here, away]) && !silence.is_among(&[here]));
        tokio::time::advance(FORGIVEN_AFTER / 2).await;
        // Others ask it meanwhile, which does not make it silent for longer.
        silence.note(away, false);
        tokio::time::advance(FORGIVEN_AFTER / 2).await;
        assert!(!silence.is_among(&[away]));
        silence.note(away, false);
        silence.note(away, true);
        assert!(!silence.is_among(&[away]));
    }
}
