//! Decides what a request to one directory writes and what it is answered, without writing anything.

use std::collections::HashSet;

use bytes::Bytes;

use super::index::Place;
use super::ledger::Ledger;
use super::record::{Ended, HEAD_MAX, IDS_MAX, Id, Owner, Pages, Record, Reference};
use super::room::Room;
use super::stamps::Stamps;
use crate::disk::DiskError;
use crate::disk::frame::{HEADER_LEN, Position};

/// Frames of one request are decided before their places are known; segment 0 does not exist.
const NOT_YET: Position = Position {
    segment: 0,
    offset: 0,
};

/// What is asked of a directory's owner.
pub(super) enum Ask {
    /// Store a block, or add the reference if it is here.
    Put {
        id: Id,
        owner: Owner,
        sealed: Bytes,
        pages: Pages,
    },
    /// Add references to blocks that are all here.
    Add { owner: Owner, ids: Vec<Id> },
    /// Remove references.
    Release { owner: Owner, ids: Vec<Id> },
    /// Remember that a block at this place does not verify, or that it does.
    Verified { id: Id, place: Place, whole: bool },
    /// Copy forward what is still true of records found in an old segment.
    Copy { found: Vec<Found>, others: Vec<u32> },
}

impl Ask {
    /// Bytes of sealed blocks it carries.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Put { sealed, .. } => sealed.len(),
            Self::Copy { found, .. } => found.iter().flat_map(|found| &found.sealed).map(Bytes::len).sum(),
            _ => 0,
        }
    }
}

/// A record in a segment that is being rewritten.
pub(super) struct Found {
    pub(super) at: Position,
    pub(super) record: Record,
    /// Sealed bytes, for a block that looked alive.
    pub(super) sealed: Option<Bytes>,
}

/// A record to append, and the sealed bytes behind it.
pub(super) type Write = (Record, Option<Bytes>);

/// What a request comes to.
pub(super) struct Decision {
    pub(super) writes: Vec<Write>,
    /// Ids that gain a reference they did not have.
    pub(super) added: Vec<Id>,
}

impl Decision {
    fn nothing() -> Self {
        Self {
            writes: Vec::new(),
            added: Vec::new(),
        }
    }

    fn write(record: Record, sealed: Option<Bytes>) -> Self {
        Self {
            writes: vec![(record, sealed)],
            added: Vec::new(),
        }
    }
}

/// Why there is no decision.
pub(super) enum Undecided {
    /// It depends on the place of a frame that is not written yet: decide again after that.
    Later,
    /// The answer is an error.
    Refused(DiskError),
}

impl From<DiskError> for Undecided {
    fn from(error: DiskError) -> Self {
        Self::Refused(error)
    }
}

/// Decides requests one after another, each knowing what the ones before it will have changed.
pub(super) struct Decider<'a> {
    pub(super) ledger: Ledger<'a>,
    pub(super) room: Room,
    pub(super) stamps: &'a Stamps,
    /// The device has just said that it is full: no blocks now, whatever the numbers say.
    pub(super) refuse_blocks: bool,
}

