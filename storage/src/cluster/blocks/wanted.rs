//! The references that not all who should hold them may have: rows of this member alone, and the worker that hands them on.
//!
//! Such a row stands under `0x06`, owner and block id, and holds one version byte (1).

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::hand_on::Handed;
use super::pace::{Pace, Pass};
use super::wire::Pair;
use super::{Blocks, Owner};
use crate::StoreError;
use crate::disk::{DiskError, RowWrite};
use crate::model::{BlockId, row_key};

const VERSION: u8 = 1;
/// References handed on together.
const PAGE: usize = 256;
/// The longest rest while somebody is away.
const REST_MAX: Duration = Duration::from_secs(300);

impl Blocks {
    /// Has references handed on to whoever should hold them. That this is to be done is durable when it returns.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(super) async fn want(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        if pairs.is_empty() {
            return Ok(());
        }
        self.note_wanted(pairs).await?;
        self.0.wanted.ring();
        Ok(())
    }

    /// Notes references for the next pass.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(super) async fn note_wanted(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        let row = |(owner, id): &Pair| RowWrite::Put {
            key: row_key::wanted(owner, id),
            summary: Vec::new(),
            value: Bytes::from_static(&[VERSION]),
        };
        Ok(self.disk().commit(pairs.iter().map(row).collect()).await?)
    }

    /// Forgets references that are everywhere.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) async fn forget(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        let row = |(owner, id): &Pair| RowWrite::Drop {
            key: row_key::wanted(owner, id),
        };
        match pairs.is_empty() {
            true => Ok(()),
            false => Ok(self.disk().commit(pairs.iter().map(row).collect()).await?),
        }
    }

    /// Forgets what these owners wanted: their references are removed for good.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) async fn forget_wanted(&self, owners: Vec<Owner>) -> Result<(), StoreError> {
        let disk = self.disk().clone();
        let find = move || {
            let mut found = Vec::new();
            for owner in owners {
                let from = row_key::wanted_of(&owner);
                let to = row_key::after_prefix(from.clone());
                let mut rows = disk.scan(Included(&from), Excluded(&to))?;
                while let Some(row) = rows.next_row()? {
                    found.extend(row_key::parse_wanted(row.key()));
                }
            }
            Ok::<_, DiskError>(found)
        };
        let found = self.disk().run(find).await??;
        self.forget(&found).await
    }

    /// Has a block that does not read here be fetched anew.
    pub(crate) async fn mend(&self, id: BlockId) {
        if !self.is_meshed() {
            return;
        }
        let disk = self.disk().clone();
        let find = move || disk.references(Some((id.0, [0; 16])), 1);
        let first = match self.disk().run(find).await {
            Ok(Ok(first)) => first.into_iter().find(|reference| reference.id == id.0),
            _ => None,
        };
        let Some(reference) = first else { return };
        if let Err(error) = self.want(&[(reference.owner, id)]).await {
            debug!(?id, %error, "a damaged block is not noted");
        }
    }

    /// Hands on what is noted, until stopped.
    pub(crate) async fn run_wanted(self, stop: CancellationToken) {
        let pace = Pace::new(self.0.wanted.clone(), REST_MAX);
        pace.work(&self, stop, || self.hand_on_wanted()).await;
    }

    /// One pass over all that is noted.
    async fn hand_on_wanted(&self) -> Result<Pass, StoreError> {
        if !self.is_meshed() {
            return Ok(Pass::Clean);
        }
        let (mut from, to) = row_key::all_wanted();
        let (mut pass, mut handed_on) = (Pass::Clean, 0);
        loop {
            let (page, next) = self.page_of_wanted(from, to.clone()).await?;
            let skipped: BTreeSet<Pair> = self.under_way().clone();
            let pairs: Vec<Pair> = page.into_iter().filter(|pair| !skipped.contains(pair)).collect();
            let handed = self.hand_on(&pairs).await;
            let (left, done): (Vec<_>, Vec<_>) = handed
                .into_iter()
                .partition(|(_, handed)| *handed == Handed::Later);
            if !left.is_empty() {
                pass = Pass::Left;
            }
            handed_on += done.len();
            self.forget(&done.into_iter().map(|(pair, _)| pair).collect::<Vec<_>>())
                .await?;
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        if handed_on > 0 {
            info!(references = handed_on, "blocks are where they are wanted");
        }
        Ok(pass)
    }

    /// Some references that are noted, and where to go on.
    async fn page_of_wanted(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> Result<(Vec<Pair>, Option<Vec<u8>>), StoreError> {
        let disk = self.disk().clone();
        let find = move || {
            let mut pairs = Vec::new();
            let mut rows = disk.scan(Included(&from), Excluded(&to))?;
            while let Some(row) = rows.next_row()? {
                if pairs.len() == PAGE {
                    return Ok((pairs, Some(row.key().to_vec())));
                }
                pairs.extend(row_key::parse_wanted(row.key()));
            }
            Ok::<_, DiskError>((pairs, None))
        };
        Ok(self.disk().run(find).await??)
    }
}
