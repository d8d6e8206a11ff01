//! Hands on everything on this disk whenever the assignment has changed.
//!
//! What cannot be handed on now is noted (see `noted`). So after a walk each reference that was here is where that
//! assignment wants it, or is noted: what nobody noted is proven.
//!
//! The row under `0x08` says by which assignment that was done last: one version byte (1), then u64, little-endian.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Blocks;
use super::hand_on::{Handed, HandedOn};
use super::noted::Noted;
use super::pace::{Pace, Pass};
use super::wire::Pair;
use crate::StoreError;
use crate::cluster::registers::Bell;
use crate::disk::RowWrite;
use crate::model::{BlockId, row_key};

const VERSION: u8 = 1;
/// References handed on together.
const PAGE: usize = 256;
/// The longest rest after the disk failed: a walk asks about everything.
const REST_MAX: Duration = Duration::from_secs(3600);

/// How far a walk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Walking {
    /// Which assignment it goes by.
    pub(super) version: u64,
    /// Everything below this id was handed on or noted.
    pub(super) below: Option<BlockId>,
}

impl Blocks {
    /// Walks until stopped.
    pub(crate) async fn run_walk(self, stop: CancellationToken) {
        // Nobody rings: it is looked now and then.
        let pace = Pace::new(Bell::default(), REST_MAX);
        pace.work(&self, stop, || self.walk_if_due()).await;
    }

    async fn walk_if_due(&self) -> Result<Pass, StoreError> {
        let version = self.holders().version();
        if !self.is_meshed() || version == 0 || self.walked()? == Some(version) {
            return Ok(Pass::Clean);
        }
        match self.walk(version).await? {
            Pass::Left => Ok(Pass::Left),
            Pass::Clean => {
                self.note_walked(version).await?;
                info!(version, "all blocks are handed on");
                Ok(Pass::Clean)
            }
        }
    }

    /// Hands on, or notes, every reference that was here when it began; `Left` if another assignment came meanwhile.
    async fn walk(&self, version: u64) -> Result<Pass, StoreError> {
        *self.walking() = Walking { version, below: None };
        let mut after = None;
        loop {
            let disk = self.disk().clone();
            let page = self.disk().run(move || disk.references(after, PAGE)).await??;
            let Some(last) = page.last() else { break };
            after = Some((last.id, last.owner));
            let pairs: Vec<Pair> = page
                .iter()
                .map(|reference| (reference.owner, BlockId(reference.id)))
                .collect();
            let handed = self.hand_on(&pairs).await;
            if self.holders().version() != version {
                return Ok(Pass::Left);
            }
            self.note_left(handed).await?;
            let below = Some(BlockId(last.id));
            *self.walking() = Walking { version, below };
        }
        Ok(Pass::Clean)
    }

    async fn note_left(&self, handed: HandedOn) -> Result<(), StoreError> {
        let HandedOn { each, mut have } = handed;
        let left = each.into_iter().filter(|(_, handed)| *handed == Handed::Later);
        let noted = left.map(|(pair, _)| Noted::now(pair, 0, have.remove(&pair).unwrap_or_default()));
        self.want(noted.collect()).await
    }

    /// By which assignment everything here was handed on or noted last.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn walked(&self) -> Result<Option<u64>, StoreError> {
        let row = self.disk().row(&row_key::walked())?;
        Ok(row.and_then(|row| match *row {
            [VERSION, ref version @ ..] => Some(u64::from_le_bytes(version.try_into().ok()?)),
            _ => None,
        }))
    }

    async fn note_walked(&self, version: u64) -> Result<(), StoreError> {
        let value = [&[VERSION][..], &version.to_le_bytes()].concat();
        let row = RowWrite::Put {
            key: row_key::walked(),
            summary: Vec::new(),
            value: Bytes::from(value),
        };
        Ok(self.disk().commit(vec![row]).await?)
    }
}
