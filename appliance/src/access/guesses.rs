//! Counts wrong guesses of codes and passwords, and says who has to wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::page::Source;

/// Guesses of one address until it has to wait.
const TRIES: u32 = 5;

/// How long it waits, counted from its last guess.
const WAIT: Duration = Duration::from_secs(15 * 60);

/// Wrong passwords of everybody together in [`ALL_WAIT`]: far more than a family mistypes. Then only a code of
/// `warren login-code` lets anybody in, so that whoever guesses cannot lock the owner out.
const ALL_TRIES: u32 = 100;

/// See [`ALL_TRIES`].
const ALL_WAIT: Duration = Duration::from_secs(60 * 60);

/// Addresses remembered. When there are more, the one is forgotten that guessed longest ago.
const SOURCES_MAX: usize = 1024;

/// What is guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// The one-time code, which counts its own wrong answers too.
    Code,
    /// The password.
    Password,
}

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
    pub(super) fn charge(&mut self, guess: Guess, from: Source, now: Instant) -> Result<(), Duration> {
        let mine = self
            .by_source
            .get(&from)
            .copied()
            .unwrap_or_default()
            .at(now, WAIT);
        let all = self.all.at(now, ALL_WAIT);
        let left = |count: Count, wait| count.last.map_or(wait, |last| (last + wait) - now);
        if mine.guesses >= TRIES {
            return Err(left(mine, WAIT));
        }
        if guess == Guess::Password {
            if all.guesses >= ALL_TRIES {
                return Err(left(all, ALL_WAIT));
            }
            self.all = one_more(all, now);
        }
        if self.by_source.len() >= SOURCES_MAX && !self.by_source.contains_key(&from) {
            let oldest = self.by_source.iter().min_by_key(|(_, count)| count.last);
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.by_source.remove(&oldest);
            }
        }
        self.by_source.insert(from, one_more(mine, now));
        Ok(())
    }

    /// Forgives what this address guessed: the last guess was right.
    pub(super) fn right(&mut self, guess: Guess, from: Source) {
        self.by_source.remove(&from);
        if guess == Guess::Password {
            self.all.guesses = self.all.guesses.saturating_sub(1);
        }
    }
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
            guesses.charge(Guess::Password, source(1), now).unwrap();
        }
        assert_eq!(guesses.charge(Guess::Code, source(1), now), Err(WAIT));
        assert_eq!(guesses.charge(Guess::Password, source(2), now), Ok(()));
        assert_eq!(guesses.charge(Guess::Password, source(1), now + WAIT), Ok(()));
    }

    #[test]
    fn a_right_guess_forgives_the_wrong_ones() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for _ in 0..3 * TRIES {
            guesses.charge(Guess::Password, source(1), now).unwrap();
            guesses.right(Guess::Password, source(1));
        }
    }

    #[test]
    fn many_addresses_together_close_passwords_and_leave_codes_open() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..u8::try_from(ALL_TRIES).unwrap() {
            guesses.charge(Guess::Password, source(n), now).unwrap();
        }
        assert_eq!(guesses.charge(Guess::Password, source(200), now), Err(ALL_WAIT));
        assert_eq!(guesses.charge(Guess::Code, source(200), now), Ok(()));
    }

    #[test]
    fn no_more_addresses_are_remembered_than_there_is_room_for() {
        let (mut guesses, now) = (Guesses::default(), Instant::now());
        for n in 0..2000_u32 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + n);
            let _ = guesses.charge(Guess::Code, Source::of(address.into()), now);
        }
        assert_eq!(guesses.by_source.len(), SOURCES_MAX);
    }
}
