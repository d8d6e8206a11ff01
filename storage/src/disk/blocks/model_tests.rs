//! The block store against a simple model, through restarts, lost indexes and rewritten segments.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{Node, block, eventually};
use super::*;

/// One step. Blocks and owners are few, so that they meet often.
#[derive(Clone, Debug)]
enum Step {
    Put { seed: u64, owner: u8 },
    Add { owner: u8, seeds: Vec<u64> },
    Release { owner: u8, seeds: Vec<u64> },
    Reopen { index: IndexLoss },
}

#[derive(Clone, Copy, Debug)]
enum IndexLoss {
    Kept,
    Deleted,
    /// One file of it is cut in half.
    Cut(prop::sample::Index),
    /// One file of it has a flipped bit.
    Flipped(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let seeds = || prop::collection::vec(0..12u64, 1..4);
    let index = prop_oneof![
        3 => Just(IndexLoss::Kept),
        1 => Just(IndexLoss::Deleted),
        1 => any::<prop::sample::Index>().prop_map(IndexLoss::Cut),
        1 => any::<prop::sample::Index>().prop_map(IndexLoss::Flipped),
    ];
    prop_oneof![
        8 => (0..12u64, 0..4u8).prop_map(|(seed, owner)| Step::Put { seed, owner }),
        3 => (0..4u8, seeds()).prop_map(|(owner, seeds)| Step::Add { owner, seeds }),
        6 => (0..4u8, seeds()).prop_map(|(owner, seeds)| Step::Release { owner, seeds }),
        1 => index.prop_map(|index| Step::Reopen { index }),
    ]
}

/// Blocks of 1 byte to 100 KB, some with pages to punch and some without.
fn sized_block(seed: u64) -> (Id, Bytes) {
    block(seed, usize::try_from(1 + seed * seed * 700).unwrap())
}

fn owner(number: u8) -> Owner {
    [number; 16]
}

type Model = BTreeMap<u64, BTreeSet<u8>>;

async fn apply(blocks: &Blocks, model: &mut Model, step: &Step) {
    match step {
        Step::Put { seed, owner: number } => {
            let (id, sealed) = sized_block(*seed);
            blocks.put(id, owner(*number), sealed).await.unwrap();
            model.entry(*seed).or_default().insert(*number);
        }
        Step::Add { owner: number, seeds } => {
            let ids = seeds.iter().map(|seed| sized_block(*seed).0).collect();
            let added = blocks.add_references(owner(*number), ids).await;
            if seeds.iter().all(|seed| model.contains_key(seed)) {
                added.unwrap();
                seeds.iter().for_each(|seed| {
                    model.get_mut(seed).unwrap().insert(*number);
                });
            } else {
                assert!(matches!(added, Err(DiskError::NoSuchBlock)));
            }
        }
        Step::Release { owner: number, seeds } => {
            let ids = seeds.iter().map(|seed| sized_block(*seed).0).collect();
            blocks.release(owner(*number), ids).await.unwrap();
            for seed in seeds {
                if let Some(owners) = model.get_mut(seed) {
                    owners.remove(number);
                }
            }
            model.retain(|_, owners| !owners.is_empty());
        }
        Step::Reopen { .. } => {}
    }
}

fn check(blocks: &Blocks, model: &Model) {
    for seed in 0..12 {
        let (id, sealed) = sized_block(seed);
        let read = tokio::task::block_in_place(|| blocks.read(id, 0..u32::MAX));
        match model.contains_key(&seed) {
            true => assert_eq!(read.unwrap(), sealed),
            false => assert!(matches!(read, Err(DiskError::NoSuchBlock)), "{read:?}"),
        }
    }
    let held = blocks.references(None, 1000).unwrap();
    let held: BTreeSet<_> = held.iter().map(|held| (held.id, held.owner)).collect();
    let pairs = model
        .iter()
        .flat_map(|(seed, owners)| owners.iter().map(|number| (sized_block(*seed).0, owner(*number))));
    assert_eq!(held, pairs.collect());
    assert!(
        blocks
            .status()
            .iter()
            .all(|status| status.damaged == 0 && status.frames_lost == 0)
    );
}

fn harm(node: &Node, loss: IndexLoss) {
    let mut files = Vec::new();
    let mut folders = vec![node.path("index")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort();
    match loss {
        IndexLoss::Kept => {}
        IndexLoss::Deleted => std::fs::remove_dir_all(node.path("index")).unwrap(),
        IndexLoss::Cut(which) => {
            let file = std::fs::File::options()
                .write(true)
                .open(which.get(&files))
                .unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        IndexLoss::Flipped(which) => {
            let path = which.get(&files);
            let mut bytes = std::fs::read(path).unwrap();
            let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
            if let Some(byte) = bytes.get_mut(written / 2) {
                *byte ^= 16;
            }
            std::fs::write(path, bytes).unwrap();
        }
    }
}

async fn run(directories: &[&str], steps: Vec<Step>) {
    let mut node = Node::new(directories);
    node.segment_bytes = 100_000;
    let mut blocks = node.open().await;
    let mut model = Model::new();
    for step in &steps {
        apply(&blocks, &mut model, step).await;
        if let Step::Reopen { index } = step {
            check(&blocks, &model);
            tokio::task::block_in_place(|| blocks.close());
            drop(blocks);
            harm(&node, *index);
            blocks = node.open().await;
            check(&blocks, &model);
        }
    }
    check(&blocks, &model);
    let scrubbed = tokio::task::block_in_place(|| blocks.verify(None, u64::MAX)).unwrap();
    assert_eq!((scrubbed.damaged.len(), scrubbed.frames_broken), (0, 0));
    for number in 0..4 {
        let ids = (0..12).map(|seed| sized_block(seed).0).collect();
        blocks.release(owner(number), ids).await.unwrap();
    }
    check(&blocks, &Model::new());
    let most = 120_000 * directories.len() as u64;
    let used = || blocks.status().iter().map(|status| status.used).sum::<u64>();
    eventually("all room is back but the newest segment's", || used() <= most).await;
    tokio::task::block_in_place(|| blocks.close());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_store_answers_like_a_model_whatever_happens_to_its_index(
        steps in prop::collection::vec(step(), 1..60),
        two in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let directories: &[&str] = if two { &["a", "b"] } else { &["a"] };
        runtime.block_on(async { tokio::spawn(run_owned(directories.to_vec(), steps)).await.unwrap() });
    }
}

async fn run_owned(directories: Vec<&'static str>, steps: Vec<Step>) {
    run(&directories, steps).await;
}
