//! Changes who votes, a step at a time: what a new voter has to do itself, and what one member, the first in the root
//! partition that is here, leads for all.
//!
//! Nothing is remembered between steps but root rows and what members say of themselves, so that a step may be cut off, or
//! done by two at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, future, stream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::feed;
use super::layout;
use super::rotation;
use super::view::{Versioned, View};
use crate::StoreError;
use crate::cluster::ROOT_PARTITION;
use crate::cluster::registers::Standing;
#[cfg(any(test, feature = "simulation"))]
use crate::model::Timestamp;
use crate::model::{MemberId, MeshKey, Partition};
use crate::placement::Assignment;
#[cfg(any(test, feature = "simulation"))]
use crate::placement::{self, Member, Policy};
use crate::register::{Broken, Configs, Epoch, Fences, Next, Transition, Votes};
use crate::store::Inner;

/// How long nothing is looked at while nobody says that something changed.
const EVERY: Duration = Duration::from_secs(2);
/// Partitions that change at a time.
const CHANGES_AT_ONCE: usize = 32;

/// Works until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    while let Some(inner) = inner.upgrade() {
        if inner.is_meshed()
            && let Some(Err(error)) = stop.run_until_cancelled(work(&inner)).await
        {
            debug!(%error, "voters could not be changed further");
        }
        let changed = inner.partitions.registers().reshape_bell();
        drop(inner);
        let waited = timeout(EVERY, changed.heard());
        if stop.run_until_cancelled(waited).await.is_none() {
            return;
        }
    }
}

/// Steps, until there is nothing to be done now.
async fn work(inner: &Arc<Inner>) -> Result<(), StoreError> {
    sync(inner).await?;
    while lead(inner).await? {
        // What was committed is seen here before the next step, and soon by the others.
        feed::refresh(inner).await?;
        inner.partitions.registers().wake(&inner.others());
        sync(inner).await?;
    }
    Ok(())
}

/// One step of leading; whether a root row was changed.
async fn lead(inner: &Arc<Inner>) -> Result<bool, StoreError> {
    let view = inner.mesh.view();
    inner.note_presence(&view);
    if !inner.leads() {
        return Ok(false);
    }
    if rotation::step(inner).await? {
        return Ok(true);
    }
    let changing: Vec<u16> = (0..=ROOT_PARTITION)
        .filter(|partition| is_joint(&configs(inner, &view, *partition).value))
        .collect();
    if !changing.is_empty() {
        return drive(inner, &view, changing).await;
    }
    if let Some(assignment) = &view.assignment
        && begin(inner, &view, &assignment.value).await?
    {
        return Ok(true);
    }
    layout::propose(inner, &view).await
}

/// As a new voter: reads every row of the partitions whose joint epoch this member has adopted.
async fn sync(inner: &Arc<Inner>) -> Result<(), StoreError> {
    let (me, standing) = (inner.me, inner.partitions.registers().standing());
    let is_missing = |partition: &u16| {
        let configs = inner.partitions.registers().configs(*partition);
        let adopted = standing.adopted.get(usize::from(*partition)).copied();
        let config = adopted.and_then(|epoch| configs.get(epoch).cloned());
        let votes = config.and_then(|config| config.new.clone());
        let is_new = votes.is_some_and(|votes| votes.members().any(|member| member == me));
        is_new && standing.synced.get(partition).copied() != adopted
    };
    let missing: BTreeSet<u16> = (0..=ROOT_PARTITION).filter(is_missing).collect();
    if missing.is_empty() {
        return Ok(());
    }
    inner.partitions.registers().sync(&missing).await?;
    info!(partitions = missing.len(), "every row is here");
    inner.partitions.registers().wake(&inner.others());
    Ok(())
}

/// Brings changes on their way a step further.
async fn drive(inner: &Arc<Inner>, view: &View, changing: Vec<u16>) -> Result<bool, StoreError> {
    let members: BTreeSet<MemberId> = changing
        .iter()
        .flat_map(|partition| newest(&configs(inner, view, *partition).value).1)
        .collect();
    let standings = members.into_iter().map(|member| async move {
        let standing = inner.partitions.registers().standing_of(member).await;
        standing.map(|standing| (member, standing))
    });
    let standings: BTreeMap<MemberId, Standing> =
        future::join_all(standings).await.into_iter().flatten().collect();
    let standings = &standings;
    let steps: Vec<bool> = stream::iter(changing)
        .map(|partition| async move {
            let driven = drive_one(inner, view, partition, standings).await;
            driven.unwrap_or_else(|error| {
                debug!(partition, %error, "not yet");
                false
            })
        })
        .buffer_unordered(CHANGES_AT_ONCE)
        .collect()
        .await;
    Ok(steps.contains(&true))
}

