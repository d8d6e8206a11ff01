//! What is proposed as members join, drain, stay away and come back.

use super::*;

/// Member and votes of each voter of the first partition.
fn votes(world: &World) -> Vec<(u32, u8)> {
    let voters = world.assignment().rows.voters(Partition(0));
    voters.iter().map(|vote| (vote.member.0, vote.votes)).collect()
}

#[test]
fn one_box_holds_everything() {
    let world = World::placed(&[(0, 1)]);
    assert_eq!(
        (world.blocks(), world.rows(), votes(&world)),
        (vec![256], vec![256], vec![(0, 1)])
    );
}

#[test]
fn a_second_home_gets_a_copy_of_everything_after_ten_minutes() {
    let mut world = World::placed(&[(0, 1)]);
    let joined = world.join(1, 4);
    world.pass(9 * MINUTE);
    let proposal = world.propose().unwrap();
    let until = Timestamp::from_millis(world.now + MINUTE);
    assert_eq!(
        (proposal.next, proposal.waits),
        (
            None,
            vec![Wait::Settling {
                member: joined,
                until
            }]
        )
    );
    world.pass(MINUTE);
    assert_eq!(
        world.act(),
        [Reason::Joined(joined), Reason::Copies { from: 1, to: 2 }]
    );
    assert_eq!((world.blocks(), world.rows()), (vec![256, 256], vec![256, 256]));
    // The tie-break stays where it was, with the smaller box.
    assert_eq!(votes(&world), [(0, 2), (1, 1)]);
}

#[test]
fn a_named_home_gets_the_tie_break_and_nothing_is_copied() {
    let mut world = World::placed(&[(0, 4), (1, 1)]);
    assert_eq!(votes(&world), [(0, 2), (1, 1)]);
    let before = world.assignment().clone();
    world.policy.tie_break = Some(zone_named(1));
    assert_eq!(world.act(), [Reason::Spread]);
    assert_eq!(
        (votes(&world), world.copied_since(&before)),
        (vec![(0, 1), (1, 2)], 0)
    );
    world.policy.tie_break = Some(zone_named(7));
    assert_eq!(world.propose(), Err(PlacementError::NoSuchZone(zone_named(7))));
}

