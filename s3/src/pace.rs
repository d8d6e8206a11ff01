//! Counts how long a client may still keep a body waiting: renewed by what it sends, not by its being there.

use std::time::Duration;

/// What a client moves within its patience, in bytes: 1 KiB a second where that is a minute, far below any link
/// that is of use, and enough that a client that drips does not keep a place among the requests for ever.
pub(crate) const WINDOW_BYTES: usize = 64 * 1024;

/// How long a client may still keep a body waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    limit: Duration,
    left: Duration,
    /// Bytes to move until the patience is whole again.
    missing: usize,
    renews: bool,
}

impl Pace {
    /// The client may keep us waiting so long for every [`WINDOW_BYTES`].
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            left: limit,
            missing: WINDOW_BYTES,
            renews: true,
        }
    }

    /// From now on no byte renews the patience: the whole body has the time of one window.
    pub(crate) fn stop_renewing(&mut self) {
        self.renews = false;
    }

    /// How long the client may keep us waiting from here on.
    pub(crate) fn left(&self) -> Duration {
        self.left
    }

    /// The client kept us waiting so long, then sent so many bytes.
    pub(crate) fn moved(&mut self, waited: Duration, bytes: usize) {
        self.left = self.left.saturating_sub(waited);
        self.missing = self.missing.saturating_sub(bytes);
        if self.missing == 0 && self.renews {
            *self = Self::new(self.limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How many pieces of so many bytes a client may send, one a second.
    fn pieces(mut pace: Pace, bytes: usize) -> usize {
        (0..1000)
            .take_while(|_| {
                pace.moved(SECOND, bytes);
                !pace.left().is_zero()
            })
            .count()
    }

    #[test]
    fn only_bytes_enough_renew_the_patience() {
        let pace = Pace::new(10 * SECOND);
        assert_eq!(pieces(pace, 1), 9);
        assert_eq!(pieces(pace, WINDOW_BYTES / 20), 9);
        assert_eq!(pieces(pace, WINDOW_BYTES / 5), 1000);
        let mut document = pace;
        document.stop_renewing();
        assert_eq!(pieces(document, WINDOW_BYTES), 9);
    }
}
