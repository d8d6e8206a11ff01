//! Which blocks somebody is about to send here: whoever else offers one meanwhile is told that it comes.
//!
//! All that have blocks of an empty box hand them on at once, each by its own walk and its own notes. What one of them sends
//! need not come from another.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::BlockId;

/// How long a block is waited for that was to come. It costs no more than a copy that comes twice when this is too short,
/// and a copy that comes later when whoever was to send it is gone.
const PATIENCE: Duration = Duration::from_secs(45);
/// Blocks that are waited for; more may be sent, and may come twice.
const EXPECTED_MAX: usize = 4096;

/// Blocks that are waited for, and until when.
#[derive(Debug, Default)]
pub(super) struct Expected(BTreeMap<BlockId, Instant>);

impl Expected {
    /// Whether whoever offers a block is to send it: nobody else is about to.
    pub(super) fn is_free(&mut self, id: BlockId, now: Instant) -> bool {
        if self.0.get(&id).is_some_and(|until| now < *until) {
            return false;
        }
        if self.0.len() >= EXPECTED_MAX {
            self.0.retain(|_, until| now < *until);
        }
        if self.0.len() < EXPECTED_MAX {
            self.0.insert(id, now + PATIENCE);
        }
        true
    }

    /// A block has come, or will not.
    pub(super) fn came(&mut self, id: &BlockId) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_offer_a_block_one_sends_it_until_it_has_come_or_is_long_overdue() {
        let (mut expected, id, now) = (Expected::default(), BlockId([7; 32]), Instant::now());
        assert!(expected.is_free(id, now));
        assert!(!expected.is_free(id, now + PATIENCE / 2));
        expected.came(&id);
        assert!(expected.is_free(id, now + PATIENCE / 2));
        assert!(expected.is_free(id, now + PATIENCE * 2));
    }

    #[test]
    fn no_more_are_remembered_than_fit_and_all_may_be_sent() {
        let (mut expected, now) = (Expected::default(), Instant::now());
        let id = |number: usize| BlockId(blake3::hash(&number.to_le_bytes()).into());
        assert!((0..EXPECTED_MAX + 9).all(|number| expected.is_free(id(number), now)));
        assert_eq!(expected.0.len(), EXPECTED_MAX);
        assert!(expected.is_free(id(EXPECTED_MAX + 1), now));
        assert!(expected.is_free(id(EXPECTED_MAX + 1), now + PATIENCE));
        assert_eq!(expected.0.len(), 1);
    }
}
