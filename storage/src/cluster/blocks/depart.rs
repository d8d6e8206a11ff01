//! Whether a member may go: nothing is left on its disk that others rely on, and nothing is taken in any more.

use std::ops::Bound::{Excluded, Included};
use std::sync::atomic::Ordering;

use super::Blocks;
use super::wire::{Answer, Call};
use crate::StoreError;
use crate::disk::DiskError;
use crate::model::{MemberId, row_key};

/// How far it is counted what is left.
const COUNTED_MAX: usize = 10_000;

/// What a member that is to go says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Nothing is left there, and nothing comes any more.
    Ready,
    /// So many references are still to be handed over, or are missing elsewhere and only noted there; counted up to 10,000.
    Holds(u32),
    /// It has not heard yet that it is to hand over.
    Unaware,
    /// It does not answer.
    Away,
}

impl Blocks {
    /// Asks a member, which may be this one, whether it may go. Once it is ready it stays so while its row says that it
    /// hands over.
    pub(crate) async fn departure_of(&self, member: MemberId) -> Departure {
        let answer = match member == self.me() {
            true => self.depart().await.ok(),
            false => self.ask_briefly(member, &Call::Depart).await,
        };
        match answer {
            Some(Answer::Done) => Departure::Ready,
            Some(Answer::Holds(references)) => Departure::Holds(references),
            Some(Answer::Absent) => Departure::Unaware,
            _ => Departure::Away,
        }
    }

    /// Takes in nothing more, if nothing is left here.
    pub(super) async fn depart(&self) -> Result<Answer, StoreError> {
        if !self.holders().hands_over() {
            self.0.around.news.ring();
            return Ok(Answer::Absent);
        }
        // Whatever is being taken in has either come, and is counted, or sees that nothing is taken in any more.
        let _alone = self.0.handover.closed().await;
        let disk = self.disk().clone();
        let left = self.disk().run(move || left_on(&disk)).await??;
        self.0.departing.store(left == 0, Ordering::Relaxed);
        Ok(match u32::try_from(left) {
            Ok(0) => Answer::Done,
            left => Answer::Holds(left.unwrap_or(u32::MAX)),
        })
    }

    /// Whether nothing is taken in any more. Asked while [`super::hand_on::Handover::tell`] holds the door.
    pub(super) fn is_departing(&self) -> bool {
        let departing = &self.0.departing;
        if departing.load(Ordering::Relaxed) && self.holders().stays() {
            departing.store(false, Ordering::Relaxed);
        }
        departing.load(Ordering::Relaxed)
    }
}

/// References on this disk, and those that are noted here because they are missing elsewhere.
fn left_on(disk: &crate::disk::Disk) -> Result<usize, DiskError> {
    let mut left = disk.references(None, COUNTED_MAX)?.len();
    let (from, to) = row_key::all_wanted();
    let mut wanted = disk.scan(Included(&from), Excluded(&to))?;
    while left < COUNTED_MAX && wanted.next_row()?.is_some() {
        left += 1;
    }
    Ok(left)
}
