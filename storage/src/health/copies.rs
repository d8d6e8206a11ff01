//! What follows for the mesh from what its members say: how many zones hold everything, what is missing where, what would be
//! lost with a zone. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::clocks::{self, Clocks};
use super::report::{Amount, Kept, Report};
use crate::cluster::ROOT_PARTITION;
use crate::model::{MemberId, MemberRow, Partition, Role, Timestamp, Zone};
use crate::placement::{Assignment, BlockMap};

/// Copies that are made unless there are fewer zones.
const GOAL: usize = 3;
/// A report's measure of everything.
const MILLION: u32 = 1_000_000;

/// What a member said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) report: Report,
    pub(super) at: Timestamp,
    /// Whether it was said just now: else much may have happened since.
    pub(super) now: bool,
}

impl Said {
    /// By how many milliseconds its clock is ahead of the one here, if it says so now.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        let millis = |time: Timestamp| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let clock = self.report.clock.filter(|_| self.now)?;
        Some(millis(clock).saturating_sub(millis(self.at)))
    }
}

/// What is judged.
pub(super) struct World<'a> {
    pub(super) me: MemberId,
    pub(super) members: &'a BTreeMap<MemberId, MemberRow>,
    /// The assignment in force and its version.
    pub(super) assignment: Option<(u64, &'a Assignment)>,
    pub(super) said: &'a BTreeMap<MemberId, Said>,
}

/// How many copies there are, as far as members say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// The zones whose members may hold blocks.
    pub zones: BTreeSet<Zone>,
    /// In how many zones there should be copies.
    pub goal: usize,
    /// In how many zones there are copies of everything that is known and not named in `kept` and `changes`.
    pub least: usize,
    /// References to blocks that are not known to be everywhere they are wanted.
    pub kept: Vec<Kept>,
    /// Changes of rows that not every voter acknowledged.
    pub changes: Vec<Kept>,
    /// What is not known, and why.
    pub unknown: Vec<Unknown>,
    /// Each member.
    pub members: BTreeMap<MemberId, MemberHealth>,
    /// All voters were compared since then; `None` where some were not.
    pub compared: Option<Timestamp>,
    /// Whether the clocks of those agree that say something now.
    pub clocks: Clocks,
    /// Bytes of blocks by the zones that should have them, about.
    placed: BTreeMap<BTreeSet<Zone>, u64>,
    /// Partitions of rows by the zones that are known to have every row.
    rows: BTreeMap<BTreeSet<Zone>, usize>,
}

/// Something that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// A member says nothing now. What it said last may have changed.
    Silent(MemberId),
    /// A member has not been told yet that all it holds is where it should be.
    Unproven {
        /// Who.
        member: MemberId,
        /// Of so many millionths it has.
        proven_millionths: u32,
        /// Bytes of the rest, about.
        bytes: u64,
    },
    /// Nobody knows who has every row of so many of 257 partitions.
    Rows {
        /// How many.
        partitions: usize,
    },
}

/// How one member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberHealth {
    /// What it said last, and when.
    pub said: Option<(Report, Timestamp)>,
    /// Whether that was just now.
    pub now: bool,
    /// Blocks that others know it may lack.
    pub blocks: Amount,
    /// Changes of rows that others know it may lack.
    pub rows: Amount,
    /// Bytes that it may lack beside these, at most: others have not asked it yet.
    pub unproven_bytes: u64,
    /// Bytes a second that others bring to it.
    pub rate: u64,
    /// Partitions in which its rows were not compared by somebody who could.
    pub uncompared: u16,
}

/// What would be lost with some zones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Blocks that only they are known to have.
    pub blocks: Amount,
    /// Changes of rows that only they are known to have.
    pub changes: Amount,
    /// Bytes of all blocks that are placed nowhere else, about.
    pub placed_bytes: u64,
    /// Partitions of rows that are nowhere else.
    pub partitions: usize,
    /// Bytes there of which it is not known whether they are elsewhere.
    pub unproven_bytes: u64,
}

impl Loss {
    /// Whether nothing is known to be lost.
    pub fn is_nothing(&self) -> bool {
        self.blocks.count == 0 && self.changes.count == 0 && self.partitions == 0 && self.placed_bytes == 0
    }
}

