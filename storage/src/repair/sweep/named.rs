//! The owners of references that rows name.

use crate::StoreError;
use crate::cluster::{Owner, summary_of};
use crate::disk::ScannedRow;
use crate::model::{PartRow, row_key, summary};
use crate::seal::owner_of;
use crate::store::Inner;

/// Those that the row of an object and its archives name.
///
/// # Errors
/// The disk fails, or a row does not read. `Busy`: an archive is not here.
pub(in crate::repair) fn by_object(inner: &Inner, row: ScannedRow<'_>) -> Result<Vec<Owner>, StoreError> {
    if summary::decode(summary_of(row)).is_some_and(|summary| !summary.names_blocks) {
        return Ok(Vec::new());
    }
    let (Some(bucket), Some(key)) = (row_key::bucket_id(row.key()), row_key::object_key(row.key())) else {
        return Ok(Vec::new());
    };
    // Whole, as it is at one time: versions move between the row and its archives.
    let Some(object) = inner.whole_row_here(row.key())? else {
        return Ok(Vec::new());
    };
    let writes = object.versions().flat_map(|version| &version.extents);
    Ok(writes
        .map(|write| owner_of(&inner.keyring, bucket, &key, *write))
        .collect())
}

/// The one that the row of a part names.
///
/// # Errors
/// As [`by_object`].
pub(in crate::repair) fn by_part(inner: &Inner, row: ScannedRow<'_>) -> Result<Option<Owner>, StoreError> {
    let (Some(bucket), Some((key, _))) = (row_key::bucket_id(row.key()), row_key::parse_part(row.key()))
    else {
        return Ok(None);
    };
    let part = inner.partitions.read::<PartRow>(row.key())?;
    Ok(part.map(|part| owner_of(&inner.keyring, bucket, &key, part.write)))
}
