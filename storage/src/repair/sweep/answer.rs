//! Tells which owners the rows of this member name, a page at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::named;
use super::wire::{self, Call, Told};
use crate::StoreError;
use crate::cluster::Owner;
use crate::model::{Partition, partition_of, row_key};
use crate::register::Ballot;
use crate::store::Inner;

/// Rows looked at for one page.
const ROWS_MAX: usize = 20_000;
/// Owners after which a page ends.
const OWNERS_MAX: usize = 32 << 10;

/// Answers a call about sweeps.
///
/// # Errors
/// It does not read, the disk fails, or a row does not read: then nobody may take anything for unnamed.
pub(crate) async fn answer(inner: &Arc<Inner>, call: &[u8]) -> Result<Bytes, StoreError> {
    let call: Call = wire::decode(call)?;
    if inner.loss.is_some() {
        return Err(StoreError::Damaged(
            "some rows are lost: nobody knows what they name".into(),
        ));
    }
    let (asked, disk) = (inner.clone(), inner.disk.clone());
    let told = disk.run(move || tell(&asked, call)).await??;
    Ok(wire::encode(&told))
}

/// One page. Blocks the thread.
///
/// How often rows have changed is looked at before the rows are: whoever finds the same number later has seen all of them
/// as they were at one moment. Parts come before objects, as what a part refers to moves to the object's row.
pub(super) fn tell(inner: &Inner, call: Call) -> Result<Told, StoreError> {
    let ballots: BTreeMap<Partition, Ballot> = call.ballots.into_iter().collect();
    let registers = inner.partitions.registers();
    let closed = ballots.iter().filter_map(|(partition, ballot)| {
        let changes = registers.changes_under(u16::from(partition.0), *ballot)?;
        Some((*partition, changes))
    });
    let mut closed: Vec<_> = closed.collect();
    let mut page = Page {
        ballots: &ballots,
        owners: BytesMut::new(),
        looked_at: 0,
        last: None,
        unread: BTreeSet::new(),
    };
    let is_whole = page.read(inner, call.after.as_deref())?;
    closed.retain(|(partition, _)| !page.unread.contains(partition));
    Ok(Told {
        closed,
        owners: page.owners.freeze(),
        next: page.last.filter(|_| !is_whole),
    })
}

struct Page<'a> {
    ballots: &'a BTreeMap<Partition, Ballot>,
    owners: BytesMut,
    looked_at: usize,
    /// The row that was looked at last.
    last: Option<Bytes>,
    /// Partitions of which a row is not here yet: nothing is told of them.
    unread: BTreeSet<Partition>,
}

impl Page<'_> {
    /// Reads on behind a row; whether there is nothing behind what it read.
    fn read(&mut self, inner: &Inner, after: Option<&[u8]>) -> Result<bool, StoreError> {
        let (parts, objects) = (row_key::all_parts(), row_key::all_objects());
        let is_among_parts = after.is_none_or(|after| after >= parts.0.as_slice());
        if is_among_parts && !self.read_table(inner, &parts, after)? {
            return Ok(false);
        }
        let after = after.filter(|_| !is_among_parts);
        self.read_table(inner, &objects, after)
    }

    fn read_table(
        &mut self,
        inner: &Inner,
        (from, to): &(Vec<u8>, Vec<u8>),
        after: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let from = after.map_or(Included(from.as_slice()), Excluded);
        let mut rows = inner.disk.scan(from, Excluded(to))?;
        while let Some(row) = rows.next_row()? {
            if self.looked_at == ROWS_MAX || self.owners.len() >= OWNERS_MAX * 8 {
                return Ok(false);
            }
            self.looked_at += 1;
            self.last = Some(Bytes::copy_from_slice(row.key()));
            let partition = partition_of(row.key()).map(Partition);
            let Some(partition) = partition.filter(|partition| self.ballots.contains_key(partition)) else {
                continue;
            };
            match row_key::is_part(row.key()) {
                true => named::by_part(inner, row)?
                    .iter()
                    .for_each(|owner| self.add(owner)),
                false => match named::by_object(inner, row) {
                    Ok(owners) => owners.iter().for_each(|owner| self.add(owner)),
                    Err(StoreError::Busy) => drop(self.unread.insert(partition)),
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(true)
    }

    fn add(&mut self, owner: &Owner) {
        self.owners.put_slice(&owner[8..]);
    }
}
