//! Promises of stores that are one mesh, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use crate::cluster::neighbour_tests::{
    Wire, assigned, create, founder, founder_on, get, join, node, object_key, owner, put, settled, start,
};
use crate::disk::fault::FaultMedium;
use crate::disk::forget_rows_on;
use crate::model::{InviteId, MemberId, MemberRow, Role, Timestamp};
use crate::{Forgotten, Parting, Store, StoreError, Welcome, simulation};

#[test]
fn one_box_becomes_three_and_everybody_finds_everything() {
    simulation::run(1, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        put(&first, &bucket, "before", "there").await.unwrap();
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        assert_eq!(second.buckets().len(), 1);
        let third = join(&wire, &second, "cleo").await;
        settled(&[&first, &second, &third], &[1, 2, 3]).await;
        assert_eq!(third.members().len(), 3);
        let bucket = third.buckets().remove(0);
        put(&third, &bucket, "after", "there as well").await.unwrap();
        for store in [&first, &second, &third] {
            for (key, size) in [("before", 5), ("after", 13)] {
                let object = store.object(&bucket, &object_key(key), None).await.unwrap();
                assert_eq!(object.info().size, size);
            }
        }
        // Any one of them may go.
        wire.cut(MemberId(1));
        put(&second, &bucket, "without", "anna").await.unwrap();
        let key = object_key("without");
        assert_eq!(third.object(&bucket, &key, None).await.unwrap().info().size, 4);
    })
    .unwrap();
}

fn guest(key: u8) -> MemberRow {
    MemberRow {
        node: Bytes::from(vec![key; 32]),
        ..node("ben")
    }
}

fn later() -> Timestamp {
    Timestamp::from_millis(Timestamp::now().as_millis() + 3_600_000)
}

#[test]
fn an_invite_lets_one_node_in_and_the_same_one_again() {
    simulation::run(3, async {
        let first = founder(&Wire::default(), "anna").await;
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        let welcome = first.redeem_invite(invite, guest(1)).await.unwrap();
        assert_eq!(welcome.member, MemberId(2));
        assert_eq!(first.redeem_invite(invite, guest(1)).await.unwrap(), welcome);
        assert!(matches!(
            first.redeem_invite(invite, guest(2)).await,
            Err(StoreError::InviteUsed)
        ));
        let members: Vec<_> = first.members().into_iter().map(|(member, _)| member).collect();
        assert_eq!(members, [MemberId(1), MemberId(2)]);
        let redeemed = first.invites().remove(0).1.redeemed.unwrap();
        assert_eq!((redeemed.member, redeemed.node), (MemberId(2), guest(1).node));
    })
    .unwrap();
}

#[test]
fn an_invite_that_was_revoked_has_expired_or_never_was_lets_nobody_in() {
    simulation::run(4, async {
        let first = founder(&Wire::default(), "anna").await;
        let [revoked, expired, unknown] = [1, 2, 3].map(|seed| InviteId::from_bytes([seed; 32]));
        first
            .create_invite(revoked, Role::Trusted, later())
            .await
            .unwrap();
        first
            .create_invite(expired, Role::Trusted, Timestamp::now())
            .await
            .unwrap();
        first.revoke_invite(revoked).await.unwrap();
        assert!(matches!(
            first.revoke_invite(revoked).await,
            Err(StoreError::NoSuchInvite)
        ));
        for invite in [revoked, expired, unknown] {
            assert!(first.redeem_invite(invite, guest(1)).await.is_err());
        }
        assert_eq!(first.members().len(), 1);
    })
    .unwrap();
}

#[test]
fn a_removed_member_does_not_come_back_with_its_old_invite() {
    simulation::run(5, async {
        let first = founder(&Wire::default(), "anna").await;
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        let welcome = first.redeem_invite(invite, guest(1)).await.unwrap();
        first
            .remove_member(welcome.member, Parting::WithWhatItHolds)
            .await
            .unwrap();
        assert!(matches!(
            first.redeem_invite(invite, guest(1)).await,
            Err(StoreError::NoSuchInvite)
        ));
        assert_eq!(first.members().len(), 1);
    })
    .unwrap();
}

#[test]
fn any_member_redeems_an_invite_that_another_made_and_two_at_once_let_one_in() {
    simulation::run(6, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let second = join(&wire, &first, "ben").await;
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        let (here, there) = futures_util::join!(
            first.redeem_invite(invite, guest(1)),
            second.redeem_invite(invite, guest(2))
        );
        assert_eq!(usize::from(here.is_ok()) + usize::from(there.is_ok()), 1);
        assert_eq!(first.members().len(), 3);
    })
    .unwrap();
}

