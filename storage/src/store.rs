//! The store of one node: opens and closes everything below it in order.

use crate::StoreError;
use crate::disk::{BlockDirectory, Disk};
use crate::model::AccessKey;
use std::path::PathBuf;
use std::sync::Arc;

/// How a store is opened; already valid.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of keys, rows and index. Created if missing.
    pub state: PathBuf,
    /// Directories of blocks.
    pub blocks: Vec<BlockDirectory>,
    /// Take writes although acknowledged rows are known to be lost.
    pub accept_loss: bool,
}

/// What opening for the first time created; shown once, kept nowhere in the clear.
pub struct FirstStart {
    /// The 24-word recovery phrase.
    pub recovery_phrase: String,
    /// The owner's access key.
    pub owner_key: Arc<AccessKey>,
}

/// The store of one node. Cloning gives another handle.
#[derive(Clone)]
pub struct Store {
    pub(crate) disk: Disk,
}

impl Store {
    /// Opens the store, creating it on the first start.
    ///
    /// # Errors
    /// The disk cannot be opened, is in use, or keys are missing or damaged.
    pub async fn open(options: Options) -> Result<(Self, Option<FirstStart>), StoreError> {
        let _ = options;
        unimplemented!()
    }

    /// Finishes commits in flight, flushes and closes.
    ///
    /// # Errors
    /// The disk failed while flushing.
    pub async fn close(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
}
