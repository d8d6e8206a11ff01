//! Takes a body in: hashes it, cuts it into blocks, seals and stores them while it streams.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::digest::{Digested, Digests};
use super::{ObjectBody, PUT_BYTES_MAX};
use crate::cluster::Lease;
use crate::model::{BlockRef, Content, Extent, Manifest, Versioning};
use crate::seal::{CustomerKey, SealedBlock, seal_block};
use crate::store::{Inner, MEMORY_UNIT};
use crate::{Store, StoreError};

/// Blocks of one body that are sealed and written while the next one fills.
const BLOCKS_IN_FLIGHT: usize = 2;
/// Up to this size a body is hashed and sealed in one go: two threads would cost more than they save.
const SMALL_BYTES: usize = 256 * 1024;

/// How long a write waits for memory: a slow disk takes less for one block of every request it serves.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(60);

/// A body that has been taken in and verified.
pub(super) struct Ingested {
    pub(super) content: Taken,
    pub(super) size: u64,
    pub(super) digested: Digested,
}

/// Where a body went.
pub(super) enum Taken {
    Inline(Bytes),
    Blocks(Vec<BlockRef>),
}

impl Taken {
    /// As the content of a plain PUT by this write.
    pub(super) fn into_content(self, write: crate::model::WriteId) -> Content {
        match self {
            Self::Inline(bytes) => Content::Inline(bytes),
            Self::Blocks(blocks) => Content::Blocks(Manifest {
                extents: vec![Extent { write, blocks }],
                parts: Vec::new(),
            }),
        }
    }
}

/// Whether small bodies may stay in the row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Inline {
    Allowed,
    /// Only such as take no more room than the name of a block: the row holds many.
    Tiny,
    Never,
}

/// Bytes of a body that takes about as much room as a block's name, key and place in a manifest.
const TINY_BYTES: usize = 256;

impl Inline {
    /// For a bucket that keeps versions like this.
    pub(super) const fn of(versioning: Versioning) -> Self {
        match versioning {
            Versioning::Off => Self::Allowed,
            Versioning::Enabled | Versioning::Suspended => Self::Tiny,
        }
    }

    /// Whether so many bytes may stay in the row, which has room for `most` of one version.
    fn takes(self, bytes: usize, most: usize) -> bool {
        match self {
            Self::Allowed => bytes <= most,
            Self::Tiny => bytes <= most.min(TINY_BYTES),
            Self::Never => bytes == 0,
        }
    }
}

/// Takes `body` in under `lease`. On any error everything stored so far is freed when the lease is dropped.
///
/// # Errors
/// `Body`, `DigestMismatch`, `EntityTooLarge`, `DiskFull`, `Busy`.
pub(super) async fn ingest<B: ObjectBody>(
    store: &Store,
    lease: &Arc<Lease>,
    mut body: B,
    inline: Inline,
) -> Result<Ingested, StoreError> {
    let announced = body.size_hint();
    if let Some(size) = announced.filter(|size| *size > PUT_BYTES_MAX) {
        return Err(StoreError::EntityTooLarge {
            size,
            most: PUT_BYTES_MAX,
        });
    }
    let sealing = Sealing {
        inner: store.0.clone(),
        customer: body.customer_key().cloned(),
    };
    let inline = match sealing.customer {
        // Nothing of it stands where the mesh's keys alone open it.
        Some(_) => Inline::Never,
        None => inline,
    };
    let mut pipeline = Pipeline::new(store.clone(), lease.clone(), Digests::of(&body), sealing.clone());
    let block_bytes = store.0.limits.block_bytes;
    let mut left = announced;
    let mut block = Filling::start(&store.0, left).await?;
    let mut size = 0;
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(StoreError::Body)?;
        size += piece.len() as u64;
        if size > PUT_BYTES_MAX {
            return Err(StoreError::EntityTooLarge {
                size,
                most: PUT_BYTES_MAX,
            });
        }
        while block.takes(&mut piece, block_bytes) {
            left = left.map(|left| left.saturating_sub(block_bytes as u64));
            let full = std::mem::replace(&mut block, Filling::empty());
            pipeline.add(full).await?;
            block = Filling::start(&store.0, left).await?;
        }
    }
    let is_small = pipeline.is_empty() && block.bytes.len() <= SMALL_BYTES;
    let (digested, content) = if is_small {
        small(
            store,
            lease,
            (pipeline.into_digests(), sealing),
            block,
            inline,
            &body.claims(),
        )
        .await?
    } else {
        if !block.bytes.is_empty() {
            pipeline.add(block).await?;
        }
        let (digested, blocks) = pipeline.finish().await?;
        digested.check(&body.claims())?;
        (digested, Taken::Blocks(blocks))
    };
    Ok(Ingested {
        content,
        size,
        digested,
    })
}

/// How the blocks of a body are sealed.
#[derive(Clone)]
struct Sealing {
    inner: Arc<Inner>,
    customer: Option<CustomerKey>,
}

impl Sealing {
    fn seal(&self, content: &[u8]) -> SealedBlock {
        let dedup_key = self.inner.keyring.dedup_key();
        match &self.customer {
            Some(key) => key.seal_block(dedup_key, content),
            None => seal_block(dedup_key, content),
        }
    }
}

