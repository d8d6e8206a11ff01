//! Promises of the block store on a device that loses power, fills up, fails and forgets.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::open::IfAbsent;
use super::tests::{block, eventually};
use super::*;
use crate::disk::BlockDirectory;
use crate::disk::medium::{Medium, MediumFile, Space};

/// A directory in memory that keeps what was synced and, after a power cut, any part of what was not.
#[derive(Clone, Default)]
struct Device(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Contained>,
    /// Changes until the power goes; none: it stays.
    changes_left: Option<u64>,
    /// Bytes that all files may hold.
    room: Option<u64>,
}

#[derive(Clone, Default)]
struct Contained {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
    Hole(usize, usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => {
                bytes.resize(bytes.len().max(at + written.len()), 0);
                bytes[*at..at + written.len()].copy_from_slice(written);
            }
            Self::Length(len) => bytes.resize(*len, 0),
            Self::Hole(at, len) => {
                let end = (at + len).min(bytes.len());
                bytes[(*at).min(end)..end].fill(0);
            }
        }
    }
}

/// A small generator, so that a power cut is the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most.max(1)
    }
}

impl Contents {
    /// Counts one change; refuses it once the power is gone.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.changes_left {
            Some(0) => Err(io::Error::other("no power")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn held(&self) -> u64 {
        self.names
            .values()
            .map(|file| self.files[*file].bytes.len() as u64)
            .sum()
    }

    fn cut_power(&mut self, chance: &mut Chance) {
        self.changes_left = None;
        let names: BTreeSet<String> = self
            .names
            .keys()
            .chain(self.durable_names.keys())
            .cloned()
            .collect();
        let mut kept = BTreeMap::new();
        for name in names {
            let (new, old) = (self.names.get(&name), self.durable_names.get(&name));
            let survivor = if chance.below(2) == 0 { new } else { old };
            survivor.map(|file| kept.insert(name, *file));
        }
        self.names = kept.clone();
        self.durable_names = kept;
        for file in &mut self.files {
            let mut bytes = file.durable.clone();
            for change in &file.unsynced {
                match (change, chance.below(3)) {
                    (_, 0) => {}
                    (Change::Write(at, written), 1) => {
                        let torn = usize::try_from(chance.below(written.len() as u64 + 1)).unwrap();
                        Change::Write(*at, written[..torn].to_vec()).apply(&mut bytes);
                    }
                    (change, _) => change.apply(&mut bytes),
                }
            }
            *file = Contained {
                durable: bytes.clone(),
                bytes,
                unsynced: Vec::new(),
            };
        }
    }
}

struct Handle(Device, usize);

impl Handle {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        contents.change()?;
        let grows = match &change {
            Change::Write(at, bytes) => {
                (at + bytes.len()).saturating_sub(contents.files[self.1].bytes.len()) as u64
            }
            _ => 0,
        };
        if contents.room.is_some_and(|room| contents.held() + grows > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = &mut contents.files[self.1];
        change.apply(&mut file.bytes);
        file.unsynced.push(change);
        Ok(())
    }
}

impl MediumFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().files[self.1].bytes.len() as u64)
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.0.0.lock().unwrap();
        let bytes = &contents.files[self.1].bytes;
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let len = into.len().min(bytes.len() - start);
        into[..len].copy_from_slice(&bytes[start..start + len]);
        Ok(len)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(Change::Write(usize::try_from(offset).unwrap(), bytes.to_vec()))
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut contents = self.0.0.lock().unwrap();
        contents.change()?;
        let file = &mut contents.files[self.1];
        file.durable = file.bytes.clone();
        file.unsynced.clear();
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(usize::try_from(len).unwrap()))
    }
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(Change::Hole(
            usize::try_from(offset).unwrap(),
            usize::try_from(len).unwrap(),
        ))
    }
}

