//! The directory: every bucket and access key, in memory, so that authenticating a request waits for nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use super::{Partitions, Writes};
use crate::StoreError;
use crate::disk::Disk;
use crate::model::{AccessKey, AccessKeyId, Bucket, BucketId, BucketName, row_key};
use crate::seal::{BucketKey, Keyring};

/// As many writers as a bucket can have at once; deleting the bucket takes all places.
const GATE: u32 = 1 << 20;

/// A bucket, its key, and the gate its writers pass.
pub(crate) struct BucketEntry {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) key: Arc<BucketKey>,
    gate: Arc<Semaphore>,
}

impl BucketEntry {
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

/// All buckets and access keys, by a full local copy of their root rows.
pub(crate) struct Directory {
    maps: RwLock<Maps>,
    changing: Semaphore,
}

#[derive(Default)]
struct Maps {
    names: BTreeMap<BucketName, Arc<BucketEntry>>,
    ids: HashMap<BucketId, Arc<BucketEntry>>,
    keys: BTreeMap<AccessKeyId, Arc<AccessKey>>,
    /// Rows that did not read: their names stay taken, so that nothing overwrites what a person may still mend.
    unreadable: HashSet<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
struct BucketRow {
    bucket: Bucket,
    #[serde(with = "serde_bytes")]
    wrapped_key: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct AccessKeyRow {
    #[serde(with = "serde_bytes")]
    sealed: Vec<u8>,
}

impl Directory {
    /// Reads all root rows. One that does not read is named in the log and left alone: the others are served.
    ///
    /// # Errors
    /// The disk fails, or there are rows and none of them opens: they were sealed with other keys.
    pub(crate) fn load(disk: &Disk, partitions: &Partitions, keyring: &Keyring) -> Result<Self, StoreError> {
        let mut maps = Maps::default();
        for row in rows_of(disk, row_key::Root::Bucket)? {
            match open_bucket(partitions, keyring, &row) {
                Ok(Some((bucket, key))) => maps.insert(Arc::new(bucket), Arc::new(key), new_gate()),
                Ok(None) => {}
                Err(error) => maps.leave(row, &error),
            }
        }
        for row in rows_of(disk, row_key::Root::AccessKey)? {
            match open_access_key(partitions, keyring, &row) {
                Ok(Some(key)) => {
                    maps.keys.insert(key.id.clone(), Arc::new(key));
                }
                Ok(None) => {}
                Err(error) => maps.leave(row, &error),
            }
        }
        if !maps.unreadable.is_empty() && maps.names.is_empty() && maps.keys.is_empty() {
            return Err(StoreError::Damaged(
                "no bucket and no access key opens: is mesh.keys that of another store?".into(),
            ));
        }
        Ok(Self {
            maps: RwLock::new(maps),
            changing: Semaphore::new(1),
        })
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
        self.maps()
            .keys
            .get(id)
            .cloned()
            .ok_or(StoreError::NoSuchAccessKey)
    }

    /// All access keys by id.
    pub(crate) fn keys(&self) -> Vec<Arc<AccessKey>> {
        self.maps().keys.values().cloned().collect()
    }

    /// Waits for the right to change the directory.
    ///
    /// # Errors
    /// Never while the store is open.
    pub(crate) async fn change<'a>(
        &'a self,
        partitions: &'a Partitions,
        keyring: &'a Keyring,
    ) -> Result<Change<'a>, StoreError> {
        let permit = self.changing.acquire().await.map_err(|_| StoreError::Closed)?;
        Ok(Change {
            directory: self,
            partitions,
            keyring,
            writes: Writes::default(),
            rows: Vec::new(),
            edits: Vec::new(),
            _permit: permit,
        })
    }

