//! Promises of sweeps on several boxes, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use super::answer::tell;
use super::wire::Call;
use super::{Swept, Waits};
use crate::cluster::Owner;
use crate::cluster::neighbour_tests::{Wire, body, content, get, object_key, put, slow_put, three};
use crate::model::command::{Action, Command, ObjectCommand, Submission};
use crate::model::{
    Bucket, BucketId, Keeping, MemberId, ObjectHeaders, ObjectRow, OpId, PartNumber, Partition,
    SealedVersion, StorageClass, Timestamp, VersionFacts, WriteCondition, WriteId, row_key,
};
use crate::objects::NewUpload;
use crate::register::Fences;
use crate::seal::seal_block;
use crate::{Store, StoreError, simulation};

fn owners(stores: &[&Store]) -> BTreeSet<Owner> {
    let held = stores
        .iter()
        .flat_map(|store| store.0.disk.references(None, usize::MAX).unwrap());
    held.map(|held| held.owner).collect()
}

/// What a write leaves behind whose gateway lost power before it committed: the write, and who refers to its block.
async fn lost_write(store: &Store, bucket: &Bucket, of: &str) -> (WriteId, Owner) {
    let lease = store.0.lease(bucket, &object_key(of));
    let block = seal_block(store.0.keyring.dedup_key(), content(of, 1).as_bytes());
    store.0.blocks.store(lease.owner(), block).await.unwrap();
    // Nobody frees it.
    lease.keep();
    (lease.write(), lease.owner())
}

/// The row of an object whose only version was stored by this write.
fn row_of(write: WriteId) -> ObjectRow {
    let facts = VersionFacts {
        delete_marker: false,
        ..VersionFacts::marker_for_tests()
    };
    let version = SealedVersion {
        facts,
        write,
        extents: vec![write],
        invocation: None,
        details: Bytes::new(),
    };
    ObjectRow {
        versions: vec![version],
        ..ObjectRow::default()
    }
}

/// Everybody does its share of the last sweep.
async fn swept(stores: &[&Store]) {
    for store in stores {
        while store.sweep().await.is_err() {
            sleep(Duration::from_secs(5)).await;
        }
    }
    // What is freed goes everywhere.
    sleep(Duration::from_secs(30)).await;
}

/// Begins a sweep, of which everybody hears.
async fn begin(store: &Store) {
    store.begin_sweep().await.unwrap();
    sleep(Duration::from_secs(15)).await;
}

#[test]
fn what_a_lost_write_left_is_freed_everywhere_by_the_next_sweep_but_one() {
    simulation::run(1, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        put(&second, &bucket, "film", &content("f", 9)).await.unwrap();
        let film = owners(&stores);
        let (_, lost) = lost_write(&second, &bucket, "lost").await;
        assert!(owners(&stores).contains(&lost));
        begin(&first).await;
        swept(&stores).await;
        assert!(owners(&stores).contains(&lost), "its gateway may still be at it");
        let (_, late) = lost_write(&second, &bucket, "late").await;
        begin(&third).await;
        swept(&stores).await;
        assert!(!owners(&stores).contains(&lost));
        assert!(owners(&stores).contains(&late));
        for store in stores {
            assert_eq!(get(store, &bucket, "film").await.unwrap(), content("f", 9));
        }
        begin(&third).await;
        swept(&stores).await;
        assert_eq!(owners(&stores), film);
    })
    .unwrap();
}

