//! Limits how many bytes per second flow, without ever letting a pause be made up for by a flood.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::locked::locked;

/// What may flow at once after a pause, in seconds of the rate.
const BURST_SECONDS: f64 = 0.25;

/// Bytes per second, and what was spent of them. Pure: time is given.
#[derive(Debug)]
struct Budget {
    /// None means no limit.
    bytes_per_s: Option<u64>,
    /// When what was spent so far will have been earned.
    paid_at: Instant,
}

impl Budget {
    /// Spends, and says how long to wait before the bytes may flow.
    fn spend(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(rate) = self.bytes_per_s else {
            return Duration::ZERO;
        };
        let burst = Duration::from_secs_f64(BURST_SECONDS);
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        self.paid_at = self.paid_at.max(earliest) + cost;
        self.paid_at.saturating_duration_since(now)
    }
}

/// A limit that many tasks share.
#[derive(Debug)]
pub(crate) struct Pace {
    budget: Mutex<Budget>,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: Option<u64>) -> Self {
        let paid_at = Instant::now();
        Self {
            budget: Mutex::new(Budget { bytes_per_s, paid_at }),
        }
    }

    /// Bytes per second; none means no limit.
    pub(crate) fn limit(&self) -> Option<u64> {
        locked(&self.budget).bytes_per_s
    }

    /// Changes the limit for what flows from now on.
    pub(crate) fn set(&self, bytes_per_s: Option<u64>) {
        let mut budget = locked(&self.budget);
        budget.bytes_per_s = bytes_per_s;
        budget.paid_at = Instant::now();
    }

    /// Waits until this many bytes may flow.
    pub(crate) async fn spend(&self, bytes: usize) {
        let wait = {
            let mut budget = locked(&self.budget);
            budget.spend(bytes, Instant::now())
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn budget(bytes_per_s: Option<u64>, now: Instant) -> Budget {
        Budget {
            bytes_per_s,
            paid_at: now,
        }
    }

    #[test]
    fn no_limit_never_waits() {
        let now = Instant::now();
        assert_eq!(budget(None, now).spend(1 << 40, now), Duration::ZERO);
    }

    #[test]
    fn a_long_pause_earns_no_flood() {
        let start = Instant::now();
        let mut budget = budget(Some(1000), start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(budget.spend(250, later), Duration::ZERO);
        assert_eq!(budget.spend(1000, later), Duration::from_secs(1));
    }

    #[test]
    fn who_has_much_to_send_waits_behind_who_asked_meanwhile() {
        let start = Instant::now();
        let mut budget = budget(Some(1000), start);
        let large = budget.spend(1000, start);
        let small = budget.spend(500, start);
        // The next piece of the large one comes after the small one, however long it is.
        let next = large + budget.spend(1000, start + large);
        assert!(large < small && small < next, "{large:?} {small:?} {next:?}");
    }

    proptest! {
        #[test]
        fn over_any_stretch_no_more_flows_than_the_rate_and_one_burst(
            rate in 1000_u64..1_000_000,
            pieces in proptest::collection::vec((1_usize..10_000, 0_u64..50), 1..50),
        ) {
            let start = Instant::now();
            let (mut budget, mut now, mut sent) = (budget(Some(rate), start), start, 0);
            for (bytes, idle_ms) in pieces {
                now += Duration::from_millis(idle_ms);
                now += budget.spend(bytes, now);
                sent += bytes;
                let allowed = rate as f64 * ((now - start).as_secs_f64() + BURST_SECONDS);
                prop_assert!(sent as f64 <= allowed + 1.0, "{sent} > {allowed}");
            }
        }
    }
}
