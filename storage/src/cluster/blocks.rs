//! Blocks by name: stores, shares, fetches and frees them; today they are all on this disk.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::StoreError;
use crate::disk::{Disk, DiskError};
use crate::model::{BlockId, BlockRef};
use crate::seal::{BlockOpener, InvalidBlock, SealedBlock};

/// The blocks of this store.
#[derive(Clone)]
pub(crate) struct Blocks {
    disk: Disk,
}

/// A range of a block's content, and what makes the next range of the same block cheaper.
pub(crate) struct Opened {
    pub(crate) pieces: Vec<Bytes>,
    pub(crate) opener: Arc<BlockOpener>,
}

impl Blocks {
    pub(crate) fn new(disk: Disk) -> Self {
        Self { disk }
    }

    /// Stores a block with a reference of `owner`; both are durable when it returns.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(crate) async fn store(&self, owner: [u8; 16], block: SealedBlock) -> Result<(), StoreError> {
        Ok(self.disk.put_block(block.block.id.0, owner, block.sealed).await?)
    }

    /// Adds references of `owner`; `false`, and nothing added, when a block is gone.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn share(&self, owner: [u8; 16], ids: Vec<BlockId>) -> Result<bool, StoreError> {
        match self
            .disk
            .add_references(owner, ids.into_iter().map(|id| id.0).collect())
            .await
        {
            Ok(()) => Ok(true),
            Err(DiskError::NoSuchBlock) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes references; blocks without any are freed.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn release(&self, owner: [u8; 16], ids: Vec<BlockId>) -> Result<(), StoreError> {
        Ok(self
            .disk
            .release(owner, ids.into_iter().map(|id| id.0).collect())
            .await?)
    }

    /// Reads and opens a range of a block's content. Blocks the thread: call it on the disk's.
    ///
    /// # Errors
    /// The block is missing or does not verify.
    pub(crate) fn fetch(
        &self,
        block: &BlockRef,
        range: Range<usize>,
        opener: Option<Arc<BlockOpener>>,
    ) -> Result<Opened, StoreError> {
        match opener {
            Some(opener) => self.fetch_rest(block, range, opener),
            None => self.fetch_first(block, range),
        }
    }

    fn fetch_first(&self, block: &BlockRef, range: Range<usize>) -> Result<Opened, StoreError> {
        // A range near the front comes with the table in one read; for another the table is read alone.
        let near = range.start < BlockOpener::sealed_len_for(0);
        let front_len = BlockOpener::sealed_len_for(if near { range.end } else { 0 });
        let mut front = self.read(block, 0..front_len.min(block.sealed as usize))?;
        let opener = BlockOpener::new(block, &mut front).map_err(|error| damaged(block, error))?;
        let needed = opener.sealed_range(&range);
        let opener = Arc::new(opener);
        if needed.start > 0 || needed.end > front.len() {
            return self.fetch_rest(block, range, opener);
        }
        front.truncate(needed.end);
        let pieces = opener
            .open(range, front, 1)
            .map_err(|error| damaged(block, error))?;
        Ok(Opened { pieces, opener })
    }

    fn fetch_rest(
        &self,
        block: &BlockRef,
        range: Range<usize>,
        opener: Arc<BlockOpener>,
    ) -> Result<Opened, StoreError> {
        let sealed = self.read(block, opener.sealed_range(&range))?;
        let pieces = opener
            .open(range, sealed, 0)
            .map_err(|error| damaged(block, error))?;
        Ok(Opened { pieces, opener })
    }

    fn read(&self, block: &BlockRef, sealed: Range<usize>) -> Result<Vec<u8>, StoreError> {
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        match self
            .disk
            .read_block(block.id.0, bound(sealed.start)..bound(sealed.end))
        {
            Ok(bytes) => Ok(bytes),
            Err(DiskError::NoSuchBlock) => Err(StoreError::Damaged(format!("{:?} is missing", block.id))),
            Err(error) => Err(error.into()),
        }
    }
}

fn damaged(block: &BlockRef, error: InvalidBlock) -> StoreError {
    StoreError::Damaged(format!("{:?}: {error}", block.id))
}
