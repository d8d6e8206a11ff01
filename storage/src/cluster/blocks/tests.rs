//! Promises of blocks on several boxes, in a simulated world.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{sleep, timeout};

use super::wire::{Answer, Call, Pair};
use crate::cluster::neighbour_tests::{
    Wire, assigned, content, create, delete, founder, get, join, object_key, owner, put, settled, three,
    try_delete,
};
use crate::disk::fault::Random;
use crate::model::{BlockId, Bucket, MemberId};
use crate::simulation;
use crate::{Parting, Store, StoreError};

/// Who holds which references.
fn held(stores: &[&Store]) -> BTreeMap<Pair, BTreeSet<MemberId>> {
    let mut held: BTreeMap<Pair, BTreeSet<MemberId>> = BTreeMap::new();
    for store in stores {
        for reference in store.0.disk.references(None, usize::MAX).unwrap() {
            let pair = (reference.owner, BlockId(reference.id));
            held.entry(pair).or_default().insert(store.0.me);
        }
    }
    held
}

/// What is not where the assignment wants it.
fn astray(stores: &[&Store]) -> BTreeMap<Pair, BTreeSet<MemberId>> {
    let view = stores[0].0.mesh.view();
    let blocks = &view.assignment.as_ref().unwrap().value.blocks;
    let mut held = held(stores);
    held.retain(|(_, id), members| {
        let wanted: BTreeSet<MemberId> = blocks.holders(id).iter().copied().collect();
        *members != wanted
    });
    held
}

/// Waits until every reference is where it is wanted, and nowhere else.
async fn in_place(stores: &[&Store]) {
    for _ in 0..600 {
        // What was displaced just now is on its way to the releaser.
        sleep(Duration::from_secs(1)).await;
        if astray(stores).is_empty() && stores.iter().all(|store| store.is_settled()) {
            return;
        }
    }
    panic!("not where they are wanted: {:?}", astray(stores));
}

#[test]
fn one_box_becomes_three_and_everybody_has_every_block() {
    simulation::run(1, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        let bucket = create(&first, "photos", &key).await;
        let (small, large) = (content("s", 1), content("l", 9));
        put(&first, &bucket, "small", &small).await.unwrap();
        put(&first, &bucket, "large", &large).await.unwrap();
        let second = join(&wire, &first, "ben").await;
        assigned(&[&first, &second], &[1, 2]).await;
        in_place(&[&first, &second]).await;
        assert!(
            held(&[&first, &second])
                .values()
                .all(|members| members.len() == 2)
        );
        let third = join(&wire, &second, "cleo").await;
        settled(&[&first, &second, &third], &[1, 2, 3]).await;
        let stores = [&first, &second, &third];
        let bucket = third.buckets().remove(0);
        let after = content("a", 9);
        put(&third, &bucket, "after", &after).await.unwrap();
        for store in stores {
            for (key, content) in [("small", &small), ("large", &large), ("after", &after)] {
                assert_eq!(get(store, &bucket, key).await.unwrap(), *content);
            }
        }
        in_place(&stores).await;
        assert!(held(&stores).values().all(|members| members.len() == 3));
        // Any two of them may go where only reads of blocks count.
        wire.cut(MemberId(1));
        assert_eq!(get(&third, &bucket, "large").await.unwrap(), large);
    })
    .unwrap();
}

/// Text that does not become shorter than half.
fn noise(of: u64, blocks: usize) -> String {
    let words = (0..blocks * 16).map(|word| blake3::hash(&[of, word as u64].map(u64::to_le_bytes).concat()));
    words.map(|word| word.to_string()).collect()
}

#[test]
fn a_large_object_leaves_home_once_and_reaches_every_home() {
    simulation::run(21, async {
        let wire = Wire::default();
        let stores = three(&wire).await;
        let [first, second, third] = &stores;
        let stores = [first, second, third];
        let bucket = first.buckets().remove(0);
        in_place(&stores).await;
        let film = noise(1, 40);
        let before = [1, 2, 3].map(|member| wire.sent(MemberId(member)));
        put(first, &bucket, "film", &film).await.unwrap();
        in_place(&stores).await;
        let after = [1, 2, 3].map(|member| wire.sent(MemberId(member)));
        let sent: Vec<usize> = after
            .iter()
            .zip(before)
            .map(|(after, before)| after - before)
            .collect();
        let of = |(_, id): &Pair| first.0.disk.sealed_bytes(id.0).unwrap().unwrap() as usize;
        let sealed: usize = held(&[first]).keys().map(of).sum();
        assert!(sent[0] < sealed + sealed / 2, "{sent:?} of {sealed}");
        assert!(
            sent[1] + sent[2] > sealed && sent[1] + sent[2] < sealed * 2,
            "{sent:?} of {sealed}"
        );
    })
    .unwrap();
}

