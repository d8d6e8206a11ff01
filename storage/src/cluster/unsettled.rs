//! Why a submission has no outcome, and whether it may have happened all the same.

use crate::StoreError;
use crate::disk::DiskError;

/// A submission without an outcome.
#[derive(Debug)]
pub(crate) struct Unsettled {
    error: StoreError,
    may_have_happened: bool,
}

impl Unsettled {
    /// It never came to changing anything.
    pub(crate) const fn nothing_written(error: StoreError) -> Self {
        Self {
            error,
            may_have_happened: false,
        }
    }

    /// The commit of its changes failed.
    pub(crate) fn commit(error: DiskError) -> Self {
        let may_have_happened = !matches!(
            error,
            DiskError::Full { .. } | DiskError::ReadOnly(_) | DiskError::TooLarge { .. }
        );
        Self {
            error: error.into(),
            may_have_happened,
        }
    }

    /// Whether what was stored for it must stay.
    pub(crate) const fn may_have_happened(&self) -> bool {
        self.may_have_happened
    }
}

impl From<Unsettled> for StoreError {
    fn from(unsettled: Unsettled) -> Self {
        unsettled.error
    }
}