#[test]
fn two_boxes_at_the_tie_break_share_its_votes() {
    let world = World::placed(&[(0, 1), (0, 1), (1, 1)]);
    assert_eq!(votes(&world), [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn three_homes_have_three_copies_and_three_votes() {
    let world = World::placed(&[(0, 1), (1, 2), (2, 3)]);
    assert_eq!(world.blocks(), [256, 256, 256]);
    assert_eq!(votes(&world), [(0, 1), (1, 1), (2, 1)]);
}

#[test]
fn vaults_hold_blocks_and_no_rows_and_witnesses_neither() {
    let mut world = World::new(&[(0, 1), (1, 1), (2, 1)]);
    world.member(1).node.role = Role::Vault;
    world.member(2).node.role = Role::Witness;
    world.act();
    assert_eq!(
        (world.blocks(), world.rows()),
        (vec![256, 256, 0], vec![256, 0, 0])
    );
}

#[test]
fn an_absence_of_a_day_changes_nothing_and_of_three_days_only_what_can_be_helped() {
    let mut world = World::placed(&[(0, 1), (1, 1), (2, 1)]);
    world.goes_away(2);
    for _ in 0..40 {
        world.pass(DAY);
        assert_eq!(world.act(), [], "no home is left for a third copy");
    }
    world.comes_back(2);
    assert_eq!(world.act(), []);
}

#[test]
fn a_member_is_replaced_after_three_days_if_another_home_can_hold_its_copies() {
    let mut world = World::placed(&[(0, 1), (1, 1), (2, 1), (3, 1)]);
    let before = world.assignment().clone();
    let held = world.blocks()[3];
    world.goes_away(3);
    world.pass(3 * DAY - 1);
    let until = Timestamp::from_millis(world.now + 1);
    let proposal = world.propose().unwrap();
    let member = MemberId(3);
    assert_eq!(
        (proposal.next, proposal.waits[0].clone()),
        (None, Wait::Away { member, until })
    );
    world.pass(1);
    assert_eq!(world.act(), [Reason::Lost(member)]);
    assert_eq!(
        (world.blocks()[3], world.copied_since(&before), world.copies()),
        (0, held, (3, 3))
    );
    // A friend who returns is welcome, and gets a share again.
    world.pass(30 * DAY);
    world.comes_back(3);
    assert_eq!(world.act(), []);
    world.pass(10 * MINUTE);
    assert_eq!(world.act()[0], Reason::Joined(member));
}

#[test]
fn one_zone_a_day_is_replaced() {
    let mut world = World::placed(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
    world.goes_away(4);
    world.pass(1);
    world.goes_away(5);
    world.pass(3 * DAY);
    assert_eq!(world.act(), [Reason::Lost(MemberId(4))]);
    let until = Timestamp::from_millis(world.now + DAY);
    let wait = Wait::NextZone {
        zone: zone_named(5),
        until,
    };
    assert!(world.propose().unwrap().waits.contains(&wait));
    world.pass(DAY);
    assert_eq!(world.act(), [Reason::Lost(MemberId(5))]);
    assert_eq!((world.copies(), world.zones_least()), ((3, 3), (3, 3)));
}

#[test]
fn rows_wait_while_their_quorum_is_away() {
    let mut world = World::placed(&[(0, 2), (1, 1)]);
    world.policy.tie_break = Some(zone_named(0));
    world.goes_away(0);
    world.join(1, 1);
    world.pass(4 * DAY);
    let before = world.rows();
    let waits = world.propose().unwrap().waits;
    assert!(waits.contains(&Wait::QuorumAway { partitions: 256 }), "{waits:?}");
    world.act();
    assert_eq!(world.rows(), before);
}

#[test]
fn a_draining_member_hands_over_what_fits_elsewhere_and_keeps_the_rest() {
    let mut world = World::placed(&[(0, 1), (0, 1)]);
    world.stored = 3 * TB / 2;
    world.member(1).draining = true;
    assert_eq!(world.act(), [Reason::Left(MemberId(1))]);
    let kept = world.blocks()[1];
    assert!((80..=100).contains(&kept), "{kept}");
    let wait = Wait::NoRoom {
        member: MemberId(1),
        partitions: kept,
    };
    assert_eq!(world.propose().unwrap().waits, [wait]);
    world.join(0, 1);
    world.pass(HOUR);
    world.act();
    assert_eq!((world.blocks()[1], world.copies()), (0, (1, 1)));
}

#[test]
fn nothing_is_forgotten_when_all_drain() {
    let mut world = World::placed(&[(0, 1), (1, 1)]);
    world.member(0).draining = true;
    world.member(1).draining = true;
    assert_eq!(world.propose(), Err(PlacementError::NobodyReady));
}

#[test]
fn a_removed_member_is_replaced_once_somebody_is_there_who_can() {
    let mut world = World::placed(&[(0, 1), (0, 1)]);
    world.goes_away(1);
    world.pass(25 * HOUR);
    world.remove(0);
    assert_eq!(world.propose(), Err(PlacementError::NobodyReady));
    world.comes_back(1);
    world.act();
    assert_eq!(world.blocks(), [256]);
}

#[test]
fn a_third_copy_that_does_not_fit_is_not_made() {
    let mut world = World::placed(&[(0, 10), (1, 10)]);
    world.stored = 2 * TB;
    world.join(2, 1);
    world.pass(HOUR);
    world.act();
    assert_eq!(world.copies(), (2, 2));
    assert!(world.blocks()[2] > 0);
}

#[test]
fn balancing_moves_a_twentieth_a_day_until_ten_percent_are_left() {
    let mut world = World::placed(&[(0, 4), (0, 4), (1, 8)]);
    world.member(0).node.capacity = TB;
    let mut days = 0;
    loop {
        let before = world.assignment().clone();
        world.pass(DAY);
        let reasons = world.act();
        if reasons.is_empty() {
            break;
        }
        let moved = world.copied_since(&before);
        assert_eq!(reasons, [Reason::Balanced { moved }]);
        assert!((1..=25).contains(&moved), "{moved}");
        world.pass(DAY - 1);
        assert_eq!(world.act(), []);
        world.pass(1);
        days += 1;
    }
    let due = 256 / 5;
    assert!(
        days >= 3 && world.blocks()[0] <= due * 11 / 10 + 1,
        "{days} {:?}",
        world.blocks()
    );
}

#[test]
fn a_clock_from_the_future_stops_nothing() {
    let mut world = World::placed(&[(0, 4), (0, 4)]);
    world.member(0).node.capacity = TB;
    world.pass(1000 * DAY);
    assert_eq!(world.act().len(), 1);
    world.now -= 1000 * DAY;
    assert_eq!(world.propose().unwrap().reasons.len(), 1);
}

#[test]
fn what_cannot_be_placed_says_why() {
    #[track_caller]
    fn check(change: impl Fn(&mut World), expected: PlacementError) {
        let mut world = World::new(&[(0, 1), (1, 1)]);
        change(&mut world);
        assert_eq!(world.propose(), Err(expected));
    }
    let both = |world: &mut World, role| {
        world.member(0).node.role = role;
        world.member(1).node.role = role;
    };
    check(|world| world.members.clear(), PlacementError::NoMembers);
    check(
        |world| world.member(1).node.member = MemberId(0),
        PlacementError::Twice(MemberId(0)),
    );
    check(
        |world| both(world, Role::Witness),
        PlacementError::NobodyHoldsBlocks { members: 2 },
    );
    check(
        |world| both(world, Role::Vault),
        PlacementError::NobodyHoldsRows { members: 2 },
    );
    check(
        |world| {
            world.member(0).node.capacity = 0;
            world.member(1).node.capacity = 0;
        },
        PlacementError::NoCapacity { members: 2 },
    );
    check(
        |world| {
            world.goes_away(0);
            world.goes_away(1);
        },
        PlacementError::NobodyReady,
    );
}

#[test]
fn a_moment_s_absence_in_the_tie_break_home_moves_no_votes() {
    let mut world = World::placed(&[(0, 2), (0, 1), (1, 1), (1, 1)]);
    world.policy.tie_break = Some(zone_named(0));
    world.act();
    world.policy.tie_break = None;
    assert_eq!(votes(&world).len(), 3);
    world.goes_away(1);
    for hours in [1, 24, 46] {
        world.pass(hours * HOUR);
        assert_eq!(world.act(), [], "after {hours} hours more");
    }
    world.pass(HOUR);
    assert_eq!(world.act(), [Reason::Lost(MemberId(1))]);
    assert_eq!(world.rows(), [256, 0, 256, 256]);
}

#[test]
fn who_votes_for_a_home_whose_other_box_is_lost_is_settled_in_one_step() {
    let mut world = World::placed(&[(0, 1), (0, 2)]);
    world.goes_away(0);
    for _ in 0..2 {
        world.join(3, 15);
    }
    world.pass(75 * HOUR);
    world.act();
    // The home that could go on alone still can.
    assert_eq!(world.rows()[..2], [0, 256]);
    assert!(Partition::all().all(|partition| {
        let voters = world.assignment().rows.voters(partition);
        voters
            .iter()
            .any(|vote| vote.member == MemberId(1) && vote.votes == 2)
    }));
}

#[test]
fn two_newcomers_in_a_home_share_the_rows_that_can_change_hands() {
    let mut world = World::placed(&[(0, 1), (0, 1), (0, 1), (0, 1)]);
    world.goes_away(1);
    world.goes_away(2);
    world.join(4, 1);
    world.pass(HOUR);
    world.act();
    assert_eq!(
        world.rows()[4],
        128,
        "half of all partitions have their quorum away"
    );
    world.join(4, 1);
    world.pass(HOUR);
    assert_eq!(world.act(), [Reason::Joined(MemberId(5))]);
    assert_eq!(world.rows()[4..], [64, 64]);
}

#[test]
fn while_homes_are_lost_the_others_hold_what_they_can_and_share_it_without_crowding() {
    let mut world = World::placed(&[(2, 1), (0, 1), (1, 1), (3, 1), (1, 1)]);
    world.goes_away(2);
    world.goes_away(3);
    world.pass(75 * HOUR);
    world.act();
    world.remove(4);
    world.act();
    let voters_of = |world: &World, partition| -> Vec<u32> {
        let voters = world.assignment().rows.voters(partition);
        voters.iter().map(|vote| vote.member.0).collect()
    };
    let pairs: Vec<_> = Partition::all()
        .filter(|partition| voters_of(&world, *partition) == [0, 1])
        .collect();
    assert!(!pairs.is_empty(), "what the removed one held has no third voter");
    let newcomer = world.join(0, 1).0;
    world.pass(25 * HOUR);
    world.act();
    for partition in pairs {
        assert_eq!(voters_of(&world, partition), [0, 1, newcomer]);
    }
}

#[test]
fn what_a_draining_box_cannot_hand_over_stays_and_its_votes_go_while_another_is_lost() {
    let mut world = World::placed(&[(1, 1), (0, 1), (3, 1), (2, 1)]);
    world.stored = 29 * TB;
    world.goes_away(3);
    world.pass(100 * HOUR);
    world.act();
    world.member(0).draining = true;
    assert!(world.act().contains(&Reason::Left(MemberId(0))));
    assert_eq!(world.rows(), [0, 256, 256, 0]);
    assert_eq!(
        world.copies().0,
        3,
        "nobody gives up a copy that has no other place"
    );
}

#[test]
fn rows_left_without_a_quorum_by_boxes_that_are_away_are_counted_so_in_the_same_step() {
    let mut world = World::placed(&[(0, 1), (0, 1), (0, 1), (0, 1), (1, 1), (0, 1)]);
    world.goes_away(0);
    world.goes_away(1);
    assert_eq!(world.act(), []);
    world.member(2).draining = true;
    assert!(world.act().contains(&Reason::Left(MemberId(2))));
}
