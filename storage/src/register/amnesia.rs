//! Noticing a disk that forgot what its member promised (rule 8).
//!
//! A promise holds only as long as the disk remembers it. A disk that was swapped, restored from a backup, or lost its
//! last writes must not answer as the member it was. So every disk has an incarnation, made with it, and members remember
//! of each other how far the log was durable when they heard last. Whoever shows less rejoins as a new member.

use serde::{Deserialize, Serialize};

/// What a member says of its disk, and others remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// Made at random with the disk.
    #[serde(with = "serde_bytes")]
    pub incarnation: [u8; 16],
    /// The last durable entry of its row log.
    pub durable_lsn: u64,
}

/// Whether a disk remembers what its member promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Some(known) if known.durable_lsn > shown.durable_lsn => Memory::Older {
            lost: known.durable_lsn - shown.durable_lsn,
        },
        Some(_) | None => Memory::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_shows_less_than_is_remembered_has_forgotten() {
        let mark = |incarnation, durable_lsn| DiskMark {
            incarnation: [incarnation; 16],
            durable_lsn,
        };
        assert_eq!(judge(None, mark(1, 5)), Memory::Whole);
        assert_eq!(judge(Some(mark(1, 5)), mark(1, 5)), Memory::Whole);
        assert_eq!(judge(Some(mark(1, 5)), mark(1, 9)), Memory::Whole);
        assert_eq!(judge(Some(mark(1, 9)), mark(1, 5)), Memory::Older { lost: 4 });
        assert_eq!(judge(Some(mark(1, 5)), mark(2, 9)), Memory::OtherDisk);
    }
}
