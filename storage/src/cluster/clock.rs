//! The earliest that it may be now, by the clocks of all members that say what theirs is.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Timestamp;

/// By how much the clock that is furthest behind is behind the one here, as was heard last.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    behind_millis: AtomicU64,
}

impl Clock {
    /// Takes by how many milliseconds the clocks of others are ahead of the one here; of those that say nothing, nothing.
    pub(crate) fn hear(&self, ahead: impl IntoIterator<Item = i64>) {
        let least = ahead.into_iter().fold(0, i64::min);
        self.behind_millis.store(least.unsigned_abs(), Ordering::Relaxed);
    }

    /// The earliest that it may be now.
    pub(crate) fn earliest(&self) -> Timestamp {
        let behind = self.behind_millis.load(Ordering::Relaxed);
        Timestamp::from_millis(Timestamp::now().as_millis().saturating_sub(behind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 24 * 3600 * 1000;

    #[test]
    fn it_is_no_later_than_any_clock_says() {
        let clock = Clock::default();
        let year = YEAR.cast_signed();
        let behind = |clock: &Clock| Timestamp::now().as_millis() - clock.earliest().as_millis();
        assert!(behind(&clock) < 1000);
        clock.hear([7, -year, 2 * year]);
        assert!((YEAR..YEAR + 1000).contains(&behind(&clock)));
        // The one that was behind was put right, or has gone.
        clock.hear([2 * year]);
        assert!(behind(&clock) < 1000);
        clock.hear([i64::MIN]);
        assert_eq!(clock.earliest(), Timestamp::from_millis(0));
    }
}