/// A block that fills, and the memory it may take until it is stored.
struct Filling {
    bytes: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Filling {
    const fn empty() -> Self {
        Self {
            bytes: Vec::new(),
            permit: None,
        }
    }

    /// Waits for memory for the next block of a body of which so much is left.
    async fn start(inner: &Inner, left: Option<u64>) -> Result<Self, StoreError> {
        let most = inner.limits.block_bytes;
        let bytes = left.and_then(|left| usize::try_from(left).ok());
        let bytes = bytes.unwrap_or(most).min(most);
        if bytes <= MEMORY_UNIT {
            // Bounded by the number of requests, like their headers.
            return Ok(Self {
                bytes: Vec::with_capacity(bytes),
                permit: None,
            });
        }
        // Once as it came and once sealed.
        let units = (2 * bytes).div_ceil(MEMORY_UNIT).min(inner.memory_units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = timeout(MEMORY_TIMEOUT, inner.memory.clone().acquire_many_owned(units))
            .await
            .map_err(|_| StoreError::Busy)?
            .map_err(|_| StoreError::Closed)?;
        Ok(Self {
            bytes: Vec::with_capacity(bytes),
            permit: Some(permit),
        })
    }

    /// Moves bytes out of `piece`; true when the block is full and bytes are left over.
    fn takes(&mut self, piece: &mut Bytes, block_bytes: usize) -> bool {
        let fits = piece.len().min(block_bytes - self.bytes.len());
        self.bytes.extend_from_slice(&piece.split_to(fits));
        !piece.is_empty()
    }
}

/// Hashes and stores a body of at most one small block.
async fn small(
    store: &Store,
    lease: &Arc<Lease>,
    (mut digests, sealing): (Digests, Sealing),
    block: Filling,
    inline: Inline,
    claims: &super::Claims,
) -> Result<(Digested, Taken), StoreError> {
    if inline.takes(block.bytes.len(), store.0.limits.inline_bytes) {
        digests.update(&block.bytes);
        let digested = digests.finish();
        digested.check(claims)?;
        let taken = match inline {
            Inline::Allowed | Inline::Tiny => Taken::Inline(block.bytes.into()),
            Inline::Never => Taken::Blocks(Vec::new()),
        };
        return Ok((digested, taken));
    }
    let claims = claims.clone();
    let (digested, sealed) = store
        .0
        .disk
        .run(move || {
            digests.update(&block.bytes);
            let digested = digests.finish();
            digested.check(&claims)?;
            Ok::<_, StoreError>((digested, sealing.seal(&block.bytes)))
        })
        .await??;
    let reference = sealed.block.clone();
    lease.note([reference.id]);
    store.0.blocks.store(lease.owner(), sealed).await?;
    Ok((digested, Taken::Blocks(vec![reference])))
}

/// Hashing, one block after the other, beside sealing and storing.
struct Pipeline {
    store: Store,
    lease: Arc<Lease>,
    sealing: Sealing,
    digests: Option<Digests>,
    hashing: Option<JoinHandle<Result<Digests, StoreError>>>,
    storing: VecDeque<JoinHandle<Result<BlockRef, StoreError>>>,
    stored: Vec<BlockRef>,
}

impl Pipeline {
    fn new(store: Store, lease: Arc<Lease>, digests: Digests, sealing: Sealing) -> Self {
        Self {
            store,
            lease,
            sealing,
            digests: Some(digests),
            hashing: None,
            storing: VecDeque::new(),
            stored: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.storing.is_empty() && self.stored.is_empty()
    }

    #[allow(
        clippy::expect_used,
        reason = "digests are given away only by add and finish, which take self or refill it"
    )]
    fn into_digests(mut self) -> Digests {
        self.digests.take().expect("nothing was added")
    }

    /// Takes a full block once there is room in flight.
    async fn add(&mut self, block: Filling) -> Result<(), StoreError> {
        while self.storing.len() >= BLOCKS_IN_FLIGHT {
            self.settle_oldest().await?;
        }
        let digests = self.take_digests().await?;
        let bytes = Arc::new(block.bytes);
        self.hashing = Some(self.hash(digests, bytes.clone()));
        self.storing.push_back(self.seal_and_store(bytes, block.permit));
        Ok(())
    }

    async fn finish(mut self) -> Result<(Digested, Vec<BlockRef>), StoreError> {
        while !self.storing.is_empty() {
            self.settle_oldest().await?;
        }
        let digests = self.take_digests().await?;
        Ok((digests.finish(), self.stored))
    }

    async fn settle_oldest(&mut self) -> Result<(), StoreError> {
        if let Some(oldest) = self.storing.pop_front() {
            self.stored.push(oldest.await.map_err(|_| StoreError::Closed)??);
        }
        Ok(())
    }

    async fn take_digests(&mut self) -> Result<Digests, StoreError> {
        match (self.digests.take(), self.hashing.take()) {
            (Some(digests), _) => Ok(digests),
            (None, Some(hashing)) => hashing.await.map_err(|_| StoreError::Closed)?,
            (None, None) => Err(StoreError::Closed),
        }
    }

    fn hash(&self, mut digests: Digests, bytes: Arc<Vec<u8>>) -> JoinHandle<Result<Digests, StoreError>> {
        let disk = self.store.0.disk.clone();
        self.store.0.tasks.spawn(async move {
            let digests = disk
                .run(move || {
                    digests.update(&bytes);
                    digests
                })
                .await?;
            Ok(digests)
        })
    }

    fn seal_and_store(
        &self,
        bytes: Arc<Vec<u8>>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> JoinHandle<Result<BlockRef, StoreError>> {
        let inner = self.store.0.clone();
        let (lease, sealing) = (self.lease.clone(), self.sealing.clone());
        self.store.0.tasks.spawn(async move {
            let sealed = inner.disk.run(move || sealing.seal(&bytes)).await?;
            let reference = sealed.block.clone();
            lease.note([reference.id]);
            inner.blocks.store(lease.owner(), sealed).await?;
            drop(permit);
            Ok(reference)
        })
    }
}
