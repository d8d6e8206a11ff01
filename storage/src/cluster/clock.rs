//! The earliest that it may be now, by the clocks of all members.
//!
//! What each clock said when it was heard last goes on by a clock that nobody sets: so a clock that jumps ahead, the one
//! here too, is not believed before all others are asked again. Until anybody was heard, a member of a mesh knows nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::model::{MemberId, Timestamp};

/// What the clocks of all members say.
#[derive(Debug)]
pub(crate) struct Clock {
    began: Instant,
    /// What each clock would have said when this began, in milliseconds since 1970.
    heard: Mutex<BTreeMap<MemberId, i64>>,
    /// The least of them.
    least: AtomicI64,
}

/// No clock but the one here is known, and there may be others.
const UNKNOWN: i64 = i64::MIN;
/// No other clock matters.
const ALONE: i64 = i64::MAX;

impl Clock {
    /// That of a member that has heard nobody yet. One that is alone hears nobody of nobody.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            heard: Mutex::default(),
            least: AtomicI64::new(UNKNOWN),
        }
    }

    /// Takes what clocks said just now; those of who says nothing go on, those of who is no member are forgotten. The one
    /// here is one of them.
    pub(crate) fn hear(&self, members: &[MemberId], said: impl IntoIterator<Item = (MemberId, Timestamp)>) {
        let since = self.elapsed();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.retain(|member, _| members.contains(member));
        heard.extend(
            said.into_iter()
                .map(|(member, said)| (member, millis(said).saturating_sub(since))),
        );
        let least = match heard.values().min() {
            Some(least) => (*least).min(millis(Timestamp::now()).saturating_sub(since)),
            None if members.is_empty() => ALONE,
            None => UNKNOWN,
        };
        self.least.store(least, Ordering::Relaxed);
    }

    /// The earliest that it may be now; the beginning of time where that is not known.
    pub(crate) fn earliest(&self) -> Timestamp {
        self.earliest_when(Timestamp::now())
    }

    /// Whether anybody was heard, or there is nobody else.
    pub(crate) fn is_known(&self) -> bool {
        self.least.load(Ordering::Relaxed) != UNKNOWN
    }

    fn earliest_when(&self, now: Timestamp) -> Timestamp {
        let least = self.least.load(Ordering::Relaxed).saturating_add(self.elapsed());
        let least = Timestamp::from_millis(u64::try_from(least).unwrap_or(0));
        least.min(now)
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 24 * 3600 * 1000;
    const BEN: MemberId = MemberId(2);
    const CLEO: MemberId = MemberId(3);

    fn later(millis: u64) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().as_millis() + millis)
    }

    fn earlier(millis: u64) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().as_millis() - millis)
    }

    /// By how much it is behind the clock here, in seconds.
    fn behind(clock: &Clock) -> u64 {
        (Timestamp::now().as_millis() - clock.earliest().as_millis()) / 1000
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_no_later_than_any_clock_says() {
        let clock = Clock::new();
        clock.hear(&[], []);
        assert_eq!(behind(&clock), 0);
        let both = [BEN, CLEO];
        clock.hear(&both, [(BEN, later(2 * YEAR)), (CLEO, earlier(YEAR))]);
        assert_eq!(behind(&clock), YEAR / 1000);
        // Who says nothing for a while has no other clock for that.
        clock.hear(&both, [(BEN, later(YEAR))]);
        assert_eq!(behind(&clock), YEAR / 1000);
        clock.hear(&both, [(CLEO, later(7))]);
        assert_eq!(behind(&clock), 0);
        clock.hear(&both, [(CLEO, earlier(YEAR))]);
        clock.hear(&[BEN], []);
        assert_eq!(behind(&clock), 0);
    }

    #[tokio::test]
    async fn who_has_heard_nobody_knows_nothing() {
        let clock = Clock::new();
        assert_eq!(clock.earliest(), Timestamp::from_millis(0));
        clock.hear(&[BEN], []);
        assert_eq!(clock.earliest(), Timestamp::from_millis(0));
        clock.hear(&[BEN], [(BEN, later(0))]);
        assert_eq!(behind(&clock), 0);
        // Nobody is left.
        clock.hear(&[], []);
        assert_eq!(behind(&clock), 0);
    }

    #[tokio::test]
    async fn a_clock_that_jumps_ahead_is_not_believed_before_all_are_asked() {
        let clock = Clock::new();
        clock.hear(&[BEN], [(BEN, later(0))]);
        let jumped = clock.earliest_when(later(YEAR));
        assert!(jumped < later(1000) && jumped > earlier(1000));
        let alone = Clock::new();
        alone.hear(&[], []);
        assert!(alone.earliest_when(later(YEAR)) > later(YEAR - 1000));
    }
}
