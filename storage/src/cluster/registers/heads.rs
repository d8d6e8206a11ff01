//! The keys and stamps of all rows on this disk, partition by partition: what two voters compare.

use std::ops::Bound::{Excluded, Included};

use super::{Machine, Registers, record};
use crate::StoreError;
use crate::register::Stamp;

/// A row, or a tombstone, as it stands durably on this disk.
pub(crate) struct Head<'a> {
    pub(crate) partition: u16,
    pub(crate) key: &'a [u8],
    pub(crate) stamp: Stamp,
    /// The stamp as it is written: equal stamps are written alike on every disk.
    pub(crate) written: &'a [u8],
}

impl<M: Machine> Registers<M> {
    /// Tells every row, then every tombstone, each in the order of their keys. Blocks the thread.
    ///
    /// # Errors
    /// The disk fails, or an entry of its index does not read.
    pub(crate) fn heads(&self, mut each: impl FnMut(&Head<'_>)) -> Result<(), StoreError> {
        for hidden in [false, true] {
            let (from, to) = match hidden {
                true => (record::tombstone_key(&[]), record::END_OF_TOMBSTONES),
                false => (Vec::new(), record::END_OF_ROWS),
            };
            let mut scan = self.0.disk.scan(Included(&from), Excluded(to))?;
            while let Some(row) = scan.next_row()? {
                let key = match hidden {
                    true => record::hidden_key(row.key()).unwrap_or_default(),
                    false => row.key(),
                };
                let Some(partition) = M::partition_of(key) else {
                    continue;
                };
                let damaged = || StoreError::Damaged("summary of a register".into());
                let (stamp, _) = record::head_of(row.summary()).ok_or_else(damaged)?;
                let written = record::written_stamp(row.summary()).ok_or_else(damaged)?;
                each(&Head {
                    partition,
                    key,
                    stamp,
                    written,
                });
            }
        }
        Ok(())
    }
}