impl Copies {
    /// What would be lost if all disks in these zones burned now.
    pub fn lost_with(&self, burned: &BTreeSet<Zone>) -> Loss {
        let mut loss = Loss::default();
        let is_gone = |zones: &BTreeSet<Zone>| zones.is_subset(burned);
        let gone = |kept: &[Kept]| {
            let mut sum = Amount::default();
            kept.iter()
                .filter(|kept| is_gone(&kept.zones))
                .for_each(|kept| sum.add(kept.amount));
            sum
        };
        (loss.blocks, loss.changes) = (gone(&self.kept), gone(&self.changes));
        loss.placed_bytes = self
            .placed
            .iter()
            .filter(|(zones, _)| is_gone(zones))
            .map(|(_, bytes)| *bytes)
            .sum();
        loss.partitions = self
            .rows
            .iter()
            .filter(|(zones, _)| is_gone(zones))
            .map(|(_, count)| *count)
            .sum();
        loss.unproven_bytes = self
            .unknown
            .iter()
            .filter_map(|unknown| match unknown {
                Unknown::Unproven { bytes, .. } => Some(*bytes),
                Unknown::Silent(_) | Unknown::Rows { .. } => None,
            })
            .sum();
        loss
    }
}

/// Judges.
pub(super) fn copies(world: &World<'_>) -> Copies {
    let mut copies = Copies {
        zones: world.zones(),
        ..Copies::default()
    };
    copies.goal = copies.zones.len().min(GOAL);
    for member in world.members.keys() {
        copies.members.insert(*member, world.health(*member));
    }
    let (mut kept, mut changes) = (BTreeMap::new(), BTreeMap::new());
    for (member, said) in world.said {
        if !said.now {
            copies.unknown.push(Unknown::Silent(*member));
        }
        add_all(&mut kept, &said.report.blocks.kept);
        add_all(&mut changes, &said.report.rows.short);
        copies.unknown.extend(world.unproven(*member, said));
    }
    let never = world
        .members
        .keys()
        .filter(|member| !world.said.contains_key(member));
    copies
        .unknown
        .extend(never.map(|member| Unknown::Silent(*member)));
    (copies.kept, copies.changes) = (listed(kept), listed(changes));
    copies.placed = world.placed();
    let unknown_rows;
    (copies.rows, unknown_rows) = world.rows();
    if unknown_rows > 0 {
        copies.unknown.push(Unknown::Rows {
            partitions: unknown_rows,
        });
    }
    let zones = copies.placed.keys().chain(copies.rows.keys());
    copies.least = zones.map(BTreeSet::len).min().unwrap_or(0);
    copies.compared = world.compared();
    copies.clocks = clocks::judge(&world.clocks_ahead());
    copies
}

fn add_all(sums: &mut BTreeMap<BTreeSet<Zone>, Amount>, kept: &[Kept]) {
    for Kept { zones, amount } in kept {
        sums.entry(zones.clone()).or_default().add(*amount);
    }
}

fn listed(sums: BTreeMap<BTreeSet<Zone>, Amount>) -> Vec<Kept> {
    let kept = sums.into_iter().map(|(zones, amount)| Kept { zones, amount });
    kept.collect()
}