#[test]
fn a_write_may_last_for_one_sweep_and_is_refused_after_two() {
    simulation::run(2, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        let (patient, first_put) = slow_put(&second, &bucket, "patient", Some(content("1", 4)));
        sleep(Duration::from_secs(5)).await;
        begin(&first).await;
        swept(&stores).await;
        patient.send(content("2", 4).into()).unwrap();
        first_put.await.unwrap().unwrap();
        let (endless, second_put) = slow_put(&second, &bucket, "endless", Some(content("1", 4)));
        sleep(Duration::from_secs(5)).await;
        for _ in 0..2 {
            begin(&first).await;
            swept(&stores).await;
        }
        endless.send(content("2", 4).into()).unwrap();
        let refused = second_put.await.unwrap();
        assert!(
            matches!(refused, Err(StoreError::Busy | StoreError::Unavailable)),
            "{refused:?}"
        );
        put(&second, &bucket, "endless", "from the beginning")
            .await
            .unwrap();
        let whole = content("1", 4) + &content("2", 4);
        for store in stores {
            assert_eq!(get(store, &bucket, "patient").await.unwrap(), whole);
            assert_eq!(
                get(store, &bucket, "endless").await.unwrap(),
                "from the beginning"
            );
        }
    })
    .unwrap();
}

#[test]
fn parts_of_open_uploads_stay_however_old_they_are() {
    simulation::run(3, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        let key = object_key("film");
        let new = NewUpload {
            customer: None,
            lock: crate::model::Lock::default(),
            headers: ObjectHeaders::default(),
            class: StorageClass::Standard,
            checksum: None,
            full_object: false,
            initiator: None,
        };
        let upload = second.create_upload(&bucket, &key, new).await.unwrap();
        let body = body(&content("p", 9));
        let number = PartNumber::FIRST;
        second
            .put_part(&bucket, &key, upload, number, body)
            .await
            .unwrap();
        let before = owners(&stores);
        for _ in 0..3 {
            begin(&third).await;
            swept(&stores).await;
        }
        assert_eq!(owners(&stores), before);
    })
    .unwrap();
}

#[test]
fn a_member_that_is_away_delays_a_sweep() {
    simulation::run(4, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        let (_, lost) = lost_write(&second, &bucket, "lost").await;
        begin(&first).await;
        wire.cut(MemberId(3));
        begin(&first).await;
        assert!(matches!(second.sweep().await, Err(StoreError::Unavailable)));
        assert!(owners(&[&second]).contains(&lost));
        wire.mend(MemberId(3));
        sleep(Duration::from_secs(15)).await;
        swept(&stores).await;
        assert!(!owners(&stores).contains(&lost));
    })
    .unwrap();
}

/// A person asks for a sweep at a member until it is done; what was freed for it.
async fn swept_now(store: &Store) -> u64 {
    let freed = |swept: &Swept| {
        swept
            .members
            .values()
            .filter_map(|share| share.freed)
            .sum::<u64>()
    };
    let begun = store.sweep_now(None).await.unwrap();
    let (before, mut last) = (freed(&begun), begun);
    while !last.is_done() {
        sleep(Duration::from_secs(1)).await;
        last = store.sweep_now(Some(last.until)).await.unwrap();
    }
    freed(&last) - before
}

#[test]
fn when_a_person_asks_all_is_gone_that_was_unreferenced_then_and_no_write_under_way_is_refused() {
    simulation::run(8, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        put(&second, &bucket, "film", &content("f", 9)).await.unwrap();
        let film = owners(&stores);
        assert_eq!(swept_now(&first).await, 0);
        let (_, lost) = lost_write(&second, &bucket, "lost").await;
        let (patient, patient_put) = slow_put(&third, &bucket, "patient", Some(content("1", 4)));
        sleep(Duration::from_secs(5)).await;
        let begun = first.sweep_now(None).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        let swept = first.sweep_now(Some(begun.until)).await.unwrap();
        assert_eq!(swept.members[&MemberId(3)].waits, Some(Waits::Writing));
        assert!(owners(&stores).contains(&lost));
        patient.send(content("2", 4).into()).unwrap();
        patient_put.await.unwrap().unwrap();
        while !first.sweep_now(Some(begun.until)).await.unwrap().is_done() {
            sleep(Duration::from_secs(1)).await;
        }
        assert!(!owners(&stores).contains(&lost));
        let whole = content("1", 4) + &content("2", 4);
        assert_eq!(get(&second, &bucket, "patient").await.unwrap(), whole);
        let (_, late) = lost_write(&third, &bucket, "late").await;
        assert!(swept_now(&second).await > 0);
        assert!(!owners(&stores).contains(&late) && owners(&stores).is_superset(&film));
    })
    .unwrap();
}

