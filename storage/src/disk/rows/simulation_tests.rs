//! Rows on a simulated disk: hundreds of seeded schedules of commits, compactions, power cuts and faults.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::apply::{RowNote, frame_of};
use super::compaction::{Moved, choose, rewrite, weigh};
use super::index::Index;
use super::memory_index::MemoryIndex;
use super::{IndexAt, Opened, RowOptions, row};
use crate::disk::fault::{FaultMedium, Random};
use crate::disk::medium::Medium;
use crate::disk::{DiskError, RowWrite};

type Model = BTreeMap<Vec<u8>, Bytes>;

fn apply(model: &mut Model, writes: &[RowWrite]) {
    for write in writes {
        match write {
            RowWrite::Put { key, value, .. } => drop(model.insert(key.clone(), value.clone())),
            RowWrite::Drop { key } => drop(model.remove(key)),
        }
    }
}

struct World {
    random: Random,
    medium: FaultMedium,
    opened: Option<Opened>,
    /// What is acknowledged.
    model: Model,
    /// Commits whose outcome is unknown, oldest first.
    in_flight: Vec<Vec<RowWrite>>,
    /// What a crash left of the index: any state it ever had in this run.
    kept: Option<MemoryIndex>,
    counter: u64,
    accept_loss: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let medium = FaultMedium::new(seed);
        let (random, model) = (Random(seed ^ 0xD15C), Model::new());
        let mut world = Self {
            random,
            medium,
            opened: None,
            model,
            in_flight: Vec::new(),
            kept: None,
            counter: 0,
            accept_loss: false,
        };
        world.open().unwrap();
        world
    }

    fn open(&mut self) -> Result<(), DiskError> {
        let medium: Arc<dyn Medium> = Arc::new(self.medium.clone());
        let index = IndexAt::Memory(self.kept.as_ref());
        let directory = Path::new("simulated");
        let options = RowOptions {
            directory,
            index,
            accept_loss: self.accept_loss,
            segment_bytes: 4 << 10,
            drive: crate::disk::drive::Drive::Threads,
        };
        self.opened = Some(Opened::open(&medium, &options)?);
        Ok(())
    }

    fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().unwrap()
    }

    fn writes(&mut self) -> Vec<RowWrite> {
        let count = 1 + self.random.below(3);
        let write = |world: &mut Self| {
            let key = format!("key {}", world.random.below(24)).into_bytes();
            world.counter += 1;
            let len = [10, 200, 700, 1500][world.random.below(4)];
            let value = Bytes::from(format!("{:01$}", world.counter, len));
            match world.random.below(4) {
                0 => RowWrite::Drop { key },
                _ => RowWrite::Put {
                    key,
                    summary: b"s".to_vec(),
                    value,
                },
            }
        };
        (0..count).map(|_| write(self)).collect()
    }

    /// Commits a few frames with one sync.
    fn commit(&mut self) -> Result<(), DiskError> {
        let commits: Vec<_> = (0..1 + self.random.below(4)).map(|_| self.writes()).collect();
        let mut frames: VecDeque<_> = commits
            .iter()
            .map(|writes| frame_of(writes.clone()).unwrap())
            .collect();
        let mut acknowledged = 0;
        let result = self.opened().owner.commit(&mut frames, |_| acknowledged += 1);
        for writes in &commits[..acknowledged] {
            apply(&mut self.model, writes);
        }
        if !matches!(result, Ok(()) | Err(DiskError::Full { .. })) {
            self.in_flight = commits[acknowledged..].to_vec();
        }
        if self.random.below(4) == 0
            && let Index::Memory(index) = &*self.opened().index
        {
            self.kept = Some(index.copy());
        }
        result
    }

    fn compact(&mut self) -> Result<(), DiskError> {
        let Some(opened) = &mut self.opened else {
            return Ok(());
        };
        let segments = opened.owner.writer.segments().clone();
        let weights = weigh(&segments, &opened.index)?;
        let Some(segment) = choose(&weights) else {
            return Ok(());
        };
        let older = weights
            .first_key_value()
            .is_some_and(|(oldest, _)| *oldest != segment);
        let moves = |moving| opened.owner.decide(RowNote::Move(moving));
        if rewrite(&segments, segment, older, moves, |_: Duration| true)? == Moved::All {
            opened.owner.forget(segment)?;
            let drops = opened.index.drops();
            assert!(drops.iter().all(|(dropped, _)| *dropped != segment));
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Model, DiskError> {
        let opened = self.opened();
        let segments = opened.owner.writer.segments().clone();
        let mut scan = opened
            .index
            .scan(std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)?;
        let mut rows = Model::new();
        while let Some(entry) = scan.next_row()? {
            let value = row(&opened.index, &segments, entry.key())?.unwrap();
            rows.insert(entry.key().to_vec(), value);
        }
        Ok(rows)
    }

    /// Restarts after a power cut, perhaps with more cuts on the way up and with any index, and checks every promise.
    fn restart(&mut self, seed: u64) {
        self.opened = None;
        self.medium.restart();
        if self.random.below(4) == 0 {
            self.kept = None;
        }
        while self.random.below(3) == 0 {
            let changes = self.random.below(12) as u64;
            self.medium.cut_power_after(changes);
            drop(self.open());
            self.opened = None;
            self.medium.restart();
        }
        self.reopen(seed);
    }

    /// Restarts the process alone, and checks every promise.
    fn restart_process(&mut self, seed: u64) {
        self.opened = None;
        self.medium.restart_process();
        self.reopen(seed);
    }

    fn reopen(&mut self, seed: u64) {
        self.open()
            .unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert_eq!(self.opened().loss, None, "seed {seed}");
        let found = self
            .read()
            .unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        let mut allowed = vec![self.model.clone()];
        for writes in std::mem::take(&mut self.in_flight) {
            apply(&mut self.model, &writes);
            allowed.push(self.model.clone());
        }
        assert!(
            allowed.contains(&found),
            "seed {seed}: rows differ\n{:?}\n{:?}",
            keys(&found),
            keys(&self.model)
        );
        self.model = found;
    }
}

fn keys(model: &Model) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_start_matches('0').to_owned();
    model
        .iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

/// The seeds of a test, or the one in `SEED` to replay.
fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..count).collect(),
    }
}

