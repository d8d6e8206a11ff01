//! The disposable index of one directory: where each block is and who refers to it.
//!
//! One map per directory: a keyspace of fjall, see [`super::map`]. Everything in it follows from the log, and every change is one batch that
//! also moves `applied`, so that a lost journal leaves an older state and a longer replay, never a wrong
//! one. Integers are little-endian in values and big-endian in keys, where they must sort.
//!
//! | key | value |
//! |---|---|
//! | `a` | format 4 = 1, LSN 8, segment 4, offset 8, highest stamp 8: the last frame applied, which is one of a block log |
//! | `b` id 32 | references 8, then nothing or: segment 4, offset 8, sealed bytes 4, frame kind 1 |
//! | `d` id 32 | empty: the block's bytes did not verify |
//! | `f` segment 4, offset 8 | sealed bytes 4, frame kind 1: free, its hole not punched yet |
//! | `l` | empty: frames were lost, and the blocks that are here wait to be kept for whoever referred to them in these |
//! | `p` segment 4 | bytes punched 8 |
//! | `r` id 32, owner 16 | stamp 8, segment of its frame 4 |
//! | `s` segment 4 | bytes of live frames 8 |
//! | `t` n 2 | number 8 of the last batch with number mod 65,536 = n: a trail that shows a lost batch |
//! | `x` | empty: reading the index failed, so it is rebuilt at the next start |
//! | `z` id 32 | empty: met during replay, to be settled when it ends |

use fjall::{UserKey, UserValue};

use super::map::{Batch, Entry as Item, Map, Maps};
use super::record::{Id, Owner, Pages};
use crate::disk::DiskError;
use crate::disk::frame::{HEADER_LEN, Position};
use crate::disk::log::Placed;

const FORMAT: u32 = 1;
/// Batches whose trace is kept: more than a memtable of 8 MiB can hold, and only those may be lost.
const TRAIL: u64 = 65_536;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Start of the `STORED` or `MOVED` frame.
    pub(super) position: Position,
    /// Sealed bytes.
    pub(super) bytes: u32,
    /// Kind of that frame.
    pub(super) kind: u8,
}

impl Place {
    /// Where the sealed bytes begin in the segment's file.
    pub(super) fn body(&self) -> u64 {
        self.position.offset + HEADER_LEN as u64 + Pages::head_bytes(self.kind, self.bytes)
    }

    /// Bytes of its frame.
    pub(super) fn frame_bytes(&self) -> u64 {
        self.body() - self.position.offset + u64::from(self.bytes)
    }

    /// The hole that frees it: the whole pages of 4 KiB inside the body.
    pub(super) fn hole(&self) -> std::ops::Range<u64> {
        const HOLE_UNIT: u64 = 4096;
        let start = self.body().next_multiple_of(HOLE_UNIT);
        let end = (self.body() + u64::from(self.bytes)) / HOLE_UNIT * HOLE_UNIT;
        start..end.max(start)
    }

    fn encode(&self) -> [u8; 17] {
        let mut bytes = [0; 17];
        bytes[..4].copy_from_slice(&self.position.segment.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.position.offset.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[16] = self.kind;
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let position = Position {
            segment: fields.u32()?,
            offset: fields.u64()?,
        };
        let (bytes, kind) = (fields.u32()?, fields.u8()?);
        fields.0.is_empty().then_some(Self {
            position,
            bytes,
            kind,
        })
    }
}

/// What is known of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// How many references it has.
    pub(super) references: u64,
    /// Where it is; nowhere if its frames were lost.
    pub(super) place: Option<Place>,
}

/// A reference that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Its stamp.
    pub(super) stamp: u64,
    /// The segment of the frame that says so.
    pub(super) segment: u32,
}

/// How far the index has followed the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    /// The last frame applied.
    pub(super) last: Placed,
    /// No stamp so far is higher.
    pub(super) stamp: u64,
}

/// Takes little-endian fields off the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// The index of one directory.
#[derive(Clone)]
pub(super) struct Index {
    maps: Maps,
    map: Map,
}