/// Whether the next configuration was committed.
async fn drive_one(
    inner: &Arc<Inner>,
    view: &View,
    partition: u16,
    standings: &BTreeMap<MemberId, Standing>,
) -> Result<bool, StoreError> {
    let known = configs(inner, view, partition);
    let Some((epoch, config)) = newest_of(&known.value) else {
        return Ok(false);
    };
    let Some(new) = config.new.clone() else {
        return Ok(false);
    };
    let before = epoch.saturating_sub(1);
    let (_, _, mut transition) = Transition::begin(before, config.old.clone(), new, Broken::NOTHING);
    let adopted = |standing: &Standing| standing.adopted.get(usize::from(partition)) >= Some(&epoch);
    for (member, _) in standings.iter().filter(|(_, standing)| adopted(standing)) {
        transition.adopted(*member);
    }
    let synced = |standing: &Standing| standing.synced.get(&partition) == Some(&epoch);
    for (member, _) in standings.iter().filter(|(_, standing)| synced(standing)) {
        transition.synced(*member);
    }
    if transition.next() == Next::Raise {
        let raised = inner
            .partitions
            .registers()
            .raise(partition, Fences::default())
            .await?;
        transition.raised(raised.epoch);
    }
    let Next::Commit(epoch, config) = transition.next() else {
        return Ok(false);
    };
    let mut next = known.value.clone();
    next.learn(epoch, config);
    commit(inner, partition, &next, known.version).await
}

/// Begins every change of voters that the assignment asks for; whether there was one.
async fn begin(inner: &Arc<Inner>, view: &View, assignment: &Assignment) -> Result<bool, StoreError> {
    let here = inner.here();
    let changes = (0..=ROOT_PARTITION).filter_map(|partition| {
        let known = configs(inner, view, partition);
        let (epoch, config) = newest_of(&known.value)?;
        let wanted = wanted(assignment, partition)?;
        // A change to voters of whom too few are here would stop all until they are.
        if config.old == wanted || !wanted.is_quorum(&here) {
            return None;
        }
        let (epoch, joint, _) = Transition::begin(epoch, config.old.clone(), wanted, Broken::NOTHING);
        let mut next = known.value.clone();
        next.learn(epoch, joint);
        Some((partition, next, known.version))
    });
    let changes: Vec<_> = changes.collect();
    if changes.is_empty() {
        return Ok(false);
    }
    info!(partitions = changes.len(), "voters change");
    let begun: Vec<bool> = stream::iter(changes)
        .map(|(partition, next, from)| async move {
            let committed = commit(inner, partition, &next, from).await;
            committed.unwrap_or_else(|error| {
                debug!(partition, %error, "not yet");
                false
            })
        })
        .buffer_unordered(CHANGES_AT_ONCE)
        .collect()
        .await;
    Ok(begun.contains(&true))
}

/// Commits the configurations of a partition, if its row is still of this version; says whether it was.
///
/// # Errors
/// As [`Mesh::replace`](super::Mesh::replace).
pub(super) async fn commit(
    inner: &Arc<Inner>,
    partition: u16,
    configs: &Configs,
    from: u64,
) -> Result<bool, StoreError> {
    let key = MeshKey::Voters(partition);
    inner
        .mesh
        .replace(&inner.partitions, key, Some(configs), from)
        .await
}

impl Inner {
    /// Commits what is wanted, if it is still the version of `view` that is in force; says whether it was.
    pub(crate) async fn assign(&self, view: &View, next: &Assignment) -> Result<bool, StoreError> {
        let from = view
            .assignment
            .as_ref()
            .map_or(0, |assignment| assignment.version);
        let bytes = bytes::Bytes::from(next.encode());
        let key = MeshKey::Assignment;
        self.mesh.replace(&self.partitions, key, Some(&bytes), from).await
    }

    /// Whether this member leads changes: it votes in the root partition, and nobody of a lower number that does is here.
    /// Whoever goes leads nothing.
    pub(crate) fn leads(&self) -> bool {
        let view = self.mesh.view();
        if view.parting.contains_key(&self.me) {
            return false;
        }
        let voters = self.voters(ROOT_PARTITION);
        let is_lower = |voter: &MemberId| *voter < self.me && !view.parting.contains_key(voter);
        let lower: Vec<MemberId> = voters.iter().copied().filter(is_lower).collect();
        voters.contains(&self.me) && self.peers.nearest(&lower).is_empty()
    }

    /// Who votes in a partition, by the newest configuration that is known here.
    pub(crate) fn voters(&self, partition: u16) -> BTreeSet<MemberId> {
        newest(&self.partitions.registers().configs(partition)).1
    }

    fn note_presence(&self, view: &View) {
        let here: Vec<MemberId> = self.here().into_iter().collect();
        self.presences.note(view.members.keys().copied(), &here);
    }

    /// Everybody who is connected, and this member.
    fn here(&self) -> BTreeSet<MemberId> {
        let mut here: BTreeSet<MemberId> = self.peers.nearest(&self.others()).into_iter().collect();
        here.insert(self.me);
        here
    }
}

/// The votes that an assignment wants. The root partition is held by whoever holds partition 0.
fn wanted(assignment: &Assignment, partition: u16) -> Option<Votes> {
    let number = u8::try_from(partition).unwrap_or(0);
    assignment.rows.voters(Partition(number)).votes()
}

