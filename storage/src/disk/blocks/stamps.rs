//! Numbers references in the order in which they are made.

use std::sync::atomic::{AtomicU64, Ordering};

/// The newest stamp of a node; shared by its directories, so that stamps of all of them compare.
#[derive(Debug, Default)]
pub(super) struct Stamps(AtomicU64);

impl Stamps {
    /// A stamp higher than all before.
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The newest stamp given.
    pub(super) fn newest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Never gives `stamp` or a lower one again.
    pub(super) fn pass(&self, stamp: u64) {
        self.0.fetch_max(stamp, Ordering::Relaxed);
    }
}
