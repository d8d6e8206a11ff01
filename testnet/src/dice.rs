//! Random decisions that a seed repeats.

use std::ops::Range;

use anyhow::{Result, bail};

use crate::client::scramble;

/// A seed that nobody has used.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn fresh_seed() -> Result<u64> {
    let mut bytes = [0; 8];
    match ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes) {
        Ok(()) => Ok(u64::from_le_bytes(bytes)),
        Err(_) => bail!("the system has no random numbers"),
    }
}

/// A sequence of numbers that depends on nothing but its seed.
pub(crate) struct Dice {
    next: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { next: seed }
    }

    /// The next number.
    pub(crate) fn roll(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        scramble(self.next)
    }

    /// The next number, inside a range that is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.roll() % (range.end - range.start)
    }

    /// A number below this one, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.within(0..end as u64)).unwrap_or_default()
    }

    /// Yes, so often.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        // The highest 53 bits are all that an f64 holds.
        ((self.roll() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// One of these; none if there are none.
    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let number = self.within(0..choices.len().max(1) as u64);
        choices.get(usize::try_from(number).ok()?)
    }

    /// Dice of their own for somebody else.
    pub(crate) fn another(&mut self) -> Self {
        Self::new(self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_come_true_as_often_as_they_say() {
        let mut dice = Dice::new(1);
        assert!((0..100).all(|_| dice.chance(1.0) && !dice.chance(0.0)));
        let hits = (0..10_000).filter(|_| dice.chance(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!((0..100).all(|_| dice.below(3) < 3));
    }

    #[test]
    fn equal_seeds_decide_equally_and_stay_in_range() {
        let (mut one, mut other) = (Dice::new(7), Dice::new(7));
        for _ in 0..100 {
            let number = one.within(5..9);
            assert!((5..9).contains(&number));
            assert_eq!(number, other.within(5..9));
        }
        assert_eq!(one.one_of(&[0; 0]), None);
    }
}
