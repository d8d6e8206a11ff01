//! Proposes the next assignment by the rules of a member's life, or says what it waits for.
//!
//! | what happened                      | what is proposed                                                        |
//! |------------------------------------|-------------------------------------------------------------------------|
//! | a node joined and stayed 10 min    | its share, at once and in whole                                         |
//! | away for less than 24 h            | nothing: it counts as here                                              |
//! | away for 24 h                      | nothing is taken from it, and nothing more given to it                  |
//! | away for 72 h                      | if others could hold the copies that are missing: those copies, one zone a day |
//! | back                               | what it still holds is its own; if it was replaced, a share as a newcomer |
//! | draining, removed, capacity 0      | everything it holds goes to others that have room                       |
//! | someone holds 10 % too much or too little | moves towards balance, at most 5 % of all copies a day           |
//! | fewer copies would do              | nothing, until a person asks or removes a member                        |
//!
//! What was done today travels in the assignment, so that proposing twice is proposing once.
//! Times only pace: a clock that jumps makes Warren wait, or act a day early, and breaks nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::assignment::{Assignment, History};
use super::balance::balance;
use super::blocks::{self, BlockMap};
use super::field::{
    Candidate, Field, LOST_AFTER, SETTLED_AFTER, Scale, Standing, candidates, elapsed, is_lost, vessels,
};
use super::holders::Holders;
use super::mend::mend;
use super::rows::{self, RowMap};
use super::targets::Shape;
use super::{Member, Node, Policy, Presence};
use crate::model::{MemberId, Partition, Role, Timestamp, Zone};

/// Between two steps of balancing, and between the replacements of two zones.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything a proposal depends on.
#[derive(Clone, Copy, Debug)]
pub struct Mesh<'a> {
    /// All members; who is not among them is gone for good.
    pub members: &'a [Member],
    /// What a person decided.
    pub policy: &'a Policy,
    /// The assignment in force; none before the first.
    pub current: Option<&'a Assignment>,
    /// Bytes kept in the mesh, counted once whatever the number of copies.
    pub stored: u64,
    /// The time.
    pub now: Timestamp,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The assignment to commit; none if the current one is right.
    pub next: Option<Assignment>,
    /// Why it differs; empty if it does not.
    pub reasons: Vec<Reason>,
    /// What will or would be done later.
    pub waits: Vec<Wait>,
}

/// Why the next assignment differs from the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the first.
    First,
    /// A member that held nothing gets its share.
    Joined(MemberId),
    /// A member that was removed, drains or gives no room hands over what it held.
    Left(MemberId),
    /// A member that was away too long is replaced.
    Lost(MemberId),
    /// The blocks of a partition have another number of copies.
    Copies {
        /// Before.
        from: usize,
        /// After.
        to: usize,
    },
    /// So many copies of blocks and rows go from members that hold too much to those that hold too little.
    Balanced {
        /// Copies made, of all blocks and rows of a partition each.
        moved: usize,
    },
    /// Copies or votes are where zones and votes ask for them.
    Spread,
}

/// What is not done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A newcomer gets its share if it stays until then.
    Settling {
        /// Who.
        member: MemberId,
        /// When.
        until: Timestamp,
    },
    /// A member is away; if copies are missing then, it is replaced.
    Away {
        /// Who.
        member: MemberId,
        /// When.
        until: Timestamp,
    },
    /// The lost members of a zone are replaced when the day of another zone is over.
    NextZone {
        /// Whose members.
        zone: Zone,
        /// When.
        until: Timestamp,
    },
    /// Nobody else has room for what a member should hand over. Give the mesh room.
    NoRoom {
        /// Who keeps it.
        member: MemberId,
        /// Partitions it keeps.
        partitions: usize,
    },
    /// Rows of so many partitions cannot change hands while their quorum is away. If it is gone for good, those
    /// left behind have to be forced to go on without it.
    QuorumAway {
        /// How many.
        partitions: usize,
    },
}

impl Reason {
    /// In words, with the names that people gave to members.
    pub fn in_words(&self, name: &impl Fn(MemberId) -> String) -> String {
        match self {
            Self::First => "the first layout".into(),
            Self::Joined(member) => format!("{} gets its share", name(*member)),
            Self::Left(member) => format!("{} hands over what it holds", name(*member)),
            Self::Lost(member) => format!("{} was away too long and is replaced", name(*member)),
            Self::Copies { from, to } => format!("{to} copies instead of {from}"),
            Self::Balanced { moved } => format!("{moved} parts move to boxes that hold too little"),
            Self::Spread => "copies and votes spread over the homes".into(),
        }
    }
}

