//! Counts what rows on this disk hold of a bucket.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use super::wire::Partitions;
use crate::StoreError;
use crate::cluster::summary_of;
use crate::disk::ScannedRow;
use crate::model::{BucketId, ObjectRow, PartRow, Partition, Usage, partition_of, row_key, summary};
use crate::store::Inner;

/// Rows looked at before other work gets the thread.
const ROWS_MAX: usize = 20_000;

/// What the rows of these partitions hold.
///
/// # Errors
/// The disk fails, or a row does not read.
pub(super) async fn held_here(
    inner: &Arc<Inner>,
    bucket: BucketId,
    partitions: Partitions,
) -> Result<Usage, StoreError> {
    let partitions = Arc::new(partitions);
    let mut held = Usage::default();
    for (from, by_row) in [
        (row_key::objects_of(bucket).0, by_object as ByRow),
        (row_key::parts_of(bucket).0, by_part),
    ] {
        let mut next = Some(from);
        while let Some(from) = next {
            let (counting, wanted) = (inner.clone(), partitions.clone());
            let page = move || page(&counting, &from, &wanted, by_row);
            let (counted, rest) = inner.disk.run(page).await??;
            held = held.plus(counted);
            next = rest;
        }
    }
    Ok(held)
}

type ByRow = fn(&Inner, ScannedRow<'_>) -> Result<Usage, StoreError>;

/// Counts rows from a place on; says where to go on.
fn page(
    inner: &Inner,
    from: &[u8],
    partitions: &Partitions,
    by_row: ByRow,
) -> Result<(Usage, Option<Vec<u8>>), StoreError> {
    let to = row_key::after_bucket(from);
    let mut rows = inner.disk.scan(Included(from), Excluded(&to))?;
    let mut held = Usage::default();
    let mut looked_at = 0;
    while let Some(row) = rows.next_row()? {
        if looked_at == ROWS_MAX {
            return Ok((held, Some(row.key().to_vec())));
        }
        looked_at += 1;
        let partition = partition_of(row.key()).map(Partition);
        if partition.is_some_and(|partition| partitions.contains(partition)) {
            held = held.plus(by_row(inner, row)?);
        }
    }
    Ok((held, None))
}

/// What the versions of an object hold; the row is read only where there are several.
fn by_object(inner: &Inner, row: ScannedRow<'_>) -> Result<Usage, StoreError> {
    match summary::decode(summary_of(row)) {
        Some(known) if known.only_version => Ok(Usage {
            bytes: known.size,
            objects: u64::from(!known.delete_marker),
        }),
        _ => {
            let row = inner.partitions.read::<ObjectRow>(row.key())?;
            Ok(row.map_or_else(Usage::default, |row| row.usage()))
        }
    }
}

fn by_part(inner: &Inner, row: ScannedRow<'_>) -> Result<Usage, StoreError> {
    let part = inner.partitions.read::<PartRow>(row.key())?;
    Ok(Usage {
        bytes: part.map_or(0, |part| part.size),
        objects: 0,
    })
}
