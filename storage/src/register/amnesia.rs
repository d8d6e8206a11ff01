//! Noticing a disk that forgot what its member promised (rule 8).
//!
//! A promise holds only as long as the disk remembers it. A disk that was swapped, restored from a backup, or lost its
//! last writes must not answer as the member it was. So every disk has an incarnation, made with it, and members remember
//! of each other how far the log was durable when they heard last. What was told in one run must have been there when the
//! next began. Whoever shows less rejoins as a new member.
//!
//! The runs are told apart, because messages of one run may overtake each other, and a disk that was copied may be run
//! twice from the same entry on.

use serde::{Deserialize, Serialize};

/// What a member says of its disk, and others remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// Made at random with the disk.
    #[serde(with = "serde_bytes")]
    pub incarnation: [u8; 16],
    /// Made at random whenever the disk is opened.
    pub run: u64,
    /// The last durable entry of its row log when this run began.
    pub opened_lsn: u64,
    /// The last durable entry of its row log.
    pub durable_lsn: u64,
}

/// Whether a disk remembers what its member promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Memory {
    /// As far as anybody can tell.
    Whole,
    /// It is another disk than the member had.
    OtherDisk,
    /// It is the same, in an older state.
    Older {
        /// Entries that were durable and are gone.
        lost: u64,
    },
}

/// Compares what is remembered of a member's disk with what it shows now.
pub fn judge(remembered: Option<DiskMark>, shown: DiskMark) -> Memory {
    match remembered {
        Some(known) if known.incarnation != shown.incarnation => Memory::OtherDisk,
        Some(known) if known.run != shown.run && known.durable_lsn > shown.opened_lsn => Memory::Older {
            lost: known.durable_lsn - shown.opened_lsn,
        },
        Some(_) | None => Memory::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(incarnation: u8, run: u64, (opened_lsn, durable_lsn): (u64, u64)) -> DiskMark {
        DiskMark {
            incarnation: [incarnation; 16],
            run,
            opened_lsn,
            durable_lsn,
        }
    }

    #[test]
    fn a_disk_that_begins_with_less_than_is_remembered_has_forgotten() {
        let known = mark(1, 1, (0, 9));
        assert_eq!(judge(None, known), Memory::Whole);
        assert_eq!(judge(Some(known), mark(1, 2, (9, 9))), Memory::Whole);
        assert_eq!(judge(Some(known), mark(1, 2, (11, 12))), Memory::Whole);
        assert_eq!(judge(Some(known), mark(1, 2, (5, 5))), Memory::Older { lost: 4 });
        assert_eq!(judge(Some(known), mark(2, 2, (9, 9))), Memory::OtherDisk);
        // However much it wrote since.
        assert_eq!(judge(Some(known), mark(1, 2, (5, 99))), Memory::Older { lost: 4 });
    }

    #[test]
    fn messages_of_one_run_may_overtake_each_other() {
        let known = mark(1, 1, (5, 9));
        assert_eq!(judge(Some(known), mark(1, 1, (5, 7))), Memory::Whole);
    }
}
