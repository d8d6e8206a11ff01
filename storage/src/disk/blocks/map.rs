//! The sorted map under the index of a directory: a keyspace of fjall or, in simulations, one in memory.

#[cfg(any(test, feature = "simulation"))]
use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
#[cfg(any(test, feature = "simulation"))]
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(any(test, feature = "simulation"))]
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fjall::{Guard, Iter, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, UserKey, UserValue};

use crate::disk::DiskError;

/// Memory and journal of all maps of a node: small enough for a box of 1 GB.
const CACHE_BYTES: u64 = 16 << 20;
const JOURNAL_BYTES: u64 = 64 << 20;
/// Changes held in memory, and the most that a lost journal can lose.
const MEMTABLE_BYTES: u64 = 8 << 20;

/// The maps of a node.
#[derive(Clone)]
pub(in crate::disk) enum Maps {
    /// On disk.
    Fjall(fjall::Database),
    /// In memory, empty at each start; fails to be written while told to.
    #[cfg(any(test, feature = "simulation"))]
    Memory(Arc<AtomicBool>),
}

impl Maps {
    /// Opens the maps in a directory, or empty ones in their place.
    pub(in crate::disk) fn open(path: &Path) -> Result<Self, DiskError> {
        let open = || {
            fjall::Database::builder(path)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNAL_BYTES)
                .worker_threads(1)
                .open()
        };
        // Bytes from a damaged disk make fjall panic in places; that is one more way of not opening.
        match catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(database)) => return Ok(Self::Fjall(database)),
            Ok(Err(fjall::Error::Locked)) => {
                return Err(DiskError::Locked {
                    directory: path.into(),
                });
            }
            Ok(Err(error)) => tracing::warn!(%error, "block index does not open; it is rebuilt"),
            Err(_) => tracing::warn!("block index does not open; it is rebuilt"),
        }
        match fs::remove_dir_all(path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(DiskError::Io {
                directory: path.into(),
                action: "delete index",
                source,
            }),
            _ => open().map(Self::Fjall).map_err(failed),
        }
    }

    /// The map of that name, empty if there was none.
    pub(super) fn map(&self, name: &str) -> Result<Map, DiskError> {
        match self {
            Self::Fjall(database) => {
                let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
                Ok(Map::Fjall(database.keyspace(name, options).map_err(failed)?))
            }
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(_) => Ok(Map::Memory(Arc::default())),
        }
    }

    /// Removes a map.
    pub(super) fn delete(&self, map: Map) -> Result<(), DiskError> {
        match (self, map) {
            (Self::Fjall(database), Map::Fjall(keyspace)) => {
                database.delete_keyspace(keyspace).map_err(failed)
            }
            #[cfg(any(test, feature = "simulation"))]
            _ => Ok(()),
        }
    }

    /// Makes everything committed so far survive a crash.
    pub(super) fn persist(&self) -> Result<(), DiskError> {
        match self {
            Self::Fjall(database) => database.persist(PersistMode::SyncData).map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(full) => writable(full),
        }
    }

    /// Changes to be committed together.
    pub(super) fn batch(&self) -> Batch {
        match self {
            Self::Fjall(database) => Batch::Fjall(Box::new(database.batch())),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(full) => Batch::Memory(full.clone(), Vec::new()),
        }
    }
}

#[cfg(any(test, feature = "simulation"))]
type Tree = BTreeMap<UserKey, UserValue>;

/// A sorted map of bytes to bytes.
#[derive(Clone)]
pub(super) enum Map {
    /// On disk.
    Fjall(Keyspace),
    /// In memory.
    #[cfg(any(test, feature = "simulation"))]
    Memory(Arc<Mutex<Tree>>),
}

impl Map {
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<UserValue>, DiskError> {
        match self {
            Self::Fjall(keyspace) => keyspace.get(key).map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(tree) => Ok(lock(tree).get(key).cloned()),
        }
    }

    pub(super) fn contains_key(&self, key: &[u8]) -> Result<bool, DiskError> {
        match self {
            Self::Fjall(keyspace) => keyspace.contains_key(key).map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(tree) => Ok(lock(tree).contains_key(key)),
        }
    }

