//! Noticing a disk that forgot what its member promised (rule 8).
//!
//! A promise holds only as long as the disk remembers it. A disk that was swapped, restored from a backup, or lost its
//! last writes must not answer as the member it was. So every disk has an incarnation, made with it, and keeps which runs
//! it has seen and how far its log was durable when each began. Members remember of each other in which run they heard
//! last, and how far the log was durable then. What was told in one run must have been there when the next began. Whoever
//! shows less rejoins as a new member.
//!
//! The runs are told apart, because messages of one run may overtake each other, and a disk that was copied may be run
//! twice from the same entry on. All are kept, because a disk that was set back may be opened many times, and write a lot,
//! before it meets anybody who knows better.

use serde::{Deserialize, Serialize};

/// What a member says of its disk, and others remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskMark {
    /// Made at random with the disk.
    #[serde(with = "serde_bytes")]
    pub incarnation: [u8; 16],
    /// Made at random whenever the disk is opened.
    pub run: u64,
    /// The last durable entry of its row log.
    pub durable_lsn: u64,
}

/// A time for which a disk was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// As in [`DiskMark::run`].
    pub id: u64,
    /// The last durable entry of the row log when it began.
    pub opened_lsn: u64,
}

/// The runs that a disk remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Earlier ones were left out.
    is_cut: bool,
    /// The oldest first.
    runs: Vec<Run>,
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
        /// Entries that were durable and are gone: at least so many.
        lost: u64,
    },
}

impl Runs {
    /// So many are kept. Of a run before them it is known only that the oldest of these began later.
    pub const MOST: usize = 64;

    /// These, if they are some that a disk can remember.
    pub fn of(is_cut: bool, runs: Vec<Run>) -> Option<Self> {
        (runs.len() <= Self::MOST).then_some(Self { is_cut, runs })
    }

    /// Whether runs before [`Self::all`] were left out.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// All that are kept, the oldest first.
    pub fn all(&self) -> &[Run] {
        &self.runs
    }

    /// Notes the run that begins now.
    pub fn begin(&mut self, run: Run) {
        self.runs.push(run);
        let beyond = self.runs.len().saturating_sub(Self::MOST);
        self.is_cut |= beyond > 0;
        self.runs.drain(..beyond);
    }

    /// Entries that were durable in a run, as somebody remembers it, and are gone in what this disk remembers.
    fn lost(&self, known: DiskMark) -> Option<u64> {
        let place = self.runs.iter().position(|run| run.id == known.run);
        let next = match place {
            Some(place) => self.runs.get(place + 1),
            None if self.is_cut => self.runs.first(),
            // It began after all that this disk remembers but the present run, which began with less.
            None => {
                let opened_lsn = self.runs.last().map_or(0, |run| run.opened_lsn);
                return Some(known.durable_lsn.saturating_sub(opened_lsn).max(1));
            }
        };
        let opened_lsn = next.map_or(known.durable_lsn, |run| run.opened_lsn);
        (known.durable_lsn > opened_lsn).then(|| known.durable_lsn - opened_lsn)
    }
}

/// Compares what is remembered of a member's disk with what it shows now. `None`: that takes its runs.
pub fn judge(remembered: Option<DiskMark>, shown: DiskMark, runs: Option<&Runs>) -> Option<Memory> {
    let Some(known) = remembered else {
        return Some(Memory::Whole);
    };
    if known.incarnation != shown.incarnation {
        return Some(Memory::OtherDisk);
    }
    if known.run == shown.run {
        return Some(Memory::Whole);
    }
    let lost = runs?.lost(known);
    Some(lost.map_or(Memory::Whole, |lost| Memory::Older { lost }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark(incarnation: u8, run: u64, durable_lsn: u64) -> DiskMark {
        DiskMark {
            incarnation: [incarnation; 16],
            run,
            durable_lsn,
        }
    }

    fn runs(all: &[(u64, u64)]) -> Runs {
        let mut runs = Runs::default();
        for (id, opened_lsn) in all.iter().copied() {
            runs.begin(Run { id, opened_lsn });
        }
        runs
    }

    #[test]
    fn a_disk_that_begins_with_less_than_is_remembered_has_forgotten() {
        let known = mark(1, 1, 9);
        let shown = |all: &[(u64, u64)], durable| {
            let (run, _) = *all.last().unwrap();
            judge(Some(known), mark(1, run, durable), Some(&runs(all)))
        };
        assert_eq!(judge(None, known, None), Some(Memory::Whole));
        assert_eq!(shown(&[(1, 0), (2, 9)], 9), Some(Memory::Whole));
        assert_eq!(shown(&[(1, 0), (2, 11)], 12), Some(Memory::Whole));
        assert_eq!(shown(&[(1, 0), (2, 5)], 5), Some(Memory::Older { lost: 4 }));
        assert_eq!(judge(Some(known), mark(2, 2, 9), None), Some(Memory::OtherDisk));
        // However much it wrote since, and however often it was opened.
        assert_eq!(shown(&[(1, 0), (2, 5)], 99), Some(Memory::Older { lost: 4 }));
        assert_eq!(
            shown(&[(1, 0), (2, 5), (3, 99)], 99),
            Some(Memory::Older { lost: 4 })
        );
        // A backup from before that run.
        assert_eq!(shown(&[(7, 0), (8, 5)], 99), Some(Memory::Older { lost: 4 }));
        assert_eq!(
            shown(&[(7, 0), (8, 5), (9, 99)], 99),
            Some(Memory::Older { lost: 1 })
        );
    }

    #[test]
    fn messages_of_one_run_may_overtake_each_other() {
        assert_eq!(
            judge(Some(mark(1, 1, 9)), mark(1, 1, 7), None),
            Some(Memory::Whole)
        );
    }

    #[test]
    fn nothing_is_said_of_another_run_without_the_runs() {
        assert_eq!(judge(Some(mark(1, 1, 9)), mark(1, 2, 9), None), None);
    }

    proptest! {
        /// Whoever was away for longer than the runs reach back does not take a good disk for one that forgot.
        #[test]
        fn a_disk_that_forgot_nothing_is_whole_to_whoever_heard_any_of_its_runs(
            steps in prop::collection::vec(0_u64..5, 2..200),
            heard in any::<prop::sample::Index>(),
            within in 0_u64..5,
        ) {
            let (mut runs, mut lsn, mut known) = (Runs::default(), 0, None);
            let heard = heard.index(steps.len() - 1);
            for (id, wrote) in steps.iter().enumerate() {
                let id = id as u64;
                runs.begin(Run { id, opened_lsn: lsn });
                if id == heard as u64 {
                    known = Some(mark(1, id, lsn + within.min(*wrote)));
                }
                lsn += wrote;
            }
            let last = runs.all().last().unwrap().id;
            prop_assert_eq!(judge(known, mark(1, last, lsn), Some(&runs)), Some(Memory::Whole));
        }
    }
}
