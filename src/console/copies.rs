//! Shows how many copies there are: the store's account of the mesh, in the appliance's words.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use appliance::api::{Behind, Burned, Home};
use appliance::{CopiesFacts, NotKnown, Short, Trouble};
use storage::StoreError;
use storage::health::{Amount, Clocks, Copies, Kept, MemberHealth, Unknown};
use storage::model::{MemberId, Timestamp, Zone};
use tracing::warn;

use super::Console;
use super::recent::Recent;

/// With so many homes, what any two would cost is worth saying; with more it is a long list of nothing.
const PAIRS_OF_MAX: usize = 8;

/// How long an answer about copies is given again, since each is a scan here and at every member. As often as the page
/// looks by itself.
const FRESH: Duration = Duration::from_secs(2);

/// How many copies there are, found out once for all who ask.
pub(crate) struct RecentCopies(Recent<Result<Copies, StoreError>>);

impl Default for RecentCopies {
    fn default() -> Self {
        Self(Recent::new(FRESH))
    }
}

impl Console {
    /// How many copies there are, as of two seconds ago at most.
    pub(super) async fn copies_counted(&self) -> Arc<Result<Copies, StoreError>> {
        let store = self.store.clone();
        self.copies.0.get(|| async move { store.copies().await }).await
    }

    /// All boxes with what each may lack, what is known of copies, what ails other boxes, and whose clock is off.
    pub(super) async fn copies_shown(&self) -> (Vec<Home>, CopiesFacts, Vec<Trouble>) {
        let (mut homes, counted) = futures_util::join!(self.homes(), self.copies_counted());
        let copies = match &*counted {
            Ok(copies) => copies,
            Err(error) => {
                warn!(%error, "copies are not counted");
                let unknown = vec![NotKnown::Uncounted];
                let facts = CopiesFacts {
                    unknown,
                    ..CopiesFacts::default()
                };
                return (homes, facts, Vec::new());
            }
        };
        let now = Timestamp::now();
        for home in &mut homes {
            let health = copies.members.get(&MemberId(home.member));
            home.behind = health.map(|health| behind(health, now));
        }
        let name = |member: MemberId| name_in(&homes, member);
        let facts = facts(copies, name, now);
        let ailing = copies
            .members
            .iter()
            .filter(|(member, _)| **member != self.store.me());
        let ailing = ailing.filter_map(|(member, health)| ailing_of(name(*member), health));
        let ailing = ailing.chain(clocks_off(&copies.clocks, name)).collect();
        (homes, facts, ailing)
    }
}

fn name_in(homes: &[Home], member: MemberId) -> String {
    let home = homes.iter().find(|home| home.member == member.0);
    home.map_or_else(|| member.to_string(), |home| home.name.clone())
}

fn ailing_of(name: String, health: &MemberHealth) -> Option<Trouble> {
    let (report, _) = health.said.as_ref()?;
    let (damaged, failed) = (report.blocks.damaged, report.blocks.directories_failed);
    let failed = failed.saturating_add(u32::from(report.rows.lost));
    (damaged > 0 || failed > 0).then_some(Trouble::Ailing(name, damaged, failed))
}

fn clocks_off(clocks: &Clocks, name: impl Fn(MemberId) -> String) -> Vec<Trouble> {
    match clocks {
        Clocks::Agree => Vec::new(),
        Clocks::Off(ahead) => ahead
            .iter()
            .map(|(member, millis)| Trouble::ClockOff(name(*member), millis / 1000))
            .collect(),
        Clocks::Apart(ahead) => {
            let names = ahead.keys().map(|member| name(*member)).collect();
            let most = ahead.values().max().copied().unwrap_or(0);
            vec![Trouble::ClocksApart(names, most.unsigned_abs() / 1000)]
        }
    }
}