    pub(super) fn insert(&self, key: &[u8], value: &[u8]) -> Result<(), DiskError> {
        match self {
            Self::Fjall(keyspace) => keyspace.insert(key, value).map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(tree) => {
                lock(tree).insert(key.into(), value.into());
                Ok(())
            }
        }
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<(), DiskError> {
        match self {
            Self::Fjall(keyspace) => keyspace.remove(key).map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(tree) => {
                lock(tree).remove(key);
                Ok(())
            }
        }
    }

    /// Entries whose keys begin with `prefix`, in order.
    pub(super) fn prefix(&self, prefix: &[u8]) -> Entries {
        match self {
            Self::Fjall(keyspace) => Entries::Fjall(keyspace.prefix(prefix)),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(tree) => {
                let tree = lock(tree);
                let from = tree.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded));
                let entries = from.take_while(|(key, _)| key.starts_with(prefix));
                Entries::memory(entries)
            }
        }
    }

    /// Entries from a bound to before a key, in order.
    pub(super) fn range(&self, from: Bound<Vec<u8>>, before: Vec<u8>) -> Entries {
        let range = (from, Bound::Excluded(before));
        match self {
            Self::Fjall(keyspace) => Entries::Fjall(keyspace.range(range)),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(tree) => {
                let (from, before) = (
                    range.0.as_ref().map(Vec::as_slice),
                    range.1.as_ref().map(Vec::as_slice),
                );
                Entries::memory(lock(tree).range::<[u8], _>((from, before)))
            }
        }
    }
}

/// Entries of a map, in order, as they were when they were asked for.
pub(super) enum Entries {
    /// On disk.
    Fjall(Iter),
    /// In memory.
    #[cfg(any(test, feature = "simulation"))]
    Memory(std::vec::IntoIter<(UserKey, UserValue)>),
}

#[cfg(any(test, feature = "simulation"))]
impl Entries {
    fn memory<'a>(entries: impl Iterator<Item = (&'a UserKey, &'a UserValue)>) -> Self {
        let entries: Vec<_> = entries.map(|(key, value)| (key.clone(), value.clone())).collect();
        Self::Memory(entries.into_iter())
    }
}

impl Iterator for Entries {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        match self {
            Self::Fjall(entries) => entries.next().map(Entry::Fjall),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(entries) => entries.next().map(Entry::Memory),
        }
    }
}

/// One entry of a map, not read yet.
pub(super) enum Entry {
    /// On disk.
    Fjall(Guard),
    /// In memory.
    #[cfg(any(test, feature = "simulation"))]
    Memory((UserKey, UserValue)),
}

impl Entry {
    pub(super) fn key(self) -> Result<UserKey, DiskError> {
        match self {
            Self::Fjall(guard) => guard.key().map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory((key, _)) => Ok(key),
        }
    }

    pub(super) fn into_inner(self) -> Result<(UserKey, UserValue), DiskError> {
        match self {
            Self::Fjall(guard) => guard.into_inner().map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(entry) => Ok(entry),
        }
    }
}

/// Changes to be committed together.
pub(super) enum Batch {
    /// On disk.
    Fjall(Box<OwnedWriteBatch>),
    /// In memory.
    #[cfg(any(test, feature = "simulation"))]
    Memory(
        Arc<AtomicBool>,
        Vec<(Arc<Mutex<Tree>>, UserKey, Option<UserValue>)>,
    ),
}

impl Batch {
    pub(super) fn insert(&mut self, map: &Map, key: impl Into<UserKey>, value: impl Into<UserValue>) {
        match (self, map) {
            (Self::Fjall(batch), Map::Fjall(keyspace)) => batch.insert(keyspace, key, value),
            #[cfg(any(test, feature = "simulation"))]
            (Self::Memory(_, batch), Map::Memory(tree)) => {
                batch.push((tree.clone(), key.into(), Some(value.into())));
            }
            #[cfg(any(test, feature = "simulation"))]
            _ => {}
        }
    }

    pub(super) fn remove(&mut self, map: &Map, key: impl Into<UserKey>) {
        match (self, map) {
            (Self::Fjall(batch), Map::Fjall(keyspace)) => batch.remove(keyspace, key),
            #[cfg(any(test, feature = "simulation"))]
            (Self::Memory(_, batch), Map::Memory(tree)) => batch.push((tree.clone(), key.into(), None)),
            #[cfg(any(test, feature = "simulation"))]
            _ => {}
        }
    }

    pub(super) fn commit(self) -> Result<(), DiskError> {
        match self {
            Self::Fjall(batch) => batch.commit().map_err(failed),
            #[cfg(any(test, feature = "simulation"))]
            Self::Memory(full, batch) => {
                writable(&full)?;
                for (tree, key, value) in batch {
                    match value {
                        Some(value) => drop(lock(&tree).insert(key, value)),
                        None => drop(lock(&tree).remove(&key)),
                    }
                }
                Ok(())
            }
        }
    }
}

fn failed(error: fjall::Error) -> DiskError {
    DiskError::Index(Box::new(error))
}

#[cfg(any(test, feature = "simulation"))]
fn writable(full: &AtomicBool) -> Result<(), DiskError> {
    match full.load(Ordering::Relaxed) {
        true => Err(DiskError::Index(Box::new(std::io::Error::from(
            std::io::ErrorKind::StorageFull,
        )))),
        false => Ok(()),
    }
}

#[cfg(any(test, feature = "simulation"))]
fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    // Each change is one call.
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}
