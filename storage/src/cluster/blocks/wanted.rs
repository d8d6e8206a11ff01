//! The references that not all who should hold them may have: rows of this member alone (see `noted`), and the worker that
//! hands them on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::hand_on::{Handed, HandedOn};
use super::holders::Holders;
use super::noted::Noted;
use super::pace::{Pace, Pass};
use super::wire::Pair;
use super::{Blocks, Owner};
use crate::StoreError;
use crate::disk::{Disk, DiskError, RowWrite};
use crate::model::{BlockId, MemberId, row_key};

/// References handed on together.
const PAGE: usize = 256;
/// The longest rest while somebody is away.
const REST_MAX: Duration = Duration::from_secs(300);

impl Blocks {
    /// Has references handed on to whoever should hold them. That this is to be done is durable when it returns; what was
    /// noted before keeps its age.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(super) async fn want(&self, noted: Vec<Noted>) -> Result<(), StoreError> {
        if noted.is_empty() {
            return Ok(());
        }
        let disk = self.disk().clone();
        let age = move || noted.into_iter().map(|noted| aged(&disk, noted)).collect();
        let noted: Result<Vec<Noted>, DiskError> = self.disk().run(age).await?;
        self.note_wanted(&noted?).await?;
        self.0.wanted.ring();
        Ok(())
    }

    /// As [`Self::want`], of references that nobody is known to have.
    ///
    /// # Errors
    /// As [`Self::want`].
    pub(super) async fn seek(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        let noted = pairs.iter().map(|pair| Noted::now(*pair, 0, BTreeSet::new()));
        self.want(noted.collect()).await
    }

    /// Notes references for the next pass.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(super) async fn note_wanted(&self, noted: &[Noted]) -> Result<(), StoreError> {
        Ok(self.disk().commit(noted.iter().map(Noted::row).collect()).await?)
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
        if let Err(error) = self.seek(&[(reference.owner, id)]).await {
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
            let (due, waiting) = self.due(page);
            let handed = self.hand_on(&due.keys().copied().collect::<Vec<_>>()).await;
            if waiting || handed.is_left() {
                pass = Pass::Left;
            }
            handed_on += self.take_note(due, handed).await?;
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

    /// Those of a page that can be handed on now, and whether others have to wait for somebody.
    fn due(&self, page: Vec<Noted>) -> (BTreeMap<Pair, Noted>, bool) {
        let holders = self.holders();
        let mut here: BTreeSet<MemberId> = self.connected(&holders.others()).into_iter().collect();
        here.insert(self.me());
        // Whoever takes it in goes on by itself.
        let under_way = self.under_way().clone();
        let page = page.into_iter().filter(|noted| !under_way.contains(&noted.pair));
        let (due, waiting): (Vec<_>, Vec<_>) = page.partition(|noted| is_due(&holders, &here, noted));
        let due = due.into_iter().map(|noted| (noted.pair, noted)).collect();
        (due, !waiting.is_empty())
    }

    /// Forgets what is everywhere, and notes who has the rest; says how much is done.
    async fn take_note(&self, due: BTreeMap<Pair, Noted>, handed: HandedOn) -> Result<usize, StoreError> {
        let HandedOn { each, mut have } = handed;
        let (left, done): (Vec<_>, Vec<_>) =
            each.into_iter().partition(|(_, handed)| *handed == Handed::Later);
        let known_now = |pair: Pair| {
            let noted = due.get(&pair)?;
            let have = have.remove(&pair).unwrap_or_default();
            (have != noted.have).then(|| Noted {
                have,
                ..noted.clone()
            })
        };
        let changed: Vec<Noted> = left
            .into_iter()
            .map(|(pair, _)| pair)
            .filter_map(known_now)
            .collect();
        if !changed.is_empty() {
            self.note_wanted(&changed).await?;
        }
        let done: Vec<Pair> = done.into_iter().map(|(pair, _)| pair).collect();
        self.forget(&done).await?;
        Ok(done.len())
    }

    /// Some references that are noted, and where to go on.
    async fn page_of_wanted(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> Result<(Vec<Noted>, Option<Vec<u8>>), StoreError> {
        let disk = self.disk().clone();
        let find = move || {
            let mut page = Vec::new();
            let mut rows = disk.scan(Included(&from), Excluded(&to))?;
            while let Some(row) = rows.next_row()? {
                if page.len() == PAGE {
                    return Ok((page, Some(row.key().to_vec())));
                }
                page.extend(Noted::read(row.key(), row.summary()));
            }
            Ok::<_, DiskError>((page, None))
        };
        Ok(self.disk().run(find).await??)
    }
}

/// Whether anybody can be asked who is not known to have it; or nobody need be, and it is only to be forgotten.
fn is_due(holders: &Holders, here: &BTreeSet<MemberId>, noted: &Noted) -> bool {
    let wanted = holders.wanted(&noted.pair.1);
    let mut missing = wanted
        .iter()
        .filter(|member| !noted.have.contains(member))
        .peekable();
    missing.peek().is_none() || missing.any(|member| here.contains(member))
}

/// With the age and the size that are known of it, if it was noted before.
fn aged(disk: &Disk, noted: Noted) -> Result<Noted, DiskError> {
    let key = noted.key();
    let mut rows = disk.scan(Included(&key), Included(&key))?;
    let before = rows
        .next_row()?
        .and_then(|row| Noted::read(row.key(), row.summary()));
    let bytes = match noted.bytes {
        0 => disk.sealed_bytes(noted.pair.1.0)?.unwrap_or(0),
        bytes => bytes,
    };
    Ok(Noted {
        since: before
            .as_ref()
            .map_or(noted.since, |before| before.since.min(noted.since)),
        bytes: bytes.max(before.map_or(0, |before| before.bytes)),
        ..noted
    })
}