/// A value that does not parse: the index is disposable, so the answer is to rebuild it at the next start.
fn broken() -> DiskError {
    DiskError::Index("an entry of the block index does not parse".into())
}

impl Index {
    /// Opens the index of the directory with this identity, empty if there is none.
    pub(super) fn open(maps: Maps, identity: [u8; 16]) -> Result<Self, DiskError> {
        let map = maps.map(&hex::encode(identity))?;
        Ok(Self { maps, map })
    }

    /// Throws everything away.
    pub(super) fn emptied(self, identity: [u8; 16]) -> Result<Self, DiskError> {
        self.maps.delete(self.map)?;
        Self::open(self.maps, identity)
    }

    fn get<T>(&self, key: &[u8], decode: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, DiskError> {
        let got = match self.map.get(key) {
            Ok(Some(value)) => decode(&value).ok_or_else(broken).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        got.inspect_err(|_| self.distrust())
    }

    /// Lets the next start rebuild the index.
    fn distrust(&self) {
        if let Err(error) = self.map.insert(b"x", &[]) {
            tracing::error!(%error, "a broken block index will not be rebuilt unless it is deleted");
        }
    }

    fn is_distrusted(&self) -> Result<bool, DiskError> {
        self.map.contains_key(b"x")
    }

    /// Whether frames were lost, and blocks wait to be kept for whoever referred to them in these.
    pub(super) fn is_lossy(&self) -> Result<bool, DiskError> {
        self.map.contains_key(b"l")
    }

    /// Remembers that frames were lost, or that all blocks are kept. No later change survives a crash without it.
    pub(super) fn set_lossy(&self, lossy: bool) -> Result<(), DiskError> {
        match lossy {
            true => self.map.insert(b"l", &[]),
            false => self.map.remove(b"l"),
        }
    }

    pub(super) fn block(&self, id: &Id) -> Result<Option<Entry>, DiskError> {
        self.get(&named(b'b', id), |value| {
            let (references, place) = value.split_first_chunk()?;
            let place = match place {
                [] => None,
                place => Some(Place::decode(place)?),
            };
            Some(Entry {
                references: u64::from_le_bytes(*references),
                place,
            })
        })
    }

    pub(super) fn reference(&self, id: &Id, owner: &Owner) -> Result<Option<Held>, DiskError> {
        self.get(&held(id, owner), decode_held)
    }

    pub(super) fn is_damaged(&self, id: &Id) -> Result<bool, DiskError> {
        self.map.contains_key(&named(b'd', id))
    }

    pub(super) fn applied(&self) -> Result<Option<Applied>, DiskError> {
        self.get(b"a", |value| {
            let mut fields = Fields(value);
            if fields.u32()? != FORMAT {
                return None;
            }
            let lsn = fields.u64()?;
            let position = Position {
                segment: fields.u32()?,
                offset: fields.u64()?,
            };
            Some(Applied {
                last: Placed { position, lsn },
                stamp: fields.u64()?,
            })
        })
    }

    /// The number of the last batch, if the trail proves that none before it is missing.
    pub(super) fn whole_trail(&self) -> Result<Option<u64>, DiskError> {
        if self.is_distrusted()? {
            return Ok(None);
        }
        let mut numbers = Vec::new();
        for item in self.map.prefix(b"t") {
            let (key, value) = item.into_inner()?;
            let number = Fields(&value).u64().ok_or_else(broken)?;
            if key.get(1..) != Some(&slot(number)) {
                return Ok(None);
            }
            numbers.push(number);
        }
        numbers.sort_unstable();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
            return Ok(Some(0));
        };
        let expected = (*last).min(TRAIL);
        Ok((numbers.len() as u64 == expected && last - first + 1 == expected).then_some(*last))
    }

    pub(super) fn damaged(&self) -> Result<Vec<Id>, DiskError> {
        self.ids(b'd', None, usize::MAX)
    }

    /// Ids met during replay and not settled, at most `most`.
    pub(super) fn unsettled(&self, most: usize) -> Result<Vec<Id>, DiskError> {
        self.ids(b'z', None, most)
    }

    /// Blocks in the order of their ids after `after`, at most `most`.
    pub(super) fn blocks(&self, after: Option<Id>, most: usize) -> Result<Vec<Id>, DiskError> {
        self.ids(b'b', after, most)
    }

    fn ids(&self, prefix: u8, after: Option<Id>, most: usize) -> Result<Vec<Id>, DiskError> {
        use std::ops::Bound::{Excluded, Included};
        let from = after.map_or(Included(vec![prefix]), |id| Excluded(named(prefix, &id)));
        let keys = self.map.range(from, vec![prefix + 1]).take(most);
        keys.map(|item| {
            let key = item.key()?;
            key.get(1..).and_then(|id| id.try_into().ok()).ok_or_else(broken)
        })
        .collect()
    }

    /// Places that are free and not punched, at most `most`.
    pub(super) fn unpunched(&self, most: usize) -> Result<Vec<Place>, DiskError> {
        let items = self.map.prefix(b"f").take(most);
        items
            .map(|item| {
                let (key, value) = item.into_inner()?;
                let (segment, offset) = key
                    .get(1..)
                    .and_then(|key| key.split_first_chunk())
                    .ok_or_else(broken)?;
                let offset = offset.try_into().map_err(|_| broken())?;
                let position = Position {
                    segment: u32::from_be_bytes(*segment),
                    offset: u64::from_be_bytes(offset),
                };
                let mut fields = Fields(&value);
                let (bytes, kind) = fields.u32().zip(fields.u8()).ok_or_else(broken)?;
                Ok(Place {
                    position,
                    bytes,
                    kind,
                })
            })
            .collect()
    }

    /// Bytes per segment, of live frames (`s`) or of holes (`p`).
    fn sums(&self, prefix: u8) -> Result<Vec<(u32, u64)>, DiskError> {
        let items = self.map.prefix(&[prefix]);
        items
            .map(|item| {
                let (key, value) = item.into_inner()?;
                let segment = key
                    .get(1..)
                    .and_then(|key| key.try_into().ok())
                    .ok_or_else(broken)?;
                Ok((
                    u32::from_be_bytes(segment),
                    Fields(&value).u64().ok_or_else(broken)?,
                ))
            })
            .collect()
    }

    pub(super) fn live(&self) -> Result<Vec<(u32, u64)>, DiskError> {
        self.sums(b's')
    }

    pub(super) fn punched(&self) -> Result<Vec<(u32, u64)>, DiskError> {
        self.sums(b'p')
    }

    /// References in key order after `after`, at most `most`.
    pub(super) fn references(
        &self,
        after: Option<(Id, Owner)>,
        most: usize,
    ) -> Result<Vec<(Id, Owner, u64)>, DiskError> {
        use std::ops::Bound::{Excluded, Included};
        let from = match after {
            Some((id, owner)) => Excluded(held(&id, &owner)),
            None => Included(vec![b'r']),
        };
        let items = self.map.range(from, vec![b'r' + 1]).take(most);
        items
            .map(|item| {
                let (key, value) = item.into_inner()?;
                let (id, owner) = key
                    .get(1..)
                    .and_then(|key| key.split_first_chunk())
                    .ok_or_else(broken)?;
                let owner = owner.try_into().map_err(|_| broken())?;
                Ok((*id, owner, decode_held(&value).ok_or_else(broken)?.stamp))
            })
            .collect()
    }

    /// Forgets the sums of a segment that is gone, and holes that need no punching any more.
    pub(super) fn forget_segment(&self, segment: u32) -> Result<(), DiskError> {
        let mut change = self.change();
        change.live(segment, None);
        change.punched(segment, None);
        let mut prefix = vec![b'f'];
        prefix.extend(segment.to_be_bytes());
        for key in self.map.prefix(&prefix).map(Item::key) {
            change.remove(key?);
        }
        change.commit()
    }

    /// Makes everything committed so far survive a crash.
    pub(super) fn persist(&self) -> Result<(), DiskError> {
        self.maps.persist()
    }

    pub(super) fn change(&self) -> Change<'_> {
        Change {
            index: self,
            batch: self.maps.batch(),
        }
    }
}

