//! Who is wanted to hold what: shown, previewed, paused, and changed by whoever leads.

use std::sync::Arc;

use tracing::{debug, info};

use super::feed::refresh;
use super::members::TRIES_MAX;
use super::reshape;
use super::view::View;
use crate::cluster::ROOT_PARTITION;
use crate::model::{LayoutChange, LayoutHistory, LayoutPolicy, MemberId, MeshKey, Timestamp};
use crate::placement::{
    self, Assignment, Member, PlacementError, Policy, Presence, Proposal, Transition, Wait,
};
use crate::store::Inner;
use crate::{Store, StoreError};

/// Whether newcomers have to stay for a while before anything is placed on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newcomers {
    /// They have.
    Settle,
    /// Whoever is connected counts as settled.
    AtOnce,
}

/// Who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Counts changes; 0 before the first.
    pub version: u64,
    /// Since when nothing changes by itself; `None` while it does.
    pub paused: Option<Timestamp>,
    /// Each member, with the parts of blocks and of rows it is wanted to hold, of 256 each.
    pub parts: Vec<(MemberId, usize, usize)>,
    /// Parts of rows, of 257, whose voters are changing right now.
    pub changing: usize,
    /// The last changes, the oldest first.
    pub history: Vec<LayoutChange>,
}

/// What would be changed next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayoutPreview {
    /// Why something would be; empty where nothing would.
    pub reasons: Vec<String>,
    /// What waits, and until when where that is known.
    pub waits: Vec<(String, Option<Timestamp>)>,
    /// Copies of blocks to be made, each of a 256th of all.
    pub copies: usize,
    /// Bytes of these, about.
    pub bytes: u64,
    /// Parts of rows that get other voters, of 256.
    pub rows: usize,
}

impl Store {
    /// Who is wanted to hold what, as far as this member heard.
    pub fn layout(&self) -> Layout {
        let (inner, view) = (&self.0, self.0.mesh.view());
        let assignment = view.assignment.as_ref();
        let parts = view.members.keys().map(|member| {
            let of = |count: fn(&Assignment, MemberId) -> usize| {
                assignment.map_or(0, |assignment| count(&assignment.value, *member))
            };
            (*member, of(Assignment::blocks_of), of(Assignment::rows_of))
        });
        let changing =
            (0..=ROOT_PARTITION).filter(|partition| reshape::is_changing(inner, &view, *partition));
        Layout {
            version: assignment.map_or(0, |assignment| assignment.version),
            paused: view.policy.value.paused,
            parts: parts.collect(),
            changing: changing.count(),
            history: view.history.value.changes.clone(),
        }
    }

    /// What would be changed now, and what waits, as this member sees it: for how long others have been here it knows only
    /// since it started.
    ///
    /// # Errors
    /// As [`placement::propose`]; the assignment in force stays.
    pub fn preview_layout(&self) -> Result<LayoutPreview, PlacementError> {
        let (inner, view) = (&self.0, self.0.mesh.view());
        let proposal = proposal(inner, &view, Newcomers::Settle)?;
        let current = view.assignment.as_ref().map(|assignment| &assignment.value);
        let transition = transition(current, proposal.next.as_ref());
        Ok(LayoutPreview {
            reasons: proposal
                .reasons
                .iter()
                .map(|reason| reason.in_words(&name(&view)))
                .collect(),
            waits: proposal.waits.iter().map(|wait| waiting(wait, &view)).collect(),
            copies: transition.copies(),
            bytes: transition.bytes(inner.disk.status().used),
            rows: transition.rows.len(),
        })
    }

