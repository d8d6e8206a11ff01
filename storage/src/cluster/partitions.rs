//! Registers, one per row: read, and change one at a time; with one replica, quorum is that replica's disk.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::StoreError;
use crate::disk::{Disk, Found, RowId, RowWrite};
use crate::model::{BucketId, ObjectKey};

/// Version byte in front of the CBOR of every row.
const ROW_VERSION: u8 = 1;

/// The registers of this store.
pub(crate) struct Partitions {
    disk: Disk,
    lanes: Vec<Arc<Semaphore>>,
    /// Makes it hard to find many keys of one lane.
    salt: [u8; 16],
}

/// The right to change the rows of one object key: the object, its uploads, their parts.
///
/// Take one at a time: two claims held by two tasks in different order would wait for ever.
pub(crate) struct Claim {
    _permit: OwnedSemaphorePermit,
}

/// Rows to change together.
#[derive(Default)]
pub(crate) struct Writes(Vec<RowWrite>);

impl Writes {
    /// Sets a row.
    pub(crate) fn put<R: Serialize>(&mut self, key: Vec<u8>, summary: Vec<u8>, row: &R) {
        self.0.push(RowWrite::Put {
            key,
            summary,
            value: encode(row),
        });
    }

    /// Forgets a row. With one replica a tombstone would be confirmed by all at once.
    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.0.push(RowWrite::Drop { key });
    }
}

impl Partitions {
    /// Keys that share one of the `lanes` wait for each other.
    pub(crate) fn new(disk: Disk, lanes: usize) -> Self {
        let lanes = (0..lanes).map(|_| Arc::new(Semaphore::new(1))).collect();
        Self {
            disk,
            lanes,
            salt: crate::seal::random(),
        }
    }

    /// Waits until nobody else changes the rows of this key.
    ///
    /// # Errors
    /// Never while the store is open.
    pub(crate) async fn claim(&self, bucket: BucketId, key: &ObjectKey) -> Result<Claim, StoreError> {
        let mut hasher = DefaultHasher::new();
        (self.salt, bucket, key).hash(&mut hasher);
        let lane =
            self.lanes[usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0)].clone();
        let permit = lane.acquire_owned().await.map_err(|_| StoreError::Closed)?;
        Ok(Claim { _permit: permit })
    }

    /// The row as last committed.
    ///
    /// # Errors
    /// The disk fails, or the row does not read.
    pub(crate) fn read<R: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        self.disk.row(key)?.map(|value| decode(&value)).transpose()
    }

    /// As [`Self::read`], but reads only a content that `known` does not know yet.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn find<T>(
        &self,
        key: &[u8],
        known: impl Fn(RowId) -> Option<T>,
    ) -> Result<Option<(RowId, Found<T>)>, StoreError> {
        Ok(self.disk.find_row(key, known)?)
    }

    /// Commits all writes or none; durable when it returns.
    ///
    /// # Errors
    /// The disk fails or is full; whether the writes are durable is then unknown.
    pub(crate) async fn commit(&self, _claim: &Claim, writes: Writes) -> Result<(), StoreError> {
        Ok(self.disk.commit(writes.0).await?)
    }

    /// As [`Self::commit`], for root rows, whose changes the directory makes one at a time.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub(crate) async fn commit_root(&self, writes: Writes) -> Result<(), StoreError> {
        Ok(self.disk.commit(writes.0).await?)
    }
}

fn encode<R: Serialize>(row: &R) -> Bytes {
    let mut bytes = vec![ROW_VERSION];
    bytes.extend_from_slice(&crate::seal::cbor(row));
    bytes.into()
}

/// Reads a row as [`Writes::put`] wrote it.
pub(crate) fn decode<R: DeserializeOwned>(value: &[u8]) -> Result<R, StoreError> {
    match value.split_first() {
        Some((&ROW_VERSION, cbor)) => {
            ciborium::from_reader(cbor).map_err(|error| StoreError::Damaged(format!("row: {error}")))
        }
        Some((version, _)) => Err(StoreError::Damaged(format!(
            "row of version {version}; a newer Warren wrote it"
        ))),
        None => Err(StoreError::Damaged("empty row".into())),
    }
}
