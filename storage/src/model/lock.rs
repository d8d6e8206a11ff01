//! Object lock: what keeps a version from being removed, and who may change that.
//!
//! Locks stand in the clear facts of a version, so that whoever decides a command sees them. Whether a retention has ended is
//! judged by all clocks of the mesh that are known: by that of the gateway a request came to and, for the holder who decides
//! it, by the one that is furthest behind. It has ended only where all say so.
//!
//! Replicas refuse nothing by a clock of their own. What one of them never takes, although a holder decided it, may stand at a
//! few and be chosen by none for as long as that clock says: then nobody can read the key, nor write it, and fences that wait
//! for its operation hold up other buckets. A box without a clock chip that starts in 1970 would be enough.

use serde::{Deserialize, Serialize};

use super::Timestamp;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// Days of a year in a default retention. Source: AWS S3 user guide, "Object Lock".
const YEAR_DAYS: u64 = 365;

/// How a retention binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetentionMode {
    /// Whoever may bypass it can shorten or remove it.
    Governance,
    /// Nobody can shorten or remove it.
    Compliance,
}

/// Until when a version stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How it binds.
    pub mode: RetentionMode,
    /// Until when.
    pub until: Timestamp,
}

/// What keeps a version from being removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Until when it stays.
    pub retention: Option<Retention>,
    /// Whether it stays for as long as this is on; nothing if nobody ever said.
    pub legal_hold: Option<bool>,
}

impl Lock {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the version may be removed.
    pub(crate) fn permits_removal(&self, now: Timestamp, bypass: bool) -> bool {
        let retained = self.retention.is_some_and(|retention| match retention.mode {
            RetentionMode::Compliance => retention.binds(now),
            RetentionMode::Governance => retention.binds(now) && !bypass,
        });
        !retained && self.legal_hold != Some(true)
    }

    /// Whether its retention may become this one: a retention that binds may only be prolonged, except that of governance by
    /// whoever may bypass it.
    pub(crate) fn permits_retention(&self, new: Option<Retention>, now: Timestamp, bypass: bool) -> bool {
        let Some(old) = self.retention.filter(|old| old.binds(now)) else {
            return true;
        };
        let is_prolonged = new.is_some_and(|new| new.mode == old.mode && new.until >= old.until);
        is_prolonged || (old.mode == RetentionMode::Governance && bypass)
    }
}

impl Retention {
    fn binds(&self, now: Timestamp) -> bool {
        self.until > now
    }
}

/// How long new versions stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Period {
    /// So many days.
    Days(u32),
    /// So many years of 365 days.
    Years(u32),
}

impl Period {
    fn millis(self) -> u64 {
        let days = match self {
            Self::Days(days) => u64::from(days),
            Self::Years(years) => u64::from(years) * YEAR_DAYS,
        };
        days.saturating_mul(DAY_MILLIS)
    }
}

/// The retention of versions that are put without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// How it binds.
    pub mode: RetentionMode,
    /// For how long, from the time of the version.
    pub period: Period,
}

impl DefaultRetention {
    /// The retention of a version made at that time.
    pub(crate) fn of(self, modified: Timestamp) -> Retention {
        let until = modified.as_millis().saturating_add(self.period.millis());
        Retention {
            mode: self.mode,
            until: Timestamp::from_millis(until),
        }
    }
}

/// The object lock of a bucket: once a bucket has it, it keeps it, and its versioning stays on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectLock {
    /// The retention of versions that are put without one.
    pub default: Option<DefaultRetention>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn locked(mode: RetentionMode, until: u64) -> Lock {
        Lock {
            retention: retention(mode, until),
            legal_hold: None,
        }
    }

    fn retention(mode: RetentionMode, until: u64) -> Option<Retention> {
        let until = Timestamp::from_millis(until);
        Some(Retention { mode, until })
    }

    #[test]
    fn a_version_goes_when_nothing_holds_it() {
        use RetentionMode::{Compliance, Governance};
        let at = |lock: Lock, now, bypass| lock.permits_removal(Timestamp::from_millis(now), bypass);
        assert!(at(Lock::default(), 0, false));
        for mode in [Governance, Compliance] {
            assert!(!at(locked(mode, 10), 9, false) && at(locked(mode, 10), 10, false));
        }
        assert!(at(locked(Governance, 10), 5, true) && !at(locked(Compliance, 10), 5, true));
        for (hold, goes) in [(None, true), (Some(false), true), (Some(true), false)] {
            let lock = Lock {
                legal_hold: hold,
                ..Lock::default()
            };
            assert_eq!((at(lock, 5, false), at(lock, 5, true)), (goes, goes));
        }
    }

    #[test]
    fn a_default_retention_counts_from_the_time_of_the_version() {
        let of = |period| {
            let mode = RetentionMode::Compliance;
            let default = DefaultRetention { mode, period };
            default.of(Timestamp::from_millis(7)).until.as_millis() - 7
        };
        assert_eq!(of(Period::Days(2)), 2 * 86_400_000);
        assert_eq!(of(Period::Years(1)), 365 * 86_400_000);
    }

    fn modes() -> impl Strategy<Value = RetentionMode> {
        prop_oneof![Just(RetentionMode::Governance), Just(RetentionMode::Compliance)]
    }

    proptest! {
        #[test]
        fn no_change_of_a_retention_makes_a_version_removable_that_was_not(
            old in (modes(), 0_u64..20), new in proptest::option::of((modes(), 0_u64..20)), now in 0_u64..20, bypass: bool,
        ) {
            let (old, now) = (locked(old.0, old.1), Timestamp::from_millis(now));
            let new = new.and_then(|(mode, until)| retention(mode, until));
            if old.permits_retention(new, now, bypass) {
                let changed = Lock { retention: new, ..old };
                for later in now.as_millis()..25 {
                    let later = Timestamp::from_millis(later);
                    prop_assert!(old.permits_removal(later, bypass) || !changed.permits_removal(later, bypass));
                }
            }
        }
    }
}
