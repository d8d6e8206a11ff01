//! Registers, one per row: read, and changed by commands; with one replica, quorum is that replica's disk.
//!
//! # Values on disk, version 2
//! ```text
//! version 1 byte (2) │ operations 1 (0–4) │ id of each 16, oldest first │ the row
//! ```
//! The operations are the last ones that changed the row. Those of a removed row are remembered in memory only: with one
//! replica a command is tried again only by a client that saw its connection break, not because a holder was deposed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use quick_cache::sync::Cache;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::unsettled::Unsettled;
use crate::StoreError;
use crate::disk::{Disk, Found, RowId, RowWrite};
use crate::model::command::{
    Action, Command, Decision, Fences, Outcome, Recent, Row, RowChange, RowKey, Rows, Submission, decide,
    decode_row, encode_row,
};
use crate::model::{OpId, row_key};

/// Version byte in front of every value.
const VALUE_VERSION: u8 = 2;
const OP_BYTES: usize = 16;
/// Keys that share a lane wait for each other; with this many lanes that is rare.
const LANES: usize = 4096;
/// Removed rows whose operations are remembered, at about 100 bytes each.
const REMOVED_MAX: usize = 4096;

/// The registers of this store.
pub(crate) struct Partitions {
    disk: Disk,
    lanes: Vec<Arc<Semaphore>>,
    /// The lane of the directory.
    root: Arc<Semaphore>,
    hasher: RandomState,
    /// The last operations of rows that were removed lately, by a hash of the row's key: two keys that share one do no
    /// harm, since no operation is about both.
    removed: Arc<Cache<u64, Recent>>,
}

impl Partitions {
    pub(crate) fn new(disk: Disk) -> Self {
        let lanes = (0..LANES).map(|_| Arc::new(Semaphore::new(1))).collect();
        Self {
            disk,
            lanes,
            root: Arc::new(Semaphore::new(1)),
            hasher: RandomState::new(),
            removed: Arc::new(Cache::new(REMOVED_MAX)),
        }
    }

    /// Decides a command on the rows as they are and makes all its changes durable, in one commit.
    ///
    /// # Errors
    /// The disk fails or is full, or a row does not read. [`Unsettled`] says whether the changes may be durable.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Outcome, Unsettled> {
        let _lane = self.lane(&submission.command).await?;
        let view = View::new(self);
        let op = submission.op;
        let decided = if reads_many(&submission.command) {
            let decided = self.disk.run(move || view.decide(submission)).await;
            decided.map_err(|error| Unsettled::nothing_written(error.into()))?
        } else {
            view.decide(submission)
        };
        let Decided {
            outcome,
            writes,
            removed,
        } = decided.map_err(Unsettled::nothing_written)?;
        if !writes.is_empty() {
            self.disk.commit(writes).await.map_err(Unsettled::commit)?;
            for (row, recent) in removed {
                self.removed.insert(row, recent.and(op));
            }
        }
        Ok(outcome)
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

    /// Sets a row that only this node knows; no command is about it. Durable when it returns.
    ///
    /// # Errors
    /// The disk fails or is full; whether the row is durable is then unknown.
    pub(crate) async fn keep<R: Serialize>(&self, key: RowKey, row: &R) -> Result<(), StoreError> {
        let write = RowWrite::Put {
            key,
            summary: Vec::new(),
            value: wrap(Recent::default(), &encode_row(row)),
        };
        Ok(self.disk.commit(vec![write]).await?)
    }

    /// Waits until nobody else changes the rows a command is about.
    async fn lane(&self, command: &Command) -> Result<OwnedSemaphorePermit, Unsettled> {
        let lane = match command {
            Command::Root(_) => &self.root,
            Command::Object(command) => {
                let hash = self.hasher.hash_one((command.bucket, &command.key));
                &self.lanes[usize::try_from(hash % LANES as u64).unwrap_or(0)]
            }
        };
        let permit = lane.clone().acquire_owned().await;
        permit.map_err(|_| Unsettled::nothing_written(StoreError::Closed))
    }
}

/// Whether deciding may read thousands of rows, which is no work for the runtime's threads.
const fn reads_many(command: &Command) -> bool {
    match command {
        Command::Object(command) => matches!(
            command.action,
            Action::CompleteUpload { .. } | Action::AbortUpload { .. } | Action::Forget { .. }
        ),
        Command::Root(_) => false,
    }
}

/// What a command decided, as writes of one commit.
struct Decided {
    outcome: Outcome,
    writes: Vec<RowWrite>,
    /// What to remember of removed rows.
    removed: Vec<(u64, Recent)>,
}

/// The rows as a command sees them, and what they remembered when it read them.
struct View {
    disk: Disk,
    hasher: RandomState,
    removed: Arc<Cache<u64, Recent>>,
    recent: RefCell<HashMap<RowKey, Recent>>,
}

impl View {
    fn new(partitions: &Partitions) -> Self {
        Self {
            disk: partitions.disk.clone(),
            hasher: partitions.hasher.clone(),
            removed: partitions.removed.clone(),
            recent: RefCell::default(),
        }
    }

