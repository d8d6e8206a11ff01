//! Counts where a block is durable, until that is enough.

use std::collections::BTreeSet;

use crate::model::Zone;

/// Zones in which a block is durable before it is acknowledged, where so many can be reached.
const ZONES: usize = 2;

/// What came of storing a block somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is durable there.
    Yes,
    /// There is no room.
    Full,
    /// It may or may not be there.
    Unknown,
}

/// What to answer whoever wants a block stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable in as many zones as can be reached, up to two.
    Enough,
    /// A zone that can be reached has no room.
    Full,
    /// Nobody who was asked has it.
    Nowhere,
}

/// What has become of one block so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    zones: BTreeSet<Zone>,
    full: bool,
    failed: bool,
}

impl Tally {
    pub(super) fn note(&mut self, zone: Zone, kept: Kept) {
        match kept {
            Kept::Yes => drop(self.zones.insert(zone)),
            Kept::Full => (self.full, self.failed) = (true, true),
            Kept::Unknown => self.failed = true,
        }
    }

    /// Whether nobody else need be waited for.
    pub(super) fn is_enough(&self) -> bool {
        self.zones.len() >= ZONES
    }

    /// Whether the member that stores the block, in `zone`, should keep it in the stead of one that failed.
    pub(super) fn wants_stand_in(&self, zone: &Zone) -> bool {
        self.failed && !self.is_enough() && !self.zones.contains(zone)
    }

    /// Whether somebody does not have the block.
    pub(super) fn has_failures(&self) -> bool {
        self.failed
    }

    /// What it comes to once everybody has answered. Whoever does not answer is not reachable; a zone without room is.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.zones.len(), self.full) {
            (ZONES.., _) => Verdict::Enough,
            (_, true) => Verdict::Full,
            (0, false) => Verdict::Nowhere,
            (_, false) => Verdict::Enough,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answers: &[(&str, Kept)], enough: bool, stand_in: bool, verdict: Verdict) {
        let mut tally = Tally::default();
        for (zone, kept) in answers {
            tally.note(Zone::parse(zone).unwrap(), *kept);
        }
        let me = Zone::parse("me").unwrap();
        let counted = (tally.is_enough(), tally.wants_stand_in(&me), tally.verdict());
        assert_eq!(counted, (enough, stand_in, verdict));
    }

    #[test]
    fn two_zones_are_enough_and_two_boxes_of_one_zone_are_one() {
        check(
            &[("anna", Kept::Yes), ("ben", Kept::Yes)],
            true,
            false,
            Verdict::Enough,
        );
        check(&[("anna", Kept::Yes); 2], false, false, Verdict::Enough);
    }

    #[test]
    fn whoever_takes_a_block_in_stands_in_for_a_zone_that_is_away() {
        check(
            &[("anna", Kept::Yes), ("ben", Kept::Unknown)],
            false,
            true,
            Verdict::Enough,
        );
        check(
            &[("me", Kept::Yes), ("ben", Kept::Unknown)],
            false,
            false,
            Verdict::Enough,
        );
        check(&[("anna", Kept::Unknown)], false, true, Verdict::Nowhere);
    }

    #[test]
    fn a_zone_without_room_can_be_reached() {
        check(
            &[("me", Kept::Yes), ("ben", Kept::Full)],
            false,
            false,
            Verdict::Full,
        );
        let third = ("cleo", Kept::Full);
        check(
            &[("me", Kept::Yes), ("ben", Kept::Yes), third],
            true,
            false,
            Verdict::Enough,
        );
    }
}
