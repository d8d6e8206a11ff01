//! Opens ranges of sealed blocks, wherever their bytes come from.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::StoreError;
use crate::disk::{Disk, DiskError};
use crate::model::{BlockId, BlockRef};
use crate::seal::{BlockOpener, InvalidBlock};

/// A range of a block's content, and what makes the next range of the same block cheaper.
pub(crate) struct Opened {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) opener: Arc<BlockOpener>,
}

/// What the front of a block came to.
pub(super) enum Front {
    /// The whole range was in it.
    Opened(Opened),
    /// The range lies elsewhere.
    Elsewhere(Arc<BlockOpener>),
}

/// Which sealed bytes to read first for a range: one near the front comes with the table in one read, for another the
/// table is read alone.
pub(super) fn front_of(block: &BlockRef, range: &Range<usize>) -> Range<usize> {
    let near = range.start < BlockOpener::sealed_len_for(0);
    let len = BlockOpener::sealed_len_for(if near { range.end } else { 0 });
    0..len.min(block.sealed as usize)
}

/// Opens the bytes of [`front_of`].
///
/// # Errors
/// They do not verify.
pub(super) fn open_front(
    block: &BlockRef,
    range: Range<usize>,
    mut front: Vec<u8>,
) -> Result<Front, InvalidBlock> {
    let opener = BlockOpener::new(block, &mut front)?;
    let needed = opener.sealed_range(&range);
    let opener = Arc::new(opener);
    if needed.start > 0 || needed.end > front.len() {
        return Ok(Front::Elsewhere(opener));
    }
    front.truncate(needed.end);
    let pieces = opener.open(range, front, 1)?;
    Ok(Front::Opened(Opened { pieces, opener }))
}

/// Opens exactly the sealed bytes that a range needs.
///
/// # Errors
/// They do not verify.
pub(super) fn open_rest(
    range: Range<usize>,
    opener: Arc<BlockOpener>,
    sealed: Vec<u8>,
) -> Result<Opened, InvalidBlock> {
    let pieces = opener.open(range, sealed, 0)?;
    Ok(Opened { pieces, opener })
}

/// Reads and opens a range of a block on this disk. Blocks the thread.
///
/// # Errors
/// `Damaged`: the block is missing, or does not verify. The disk fails.
pub(super) fn fetch_here(
    disk: &Disk,
    block: &BlockRef,
    range: Range<usize>,
    opener: Option<Arc<BlockOpener>>,
) -> Result<Opened, StoreError> {
    let opener = match opener {
        Some(opener) => opener,
        None => {
            let front = read(disk, block.id, front_of(block, &range))?;
            match open_front(block, range.clone(), front).map_err(|error| damaged(block, error))? {
                Front::Opened(opened) => return Ok(opened),
                Front::Elsewhere(opener) => opener,
            }
        }
    };
    let sealed = read(disk, block.id, opener.sealed_range(&range))?;
    open_rest(range, opener, sealed).map_err(|error| damaged(block, error))
}

fn read(disk: &Disk, id: BlockId, sealed: Range<usize>) -> Result<Vec<u8>, StoreError> {
    match disk.read_block(id.0, bound(sealed.start)..bound(sealed.end)) {
        Ok(bytes) => Ok(bytes),
        Err(DiskError::NoSuchBlock) => Err(missing(id)),
        Err(error) => Err(error.into()),
    }
}

/// An offset in a sealed block, as disks and peers take it.
pub(super) fn bound(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

pub(super) fn missing(id: BlockId) -> StoreError {
    StoreError::Damaged(format!("{id:?} is missing"))
}

pub(super) fn damaged(block: &BlockRef, error: InvalidBlock) -> StoreError {
    StoreError::Damaged(format!("{:?}: {error}", block.id))
}
