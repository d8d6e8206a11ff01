//! The blocks of one node, over one or several directories.
//!
//! A directory is a log of its own ([`record`] says what is in it, to the byte), one disposable index ([`index`]),
//! and two threads: one owns the end of the log and decides everything ([`owner`]), one gives room back
//! ([`reclaim`]). Directories know nothing of each other; a block that ended up in two of them is simply held
//! twice, each copy with references of its own.
//!
//! What a caller may rely on: an answer means durable; a block with an acknowledged reference stays until that is
//! released; bytes that do not prove themselves are never returned. A reference made by a call that was dropped or
//! failed may exist: whoever collects references by asking their owners finds it.

mod decide;
mod directory;
#[cfg(test)]
mod fault_tests;
mod heads;
mod identity;
mod index;
mod ledger;
mod map;
#[cfg(test)]
mod model_tests;
mod open;
mod owner;
mod read;
mod reclaim;
mod record;
mod reopen;
#[cfg(test)]
mod reopen_tests;
mod replay;
mod requests;
mod rewrite;
mod room;
mod scrub;
mod stamps;
#[cfg(any(test, feature = "simulation"))]
mod stepped;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use decide::Ask;
use directory::Directory;
pub use identity::is_of_a_store;
use map::Maps;
pub(super) use open::{BlocksOptions, IndexAt, open_directory};
#[cfg(any(test, feature = "simulation"))]
pub(super) use record::read_hostile;
pub(crate) use record::{Id, Owner};
use record::{Pages, SEALED_MAX};
use reopen::Reopening;
pub use scrub::{ScrubPosition, Scrubbed};
use stamps::Stamps;

use super::DiskError;
use super::drive::Drive;
use super::frame::Position;

/// A reference as the collector sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldReference {
    /// The block.
    pub id: Id,
    /// Who holds it.
    pub owner: Owner,
    /// When it was made, in the order of [`Blocks::newest_stamp`].
    pub stamp: u64,
}

/// How one directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryState {
    /// Serves and takes blocks.
    Serving,
    /// Its device failed while writing: it serves what it can, and takes nothing until the next start. Or its index failed,
    /// as where somebody else has filled its file system: until there is room again.
    Stopped,
    /// It is not there, or cannot be opened; its blocks are not available.
    Missing,
}

/// What one directory says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryStatus {
    /// Where it is, or was last seen.
    pub path: PathBuf,
    /// How it is.
    pub state: DirectoryState,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be used.
    pub given: u64,
    /// Whether new blocks are refused for want of room.
    pub full: bool,
    /// Blocks known to be damaged.
    pub damaged: u64,
    /// Frames that were lost when it was opened.
    pub frames_lost: u64,
}

/// The blocks of one node. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Blocks(Arc<Reopening>);

/// The directories as they were opened together.
struct Inner {
    /// In the order of their ids.
    directories: Vec<Directory>,
    /// Those that are listed and not open.
    absent: Vec<DirectoryStatus>,
    /// What they share; none where nothing is open.
    maps: Option<Maps>,
    /// One that was open before could not be opened again.
    is_short: bool,
    stamps: Arc<Stamps>,
    drive: Drive,
}