    fn maps(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn maps_mut(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Edits of the directory that become durable, and then visible, together.
pub(crate) struct Change<'a> {
    directory: &'a Directory,
    partitions: &'a Partitions,
    keyring: &'a Keyring,
    writes: Writes,
    rows: Vec<Vec<u8>>,
    edits: Vec<Edit>,
    _permit: tokio::sync::SemaphorePermit<'a>,
}

enum Edit {
    Bucket(Arc<Bucket>, Arc<BucketKey>, Arc<Semaphore>),
    NoBucket(Arc<Bucket>),
    Key(Arc<AccessKey>),
    NoKey(AccessKeyId),
}

impl Change<'_> {
    /// Adds a bucket.
    pub(crate) fn add_bucket(&mut self, bucket: Bucket) -> Arc<Bucket> {
        self.put_bucket(bucket, Arc::new(BucketKey::new()), new_gate())
    }

    /// Replaces a bucket's settings.
    pub(crate) fn replace_bucket(&mut self, entry: &BucketEntry, bucket: Bucket) -> Arc<Bucket> {
        self.put_bucket(bucket, entry.key.clone(), entry.gate.clone())
    }

    /// Removes a bucket and, with its row, its key; the row log forgets the wrapped key when its segment is compacted.
    pub(crate) fn remove_bucket(&mut self, bucket: Arc<Bucket>) {
        self.writes.remove(row_key::bucket(&bucket.name));
        self.edits.push(Edit::NoBucket(bucket));
    }

    /// Adds or replaces an access key.
    pub(crate) fn put_key(&mut self, key: AccessKey) -> Arc<AccessKey> {
        let row = row_key::access_key(&key.id);
        self.rows.push(row.clone());
        let sealed = self.keyring.root().seal(&[b"access key", &row], &key).into();
        self.writes.put(row, Vec::new(), &AccessKeyRow { sealed });
        let key = Arc::new(key);
        self.edits.push(Edit::Key(key.clone()));
        key
    }

    /// Removes an access key.
    pub(crate) fn remove_key(&mut self, id: &AccessKeyId) {
        self.writes.remove(row_key::access_key(id));
        self.edits.push(Edit::NoKey(id.clone()));
    }

    /// Makes the edits durable, then visible.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        if self
            .rows
            .iter()
            .any(|row| self.directory.maps().unreadable.contains(row))
        {
            return Err(StoreError::Damaged(
                "the row of that name does not read; it is left as it is".into(),
            ));
        }
        self.partitions.commit_root(self.writes).await?;
        let mut maps = self.directory.maps_mut();
        for edit in self.edits {
            match edit {
                Edit::Bucket(bucket, key, gate) => maps.insert(bucket, key, gate),
                Edit::NoBucket(bucket) => maps.remove(&bucket),
                Edit::Key(key) => {
                    maps.keys.insert(key.id.clone(), key);
                }
                Edit::NoKey(id) => {
                    maps.keys.remove(&id);
                }
            }
        }
        Ok(())
    }

    fn put_bucket(&mut self, bucket: Bucket, key: Arc<BucketKey>, gate: Arc<Semaphore>) -> Arc<Bucket> {
        let wrapped_key = key.wrap(self.keyring, &[b"bucket", bucket.id.as_bytes()]);
        let row = BucketRow { bucket, wrapped_key };
        let row_key = row_key::bucket(&row.bucket.name);
        self.rows.push(row_key.clone());
        self.writes.put(row_key, Vec::new(), &row);
        let bucket = Arc::new(row.bucket);
        self.edits.push(Edit::Bucket(bucket.clone(), key, gate));
        bucket
    }
}

impl Maps {
    fn leave(&mut self, row: Vec<u8>, error: &StoreError) {
        error!(row = %String::from_utf8_lossy(&row), %error, "not served: this row does not read");
        self.unreadable.insert(row);
    }

    fn insert(&mut self, bucket: Arc<Bucket>, key: Arc<BucketKey>, gate: Arc<Semaphore>) {
        let entry = Arc::new(BucketEntry { bucket, key, gate });
        self.ids.insert(entry.bucket.id, entry.clone());
        self.names.insert(entry.bucket.name.clone(), entry);
    }

    fn remove(&mut self, bucket: &Bucket) {
        self.names.remove(&bucket.name);
        if let Some(entry) = self.ids.remove(&bucket.id) {
            entry.shut();
        }
    }
}

fn open_bucket(
    partitions: &Partitions,
    keyring: &Keyring,
    row: &[u8],
) -> Result<Option<(Bucket, BucketKey)>, StoreError> {
    let Some(BucketRow { bucket, wrapped_key }) = partitions.read(row)? else {
        return Ok(None);
    };
    let key = BucketKey::unwrap(keyring, &[b"bucket", bucket.id.as_bytes()], &wrapped_key)
        .map_err(|error| StoreError::Damaged(format!("key of the bucket: {error}")))?;
    Ok(Some((bucket, key)))
}

fn open_access_key(
    partitions: &Partitions,
    keyring: &Keyring,
    row: &[u8],
) -> Result<Option<AccessKey>, StoreError> {
    let Some(AccessKeyRow { sealed }) = partitions.read(row)? else {
        return Ok(None);
    };
    let opened = keyring.root().open(&[b"access key", row], &sealed);
    opened
        .map(Some)
        .map_err(|error| StoreError::Damaged(error.to_string()))
}

fn new_gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(GATE as usize))
}

fn rows_of(disk: &Disk, kind: row_key::Root) -> Result<Vec<Vec<u8>>, StoreError> {
    use std::ops::Bound::{Excluded, Included};
    let from = row_key::root(kind);
    let to = row_key::after_prefix(from.clone());
    let mut scan = disk.scan(Included(&from), Excluded(&to))?;
    let mut rows = Vec::new();
    while let Some(row) = scan.next_row()? {
        rows.push(row.key().to_vec());
    }
    Ok(rows)
}
