//! The directory: every bucket and access key, in memory, so that authenticating a request waits for nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tracing::{error, warn};

use super::{HeardRow, Partitions};
use crate::StoreError;
use crate::model::command::{Command, Outcome, RootCommand, RowKey, Submission, decode_row};
use crate::model::{
    AccessKey, AccessKeyId, AccessKeyRow, Bucket, BucketId, BucketName, BucketRow, BucketState, Keeping,
    MeshKey, OpId, row_key,
};
use crate::seal::{BucketKey, Keyring};

/// As many writers as a bucket can have at once; deleting the bucket takes all places.
const GATE: u32 = 1 << 20;

/// A bucket, its key, and the gate its writers pass.
pub(crate) struct BucketEntry {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) key: Arc<BucketKey>,
    wrapped_key: Bytes,
    gate: Arc<Semaphore>,
}

impl BucketEntry {
    /// The row of this bucket with something changed in it.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Bucket)) -> BucketRow {
        let mut bucket = Bucket::clone(&self.bucket);
        change(&mut bucket);
        BucketRow {
            bucket,
            wrapped_key: self.wrapped_key.clone(),
        }
    }

    /// Enters as a writer: the bucket is not deleted before the permit is dropped.
    ///
    /// # Errors
    /// `NoSuchBucket` when it has been deleted.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        self.gate
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| StoreError::NoSuchBucket)
    }

    /// Waits for all writers to leave and keeps new ones out.
    ///
    /// # Errors
    /// `NoSuchBucket` when somebody else has deleted it meanwhile.
    pub(crate) async fn enter_alone(&self) -> Result<OwnedSemaphorePermit, StoreError> {
        self.gate
            .clone()
            .acquire_many_owned(GATE)
            .await
            .map_err(|_| StoreError::NoSuchBucket)
    }

    /// Turns away, for ever, whoever waits to enter.
    pub(crate) fn shut(&self) {
        self.gate.close();
    }
}

/// What a writer has to know of a bucket, all of it from one moment.
pub(crate) struct Standing {
    /// Whether it may be written to.
    pub(crate) state: BucketState,
    /// How it keeps versions.
    pub(crate) keeping: Keeping,
    /// So many closed buckets are known with that.
    pub(crate) closings: u64,
}

/// All buckets and access keys, by a full local copy of their root rows.
pub(crate) struct Directory {
    maps: RwLock<Maps>,
    changing: Semaphore,
}

#[derive(Default)]
struct Maps {
    names: BTreeMap<BucketName, Arc<BucketEntry>>,
    ids: HashMap<BucketId, Arc<BucketEntry>>,
    keys: BTreeMap<AccessKeyId, KeyEntry>,
    /// So many closed buckets are known here to be closed: all that were closed first.
    closings: u64,
    /// Rows that did not read: their names stay taken, so that nothing overwrites what a person may still mend.
    unreadable: HashSet<RowKey>,
}

/// An access key, and the version of its row.
struct KeyEntry {
    key: Arc<AccessKey>,
    version: u64,
}

impl Directory {
    /// Takes all root rows there are. One that does not read is named in the log and left alone: the others are served.
    ///
    /// # Errors
    /// There are rows and none of them opens: they were sealed with other keys.
    pub(crate) fn load(rows: &[HeardRow], closings: u64, keyring: &Arc<Keyring>) -> Result<Self, StoreError> {
        let directory = Self {
            maps: RwLock::default(),
            changing: Semaphore::new(1),
        };
        directory.take(keyring, rows, closings);
        let maps = directory.maps();
        if !maps.unreadable.is_empty() && maps.names.is_empty() && maps.keys.is_empty() {
            return Err(StoreError::Damaged(
                "no bucket and no access key opens: is mesh.keys that of another store?".into(),
            ));
        }
        drop(maps);
        Ok(directory)
    }

