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

    /// It was submitted; `is_sole` where this disk is the only one that it went to.
    pub(crate) const fn submitted(error: StoreError, is_sole: bool) -> Self {
        let refused = matches!(
            error,
            StoreError::DiskFull | StoreError::ReadOnly(_) | StoreError::Disk(DiskError::TooLarge { .. })
        );
        Self {
            error,
            may_have_happened: !(is_sole && refused),
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
