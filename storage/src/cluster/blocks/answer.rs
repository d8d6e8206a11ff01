//! Answers other members' calls about blocks from this disk.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::debug;

use super::noted::Noted;
use super::wire::{Answer, Call, Held, Pair};
use super::{Blocks, by_owner, raw};
use crate::StoreError;
use crate::cluster::Owner;
use crate::disk::DiskError;
use crate::model::BlockId;

/// Owners whose references were removed for good that are remembered.
const BURIED_MAX: usize = 8192;

/// Owners whose references were removed for good lately: what arrives late for them is refused.
#[derive(Default)]
pub(super) struct Buried {
    owners: BTreeSet<Owner>,
    order: VecDeque<Owner>,
}

impl Buried {
    fn has(&self, owner: &Owner) -> bool {
        self.owners.contains(owner)
    }

    fn bury(&mut self, owner: Owner) {
        if !self.owners.insert(owner) {
            return;
        }
        self.order.push_back(owner);
        if self.order.len() > BURIED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.owners.remove(&oldest);
        }
    }
}

impl Blocks {
    /// Answers a call about blocks.
    ///
    /// # Errors
    /// It does not read, a block is not the one it is called, or the disk fails.
    pub(crate) async fn answer(&self, call: &Bytes) -> Result<Bytes, StoreError> {
        let answer = match Call::decode(call)? {
            Call::Put {
                version,
                pair,
                sealed,
            } => self.take_in(version, pair, sealed).await?,
            Call::Relay {
                version,
                pair,
                via,
                to,
                sealed,
            } => {
                let answer = self.take_in(version, pair, sealed).await?;
                if answer == Answer::Done && via == self.me() {
                    self.pass_on(call, &pair.1, &to);
                }
                answer
            }
            Call::Share { version, pairs } => self.share_here(version, &pairs).await?,
            Call::Offer { version, pairs } => self.offered_here(version, &pairs).await?,
            Call::Release { pairs } => {
                self.release_here(&pairs).await?;
                Answer::Done
            }
            Call::Fetch { id, range } => self.give(id, range).await?,
            Call::Depart => self.depart().await?,
            Call::Reading { owners } => {
                let is_read = |owner| match self.0.around.releaser.is_pinned(owner) {
                    true => Held::Yes,
                    false => Held::No,
                };
                Answer::Each {
                    version: self.holders().version(),
                    each: owners.iter().map(is_read).collect(),
                }
            }
        };
        Ok(answer.encode())
    }

    /// Stores a block that another member sends.
    async fn take_in(&self, version: u64, pair: Pair, sealed: Bytes) -> Result<Answer, StoreError> {
        let hashed = sealed.clone();
        let is_itself = move || blake3::hash(&hashed) == pair.1.0;
        if !self.disk().run(is_itself).await? {
            return Err(StoreError::Damaged(format!("{:?} is another block", pair.1)));
        }
        self.put_here(version, pair, sealed).await
    }

    /// Stores a block on this disk; its bytes are those it is named after.
    pub(super) async fn put_here(
        &self,
        version: u64,
        pair: Pair,
        sealed: Bytes,
    ) -> Result<Answer, StoreError> {
        let _told = self.0.handover.tell([pair]).await;
        if self.is_departing() {
            // As if it could not be reached: others stand in.
            return Ok(Answer::Absent);
        }
        let put = self.disk().put_block(pair.1.0, pair.0, sealed).await;
        self.expected().came(&pair.1);
        match put {
            Ok(()) => {}
            Err(DiskError::Full { .. }) => return Ok(Answer::Full),
            Err(error) => return Err(error.into()),
        }
        if !self.undo_buried(&[pair]).await?.is_empty() {
            return Ok(Answer::Released);
        }
        self.hand_on_if_older(version, &[pair]).await?;
        Ok(Answer::Done)
    }

