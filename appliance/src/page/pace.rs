//! How many requests a caller may send: so many at once, and then so many a second.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Source;

/// Requests at once: a page is five, and a person who clicks fast is not a flood.
const BURST: u32 = 120;

/// A request may follow another after this, in the long run: twenty a second.
const EACH: Duration = Duration::from_millis(50);

/// All devices of one IPv6 network of a home together, which take any address they like, may send as many as eight callers.
const NETWORK_SHARES: u32 = 8;

/// Callers remembered. Whoever has not asked for six seconds has all of its burst again, and is forgotten first.
const SOURCES_MAX: usize = 1024;

/// When each caller will have paid for what it asked.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    paid: HashMap<Source, Instant>,
}

impl Pace {
    /// Lets a request pass.
    ///
    /// # Errors
    /// How long to wait before the next.
    pub(crate) fn pass(&mut self, from: Source, now: Instant) -> Result<(), Duration> {
        let mut after = Vec::with_capacity(2);
        for (source, each) in limits(from) {
            let paid = self.paid.get(&source).copied().unwrap_or(now).max(now) + each;
            let (ahead, most) = (paid - now, EACH * BURST);
            if ahead > most {
                return Err(ahead - most);
            }
            after.push((source, paid));
        }
        if self.paid.len() >= SOURCES_MAX && !self.paid.contains_key(&from) {
            self.paid.retain(|_, paid| *paid > now);
            if self.paid.len() >= SOURCES_MAX {
                return Err(EACH * BURST);
            }
        }
        self.paid.extend(after);
        Ok(())
    }
}

/// Who pays for a request, and how much: the address, and the network that it was taken from.
fn limits(from: Source) -> impl Iterator<Item = (Source, Duration)> {
    let network = from.network().map(|network| (network, EACH / NETWORK_SHARES));
    std::iter::once((from, EACH)).chain(network)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(n: u32) -> Source {
        Source::of(std::net::Ipv4Addr::from(0x0a00_0000 + n).into())
    }

    #[test]
    fn a_burst_passes_and_what_follows_is_paced() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..BURST {
            pace.pass(source(1), now).unwrap();
        }
        assert_eq!(pace.pass(source(1), now), Err(EACH));
        assert_eq!(pace.pass(source(2), now), Ok(()));
        assert_eq!(pace.pass(source(1), now + EACH), Ok(()));
    }

    #[test]
    fn a_device_with_many_addresses_of_one_network_is_paced_with_all_of_them() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let device = |n: u16| Source::of(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n).into());
        let passed = (0..5000_u16).filter(|n| pace.pass(device(1 + n % 500), now).is_ok());
        assert_eq!(passed.count(), usize::try_from(NETWORK_SHARES * BURST).unwrap());
        assert_eq!(pace.pass(source(1), now), Ok(()));
    }

    #[test]
    fn who_paused_makes_room_for_new_callers() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let full = u32::try_from(SOURCES_MAX).unwrap();
        for n in 0..full {
            pace.pass(source(n), now).unwrap();
        }
        assert!(pace.pass(source(full), now).is_err());
        assert_eq!(pace.pass(source(full), now + EACH), Ok(()));
    }

    proptest! {
        #[test]
        fn nobody_passes_more_often_than_a_burst_and_the_pace(waits in prop::collection::vec(0_u64..80, 1..600)) {
            let (mut pace, start) = (Pace::default(), Instant::now());
            let (mut now, mut passed) = (start, 0_u128);
            for wait in waits {
                now += Duration::from_millis(wait);
                passed += u128::from(pace.pass(source(1), now).is_ok());
                prop_assert!(passed <= u128::from(BURST) + (now - start).as_millis() / EACH.as_millis());
            }
        }
    }
}
