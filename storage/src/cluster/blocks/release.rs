//! The references to be removed everywhere: rows of this member alone, and the worker that has them removed.
//!
//! Such a row stands under `0x07`, owner and a random number:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version: 1 |
//! | 2 | n: members that have removed them, u16, little-endian |
//! | 4 × n | their numbers, u32, little-endian |
//! | 32 each | ids of blocks, at most 1,024 |

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::pace::{Pace, Pass};
use super::wire::{Answer, Call, Held, PAIRS_MAX, Pair};
use super::{Blocks, Displaced, Owner};
use crate::StoreError;
use crate::disk::{Disk, DiskError, RowWrite};
use crate::model::{BlockId, MemberId, row_key};
use crate::seal::random;

const VERSION: u8 = 1;
/// Rows that are worked on together.
const PAGE: usize = 64;
/// The longest rest while somebody is away, or reads what is to be removed.
const REST_MAX: Duration = Duration::from_secs(300);

/// References of one owner that are to be removed, and who has removed them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Removal {
    owner: Owner,
    ids: Vec<BlockId>,
    told: BTreeSet<MemberId>,
}

impl Removal {
    fn encode(&self) -> Vec<u8> {
        let members = u16::try_from(self.told.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&members.to_le_bytes());
        for member in self.told.iter().take(usize::from(members)) {
            bytes.extend_from_slice(&member.0.to_le_bytes());
        }
        self.ids.iter().for_each(|id| bytes.extend_from_slice(&id.0));
        bytes
    }

    fn decode(owner: Owner, bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (members, rest) = rest.split_first_chunk()?;
        let (members, ids) = rest.split_at_checked(usize::from(u16::from_le_bytes(*members)) * 4)?;
        let (members, _) = members.as_chunks();
        let (ids, []) = ids.as_chunks() else {
            return None;
        };
        Some(Self {
            owner,
            ids: ids.iter().map(|id| BlockId(*id)).collect(),
            told: members
                .iter()
                .map(|member| MemberId(u32::from_le_bytes(*member)))
                .collect(),
        })
    }

    fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.ids.iter().map(|id| (self.owner, *id))
    }
}

