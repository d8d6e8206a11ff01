//! Counts requests by operation and status, how long they took, and the bytes they carried.
//!
//! Everything is a fixed table of atomics: a request adds to six of them once, when the last piece of its response has been
//! handed over, and allocates nothing. The labels are those of the table, whatever clients send.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::route::Operation;

/// What a request is counted as whose operation was never known: its head or its signature was refused.
pub(crate) const UNKNOWN: &str = "Unknown";

/// What a visit to a website is counted as.
pub(crate) const WEBSITE: &str = "Website";

/// The statuses that are told apart, most frequent first; others are counted as the hundred they belong to.
const STATUSES: [u16; 20] = [
    200, 206, 204, 304, 404, 403, 412, 416, 400, 409, 503, 500, 501, 507, 411, 405, 301, 302, 303, 307,
];

/// Statuses below 200, 300, 400, 500, 600 and all above that are not among [`STATUSES`].
const OTHERS: usize = 6;

/// Upper bounds of the times that are told apart, in microseconds: from a read out of memory to a transfer over a bad link.
pub const BOUNDS_MICROS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 15_000_000, 60_000_000,
];

/// What was counted of one operation.
#[derive(Default)]
struct Row {
    statuses: [AtomicU64; STATUSES.len() + OTHERS],
    /// Not yet summed up; the last is whatever took longer than all bounds.
    took: [AtomicU64; BOUNDS_MICROS.len() + 1],
    micros: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
}

/// The counters of a server, from its start.
pub struct Meter {
    /// By what they count, in order.
    rows: Vec<(&'static str, Row)>,
}

/// A request that is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) operation: &'static str,
    pub(crate) status: StatusCode,
    pub(crate) took: Duration,
    /// Bytes of its body that were read.
    pub(crate) received: u64,
    /// Bytes of the response's body that were handed over.
    pub(crate) sent: u64,
}

/// What was counted of one operation that was ever asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Its name in S3; `Website` for a page, `Unknown` for what was refused before it was known.
    pub operation: &'static str,
    /// Requests by status, those alone that happened. What is not told apart is counted as e.g. 499 or 599.
    pub statuses: Vec<(u16, u64)>,
    /// Requests that took at most as long as the bound of [`BOUNDS_MICROS`] at this place.
    pub within: Vec<u64>,
    /// Requests.
    pub requests: u64,
    /// How long all took together, in microseconds.
    pub micros: u64,
    /// Bytes of all their bodies.
    pub received: u64,
    /// Bytes of the bodies of all responses.
    pub sent: u64,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Meter({} operations)", self.rows.len())
    }
}

impl Default for Meter {
    fn default() -> Self {
        let mut labels = Operation::names();
        labels.extend([UNKNOWN, WEBSITE]);
        labels.sort_unstable();
        Self {
            rows: labels.into_iter().map(|label| (label, Row::default())).collect(),
        }
    }
}

impl Meter {
    /// Adds a request that is over.
    pub(crate) fn count(&self, done: &Done) {
        let place = self
            .rows
            .binary_search_by_key(&done.operation, |(label, _)| label);
        debug_assert!(place.is_ok(), "{} is no name of an operation", done.operation);
        let Some((_, row)) = place.ok().and_then(|place| self.rows.get(place)) else {
            return;
        };
        let micros = u64::try_from(done.took.as_micros()).unwrap_or(u64::MAX);
        let slot = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        // Each place is within its table; asking is cheaper than a proof by hand.
        for (table, slot) in [(&row.statuses[..], place_of(done.status)), (&row.took[..], slot)] {
            if let Some(counter) = table.get(slot) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        row.micros.fetch_add(micros, Ordering::Relaxed);
        row.received.fetch_add(done.received, Ordering::Relaxed);
        row.sent.fetch_add(done.sent, Ordering::Relaxed);
    }

    /// What was counted, by operation in the order of names; without those that nobody asked for. Requests that end
    /// meanwhile may be in some of the numbers and not yet in others.
    pub fn counted(&self) -> Vec<Counted> {
        let rows = self.rows.iter();
        rows.filter_map(|(operation, row)| row.counted(operation))
            .collect()
    }
}

impl Row {
    fn counted(&self, operation: &'static str) -> Option<Counted> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut requests = 0;
        let mut within: Vec<u64> = Vec::with_capacity(self.took.len());
        for counter in &self.took {
            requests += load(counter);
            within.push(requests);
        }
        within.pop();
        let mut statuses: Vec<_> = self
            .statuses
            .iter()
            .enumerate()
            .map(|(place, counter)| (status_at(place), load(counter)))
            .filter(|(_, count)| *count > 0)
            .collect();
        statuses.sort_unstable();
        (requests > 0).then(|| Counted {
            operation,
            statuses,
            within,
            requests,
            micros: load(&self.micros),
            received: load(&self.received),
            sent: load(&self.sent),
        })
    }
}

/// Where a status is counted.
fn place_of(status: StatusCode) -> usize {
    let code = status.as_u16();
    let known = STATUSES.iter().position(|known| *known == code);
    known.unwrap_or_else(|| STATUSES.len() + usize::from(code / 100).saturating_sub(1).min(OTHERS - 1))
}

/// The status that is counted there; the last of a hundred stands for those of it that are not told apart.
fn status_at(place: usize) -> u16 {
    let other = u16::try_from(place.saturating_sub(STATUSES.len())).unwrap_or(0);
    STATUSES.get(place).copied().unwrap_or(other * 100 + 199)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(operation: &'static str, status: u16, micros: u64) -> Done {
        Done {
            operation,
            status: StatusCode::from_u16(status).unwrap(),
            took: Duration::from_micros(micros),
            received: 3,
            sent: 5,
        }
    }

    #[test]
    fn requests_are_counted_by_operation_status_and_time() {
        let meter = Meter::default();
        assert_eq!(meter.counted(), []);
        for (status, micros) in [(200, 500), (200, 501), (404, 10), (418, 999_999_999)] {
            meter.count(&done("GetObject", status, micros));
        }
        meter.count(&done(UNKNOWN, 403, 1));
        let counted = meter.counted();
        let [get, unknown] = &counted[..] else {
            panic!("{counted:?}")
        };
        assert_eq!((get.operation, get.requests), ("GetObject", 4));
        assert_eq!(get.statuses, [(200, 2), (404, 1), (499, 1)]);
        assert_eq!(get.within[..3], [2, 3, 3]);
        assert_eq!(get.within.last(), Some(&3));
        assert_eq!((get.received, get.sent), (12, 20));
        assert_eq!(get.micros, 500 + 501 + 10 + 999_999_999);
        assert_eq!((unknown.operation, unknown.statuses.len()), (UNKNOWN, 1));
    }

    #[test]
    fn every_status_has_one_place() {
        for code in 100..1000 {
            let place = place_of(StatusCode::from_u16(code).unwrap());
            assert!(place < STATUSES.len() + OTHERS, "{code}");
            let shown = status_at(place);
            assert!(
                shown == code || shown == (code / 100).min(6) * 100 + 99,
                "{code} {shown}"
            );
        }
    }
}
