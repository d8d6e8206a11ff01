//! Hands on everything on this disk whenever the assignment has changed.
//!
//! The row under `0x08` says by which assignment that was done last: one version byte (1), then u64, little-endian.

use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::Blocks;
use super::hand_on::Handed;
use super::pace::{Pace, Pass};
use super::wire::Pair;
use crate::StoreError;
use crate::cluster::registers::Bell;
use crate::disk::RowWrite;
use crate::model::{BlockId, row_key};

const VERSION: u8 = 1;
/// References handed on together.
const PAGE: usize = 256;
/// The longest rest while somebody is away: a walk asks about everything.
const REST_MAX: Duration = Duration::from_secs(3600);

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

    /// Hands on every reference that was here when it began. `Clean` if all are where that assignment wants them.
    async fn walk(&self, version: u64) -> Result<Pass, StoreError> {
        let (mut pass, mut after) = (Pass::Clean, None);
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
            if handed.values().any(|handed| *handed == Handed::Later) {
                pass = Pass::Left;
            }
            if self.holders().version() != version {
                return Ok(Pass::Left);
            }
        }
        Ok(pass)
    }

    fn walked(&self) -> Result<Option<u64>, StoreError> {
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
