//! By which way a block goes to those that are wanted to hold it.
//!
//! A home sends at a tenth of what it receives, often, and two copies that leave by one uplink take twice as long as one. So
//! a large block leaves home once: whoever takes it in there passes it on to the rest, and the box that sent it need not
//! wait for that, as two zones have it. Small ones take a round trip and hardly any of the uplink: they go to everybody at
//! once, and the first answer counts.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{MemberId, Zone};

/// What the last answers count for in how fast a member takes blocks.
const SMOOTHED: u32 = 4;
/// Members of which that is remembered: the mesh has no more.
const MEMBERS_MAX: usize = 256;
/// How long an answer is waited for before the block goes to the rest as well: so many times what it should take, and where
/// that is not known.
const TIMES: u32 = 3;
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);
const FIRST: Duration = Duration::from_secs(15);
/// What was noted longer ago says nothing: who was slow once may be the fastest by now.
const STALE: Duration = Duration::from_secs(600);

/// Who is sent a block, and who gets it from one of those.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) direct: Vec<MemberId>,
    /// Who passes it on; `None` where nobody is to.
    pub(super) via: Option<MemberId>,
    pub(super) passed: Vec<MemberId>,
}

/// How long members took lately to say that a large block is durable there.
#[derive(Debug, Default)]
pub(super) struct Answering(BTreeMap<MemberId, Known>);

/// What is known of a member.
#[derive(Clone, Copy, Debug)]
struct Known {
    took: Duration,
    /// When it last did not store a block, unless it has stored one since.
    failed: Option<Instant>,
    noted: Instant,
}

impl Answering {
    /// Notes how long a member took to store a block; or how long it was waited for in vain, or to be refused.
    pub(super) fn note(&mut self, member: MemberId, has_stored: bool, took: Duration) {
        let now = Instant::now();
        if self.0.len() >= MEMBERS_MAX && !self.0.contains_key(&member) {
            return;
        }
        let before = self.known(member, now).map_or(took, |known| known.took);
        let known = Known {
            took: (before * (SMOOTHED - 1) + took) / SMOOTHED,
            failed: (!has_stored).then_some(now),
            noted: now,
        };
        self.0.insert(member, known);
    }

    /// How long to wait for a member before the block goes to others as well.
    pub(super) fn wait(&self, member: MemberId) -> Duration {
        self.known(member, Instant::now())
            .map_or(FIRST, |known| (known.took * TIMES).clamp(LEAST, MOST))
    }

    /// The one that should answer first; of those of which nothing is known, the nearest. Whoever has failed comes last, and
    /// last of those who failed last.
    fn first(&self, nearest_first: impl Iterator<Item = MemberId>) -> Option<MemberId> {
        let now = Instant::now();
        nearest_first.min_by_key(|member| {
            let known = self.known(*member, now);
            known.map_or((None, Duration::ZERO), |known| (known.failed, known.took))
        })
    }

    fn known(&self, member: MemberId, now: Instant) -> Option<Known> {
        let known = self.0.get(&member).copied();
        known.filter(|known| now.duration_since(known.noted) < STALE)
    }
}