impl Wait {
    /// In words, with the names that people gave to members.
    pub fn in_words(&self, name: &impl Fn(MemberId) -> String) -> String {
        match self {
            Self::Settling { member, .. } => format!("{} gets its share if it stays", name(*member)),
            Self::Away { member, .. } => format!(
                "{} is replaced if it stays away and copies are missing",
                name(*member)
            ),
            Self::NextZone { zone, .. } => format!("the boxes of {zone} that are lost are replaced"),
            Self::NoRoom { member, partitions } => format!(
                "nobody else has room for {partitions} of 256 parts that {} should hand over",
                name(*member)
            ),
            Self::QuorumAway { partitions } => {
                format!(
                    "{partitions} of 256 parts cannot change hands: too few of those that vote there are here"
                )
            }
        }
    }

    /// Until when, where that is known.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Settling { until, .. } | Self::Away { until, .. } | Self::NextZone { until, .. } => {
                Some(*until)
            }
            Self::NoRoom { .. } | Self::QuorumAway { .. } => None,
        }
    }
}

/// Why there is nothing to propose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The list of members is empty.
    #[error("the mesh has no members")]
    NoMembers,
    /// A number stands twice among the members.
    #[error("member {0} is listed twice")]
    Twice(MemberId),
    /// Members may hold blocks, and none gives room.
    #[error("none of {members} members gives room; give one a capacity")]
    NoCapacity {
        /// How many there are.
        members: usize,
    },
    /// Nobody may hold blocks: all are witnesses.
    #[error("none of {members} members may hold blocks; invite a trusted one or a vault")]
    NobodyHoldsBlocks {
        /// How many there are.
        members: usize,
    },
    /// Nobody may hold rows: no trusted member gives room.
    #[error("none of {members} members holds rows; invite a trusted one that gives room")]
    NobodyHoldsRows {
        /// How many there are.
        members: usize,
    },
    /// All that could hold something are draining, away, or newcomers that have to stay a while.
    #[error("nobody could take over now; stop draining one member, or wait until one is back")]
    NobodyReady,
    /// No member stands in the zone that should have the tie-break.
    #[error("no member stands in {0}, which should have the tie-break; name another zone")]
    NoSuchZone(Zone),
}

/// Who holds blocks and rows, before or between the steps of a proposal.
struct Held {
    blocks: Holders,
    rows: RowMap,
}

/// Proposes what to do next; pure, and the same for the same mesh.
///
/// # Errors
/// See [`PlacementError`]; the assignment in force then stays.
pub fn propose(mesh: &Mesh<'_>) -> Result<Proposal, PlacementError> {
    check(mesh)?;
    let tie_break = rows_tie_break(mesh)?;
    let before = mesh.current.map(|current| Held {
        blocks: current.blocks.0.clone(),
        rows: current.rows.clone(),
    });
    let fields = fields(mesh, before.as_ref(), tie_break.as_ref())?;
    let mut history = mesh
        .current
        .map(|current| current.history.clone())
        .unwrap_or_default();
    let zones = zones(mesh.members);
    let replacing = zone_to_replace(&zones, &fields, &history, mesh.now);
    let mended = fields.each_ref().map(|field| mend(field, replacing));
    let mut reasons = reasons(mesh, &fields, &mended);
    if let Some(zone) = replacing
        && reasons.iter().any(|reason| matches!(reason, Reason::Lost(_)))
    {
        history.replaced = Some((zones[zone].clone(), mesh.now));
    }
    let [blocks, rows] = mended;
    let rows = with_votes(mesh, &rows, &fields[1].fixed, before.as_ref(), tie_break.as_ref())?;
    let mended = Held { blocks, rows };
    // Balancing sees what whoever asks after it sees: who was replaced has no share any more, who is no newcomer any
    // more gives and takes as all do, and rows whose new voters have no quorum here are as fixed as all others.
    let mut fields = self::fields(mesh, Some(&mended), tie_break.as_ref())?;
    if mesh.current.is_some() && is_over(history.balanced, mesh.now) {
        let moved = fields.iter_mut().map(balance_one).sum();
        if moved > 0 {
            history.balanced = Some(mesh.now);
            reasons.push(Reason::Balanced { moved });
        }
    }
    let waits = waits(mesh, &zones, &fields, &history);
    let [blocks, rows] = fields;
    let next = Assignment {
        rows: with_votes(
            mesh,
            &rows.current,
            &rows.fixed,
            Some(&mended),
            tie_break.as_ref(),
        )?,
        blocks: BlockMap(blocks.current),
        history,
    };
    let same = |current: &Assignment| current.blocks == next.blocks && current.rows == next.rows;
    if mesh.current.is_some_and(same) {
        return Ok(Proposal {
            next: None,
            reasons: Vec::new(),
            waits,
        });
    }
    if reasons.is_empty() {
        reasons.push(Reason::Spread);
    }
    Ok(Proposal {
        next: Some(next),
        reasons,
        waits,
    })
}

