//! Blocks kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::DiskError;

type BlockMap = BTreeMap<[u8; 32], (Bytes, BTreeSet<[u8; 16]>)>;

/// Blocks kept in memory.
#[derive(Default)]
pub(crate) struct BlocksInMemory(Mutex<BlockMap>);

impl BlocksInMemory {
    fn lock(&self) -> MutexGuard<'_, BlockMap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, id: [u8; 32], owner: [u8; 16], sealed: Bytes) {
        self.lock()
            .entry(id)
            .or_insert((sealed, BTreeSet::new()))
            .1
            .insert(owner);
    }

    pub(crate) fn add_references(&self, owner: [u8; 16], ids: &[[u8; 32]]) -> Result<(), DiskError> {
        let mut blocks = self.lock();
        if ids.iter().any(|id| !blocks.contains_key(id)) {
            return Err(DiskError::NoSuchBlock);
        }
        for id in ids {
            if let Some((_, owners)) = blocks.get_mut(id) {
                owners.insert(owner);
            }
        }
        Ok(())
    }

    pub(crate) fn release(&self, owner: [u8; 16], ids: &[[u8; 32]]) {
        let mut blocks = self.lock();
        for id in ids {
            if let Some((_, owners)) = blocks.get_mut(id) {
                owners.remove(&owner);
                if owners.is_empty() {
                    blocks.remove(id);
                }
            }
        }
    }

    pub(crate) fn read(&self, id: [u8; 32], range: Range<u32>) -> Result<Vec<u8>, DiskError> {
        let blocks = self.lock();
        let (sealed, _) = blocks.get(&id).ok_or(DiskError::NoSuchBlock)?;
        let end = (range.end as usize).min(sealed.len());
        Ok(sealed[(range.start as usize).min(end)..end].to_vec())
    }
}
