//! Promises of rows that a voter has missed, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::sleep;

use crate::cluster::neighbour_tests::{Wire, assigned, create, delete, founder, join, owner, put, three};
use crate::model::MemberId;
use crate::register::{Key, Stamp};
use crate::{Store, simulation};

/// The rows and tombstones on the disk of a store.
fn rows(store: &Store) -> BTreeMap<Key, Stamp> {
    let mut rows = BTreeMap::new();
    let registers = store.0.partitions.registers();
    registers
        .heads(|head| {
            rows.insert(Key::copy_from_slice(head.key), head.stamp);
        })
        .unwrap();
    rows
}

async fn alike(stores: &[&Store]) {
    for _ in 0..120 {
        sleep(Duration::from_secs(1)).await;
        if stores.iter().all(|store| rows(store) == rows(stores[0])) {
            return;
        }
    }
    panic!("their rows differ");
}

#[test]
fn who_was_away_gets_the_rows_it_missed_although_nobody_reads_them() {
    simulation::run(1, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        put(&first, &bucket, "gone", "soon").await.unwrap();
        alike(&stores).await;
        wire.cut(MemberId(3));
        for key in ["a", "b", "c"] {
            put(&second, &bucket, key, "small").await.unwrap();
        }
        delete(&first, &bucket, "gone").await;
        sleep(Duration::from_secs(5)).await;
        assert_ne!(rows(&third), rows(&first));
        wire.mend(MemberId(3));
        alike(&stores).await;
        let known = first.0.comparisons.known(&first.0);
        assert!(known.short.is_empty() && known.unknown == 0, "{known:?}");
    })
    .unwrap();
}

#[test]
fn a_row_that_one_home_alone_has_is_known_until_the_other_has_it() {
    simulation::run(2, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let second = join(&wire, &first, "ben").await;
        assigned(&[&first, &second], &[1, 2]).await;
        sleep(Duration::from_secs(10)).await;
        let both = [MemberId(1), MemberId(2)].into();
        let known = || first.0.comparisons.known(&first.0);
        assert_eq!(known().kept, [(both, (0..=256).collect())].into());
        wire.cut(MemberId(2));
        sleep(Duration::from_secs(5)).await;
        assert!(known().short.is_empty(), "{:?}", known());
        put(&first, &bucket, "a", "small").await.unwrap();
        // Until the other is known not to answer.
        sleep(Duration::from_secs(1)).await;
        let short = known().short;
        assert_eq!(short.keys().next(), Some(&[MemberId(1)].into()), "{short:?}");
        wire.mend(MemberId(2));
        alike(&[&first, &second]).await;
        sleep(Duration::from_secs(10)).await;
        assert!(known().short.is_empty(), "{:?}", known());
    })
    .unwrap();
}

#[test]
fn whoever_holds_partitions_soon_need_not_ask_others_about_new_rows() {
    simulation::run(3, async {
        let wire = Wire::default();
        let stores = three(&wire).await;
        let bucket = stores[0].buckets().remove(0);
        for key in ["a", "b", "c", "d"] {
            put(&stores[1], &bucket, key, "small").await.unwrap();
        }
        let uncovered = || -> usize {
            let each = stores.iter().map(|store| store.0.partitions.registers());
            each.map(|registers| registers.uncovered().len()).sum()
        };
        assert!(uncovered() > 0);
        sleep(Duration::from_secs(90)).await;
        assert_eq!(uncovered(), 0);
    })
    .unwrap();
}
