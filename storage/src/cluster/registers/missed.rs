//! Writes that a voter did not acknowledge: what it may lack, until it was compared. One that hangs is found out when its
//! answer is overdue.

use std::collections::BTreeMap;

use super::{Machine, Registers};
use crate::model::{MemberId, Timestamp};
use crate::register::Request;

/// How many changes a voter may lack in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Miss {
    pub(crate) changes: u64,
    /// When the first of them was sent.
    pub(crate) since: Timestamp,
}

/// What voters may lack: by member and partition, so that it is bounded by the votes there are.
pub(crate) type Misses = BTreeMap<(MemberId, u16), Miss>;

/// Notes changes that a member did not answer.
pub(super) fn note(misses: &mut Misses, member: MemberId, partitions: &[u16], now: Timestamp) {
    for partition in partitions {
        let miss = misses.entry((member, *partition)).or_insert(Miss {
            changes: 0,
            since: now,
        });
        miss.changes = miss.changes.saturating_add(1);
    }
}

/// Forgets what was noted of a member before it was compared: whatever is in `before` and has not grown since.
pub(super) fn forget(misses: &mut Misses, member: MemberId, before: &Misses) {
    misses.retain(|key, miss| {
        let known = before.get(key).filter(|_| key.0 == member);
        let Some(known) = known else { return true };
        miss.changes -= known.changes.min(miss.changes);
        miss.changes > 0
    });
}

/// The partitions of those requests that change something.
pub(super) fn changing(requests: &[(u16, Request)]) -> Vec<u16> {
    let changes = |request: &Request| matches!(request, Request::Accept { .. });
    let changing = requests.iter().filter(|(_, request)| changes(request));
    changing.map(|(partition, _)| *partition).collect()
}

impl<M: Machine> Registers<M> {
    /// What other voters may lack of the changes that this member sent since it started.
    pub(crate) fn misses(&self) -> Misses {
        self.0.misses().clone()
    }

    /// Forgets what a member lacked that has everything now that was noted `before`.
    pub(crate) fn forget_misses(&self, member: MemberId, before: &Misses) {
        forget(&mut self.0.misses(), member, before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_missed_while_a_member_was_compared_stays_noted() {
        let (ben, cleo) = (MemberId(2), MemberId(3));
        let (mut misses, at) = (Misses::new(), Timestamp::from_millis);
        note(&mut misses, ben, &[7, 7, 8], at(5));
        note(&mut misses, cleo, &[7], at(6));
        let before = misses.clone();
        note(&mut misses, ben, &[7], at(9));
        forget(&mut misses, ben, &before);
        let left: Vec<_> = misses.iter().map(|(key, miss)| (*key, miss.changes)).collect();
        assert_eq!(left, [((ben, 7), 1), ((cleo, 7), 1)]);
    }
}
