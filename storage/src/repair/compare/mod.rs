//! Compares the rows of this member with those of every other voter, and brings what one of them has missed.
//!
//! A write is acknowledged by a quorum; a voter that was away has missed it, and nobody sends it again. So voters compare
//! what they have: after a start, whenever one comes back, after voters changed, and now and then. They compare sums of keys
//! and stamps first, so that two that agree exchange 32 KiB, and then only the keys of those slots whose sums differ.
//! Whoever holds a partition compares as well to know what others have: see `cluster/registers/cover.rs`.
//!
//! | file | its job |
//! |---|---|
//! | `wire` | what members say to each other, to the byte |
//! | `sums` | sums up the rows here, slot by slot |
//! | `pass` | compares this member with one other |
//! | `known` | what is known of who has every row |

mod known;
mod pass;
mod sums;
#[cfg(test)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

pub(crate) use self::known::{Changes, Comparison, Comparisons};
pub(crate) use self::pass::answer;
pub(crate) use self::wire::is_about_rows;
use crate::cluster::registers::Miss;
use crate::model::{MemberId, Timestamp};
use crate::store::Inner;

/// How often it is looked whether somebody is to be compared.
const LOOK: Duration = Duration::from_secs(2);
/// From one comparison to the next while nothing happens.
const EVERY: Duration = Duration::from_secs(1800);
/// Of its time, a member compares a hundredth at most while nothing happens.
const REST_FACTOR: u32 = 100;
/// How long somebody with whom it failed is left alone, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));

/// How long a write may be unacknowledged by somebody who is here before both are compared, in milliseconds.
const MISSED_MS: u64 = 5000;

/// Where new rows cost a holder a second round trip, it compares for a twentieth of its time, and less often where nothing
/// comes of it.
const COVER_FACTOR: u32 = 20;
const COVER_AGAIN: Duration = Duration::from_secs(30);

/// When one member is to be compared next.
#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    failures: u32,
}

/// Compares until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let mut plan = Plan::default();
    while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
        let Some(inner) = inner.upgrade() else { return };
        if inner.is_meshed() && stop.run_until_cancelled(plan.work(&inner)).await.is_none() {
            return;
        }
    }
}

/// Whether a member is to be compared before its time: its votes changed, or it did not acknowledge a write a while ago.
fn is_wanted(inner: &Inner, member: MemberId) -> bool {
    let now = Timestamp::now().as_millis();
    let missed = inner.partitions.registers().misses();
    let is_overdue = |miss: &Miss| now.saturating_sub(miss.since.as_millis()) >= MISSED_MS;
    let of_member = (member, 0)..=(member, u16::MAX);
    !inner.comparisons.covers(inner, member) || missed.range(of_member).any(|(_, miss)| is_overdue(miss))
}

/// When whoever is here is to be compared; at once where nothing is said.
#[derive(Default)]
struct Plan {
    due: BTreeMap<MemberId, Due>,
    /// Until then nobody is compared only for what its rows tell a holder.
    rests_until: Option<Instant>,
}

impl Plan {
    /// Compares whoever is due, one after another.
    async fn work(&mut self, inner: &Arc<Inner>) {
        let here: BTreeSet<MemberId> = inner.peers.nearest(&inner.others()).into_iter().collect();
        self.due.retain(|member, _| here.contains(member));
        for member in here {
            let due = self.due.get(&member).copied();
            let rests = self.rests_until.is_some_and(|until| Instant::now() < until);
            let is_due = match due {
                None => true,
                Some(due) if due.at <= Instant::now() => true,
                Some(due) if due.failures > 0 => false,
                Some(_) if !rests && inner.partitions.registers().would_learn_from(member) => true,
                Some(_) => is_wanted(inner, member),
            };
            if is_due {
                self.compare(inner, member, due.map_or(0, |due| due.failures))
                    .await;
            }
        }
    }

    async fn compare(&mut self, inner: &Arc<Inner>, member: MemberId, failures: u32) {
        let began = Instant::now();
        let is_to_cover = inner.partitions.registers().would_learn_from(member);
        let due = match pass::compare(inner, member).await {
            Ok(comparison) => {
                if comparison.differed > 0 {
                    info!(%member, rows = comparison.differed, "rows that one of us had missed are at both");
                }
                if is_to_cover {
                    let least = match comparison.covered {
                        0 => COVER_AGAIN,
                        _ => Duration::ZERO,
                    };
                    self.rests_until = Some(Instant::now() + least.max(began.elapsed() * COVER_FACTOR));
                }
                inner.comparisons.note(member, comparison);
                Due {
                    at: Instant::now() + EVERY.max(began.elapsed() * REST_FACTOR),
                    failures: 0,
                }
            }
            Err(error) => {
                debug!(%member, %error, "rows are not compared");
                let failures = failures.saturating_add(1);
                let again = AGAIN.0 * 2_u32.saturating_pow(failures.min(16));
                Due {
                    at: Instant::now() + again.min(AGAIN.1),
                    failures,
                }
            }
        };
        self.due.insert(member, due);
    }
}