/// What a box may lack, by what all say of it.
pub(super) fn behind(health: &MemberHealth, now: Timestamp) -> Behind {
    let mut both = health.blocks;
    both.add(health.rows);
    Behind {
        blocks: health.blocks.count,
        bytes: health.blocks.bytes,
        changes: health.rows.count,
        unproven_bytes: health.unproven_bytes,
        since_seconds: since(&both, now),
        eta_seconds: health
            .blocks
            .bytes
            .saturating_add(health.unproven_bytes)
            .checked_div(health.rate),
    }
}

fn since(amount: &Amount, now: Timestamp) -> Option<u64> {
    let since = amount.since?.as_millis();
    Some(now.as_millis().saturating_sub(since) / 1000)
}

fn facts(copies: &Copies, name: impl Fn(MemberId) -> String, now: Timestamp) -> CopiesFacts {
    let short = |kept: &Kept, is_blocks: bool| Short {
        homes: kept.zones.iter().map(ToString::to_string).collect(),
        blocks: if is_blocks { kept.amount.count } else { 0 },
        bytes: kept.amount.bytes,
        changes: if is_blocks { 0 } else { kept.amount.count },
        since_seconds: since(&kept.amount, now),
    };
    let blocks = copies.kept.iter().map(|kept| short(kept, true));
    let changes = copies.changes.iter().map(|kept| short(kept, false));
    let unknown = copies.unknown.iter().map(|unknown| match unknown {
        Unknown::Silent(member) => NotKnown::Silent(name(*member)),
        Unknown::Unproven {
            member,
            proven_millionths,
            bytes,
        } => NotKnown::Unproven {
            name: name(*member),
            percent: proven_millionths / 10_000,
            bytes: *bytes,
        },
        Unknown::Rows { partitions } => NotKnown::Rows(*partitions),
    });
    CopiesFacts {
        goal: copies.goal,
        least: copies.least,
        homes: copies.zones.len(),
        short: joined(blocks.chain(changes)),
        unknown: unknown.collect(),
        burned: burned(copies),
    }
}

/// Blocks and changes that are known to be in the same homes, as one.
fn joined(shorts: impl Iterator<Item = Short>) -> Vec<Short> {
    let mut joined: Vec<Short> = Vec::new();
    for short in shorts {
        match joined.iter_mut().find(|known| known.homes == short.homes) {
            Some(known) => {
                known.blocks += short.blocks;
                known.bytes += short.bytes;
                known.changes += short.changes;
                known.since_seconds = known.since_seconds.max(short.since_seconds);
            }
            None => joined.push(short),
        }
    }
    joined
}

/// What each home would cost, and, where there are more than two, any two.
fn burned(copies: &Copies) -> Vec<Burned> {
    let zones: Vec<&Zone> = copies.zones.iter().collect();
    let mut fires: Vec<BTreeSet<Zone>> = zones.iter().map(|zone| [(*zone).clone()].into()).collect();
    if (3..=PAIRS_OF_MAX).contains(&zones.len()) {
        for (at, first) in zones.iter().enumerate() {
            let others = zones.iter().skip(at + 1);
            fires.extend(others.map(|second| [(*first).clone(), (*second).clone()].into()));
        }
    }
    let cost = |fire: &BTreeSet<Zone>| {
        let loss = copies.lost_with(fire);
        Burned {
            homes: fire.iter().map(ToString::to_string).collect(),
            everything: loss.placed_bytes > 0 || loss.partitions > 0,
            blocks: loss.blocks.count,
            bytes: loss.blocks.bytes,
            changes: loss.changes.count,
            unknown_bytes: loss.unproven_bytes,
        }
    };
    fires.iter().map(cost).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_changes_in_the_same_homes_are_one_shortage() {
        let short = |home: &str, blocks, changes, since| Short {
            homes: vec![home.into()],
            blocks,
            bytes: blocks * 10,
            changes,
            since_seconds: Some(since),
        };
        let all = [
            short("anna", 2, 0, 5),
            short("ben", 1, 0, 1),
            short("anna", 0, 3, 9),
        ];
        assert_eq!(
            joined(all.into_iter()),
            [short("anna", 2, 3, 9), short("ben", 1, 0, 1)]
        );
    }
}