/// Changes that are committed together.
pub(super) struct Change<'a> {
    index: &'a Index,
    batch: Batch,
}

impl Change<'_> {
    fn put(&mut self, key: impl Into<UserKey>, value: impl Into<UserValue>) {
        self.batch.insert(&self.index.map, key, value);
    }

    fn remove(&mut self, key: impl Into<UserKey>) {
        self.batch.remove(&self.index.map, key);
    }

    pub(super) fn block(&mut self, id: &Id, entry: Option<Entry>) {
        let Some(entry) = entry else {
            return self.remove(named(b'b', id));
        };
        let mut value = entry.references.to_le_bytes().to_vec();
        value.extend(entry.place.iter().flat_map(Place::encode));
        self.put(named(b'b', id), value);
    }

    pub(super) fn reference(&mut self, id: &Id, owner: &Owner, reference: Option<Held>) {
        let Some(reference) = reference else {
            return self.remove(held(id, owner));
        };
        let mut value = reference.stamp.to_le_bytes().to_vec();
        value.extend(reference.segment.to_le_bytes());
        self.put(held(id, owner), value);
    }

    pub(super) fn damaged(&mut self, id: &Id, damaged: bool) {
        self.flag(b'd', id, damaged);
    }

    pub(super) fn unsettled(&mut self, id: &Id, unsettled: bool) {
        self.flag(b'z', id, unsettled);
    }

    fn flag(&mut self, prefix: u8, id: &Id, on: bool) {
        match on {
            true => self.put(named(prefix, id), []),
            false => self.remove(named(prefix, id)),
        }
    }

    pub(super) fn unpunched(&mut self, place: &Place, unpunched: bool) {
        let mut key = vec![b'f'];
        key.extend(place.position.segment.to_be_bytes());
        key.extend(place.position.offset.to_be_bytes());
        match unpunched {
            true => self.put(key, &place.encode()[12..]),
            false => self.remove(key),
        }
    }

    pub(super) fn live(&mut self, segment: u32, bytes: Option<u64>) {
        self.sum(b's', segment, bytes);
    }

    pub(super) fn punched(&mut self, segment: u32, bytes: Option<u64>) {
        self.sum(b'p', segment, bytes);
    }

    fn sum(&mut self, prefix: u8, segment: u32, bytes: Option<u64>) {
        let mut key = vec![prefix];
        key.extend(segment.to_be_bytes());
        match bytes {
            Some(bytes) => self.put(key, bytes.to_le_bytes()),
            None => self.remove(key),
        }
    }

    /// Says how far the log is applied; `number` counts these batches from 1 without a gap.
    pub(super) fn applied(&mut self, applied: Option<Applied>, number: u64) {
        if let Some(Applied { last, stamp }) = applied {
            let mut value = FORMAT.to_le_bytes().to_vec();
            value.extend(last.lsn.to_le_bytes());
            value.extend(last.position.segment.to_le_bytes());
            value.extend(last.position.offset.to_le_bytes());
            value.extend(stamp.to_le_bytes());
            self.put(*b"a", value);
        }
        let mut trail = vec![b't'];
        trail.extend(slot(number));
        self.put(trail, number.to_le_bytes());
    }

    pub(super) fn commit(self) -> Result<(), DiskError> {
        self.batch.commit()
    }
}

fn named(prefix: u8, id: &Id) -> Vec<u8> {
    let mut key = Vec::with_capacity(33);
    key.push(prefix);
    key.extend(id);
    key
}

fn held(id: &Id, owner: &Owner) -> Vec<u8> {
    let mut key = Vec::with_capacity(49);
    key.push(b'r');
    key.extend(id);
    key.extend(owner);
    key
}

fn slot(number: u64) -> [u8; 2] {
    // The remainder is below 65,536.
    let bytes = (number % TRAIL).to_be_bytes();
    [bytes[6], bytes[7]]
}

fn decode_held(value: &[u8]) -> Option<Held> {
    let mut fields = Fields(value);
    let (stamp, segment) = (fields.u64()?, fields.u32()?);
    fields.0.is_empty().then_some(Held { stamp, segment })
}