#[test]
fn a_member_without_which_nothing_could_be_decided_is_not_let_go() {
    simulation::run(7, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let second = join(&wire, &first, "ben").await;
        for store in [&first, &second] {
            let refused = store.remove_member(MemberId(1), Parting::WithNothing).await;
            assert!(
                matches!(refused, Err(StoreError::StillNeeded { partitions: 257 })),
                "{refused:?}"
            );
        }
        second
            .remove_member(MemberId(2), Parting::WithNothing)
            .await
            .unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(first.members().len(), 1);
    })
    .unwrap();
}

#[test]
fn a_box_that_joins_and_goes_away_at_once_stops_nobody() {
    simulation::run(8, async {
        let wire = Wire::default();
        let first = founder(&wire, "zoe").await;
        let key = owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        sleep(Duration::from_secs(30)).await;
        wire.cut(second.me());
        sleep(Duration::from_secs(60)).await;
        let bucket = create(&first, "photos", &key).await;
        put(&first, &bucket, "alone", "again").await.unwrap();
        // Once it has stayed for a while it votes, and the first box goes on without it all the same.
        wire.mend(second.me());
        settled(&[&first, &second], &[1, 2]).await;
        wire.cut(second.me());
        put(&first, &bucket, "alone", "once more").await.unwrap();
    })
    .unwrap();
}

#[test]
fn buckets_that_one_key_creates_at_a_time_wait_for_nobody_for_ever() {
    simulation::run(3, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        while second.access_key(&key).is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        for number in 0..30 {
            // Both rely on the row of the access key.
            let names = [format!("photos-{number}"), format!("films-{number}")];
            let created = async {
                futures_util::join!(create(&first, &names[0], &key), create(&second, &names[1], &key))
            };
            let created = timeout(Duration::from_secs(10), Box::pin(created));
            created.await.unwrap();
        }
    })
    .unwrap();
}

#[test]
fn a_bucket_is_deleted_here_or_written_to_elsewhere_and_never_both() {
    let (mut deleted, mut written) = (0, 0);
    for seed in 0..6 {
        let both = simulation::run(seed, async {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            let key = owner(&first).await;
            let second = join(&wire, &first, "ben").await;
            settled(&[&first, &second], &[1, 2]).await;
            let bucket = create(&first, "photos", &key).await;
            // The other box takes the bucket to be open for as long as nobody tells it better.
            while second.bucket(&bucket.name).is_err() {
                sleep(Duration::from_millis(10)).await;
            }
            // From a deletion that comes too late to an object that does, with those between that meet.
            let put = async {
                sleep(Duration::from_millis(40 * seed)).await;
                put(&second, &bucket, "late", "there").await
            };
            let delete = async {
                sleep(Duration::from_millis(20 * (5 - seed))).await;
                first.delete_bucket(&bucket).await
            };
            let (gone, put) = futures_util::join!(delete, put);
            match (&gone, &put) {
                (Ok(()), Err(StoreError::NoSuchBucket)) => {}
                (Err(StoreError::BucketNotEmpty), Ok(())) => {
                    let key = object_key("late");
                    assert_eq!(first.object(&bucket, &key, None).await.unwrap().info().size, 5);
                }
                other => panic!("{other:?}"),
            }
            (gone.is_ok(), put.is_ok())
        });
        let (gone, put) = both.unwrap();
        deleted += u32::from(gone);
        written += u32::from(put);
    }
    // Both ways round were met.
    assert!(deleted > 0 && written > 0, "{deleted} {written}");
}

/// The generations of keys that a box holds.
fn generations(store: &Store) -> usize {
    store.signing_seeds().len()
}

#[test]
fn who_is_removed_lacks_the_keys_that_the_mesh_uses_then_and_who_was_away_learns_them() {
    simulation::run(9, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        let third = join(&wire, &first, "cleo").await;
        let bucket = create(&first, "photos", &key).await;
        while third.bucket(&bucket.name).is_err() {
            sleep(Duration::from_millis(100)).await;
        }
        let invite = InviteId::from_bytes([1; 32]);
        first.create_invite(invite, Role::Trusted, later()).await.unwrap();
        wire.cut(third.me());
        first
            .remove_member(second.me(), Parting::WithWhatItHolds)
            .await
            .unwrap();
        wire.cut(second.me());
        wire.mend(third.me());
        while generations(&third) < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!((generations(&first), generations(&second)), (2, 1));
        assert_eq!(first.signing_seeds(), third.signing_seeds());
        assert!(first.has_newest_keys() && third.has_newest_keys());
        // It may know the seeds of invites that were made in its time.
        assert!(first.invites().is_empty());
        put(&third, &bucket, "new", "there").await.unwrap();
        let new = object_key("new");
        assert_eq!(first.object(&bucket, &new, None).await.unwrap().info().size, 5);
        // Whoever joins now is given all of them, by letter if it has to be.
        let fourth = join(&wire, &first, "dora").await;
        while generations(&fourth) < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(fourth.object(&bucket, &new, None).await.unwrap().info().size, 5);
    })
    .unwrap();
}