impl World<'_> {
    fn zones(&self) -> BTreeSet<Zone> {
        let holds = |row: &&MemberRow| row.role != Role::Witness && !row.draining;
        let rows = self.members.values().filter(holds);
        rows.map(|row| row.zone.clone()).collect()
    }

    /// By how many milliseconds each clock is ahead of the one here.
    fn clocks_ahead(&self) -> BTreeMap<MemberId, i64> {
        let ahead = |(member, said): (&MemberId, &Said)| Some((*member, said.clock_ahead()?));
        self.said.iter().filter_map(ahead).collect()
    }

    fn zones_of(&self, members: &[MemberId]) -> BTreeSet<Zone> {
        let rows = members.iter().filter_map(|member| self.members.get(member));
        rows.map(|row| row.zone.clone()).collect()
    }

    /// Who is wanted to hold the blocks of a partition; before anything is assigned, whoever took them in.
    fn holders(&self, partition: Partition) -> &[MemberId] {
        let blocks: Option<&BlockMap> = self.assignment.map(|(_, assignment)| &assignment.blocks);
        blocks.map_or(&[], |blocks| blocks.holders_of(partition))
    }

    fn health(&self, member: MemberId) -> MemberHealth {
        let said = self.said.get(&member);
        let mut health = MemberHealth {
            said: said.map(|said| (said.report.clone(), said.at)),
            now: said.is_some_and(|said| said.now),
            ..MemberHealth::default()
        };
        for Said { report, now, .. } in self.said.values() {
            health
                .blocks
                .add(report.blocks.owed.get(&member).copied().unwrap_or_default());
            health
                .rows
                .add(report.rows.owed.get(&member).copied().unwrap_or_default());
            if *now {
                let rate = report.blocks.rates.get(&member).copied().unwrap_or(0);
                health.rate = health.rate.saturating_add(rate);
            }
            if *now && report.rows.unknown == 0 {
                let uncompared = report.rows.uncompared.get(&member).copied().unwrap_or(0);
                health.uncompared = health.uncompared.max(uncompared);
            }
        }
        // Several may hold the same, and wait for it to be proven.
        let others = self.said.iter().filter(|(other, _)| **other != member);
        let unproven = others.map(|(_, said)| self.unproven_for(member, said));
        health.unproven_bytes = unproven.max().unwrap_or(0);
        health
    }

    /// Whether what a member took in may be gone from it: a directory of blocks is missing there, or failed.
    fn is_ailing(&self, said: &Said) -> bool {
        self.members.len() > 1 && said.report.blocks.directories_failed > 0
    }

    /// How much of what a member holds is proven by the assignment in force.
    fn proven_millionths(&self, said: &Said) -> u32 {
        let version = self.assignment.map_or(0, |(version, _)| version);
        match said.report.assignment == version && !self.is_ailing(said) {
            true => said.report.blocks.proven_millionths.min(MILLION),
            false => 0,
        }
    }

    fn unproven(&self, member: MemberId, said: &Said) -> Option<Unknown> {
        let proven_millionths = self.proven_millionths(said);
        let bytes = said.report.blocks.used;
        let is_something = bytes > 0 || self.is_ailing(said);
        (said.now && proven_millionths < MILLION && is_something).then(|| Unknown::Unproven {
            member,
            proven_millionths,
            bytes: part(bytes, MILLION - proven_millionths),
        })
    }

    /// Bytes that a member may lack of what another holds and has not proven. Blocks are proven in the order of their ids,
    /// and spread evenly over the partitions.
    fn unproven_for(&self, member: MemberId, said: &Said) -> u64 {
        let proven = u64::from(self.proven_millionths(said)) * Partition::COUNT as u64 / u64::from(MILLION);
        let wanted = Partition::all().filter(|partition| {
            u64::from(partition.0) >= proven && self.holders(*partition).contains(&member)
        });
        let bytes = u128::from(said.report.blocks.used) * wanted.count() as u128 / Partition::COUNT as u128;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Bytes of blocks by the zones that should have them, about.
    fn placed(&self) -> BTreeMap<BTreeSet<Zone>, u64> {
        let mut placed: BTreeMap<BTreeSet<Zone>, u64> = BTreeMap::new();
        let Some((_, assignment)) = self.assignment else {
            for (member, said) in self.said {
                *placed.entry(self.zones_of(&[*member])).or_default() += said.report.blocks.used;
            }
            return placed;
        };
        let used: u64 = self.said.values().map(|said| said.report.blocks.used).sum();
        let held: usize = self.said.keys().map(|member| assignment.blocks_of(*member)).sum();
        let bytes = used / held.max(1) as u64;
        for partition in Partition::all() {
            *placed.entry(self.zones_of(self.holders(partition))).or_default() += bytes;
        }
        placed
    }

    /// How many partitions of rows are in which zones, by whoever knows most, and of how many nobody knows.
    fn rows(&self) -> (BTreeMap<BTreeSet<Zone>, usize>, usize) {
        let mut best: BTreeMap<u16, &BTreeSet<Zone>> = BTreeMap::new();
        for said in self.said.values().filter(|said| said.now) {
            for kept in &said.report.rows.kept {
                for partition in kept
                    .partitions
                    .iter()
                    .filter(|partition| **partition <= ROOT_PARTITION)
                {
                    let known = best.entry(*partition).or_insert(&kept.zones);
                    if kept.zones.len() > known.len() {
                        *known = &kept.zones;
                    }
                }
            }
        }
        let unknown = usize::from(ROOT_PARTITION) + 1 - best.len();
        let mut rows: BTreeMap<BTreeSet<Zone>, usize> = BTreeMap::new();
        for zones in best.into_values() {
            *rows.entry(zones.clone()).or_default() += 1;
        }
        (rows, unknown)
    }

    fn compared(&self) -> Option<Timestamp> {
        let own = &self.said.get(&self.me)?.report.rows;
        let others = self.said.values().filter(|said| said.now);
        let times = others.filter_map(|said| said.report.rows.compared);
        own.compared?;
        times.min()
    }
}

fn part(bytes: u64, millionths: u32) -> u64 {
    let bytes = u128::from(bytes) * u128::from(millionths) / u128::from(MILLION);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