/// Gives votes to chosen voters of rows; those that are `fixed` keep what they have.
fn with_votes(
    mesh: &Mesh<'_>,
    chosen: &Holders,
    fixed: &BTreeSet<Partition>,
    now: Option<&Held>,
    tie_break: Option<&Zone>,
) -> Result<RowMap, PlacementError> {
    let nodes: Vec<_> = mesh.members.iter().map(|member| &member.node).collect();
    let now = now.map(|held| &held.rows);
    rows::with_votes(chosen, &nodes, tie_break, now, fixed).ok_or(PlacementError::NobodyReady)
}

fn check(mesh: &Mesh<'_>) -> Result<(), PlacementError> {
    let members = mesh.members.len();
    let mut seen = BTreeSet::new();
    if let Some(twice) = mesh
        .members
        .iter()
        .find(|member| !seen.insert(member.node.member))
    {
        return Err(PlacementError::Twice(twice.node.member));
    }
    let any = |may: fn(&Node) -> bool| mesh.members.iter().any(|member| may(&member.node));
    if members == 0 {
        Err(PlacementError::NoMembers)
    } else if !any(holds_blocks) {
        Err(PlacementError::NobodyHoldsBlocks { members })
    } else if !any(|node| holds_blocks(node) && node.capacity > 0) {
        Err(PlacementError::NoCapacity { members })
    } else if !any(|node| holds_rows(node) && node.capacity > 0) {
        Err(PlacementError::NobodyHoldsRows { members })
    } else {
        Ok(())
    }
}

fn holds_blocks(node: &Node) -> bool {
    matches!(node.role, Role::Trusted | Role::Vault)
}

fn holds_rows(node: &Node) -> bool {
    node.role == Role::Trusted
}

/// All zones; their places are their numbers.
fn zones(members: &[Member]) -> Vec<Zone> {
    let zones: BTreeSet<_> = members.iter().map(|member| member.node.zone.clone()).collect();
    zones.into_iter().collect()
}

fn rows_tie_break(mesh: &Mesh<'_>) -> Result<Option<Zone>, PlacementError> {
    if let Some(named) = &mesh.policy.tie_break
        && !mesh.members.iter().any(|member| member.node.zone == *named)
    {
        return Err(PlacementError::NoSuchZone(named.clone()));
    }
    let may_vote =
        |member: &&Member| holds_rows(&member.node) && member.node.capacity > 0 && !member.draining;
    // Votes given to a home that is away would stop the one that is here.
    let homes: BTreeSet<_> = mesh
        .members
        .iter()
        .filter(may_vote)
        .filter(|member| matches!(member.presence, Presence::Here { .. }))
        .map(|member| &member.node.zone)
        .collect();
    // Within a home that is here, an absence that changes nothing else does not change whose votes are most either.
    let voting: Vec<_> = mesh
        .members
        .iter()
        .filter(may_vote)
        .filter(|member| homes.contains(&member.node.zone) && !is_lost(member.presence, mesh.now))
        .map(|member| &member.node)
        .collect();
    let now = mesh.current.map(|current| &current.rows);
    Ok(rows::tie_break_zone(mesh.policy.tie_break.as_ref(), &voting, now))
}

