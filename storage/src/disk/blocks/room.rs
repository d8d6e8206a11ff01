//! Decides whether a directory has room, without touching a disk.

use crate::disk::medium::Space;

/// New blocks are refused when this much of what was given is used.
const BLOCKS_PERCENT: u64 = 95;
/// Of the file system this much is never used by blocks: the row log and deletes always have room.
const RESERVE_PERCENT: u64 = 2;

/// What one directory may use and uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Held by blocks, their frames included.
    pub(super) used: u64,
    /// May be held in all.
    pub(super) given: u64,
    /// New blocks are refused beyond this many bytes used.
    pub(super) blocks_max: u64,
}

impl Room {
    /// `capacity` is what the owner gave, `space` what the file system says.
    ///
    /// Without a capacity the directory may use what it holds and what is still available, and new blocks are
    /// refused when the file system is 95 % full, whoever fills it. A capacity beyond that is not believed; one
    /// below it is used up to 95 %, if 2 % of the file system stay available.
    pub(super) fn new(used: u64, capacity: Option<u64>, space: Space) -> Self {
        let reachable = used.saturating_add(space.available);
        let leaving = |percent: u64| reachable.saturating_sub(share(space.total, percent));
        match capacity {
            None => Self {
                used,
                given: reachable,
                blocks_max: leaving(100 - BLOCKS_PERCENT),
            },
            Some(capacity) => Self {
                used,
                given: capacity.min(reachable),
                blocks_max: share(capacity, BLOCKS_PERCENT).min(leaving(RESERVE_PERCENT)),
            },
        }
    }

    /// Whether `bytes` more of blocks fit.
    pub(super) fn admits(&self, bytes: u64) -> bool {
        self.used.saturating_add(bytes) <= self.blocks_max
    }

    /// Share of the room for blocks that is free, in millionths: a new block goes where it is largest.
    pub(super) fn free_share(&self) -> u64 {
        let free = u128::from(self.blocks_max.saturating_sub(self.used));
        // At most a million.
        u64::try_from(free * 1_000_000 / u128::from(self.blocks_max.max(1))).unwrap_or(0)
    }
}

fn share(of: u64, percent: u64) -> u64 {
    u64::try_from(u128::from(of) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn a_file_system_takes_blocks_until_it_is_95_percent_full() {
        let total = 100 * GIB;
        let room = |available| Room::new(20 * GIB, None, Space { total, available });
        assert!(room(6 * GIB).admits(GIB));
        assert!(!room(6 * GIB).admits(GIB + 1));
        assert!(!room(5 * GIB).admits(1));
    }

    #[test]
    fn a_given_capacity_takes_blocks_up_to_95_percent_of_it() {
        let space = Space {
            total: 100 * GIB,
            available: 90 * GIB,
        };
        let room = Room::new(9 * GIB, Some(10 * GIB), space);
        assert_eq!(room.given, 10 * GIB);
        assert!(room.admits(GIB / 2));
        assert!(!room.admits(GIB / 2 + 1));
    }

    proptest! {
        #[test]
        fn two_percent_of_the_file_system_are_never_used_by_blocks(
            total in 1..1u64 << 50, free in 0..1u64 << 50, used in 0..1u64 << 50,
            capacity in prop::option::of(any::<u64>()), block in 1..1u64 << 23,
        ) {
            let available = free.min(total);
            let used = used.min(total - available);
            let room = Room::new(used, capacity, Space { total, available });
            if room.admits(block) {
                prop_assert!(available - block >= total / 100 * 2);
                prop_assert!(room.used + block <= room.given);
            }
            prop_assert!(room.free_share() <= 1_000_000);
        }
    }
}