/// The configurations of a partition by its root row, or as it began.
pub(super) fn configs(inner: &Inner, view: &View, partition: u16) -> Versioned<Configs> {
    let row = view.voters.get(&partition).cloned();
    row.unwrap_or_else(|| Versioned {
        version: 0,
        value: inner.partitions.registers().configs(partition),
    })
}

/// Whether the voters of a partition are changing, as far as this member heard.
pub(super) fn is_changing(inner: &Inner, view: &View, partition: u16) -> bool {
    is_joint(&configs(inner, view, partition).value)
}

/// Who votes in the root partition.
pub(super) fn root_voters(inner: &Inner) -> BTreeSet<MemberId> {
    newest(&inner.partitions.registers().configs(ROOT_PARTITION)).1
}

fn newest_of(configs: &Configs) -> Option<(Epoch, Arc<crate::register::Config>)> {
    let epoch = configs.newest()?;
    Some((epoch, configs.get(epoch)?.clone()))
}

fn newest(configs: &Configs) -> (Epoch, BTreeSet<MemberId>) {
    newest_of(configs).map_or((0, BTreeSet::new()), |(epoch, config)| (epoch, config.members()))
}

fn is_joint(configs: &Configs) -> bool {
    newest_of(configs).is_some_and(|(_, config)| config.new.is_some())
}

/// Who votes in each partition, by the epochs a member has adopted.
#[cfg(any(test, feature = "simulation"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voters(Vec<(Epoch, Option<Arc<crate::register::Config>>)>);

#[cfg(any(test, feature = "simulation"))]
impl Voters {
    /// Whether no change is under way.
    pub fn is_settled(&self) -> bool {
        let is_stable = |config: &Option<Arc<crate::register::Config>>| {
            config.as_ref().is_some_and(|config| config.new.is_none())
        };
        self.0.iter().all(|(_, config)| is_stable(config))
    }
}

/// How many partitions are in which configuration.
#[cfg(any(test, feature = "simulation"))]
impl std::fmt::Display for Voters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (epoch, config) in &self.0 {
            *counts.entry(format!("epoch {epoch} {config:?}")).or_default() += 1;
        }
        write!(f, "{counts:?}")
    }
}

/// What only tests may ask of a mesh.
#[cfg(test)]
impl crate::Store {
    /// Begins a change of who votes in the root partition alone; says whether it did.
    pub(super) async fn change_root(&self, to: &[MemberId]) -> Result<bool, StoreError> {
        let view = self.0.mesh.view();
        let known = configs(&self.0, &view, ROOT_PARTITION);
        let wanted = Votes::equal(to.iter().copied());
        let Some(((epoch, config), wanted)) = newest_of(&known.value).zip(wanted) else {
            return Ok(false);
        };
        let (epoch, joint, _) = Transition::begin(epoch, config.old.clone(), wanted, Broken::NOTHING);
        let mut next = known.value.clone();
        next.learn(epoch, joint);
        commit(&self.0, ROOT_PARTITION, &next, known.version).await
    }

    /// The epoch of the root partition that this member has adopted.
    pub(super) fn root_epoch(&self) -> Epoch {
        self.0.partitions.registers().epoch(ROOT_PARTITION)
    }
}

/// What only simulations may ask of a mesh.
#[cfg(any(test, feature = "simulation"))]
impl crate::Store {
    /// Who votes, as far as this member has adopted it.
    pub fn voters(&self) -> Voters {
        let registers = self.0.partitions.registers();
        let of = |partition| {
            let epoch = registers.epoch(partition);
            (epoch, registers.configs(partition).get(epoch).cloned())
        };
        Voters((0..=ROOT_PARTITION).map(of).collect())
    }

    /// Whether some members are a quorum of every partition, as far as this one knows.
    pub fn suffice(&self, members: &BTreeSet<MemberId>) -> bool {
        let registers = self.0.partitions.registers();
        (0..=ROOT_PARTITION).all(|partition| {
            let newest = newest_of(&registers.configs(partition));
            newest.is_some_and(|(_, config)| config.is_quorum(members))
        })
    }

    /// Wants all rows on these members, without waiting until they have settled; says whether that is wanted now.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer.
    pub async fn reassign(&self, to: &[MemberId]) -> Result<bool, StoreError> {
        feed::refresh(&self.0).await?;
        let view = self.0.mesh.view();
        let long_ago = Timestamp::from_millis(0);
        let chosen = view.members.iter().filter(|(member, _)| to.contains(member));
        let here = placement::Presence::Here { since: long_ago };
        let members: Vec<Member> = chosen
            .map(|(member, row)| Member {
                draining: false,
                ..Member::of(*member, &row.value, here)
            })
            .collect();
        let proposal = placement::propose(&placement::Mesh {
            members: &members,
            policy: &Policy::default(),
            current: None,
            stored: 0,
            now: Timestamp::now(),
        });
        match proposal.map(|proposal| proposal.next) {
            Ok(Some(next)) => self.0.assign(&view, &next).await,
            Ok(None) | Err(_) => Ok(false),
        }
    }
}
