//! The rows under a command: how it reads them, and what it does to them.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Outcome, Refusal};
use crate::StoreError;
use crate::model::{ObjectRow, OpId};

/// Version byte in front of the CBOR of every row but those that have [`ROW_VERSION_ARCHIVED`].
const ROW_VERSION: u8 = 1;
/// That of an object's row that knows of archives: who knew nothing of them would lose them.
const ROW_VERSION_ARCHIVED: u8 = 2;
/// Operations a row remembers.
const RECENT_MAX: usize = 4;

/// Names a row; `partition_of` says where it is.
pub type RowKey = Vec<u8>;

/// A row as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Its content; `None` for a row that was removed or never was.
    pub value: Option<Bytes>,
    /// The operations that changed it last.
    pub recent: Recent,
}

/// The last four operations that changed a row, oldest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    ops: [Option<OpId>; RECENT_MAX],
}

impl Recent {
    /// The last four of these.
    pub fn of(ops: impl IntoIterator<Item = OpId>) -> Self {
        ops.into_iter().fold(Self::default(), Self::and)
    }

    /// These and one more. An operation that changes a row twice is remembered once.
    #[must_use]
    pub fn and(mut self, op: OpId) -> Self {
        if !self.contains(op) {
            if let Some(free) = self.ops.iter_mut().find(|op| op.is_none()) {
                *free = Some(op);
            } else {
                self.ops.rotate_left(1);
                self.ops[RECENT_MAX - 1] = Some(op);
            }
        }
        self
    }

    /// Whether this operation is among them.
    pub fn contains(&self, op: OpId) -> bool {
        self.ops.contains(&Some(op))
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = OpId> + '_ {
        self.ops.iter().flatten().copied()
    }
}

/// The rows of the partition a command is about, as they are now.
pub trait Rows {
    /// One row.
    ///
    /// # Errors
    /// It cannot be read.
    fn get(&self, key: &[u8]) -> Result<Row, StoreError>;

    /// The rows whose keys begin so, in order, without those that were removed.
    ///
    /// # Errors
    /// One cannot be read.
    fn with_prefix(&self, prefix: &[u8]) -> Result<Vec<(RowKey, Bytes)>, StoreError>;
}

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// Sets it.
    Put {
        /// Which.
        key: RowKey,
        /// What a listing knows of it without reading it.
        summary: Vec<u8>,
        /// Its content.
        value: Bytes,
    },
    /// Removes it.
    Remove {
        /// Which.
        key: RowKey,
    },
}

impl RowChange {
    pub(super) fn put<R: Serialize>(key: RowKey, row: &R) -> Self {
        Self::Put {
            key,
            summary: Vec::new(),
            value: encode_row(row),
        }
    }

    /// Which row.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Put { key, .. } | Self::Remove { key } => key,
        }
    }
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Changes to make. A stage begins when the one before is durable; the changes of one are made in any order. None
    /// is empty.
    pub stages: Vec<Vec<RowChange>>,
    /// How many stages are durable before the outcome is told. Those behind tidy up: nothing depends on them.
    pub told_after: usize,
    /// Rows that were read and on which the decision depends, but for those that the first stage changes before the outcome
    /// is told. Before anything is carried out they must be certain to be what was read, also where one is absent.
    pub relies_on: Vec<RowKey>,
    /// What to tell.
    pub outcome: Outcome,
}

impl Decision {
    /// Changes nothing.
    pub(super) const fn nothing(outcome: Outcome, relies_on: Vec<RowKey>) -> Self {
        Self {
            stages: Vec::new(),
            told_after: 0,
            relies_on,
            outcome,
        }
    }

    pub(super) const fn refused(refusal: Refusal, relies_on: Vec<RowKey>) -> Self {
        Self::nothing(Outcome::Refused(refusal), relies_on)
    }

    /// Carries these stages out, all of them before the outcome is told.
    pub(super) fn told_last(stages: Vec<Vec<RowChange>>, outcome: Outcome) -> Self {
        let stages: Vec<_> = stages.into_iter().filter(|stage| !stage.is_empty()).collect();
        Self {
            told_after: stages.len(),
            stages,
            relies_on: Vec::new(),
            outcome,
        }
    }

    /// And then tidies up, after the outcome is told.
    pub(super) fn then(mut self, tidying: Vec<RowChange>) -> Self {
        if !tidying.is_empty() {
            self.stages.push(tidying);
        }
        self
    }

    /// Relies on these rows, but for those that are changed first of all before the outcome is told.
    pub(super) fn relying_on(mut self, rows: impl IntoIterator<Item = RowKey>) -> Self {
        let first = match self.told_after {
            0 => &[],
            _ => self.stages.first().map_or(&[][..], Vec::as_slice),
        };
        let left = rows
            .into_iter()
            .filter(|row| !first.iter().any(|change| change.key() == row));
        self.relies_on.extend(left);
        self
    }
}

/// A row that was read and decoded.
pub(super) struct Known<R> {
    pub(super) key: RowKey,
    pub(super) row: Option<R>,
    pub(super) recent: Recent,
}

pub(super) fn read<R: DeserializeOwned>(rows: &dyn Rows, key: RowKey) -> Result<Known<R>, StoreError> {
    let Row { value, recent } = rows.get(&key)?;
    let row = value.map(|value| decode_row(&value)).transpose()?;
    Ok(Known { key, row, recent })
}

/// A row as bytes: a version byte (1) and its CBOR.
pub(crate) fn encode_row<R: Serialize>(row: &R) -> Bytes {
    encode_as(ROW_VERSION, row)
}

/// An object's row as bytes: as any, but with another version byte (2) if it knows of archives.
pub(super) fn encode_object(row: &ObjectRow) -> Bytes {
    match row.archived.is_empty() && row.left.is_empty() {
        true => encode_as(ROW_VERSION, row),
        false => encode_as(ROW_VERSION_ARCHIVED, row),
    }
}

fn encode_as<R: Serialize>(version: u8, row: &R) -> Bytes {
    let mut bytes = vec![version];
    bytes.extend_from_slice(&crate::seal::cbor(row));
    bytes.into()
}

/// Reads [`encode_row`] and [`encode_object`].
///
/// # Errors
/// `Damaged`: not such a row.
pub(crate) fn decode_row<R: DeserializeOwned>(value: &[u8]) -> Result<R, StoreError> {
    match value.split_first() {
        Some((&(ROW_VERSION | ROW_VERSION_ARCHIVED), cbor)) => {
            ciborium::from_reader(cbor).map_err(|error| StoreError::Damaged(format!("row: {error}")))
        }
        Some((version, _)) => Err(StoreError::Damaged(format!(
            "row of version {version}; a newer Warren wrote it"
        ))),
        None => Err(StoreError::Damaged("empty row".into())),
    }
}