#[test]
fn a_home_that_takes_blocks_and_says_nothing_holds_up_no_upload_for_long() {
    simulation::run(22, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let fourth = join(&wire, &first, "dora").await;
        let stores = [&first, &second, &third, &fourth];
        while !first.reassign(&[1, 2, 3, 4].map(MemberId)).await.unwrap() {
            sleep(Duration::from_secs(1)).await;
        }
        let bucket = first.buckets().remove(0);
        in_place(&stores).await;
        // Of four homes three have each block: some are sent by a home that is not to hold them.
        for (silent, key) in [(2, "film"), (3, "song"), (4, "text")] {
            wire.mute(MemberId(silent));
            let text = noise(silent.into(), 9);
            let stored = timeout(Duration::from_secs(25), put(&first, &bucket, key, &text));
            stored.await.unwrap().unwrap();
            wire.unmute(MemberId(silent));
            in_place(&stores).await;
        }
    })
    .unwrap();
}

#[test]
fn who_was_away_gets_what_was_written_and_frees_what_was_deleted() {
    simulation::run(2, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let stores = [&first, &second, &third];
        let bucket = first.buckets().remove(0);
        put(&second, &bucket, "old", &content("o", 5)).await.unwrap();
        in_place(&stores).await;
        wire.cut(MemberId(3));
        let new = content("n", 5);
        put(&second, &bucket, "new", &new).await.unwrap();
        delete(&first, &bucket, "old").await;
        sleep(Duration::from_secs(30)).await;
        assert!(!astray(&stores).is_empty());
        wire.mend(MemberId(3));
        in_place(&stores).await;
        wire.cut(MemberId(1));
        assert_eq!(get(&third, &bucket, "new").await.unwrap(), new);
        wire.mend(MemberId(1));
        delete(&third, &bucket, "new").await;
        in_place(&stores).await;
        assert_eq!(held(&stores), BTreeMap::new());
    })
    .unwrap();
}

#[test]
fn a_box_goes_only_once_nothing_is_left_that_others_rely_on() {
    simulation::run(9, async {
        let wire = Wire::default();
        let first = founder(&wire, "anna").await;
        let key = owner(&first).await;
        create(&first, "photos", &key).await;
        let second = join(&wire, &first, "ben").await;
        assigned(&[&first, &second], &[1, 2]).await;
        let bucket = first.buckets().remove(0);
        // Only the second has it, although both should.
        wire.cut(MemberId(1));
        let film = content("f", 9);
        assert!(put(&second, &bucket, "film", &film).await.is_err());
        let kept = held(&[&second]).len();
        wire.mend(MemberId(1));
        put(&second, &bucket, "film", &film).await.unwrap();
        assert!(kept > 0);
        let at_once = second.remove_member(MemberId(2), Parting::WithNothing).await;
        assert!(
            matches!(at_once, Err(StoreError::StillHolds { .. })),
            "{at_once:?}"
        );
        let going = || first.remove_member(MemberId(2), Parting::WithNothing);
        wire.cut(MemberId(2));
        assert!(matches!(going().await, Err(StoreError::MemberAway)));
        wire.mend(MemberId(2));
        while let Err(error) = going().await {
            assert!(
                matches!(
                    error,
                    StoreError::StillHolds { .. } | StoreError::StillNeeded { .. }
                ),
                "{error:?}"
            );
            sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(held(&[&second]), BTreeMap::new());
        assert_eq!(get(&first, &bucket, "film").await.unwrap(), film);
        // Whoever has not heard of it yet sends there in vain.
        let late = ([7; 16], BlockId(*blake3::hash(b"late").as_bytes()));
        let call = super::wire::put(0, late, b"late");
        let answer = second.answer(MemberId(1), &call).await.unwrap();
        assert_eq!(Answer::decode(&answer).unwrap(), Answer::Absent);
    })
    .unwrap();
}

#[test]
fn a_box_that_should_not_hold_a_block_still_takes_it_in_and_gives_it_out() {
    simulation::run(3, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let fourth = join(&wire, &first, "dora").await;
        let stores = [&first, &second, &third, &fourth];
        assigned(&stores, &[1, 2, 3]).await;
        let (bucket, text) = (first.buckets().remove(0), content("t", 20));
        for (key, store) in ["a", "b", "c", "d"].into_iter().zip(stores) {
            put(store, &bucket, key, &format!("{key}{text}")).await.unwrap();
        }
        for store in stores {
            for key in ["a", "b", "c", "d"] {
                assert_eq!(get(store, &bucket, key).await.unwrap(), format!("{key}{text}"));
            }
        }
        in_place(&stores).await;
        // Each block is on three of the four.
        assert!(held(&stores).values().all(|members| members.len() == 3));
        for (key, store) in ["b", "c", "d", "a"].into_iter().zip(stores) {
            delete(store, &bucket, key).await;
        }
        in_place(&stores).await;
        assert_eq!(held(&stores), BTreeMap::new());
    })
    .unwrap();
}