    /// Adds references to blocks that are here whole.
    pub(super) async fn share_here(&self, version: u64, pairs: &[Pair]) -> Result<Answer, StoreError> {
        let _told = self.0.handover.tell(pairs.iter().copied()).await;
        if self.is_departing() {
            return Ok(Answer::Each {
                version: self.holders().version(),
                each: vec![Held::No; pairs.len()],
            });
        }
        let (disk, asked) = (self.disk().clone(), pairs.to_vec());
        let holds = move || asked.iter().map(|pair| disk.holds_block(pair.1.0)).collect();
        let holds: Result<Vec<bool>, DiskError> = self.disk().run(holds).await?;
        let here = pairs.iter().zip(holds?).filter(|(_, holds)| *holds);
        let mut taken: BTreeSet<Pair> = here.map(|(pair, _)| *pair).collect();
        let adding = by_owner(taken.iter().copied())
            .into_iter()
            .map(|(owner, ids)| async move {
                let added = self.disk().add_references(owner, raw(&ids)).await;
                (owner, added)
            });
        for (owner, added) in join_all(adding).await {
            match added {
                Ok(()) => {}
                // One was freed meanwhile. Who asks sends all of that owner, which changes nothing where they are.
                Err(DiskError::NoSuchBlock | DiskError::Missing { .. }) => {
                    taken.retain(|pair| pair.0 != owner);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let gone = self.undo_buried(pairs).await?;
        let taken_for_good: Vec<Pair> = taken.difference(&gone).copied().collect();
        self.hand_on_if_older(version, &taken_for_good).await?;
        let each = pairs
            .iter()
            .map(|pair| match (gone.contains(pair), taken.contains(pair)) {
                (true, _) => Held::Released,
                (false, true) => Held::Yes,
                (false, false) => Held::No,
            });
        Ok(Answer::Each {
            version: self.holders().version(),
            each: each.collect(),
        })
    }

    /// As [`Self::share_here`]; of what is not here, says of each block once that it is to be sent.
    pub(super) async fn offered_here(&self, version: u64, pairs: &[Pair]) -> Result<Answer, StoreError> {
        let answer = self.share_here(version, pairs).await?;
        let Answer::Each { version, each } = answer else {
            return Ok(answer);
        };
        let now = Instant::now();
        let mut expected = self.expected();
        let expect = |(pair, held): (&Pair, Held)| match held {
            Held::No if !expected.is_free(pair.1, now) => Held::Coming,
            held => held,
        };
        let each = pairs.iter().zip(each).map(expect).collect();
        Ok(Answer::Each { version, each })
    }

    /// Removes again those references that were removed for good, be it while they were added.
    async fn undo_buried(&self, pairs: &[Pair]) -> Result<BTreeSet<Pair>, StoreError> {
        let gone: BTreeSet<Pair> = {
            let buried = self.buried();
            let gone = pairs.iter().filter(|pair| buried.has(&pair.0));
            gone.copied().collect()
        };
        for (owner, ids) in by_owner(gone.iter().copied()) {
            self.disk().release(owner, raw(&ids)).await?;
        }
        Ok(gone)
    }

    /// Removes references for good.
    pub(super) async fn release_here(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let owners = by_owner(pairs.iter().copied());
        owners.keys().for_each(|owner| self.buried().bury(*owner));
        self.forget_wanted(owners.keys().copied().collect()).await?;
        let removing = owners
            .into_iter()
            .map(|(owner, ids)| async move { self.disk().release(owner, raw(&ids)).await });
        let removed: Result<Vec<()>, DiskError> = join_all(removing).await.into_iter().collect();
        Ok(removed.map(drop)?)
    }

    /// A range of a sealed block on this disk.
    async fn give(&self, id: BlockId, range: std::ops::Range<u32>) -> Result<Answer, StoreError> {
        let disk = self.disk().clone();
        match self.disk().run(move || disk.read_block(id.0, range)).await? {
            Ok(bytes) => Ok(Answer::Bytes(bytes.into())),
            Err(DiskError::NoSuchBlock) => Ok(Answer::Absent),
            // It may well be here, a moment later.
            Err(error @ (DiskError::Stopped { .. } | DiskError::Closed)) => Err(error.into()),
            Err(error) => {
                debug!(?id, %error, "a block that does not read");
                self.mend(id).await;
                Ok(Answer::Absent)
            }
        }
    }

    /// Whoever stores by an older assignment leaves out those that are wanted now.
    async fn hand_on_if_older(&self, version: u64, pairs: &[Pair]) -> Result<(), StoreError> {
        let mine = self.holders().version();
        if version > mine {
            self.0.around.news.ring();
        }
        match version < mine {
            true => {
                let have = BTreeSet::from([self.me()]);
                let noted = pairs.iter().map(|pair| Noted::now(*pair, 0, have.clone()));
                self.want(noted.collect()).await
            }
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_owners_released_are_remembered() {
        let mut buried = Buried::default();
        let owner = |number: usize| -> Owner {
            let mut owner = [0; 16];
            owner[..8].copy_from_slice(&number.to_le_bytes());
            owner
        };
        for number in 0..=BURIED_MAX {
            buried.bury(owner(number));
            buried.bury(owner(number));
        }
        assert!(!buried.has(&owner(0)) && buried.has(&owner(1)) && buried.has(&owner(BURIED_MAX)));
    }
}
