//! Decides by which time lifecycle rules are carried out, so that a clock that is ahead expires nothing early.
//!
//! In a mesh it is the latest moment that more than half of all members say has passed, and never later than this box says:
//! one box whose clock is ahead changes nothing, and where too few answer nothing is expired until they do.
//!
//! A box that is alone cannot know. It remembers the latest time it went by. Where its clock is before that, or more than a
//! day after it although less time has passed, the clock was set, or the box was off: then nothing is expired until the
//! clock has run steadily for six hours, long enough for a time server, or for a person who reads the warning, to set it
//! right. A box that was off for a day or more so begins six hours later.
//!
//! What is not noticed: most clocks of a mesh ahead at once, a lone box ahead from its very first start, and the clock of
//! whoever wrote an object having been behind, so that the object is taken for older than it is.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::StoreError;
use crate::cluster::Partitions;
use crate::health;
use crate::model::{Timestamp, row_key};
use crate::store::Inner;

/// How far a clock may be from where the last look and the time since then put it.
const DRIFT: Duration = Duration::from_secs(24 * 3600);
/// How far a clock may be off between two looks while it is on trial: no time server corrects a steady clock by more.
const STEADY: Duration = Duration::from_secs(60);
/// How long it has to run steadily to be believed again.
const TRIAL: Duration = Duration::from_secs(6 * 3600);
/// How much later the time gone by is before it is written down again.
const KEEP_EVERY: Duration = Duration::from_secs(3600);

/// The latest moment that more than half of `members` say has passed, by the clocks of this one and of `others` that
/// answered, and never later than this one says. `None` where too few answered.
fn passed(own: Timestamp, others: &[Timestamp], members: usize) -> Option<Timestamp> {
    let mut clocks = others.to_vec();
    clocks.push(own);
    clocks.sort_unstable_by(|a, b| b.cmp(a));
    // Of 3 members the second latest is at least two of them, of 4 the third, of 1 the only one.
    clocks.get(members / 2).map(|clock| own.min(*clock))
}

/// What a box that is alone thinks of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opinion {
    /// It is gone by.
    Believed,
    /// It was set, or the box was off; it has to run steadily for a while.
    OnTrial,
    /// It is before a time that has passed.
    Behind,
}

/// The clock of a box that is alone, as far as it can be judged.
#[derive(Clone, Copy, Debug, Default)]
struct Lone {
    /// The latest time that was gone by.
    believed: Option<Timestamp>,
    /// Where the trial is: what the clock said last, and how long it has run steadily.
    trial: Option<(Timestamp, Duration)>,
}

impl Lone {
    /// Judges what the clock says, `ran` after the last time it was asked.
    fn judge(&mut self, now: Timestamp, ran: Duration) -> Opinion {
        let believed = *self.believed.get_or_insert(now);
        if now < believed {
            self.trial = None;
            return Opinion::Behind;
        }
        if since(believed, now) <= DRIFT.saturating_add(ran) {
            return self.believe(now);
        }
        let steady = match self.trial {
            Some((before, steady)) if is_steady(before, now, ran) => steady.saturating_add(ran),
            _ => Duration::ZERO,
        };
        if steady >= TRIAL {
            return self.believe(now);
        }
        self.trial = Some((now, steady));
        Opinion::OnTrial
    }

    fn believe(&mut self, now: Timestamp) -> Opinion {
        (self.believed, self.trial) = (Some(now), None);
        Opinion::Believed
    }
}

fn since(from: Timestamp, to: Timestamp) -> Duration {
    Duration::from_millis(to.as_millis().saturating_sub(from.as_millis()))
}

/// Whether a clock went on as much as time did.
fn is_steady(before: Timestamp, now: Timestamp, ran: Duration) -> bool {
    now >= before && since(before, now).abs_diff(ran) <= STEADY
}

/// The latest time gone by, as it is on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    believed: Timestamp,
}

/// Judges the clock of this box from look to look.
pub(super) struct Clock {
    lone: Lone,
    opinion: Opinion,
    looked: Instant,
    kept: Option<Timestamp>,
}

impl Clock {
    /// Takes up what was known when the store was last open.
    pub(super) fn load(partitions: &Partitions) -> Self {
        let kept = partitions.read::<Kept>(&row_key::clock());
        let kept = kept.ok().flatten().map(|kept| kept.believed);
        Self {
            lone: Lone {
                believed: kept,
                trial: None,
            },
            opinion: Opinion::Believed,
            looked: Instant::now(),
            kept,
        }
    }

    /// Looks at the clock of a box that is alone; in a mesh there is no need to.
    pub(super) async fn look(&mut self, inner: &Inner) {
        let (now, ran) = (Timestamp::now(), self.looked.elapsed());
        self.looked = Instant::now();
        if !inner.others().is_empty() {
            return;
        }
        let before = std::mem::replace(&mut self.opinion, self.lone.judge(now, ran));
        if self.opinion != before && self.opinion != Opinion::Believed {
            let opinion = self.opinion;
            warn!(
                ?opinion,
                clock_ms = now.as_millis(),
                "clock was set, or this box was off: lifecycle rules wait"
            );
        }
        self.keep(inner).await;
    }

    /// The time by which rules may be carried out now; `None` while no time can be relied on.
    pub(super) async fn reliable(&mut self, inner: &Arc<Inner>) -> Option<Timestamp> {
        let own = Timestamp::now();
        let members = inner.others().len() + 1;
        if members == 1 {
            return (self.opinion == Opinion::Believed).then_some(own);
        }
        let agreed = passed(own, &health::clocks(inner).await, members);
        match agreed {
            Some(agreed) => {
                if since(agreed, own) > DRIFT {
                    warn!("clock is more than a day ahead of most of the mesh: set it right");
                }
                self.lone.believe(agreed);
                self.keep(inner).await;
            }
            None => debug!(members, "too few clocks answer: lifecycle rules wait"),
        }
        agreed
    }