impl Blocks {
    /// Stores a sealed block with its first reference, or adds the reference to a block already here. `id` is the
    /// blake3 of `sealed`, computed by whoever sealed it; scrub proves it again.
    ///
    /// # Errors
    /// `TooLarge`: not 1 byte to 8 MiB. `Full`: no directory has room. `Stopped`, `Io`, `Index`: outcome unknown.
    ///
    /// # Cancellation
    /// The reference may be made although nobody waits for it.
    pub(crate) async fn put(&self, id: Id, owner: Owner, sealed: Bytes) -> Result<(), DiskError> {
        let size = sealed.len() as u64;
        let most = u64::from(SEALED_MAX);
        let pages = Pages::of(&sealed).ok_or(DiskError::TooLarge {
            what: "block",
            size,
            most,
        })?;
        let mut refusal = None;
        let inner = self.open_now()?;
        for directory in inner.clone().candidates(id).await? {
            let directory = &inner.directories[directory];
            let ask = Ask::Put {
                id,
                owner,
                sealed: sealed.clone(),
                pages: pages.clone(),
            };
            match directory.ask(ask).await {
                Ok(_) => return Ok(()),
                Err(
                    error @ (DiskError::Full { .. }
                    | DiskError::FilesExhausted { .. }
                    | DiskError::Stopped { .. }
                    | DiskError::Io { .. }),
                ) => refusal = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(refusal.unwrap_or_else(|| inner.untaken()))
    }

    /// Adds a durable reference to each block, or to none.
    ///
    /// # Errors
    /// `NoSuchBlock`, `Missing`: one is not here. As [`Self::put`] but for `Full`.
    pub(crate) async fn add_references(&self, owner: Owner, ids: Vec<Id>) -> Result<(), DiskError> {
        let mut added: Vec<(usize, Vec<Id>)> = Vec::new();
        let inner = self.open_now()?;
        for (directory, ids) in inner.clone().locate(ids).await? {
            match inner.directories[directory].ask(Ask::Add { owner, ids }).await {
                Ok(ids) => added.push((directory, ids)),
                Err(error) => {
                    for (directory, ids) in added {
                        inner.directories[directory]
                            .ask(Ask::Release { owner, ids })
                            .await?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Removes references; a block without any is freed. What is not held is left out. Works on a full disk.
    ///
    /// # Errors
    /// As [`Self::put`]. References in a directory that is missing stay until they are collected.
    pub(crate) async fn release(&self, owner: Owner, ids: Vec<Id>) -> Result<(), DiskError> {
        let mut result = Ok(());
        for directory in &self.open_now()?.directories {
            let released = directory
                .ask(Ask::Release {
                    owner,
                    ids: ids.clone(),
                })
                .await;
            if let Err(error) = released {
                result = Err(error);
            }
        }
        result
    }

    /// Sealed bytes of a block that a directory has and that is not known to be damaged. Blocks the thread for a lookup.
    ///
    /// # Errors
    /// `Index`.
    pub(crate) fn sealed_bytes(&self, id: &Id) -> Result<Option<u32>, DiskError> {
        for directory in &self.open_now()?.directories {
            let index = &directory.shared.index;
            let place = index.block(id)?.and_then(|entry| entry.place);
            if let Some(place) = place
                && !index.is_damaged(id)?
            {
                return Ok(Some(place.bytes));
            }
        }
        Ok(None)
    }

    /// Reads a range of a sealed block, clipped to its length, every byte proven. Blocks the thread.
    ///
    /// # Errors
    /// `NoSuchBlock`; `Missing`: not here, but it may be in a directory that is missing; `Damaged`; `Io`.
    pub(crate) fn read(&self, id: Id, range: Range<u32>) -> Result<Vec<u8>, DiskError> {
        let mut refusal = None;
        let inner = self.open_now()?;
        for directory in &inner.directories {
            match directory.read(&id, &range) {
                Err(DiskError::NoSuchBlock) => {}
                Err(error) => refusal = Some(error),
                Ok(bytes) => return Ok(bytes),
            }
        }
        Err(refusal.unwrap_or_else(|| inner.absent()))
    }

    /// At most `most` references in the order of (id, owner), after `after`. Blocks the thread.
    ///
    /// To sweep: take [`Self::newest_stamp`], let every write that is under way commit or fail, then page through
    /// and spare what has a higher stamp. Start anew after a restart.
    ///
    /// # Errors
    /// `Index`.
    pub(crate) fn references(
        &self,
        after: Option<(Id, Owner)>,
        most: usize,
    ) -> Result<Vec<HeldReference>, DiskError> {
        let mut references = Vec::new();
        for directory in &self.open_now()?.directories {
            let page = directory.shared.index.references(after, most)?;
            references.extend(
                page.into_iter()
                    .map(|(id, owner, stamp)| HeldReference { id, owner, stamp }),
            );
        }
        // A reference held in two directories is as young as the younger.
        references.sort_unstable_by(|a, b| (a.id, a.owner, b.stamp).cmp(&(b.id, b.owner, a.stamp)));
        references.dedup_by_key(|reference| (reference.id, reference.owner));
        references.truncate(most);
        Ok(references)
    }

    /// The stamp of the newest reference: every later one has a higher stamp, until the store is closed.
    pub(crate) fn newest_stamp(&self) -> u64 {
        self.inner().stamps.newest()
    }

    /// Verifies the blocks that lie behind `from`, about `budget` bytes of them. Blocks the thread.
    ///
    /// # Errors
    /// `Io`, `Index`, `Closed`.
    pub(crate) fn verify(&self, from: Option<ScrubPosition>, budget: u64) -> Result<Scrubbed, DiskError> {
        let mut scrubbed = Scrubbed::default();
        for directory in &self.open_now()?.directories {
            let position = match from {
                Some(from) if directory.identity < from.directory => continue,
                Some(from) if directory.identity == from.directory => Position {
                    segment: from.segment,
                    offset: from.offset,
                },
                _ => Position::default(),
            };
            if let Some(Position { segment, offset }) = directory.verify(position, budget, &mut scrubbed)? {
                scrubbed.next = Some(ScrubPosition {
                    directory: directory.identity,
                    segment,
                    offset,
                });
                break;
            }
        }
        Ok(scrubbed)
    }

    /// What each directory says about itself.
    pub(crate) fn status(&self) -> Vec<DirectoryStatus> {
        self.inner().status()
    }
}

impl Inner {
    fn status(&self) -> Vec<DirectoryStatus> {
        let open = self.directories.iter().map(|directory| {
            let room = directory.shared.room();
            let state = directory.shared.state();
            DirectoryStatus {
                path: directory.shared.path.clone(),
                state: match state.stopped {
                    Some(_) => DirectoryState::Stopped,
                    None => DirectoryState::Serving,
                },
                used: state.used(),
                given: room.as_ref().map_or(0, |room| room.given),
                full: room.is_ok_and(|room| !room.admits(1)),
                damaged: state.damaged,
                frames_lost: state.frames_lost,
            }
        });
        open.chain(self.absent.iter().cloned()).collect()
    }

    /// Finishes what is queued and ends all threads. Blocks the thread.
    fn close(&self) {
        for directory in &self.directories {
            directory.close();
        }
        if let Some(maps) = &self.maps
            && let Err(error) = maps.persist()
        {
            // The index is disposable: the next start replays what it lacks.
            tracing::debug!(%error, "block index closed without a sync");
        }
    }

    /// Directories to try a block in: the one that has it, then those that take blocks by free share.
    async fn candidates(self: Arc<Self>, id: Id) -> Result<Vec<usize>, DiskError> {
        if self.directories.len() == 1 {
            return Ok(vec![0]);
        }
        self.blocking(move |inner| {
            let mut ranked = Vec::new();
            for (number, directory) in inner.directories.iter().enumerate() {
                let shared = &directory.shared;
                if shared.state().stopped.is_some() {
                    continue;
                }
                let here = shared.index.block(&id).is_ok_and(|entry| entry.is_some());
                let free_share = shared.room().map_or(0, |room| room.free_share());
                ranked.push((here, free_share, number));
            }
            ranked.sort_unstable_by(|a, b| b.cmp(a));
            Ok(ranked.into_iter().map(|(_, _, number)| number).collect())
        })
        .await
    }

    /// Which directory has each block.
    async fn locate(self: Arc<Self>, ids: Vec<Id>) -> Result<Vec<(usize, Vec<Id>)>, DiskError> {
        if self.directories.len() == 1 && self.absent.is_empty() {
            return Ok(vec![(0, ids)]);
        }
        self.blocking(move |inner| {
            let mut located = vec![Vec::new(); inner.directories.len()];
            for id in ids {
                let mut holders = inner
                    .directories
                    .iter()
                    .map(|directory| directory.shared.index.block(&id));
                match holders.position(|entry| entry.is_ok_and(|entry| entry.is_some())) {
                    Some(number) => located[number].push(id),
                    None => return Err(inner.absent()),
                }
            }
            Ok(located
                .into_iter()
                .enumerate()
                .filter(|(_, ids)| !ids.is_empty())
                .collect())
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        self: Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, DiskError> {
        self.drive.run(move || work(&self)).await?
    }

    /// What to say of a block that no directory was asked to take.
    fn untaken(&self) -> DiskError {
        match self.directories.first() {
            Some(stopped) => stopped.shared.stopped(),
            None => self.absent(),
        }
    }

    /// What to say of a block that no directory here has.
    fn absent(&self) -> DiskError {
        match self.absent.first() {
            Some(directory) => DiskError::Missing {
                directory: directory.path.clone(),
            },
            None => DiskError::NoSuchBlock,
        }
    }
}
