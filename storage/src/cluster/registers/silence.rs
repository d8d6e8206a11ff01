//! Who did not answer lately: nothing that needs everybody is begun before they are heard of again, and an operation whose
//! holder is silent goes on without it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::MemberId;
use crate::register::Ballot;

/// After so long whoever did not answer is asked again, though nothing was heard of it: perhaps nobody asked.
const FORGIVEN_AFTER: Duration = Duration::from_secs(25 * 60);
/// So many answers may fail to come from a holder of whom other things are heard: they may be lost. One that never answers
/// an operation may be cut off from the quorum itself.
const LOST_MAX: u32 = 2;
/// Whoever answered so long ago at most is there.
const THERE_WITHIN: Duration = Duration::from_secs(2);

/// What was heard of members; at most as many as there are members.
#[derive(Default)]
pub(super) struct Silence(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// Members that did not answer when they were called last, and since when.
    silent: BTreeMap<MemberId, Instant>,
    /// When the last call began that each has answered, and when it did.
    answered: BTreeMap<MemberId, (Instant, Instant)>,
}

impl Silence {
    /// Notes what came of a call that began then.
    pub(super) fn note(&self, member: MemberId, began: Instant, has_answered: bool) {
        let mut heard = self.heard();
        match has_answered {
            true => {
                heard.silent.remove(&member);
                let (last, at) = heard.answered.entry(member).or_insert((began, began));
                (*last, *at) = ((*last).max(began), Instant::now());
            }
            false => drop(heard.silent.entry(member).or_insert_with(Instant::now)),
        }
    }

    /// Whether one of these did not answer lately.
    pub(super) fn is_among(&self, members: &[MemberId]) -> bool {
        let mut heard = self.heard();
        heard.silent.retain(|_, since| since.elapsed() < FORGIVEN_AFTER);
        members.iter().any(|member| heard.silent.contains_key(member))
    }

    /// Whether a member has answered, just now, something that it was asked since then: not what was under way already, to
    /// which whoever loses power may have answered before.
    pub(super) fn is_there_since(&self, member: MemberId, since: Instant) -> bool {
        let heard = self.heard();
        let answered = heard.answered.get(&member);
        answered.is_some_and(|(began, at)| *began >= since && at.elapsed() <= THERE_WITHIN)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom one operation waited for in vain.
///
/// A voter that gives a holder up takes over itself, and deposes it. Done for every answer that is lost, by several voters
/// with many operations each, that goes on for ever: so a holder that is heard of is asked once more, and one that has won
/// a ballot since is not the one that was given up.
#[derive(Default)]
pub(super) struct GivenUp(BTreeMap<(MemberId, Option<Ballot>), u32>);

impl GivenUp {
    /// Notes that a member, thought to hold this ballot, did not answer, though perhaps others. One that is thought to hold
    /// none is given up at once: whoever is asked next deposes nobody.
    pub(super) fn note(&mut self, (member, ballot): (MemberId, Option<Ballot>), is_there: bool) {
        let lost = self.0.entry((member, ballot)).or_default();
        *lost += if is_there && ballot.is_some() { 1 } else { LOST_MAX };
    }

    /// Whether to go on without this holder of a ballot.
    pub(super) fn has_holder(&self, member: MemberId, ballot: Ballot) -> bool {
        self.0.get(&(member, Some(ballot))) >= Some(&LOST_MAX)
    }

    /// Whether to ask others than this member, whatever it holds.
    pub(super) fn has(&self, member: MemberId) -> bool {
        let mut lost = self.0.iter().filter(|((other, _), _)| *other == member);
        lost.any(|(_, lost)| *lost >= LOST_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_given_up_that_is_silent_to_all_or_twice_to_an_operation_and_never_for_good() {
        let (holder, [first, second]) = (MemberId(1), [1, 2].map(Ballot::barrier));
        let mut given_up = GivenUp::default();
        given_up.note((holder, Some(first)), true);
        assert!(!given_up.has_holder(holder, first) && !given_up.has(holder));
        given_up.note((holder, Some(first)), true);
        assert!(given_up.has_holder(holder, first) && given_up.has(holder));
        assert!(!given_up.has_holder(holder, second));
        given_up.note((holder, Some(second)), false);
        assert!(given_up.has_holder(holder, second));
        given_up.note((MemberId(2), None), true);
        assert!(given_up.has(MemberId(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_just_answered_what_it_was_asked_since_is_there() {
        let (silence, member, start) = (Silence::default(), MemberId(1), Instant::now());
        assert!(!silence.is_there_since(member, start));
        silence.note(member, start, true);
        assert!(silence.is_there_since(member, start));
        tokio::time::advance(Duration::from_millis(1)).await;
        // An answer to what was asked before says nothing of now.
        let asked = Instant::now();
        silence.note(member, start, true);
        assert!(!silence.is_there_since(member, asked));
        silence.note(member, asked, true);
        assert!(silence.is_there_since(member, asked));
        tokio::time::advance(THERE_WITHIN * 2).await;
        assert!(!silence.is_there_since(member, asked));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_left_alone_until_it_is_heard_of_or_long_after() {
        let (silence, [here, away]) = (Silence::default(), [1, 2].map(MemberId));
        assert!(!silence.is_among(&[here, away]));
        silence.note(here, Instant::now(), true);
        silence.note(away, Instant::now(), false);
        assert!(silence.is_among(&[here, away]) && !silence.is_among(&[here]));
        tokio::time::advance(FORGIVEN_AFTER / 2).await;
        // Others ask it meanwhile, which does not make it silent for longer.
        silence.note(away, Instant::now(), false);
        tokio::time::advance(FORGIVEN_AFTER / 2).await;
        assert!(!silence.is_among(&[away]));
        silence.note(away, Instant::now(), false);
        silence.note(away, Instant::now(), true);
        assert!(!silence.is_among(&[away]));
    }
}