/// The fields of blocks and rows, if that is how they are held.
fn fields(
    mesh: &Mesh<'_>,
    held: Option<&Held>,
    tie_break: Option<&Zone>,
) -> Result<[Field; 2], PlacementError> {
    Ok([
        blocks_field(mesh, held.map(|held| &held.blocks))?,
        rows_field(mesh, held.map(|held| &held.rows), tie_break)?,
    ])
}

fn blocks_field(mesh: &Mesh<'_>, current: Option<&Holders>) -> Result<Field, PlacementError> {
    let scale = Scale {
        may_hold: holds_blocks,
        weight: |node| node.capacity as f64,
        partition_bytes: mesh.stored / Partition::COUNT as u64,
    };
    let candidates = candidates(mesh.members, current, mesh.now, &scale);
    let copies = current.map_or(0, Holders::copies);
    field(current, candidates, BTreeSet::new(), |vessels| {
        blocks::shape(vessels, mesh.policy.copies, copies, mesh.stored)
    })
}

fn rows_field(
    mesh: &Mesh<'_>,
    current: Option<&RowMap>,
    tie_break: Option<&Zone>,
) -> Result<Field, PlacementError> {
    let scale = Scale {
        may_hold: holds_rows,
        // Rows are few and small beside blocks; what counts is who answers, and all answer alike.
        weight: |_| 1.0,
        partition_bytes: 0,
    };
    let holders = current.map(RowMap::holders);
    let candidates = candidates(mesh.members, holders.as_ref(), mesh.now, &scale);
    let tie_break = zones(mesh.members)
        .iter()
        .position(|zone| Some(zone) == tie_break);
    let fixed = current.map(|rows| without_quorum(rows, mesh.members));
    field(
        holders.as_ref(),
        candidates,
        fixed.unwrap_or_default(),
        |vessels| rows::shape(vessels, tie_break),
    )
}

/// Partitions whose rows cannot be reconfigured: the old voters have to agree to that.
fn without_quorum(rows: &RowMap, members: &[Member]) -> BTreeSet<Partition> {
    let here: BTreeSet<_> = members
        .iter()
        .filter(|member| matches!(member.presence, Presence::Here { .. }))
        .map(|member| member.node.member)
        .collect();
    let stuck = |partition: &Partition| {
        let votes = rows.voters(*partition).votes();
        votes.is_none_or(|votes| !votes.is_quorum(&here))
    };
    Partition::all().filter(stuck).collect()
}

fn field(
    current: Option<&Holders>,
    candidates: Vec<Candidate>,
    fixed: BTreeSet<Partition>,
    shape: impl Fn(&[super::targets::Vessel]) -> Shape,
) -> Result<Field, PlacementError> {
    let lost = |candidate: &Candidate| matches!(candidate.standing, Standing::Lost { .. });
    let staying = vessels(&candidates, |candidate| candidate.standing != Standing::Leaving);
    let without_lost = vessels(&candidates, |candidate| {
        candidate.standing != Standing::Leaving && !lost(candidate)
    });
    if !candidates.iter().any(Candidate::takes) {
        return Err(PlacementError::NobodyReady);
    }
    Ok(Field {
        current: current.cloned().unwrap_or_else(Holders::nobody),
        shape: shape(&staying),
        shape_without_lost: shape(&without_lost),
        candidates,
        fixed,
    })
}

/// The zone whose lost members are replaced today: today's, else the one that is away longest with copies missing.
fn zone_to_replace(zones: &[Zone], fields: &[Field; 2], history: &History, now: Timestamp) -> Option<usize> {
    if let Some((zone, at)) = &history.replaced
        && !is_over(Some(*at), now)
    {
        return zones.iter().position(|known| known == zone);
    }
    missed(fields)
        .into_iter()
        .min_by_key(|(zone, since)| (*since, *zone))
        .map(|(zone, _)| zone)
}

/// The zones whose lost members are missed, and since when the first of each is away.
fn missed(fields: &[Field; 2]) -> BTreeMap<usize, Timestamp> {
    let mut missed = BTreeMap::new();
    for field in fields {
        let open = Partition::all().filter(|partition| !field.fixed.contains(partition));
        for partition in open.filter(|partition| field.missing(*partition) > 0) {
            for (_, candidate) in field.lost(partition) {
                if let Standing::Lost { since } = candidate.standing {
                    let first = missed.entry(candidate.zone).or_insert(since);
                    *first = since.min(*first);
                }
            }
        }
    }
    missed
}

