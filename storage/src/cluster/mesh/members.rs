//! Who takes part: admitting members, changing what is known of them, and letting them go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::warn;

use super::feed::refresh;
use super::rotation;
use crate::cluster::peers::{NoPeers, Peers};
use crate::cluster::{Departure, Forgotten, ROOT_PARTITION};
use crate::model::{MemberId, MemberRow, MeshKey, Role, Timestamp, Zone};
use crate::register::{Config, Configs};
use crate::seal::NodeSecret;
use crate::store::Inner;
use crate::{Store, StoreError};

/// The membership of the first box of a mesh.
pub(crate) const FOUNDER: MemberId = MemberId(1);
/// Attempts to find a number that nobody else takes at the same moment.
pub(super) const TRIES_MAX: usize = 100;

/// How many seconds a member is given to hear that it is to go.
const HEARS_WITHIN: usize = 10;

/// What a member takes along that goes for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Nothing that is not elsewhere: it goes only once it has handed over all it holds.
    WithNothing,
    /// Whatever it holds: what only it has is given up.
    WithWhatItHolds,
}

/// As whom a store takes part in a mesh.
#[derive(Clone)]
pub struct Membership {
    /// Its number; the founder's is 1.
    pub member: MemberId,
    /// What it says of itself.
    pub node: MemberRow,
    /// The secret half of its node's key, to which keys of the mesh are sealed.
    pub secret: NodeSecret,
    /// Who votes in the root partition, as far as it was told when it was admitted.
    pub root: Configs,
    /// Whom its seat names. A founder has none before it admits somebody.
    pub named: BTreeSet<MemberId>,
    /// The way to the others.
    pub peers: Arc<dyn Peers>,
}

/// What a new member has to know before it opens its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Its number.
    pub member: MemberId,
    /// Who votes in the root partition.
    pub root: Configs,
}

impl Membership {
    /// The founder of a mesh that nobody else may have joined yet.
    pub fn founder(node: MemberRow, secret: NodeSecret, peers: Arc<dyn Peers>) -> Self {
        Self {
            member: FOUNDER,
            node,
            secret,
            root: first_configs(),
            named: BTreeSet::new(),
            peers,
        }
    }

    /// A box that is alone and knows no mesh.
    pub fn alone() -> Self {
        let node = MemberRow {
            name: "warren".into(),
            zone: Zone::home(),
            role: Role::Trusted,
            capacity: 0,
            draining: false,
            parting: false,
            node: Bytes::new(),
            joined: Timestamp::from_millis(0),
        };
        Self::founder(node, NodeSecret::random(), Arc::new(NoPeers))
    }

    /// Whoever was admitted.
    pub fn admitted(welcome: Welcome, node: MemberRow, secret: NodeSecret, peers: Arc<dyn Peers>) -> Self {
        Self {
            member: welcome.member,
            node,
            secret,
            root: welcome.root,
            named: BTreeSet::new(),
            peers,
        }
    }

    /// The same with those whom its seat names.
    #[must_use]
    pub fn among(self, named: impl IntoIterator<Item = MemberId>) -> Self {
        let named = named.into_iter().collect();
        Self { named, ..self }
    }
}

/// Every partition begins with the founder alone.
pub(crate) fn first_config() -> Config {
    Config::sole(FOUNDER)
}

fn first_configs() -> Configs {
    Configs::first(first_config())
}

impl Store {
    /// Admits a member, under a number that nobody had before.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer; it may be admitted all the same, and is then to be removed. The disk fails.
    pub async fn admit(&self, node: MemberRow) -> Result<Welcome, StoreError> {
        let inner = &self.0;
        inner.introduce_itself().await?;
        for _ in 0..TRIES_MAX {
            refresh(inner).await?;
            let Some(member) = inner.next_number().await? else {
                continue;
            };
            if inner.seat(member, &node).await? {
                return Ok(inner.welcome(member));
            }
        }
        Err(StoreError::Conflict)
    }

    /// Has a member take its place anew, under a number that nobody had before: its disk has forgotten what it promised
    /// under the old one, which its row says no more once it has started.
    ///
    /// # Errors
    /// `NoSuchMember`; `StillNeeded`: the others are no quorum without it, so that perhaps nobody knows what it forgot; as
    /// [`Self::admit`].
    pub async fn readmit(&self, member: MemberId) -> Result<Welcome, StoreError> {
        refresh(&self.0).await?;
        let view = self.0.mesh.view();
        let known = view.members.get(&member).ok_or(StoreError::NoSuchMember)?;
        let mut later = view.members.range(member..).skip(1);
        if later.any(|(_, row)| row.value.node == known.value.node) {
            // Somebody was quicker.
            return Err(StoreError::Conflict);
        }
        let partitions = self.partitions_needing(member);
        if partitions > 0 {
            return Err(StoreError::StillNeeded { partitions });
        }
        let joined = Timestamp::now();
        let node = known.value.clone();
        self.admit(MemberRow { joined, ..node }).await
    }