#[test]
fn a_removal_that_is_cut_off_anywhere_is_finished_by_whoever_leads() {
    for steps in 0..3 {
        simulation::run(10, async move {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            let second = join(&wire, &first, "ben").await;
            let third = join(&wire, &first, "cleo").await;
            third.decide_removal(second.me(), steps).await.unwrap();
            wire.cut(third.me());
            assert!(third.members().iter().all(|(member, _)| *member != second.me()));
            while generations(&first) < 2 || first.is_parting() {
                sleep(Duration::from_millis(100)).await;
            }
            wire.mend(third.me());
            while generations(&third) < 2 {
                sleep(Duration::from_millis(100)).await;
            }
            assert_eq!(generations(&second), 1);
        })
        .unwrap();
    }
}

#[test]
fn two_removals_at_once_leave_neither_with_the_newest_keys() {
    simulation::run(11, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let second = join(&wire, &first, "ben").await;
        let third = join(&wire, &first, "cleo").await;
        let fourth = join(&wire, &first, "dora").await;
        let gone = |by: &Store, member| {
            let by = by.clone();
            async move { by.remove_member(member, Parting::WithWhatItHolds).await }
        };
        let (one, two) = futures_util::join!(gone(&first, fourth.me()), gone(&third, second.me()));
        one.unwrap();
        two.unwrap();
        while first.signing_seeds() != third.signing_seeds() {
            sleep(Duration::from_millis(100)).await;
        }
        let newest = first.signing_seeds().pop();
        for store in [&second, &fourth] {
            assert!(!store.signing_seeds().contains(newest.as_ref().unwrap()));
        }
        let left: Vec<_> = first.members().into_iter().map(|(member, _)| member).collect();
        assert_eq!(left, [first.me(), third.me()]);
    })
    .unwrap();
}

#[test]
fn who_was_away_while_voters_changed_hears_of_them_from_one_that_introduces_itself() {
    simulation::run(12, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let second = join(&wire, &first, "ben").await;
        while second.members().len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        wire.cut(second.me());
        let third = join(&wire, &first, "cleo").await;
        assert!(first.change_root(&[first.me(), third.me()]).await.unwrap());
        while third.root_epoch() == second.root_epoch() {
            sleep(Duration::from_millis(100)).await;
        }
        // The only one that it knows is gone, and it has not heard of the other.
        wire.cut(first.me());
        wire.mend(second.me());
        while !second.is_cut_off() {
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(second.members().len(), 2);
        second.set_introduced([third.me()].into());
        while second.root_epoch() != third.root_epoch() {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .unwrap();
}

#[test]
fn a_box_that_was_set_back_to_an_older_disk_says_nothing_of_rows_until_it_takes_its_place_anew() {
    simulation::run(31, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let second = join(&wire, &first, "ben").await;
        let welcome = first.admit(node("cleo")).await.unwrap();
        let disk = FaultMedium::new(3);
        let third = start(&wire, welcome.clone(), "cleo", &disk).await;
        assigned(&[&first, &second, &third], &[1, 2, 3]).await;
        put(&first, &bucket, "diary", "monday").await.unwrap();
        let backup = disk.back_up();
        // The newest is with anna and cleo alone.
        wire.cut(MemberId(2));
        put(&first, &bucket, "diary", "tuesday").await.unwrap();
        third.kill();
        wire.mend(MemberId(2));
        let third = start(&wire, welcome, "cleo", &backup).await;
        let read = get(&third, &bucket, "diary").await;
        assert!(
            matches!(read, Err(StoreError::Forgotten(Forgotten::Older { .. }))),
            "{read:?}"
        );
        assert_eq!(get(&second, &bucket, "diary").await.unwrap(), "tuesday");
        // It stays so, whoever is there when it starts again.
        sleep(Duration::from_secs(20)).await;
        third.kill();
        let alone = Wire::default();
        let welcome = first.readmit(MemberId(3)).await.unwrap();
        let lonely = start(
            &alone,
            Welcome {
                member: MemberId(3),
                ..welcome.clone()
            },
            "cleo",
            &backup,
        )
        .await;
        assert!(lonely.forgotten().is_some());
        lonely.kill();
        forget_rows_on(&*backup.mount()).unwrap();
        let anew = start(&wire, welcome, "cleo", &backup).await;
        assert_eq!(anew.me(), MemberId(4));
        second
            .remove_member(MemberId(3), Parting::WithWhatItHolds)
            .await
            .unwrap();
        assigned(&[&first, &second, &anew], &[1, 2, 4]).await;
        wire.cut(MemberId(1));
        assert_eq!(get(&anew, &bucket, "diary").await.unwrap(), "tuesday");
        put(&anew, &bucket, "diary", "wednesday").await.unwrap();
        assert_eq!(get(&second, &bucket, "diary").await.unwrap(), "wednesday");
    })
    .unwrap();
}

#[test]
fn a_box_that_the_others_cannot_do_without_is_not_given_another_place() {
    simulation::run(32, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        let needed = second.readmit(MemberId(1)).await;
        assert!(
            matches!(needed, Err(StoreError::StillNeeded { .. })),
            "{needed:?}"
        );
        assert_eq!(first.readmit(MemberId(2)).await.unwrap().member, MemberId(3));
        // Asked once more, by a box that has a place by then.
        let late = first.readmit(MemberId(2)).await;
        assert!(matches!(late, Err(StoreError::Conflict)), "{late:?}");
    })
    .unwrap();
}

#[test]
fn a_box_that_finds_nobody_says_nothing_of_rows_until_somebody_remembers() {
    simulation::run(33, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let second = join(&wire, &first, "ben").await;
        let welcome = first.admit(node("cleo")).await.unwrap();
        let disk = FaultMedium::new(3);
        let third = start(&wire, welcome.clone(), "cleo", &disk).await;
        assigned(&[&first, &second, &third], &[1, 2, 3]).await;
        put(&first, &bucket, "diary", "monday").await.unwrap();
        let backup = disk.back_up();
        // With anna and cleo alone.
        wire.cut(MemberId(2));
        put(&first, &bucket, "diary", "tuesday").await.unwrap();
        third.kill();
        wire.mend(MemberId(2));
        wire.cut(MemberId(3));
        let third = start(&wire, welcome, "cleo", &backup).await;
        sleep(Duration::from_secs(60)).await;
        let read = get(&third, &bucket, "diary").await;
        assert!(matches!(read, Err(StoreError::Unavailable)), "{read:?}");
        wire.mend(MemberId(3));
        let why = timeout(Duration::from_secs(60), third.until_forgotten()).await;
        assert!(matches!(why, Ok(Forgotten::Older { .. })), "{why:?}");
    })
    .unwrap();
}