    async fn keep(&mut self, inner: &Inner) {
        let Some(believed) = self.lone.believed else {
            return;
        };
        let is_kept = self.kept.is_some_and(|kept| since(kept, believed) < KEEP_EVERY);
        if is_kept || inner.loss.is_some() {
            return;
        }
        match inner.partitions.keep(row_key::clock(), &Kept { believed }).await {
            Ok(()) => self.kept = Some(believed),
            // A disk without room has other worries.
            Err(StoreError::DiskFull) => {}
            Err(error) => warn!(%error, "time gone by not kept"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::neighbour_tests::{Wire, founder};
    use crate::simulation;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: u64) -> Timestamp {
        Timestamp::from_millis(hours * 3_600_000)
    }

    #[test]
    fn most_of_the_mesh_says_what_time_has_passed() {
        for (own, others, members, expected) in [
            (10, &[][..], 1, Some(10)),
            // The other of two has to say so, too.
            (10, &[], 2, None),
            (10, &[9], 2, Some(9)),
            (9, &[10], 2, Some(9)),
            // One of three that is ahead changes nothing, here or elsewhere.
            (900, &[10, 9], 3, Some(10)),
            (10, &[900, 9], 3, Some(10)),
            (900, &[10], 3, Some(10)),
            (10, &[], 3, None),
            // Nothing goes earlier than this box says.
            (5, &[10, 10], 3, Some(5)),
            (900, &[10], 4, None),
            (900, &[800, 10], 4, Some(10)),
        ] {
            let others: Vec<Timestamp> = others.iter().map(|hours| at(*hours)).collect();
            assert_eq!(
                passed(at(own), &others, members),
                expected.map(at),
                "{own} {others:?}"
            );
        }
    }

    /// What is thought of a clock that says these hours, each so many hours after the one before.
    fn opinions(believed: Option<u64>, looks: &[(u64, u64)]) -> Vec<Opinion> {
        let mut lone = Lone {
            believed: believed.map(at),
            trial: None,
        };
        let judge = |(says, ran): &(u64, u64)| lone.judge(at(*says), HOUR * u32::try_from(*ran).unwrap());
        looks.iter().map(judge).collect()
    }

    #[test]
    fn a_clock_that_goes_on_is_believed_however_long_the_pauses_are() {
        use Opinion::Believed;
        assert_eq!(
            opinions(None, &[(100, 0), (101, 1), (200, 99)]),
            [Believed, Believed, Believed]
        );
        assert_eq!(opinions(Some(100), &[(124, 0)]), [Believed]);
    }

    #[test]
    fn a_clock_that_jumped_ahead_is_believed_once_it_has_run_steadily() {
        use Opinion::{Believed, OnTrial};
        let ahead = [(1000, 0), (1001, 1), (1005, 4), (1006, 1), (1007, 1)];
        assert_eq!(
            opinions(Some(100), &ahead),
            [OnTrial, OnTrial, OnTrial, Believed, Believed]
        );
        // Set right, it is believed at once; set again, the trial begins anew.
        assert_eq!(opinions(Some(100), &[(1000, 0), (103, 3)]), [OnTrial, Believed]);
        assert_eq!(
            opinions(Some(100), &[(1000, 0), (2000, 5), (2005, 5), (2006, 1)]),
            [OnTrial, OnTrial, OnTrial, Believed]
        );
    }

    #[test]
    fn a_clock_before_a_time_that_has_passed_is_not_gone_by() {
        use Opinion::{Behind, Believed};
        assert_eq!(
            opinions(Some(100), &[(0, 0), (1, 1), (102, 1)]),
            [Behind, Behind, Believed]
        );
    }

    #[test]
    fn a_lone_box_remembers_the_time_it_went_by() {
        simulation::run(1, async {
            let store = founder(&Wire::default(), "anna").await;
            let inner = &store.0;
            let reliable = async || {
                let mut clock = Clock::load(&inner.partitions);
                clock.look(inner).await;
                clock.reliable(inner).await.is_some()
            };
            assert!(reliable().await);
            assert!(
                inner
                    .partitions
                    .read::<Kept>(&row_key::clock())
                    .unwrap()
                    .is_some()
            );
            let hours = |hours: i64| {
                let hour = Timestamp::now().as_millis().div_euclid(3_600_000);
                at(hour.saturating_add_signed(hours))
            };
            for (kept, expected) in [(-30, false), (-20, true), (3, false), (0, true)] {
                let believed = hours(kept);
                let row = Kept { believed };
                inner.partitions.keep(row_key::clock(), &row).await.unwrap();
                assert_eq!(reliable().await, expected, "{kept}");
            }
        })
        .unwrap();
    }

    proptest! {
        #[test]
        fn no_minority_moves_the_time_ahead(honest in 3_usize..8, lies in prop::collection::vec(0_u64..1000, 0..3), own_lies: bool) {
            let members = honest + lies.len();
            prop_assume!(lies.len() * 2 < members);
            let now = 500;
            let mut clocks: Vec<Timestamp> = lies.iter().map(|lie| at(now + lie)).collect();
            clocks.extend(std::iter::repeat_n(at(now), honest));
            let own = if own_lies { clocks.remove(0) } else { clocks.pop().unwrap() };
            prop_assert_eq!(passed(own, &clocks, members), Some(at(now)));
        }
    }
}
