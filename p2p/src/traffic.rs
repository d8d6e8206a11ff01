//! Counts the bytes exchanged with a peer, and how fast content flows while it does.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::locked::locked;

/// A body shorter than this, in bytes, tells nothing of how fast a line is.
const CONTENT_MIN: usize = 64 << 10;
/// What must have flowed, in bytes, before a speed is believed: less fits into buffers on the way.
const ENOUGH_BYTES: u64 = 256 << 10;
/// How long it must have flowed as well, unless it was much.
const ENOUGH_TIME: Duration = Duration::from_millis(50);
const MUCH_BYTES: u64 = 4 << 20;
/// Weight of the newest measurement, in tenths.
const WEIGHT: u64 = 3;

/// Bytes that went to and came from a peer in calls and blocks, since this node started, and the speeds of content.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
    out: Meter,
    into: Meter,
}

impl Traffic {
    pub(crate) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes sent and received.
    pub(crate) fn totals(&self) -> (u64, u64) {
        (
            self.sent.load(Ordering::Relaxed),
            self.received.load(Ordering::Relaxed),
        )
    }

    /// A body of so many bytes is being sent until what this gives is dropped.
    pub(crate) fn sending(&self, bytes: usize) -> Flow<'_> {
        self.out.begin(bytes)
    }

    /// A body of so many bytes is being received until what this gives is dropped.
    pub(crate) fn receiving(&self, bytes: usize) -> Flow<'_> {
        self.into.begin(bytes)
    }

    /// Looks at what flowed since the last look.
    pub(crate) fn measure(&self, now: Instant) {
        for meter in [&self.out, &self.into] {
            locked(&meter.0).measure(now);
        }
    }

    /// Bytes per second of content sent and received, while some flowed; none before enough has.
    pub(crate) fn speeds(&self) -> (Option<u64>, Option<u64>) {
        (locked(&self.out.0).speed, locked(&self.into.0).speed)
    }
}

#[derive(Debug, Default)]
struct Meter(Mutex<Metered>);

/// What flowed one way since it was measured last. Bodies that flow at once share the line, so their times count once.
#[derive(Debug, Default)]
struct Metered {
    under_way: usize,
    /// Up to when the time is counted; says something while bodies are under way only.
    counted: Option<Instant>,
    busy: Duration,
    bytes: u64,
    speed: Option<u64>,
}

impl Metered {
    fn count_time(&mut self, now: Instant) {
        if let Some(counted) = self.counted.filter(|_| self.under_way > 0) {
            self.busy += now.saturating_duration_since(counted);
        }
        self.counted = Some(now);
    }

    fn measure(&mut self, now: Instant) {
        self.count_time(now);
        let is_enough = self.busy >= ENOUGH_TIME || self.bytes >= MUCH_BYTES;
        if self.bytes < ENOUGH_BYTES || !is_enough {
            return;
        }
        let new = u128::from(self.bytes) * 1_000_000 / self.busy.as_micros().max(1);
        let new = u64::try_from(new).unwrap_or(u64::MAX);
        let mixed = |old: u64| old / 10 * (10 - WEIGHT) + new / 10 * WEIGHT;
        self.speed = Some(self.speed.map_or(new, mixed));
        (self.busy, self.bytes) = (Duration::ZERO, 0);
    }
}

impl Meter {
    fn begin(&self, bytes: usize) -> Flow<'_> {
        let meter = (bytes >= CONTENT_MIN).then_some(self);
        if let Some(meter) = meter {
            let mut metered = locked(&meter.0);
            metered.count_time(Instant::now());
            metered.under_way += 1;
        }
        Flow { meter }
    }
}

/// A body on its way.
pub(crate) struct Flow<'a> {
    /// None for one that is not measured.
    meter: Option<&'a Meter>,
}

impl Flow<'_> {
    pub(crate) fn count(&self, bytes: usize) {
        if let Some(meter) = self.meter {
            locked(&meter.0).bytes += bytes as u64;
        }
    }
}

impl Drop for Flow<'_> {
    fn drop(&mut self) {
        if let Some(meter) = self.meter {
            let mut metered = locked(&meter.0);
            metered.count_time(Instant::now());
            metered.under_way = metered.under_way.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_speed_counts_only_the_time_in_which_something_flowed() {
        let (mut metered, start) = (Metered::default(), Instant::now());
        metered.count_time(start);
        metered.under_way = 1;
        metered.bytes = 1 << 20;
        metered.count_time(start + 500 * MS);
        metered.under_way = 0;
        // It rests for a long while.
        metered.measure(start + 100_000 * MS);
        assert_eq!(metered.speed, Some(2 << 20));
        metered.measure(start + 200_000 * MS);
        assert_eq!(metered.speed, Some(2 << 20));
    }

    #[test]
    fn what_flows_at_once_shares_the_time() {
        let (mut metered, start) = (Metered::default(), Instant::now());
        for (at, under_way) in [(0, 1), (100, 2), (200, 1), (400, 0)] {
            metered.count_time(start + at * MS);
            metered.under_way = under_way;
        }
        assert_eq!(metered.busy, 400 * MS);
    }

    #[test]
    fn little_tells_nothing() {
        let (mut metered, start) = (Metered::default(), Instant::now());
        metered.count_time(start);
        metered.under_way = 1;
        metered.bytes = ENOUGH_BYTES - 1;
        metered.measure(start + 100 * MS);
        assert_eq!(metered.speed, None);
        metered.bytes += 1;
        metered.measure(start + 200 * MS);
        assert!(metered.speed.is_some());
        let traffic = Traffic::default();
        drop(traffic.sending(CONTENT_MIN - 1));
        assert_eq!(traffic.speeds(), (None, None));
    }
}
