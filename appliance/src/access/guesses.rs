//! Counts wrong guesses of the password, and says who has to wait. Codes are too long to guess, so the owner always has a way in.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::page::Source;

/// Guesses of one address until it has to wait.
const TRIES: u32 = 5;

/// Guesses of one IPv6 network until it has to wait, since its devices take any address they like: as many as of eight.
const NETWORK_TRIES: u32 = 8 * TRIES;

/// How long it waits, counted from its last guess.
const WAIT: Duration = Duration::from_secs(15 * 60);

/// Wrong passwords of everybody together in [`ALL_WAIT`]: far more than a family mistypes. Then only a code of
/// `warren login-code` lets anybody in, which nobody can take from the owner.
const ALL_TRIES: u32 = 100;

/// See [`ALL_TRIES`].
const ALL_WAIT: Duration = Duration::from_secs(60 * 60);

/// Addresses remembered. When there are more, the one is forgotten that guessed longest ago.
const SOURCES_MAX: usize = 1024;

/// Who guessed how often.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    by_source: HashMap<Source, Count>,
    all: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    guesses: u32,
    last: Option<Instant>,
}

impl Count {
    /// As it is now: nothing once `wait` has passed.
    fn at(self, now: Instant, wait: Duration) -> Self {
        match self.last {
            Some(last) if now < last + wait => self,
            _ => Self::default(),
        }
    }
}

impl Guesses {
    /// Counts a guess before it is looked at, so that many at once are no more than many one after another.
    ///
    /// # Errors
    /// How long to wait: it is not looked at.
    pub(super) fn charge(&mut self, from: Source, now: Instant) -> Result<(), Duration> {
        let left = |count: Count, wait| count.last.map_or(wait, |last| (last + wait) - now);
        let all = self.all.at(now, ALL_WAIT);
        for (source, tries) in limits(from) {
            let count = self.count(source, now);
            if count.guesses >= tries {
                return Err(left(count, WAIT));
            }
        }
        if all.guesses >= ALL_TRIES {
            return Err(left(all, ALL_WAIT));
        }
        self.all = one_more(all, now);
        for (source, _) in limits(from) {
            let count = self.count(source, now);
            self.remember(source, one_more(count, now));
        }
        Ok(())
    }

    fn count(&self, source: Source, now: Instant) -> Count {
        self.by_source
            .get(&source)
            .copied()
            .unwrap_or_default()
            .at(now, WAIT)
    }

    fn remember(&mut self, source: Source, count: Count) {
        if self.by_source.len() >= SOURCES_MAX && !self.by_source.contains_key(&source) {
            let oldest = self.by_source.iter().min_by_key(|(_, count)| count.last);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.by_source.remove(&oldest);
            }
        }
        self.by_source.insert(source, count);
    }

    /// Forgives what this address guessed: the last guess was right.
    pub(super) fn right(&mut self, from: Source) {
        self.by_source.remove(&from);
        self.all.guesses = self.all.guesses.saturating_sub(1);
        let network = from
            .network()
            .and_then(|network| self.by_source.get_mut(&network));
        if let Some(network) = network {
            network.guesses = network.guesses.saturating_sub(1);
        }
    }
}

/// Who is counted for a guess, and how many it may make: the address, and the network that it was taken from.
fn limits(from: Source) -> impl Iterator<Item = (Source, u32)> {
    let network = from.network().map(|network| (network, NETWORK_TRIES));
    std::iter::once((from, TRIES)).chain(network)
}

fn one_more(count: Count, now: Instant) -> Count {
    Count {
        guesses: count.guesses + 1,
        last: Some(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u8) -> Source {
        Source::of([192, 168, 1, n].into())
    }

    #[test]
    fn the_sixth_guess_of_an_address_waits_and_others_do_not() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..TRIES {
            guesses.charge(source(1), now).unwrap();
        }
        assert_eq!(guesses.charge(source(1), now), Err(WAIT));
        assert_eq!(guesses.charge(source(2), now), Ok(()));
        assert_eq!(guesses.charge(source(1), now + WAIT), Ok(()));
    }

    #[test]
    fn a_right_guess_forgives_the_wrong_ones() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..3 * TRIES {
            guesses.charge(source(1), now).unwrap();
            guesses.right(source(1));
        }
    }

    #[test]
    fn many_addresses_together_close_passwords_for_an_hour() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..u8::try_from(ALL_TRIES).unwrap() {
            guesses.charge(source(n), now).unwrap();
        }
        assert_eq!(guesses.charge(source(200), now), Err(ALL_WAIT));
        assert_eq!(guesses.charge(source(200), now + ALL_WAIT), Ok(()));
    }

    #[test]
    fn a_device_with_many_addresses_of_one_network_waits_with_all_of_them() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        let device = |n: u16| Source::of(std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n).into());
        for n in 1..=NETWORK_TRIES {
            guesses.charge(device(u16::try_from(n).unwrap()), now).unwrap();
        }
        assert_eq!(guesses.charge(device(9999), now), Err(WAIT));
        assert_eq!(guesses.charge(source(1), now), Ok(()));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..2000_u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + n);
            // Slowly enough that all together are not made to wait.
            let later = now + ALL_WAIT * (n / ALL_TRIES);
            let _ = guesses.charge(Source::of(address.into()), later);
        }
        assert_eq!(guesses.by_source.len(), SOURCES_MAX);
    }
}