    /// Notes that somebody proved to be a member under a number. Where this member alone gives numbers and never gave that
    /// one, its disk has forgotten it.
    pub fn note_member(&self, number: MemberId) {
        let registers = self.0.partitions.registers();
        if registers.is_sole(ROOT_PARTITION) && self.0.has_not_given(number) {
            registers.memories().forget(Forgotten::KnowsNobody);
            self.0.mesh.set_introduced([number].into());
            self.0.note_meshed();
        }
    }

    /// The number of this member.
    pub fn me(&self) -> MemberId {
        self.0.me
    }

    /// Writes the founder's own row, which stands before anybody else's, where nobody was admitted yet.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub async fn introduce(&self, node: MemberRow) -> Result<(), StoreError> {
        self.0.introduce(&node).await
    }

    /// Changes whenever something else is known about members, invites or keys, or [`Self::is_cut_off`] changes.
    pub fn mesh_changes(&self) -> watch::Receiver<u64> {
        self.0.mesh.changes()
    }

    /// All members, by number.
    pub fn members(&self) -> Vec<(MemberId, MemberRow)> {
        let view = self.0.mesh.view();
        let members = view.members.iter();
        members
            .map(|(member, row)| (*member, row.value.clone()))
            .collect()
    }

    /// Changes what is known of a member: its name, its room, whether it is to hand over what it holds.
    ///
    /// # Errors
    /// `NoSuchMember`; as [`Self::admit`].
    pub async fn change_member(
        &self,
        member: MemberId,
        change: impl Fn(&mut MemberRow),
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            let view = self.0.mesh.view();
            let known = view.members.get(&member).ok_or(StoreError::NoSuchMember)?;
            let mut row = known.value.clone();
            change(&mut row);
            let key = MeshKey::Member(member);
            if self
                .0
                .mesh
                .replace(&self.0.partitions, key, Some(&row), known.version)
                .await?
            {
                refresh(&self.0).await?;
                self.0.tell_of_change();
                return Ok(());
            }
            refresh(&self.0).await?;
        }
        Err(StoreError::Conflict)
    }

    /// Lets a member go for good. It hands over first, by [`MemberRow::draining`], which is seen to here: what it votes on,
    /// and what only it may hold.
    ///
    /// # Errors
    /// `NoSuchMember`; `StillNeeded`: the others are no quorum without it; `StillHolds` and `MemberAway`, unless what it holds
    /// is given up; as [`Self::admit`].
    pub async fn remove_member(&self, member: MemberId, parting: Parting) -> Result<(), StoreError> {
        refresh(&self.0).await?;
        let view = self.0.mesh.view();
        if view.parting.contains_key(&member) {
            self.part(member).await;
            return Ok(());
        }
        let known = view.members.get(&member).ok_or(StoreError::NoSuchMember)?;
        let partitions = self.partitions_needing(member);
        if partitions > 0 {
            return Err(StoreError::StillNeeded { partitions });
        }
        if parting == Parting::WithWhatItHolds {
            return self.unseat(member).await;
        }
        if !known.value.draining {
            self.change_member(member, |row| row.draining = true).await?;
        }
        self.handed_over(member).await?;
        // Votes may have moved meanwhile, and somebody may have called it back.
        refresh(&self.0).await?;
        let partitions = self.partitions_needing(member);
        if partitions > 0 {
            return Err(StoreError::StillNeeded { partitions });
        }
        self.unseat_if(member, |row| row.draining).await
    }

    /// Makes sure that a member which hands over has come to the end of it.
    async fn handed_over(&self, member: MemberId) -> Result<(), StoreError> {
        for _ in 0..HEARS_WITHIN {
            match self.0.blocks.departure_of(member).await {
                Departure::Ready => return Ok(()),
                Departure::Holds(references) => return Err(StoreError::StillHolds { references }),
                Departure::Away => return Err(StoreError::MemberAway),
                // It was told a moment ago.
                Departure::Unaware => sleep(Duration::from_secs(1)).await,
            }
        }
        Err(StoreError::MemberAway)
    }

    /// Removes the row of a member, and what would let it in again.
    pub(super) async fn unseat(&self, member: MemberId) -> Result<(), StoreError> {
        self.unseat_if(member, |_| true).await
    }

    /// As [`Self::unseat`], as long as its row is so.
    async fn unseat_if(
        &self,
        member: MemberId,
        is_so: impl Fn(&MemberRow) -> bool,
    ) -> Result<(), StoreError> {
        // First of all what it joined with, which would let it in again under its number.
        self.forget_redeemed(member).await?;
        for _ in 0..TRIES_MAX {
            let view = self.0.mesh.view();
            let known = view.members.get(&member).ok_or(StoreError::NoSuchMember)?;
            if !is_so(&known.value) {
                return Err(StoreError::Conflict);
            }
            // The same box under another number has the keys and keeps them.
            let stays = view
                .members
                .iter()
                .any(|(other, row)| *other != member && row.value.node == known.value.node);
            let marked = MemberRow {
                parting: true,
                ..known.value.clone()
            };
            let next = (!stays || known.value.node.is_empty()).then_some(&marked);
            let key = MeshKey::Member(member);
            let decided = self.0.mesh.replace(&self.0.partitions, key, next, known.version);
            if decided.await? {
                self.part(member).await;
                return Ok(());
            }
            refresh(&self.0).await?;
        }
        Err(StoreError::Conflict)
    }

    /// Does what follows from the decision that a member goes. That is left to others where they are needed for it, or where
    /// it is this member that goes: it must not make the keys that it is not to have.
    async fn part(&self, member: MemberId) {
        let finished = if member == self.me() {
            refresh(&self.0).await
        } else {
            self.0.tell_of_change();
            rotation::finish(&self.0).await
        };
        self.0.tell_of_change();
        if let Err(error) = finished {
            warn!(%member, %error, "removed; the mesh gets new keys as soon as that can be");
        }
    }
}