/// Whether a day has passed; a time to come is a clock's mistake and counts as past.
fn is_over(at: Option<Timestamp>, now: Timestamp) -> bool {
    at.is_none_or(|at| at > now || elapsed(at, now) >= DAY)
}

/// Makes one step; how many copies it moves.
fn balance_one(field: &mut Field) -> usize {
    let Some(balanced) = balance(field) else {
        return 0;
    };
    let moved = balanced.copied_since(&field.current);
    field.current = balanced;
    moved
}

/// What mending changed, and for whom.
fn reasons(mesh: &Mesh<'_>, fields: &[Field; 2], mended: &[Holders; 2]) -> Vec<Reason> {
    if mesh.current.is_none() {
        return vec![Reason::First];
    }
    let mut reasons = Vec::new();
    for (field, mended) in fields.iter().zip(mended) {
        let (before, after) = (field.current.counts(), mended.counts());
        for (member, standing) in standings(field) {
            let count = |counts: &BTreeMap<MemberId, usize>| counts.get(&member).copied().unwrap_or(0);
            let (before, after) = (count(&before), count(&after));
            let reason = match standing {
                Some(Standing::Newcomer) if after > before => Reason::Joined(member),
                None | Some(Standing::Leaving) if after < before => Reason::Left(member),
                Some(Standing::Lost { .. }) if after < before => Reason::Lost(member),
                _ => continue,
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
    }
    let (from, to) = (fields[0].current.copies(), mended[0].copies());
    if from != to {
        reasons.push(Reason::Copies { from, to });
    }
    reasons
}

/// How everybody stands who holds something or may; who is no member any more has no standing.
fn standings(field: &Field) -> BTreeMap<MemberId, Option<Standing>> {
    let holding = field.current.counts().into_keys().map(|member| (member, None));
    let known = field.candidates.iter();
    holding
        .chain(known.map(|candidate| (candidate.member, Some(candidate.standing))))
        .collect()
}

/// What the next proposals depend on; `fields` are as they are proposed now.
fn waits(mesh: &Mesh<'_>, zones: &[Zone], fields: &[Field; 2], history: &History) -> Vec<Wait> {
    let counts = fields.each_ref().map(|field| field.current.counts());
    let mut waits = Vec::new();
    for member in mesh.members {
        let load = |counts: &BTreeMap<MemberId, usize>| counts.get(&member.node.member).copied().unwrap_or(0);
        waits.extend(wait(member, fields, counts.each_ref().map(load), mesh.now));
    }
    for (zone, _) in missed(fields) {
        if let Some((_, at)) = history
            .replaced
            .as_ref()
            .filter(|(replaced, _)| *replaced != zones[zone])
        {
            waits.push(Wait::NextZone {
                zone: zones[zone].clone(),
                until: later(*at, DAY),
            });
        }
    }
    if !fields[1].fixed.is_empty() {
        waits.push(Wait::QuorumAway {
            partitions: fields[1].fixed.len(),
        });
    }
    waits
}

/// What has to happen to a member first; `loads` is what it holds of blocks and rows.
fn wait(member: &Member, fields: &[Field; 2], loads: [usize; 2], now: Timestamp) -> Option<Wait> {
    let id = member.node.member;
    let leaves = |candidate: &Candidate| candidate.member == id && candidate.standing == Standing::Leaving;
    let leaving = fields
        .iter()
        .zip(loads)
        .find(|(field, load)| *load > 0 && field.candidates.iter().any(leaves));
    if let Some((_, partitions)) = leaving {
        return Some(Wait::NoRoom {
            member: id,
            partitions,
        });
    }
    let takes_part = member.node.capacity > 0 && !member.draining && holds_blocks(&member.node);
    match member.presence {
        Presence::Here { since } if takes_part && loads == [0, 0] && elapsed(since, now) < SETTLED_AFTER => {
            Some(Wait::Settling {
                member: id,
                until: later(since, SETTLED_AFTER),
            })
        }
        Presence::Away { since } if loads != [0, 0] && elapsed(since, now) < LOST_AFTER => Some(Wait::Away {
            member: id,
            until: later(since, LOST_AFTER),
        }),
        _ => None,
    }
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_add(wait))
}
