//! The store of one node: opens and closes everything below it in order.

use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, info_span};

use crate::StoreError;
use crate::cluster::{Blocks, Directory, Hot, Partitions, Releaser};
use crate::disk::{BlockDirectory, Disk, DiskError, DiskOptions, DiskStatus, RowWrite, create_private};
use crate::model::{AccessKey, KeyName, row_key};
use crate::objects::{NewKey, OpenedVersion};
use crate::repair::collect;
use crate::seal::Keyring;

/// Bytes of memory one permit of [`Inner::memory`] stands for.
pub(crate) const MEMORY_UNIT: usize = 64 * 1024;

/// How a store is opened; already valid.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of keys, rows and index. Created if missing.
    pub state: PathBuf,
    /// Directories of blocks.
    pub blocks: Vec<BlockDirectory>,
    /// Take writes although acknowledged rows are known to be lost.
    pub accept_loss: bool,
    /// The 24 words, when the key file of a store with data is gone.
    pub recovery_phrase: Option<String>,
    /// Bytes of content that all writes together may hold in memory; at least 32 MiB.
    pub memory: usize,
    /// Bytes of content that was read lately and is kept in memory while it is in use.
    pub hot: u64,
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
pub struct Store(pub(crate) Arc<Inner>);

/// Everything a store is made of.
pub(crate) struct Inner {
    pub(crate) disk: Disk,
    pub(crate) keyring: Keyring,
    pub(crate) directory: Directory,
    pub(crate) partitions: Partitions,
    pub(crate) blocks: Blocks,
    pub(crate) releaser: Releaser,
    /// Content that writes hold in memory, in units of [`MEMORY_UNIT`].
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) memory_units: usize,
    pub(crate) hot: Hot<Arc<OpenedVersion>>,
    pub(crate) tasks: TaskTracker,
    stop: CancellationToken,
}

impl Store {
    /// Opens the store, creating it on the first start.
    ///
    /// # Errors
    /// The disk cannot be opened, is in use, or keys are missing or damaged.
    pub async fn open(options: Options) -> Result<(Self, Option<FirstStart>), StoreError> {
        create_private(&options.state).map_err(|source| DiskError::Io {
            directory: options.state.clone(),
            action: "create state directory",
            source,
        })?;
        let rows = options.state.join("rows");
        let disk = Disk::open(DiskOptions {
            rows,
            blocks: options.blocks,
            accept_loss: options.accept_loss,
        })
        .await?;
        // Keys after the disk: its lock keeps two processes from both making some.
        let opened = open_keyring(&disk, options.state, options.recovery_phrase).await;
        let (keyring, phrase) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                disk.close().await?;
                return Err(error);
            }
        };
        let partitions = Partitions::new(disk.clone());
        let after_crash = !take_clean_mark(&disk).await?;
        let directory = Directory::load(&disk, &partitions, &keyring)?;
        let memory_units = (options.memory / MEMORY_UNIT).max((32 << 20) / MEMORY_UNIT);
        let store = Self(Arc::new(Inner {
            blocks: Blocks::new(disk.clone()),
            releaser: Releaser::default(),
            memory: Arc::new(Semaphore::new(memory_units)),
            memory_units,
            hot: Hot::new(options.hot),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            disk,
            keyring,
            directory,
            partitions,
        }));
        store.start(after_crash);
        let first_start = match phrase {
            Some(recovery_phrase) => Some(store.first_start(recovery_phrase).await?),
            None => None,
        };
        Ok((store, first_start))
    }

    /// Finishes commits in flight, frees what waits to be freed, flushes and closes.
    ///
    /// # Errors
    /// The disk failed while flushing.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        // Everything that was to be freed is freed: the next start has nothing to collect.
        let mark = RowWrite::Put {
            key: row_key::clean_mark(),
            summary: Vec::new(),
            value: Bytes::from_static(b"1"),
        };
        let marked = self.0.disk.commit(vec![mark]).await;
        self.0.disk.close().await?;
        match marked {
            // A read-only disk cannot be marked, and loses nothing by being collected again.
            Ok(()) | Err(DiskError::ReadOnly(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the disk says about itself.
    pub fn disk_status(&self) -> DiskStatus {
        self.0.disk.status()
    }

    /// Runs a commit to its end even if whoever waits for it goes away.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        commit: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.0.tasks.spawn(commit).await.map_err(|_| StoreError::Closed)?
    }

    fn start(&self, after_crash: bool) {
        let inner = &self.0;
        let run = inner
            .releaser
            .clone()
            .run(inner.blocks.clone(), inner.stop.clone());
        inner.tasks.spawn(run.instrument(info_span!("release")));
        let cooling = self.0.clone();
        let stop = inner.stop.clone();
        inner
            .tasks
            .spawn(async move { cooling.hot.cool(stop).await }.instrument(info_span!("cool")));
        let collect = collect::run(Arc::downgrade(inner), after_crash, inner.stop.clone());
        inner.tasks.spawn(collect.instrument(info_span!("collect")));
    }

    async fn first_start(&self, recovery_phrase: String) -> Result<FirstStart, StoreError> {
        let name = KeyName::parse("owner").map_err(StoreError::Damaged)?;
        let owner_key = self
            .create_key(NewKey {
                name,
                create_buckets: true,
                import: None,
            })
            .await?;
        Ok(FirstStart {
            recovery_phrase,
            owner_key,
        })
    }
}

/// Removes the mark that the last close left; `false` after a crash, and on the first start.
async fn take_clean_mark(disk: &Disk) -> Result<bool, StoreError> {
    let key = row_key::clean_mark();
    if disk.row(&key)?.is_none() {
        return Ok(false);
    }
    match disk.commit(vec![RowWrite::Drop { key }]).await {
        Ok(()) | Err(DiskError::ReadOnly(_)) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

async fn open_keyring(
    disk: &Disk,
    state: PathBuf,
    phrase: Option<String>,
) -> Result<(Keyring, Option<String>), StoreError> {
    // Keys are made before the first row: rows without keys mean that the keys were lost.
    let has_data = disk
        .scan(Bound::Unbounded, Bound::Unbounded)
        .next()
        .transpose()?
        .is_some();
    let opened = disk
        .run(move || Keyring::open(&state, has_data, phrase.as_deref()))
        .await?;
    match opened {
        Ok((keyring, phrase)) => Ok((keyring, phrase.map(|phrase| phrase.as_str().to_owned()))),
        Err(error) => Err(StoreError::Keys(Box::new(error))),
    }
}
