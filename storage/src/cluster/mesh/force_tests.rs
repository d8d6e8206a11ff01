//! Promises of a mesh that goes on without members that are lost for good, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::neighbour_tests::{
    Wire, assigned, create, founder, get, join, node, owner, put, settled, start,
};
use crate::disk::fault::FaultMedium;
use crate::model::MemberId;
use crate::{StoreError, simulation};

const ANNA: MemberId = MemberId(1);
const BEN: MemberId = MemberId(2);
const CLEO: MemberId = MemberId(3);

#[test]
fn the_last_of_three_homes_goes_on_when_a_person_says_that_the_others_are_lost() {
    simulation::run(1, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let second = join(&wire, &first, "ben").await;
        let third = join(&wire, &first, "cleo").await;
        assigned(&[&first, &second, &third], &[1, 2, 3]).await;
        put(&second, &bucket, "diary", "monday").await.unwrap();
        // A quorum has it, and the third is told as soon as can be.
        sleep(Duration::from_secs(5)).await;
        first.kill();
        second.kill();
        wire.cut(ANNA);
        wire.cut(BEN);
        let read = get(&third, &bucket, "diary").await;
        assert!(matches!(read, Err(StoreError::Unavailable)), "{read:?}");
        let forced = third.force_epoch(&[ANNA, BEN].into()).await.unwrap();
        assert_eq!((forced.partitions, forced.emptied), (257, 0));
        assert_eq!(get(&third, &bucket, "diary").await.unwrap(), "monday");
        put(&third, &bucket, "diary", "tuesday").await.unwrap();
        let members: Vec<_> = third.members().into_iter().map(|(member, _)| member).collect();
        assert_eq!(members, [CLEO]);
        // And the mesh grows again.
        let fourth = join(&wire, &third, "dora").await;
        assigned(&[&third, &fourth], &[3, 4]).await;
        assert_eq!(get(&fourth, &bucket, "diary").await.unwrap(), "tuesday");
    })
    .unwrap();
}

#[test]
fn the_second_of_two_homes_goes_on_without_the_first_also_after_a_restart() {
    simulation::run(2, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let welcome = first.admit(node("ben")).await.unwrap();
        let disk = FaultMedium::new(2);
        let second = start(&wire, welcome.clone(), "ben", &disk).await;
        settled(&[&first, &second], &[1, 2]).await;
        put(&first, &bucket, "diary", "monday").await.unwrap();
        // Anna decides alone, and tells ben as soon as can be.
        sleep(Duration::from_secs(5)).await;
        wire.cut(ANNA);
        first.kill();
        second.kill();
        let second = start(&wire, welcome, "ben", &disk).await;
        sleep(Duration::from_secs(60)).await;
        let write = put(&second, &bucket, "diary", "tuesday").await;
        assert!(write.is_err());
        second.force_epoch(&[ANNA].into()).await.unwrap();
        assert_eq!(get(&second, &bucket, "diary").await.unwrap(), "monday");
        put(&second, &bucket, "diary", "tuesday").await.unwrap();
    })
    .unwrap();
}

#[test]
fn nothing_is_forced_while_somebody_is_here_or_nobody_said_that_somebody_is_lost() {
    simulation::run(3, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        owner(&first).await;
        let second = join(&wire, &first, "ben").await;
        let third = join(&wire, &first, "cleo").await;
        assigned(&[&first, &second, &third], &[1, 2, 3]).await;
        let refused = |lost: &[MemberId]| third.force_preview(&lost.iter().copied().collect());
        assert!(matches!(
            refused(&[ANNA]),
            Err(StoreError::StillHere { member: ANNA })
        ));
        wire.cut(ANNA);
        wire.cut(BEN);
        assert!(matches!(
            refused(&[ANNA]),
            Err(StoreError::AlsoAway { member: BEN })
        ));
        for nobody in [&[][..], &[CLEO], &[MemberId(9)]] {
            assert!(matches!(refused(nobody), Err(StoreError::NoSuchMember)));
        }
        assert_eq!(refused(&[ANNA, BEN]).unwrap().partitions, 257);
    })
    .unwrap();
}

#[test]
fn one_that_was_said_to_be_lost_and_comes_back_says_nothing_of_what_it_has() {
    simulation::run(4, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let second = join(&wire, &first, "ben").await;
        settled(&[&first, &second], &[1, 2]).await;
        put(&first, &bucket, "diary", "monday").await.unwrap();
        wire.cut(ANNA);
        second.force_epoch(&[ANNA].into()).await.unwrap();
        put(&second, &bucket, "diary", "tuesday").await.unwrap();
        wire.mend(ANNA);
        let heard = async {
            while get(&first, &bucket, "diary")
                .await
                .is_ok_and(|read| read == "monday")
            {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), heard)
            .await
            .unwrap();
        assert_eq!(get(&second, &bucket, "diary").await.unwrap(), "tuesday");
    })
    .unwrap();
}
