//! What each record changes: the one place where blocks gain and lose references.
//!
//! A ledger overlays the index with changes not yet committed. Writing and replaying run through the same
//! [`Ledger::apply`], so that a replay cannot end elsewhere than the writes did. The one difference is when a
//! block without references is freed: at once while writing, at the end of a replay, since a reference that was
//! copied forward is met late.
//!
//! Where frames are lost, references may be lost with them, and nobody can tell any more which blocks are needed. So
//! each block that is there when the loss is found counts one reference that nobody holds, and is never freed. Room is
//! lost by that, and nothing else.

use std::collections::{BTreeMap, HashMap};

use super::index::{Applied, Entry, Held, Index, Place};
use super::record::{Ended, Id, Owner, REFERENCE_BYTES, Record, Reference, kind};
use crate::disk::DiskError;
use crate::disk::frame::Position;
use crate::disk::log::Placed;

/// Whether a block is freed with its last reference or when the replay ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Writing,
    Replaying,
}

/// Changes on top of the index.
pub(super) struct Ledger<'a> {
    index: &'a Index,
    mode: Mode,
    blocks: HashMap<Id, Option<Entry>>,
    references: HashMap<(Id, Owner), Option<Held>>,
    damaged: HashMap<Id, bool>,
    unsettled: HashMap<Id, bool>,
    freed: Vec<Place>,
    live: BTreeMap<u32, i64>,
    stamp: u64,
}

/// What a committed ledger changed beside the index.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Places that are free now.
    pub(super) freed: Vec<Place>,
    /// Ids that became damaged (true) or whole (false).
    pub(super) damaged: HashMap<Id, bool>,
    /// Bytes alive in the segments where that changed.
    pub(super) live: Vec<(u32, u64)>,
}

impl<'a> Ledger<'a> {
    /// Nothing changed yet; `stamp` is the highest so far.
    pub(super) fn new(index: &'a Index, mode: Mode, stamp: u64) -> Self {
        Self {
            index,
            mode,
            stamp,
            blocks: HashMap::new(),
            references: HashMap::new(),
            damaged: HashMap::new(),
            unsettled: HashMap::new(),
            freed: Vec::new(),
            live: BTreeMap::new(),
        }
    }

    /// Entries changed so far.
    pub(super) fn len(&self) -> usize {
        self.blocks.len() + self.references.len() + self.damaged.len() + self.unsettled.len()
    }