    fn decide(&self, submission: Submission) -> Result<Decided, StoreError> {
        let op = submission.op;
        let Decision { stages, outcome, .. } = decide(submission, &Fences::default(), self)?;
        let mut decided = Decided {
            outcome,
            writes: Vec::new(),
            removed: Vec::new(),
        };
        for change in last_of_each_row(stages) {
            let recent = self.recent(change.key())?;
            decided.writes.push(match change {
                RowChange::Put { key, summary, value } => RowWrite::Put {
                    key,
                    summary,
                    value: wrap(recent.and(op), &value),
                },
                RowChange::Remove { key } => {
                    decided.removed.push((self.hasher.hash_one(&key), recent));
                    RowWrite::Drop { key }
                }
            });
        }
        Ok(decided)
    }

    fn recent(&self, key: &[u8]) -> Result<Recent, StoreError> {
        let known = self.recent.borrow().get(key).copied();
        known.map_or_else(|| self.get(key).map(|row| row.recent), Ok)
    }
}

impl Rows for View {
    fn get(&self, key: &[u8]) -> Result<Row, StoreError> {
        let row = match self.disk.row(key)? {
            Some(value) => {
                let (recent, value) = unwrap(&value)?;
                Row {
                    value: Some(value),
                    recent,
                }
            }
            None => Row {
                value: None,
                recent: self.removed.get(&self.hasher.hash_one(key)).unwrap_or_default(),
            },
        };
        self.recent.borrow_mut().insert(key.to_vec(), row.recent);
        Ok(row)
    }

    fn with_prefix(&self, prefix: &[u8]) -> Result<Vec<(RowKey, Bytes)>, StoreError> {
        let end = row_key::after_prefix(prefix.to_vec());
        let mut rows = Vec::new();
        for row in self.disk.scan(Included(prefix), Excluded(&end)) {
            let row = row?;
            if let Some(value) = self.get(row.key())?.value {
                rows.push((row.key().to_vec(), value));
            }
        }
        Ok(rows)
    }
}

/// All changes in order, but for those that a later one of the same row replaces: in one commit nobody sees them.
fn last_of_each_row(stages: Vec<Vec<RowChange>>) -> Vec<RowChange> {
    let single = stages.len() <= 1;
    let changes: Vec<_> = stages.into_iter().flatten().collect();
    if single {
        return changes;
    }
    let last: HashMap<RowKey, usize> = changes
        .iter()
        .enumerate()
        .map(|(place, change)| (change.key().to_vec(), place))
        .collect();
    let mut place = 0..;
    changes
        .into_iter()
        .filter(|change| last.get(change.key()).copied() == place.next())
        .collect()
}

fn wrap(recent: Recent, row: &[u8]) -> Bytes {
    let ops: Vec<OpId> = recent.iter().collect();
    let mut value = BytesMut::with_capacity(2 + ops.len() * OP_BYTES + row.len());
    value.put_u8(VALUE_VERSION);
    value.put_u8(u8::try_from(ops.len()).unwrap_or(0));
    for op in &ops {
        value.put_slice(op.as_bytes());
    }
    value.put_slice(row);
    value.freeze()
}

fn unwrap(value: &Bytes) -> Result<(Recent, Bytes), StoreError> {
    let (count, row) = match value.as_ref() {
        [VALUE_VERSION, count, ..] => (usize::from(*count), 2 + usize::from(*count) * OP_BYTES),
        [version, ..] if *version != VALUE_VERSION => {
            return Err(StoreError::Damaged(format!(
                "value of a row of version {version}; another Warren wrote it"
            )));
        }
        _ => return Err(StoreError::Damaged("empty value of a row".into())),
    };
    let ops = value
        .get(2..row)
        .ok_or_else(|| StoreError::Damaged(format!("value of a row with {count} operations is cut off")))?;
    let (ops, _) = ops.as_chunks::<OP_BYTES>();
    let recent = Recent::of(ops.iter().copied().map(OpId::from_bytes));
    Ok((recent, value.slice(row..)))
}

/// Reads a row out of a value.
///
/// # Errors
/// `Damaged`: not such a row.
pub(crate) fn decode<R: DeserializeOwned>(value: &Bytes) -> Result<R, StoreError> {
    decode_row(&unwrap(value)?.1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_reads_back_and_has_the_documented_form() {
        let recent = Recent::of((1..=6).map(|op| OpId::from_bytes([op; 16])));
        let value = wrap(recent, b"row");
        let ops = [[3; 16], [4; 16], [5; 16], [6; 16]].concat();
        assert_eq!(value, [&[2, 4], ops.as_slice(), b"row"].concat());
        assert_eq!(unwrap(&value).unwrap(), (recent, Bytes::from_static(b"row")));
    }

    #[test]
    fn of_several_changes_of_a_row_the_last_counts() {
        let put = |key: u8, value: &'static [u8]| RowChange::Put {
            key: vec![key],
            summary: Vec::new(),
            value: Bytes::from_static(value),
        };
        let stages = vec![
            vec![put(1, b"a"), put(2, b"b")],
            vec![put(3, b"c")],
            vec![put(1, b"d")],
        ];
        assert_eq!(
            last_of_each_row(stages),
            [put(2, b"b"), put(3, b"c"), put(1, b"d")]
        );
    }

    proptest! {
        #[test]
        fn hostile_values_never_panic(value: Vec<u8>) {
            let _ = unwrap(&value.into());
        }
    }
}
