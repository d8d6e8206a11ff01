//! Random decisions that a seed repeats.

use std::ops::Range;

use crate::client::scramble;

/// A sequence of numbers that depends on nothing but its seed.
pub(super) struct Dice {
    next: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { next: seed }
    }

    /// The next number.
    pub(super) fn roll(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        scramble(self.next)
    }

    /// The next number, inside a range that is not empty.
    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.roll() % (range.end - range.start)
    }

    /// One of these; none if there are none.
    pub(super) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        let number = self.within(0..choices.len().max(1) as u64);
        choices.get(usize::try_from(number).ok()?)
    }

    /// Dice of their own for somebody else.
    pub(super) fn another(&mut self) -> Self {
        Self::new(self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
