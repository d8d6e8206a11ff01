//! Promises of the block store on a device that loses power, fills up, fails and forgets.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use proptest::prelude::*;

use super::open::IfAbsent;
use super::tests::{block, eventually};
use super::*;
use crate::disk::BlockDirectory;
use crate::disk::fault::FaultMedium;
use crate::disk::medium::{Medium, MediumFile, Space};

/// A simulated disk whose file system claims more room than it has, so that writes meet a full device.
struct Boastful(FaultMedium);

impl Medium for Boastful {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        self.0.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        self.0.open(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }
    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 40,
            available: 1 << 40,
        })
    }
}

/// A node on simulated devices, with its index in a real folder.
struct Node {
    folder: tempfile::TempDir,
    state: FaultMedium,
    device: FaultMedium,
}

impl Node {
    fn new(seed: u64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            state: FaultMedium::new(seed),
            device: FaultMedium::new(seed),
        }
    }

    fn open(&self) -> Result<Blocks, DiskError> {
        let device = self.device.clone();
        let open = move |_: &std::path::Path, _: IfAbsent| -> Result<Arc<dyn Medium>, DiskError> {
            Ok(Arc::new(Boastful(device.clone())))
        };
        Blocks::open(&BlocksOptions {
            state: &self.state,
            state_path: "state".into(),
            index: IndexAt::Directory(self.folder.path().join("index")),
            directories: vec![BlockDirectory {
                path: "a".into(),
                capacity: None,
            }],
            open: &open,
            segment_bytes: 60_000,
            rewrite_pace: u64::MAX,
            drive: Drive::Threads,
        })
    }
}

fn sized_block(seed: u64) -> (Id, Bytes) {
    block(seed, usize::try_from(1 + seed * seed * 300).unwrap())
}

fn owner(number: u8) -> Owner {
    [number; 16]
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, u8),
    Add(u64, u8),
    Release(u64, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12u64, 0..3u8).prop_map(|(seed, owner)| Step::Put(seed, owner)),
        1 => (0..12u64, 0..3u8).prop_map(|(seed, owner)| Step::Add(seed, owner)),
        4 => (0..12u64, 0..3u8).prop_map(|(seed, owner)| Step::Release(seed, owner)),
    ]
}

/// What must be held, and what may be: the outcome of a call that failed is open.
#[derive(Default)]
struct Promised {
    held: BTreeSet<(u64, u8)>,
    open: BTreeSet<(u64, u8)>,
}

impl Promised {
    async fn apply(&mut self, blocks: &Blocks, step: &Step) {
        let (Step::Put(seed, number) | Step::Add(seed, number) | Step::Release(seed, number)) = *step;
        let (id, sealed) = sized_block(seed);
        let done = match step {
            Step::Put(..) => blocks.put(id, owner(number), sealed).await,
            Step::Add(..) => blocks.add_references(owner(number), vec![id]).await,
            Step::Release(..) => blocks.release(owner(number), vec![id]).await,
        };
        let pair = (seed, number);
        match done {
            Ok(()) => {
                self.open.remove(&pair);
                match step {
                    Step::Release(..) => self.held.remove(&pair),
                    _ => self.held.insert(pair),
                };
            }
            Err(DiskError::NoSuchBlock | DiskError::Full { .. }) => {}
            Err(_) => {
                self.held.remove(&pair);
                self.open.insert(pair);
            }
        }
    }

    /// Checks all promises, and settles what was open by what is there.
    fn check(&mut self, blocks: &Blocks) {
        let held: BTreeSet<_> = blocks
            .references(None, 1000)
            .unwrap()
            .iter()
            .map(|held| (held.id, held.owner))
            .collect();
        for seed in 0..12 {
            let (id, sealed) = sized_block(seed);
            for number in 0..3 {
                let there = held.contains(&(id, owner(number)));
                let pair = (seed, number);
                match self.open.remove(&pair) {
                    true if there => drop(self.held.insert(pair)),
                    true => {}
                    false => assert_eq!(there, self.held.contains(&pair), "reference {pair:?}"),
                }
            }
            let wanted = self.held.iter().any(|(held, _)| *held == seed);
            match blocks.read(id, 0..u32::MAX) {
                Ok(bytes) => assert!(
                    wanted && bytes == sealed,
                    "block {seed} is there without a reference"
                ),
                Err(DiskError::NoSuchBlock) => assert!(!wanted, "block {seed} is lost"),
                Err(error) => panic!("block {seed}: {error}"),
            }
        }
        assert!(
            blocks
                .status()
                .iter()
                .all(|status| status.damaged == 0 && status.frames_lost == 0),
            "{:?}",
            blocks.status()
        );
    }
}