    /// Keeps the layout as it is, or lets it change by itself again. What has begun goes on.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer. The disk fails.
    pub async fn pause_layout(&self, pause: bool) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            refresh(&self.0).await?;
            let known = self.0.mesh.view().policy.clone();
            let policy = LayoutPolicy {
                paused: pause.then(|| known.value.paused.unwrap_or_else(Timestamp::now)),
            };
            let key = MeshKey::Policy;
            let replaced = self
                .0
                .mesh
                .replace(&self.0.partitions, key, Some(&policy), known.version);
            if replaced.await? {
                refresh(&self.0).await?;
                self.0.tell_of_change();
                return Ok(());
            }
        }
        Err(StoreError::Conflict)
    }

    /// Gives everybody who is connected its share now, however short a time it has been here, and although the layout is
    /// paused; says whether anything changes.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer, or the proposal was overtaken. The disk fails.
    pub async fn settle_layout(&self) -> Result<bool, StoreError> {
        let mut changed = false;
        for _ in 0..TRIES_MAX {
            refresh(&self.0).await?;
            let view = self.0.mesh.view();
            let is_first = view.assignment.is_none();
            match proposal(&self.0, &view, Newcomers::AtOnce) {
                Ok(proposal) if proposal.next.is_some() => {
                    changed |= commit(&self.0, &view, proposal).await?;
                }
                Ok(_) if !is_first => return Ok(changed),
                Ok(_) | Err(_) => return Err(StoreError::Unavailable),
            }
        }
        Err(StoreError::Conflict)
    }
}

/// Commits what placement proposes, if that differs from what is wanted now and nobody paused it.
///
/// # Errors
/// `Unavailable`: too few members answer. The disk fails.
pub(super) async fn propose(inner: &Arc<Inner>, view: &View) -> Result<bool, StoreError> {
    if view.policy.value.paused.is_some() {
        return Ok(false);
    }
    match proposal(inner, view, Newcomers::Settle) {
        Ok(proposal) => commit(inner, view, proposal).await,
        Err(error) => {
            debug!(%error, "nothing is proposed");
            Ok(false)
        }
    }
}

fn proposal(inner: &Inner, view: &View, newcomers: Newcomers) -> Result<Proposal, PlacementError> {
    let now = Timestamp::now();
    // The first assignment says what is already so: else whoever just joined would be taken for settled, and could stop
    // everybody by going away.
    let voters = reshape::root_voters(inner);
    let counts = |member: &MemberId| view.assignment.is_some() || voters.contains(member);
    let mut here = inner.peers.nearest(&inner.others());
    here.push(inner.me);
    let presence = |member: &MemberId| match newcomers {
        Newcomers::AtOnce if here.contains(member) => Presence::Here {
            since: Timestamp::from_millis(0),
        },
        _ => inner.presences.of(*member, now),
    };
    let members: Vec<Member> = view
        .members
        .iter()
        .filter(|(member, _)| counts(member))
        .map(|(member, row)| Member::of(*member, &row.value, presence(member)))
        .collect();
    placement::propose(&placement::Mesh {
        members: &members,
        policy: &Policy::default(),
        current: view.assignment.as_ref().map(|assignment| &assignment.value),
        stored: inner.disk.status().used,
        now,
    })
}

async fn commit(inner: &Arc<Inner>, view: &View, proposal: Proposal) -> Result<bool, StoreError> {
    let Some(next) = proposal.next else {
        return Ok(false);
    };
    info!(reasons = ?proposal.reasons, "a new assignment");
    let current = view.assignment.as_ref().map(|assignment| &assignment.value);
    let transition = transition(current, Some(&next));
    if !inner.assign(view, &next).await? {
        return Ok(false);
    }
    let change = LayoutChange {
        at: Timestamp::now(),
        by: inner.me,
        copies: u32::try_from(transition.copies()).unwrap_or(u32::MAX),
        rows: u32::try_from(transition.rows.len()).unwrap_or(u32::MAX),
        reasons: proposal
            .reasons
            .iter()
            .map(|reason| reason.in_words(&name(view)))
            .collect(),
    };
    let history: LayoutHistory = view.history.value.clone().with(change);
    let key = MeshKey::History;
    let noted = inner
        .mesh
        .replace(&inner.partitions, key, Some(&history), view.history.version);
    // The change stands, whether or not it is remembered.
    if let Err(error) = noted.await {
        debug!(%error, "a change of the layout is not remembered");
    }
    Ok(true)
}

fn transition(from: Option<&Assignment>, to: Option<&Assignment>) -> Transition {
    match (from, to) {
        (Some(from), Some(to)) => Transition::between(from, to),
        _ => Transition::default(),
    }
}

/// What people call a member.
fn name(view: &View) -> impl Fn(MemberId) -> String {
    |member| {
        let row = view.members.get(&member);
        row.map_or_else(|| member.to_string(), |row| row.value.name.clone())
    }
}

fn waiting(wait: &Wait, view: &View) -> (String, Option<Timestamp>) {
    (wait.in_words(&name(view)), wait.until())
}
