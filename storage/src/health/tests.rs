//! Promises about counting copies: of the pure decision in tables, and of stores in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use super::copies::{Said, World, copies};
use super::report::{Amount, BlocksReport, Kept, Report, RowsKept, RowsReport};
use super::{Copies, Unknown};
use crate::cluster::ROOT_PARTITION;
use crate::cluster::neighbour_tests::{Wire, assigned, content, create, founder, join, node, owner, put};
use crate::model::{MemberId, MemberRow, Timestamp, Zone};
use crate::placement::{self, Assignment, Member, Policy, Presence};
use crate::{Store, simulation};

const WHOLE: u32 = 1_000_000;

fn zones(names: &[&str]) -> BTreeSet<Zone> {
    names.iter().map(|name| Zone::parse(name).unwrap()).collect()
}

/// An assignment to these members, which have been here for long.
fn assignment(members: &BTreeMap<MemberId, MemberRow>) -> Assignment {
    let since = Timestamp::from_millis(0);
    let members: Vec<Member> = members
        .iter()
        .map(|(member, row)| Member::of(*member, row, Presence::Here { since }))
        .collect();
    let proposal = placement::propose(&placement::Mesh {
        members: &members,
        policy: &Policy::default(),
        current: None,
        stored: 0,
        now: Timestamp::from_millis(1 << 40),
    });
    proposal.unwrap().next.unwrap()
}

/// What a member says that holds 2,560 bytes, all of them proven, and knows that all rows are in these zones.
fn well(rows: &[&str]) -> Report {
    Report {
        assignment: 7,
        blocks: BlocksReport {
            used: 2560,
            proven_millionths: WHOLE,
            ..BlocksReport::default()
        },
        rows: RowsReport {
            kept: vec![RowsKept {
                zones: zones(rows),
                partitions: (0..=ROOT_PARTITION).collect(),
            }],
            compared: Some(Timestamp::from_millis(5)),
            ..RowsReport::default()
        },
        ..Report::default()
    }
}

/// What follows where members, numbered from 1 and each in a home of its own, say this; or said it before.
fn judged(homes: &[(&str, Option<(Report, bool)>)]) -> Copies {
    let numbered = || (1..).map(MemberId).zip(homes);
    let members: BTreeMap<MemberId, MemberRow> = numbered()
        .map(|(member, (zone, _))| (member, node(zone)))
        .collect();
    let said = numbered().filter_map(|(member, (_, said))| {
        let (report, now) = said.clone()?;
        let at = Timestamp::from_millis(9);
        Some((member, Said { report, at, now }))
    });
    copies(&World {
        me: MemberId(1),
        members: &members,
        assignment: Some((7, &assignment(&members))),
        said: &said.collect(),
    })
}

#[test]
fn two_homes_that_have_everything_lose_nothing_with_either_and_everything_with_both() {
    let both = ["anna", "ben"];
    let copies = judged(&[
        ("anna", Some((well(&both), true))),
        ("ben", Some((well(&both), true))),
    ]);
    assert_eq!((copies.least, copies.goal, copies.unknown.len()), (2, 2, 0));
    for home in both {
        assert!(copies.lost_with(&zones(&[home])).is_nothing(), "{home}");
    }
    let all = copies.lost_with(&zones(&both));
    assert_eq!((all.placed_bytes, all.partitions), (2560, 257));
    assert_eq!(copies.compared, Some(Timestamp::from_millis(5)));
}

#[test]
fn what_is_noted_is_lost_with_the_homes_that_are_known_to_have_it() {
    let mut anna = well(&["anna", "ben", "cleo"]);
    let amount = |count, bytes| Amount {
        count,
        bytes,
        since: Some(Timestamp::from_millis(3)),
    };
    let kept = |names: &[&str], count| Kept {
        zones: zones(names),
        amount: amount(count, count * 10),
    };
    anna.blocks.kept = vec![kept(&["anna"], 1), kept(&["anna", "ben"], 4)];
    anna.blocks.owed = [(MemberId(2), amount(1, 10)), (MemberId(3), amount(5, 50))].into();
    anna.rows.short = vec![kept(&["ben"], 2)];
    let well = || Some((well(&["anna", "ben", "cleo"]), true));
    let copies = judged(&[("anna", Some((anna, true))), ("ben", well()), ("cleo", well())]);
    assert_eq!(copies.least, 3);
    let lost = |names: &[&str]| {
        let loss = copies.lost_with(&zones(names));
        (loss.blocks.count, loss.changes.count)
    };
    assert_eq!(
        [
            lost(&["anna"]),
            lost(&["ben"]),
            lost(&["anna", "ben"]),
            lost(&["cleo"])
        ],
        [(1, 0), (0, 2), (5, 2), (0, 0)]
    );
    let owed = |member| copies.members[&MemberId(member)].blocks.bytes;
    assert_eq!((owed(1), owed(2), owed(3)), (0, 10, 50));
}

