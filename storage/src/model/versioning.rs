//! How a bucket keeps the versions of its objects.

use serde::{Deserialize, Serialize};

use super::ObjectLock;

/// Whether a bucket keeps the version that a write replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Versioning {
    /// It never did: each object has one version, called `null`.
    #[default]
    Off,
    /// It does: every write makes a version with an id of its own, every delete a marker.
    Enabled,
    /// It did: what was kept stays, new writes and markers are called `null` and replace the `null` before.
    Suspended,
}

impl Versioning {
    /// Whether clients are told versions.
    pub const fn was_ever_on(self) -> bool {
        !matches!(self, Self::Off)
    }
}

/// What a write has to know at commit of how its bucket keeps versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeping {
    /// Whether it keeps the version that a write replaces.
    pub versioning: Versioning,
    /// The object lock it has.
    pub lock: Option<ObjectLock>,
}