impl Blocks {
    /// Has references removed everywhere. That this is to be done is durable when it returns.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(super) async fn release_in_mesh(&self, released: Vec<Displaced>) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for Displaced { owner, blocks } in released {
            for ids in blocks.chunks(PAIRS_MAX) {
                let removal = Removal {
                    owner,
                    ids: ids.to_vec(),
                    told: BTreeSet::new(),
                };
                rows.push(RowWrite::Put {
                    key: row_key::released(&owner, u32::from_le_bytes(random())),
                    summary: Vec::new(),
                    value: removal.encode().into(),
                });
            }
        }
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            self.disk().commit(rows.by_ref().take(PAGE).collect()).await?;
        }
        self.0.to_release.ring();
        Ok(())
    }

    /// Whether nothing is left to be removed anywhere.
    ///
    /// # Errors
    /// The disk fails.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn is_released(&self) -> Result<bool, StoreError> {
        let (from, to) = row_key::all_released();
        Ok(self.disk().first_key(Included(&from), Excluded(&to))?.is_none())
    }

    /// Those of some references on this disk of which nothing says yet that they are to be removed from it.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn not_yet_released(&self, pairs: Vec<Pair>) -> Result<Vec<Pair>, StoreError> {
        let (me, disk) = (self.me(), self.disk().clone());
        let find = move || {
            let mut left = Vec::new();
            for (owner, id) in pairs {
                if !is_to_be_removed(&disk, me, &(owner, id))? {
                    left.push((owner, id));
                }
            }
            Ok::<_, DiskError>(left)
        };
        Ok(self.disk().run(find).await??)
    }

    /// Has references removed until stopped.
    pub(crate) async fn run_release(self, stop: CancellationToken) {
        let pace = Pace::new(self.0.to_release.clone(), REST_MAX);
        pace.work(&self, stop, || self.remove_everywhere()).await;
    }

    async fn remove_everywhere(&self) -> Result<Pass, StoreError> {
        let (mut from, to) = row_key::all_released();
        let mut pass = Pass::Clean;
        loop {
            let (page, next) = self.page_of_removals(from, to.clone()).await?;
            if !self.remove(page).await? {
                pass = Pass::Left;
            }
            match next {
                Some(next) => from = next,
                None => return Ok(pass),
            }
        }
    }

    /// Has some references removed by whoever can be reached; says whether everybody has.
    async fn remove(&self, rows: BTreeMap<Vec<u8>, Removal>) -> Result<bool, StoreError> {
        let holders = self.holders();
        let everybody = holders.everybody();
        let mut here = self.connected(&holders.others());
        here.push(self.me());
        let is_done = |row: &Removal| everybody.is_subset(&row.told);
        let is_due = |row: &Removal| is_done(row) || here.iter().any(|member| !row.told.contains(member));
        let (rows, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            rows.into_iter().partition(|(_, row)| is_due(row));
        let read = self.who_is_read(&here, &rows).await;
        let telling = here.into_iter().map(|member| {
            let is_due = |row: &&Removal| !read.contains(&row.owner) && !row.told.contains(&member);
            let pairs: Vec<Pair> = rows.values().filter(is_due).flat_map(Removal::pairs).collect();
            async move { (member, self.remove_at(member, pairs).await) }
        });
        let told: BTreeSet<MemberId> = join_all(telling)
            .await
            .into_iter()
            .filter_map(|(member, removed)| removed.then_some(member))
            .collect();
        let (mut writes, mut all) = (Vec::new(), waiting.is_empty());
        for (key, mut row) in rows {
            if read.contains(&row.owner) {
                all = false;
                continue;
            }
            row.told.extend(&told);
            if is_done(&row) {
                writes.push(RowWrite::Drop { key });
                continue;
            }
            all = false;
            writes.push(RowWrite::Put {
                key,
                summary: Vec::new(),
                value: row.encode().into(),
            });
        }
        if !writes.is_empty() {
            self.disk().commit(writes).await?;
        }
        Ok(all)
    }

    /// The owners whose blocks somebody reads, or may.
    async fn who_is_read(&self, others: &[MemberId], rows: &BTreeMap<Vec<u8>, Removal>) -> BTreeSet<Owner> {
        let owners: BTreeSet<Owner> = rows.values().map(|row| row.owner).collect();
        let owners: Vec<Owner> = owners.into_iter().collect();
        let is_pinned = |owner: &&Owner| self.0.around.releaser.is_pinned(owner);
        let mut read: BTreeSet<Owner> = owners.iter().filter(is_pinned).copied().collect();
        if owners.is_empty() {
            return read;
        }
        let call = Call::Reading {
            owners: owners.clone(),
        };
        let others = others.iter().filter(|member| **member != self.me());
        let asking = others.map(|member| self.ask_briefly(*member, &call));
        for answer in join_all(asking).await {
            match answer {
                Some(Answer::Each { each, .. }) if each.len() == owners.len() => {
                    let are_read = owners.iter().zip(each).filter(|(_, held)| *held != Held::No);
                    read.extend(are_read.map(|(owner, _)| *owner));
                }
                // Whoever is here and says nothing may read anything.
                _ => read.extend(&owners),
            }
        }
        read
    }

    async fn remove_at(&self, member: MemberId, pairs: Vec<Pair>) -> bool {
        for pairs in pairs.chunks(PAIRS_MAX) {
            let removed = match member == self.me() {
                true => self.release_here(pairs).await.is_ok(),
                false => {
                    let pairs = pairs.to_vec();
                    let answer = self.ask_briefly(member, &Call::Release { pairs }).await;
                    answer == Some(Answer::Done)
                }
            };
            if !removed {
                return false;
            }
        }
        true
    }

    async fn page_of_removals(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
    ) -> Result<(BTreeMap<Vec<u8>, Removal>, Option<Vec<u8>>), StoreError> {
        let disk = self.disk().clone();
        let find = move || {
            let mut page = BTreeMap::new();
            let mut rows = disk.scan(Included(&from), Excluded(&to))?;
            while let Some(row) = rows.next_row()? {
                if page.len() == PAGE {
                    return Ok((page, Some(row.key().to_vec())));
                }
                let Some(owner) = row_key::parse_released(row.key()) else {
                    continue;
                };
                if let Some(value) = disk.row(row.key())?
                    && let Some(removal) = Removal::decode(owner, &value)
                {
                    page.insert(row.key().to_vec(), removal);
                }
            }
            Ok::<_, DiskError>((page, None))
        };
        Ok(self.disk().run(find).await??)
    }
}

/// Whether a member has still to remove a reference that is to be removed everywhere.
fn is_to_be_removed(disk: &Disk, me: MemberId, (owner, id): &Pair) -> Result<bool, DiskError> {
    let (from, to) = row_key::released_of(owner);
    let mut rows = disk.scan(Included(&from), Excluded(&to))?;
    while let Some(row) = rows.next_row()? {
        let removal = disk.row(row.key())?;
        let removal = removal.and_then(|value| Removal::decode(*owner, &value));
        if removal.is_some_and(|removal| removal.ids.contains(id) && !removal.told.contains(&me)) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_version_1_is_read_as_written() {
        let removal = Removal {
            owner: [9; 16],
            ids: vec![BlockId([2; 32])],
            told: [MemberId(1), MemberId(3)].into(),
        };
        let fixture = format!("0102000100000003000000{}", "02".repeat(32));
        assert_eq!(hex::encode(removal.encode()), fixture);
        let read = Removal::decode([9; 16], &hex::decode(fixture).unwrap());
        assert_eq!(read, Some(removal));
        for damaged in ["", "02", "010100", "01000002"] {
            assert_eq!(
                Removal::decode([9; 16], &hex::decode(damaged).unwrap()),
                None,
                "{damaged}"
            );
        }
    }
}