impl Store {
    /// How many partitions would have no quorum without a member.
    pub(crate) fn partitions_needing(&self, member: MemberId) -> usize {
        let registers = self.0.partitions.registers();
        let is_needed = |partition: &u16| {
            let configs = registers.configs(*partition);
            let newest = configs.newest().and_then(|epoch| configs.get(epoch));
            newest.is_some_and(|config| {
                let mut others = config.members();
                others.remove(&member) && !config.is_quorum(&others)
            })
        };
        (0..=ROOT_PARTITION).filter(is_needed).count()
    }
}

impl Inner {
    /// Everybody else, as far as this member knows: members, whoever votes in the root partition, and who proved to be one
    /// while rows could not be read.
    pub(crate) fn others(&self) -> Vec<MemberId> {
        let mut others: BTreeSet<MemberId> = self.mesh.view().everybody();
        let configs = self.partitions.registers().configs(ROOT_PARTITION);
        let newest = configs.newest().and_then(|epoch| configs.get(epoch).cloned());
        others.extend(newest.into_iter().flat_map(|config| config.members()));
        others.extend(self.mesh.introduced());
        others.remove(&self.me);
        others.into_iter().collect()
    }

    /// Whether there is anybody else.
    pub(crate) fn is_meshed(&self) -> bool {
        self.partitions.registers().is_meshed()
    }

    /// Whether the rows here are older than the seat, or than what somebody proved: they know of no such number. Whoever has
    /// just joined has none at all.
    pub(crate) fn has_not_given(&self, number: MemberId) -> bool {
        let view = self.mesh.view();
        let is_informed = self.me == FOUNDER || !view.members.is_empty();
        is_informed && number.0 > view.admitted.value.max(FOUNDER.0)
    }

    /// Notes whether there is anybody else, after root rows were read.
    pub(crate) fn note_meshed(&self) {
        // Whoever is still parting has work done.
        let is_meshed = !self.others().is_empty() || !self.mesh.view().parting.is_empty();
        self.partitions.registers().note_meshed(is_meshed);
    }

    /// Has everybody look at the root rows.
    pub(crate) fn tell_of_change(&self) {
        let registers = self.partitions.registers();
        registers.wake(&self.others());
        registers.wake_self();
    }

    /// A number that nobody had before; `None` where somebody else took it at the same moment.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer. The disk fails.
    pub(super) async fn next_number(&self) -> Result<Option<MemberId>, StoreError> {
        let taken = self.mesh.view().admitted.clone();
        let member = MemberId(taken.value.max(FOUNDER.0).saturating_add(1));
        // Counted before any row names it, so that no number is ever given twice.
        let key = MeshKey::Admitted;
        let counted = self
            .mesh
            .replace(&self.partitions, key, Some(&member.0), taken.version);
        Ok(counted.await?.then_some(member))
    }

    /// Writes the row of a new member, and has everybody look; says whether none stood there.
    ///
    /// # Errors
    /// As [`Self::next_number`].
    pub(super) async fn seat(
        self: &Arc<Self>,
        member: MemberId,
        node: &MemberRow,
    ) -> Result<bool, StoreError> {
        let key = MeshKey::Member(member);
        let is_new = self.mesh.replace(&self.partitions, key, Some(node), 0).await?;
        refresh(self).await?;
        self.tell_of_change();
        Ok(is_new)
    }

    /// What a member has to know that was just admitted.
    pub(super) fn welcome(&self, member: MemberId) -> Welcome {
        let root = self.partitions.registers().configs(ROOT_PARTITION);
        Welcome { member, root }
    }

    /// Has what others need of this member be there: that its disk remembers this run, and a founder's row, which stands
    /// before anybody else's.
    ///
    /// # Errors
    /// As [`Self::next_number`].
    pub(super) async fn introduce_itself(self: &Arc<Self>) -> Result<(), StoreError> {
        self.partitions.registers().memories().record().await?;
        self.introduce(&self.node).await
    }

    async fn introduce(self: &Arc<Self>, node: &MemberRow) -> Result<(), StoreError> {
        let view = self.mesh.view();
        // Once anybody was admitted, a founder without a row is one that was removed.
        if self.me != FOUNDER || view.members.contains_key(&self.me) || view.admitted.version > 0 {
            return Ok(());
        }
        self.seat(self.me, node).await.map(drop)
    }
}