impl Decider<'_> {
    pub(super) fn decide(&mut self, ask: &Ask) -> Result<Decision, Undecided> {
        let decision = match ask {
            Ask::Put {
                id,
                owner,
                sealed,
                pages,
            } => self.put(*id, *owner, sealed, pages)?,
            Ask::Add { owner, ids } => self.add(*owner, ids)?,
            Ask::Release { owner, ids } => self.release(*owner, ids)?,
            Ask::Verified { .. } => Decision::nothing(),
            Ask::Copy { found, others } => self.copy(found, others)?,
        };
        for (record, _) in &decision.writes {
            self.ledger.apply(record, NOT_YET)?;
        }
        Ok(decision)
    }

    fn put(&mut self, id: Id, owner: Owner, sealed: &Bytes, pages: &Pages) -> Result<Decision, Undecided> {
        let here = self.ledger.block(&id)?.is_some_and(|entry| entry.place.is_some());
        // A damaged block that arrives again replaces the damaged bytes: that is how it is repaired.
        if here && !self.ledger.is_damaged(&id)? {
            return self.add(owner, &[id]);
        }
        let stamp = self.stamps.next();
        let frame_bytes = u64::from(pages.bytes) + (HEADER_LEN + HEAD_MAX) as u64;
        if self.refuse_blocks || !self.room.admits(frame_bytes) {
            let Room { used, given, .. } = self.room;
            return Err(DiskError::Full { used, given }.into());
        }
        self.room.used += frame_bytes;
        let record = Record::Stored {
            first: Reference { id, owner, stamp },
            pages: pages.clone(),
        };
        Ok(Decision::write(record, Some(sealed.clone())))
    }

    fn add(&mut self, owner: Owner, ids: &[Id]) -> Result<Decision, Undecided> {
        let mut added = Vec::new();
        let mut met = HashSet::new();
        for id in ids {
            if self.ledger.block(id)?.is_none() {
                return Err(DiskError::NoSuchBlock.into());
            }
            if met.insert(*id) && self.ledger.reference(id, &owner)?.is_none() {
                added.push(*id);
            }
        }
        let stamp = self.stamps.next();
        let frames = added.chunks(IDS_MAX);
        let writes = frames.map(|ids| {
            (
                Record::Referenced {
                    owner,
                    stamp,
                    ids: ids.to_vec(),
                },
                None,
            )
        });
        Ok(Decision {
            writes: writes.collect(),
            added,
        })
    }

    fn release(&mut self, owner: Owner, ids: &[Id]) -> Result<Decision, Undecided> {
        let mut ended = Vec::new();
        let mut met = HashSet::new();
        for id in ids {
            let Some(held) = self.ledger.reference(id, &owner)?.filter(|_| met.insert(*id)) else {
                continue;
            };
            if held.segment == NOT_YET.segment {
                return Err(Undecided::Later);
            }
            ended.push(Ended {
                id: *id,
                stamp: held.stamp,
                segment: held.segment,
            });
        }
        let frames = ended.chunks(IDS_MAX);
        let writes = frames.map(|ended| {
            (
                Record::Released {
                    owner,
                    ended: ended.to_vec(),
                },
                None,
            )
        });
        Ok(Decision {
            writes: writes.collect(),
            added: Vec::new(),
        })
    }

    fn copy(&mut self, found: &[Found], others: &[u32]) -> Result<Decision, Undecided> {
        let mut writes = Vec::new();
        for Found { at, record, sealed } in found {
            match record {
                Record::Stored { first, pages } => {
                    self.copy_block(&mut writes, *at, first.id, pages, sealed.as_ref())?;
                    self.copy_references(&mut writes, *at, first.owner, first.stamp, &[first.id])?;
                }
                Record::Moved { id, pages } => {
                    self.copy_block(&mut writes, *at, *id, pages, sealed.as_ref())?
                }
                Record::Referenced { owner, stamp, ids } => {
                    self.copy_references(&mut writes, *at, *owner, *stamp, ids)?;
                }
                Record::Released { owner, ended } => {
                    let kept = ended.iter().filter(|ended| others.contains(&ended.segment));
                    let ended: Vec<_> = kept.copied().collect();
                    if !ended.is_empty() {
                        writes.push((Record::Released { owner: *owner, ended }, None));
                    }
                }
            }
        }
        Ok(Decision {
            writes,
            added: Vec::new(),
        })
    }

    fn copy_block(
        &self,
        writes: &mut Vec<Write>,
        at: Position,
        id: Id,
        pages: &Pages,
        sealed: Option<&Bytes>,
    ) -> Result<(), DiskError> {
        let place = self.ledger.block(&id)?.and_then(|entry| entry.place);
        if place.is_some_and(|place| place.position == at)
            && let Some(sealed) = sealed
        {
            writes.push((
                Record::Moved {
                    id,
                    pages: pages.clone(),
                },
                Some(sealed.clone()),
            ));
        }
        Ok(())
    }

    fn copy_references(
        &self,
        writes: &mut Vec<Write>,
        at: Position,
        owner: Owner,
        stamp: u64,
        ids: &[Id],
    ) -> Result<(), DiskError> {
        let mut kept = Vec::new();
        for id in ids {
            let held = self.ledger.reference(id, &owner)?;
            if held.is_some_and(|held| held.stamp == stamp && held.segment == at.segment) {
                kept.push(*id);
            }
        }
        if !kept.is_empty() {
            writes.push((
                Record::Referenced {
                    owner,
                    stamp,
                    ids: kept,
                },
                None,
            ));
        }
        Ok(())
    }
}
