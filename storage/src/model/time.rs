//! When something was last changed: cosmetic, nothing depends on clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// What the clock of this node says.
    pub fn now() -> Self {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(millis) = crate::simulation::millis() {
            return Self(millis);
        }
        Self::from(SystemTime::now())
    }

    /// Takes milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01 UTC: what HTTP dates can express.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time to stamp on a change of something last changed at `previous`: now, but always later.
    pub fn after(self, previous: Option<Self>) -> Self {
        previous.map_or(self, |previous| self.max(Self(previous.0 + 1)))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_millis(time.0)
    }
}