#[test]
fn while_one_zone_alone_can_be_reached_whoever_writes_stands_in_for_the_others() {
    simulation::run(4, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let fourth = join(&wire, &first, "dora").await;
        let stores = [&first, &second, &third, &fourth];
        assigned(&stores, &[1, 2, 3]).await;
        let (bucket, text) = (first.buckets().remove(0), content("t", 20));
        wire.cut(MemberId(2));
        put(&fourth, &bucket, "a", &text).await.unwrap();
        let zones = held(&stores);
        assert!(zones.values().all(|members| members.len() >= 2), "{zones:?}");
        wire.mend(MemberId(2));
        in_place(&stores).await;
        assert_eq!(get(&second, &bucket, "a").await.unwrap(), text);
    })
    .unwrap();
}

#[test]
fn a_block_that_is_missing_somewhere_is_brought_there_by_whoever_reads_it() {
    simulation::run(5, async {
        let wire = Wire::default();
        let stores = three(&wire).await;
        let stores: Vec<&Store> = stores.iter().collect();
        let (bucket, text) = (stores[0].buckets().remove(0), content("t", 4));
        put(stores[0], &bucket, "a", &text).await.unwrap();
        in_place(&stores).await;
        for (owner, id) in held(&stores).into_keys() {
            stores[1].0.disk.release(owner, vec![id.0]).await.unwrap();
        }
        assert!(!astray(&stores).is_empty());
        assert_eq!(get(stores[1], &bucket, "a").await.unwrap(), text);
        in_place(&stores).await;
    })
    .unwrap();
}

#[test]
fn a_reader_at_one_box_ends_in_peace_what_another_overwrites() {
    simulation::run(6, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let (bucket, text) = (first.buckets().remove(0), content("t", 9));
        put(&first, &bucket, "a", &text).await.unwrap();
        let object = second.object(&bucket, &object_key("a"), None).await.unwrap();
        delete(&third, &bucket, "a").await;
        sleep(Duration::from_secs(60)).await;
        let (mut reader, mut read) = (object.read(0..u64::MAX), Vec::new());
        while let Some(piece) = reader.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(read, text.as_bytes());
        drop((reader, object));
        let stores = [&first, &second, &third];
        in_place(&stores).await;
        assert_eq!(held(&stores), BTreeMap::new());
    })
    .unwrap();
}

#[test]
fn nobody_takes_in_a_block_under_the_name_of_another_or_gives_one_to_a_reader() {
    simulation::run(7, async {
        let wire = Wire::default();
        let [first, second, third] = three(&wire).await;
        let (bucket, text) = (first.buckets().remove(0), content("t", 4));
        put(&first, &bucket, "a", &text).await.unwrap();
        in_place(&[&first, &second, &third]).await;
        let pairs: Vec<Pair> = held(&[&first]).into_keys().collect();
        let forged = Bytes::from_static(b"forged");
        let call = Call::Put {
            version: 0,
            pair: pairs[0],
            sealed: forged.clone(),
        };
        assert!(first.answer(MemberId(2), &call.encode()).await.is_err());
        // A disk is told what to call a block by its own member.
        for (owner, id) in pairs {
            second.0.disk.release(owner, vec![id.0]).await.unwrap();
            first.0.disk.release(owner, vec![id.0]).await.unwrap();
            first.0.disk.put_block(id.0, owner, forged.clone()).await.unwrap();
        }
        for store in [&second, &first] {
            assert_eq!(get(store, &bucket, "a").await.unwrap(), text);
        }
    })
    .unwrap();
}