    /// Whether nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn block(&self, id: &Id) -> Result<Option<Entry>, DiskError> {
        match self.blocks.get(id) {
            Some(entry) => Ok(*entry),
            None => self.index.block(id),
        }
    }

    pub(super) fn reference(&self, id: &Id, owner: &Owner) -> Result<Option<Held>, DiskError> {
        match self.references.get(&(*id, *owner)) {
            Some(held) => Ok(*held),
            None => self.index.reference(id, owner),
        }
    }

    pub(super) fn is_damaged(&self, id: &Id) -> Result<bool, DiskError> {
        match self.damaged.get(id) {
            Some(damaged) => Ok(*damaged),
            None => self.index.is_damaged(id),
        }
    }

    /// Remembers whether a block's bytes verify, if it is still at `place`.
    pub(super) fn verified(&mut self, id: Id, place: Place, whole: bool) -> Result<(), DiskError> {
        let there = self.block(&id)?.is_some_and(|entry| entry.place == Some(place));
        if there && self.is_damaged(&id)? == whole {
            self.damaged.insert(id, !whole);
        }
        Ok(())
    }

    /// Applies a record whose frame begins at `at`.
    pub(super) fn apply(&mut self, record: &Record, at: Position) -> Result<(), DiskError> {
        self.stamp = self.stamp.max(record.stamp());
        match record {
            Record::Stored { first, pages } => {
                let place = Place {
                    position: at,
                    bytes: pages.bytes,
                    kind: kind::STORED,
                };
                self.place(first.id, place)?;
                self.add(*first, at.segment)
            }
            Record::Moved { id, pages } => self.place(
                *id,
                Place {
                    position: at,
                    bytes: pages.bytes,
                    kind: kind::MOVED,
                },
            ),
            Record::Referenced { owner, stamp, ids } => ids.iter().try_for_each(|id| {
                self.add(
                    Reference {
                        id: *id,
                        owner: *owner,
                        stamp: *stamp,
                    },
                    at.segment,
                )
            }),
            Record::Released { owner, ended } => ended.iter().try_for_each(|ended| self.end(*owner, ended)),
        }
    }

    /// The newest frame of a block is the block; what an older one occupied is free.
    fn place(&mut self, id: Id, place: Place) -> Result<(), DiskError> {
        let mut entry = self.block(&id)?.unwrap_or(Entry {
            references: 0,
            place: None,
        });
        if let Some(old) = entry.place.replace(place) {
            self.free(old);
        }
        *self.live.entry(place.position.segment).or_default() += signed(place.frame_bytes());
        // A copy carries the bytes as they are; only a body that arrived anew is known to be whole.
        if place.kind == kind::STORED && self.is_damaged(&id)? {
            self.damaged.insert(id, false);
        }
        self.set(id, entry);
        Ok(())
    }

    fn add(&mut self, reference: Reference, segment: u32) -> Result<(), DiskError> {
        let Reference { id, owner, stamp } = reference;
        let mut entry = self.block(&id)?.unwrap_or(Entry {
            references: 0,
            place: None,
        });
        match self.reference(&id, &owner)? {
            Some(old) => *self.live.entry(old.segment).or_default() -= signed(REFERENCE_BYTES),
            None => entry.references += 1,
        }
        *self.live.entry(segment).or_default() += signed(REFERENCE_BYTES);
        self.references.insert((id, owner), Some(Held { stamp, segment }));
        self.set(id, entry);
        Ok(())
    }

    fn end(&mut self, owner: Owner, ended: &Ended) -> Result<(), DiskError> {
        let Ended { id, stamp, .. } = *ended;
        let Some(held) = self.reference(&id, &owner)?.filter(|held| held.stamp == stamp) else {
            return Ok(());
        };
        *self.live.entry(held.segment).or_default() -= signed(REFERENCE_BYTES);
        self.references.insert((id, owner), None);
        let Some(mut entry) = self.block(&id)? else {
            return Ok(());
        };
        entry.references = entry.references.saturating_sub(1);
        if entry.references == 0 && self.mode == Mode::Writing {
            return self.forget(id, entry);
        }
        self.set(id, entry);
        Ok(())
    }

    fn set(&mut self, id: Id, entry: Entry) {
        if self.mode == Mode::Replaying && (entry.references == 0 || entry.place.is_none()) {
            self.unsettled.insert(id, true);
        }
        self.blocks.insert(id, Some(entry));
    }

    fn forget(&mut self, id: Id, entry: Entry) -> Result<(), DiskError> {
        if let Some(place) = entry.place {
            self.free(place);
        }
        if self.is_damaged(&id)? {
            self.damaged.insert(id, false);
        }
        self.blocks.insert(id, None);
        Ok(())
    }

    fn free(&mut self, place: Place) {
        *self.live.entry(place.position.segment).or_default() -= signed(place.frame_bytes());
        self.freed.push(place);
    }

    /// Ends a replay for one id: frees it if nobody refers to it, reports it if its bytes are gone.
    pub(super) fn settle(&mut self, id: Id) -> Result<(), DiskError> {
        self.unsettled.insert(id, false);
        let Some(entry) = self.block(&id)? else {
            return Ok(());
        };
        if entry.references == 0 {
            return self.forget(id, entry);
        }
        if entry.place.is_none() {
            self.damaged.insert(id, true);
        }
        Ok(())
    }

    /// Keeps a block for somebody whose reference is lost.
    pub(super) fn keep(&mut self, id: Id) -> Result<(), DiskError> {
        if let Some(mut entry) = self.block(&id)?.filter(|entry| entry.place.is_some()) {
            entry.references += 1;
            self.blocks.insert(id, Some(entry));
        }
        Ok(())
    }

    /// Highest stamp applied.
    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    /// Commits everything in one batch, the `number`th; `last` is the last frame applied, if any ever was. `live_before` tells how much of a segment was alive before.
    pub(super) fn commit(
        self,
        last: Option<Placed>,
        number: u64,
        live_before: impl Fn(u32) -> u64,
    ) -> Result<Changed, DiskError> {
        let stamp = self.stamp;
        let mut change = self.index.change();
        for (id, entry) in &self.blocks {
            change.block(id, *entry);
        }
        for ((id, owner), held) in &self.references {
            change.reference(id, owner, *held);
        }
        for (id, damaged) in &self.damaged {
            change.damaged(id, *damaged);
        }
        for (id, unsettled) in &self.unsettled {
            change.unsettled(id, *unsettled);
        }
        for place in &self.freed {
            change.unpunched(place, true);
        }
        let live = self.live.into_iter();
        let live: Vec<_> = live
            .map(|(segment, delta)| (segment, live_before(segment).saturating_add_signed(delta)))
            .collect();
        for (segment, bytes) in &live {
            change.live(*segment, Some(*bytes));
        }
        change.applied(last.map(|last| Applied { last, stamp }), number);
        change.commit()?;
        Ok(Changed {
            freed: self.freed,
            damaged: self.damaged,
            live,
        })
    }
}

/// Frame sizes are far below 2^63.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