#[test]
fn no_acknowledged_row_is_lost_to_power_cuts() {
    for seed in seeds(400) {
        let mut world = World::new(seed);
        for _ in 0..6 {
            let changes = world.random.below(60) as u64;
            world.medium.cut_power_after(changes);
            loop {
                let step = match world.random.below(5) {
                    0 => world.compact(),
                    1 => world.opened().owner.mark(),
                    _ => world.commit(),
                };
                if step.is_err() {
                    break;
                }
            }
            world.restart(seed);
        }
    }
}

#[test]
fn a_failed_sync_stops_the_log_and_loses_nothing_acknowledged() {
    for seed in seeds(200) {
        let mut world = World::new(seed);
        let syncs = world.random.below(20) as u64;
        world.medium.fail_sync_after(syncs);
        while world.commit().is_ok() {}
        let unknown = world.in_flight.clone();
        assert!(
            matches!(world.commit(), Err(DiskError::Stopped { .. })),
            "seed {seed}"
        );
        world.in_flight = unknown;
        world.restart(seed);
        world.commit().unwrap();
        world.restart(seed);
    }
}

#[test]
fn what_is_found_after_a_crash_of_the_process_survives_a_power_cut() {
    for seed in seeds(400) {
        let mut world = World::new(seed);
        for _ in 0..4 {
            let changes = world.random.below(60) as u64;
            world.medium.cut_power_after(changes);
            while world.commit().is_ok() {}
            world.restart_process(seed);
            if world.random.below(2) == 0 {
                world.commit().unwrap();
            }
            world.restart(seed);
        }
    }
}

#[test]
fn what_is_found_after_a_failed_sync_survives_a_power_cut() {
    for seed in seeds(400) {
        let mut world = World::new(seed);
        let syncs = world.random.below(20) as u64;
        world.medium.fail_sync_after(syncs);
        while world.commit().is_ok() {}
        world.restart_process(seed);
        world.restart(seed);
    }
}

#[test]
fn a_full_disk_costs_the_commit_and_nothing_else() {
    for seed in seeds(200) {
        let mut world = World::new(seed);
        for _ in 0..3 {
            let room = world.random.below(30_000) as u64;
            world.medium.set_capacity(world.medium.used() + room);
            let full = loop {
                match world.commit() {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            assert!(matches!(full, DiskError::Full { .. }), "seed {seed}: {full:?}");
            assert_eq!(keys(&world.read().unwrap()), keys(&world.model), "seed {seed}");
            world.medium.set_capacity(u64::MAX);
            world.commit().unwrap();
        }
        world.restart(seed);
    }
}

#[test]
fn flipped_bits_are_reported_and_never_served() {
    for seed in seeds(300) {
        let mut world = World::new(seed);
        for _ in 0..12 {
            world.commit().unwrap();
        }
        world.opened().owner.mark().unwrap();
        world.opened = None;
        world.medium.restart();
        world.medium.flip_bit("rows-").unwrap();
        world.kept = world.kept.take().filter(|_| seed % 2 == 0);
        world
            .open()
            .unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        let loss = world.opened().loss.clone();
        let opened = world.opened.as_ref().unwrap();
        let segments = opened.owner.writer.segments();
        for (key, value) in &world.model {
            match row(&opened.index, segments, key) {
                Ok(Some(found)) if found == value => {}
                Err(DiskError::Damaged(_)) => {}
                // An older value, or none: only where the loss is reported.
                other => assert!(loss.is_some(), "seed {seed}: {other:?}"),
            }
        }
        if loss.is_none() {
            continue;
        }
        world.opened = None;
        world.kept = None;
        world.open().unwrap();
        assert!(
            world.opened().loss.is_some(),
            "seed {seed}: the loss is found again"
        );
        world.accept_loss = true;
        world.open().unwrap();
        assert_eq!(world.opened().loss, None, "seed {seed}");
        world.accept_loss = false;
        world.commit().unwrap();
        world.open().unwrap();
        assert_eq!(world.opened().loss, None, "seed {seed}: it was accepted");
    }
}

#[test]
fn a_missing_segment_is_a_loss_until_a_person_accepts_it() {
    for seed in seeds(20) {
        let mut world = World::new(seed);
        let segments = |world: &mut World| world.opened().owner.writer.segments().numbers();
        while segments(&mut world).len() < 4 {
            world.commit().unwrap();
        }
        world.opened = None;
        world.medium.remove("rows-00000002.log").unwrap();
        world.medium.sync_directory().unwrap();
        let mut open = |accept_loss, accepted| {
            (world.kept, world.accept_loss) = (None, accept_loss);
            world.open().unwrap();
            assert_eq!(world.opened().loss.is_none(), accepted, "seed {seed}");
            let begun = segments(&mut world).len();
            while segments(&mut world).len() == begun {
                world.commit().unwrap();
            }
        };
        open(false, false);
        open(false, false);
        open(true, true);
        open(false, true);
        open(false, true);
        world.accept_loss = true;
        world.opened = None;
        world.medium.remove("rows-00000003.log").unwrap();
        world.open().unwrap();
        world.accept_loss = false;
        world.open().unwrap();
        assert_eq!(
            world.opened().loss,
            None,
            "seed {seed}: accepted before the next segment"
        );
    }
}
