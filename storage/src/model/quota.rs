//! How much a bucket, or all buckets that an access key owns, may hold.

use serde::{Deserialize, Serialize};

/// What may be held at most; nothing is a bound that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of content of all versions, and of parts of unfinished uploads.
    pub bytes: Option<u64>,
    /// Versions that are no delete markers.
    pub objects: Option<u64>,
}

/// What is held, counted as [`Quota`] bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of content.
    pub bytes: u64,
    /// Versions.
    pub objects: u64,
}

impl Quota {
    /// Whether it bounds nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether so much may be held.
    pub fn admits(self, held: Usage) -> bool {
        self.bytes.is_none_or(|most| held.bytes <= most)
            && self.objects.is_none_or(|most| held.objects <= most)
    }
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            objects: self.objects.saturating_add(other.objects),
        }
    }

    /// This without the other.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            objects: self.objects.saturating_sub(other.objects),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_admits_what_is_within_each_of_its_bounds() {
        let admits = |bytes, objects| {
            let held = Usage {
                bytes: 10,
                objects: 2,
            };
            Quota { bytes, objects }.admits(held)
        };
        for (bytes, objects, expected) in [
            (None, None, true),
            (Some(10), None, true),
            (Some(9), None, false),
            (None, Some(2), true),
            (None, Some(1), false),
            (Some(10), Some(1), false),
            (Some(0), Some(9), false),
        ] {
            assert_eq!(admits(bytes, objects), expected, "{bytes:?} {objects:?}");
        }
    }
}
