//! Since when the tombstones of one partition have been here, as far as this member looked.
//!
//! Remembering that of each would take as much as there are. Two stamps do: later proposals have greater ones, so whatever
//! stands up to the greatest that was met was made before. Who comes late, by teaching, counts as old: whoever made it did so
//! before others that were met.

use std::time::Duration;

use tokio::time::Instant;

use crate::register::Stamp;

/// A look at tombstones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// When it began, by the clock that no one sets.
    pub(crate) at: Instant,
    /// Tombstones that were met so long before may go.
    pub(crate) age: Duration,
}

/// What is remembered of the looks at one partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// All up to here were made long ago.
    ripe: Stamp,
    /// All up to here were made before this look.
    ripening: Option<(Stamp, Instant)>,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            ripe: Stamp::ZERO,
            ripening: None,
        }
    }
}

impl Ages {
    /// Notes the newest of the tombstones that a look meets; up to which they are old enough.
    pub(super) fn note(&mut self, newest: Stamp, look: Look) -> Stamp {
        self.ripen(look);
        match &mut self.ripening {
            // It is met piece by piece.
            Some((stamp, since)) if *since == look.at => *stamp = newest.max(*stamp),
            Some(_) => {}
            None if newest > self.ripe => self.ripening = Some((newest, look.at)),
            None => {}
        }
        self.ripen(look);
        self.ripe
    }

    fn ripen(&mut self, look: Look) {
        let is_over = |(_, since): &mut (Stamp, Instant)| look.at.duration_since(*since) >= look.age;
        if let Some((stamp, _)) = self.ripening.take_if(is_over) {
            self.ripe = stamp.max(self.ripe);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::register::Ballot;

    const AGE: u64 = 10;

    fn stamp(seq: u32) -> Stamp {
        let ballot = Ballot::barrier(1);
        Stamp { ballot, seq }
    }

    proptest! {
        /// Looks one after another, at tombstones of which some were made since the last.
        #[test]
        fn none_goes_before_its_time_and_all_go_within_twice_that(
            looks in proptest::collection::vec((1_u64..8, 0_u32..3), 1..60),
        ) {
            let began = Instant::now();
            let (mut ages, mut now, mut made) = (Ages::default(), 0, 1);
            // When the tombstone of each number was met first.
            let mut met: Vec<u64> = vec![0];
            for (wait, more) in looks {
                now += wait;
                made += more;
                met.resize(made as usize + 1, now);
                let look = Look { at: began + Duration::from_secs(now), age: Duration::from_secs(AGE) };
                let ripe = ages.note(stamp(made), look);
                for number in 1..=made {
                    let waited = now - met[number as usize];
                    if stamp(number) <= ripe {
                        prop_assert!(waited >= AGE);
                    } else {
                        // A look is up to seven late, and so was the one before.
                        prop_assert!(waited < 2 * AGE + 2 * 7);
                    }
                }
            }
        }
    }

    #[test]
    fn whoever_does_not_want_to_wait_gets_all() {
        let mut ages = Ages::default();
        let at = Instant::now();
        let patient = Look {
            at,
            age: Duration::from_secs(AGE),
        };
        assert_eq!(ages.note(stamp(3), patient), Stamp::ZERO);
        let look = Look {
            at,
            age: Duration::ZERO,
        };
        assert_eq!(ages.note(stamp(5), look), stamp(5));
        assert_eq!(ages.note(stamp(7), look), stamp(7));
    }
}
