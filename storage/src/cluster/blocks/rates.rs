//! How fast blocks are brought to each member, for whoever asks how long it takes.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::MemberId;

/// Over so long a rate is measured.
const WINDOW: Duration = Duration::from_secs(60);
/// A rate that was measured longer ago says nothing.
const STALE: Duration = Duration::from_secs(300);

/// Bytes brought to members lately.
#[derive(Default)]
pub(super) struct Rates(BTreeMap<MemberId, Rate>);

struct Rate {
    began: Instant,
    last: Instant,
    bytes: u64,
    /// Bytes a second in the window before.
    before: Option<u64>,
}

impl Rates {
    /// Notes that so many bytes have reached a member.
    pub(super) fn note(&mut self, member: MemberId, bytes: u64, now: Instant) {
        let rate = self.0.entry(member).or_insert(Rate {
            began: now,
            last: now,
            bytes: 0,
            before: None,
        });
        if now - rate.last > STALE {
            (rate.began, rate.bytes, rate.before) = (now, 0, None);
        } else if now - rate.began >= WINDOW {
            (rate.before, rate.began, rate.bytes) = (Some(rate.per_second(now)), now, 0);
        }
        rate.last = now;
        rate.bytes = rate.bytes.saturating_add(bytes);
    }

    /// Bytes a second to each member, where something was brought there of late.
    pub(super) fn all(&self, now: Instant) -> BTreeMap<MemberId, u64> {
        let fresh = self.0.iter().filter(|(_, rate)| now - rate.last <= STALE);
        let rates =
            fresh.map(|(member, rate)| (*member, rate.before.unwrap_or_else(|| rate.per_second(now))));
        rates.filter(|(_, rate)| *rate > 0).collect()
    }
}

impl Rate {
    fn per_second(&self, now: Instant) -> u64 {
        let millis = (now - self.began).as_millis().max(1000);
        u64::try_from(u128::from(self.bytes) * 1000 / millis).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute_and_is_forgotten_when_nothing_moves() {
        let (mut rates, ben, began) = (Rates::default(), MemberId(2), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        for second in 0..60 {
            rates.note(ben, 1000, at(second));
        }
        assert_eq!(rates.all(at(60)), [(ben, 1000)].into());
        for second in 60..130 {
            rates.note(ben, 5000, at(second));
        }
        assert_eq!(rates.all(at(130)), [(ben, 5000)].into());
        assert_eq!(rates.all(at(1000)), [].into());
    }
}