#[test]
fn a_founder_whose_rows_are_older_than_its_seat_does_not_take_itself_for_alone() {
    simulation::run(34, async {
        let wire = Wire::default();
        let disk = FaultMedium::new(1);
        let first = founder_on(&disk, &wire, "anna", []).await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let backup = disk.back_up();
        let all_files = backup.back_up();
        join(&wire, &first, "ben").await;
        put(&first, &bucket, "diary", "monday").await.unwrap();
        first.kill();
        let named = [MemberId(1), MemberId(2)];
        let back = founder_on(&backup, &wire, "anna", named).await;
        assert_eq!(back.forgotten(), Some(Forgotten::KnowsNobody));
        let read = get(&back, &bucket, "diary").await;
        assert!(matches!(read, Err(StoreError::Forgotten(_))), "{read:?}");
        back.kill();
        // Set back with all of its files, it hears of it from whoever proves to be a member.
        let back = founder_on(&all_files, &wire, "anna", []).await;
        let read = get(&back, &bucket, "diary").await;
        assert!(matches!(read, Err(StoreError::NoSuchKey)), "{read:?}");
        back.note_member(MemberId(2));
        assert_eq!(back.forgotten(), Some(Forgotten::KnowsNobody));
        back.kill();
        let whole = founder_on(&disk, &wire, "anna", named).await;
        assert_eq!(whole.forgotten(), None);
        assert_eq!(get(&whole, &bucket, "diary").await.unwrap(), "monday");
    })
    .unwrap();
}

#[test]
fn a_box_that_starts_when_all_it_knows_are_gone_asks_whoever_introduces_itself() {
    simulation::run(35, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let welcome = first.admit(node("ben")).await.unwrap();
        let disk = FaultMedium::new(2);
        let second = start(&wire, welcome.clone(), "ben", &disk).await;
        while second.members().len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        second.kill();
        wire.cut(MemberId(2));
        let third = join(&wire, &first, "cleo").await;
        assert!(first.change_root(&[first.me(), third.me()]).await.unwrap());
        while third.root_epoch() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        wire.cut(first.me());
        wire.mend(MemberId(2));
        let second = start(&wire, welcome, "ben", &disk).await;
        while !second.is_cut_off() {
            sleep(Duration::from_secs(1)).await;
        }
        second.set_introduced([third.me()].into());
        let caught_up = async {
            while second.root_epoch() != third.root_epoch() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(120), caught_up).await.unwrap();
    })
    .unwrap();
}