async fn live_through(cuts: Vec<(Vec<Step>, u64, bool)>, seed: u64) {
    let node = Node::new(seed);
    let mut promised = Promised::default();
    let mut blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    for (steps, changes, delete_index) in cuts {
        node.device.cut_power_after(changes);
        for step in &steps {
            promised.apply(&blocks, step).await;
        }
        tokio::task::block_in_place(|| blocks.close());
        drop(blocks);
        node.device.restart();
        if delete_index {
            std::fs::remove_dir_all(node.folder.path().join("index")).unwrap();
        }
        blocks = tokio::task::block_in_place(|| node.open()).unwrap();
        tokio::task::block_in_place(|| promised.check(&blocks));
    }
    for number in 0..3 {
        blocks
            .release(owner(number), (0..12).map(|seed| sized_block(seed).0).collect())
            .await
            .unwrap();
    }
    promised.held.clear();
    tokio::task::block_in_place(|| promised.check(&blocks));
    eventually("all room is back but the newest segment's", || {
        blocks.status()[0].used < 100_000
    })
    .await;
    tokio::task::block_in_place(|| blocks.close());
}

fn run<F: Future<Output = ()> + Send + 'static>(work: F) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { tokio::spawn(work).await.unwrap() });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_acknowledged_reference_is_lost_or_revived_by_power_cuts(
        cuts in prop::collection::vec((prop::collection::vec(step(), 1..50), 0..120u64, any::<bool>()), 1..5),
        seed in any::<u64>(),
    ) {
        run(live_through(cuts, seed));
    }

    #[test]
    fn a_flipped_bit_never_changes_what_is_read(seed in any::<u64>(), delete_index in any::<bool>()) {
        run(async move {
            let node = Node::new(seed);
            let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
            for seed in 0..12 {
                let (id, sealed) = sized_block(seed);
                blocks.put(id, owner(0), sealed).await.unwrap();
                blocks.add_references(owner(1), vec![id]).await.unwrap();
            }
            tokio::task::block_in_place(|| blocks.close());
            drop(blocks);
            node.device.flip_bit("blocks-").unwrap();
            if delete_index {
                std::fs::remove_dir_all(node.folder.path().join("index")).unwrap();
            }
            let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
            let mut lost = 0;
            for seed in 0..12 {
                let (id, sealed) = sized_block(seed);
                match tokio::task::block_in_place(|| blocks.read(id, 0..u32::MAX)) {
                    Ok(bytes) => assert_eq!(bytes, sealed),
                    Err(DiskError::Damaged(_)) => lost += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(lost <= 1);
            tokio::task::block_in_place(|| blocks.close());
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fills_up_refuses_blocks_and_goes_on() {
    let node = Node::new(1);
    let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    node.device.set_capacity(100_000);
    let mut promised = Promised::default();
    let mut refused = 0;
    for seed in 0..12 {
        let before = promised.held.len();
        promised.apply(&blocks, &Step::Put(seed, 0)).await;
        refused += usize::from(promised.held.len() == before);
    }
    assert!((1..12).contains(&refused));
    for seed in 0..12 {
        promised.apply(&blocks, &Step::Release(seed, 0)).await;
    }
    assert!(
        promised.held.is_empty() && promised.open.is_empty(),
        "releases work on a full device"
    );
    promised.apply(&blocks, &Step::Put(1, 1)).await;
    tokio::task::block_in_place(|| promised.check(&blocks));
    tokio::task::block_in_place(|| blocks.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fails_stops_taking_blocks_and_serves_what_it_has() {
    let node = Node::new(1);
    let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    let (id, sealed) = sized_block(9);
    blocks.put(id, owner(0), sealed.clone()).await.unwrap();
    node.device.fail_sync_after(0);
    let (other, other_sealed) = sized_block(8);
    // The mark that follows the first block may be what meets the failure.
    assert!(matches!(
        blocks.put(other, owner(0), other_sealed.clone()).await,
        Err(DiskError::Io { .. } | DiskError::Stopped { .. })
    ));
    assert!(matches!(
        blocks.put(other, owner(0), other_sealed).await,
        Err(DiskError::Stopped { .. })
    ));
    assert_eq!(blocks.status()[0].state, DirectoryState::Stopped);
    assert_eq!(
        tokio::task::block_in_place(|| blocks.read(id, 0..u32::MAX)).unwrap(),
        sealed
    );
    tokio::task::block_in_place(|| blocks.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_a_full_disk_starts() {
    let node = Node::new(1);
    let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    let (id, sealed) = sized_block(9);
    blocks.put(id, owner(0), sealed.clone()).await.unwrap();
    tokio::task::block_in_place(|| blocks.close());
    drop(blocks);
    node.state.set_capacity(node.state.used());
    node.device.set_capacity(node.device.used());
    let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    assert_eq!(
        tokio::task::block_in_place(|| blocks.read(id, 0..u32::MAX)).unwrap(),
        sealed
    );
    tokio::task::block_in_place(|| blocks.close());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_that_loses_power_is_finished_by_the_next() {
    for changes in 0..10 {
        let node = Node::new(changes);
        node.state.cut_power_after(changes);
        if let Ok(blocks) = tokio::task::block_in_place(|| node.open()) {
            tokio::task::block_in_place(|| blocks.close());
        }
        node.state.restart();
        node.device.restart();
        let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
        tokio::task::block_in_place(|| blocks.close());
    }
}