#[test]
fn who_asks_for_a_sweep_is_told_who_is_away() {
    simulation::run(9, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let bucket = first.buckets().remove(0);
        let (_, lost) = lost_write(&second, &bucket, "lost").await;
        wire.cut(MemberId(3));
        sleep(Duration::from_secs(15)).await;
        let begun = first.sweep_now(None).await.unwrap();
        let mut last = begun;
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            last = first.sweep_now(Some(last.until)).await.unwrap();
        }
        let waits = |member| last.members[&MemberId(member)].waits;
        assert_eq!(waits(3), Some(Waits::Away));
        assert!(!last.is_done());
        assert!(owners(&[&first, &second]).contains(&lost));
        wire.mend(MemberId(3));
        while !first.sweep_now(Some(last.until)).await.unwrap().is_done() {
            sleep(Duration::from_secs(1)).await;
        }
        assert!(!owners(&[&first, &second, &third]).contains(&lost));
    })
    .unwrap();
}

/// What an older holder wrote at one member alone may be brought to light later: it names its blocks all the same.
#[test]
fn what_a_single_member_has_accepted_is_not_freed() {
    simulation::run(5, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        let (write, lost) = lost_write(&second, &bucket, "half").await;
        let row = row_key::object(bucket.id, object_key("half").as_str());
        third.0.partitions.keep(row, &row_of(write)).await.unwrap();
        for _ in 0..2 {
            begin(&first).await;
        }
        swept(&stores).await;
        assert!(owners(&stores).contains(&lost));
    })
    .unwrap();
}

#[test]
fn rows_of_a_bucket_that_is_gone_are_removed_with_their_blocks() {
    simulation::run(6, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let gone = Bucket {
            id: BucketId::new(),
            ..Bucket::clone(&first.buckets()[0])
        };
        let (write, lost) = lost_write(&first, &gone, "late").await;
        let version = row_of(write).versions.remove(0);
        let command = Command::Object(ObjectCommand {
            bucket: gone.id,
            closings: 0,
            keeping: Keeping::default(),
            asked: Timestamp::now(),
            key: object_key("late"),
            action: Action::Put {
                version,
                condition: WriteCondition::None,
            },
            telling: None,
        });
        let (op, sweeps) = (OpId::new(), 0);
        let put = Submission { op, sweeps, command };
        second.0.partitions.submit(put).await.unwrap();
        assert!(owners(&stores).contains(&lost));
        for _ in 0..2 {
            begin(&first).await;
        }
        swept(&stores).await;
        assert_eq!(owners(&stores), BTreeSet::new());
        let row = row_key::object(gone.id, "late");
        let left: Option<ObjectRow> = third.0.partitions.current(&row).await.unwrap();
        assert_eq!(left, None);
    })
    .unwrap();
}

#[test]
fn it_is_noticed_when_a_row_changes_while_others_are_asked() {
    simulation::run(7, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let bucket = first.buckets().remove(0);
        put(&second, &bucket, "film", "before").await.unwrap();
        let partition = Partition::of(bucket.id, &object_key("film"));
        let registers = first.0.partitions.registers();
        let raised = registers.raise(u16::from(partition.0), Fences::default()).await;
        let call = Call {
            ballots: vec![(partition, raised.unwrap())],
            after: Some(Bytes::from_static(&[u8::MAX])),
        };
        sleep(Duration::from_secs(5)).await;
        let seen = |store: &Store| tell(&store.0, call.clone()).unwrap().closed;
        let before: Vec<_> = [&first, &second, &third].map(seen).into();
        assert!(before.iter().all(|closed| closed.len() == 1));
        // Reads may mark what stands as chosen: that changes nothing.
        assert_eq!(get(&third, &bucket, "film").await.unwrap(), "before");
        assert_eq!(before, [&first, &second, &third].map(seen));
        put(&second, &bucket, "film", "after").await.unwrap();
        assert_ne!(before, [&first, &second, &third].map(seen));
    })
    .unwrap();
}
