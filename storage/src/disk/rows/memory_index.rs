//! The index of rows in memory, for simulations and as the model the one on disk is tested against.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::index::IndexBatch;
use crate::disk::log::Placed;

/// The index of rows in memory.
#[derive(Default)]
pub(crate) struct MemoryIndex(Mutex<Inner>);

#[derive(Clone, Default)]
struct Inner {
    rows: Arc<BTreeMap<Bytes, Bytes>>,
    applied: Option<Placed>,
    drops: BTreeMap<u32, u64>,
}

impl MemoryIndex {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index as it is now.
    pub(crate) fn copy(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }

    pub(super) fn get<T>(&self, key: &[u8], found: impl Fn(&[u8]) -> T) -> Option<T> {
        self.lock().rows.get(key).map(|entry| found(entry))
    }

    pub(super) fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>) -> MemoryScan {
        let own = |bound: Bound<&[u8]>| bound.map(Bytes::copy_from_slice);
        MemoryScan {
            rows: self.lock().rows.clone(),
            from: own(from),
            to: own(to),
            entry: Bytes::new(),
        }
    }

    pub(super) fn write(&self, batch: IndexBatch) {
        let mut inner = self.lock();
        let rows = Arc::make_mut(&mut inner.rows);
        for change in batch.changes {
            match change.entry {
                Some(entry) => drop(rows.insert(change.key, entry.into())),
                None => drop(rows.remove(&change.key)),
            }
        }
        inner.applied = batch.applied.or(inner.applied);
        inner.drops.extend(batch.drops);
        inner.drops.retain(|_, bytes| *bytes > 0);
    }

    pub(super) fn applied(&self) -> Option<Placed> {
        self.lock().applied
    }

    pub(super) fn drops(&self) -> Vec<(u32, u64)> {
        self.lock()
            .drops
            .iter()
            .map(|(segment, bytes)| (*segment, *bytes))
            .collect()
    }

    pub(super) fn rows_about(&self) -> u64 {
        self.lock().rows.len() as u64
    }
}

/// Entries in key order, as they were when the scan began.
pub(crate) struct MemoryScan {
    rows: Arc<BTreeMap<Bytes, Bytes>>,
    /// Behind the entry that was given last, once one was.
    from: Bound<Bytes>,
    to: Bound<Bytes>,
    entry: Bytes,
}

impl MemoryScan {
    /// The next key and its entry.
    pub(super) fn next(&mut self) -> Option<(&[u8], &[u8])> {
        if is_empty(&self.from, &self.to) {
            return None;
        }
        let range = (self.from.as_ref(), self.to.as_ref());
        let (key, entry) = self.rows.range::<Bytes, _>(range).next()?;
        let (key, entry) = (key.clone(), entry.clone());
        (self.from, self.entry) = (Bound::Excluded(key), entry);
        match &self.from {
            Bound::Excluded(key) => Some((key, &self.entry)),
            _ => None,
        }
    }
}

/// Whether nothing can lie between two bounds; a map panics when it is asked for such a range.
pub(super) fn is_empty<K: Ord>(from: &Bound<K>, to: &Bound<K>) -> bool {
    match (from, to) {
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => {
            from >= to
        }
        _ => false,
    }
}