impl Medium for Device {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        let mut contents = self.0.lock().unwrap();
        contents.change()?;
        if contents.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = contents.files.len();
        contents.files.push(Contained::default());
        contents.names.insert(name.into(), file);
        Ok(Arc::new(Handle(self.clone(), file)))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        let file = self
            .0
            .lock()
            .unwrap()
            .names
            .get(name)
            .copied()
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle(self.clone(), file)))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.change()?;
        contents
            .names
            .remove(name)
            .map(drop)
            .ok_or(io::ErrorKind::NotFound.into())
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.change()?;
        let file = contents.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        contents.names.insert(to.into(), file);
        Ok(())
    }
    fn sync_directory(&self) -> io::Result<()> {
        let mut contents = self.0.lock().unwrap();
        contents.change()?;
        contents.durable_names = contents.names.clone();
        Ok(())
    }
    fn space(&self) -> io::Result<Space> {
        let total = 1 << 40;
        Ok(Space {
            total,
            available: total,
        })
    }
}

/// A node on simulated devices, with its index in a real folder.
struct Node {
    folder: tempfile::TempDir,
    state: Device,
    device: Device,
}

impl Node {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            state: Device::default(),
            device: Device::default(),
        }
    }

    fn open(&self) -> Result<Blocks, DiskError> {
        let device = self.device.clone();
        let open = move |_: &std::path::Path, _: IfAbsent| -> Result<Arc<dyn Medium>, DiskError> {
            Ok(Arc::new(device.clone()))
        };
        Blocks::open(BlocksOptions {
            state: &self.state,
            state_path: "state".into(),
            index: self.folder.path().join("index"),
            directories: vec![BlockDirectory {
                path: "a".into(),
                capacity: None,
            }],
            open: &open,
            segment_bytes: 60_000,
            rewrite_pace: u64::MAX,
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

async fn live_through(cuts: Vec<(Vec<Step>, u64, u64, bool)>) {
    let node = Node::new();
    let mut promised = Promised::default();
    let mut blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    for (steps, changes, seed, delete_index) in cuts {
        node.device.0.lock().unwrap().changes_left = Some(changes);
        for step in &steps {
            promised.apply(&blocks, step).await;
        }
        tokio::task::block_in_place(|| blocks.close());
        drop(blocks);
        node.device.0.lock().unwrap().cut_power(&mut Chance(seed));
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
        cuts in prop::collection::vec((prop::collection::vec(step(), 1..50), 0..120u64, any::<u64>(), any::<bool>()), 1..5),
    ) {
        run(live_through(cuts));
    }

    #[test]
    fn a_flipped_bit_never_changes_what_is_read(at in any::<prop::sample::Index>(), bit in 0..8u8, delete_index in any::<bool>()) {
        run(async move {
            let node = Node::new();
            let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
            for seed in 0..12 {
                let (id, sealed) = sized_block(seed);
                blocks.put(id, owner(0), sealed).await.unwrap();
                blocks.add_references(owner(1), vec![id]).await.unwrap();
            }
            tokio::task::block_in_place(|| blocks.close());
            drop(blocks);
            {
                let mut contents = node.device.0.lock().unwrap();
                let segments: Vec<_> = contents.names.iter().filter(|(name, _)| name.ends_with(".log")).map(|(_, file)| *file).collect();
                let total = segments.iter().map(|file| contents.files[*file].bytes.len()).sum();
                let mut at = at.index(total);
                for file in segments {
                    let bytes = &mut contents.files[file].bytes;
                    if at < bytes.len() {
                        bytes[at] ^= 1 << bit;
                        break;
                    }
                    at -= bytes.len();
                }
            }
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
    let node = Node::new();
    let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    node.device.0.lock().unwrap().room = Some(100_000);
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
    let node = Node::new();
    let blocks = tokio::task::block_in_place(|| node.open()).unwrap();
    let (id, sealed) = sized_block(9);
    blocks.put(id, owner(0), sealed.clone()).await.unwrap();
    node.device.0.lock().unwrap().changes_left = Some(0);
    let (other, other_sealed) = sized_block(8);
    assert!(matches!(
        blocks.put(other, owner(0), other_sealed.clone()).await,
        Err(DiskError::Io { .. })
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