impl Route {
    /// The way of a block to all of `wanted`, of whom those are connected, the nearest first. All that are wanted have a zone.
    pub(super) fn plan(
        (me, home): (MemberId, &Zone),
        (wanted, zones): (Vec<MemberId>, &BTreeMap<MemberId, Zone>),
        connected: &[MemberId],
        answering: &Answering,
        is_large: bool,
    ) -> Self {
        let zone = |member: &MemberId| zones.get(member).unwrap_or(home);
        let is_away = |member: &MemberId| *member != me && zone(member) != home && wanted.contains(member);
        let away: Vec<MemberId> = connected.iter().copied().filter(is_away).collect();
        let to_all = |direct| Self {
            direct,
            ..Self::default()
        };
        let Some(via) = answering.first(away.iter().copied()).filter(|_| is_large) else {
            return to_all(wanted);
        };
        // Two zones have it before it is acknowledged: where none of those is at home, two are sent it from here.
        let second = match wanted.iter().any(|member| zone(member) == home) {
            true => None,
            false => answering.first(away.iter().copied().filter(|member| zone(member) != zone(&via))),
        };
        let (passed, direct): (Vec<_>, Vec<_>) = wanted
            .into_iter()
            .partition(|member| away.contains(member) && *member != via && Some(*member) != second);
        match passed.is_empty() {
            true => to_all(direct),
            false => Self {
                direct,
                via: Some(via),
                passed,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members by number, each in the zone of that name; the first is this one.
    #[track_caller]
    fn check(
        zones: &[(u32, &str)],
        wanted: &[u32],
        here: &[u32],
        is_large: bool,
        route: (&[u32], Option<u32>, &[u32]),
    ) {
        let ids = |numbers: &[u32]| numbers.iter().copied().map(MemberId).collect::<Vec<_>>();
        let zones: BTreeMap<MemberId, Zone> = zones
            .iter()
            .map(|(member, zone)| (MemberId(*member), Zone::parse(zone).unwrap()))
            .collect();
        let me = MemberId(1);
        let mut answering = Answering::default();
        answering.note(MemberId(2), true, Duration::from_secs(2));
        answering.note(MemberId(3), true, Duration::from_secs(1));
        let planned = Route::plan(
            (me, &zones[&me]),
            (ids(wanted), &zones),
            &ids(here),
            &answering,
            is_large,
        );
        let expected = Route {
            direct: ids(route.0),
            via: route.1.map(MemberId),
            passed: ids(route.2),
        };
        assert_eq!(planned, expected);
    }

    #[test]
    fn a_large_block_leaves_home_once_by_way_of_who_answers_first() {
        let zones = [(1, "anna"), (2, "ben"), (3, "cleo")];
        check(&zones, &[1, 2, 3], &[2, 3], true, (&[1, 3], Some(3), &[2]));
        check(&zones, &[1, 2, 3], &[2, 3], false, (&[1, 2, 3], None, &[]));
    }

    #[test]
    fn who_is_not_connected_is_sent_it_in_vain_so_that_it_is_missed() {
        let zones = [(1, "anna"), (2, "ben"), (3, "cleo")];
        check(&zones, &[1, 2, 3], &[2], true, (&[1, 2, 3], None, &[]));
        check(&zones, &[1, 2, 3], &[], true, (&[1, 2, 3], None, &[]));
    }

    #[test]
    fn boxes_at_home_are_sent_it_directly() {
        let zones = [(1, "anna"), (2, "anna"), (3, "cleo"), (4, "cleo")];
        check(&zones, &[2, 3, 4], &[2, 3, 4], true, (&[2, 4], Some(4), &[3]));
        check(&zones, &[1, 2, 3], &[2, 3], true, (&[1, 2, 3], None, &[]));
    }

    #[test]
    fn two_zones_are_sent_it_where_home_is_not_wanted_to_hold_it() {
        let zones = [(1, "anna"), (2, "ben"), (3, "cleo"), (4, "dora")];
        check(&zones, &[2, 3, 4], &[2, 3, 4], true, (&[3, 4], Some(4), &[2]));
        check(&zones, &[2, 3], &[2, 3], true, (&[2, 3], None, &[]));
    }

    #[test]
    fn who_answers_slower_than_before_is_waited_for_longer_and_asked_last() {
        let (mut answering, ben, cleo) = (Answering::default(), MemberId(2), MemberId(3));
        assert_eq!(answering.wait(ben), FIRST);
        answering.note(ben, true, Duration::from_millis(100));
        answering.note(cleo, true, Duration::from_millis(800));
        assert_eq!(answering.wait(ben), LEAST);
        assert_eq!(answering.first([cleo, ben].into_iter()), Some(ben));
        for _ in 0..9 {
            answering.note(ben, true, Duration::from_secs(4));
        }
        assert_eq!(answering.first([ben, cleo].into_iter()), Some(cleo));
        assert!(answering.wait(ben) > Duration::from_secs(9));
    }

    #[tokio::test(start_paused = true)]
    async fn who_refuses_at_once_is_not_taken_for_fast_until_that_is_long_ago() {
        let (mut answering, ben, cleo) = (Answering::default(), MemberId(2), MemberId(3));
        answering.note(ben, false, Duration::from_millis(50));
        answering.note(cleo, true, Duration::from_secs(4));
        assert_eq!(answering.first([ben, cleo].into_iter()), Some(cleo));
        tokio::time::advance(STALE / 2).await;
        answering.note(cleo, true, Duration::from_secs(4));
        tokio::time::advance(STALE / 2).await;
        assert_eq!(answering.first([ben, cleo].into_iter()), Some(ben));
        assert_eq!(answering.wait(ben), FIRST);
    }
}