/// What stands under a key.
async fn read(store: &Store, bucket: &Bucket, key: &str) -> Option<String> {
    match get(store, bucket, key).await {
        Ok(text) => Some(text),
        Err(StoreError::NoSuchKey) => None,
        Err(error) => panic!("{key} does not read: {error}"),
    }
}

/// Random writes and deletions through random boxes, of which one or another is away: at the end everybody reads
/// what stands, every block is where it is wanted, and nothing is left of what was deleted.
async fn schedule(seed: u64) {
    let (wire, mut dice) = (Wire::default(), Random(seed));
    let stores = three(&wire).await;
    let all: Vec<&Store> = stores.iter().collect();
    let bucket = stores[0].buckets().remove(0);
    // What may stand under each key: what was written last, and ever since, what may or may not have been written.
    let mut possible: BTreeMap<usize, Vec<Option<String>>> = (0..4).map(|key| (key, vec![None])).collect();
    for step in 0..25 {
        let (store, key) = (all[dice.below(3)], dice.below(4));
        let (name, before) = (format!("{key}"), possible.entry(key).or_default());
        match dice.below(8) {
            0 | 1 => {
                (1..=3).for_each(|member| wire.mend(MemberId(member)));
                if dice.below(2) == 0 {
                    wire.cut(MemberId(u32::try_from(dice.below(3)).unwrap() + 1));
                }
            }
            2 => match try_delete(store, &bucket, &name).await {
                Ok(()) => before[0] = None,
                Err(_) => before.push(None),
            },
            _ => {
                let text = content(&format!("{}", step % 10), dice.below(8));
                match put(store, &bucket, &name, &text).await {
                    Ok(()) => before[0] = Some(text),
                    Err(_) => before.push(Some(text)),
                }
            }
        }
        sleep(Duration::from_millis(dice.below(3000) as u64)).await;
    }
    (1..=3).for_each(|member| wire.mend(MemberId(member)));
    sleep(Duration::from_secs(60)).await;
    in_place(&all).await;
    for (key, possible) in &possible {
        let name = format!("{key}");
        for store in &all {
            // What was written in part happens at last when somebody meets it.
            read(store, &bucket, &name).await;
        }
        let found = read(all[0], &bucket, &name).await;
        assert!(possible.contains(&found), "seed {seed}: {name}");
        for store in &all {
            let here = read(store, &bucket, &name).await;
            assert!(here == found, "seed {seed}: {name}");
        }
        delete(all[0], &bucket, &name).await;
    }
    in_place(&all).await;
    // What may have been written and was not is a matter of collection.
    if possible.values().all(|possible| possible.len() == 1) {
        let left = held(&all);
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}

#[test]
fn whoever_is_away_nothing_is_lost_and_nothing_is_left() {
    for seed in 100..103 {
        simulation::run(seed, schedule(seed)).unwrap();
    }
}

#[test]
fn an_object_whose_row_is_here_is_opened_by_one_question() {
    simulation::run(4, async {
        let wire = Wire::default();
        let stores = three(&wire).await;
        let bucket = stores[0].buckets().remove(0);
        let text = content("a", 2);
        put(&stores[0], &bucket, "a", &text).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        for store in &stores {
            let before = wire.reads();
            let object = store.object(&bucket, &object_key("a"), None).await.unwrap();
            assert_eq!(wire.reads() - before, 1);
            drop(object);
            assert_eq!(read(store, &bucket, "a").await, Some(text.clone()));
        }
        // What is written elsewhere meanwhile is found all the same.
        let text = content("b", 2);
        put(&stores[1], &bucket, "a", &text).await.unwrap();
        assert_eq!(read(&stores[0], &bucket, "a").await, Some(text));
    })
    .unwrap();
}
