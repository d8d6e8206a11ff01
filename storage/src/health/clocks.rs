//! Which clocks of a mesh are off, by what members say while they answer. Pure.
//!
//! What is stored depends on them where it has an age: how old an object looks, when it expires, until when a bucket's default
//! retention keeps what is written through that box. Clients do at once: a box whose clock is a quarter of an hour off refuses
//! every signed request.

use std::collections::BTreeMap;

use crate::model::MemberId;

/// Clocks agree that differ by no more: a third of what signed requests allow, and far more than an answer takes.
const AGREE_WITHIN_MS: i64 = 5 * 60 * 1000;

/// What is to be thought of the clocks of all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clocks {
    /// They agree, as far as they are known.
    #[default]
    Agree,
    /// More than half agree. These do not: by so many milliseconds each is ahead of the others.
    Off(BTreeMap<MemberId, i64>),
    /// No more than half agree: by so many milliseconds each is ahead of the one that is furthest behind.
    Apart(BTreeMap<MemberId, i64>),
}

/// Judges by how many milliseconds each is ahead of one and the same clock.
pub(super) fn judge(ahead: &BTreeMap<MemberId, i64>) -> Clocks {
    let mut sorted: Vec<i64> = ahead.values().copied().collect();
    sorted.sort_unstable();
    let (Some(least), Some(middle)) = (sorted.first(), sorted.get(sorted.len() / 2)) else {
        return Clocks::Agree;
    };
    let off: BTreeMap<MemberId, i64> = ahead
        .iter()
        .map(|(member, ahead)| (*member, ahead.saturating_sub(*middle)))
        .filter(|(_, ahead)| ahead.saturating_abs() > AGREE_WITHIN_MS)
        .collect();
    if off.is_empty() {
        return Clocks::Agree;
    }
    if off.len() * 2 < ahead.len() {
        return Clocks::Off(off);
    }
    let apart = ahead
        .iter()
        .map(|(member, ahead)| (*member, ahead.saturating_sub(*least)));
    Clocks::Apart(apart.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: i64 = 365 * 24 * 3600 * 1000;

    fn of(ahead: &[i64]) -> BTreeMap<MemberId, i64> {
        (1..).map(MemberId).zip(ahead.iter().copied()).collect()
    }

    #[test]
    fn a_clock_that_differs_from_most_is_off_whoever_judges() {
        assert_eq!(
            judge(&of(&[0, 1000, YEAR])),
            Clocks::Off([(MemberId(3), YEAR - 1000)].into())
        );
        // By the clock that is off, all others are.
        assert_eq!(
            judge(&of(&[0, -YEAR, -YEAR])),
            Clocks::Off([(MemberId(1), YEAR)].into())
        );
        assert_eq!(
            judge(&of(&[0, -YEAR, 0, 0])),
            Clocks::Off([(MemberId(2), -YEAR)].into())
        );
        assert_eq!(
            judge(&of(&[i64::MIN, 0, i64::MAX, 0, 0])),
            Clocks::Off([(MemberId(1), i64::MIN), (MemberId(3), i64::MAX)].into())
        );
    }

    #[test]
    fn of_two_clocks_nobody_knows_which_is_off() {
        assert_eq!(judge(&of(&[0, YEAR])), Clocks::Apart(of(&[0, YEAR])));
        assert_eq!(judge(&of(&[0, -YEAR])), Clocks::Apart(of(&[YEAR, 0])));
        assert_eq!(
            judge(&of(&[0, 0, YEAR, YEAR])),
            Clocks::Apart(of(&[0, 0, YEAR, YEAR]))
        );
    }

    #[test]
    fn clocks_that_hardly_differ_agree() {
        assert_eq!(judge(&of(&[])), Clocks::Agree);
        assert_eq!(judge(&of(&[0])), Clocks::Agree);
        assert_eq!(judge(&of(&[0, AGREE_WITHIN_MS])), Clocks::Agree);
        assert_eq!(judge(&of(&[0, -AGREE_WITHIN_MS, AGREE_WITHIN_MS])), Clocks::Agree);
    }
}