    /// Keeps commands of this member away until the permit is dropped.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) async fn alone(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.changing.acquire().await.map_err(|_| StoreError::Closed)
    }

    /// Takes all root rows there are instead of what is known. So many buckets had been closed before the first of them was
    /// read. Nothing may change meanwhile: see [`Self::alone`].
    pub(crate) fn take(&self, keyring: &Arc<Keyring>, rows: &[HeardRow], closings: u64) {
        let mut maps = Maps {
            closings,
            ..Maps::default()
        };
        for HeardRow { key, body, .. } in rows {
            let taken = match row_key::parse_root(key) {
                Some((row_key::BUCKET, _)) => self.take_bucket(&mut maps, keyring, body),
                Some((row_key::ACCESS_KEY, _)) => take_access_key(&mut maps, keyring, key, body),
                _ => Ok(()),
            };
            if let Err(error) = taken {
                maps.leave(key.to_vec(), &error);
            }
        }
        let before = std::mem::replace(&mut *self.maps_mut(), maps);
        for entry in before.ids.values() {
            if self.entry(entry.bucket.id).is_err() {
                entry.shut();
            }
        }
    }

    /// A bucket that is known keeps its gate.
    fn take_bucket(&self, maps: &mut Maps, keyring: &Arc<Keyring>, body: &Bytes) -> Result<(), StoreError> {
        let row: BucketRow = decode_row(body)?;
        let (key, gate) = match self.entry(row.bucket.id) {
            Ok(known) => (known.key.clone(), known.gate.clone()),
            Err(_) => (Arc::new(open_bucket_key(keyring, &row)?), new_gate()),
        };
        maps.insert(row, key, gate);
        Ok(())
    }

    /// The bucket of that name.
    pub(crate) fn named(&self, name: &BucketName) -> Result<Arc<BucketEntry>, StoreError> {
        self.maps()
            .names
            .get(name)
            .cloned()
            .ok_or(StoreError::NoSuchBucket)
    }

    /// The bucket of that id; gone when it has been deleted since the caller looked it up.
    pub(crate) fn entry(&self, id: BucketId) -> Result<Arc<BucketEntry>, StoreError> {
        self.maps().ids.get(&id).cloned().ok_or(StoreError::NoSuchBucket)
    }

    /// Whether and how a bucket may be written to; `None` when it is gone.
    pub(crate) fn standing(&self, id: BucketId) -> Option<Standing> {
        let maps = self.maps();
        let bucket = &maps.ids.get(&id)?.bucket;
        Some(Standing {
            state: bucket.state,
            keeping: bucket.settings.keeping(),
            closings: maps.closings,
        })
    }

    /// Whether every row there is of buckets and access keys reads.
    pub(crate) fn is_whole(&self) -> bool {
        self.maps().unreadable.is_empty()
    }

    /// All buckets by name.
    pub(crate) fn buckets(&self) -> Vec<Arc<Bucket>> {
        self.maps()
            .names
            .values()
            .map(|entry| entry.bucket.clone())
            .collect()
    }

    /// The access key of that id.
    pub(crate) fn key(&self, id: &AccessKeyId) -> Result<Arc<AccessKey>, StoreError> {
        self.versioned_key(id).map(|(key, _)| key)
    }

    /// The access key of that id, and the version of its row.
    pub(crate) fn versioned_key(&self, id: &AccessKeyId) -> Result<(Arc<AccessKey>, u64), StoreError> {
        let maps = self.maps();
        let entry = maps.keys.get(id).ok_or(StoreError::NoSuchAccessKey)?;
        Ok((entry.key.clone(), entry.version))
    }

    /// All access keys by id.
    pub(crate) fn keys(&self) -> Vec<Arc<AccessKey>> {
        self.maps().keys.values().map(|entry| entry.key.clone()).collect()
    }

    /// Submits a command about one row of the directory; what comes of it is visible here when this returns.
    ///
    /// # Errors
    /// The disk fails, or the row is one that does not read.
    pub(crate) async fn submit(
        &self,
        partitions: &Partitions,
        keyring: &Arc<Keyring>,
        command: RootCommand,
    ) -> Result<Outcome, StoreError> {
        // One at a time, so that the copy here never goes back to an older row.
        let _alone = self.changing.acquire().await.map_err(|_| StoreError::Closed)?;
        let about = About::of(&command);
        if self.maps().unreadable.contains(&about.row()) {
            return Err(StoreError::Damaged(
                "the row of that name does not read; it is left as it is".into(),
            ));
        }
        let submission = Submission {
            op: OpId::new(),
            sweeps: 0,
            command: Command::Root(command),
        };
        let outcome = partitions.submit(submission).await?;
        self.learn(keyring, &about, &outcome)?;
        Ok(outcome)
    }

    /// Changes the local copy by what is known now of a row.
    fn learn(&self, keyring: &Arc<Keyring>, about: &About, outcome: &Outcome) -> Result<(), StoreError> {
        if let Some(row) = outcome.bucket() {
            return self.learn_bucket(keyring, row);
        }
        match (about, outcome) {
            (About::Bucket(name), Outcome::BucketGone) => self.maps_mut().remove(name),
            (About::AccessKey(id), Outcome::AccessKeyGone) => {
                self.maps_mut().keys.remove(id);
            }
            (About::AccessKey(id), outcome) => {
                if let Some(row) = outcome.access_key() {
                    let entry = open_access_key(keyring, &row_key::access_key(id), row)?;
                    self.maps_mut().keys.insert(id.clone(), entry);
                }
            }
            (About::Bucket(_) | About::Mesh(_), _) => {}
        }
        Ok(())
    }

    fn learn_bucket(&self, keyring: &Arc<Keyring>, row: &BucketRow) -> Result<(), StoreError> {
        let (key, gate) = match self.entry(row.bucket.id) {
            Ok(known) => (known.key.clone(), known.gate.clone()),
            Err(_) => (Arc::new(open_bucket_key(keyring, row)?), new_gate()),
        };
        self.maps_mut().insert(row.clone(), key, gate);
        Ok(())
    }

    fn maps(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn maps_mut(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which row a command is about.
enum About {
    Bucket(BucketName),
    AccessKey(AccessKeyId),
    Mesh(MeshKey),
}

impl About {
    fn of(command: &RootCommand) -> Self {
        match command {
            RootCommand::CreateBucket(row) | RootCommand::ReplaceBucket { row, .. } => {
                Self::Bucket(row.bucket.name.clone())
            }
            RootCommand::DeleteBucket { name, .. } => Self::Bucket(name.clone()),
            RootCommand::CreateAccessKey { id, .. }
            | RootCommand::ReplaceAccessKey { id, .. }
            | RootCommand::DeleteAccessKey { id, .. } => Self::AccessKey(id.clone()),
            RootCommand::ReplaceMesh { key, .. } => Self::Mesh(*key),
        }
    }

    fn row(&self) -> RowKey {
        match self {
            Self::Bucket(name) => row_key::bucket(name),
            Self::AccessKey(id) => row_key::access_key(id),
            Self::Mesh(key) => key.row(),
        }
    }
}

impl Maps {
    fn leave(&mut self, row: Vec<u8>, error: &StoreError) {
        let name = String::from_utf8_lossy(&row);
        match error {
            StoreError::KeysBehind(_) => warn!(row = %name, %error, "not served yet"),
            _ => error!(row = %name, %error, "not served: this row does not read"),
        }
        self.unreadable.insert(row);
    }

    fn insert(&mut self, row: BucketRow, key: Arc<BucketKey>, gate: Arc<Semaphore>) {
        let entry = Arc::new(BucketEntry {
            bucket: Arc::new(row.bucket),
            key,
            wrapped_key: row.wrapped_key,
            gate,
        });
        if self
            .names
            .get(&entry.bucket.name)
            .is_some_and(|known| known.bucket.id != entry.bucket.id)
        {
            self.remove(&entry.bucket.name);
        }
        self.ids.insert(entry.bucket.id, entry.clone());
        self.names.insert(entry.bucket.name.clone(), entry);
    }

    fn remove(&mut self, name: &BucketName) {
        if let Some(entry) = self.names.remove(name) {
            self.ids.remove(&entry.bucket.id);
            entry.shut();
        }
    }
}

/// The row of a new bucket, with a key of its own.
pub(crate) fn new_bucket(keyring: &Arc<Keyring>, bucket: Bucket) -> BucketRow {
    let wrapped_key = BucketKey::new(keyring).wrap(&[b"bucket", bucket.id.as_bytes()]);
    BucketRow { bucket, wrapped_key }
}

/// The row of an access key, sealed.
pub(crate) fn access_key_row(keyring: &Arc<Keyring>, key: &AccessKey) -> AccessKeyRow {
    let row = row_key::access_key(&key.id);
    AccessKeyRow {
        serial: key.serial,
        version: 1,
        sealed: keyring.seal(&[b"access key", &row], key),
    }
}

fn open_bucket_key(keyring: &Arc<Keyring>, row: &BucketRow) -> Result<BucketKey, StoreError> {
    BucketKey::unwrap(keyring, &[b"bucket", row.bucket.id.as_bytes()], &row.wrapped_key)
        .map_err(|error| error.of("key of the bucket"))
}

fn take_access_key(
    maps: &mut Maps,
    keyring: &Arc<Keyring>,
    key: &[u8],
    body: &Bytes,
) -> Result<(), StoreError> {
    let entry = open_access_key(keyring, key, &decode_row(body)?)?;
    maps.keys.insert(entry.key.id.clone(), entry);
    Ok(())
}

fn open_access_key(
    keyring: &Arc<Keyring>,
    row_key: &[u8],
    row: &AccessKeyRow,
) -> Result<KeyEntry, StoreError> {
    let opened = keyring.open_sealed(&[b"access key", row_key], &row.sealed);
    let key: AccessKey = opened.map_err(|error| error.of("access key"))?;
    Ok(KeyEntry {
        key: Arc::new(key),
        version: row.version,
    })
}

fn new_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(GATE as usize))
}