#[test]
fn what_nobody_says_is_not_known() {
    let both = || well(&["anna", "ben"]);
    let silent = Unknown::Silent(MemberId(2));
    let never = judged(&[("anna", Some((well(&["anna"]), true))), ("ben", None)]);
    assert_eq!((never.least, never.unknown), (1, vec![silent.clone()]));
    // What a member said before it went away says nothing about rows now, unless another says so as well.
    let before = judged(&[("anna", Some((both(), true))), ("ben", Some((both(), false)))]);
    assert_eq!((before.least, before.unknown), (2, vec![silent.clone()]));
    let minority = judged(&[
        (
            "anna",
            Some((
                Report {
                    rows: RowsReport::default(),
                    ..both()
                },
                true,
            )),
        ),
        ("ben", Some((both(), false))),
    ]);
    assert_eq!(minority.unknown, [silent, Unknown::Rows { partitions: 257 }]);
    let mut walking = both();
    walking.blocks.proven_millionths = 250_000;
    let walking = judged(&[("anna", Some((walking, true))), ("ben", Some((both(), true)))]);
    let unproven = Unknown::Unproven {
        member: MemberId(1),
        proven_millionths: 250_000,
        bytes: 1920,
    };
    assert_eq!(walking.unknown, [unproven]);
    assert_eq!(walking.members[&MemberId(2)].unproven_bytes, 1920);
    // Where a directory is missing nothing is known of what was taken in.
    let mut ailing = both();
    ailing.blocks.directories_failed = 1;
    ailing.blocks.used = 0;
    let ailing = judged(&[("anna", Some((both(), true))), ("ben", Some((ailing, true)))]);
    assert!(matches!(
        ailing.unknown[..],
        [Unknown::Unproven {
            member: MemberId(2),
            proven_millionths: 0,
            ..
        }]
    ));
    // By another assignment nothing is proven.
    let older = judged(&[
        (
            "anna",
            Some((
                Report {
                    assignment: 6,
                    ..both()
                },
                true,
            )),
        ),
        ("ben", Some((both(), true))),
    ]);
    assert!(matches!(
        older.unknown[..],
        [Unknown::Unproven {
            proven_millionths: 0,
            ..
        }]
    ));
}

/// Waits until this is so.
async fn known(store: &Store, is_so: impl Fn(&Copies) -> bool) -> Copies {
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        let copies = store.copies().await.unwrap();
        if is_so(&copies) {
            return copies;
        }
    }
    panic!("{:?}", store.copies().await);
}

#[test]
fn a_write_that_is_in_one_home_only_is_known_as_that_until_the_other_has_it() {
    simulation::run(1, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        put(&first, &bucket, "before", &content("b", 3)).await.unwrap();
        let alone = first.copies().await.unwrap();
        assert_eq!((alone.least, alone.goal, alone.unknown.len()), (1, 1, 0));
        let second = join(&wire, &first, "ben").await;
        assigned(&[&first, &second], &[1, 2]).await;
        let is_well = |copies: &Copies| {
            copies.least == 2
                && copies.kept.is_empty()
                && copies.changes.is_empty()
                && copies.unknown.is_empty()
        };
        for store in [&first, &second] {
            let copies = known(store, is_well).await;
            assert!(copies.lost_with(&zones(&["anna"])).is_nothing(), "{copies:?}");
        }
        wire.cut(MemberId(2));
        let away = first.copies().await.unwrap();
        assert!(
            away.least == 2 && away.kept.is_empty() && away.changes.is_empty(),
            "{away:?}"
        );
        assert_eq!(away.unknown, [Unknown::Silent(MemberId(2))]);
        put(&first, &bucket, "after", &content("a", 3)).await.unwrap();
        let is_short = |copies: &Copies| !copies.kept.is_empty() && !copies.changes.is_empty();
        let short = known(&first, is_short).await;
        let loss = short.lost_with(&zones(&["anna"]));
        assert!(
            loss.blocks.count >= 3 && loss.blocks.bytes > 0 && loss.changes.count >= 1,
            "{loss:?}"
        );
        assert!(short.lost_with(&zones(&["ben"])).is_nothing());
        let ben = &short.members[&MemberId(2)];
        assert_eq!((ben.blocks, ben.now), (loss.blocks, false));
        // Whoever is left without a quorum does not know what the other has written.
        let left = second.copies().await.unwrap();
        assert!(left.unknown.contains(&Unknown::Silent(MemberId(1))), "{left:?}");
        wire.mend(MemberId(2));
        known(&first, is_well).await;
    })
    .unwrap();
}
