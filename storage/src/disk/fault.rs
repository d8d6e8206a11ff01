//! A simulated disk that loses, reorders and tears what was not synced, flips bits, fails and fills up: seeded, deterministic.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::medium::{Medium, MediumFile, Space};

/// What a power cut writes or loses as one.
const SECTOR: usize = 512;

/// A simulated disk. Cloning gives another handle to the same one.
#[derive(Clone)]
pub struct FaultMedium(Arc<Mutex<World>>);

struct World {
    random: Random,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    files: BTreeMap<u64, Content>,
    next_file: u64,
    /// Handles from before the last power cut are dead.
    generation: u64,
    /// A hash of every change so far.
    trace: u64,
    powered: bool,
    cut_after: Option<u64>,
    failing_syncs: Option<u64>,
    files_exhausted: bool,
    capacity: u64,
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    seen: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

impl FaultMedium {
    /// An empty disk without faults. Equal seeds and calls give equal worlds.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            random: Random(seed),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            files: BTreeMap::new(),
            next_file: 0,
            generation: 0,
            trace: 0,
            powered: true,
            cut_after: None,
            failing_syncs: None,
            files_exhausted: false,
            capacity: u64::MAX,
        })))
    }

    /// The disk as a process sees it that begins now: when the power is cut or another process begins, all that the first
    /// still tries fails.
    pub fn mount(&self) -> Arc<dyn Medium> {
        Arc::new(Mount {
            medium: self.clone(),
            generation: self.lock().generation,
        })
    }

    /// Cuts the power between two changes; everything fails until [`FaultMedium::restart`].
    pub fn cut_power(&self) {
        self.lock().powered = false;
    }

    /// Whether the power is on.
    pub fn is_powered(&self) -> bool {
        self.lock().powered
    }

    /// A hash of every change so far: equal runs have equal ones.
    pub fn trace(&self) -> u64 {
        self.lock().trace
    }

    /// Cuts the power in the middle of the change after `changes` more of them; everything fails until
    /// [`FaultMedium::restart`].
    pub fn cut_power_after(&self, changes: u64) {
        self.lock().cut_after = Some(changes);
    }

    /// Cuts the power, if it is still on, and switches it on again: of what was not synced some sectors and names are
    /// there and some are not. All open files are dead.
    pub fn restart(&self) {
        let mut world = self.lock();
        let world = &mut *world;
        let kept_in_four = world.random.below(5);
        for content in world.files.values_mut() {
            content.cut(&mut world.random, kept_in_four);
        }
        let all = world
            .names
            .keys()
            .chain(world.durable_names.keys())
            .cloned()
            .collect::<Vec<_>>();
        for name in all {
            let (durable, seen) = (
                world.durable_names.get(&name).copied(),
                world.names.get(&name).copied(),
            );
            if durable != seen && world.random.below(2) == 0 {
                match seen {
                    Some(file) => world.durable_names.insert(name, file),
                    None => world.durable_names.remove(&name),
                };
            }
        }
        world.names = world.durable_names.clone();
        world.generation += 1;
        world.powered = true;
        world.cut_after = None;
        world.failing_syncs = None;
    }

    /// Ends the process, if [`FaultMedium::cut_power_after`] has not, and lets another begin: what was written is there,
    /// synced or not. All open files are dead.
    pub fn restart_process(&self) {
        let mut world = self.lock();
        world.generation += 1;
        world.powered = true;
        world.cut_after = None;
        world.failing_syncs = None;
    }

    /// Another disk with what is durable on this one now, as a backup restores it.
    pub fn back_up(&self) -> Self {
        let mut world = self.lock();
        let files = world.files.iter().map(|(number, content)| {
            let durable = content.durable.clone();
            let copy = Content {
                seen: durable.clone(),
                durable,
                pending: Vec::new(),
            };
            (*number, copy)
        });
        let files = files.collect();
        Self(Arc::new(Mutex::new(World {
            random: Random(world.random.next_u64()),
            names: world.durable_names.clone(),
            durable_names: world.durable_names.clone(),
            files,
            next_file: world.next_file,
            generation: world.generation,
            trace: world.trace,
            powered: true,
            cut_after: None,
            failing_syncs: None,
            files_exhausted: false,
            capacity: world.capacity,
        })))
    }

    /// Has the sync after `syncs` more of them fail, and drop what it should have written.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.lock().failing_syncs = Some(syncs);
    }

    /// Says whether the process has as many files open as it may: none can be created then.
    pub fn exhaust_files(&self, exhausted: bool) {
        self.lock().files_exhausted = exhausted;
    }

    /// Sets the room for all files together, in bytes.
    pub fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    /// Bytes of all files together.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Flips one bit somewhere in the files whose names begin with `prefix`; says where.
    pub fn flip_bit(&self, prefix: &str) -> Option<(String, u64)> {
        let mut world = self.lock();
        let named: Vec<_> = world
            .names
            .iter()
            .map(|(name, file)| (name.clone(), *file))
            .collect();
        let mut places = Vec::new();
        for (name, file) in named.into_iter().filter(|(name, _)| name.starts_with(prefix)) {
            let len = world.files.get(&file).map_or(0, |content| content.seen.len());
            places.extend((len > 0).then_some((name, file, len)));
        }
        let chosen = world.random.below(places.len().max(1));
        let (name, file, len) = places.into_iter().nth(chosen)?;
        let (at, bit) = (world.random.below(len), world.random.below(8));
        let content = world.files.get_mut(&file)?;
        content.seen[at] ^= 1 << bit;
        if let Some(byte) = content.durable.get_mut(at) {
            *byte ^= 1 << bit;
        }
        Some((name, at as u64))
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, file: u64, generation: u64) -> Arc<dyn MediumFile> {
        Arc::new(FaultFile {
            medium: self.clone(),
            file,
            generation,
        })
    }
}

impl Content {
    /// Loses part of what was not synced: of four sectors about `kept_in_four` reach the disk.
    fn cut(&mut self, random: &mut Random, kept_in_four: usize) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } => {
                    let mut at = 0;
                    while at < bytes.len() {
                        let len = (SECTOR - (offset + at) % SECTOR).min(bytes.len() - at);
                        if random.below(4) < kept_in_four {
                            write(&mut self.durable, offset + at, &bytes[at..at + len]);
                        }
                        at += len;
                    }
                }
                Change::Resize(len) if random.below(4) < kept_in_four => self.durable.resize(len, 0),
                Change::Resize(_) => {}
            }
        }
        self.seen.clone_from(&self.durable);
    }

    /// Writes what is dirty, and only that: what a failed sync has dropped counts as clean.
    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } => write(&mut self.durable, offset, &bytes),
                Change::Resize(len) => self.durable.resize(len, 0),
            }
        }
    }
}

fn write(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if into.len() < offset + bytes.len() {
        into.resize(offset + bytes.len(), 0);
    }
    into[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl World {
    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|file| self.files.get(file))
            .map(|content| content.seen.len() as u64)
            .sum()
    }

    fn powered(&self) -> io::Result<()> {
        match self.powered {
            true => Ok(()),
            false => Err(io::Error::other("the power is off")),
        }
    }

    /// Counts one change; false when the power goes in the middle of it.
    fn change(&mut self) -> io::Result<bool> {
        self.powered()?;
        match &mut self.cut_after {
            Some(0) => {
                self.powered = false;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }

    /// Adds to the trace what is about to be changed.
    fn note(&mut self, what: u64, bytes: &[u8]) {
        let sum = u64::from(crc_fast::crc32_iscsi(bytes)) << 32 | bytes.len() as u64;
        let mut mixed = Random(self.trace ^ Random(what ^ Random(sum).next_u64()).next_u64());
        self.trace = mixed.next_u64();
    }

    fn changed(&mut self) -> io::Result<()> {
        match self.change()? {
            true => Ok(()),
            false => self.powered(),
        }
    }

    /// Counts one sync; false when it fails.
    fn sync_succeeds(&mut self) -> bool {
        match &mut self.failing_syncs {
            Some(0) => {
                self.failing_syncs = None;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }
}

impl Medium for FaultMedium {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        let mut world = self.lock();
        if world.files_exhausted {
            return Err(rustix::io::Errno::MFILE.into());
        }
        world.note(1, name.as_bytes());
        world.changed()?;
        if world.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = world.next_file;
        world.next_file += 1;
        world.names.insert(name.to_owned(), file);
        world.files.insert(file, Content::default());
        Ok(self.file(file, world.generation))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        let world = self.lock();
        world.powered()?;
        let file = world.names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(file, world.generation))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let world = self.lock();
        world.powered()?;
        Ok(world.names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.lock();
        world.note(2, name.as_bytes());
        world.changed()?;
        world
            .names
            .remove(name)
            .map(drop)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.lock();
        world.note(3, from.as_bytes());
        world.note(3, to.as_bytes());
        world.changed()?;
        let file = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut world = self.lock();
        world.note(4, b"");
        world.changed()?;
        world.durable_names = world.names.clone();
        Ok(())
    }

    fn space(&self) -> io::Result<Space> {
        let world = self.lock();
        world.powered()?;
        Ok(Space {
            total: world.capacity,
            available: world.capacity.saturating_sub(world.used()),
        })
    }
}

/// A disk as one process sees it.
struct Mount {
    medium: FaultMedium,
    generation: u64,
}

impl Mount {
    fn medium(&self) -> io::Result<&FaultMedium> {
        match self.medium.lock().generation == self.generation {
            true => Ok(&self.medium),
            false => Err(io::Error::other("the process has ended")),
        }
    }
}

impl Medium for Mount {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        self.medium()?.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        self.medium()?.open(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.medium()?.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.medium()?.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.medium()?.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.medium()?.sync_directory()
    }

    fn space(&self) -> io::Result<Space> {
        self.medium()?.space()
    }
}

struct FaultFile {
    medium: FaultMedium,
    file: u64,
    generation: u64,
}

impl FaultFile {
    fn with<T>(&self, act: impl FnOnce(&mut World, &mut Content) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.medium.lock();
        world.powered()?;
        if world.generation != self.generation {
            return Err(io::Error::other("a file from before the power cut"));
        }
        let mut content = world.files.remove(&self.file).ok_or(io::ErrorKind::NotFound)?;
        let result = act(&mut world, &mut content);
        world.files.insert(self.file, content);
        result
    }
}

impl MediumFile for FaultFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|_, content| Ok(content.seen.len() as u64))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|_, content| {
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(content.seen.len());
            let len = into.len().min(content.seen.len() - from);
            into[..len].copy_from_slice(&content.seen[from..from + len]);
            Ok(len)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let medium = self.medium.clone();
        let used = medium.used();
        self.with(|world, content| {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let grows = (offset + bytes.len()).saturating_sub(content.seen.len()) as u64;
            world.note(offset as u64, bytes);
            let whole = world.change()?;
            let fits = used + grows <= world.capacity;
            let len = if whole && fits {
                bytes.len()
            } else {
                world.random.below(bytes.len() + 1)
            };
            let len = if fits {
                len
            } else {
                len.min(content.seen.len().saturating_sub(offset))
            };
            if len > 0 {
                write(&mut content.seen, offset, &bytes[..len]);
                content.pending.push(Change::Write {
                    offset,
                    bytes: bytes[..len].to_vec(),
                });
            }
            match fits {
                true => world.powered(),
                // To whoever writes, a quota is a full disk.
                false if world.random.below(2) == 0 => Err(io::ErrorKind::QuotaExceeded.into()),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|world, content| {
            world.note(5, b"");
            world.changed()?;
            if world.sync_succeeds() {
                content.sync();
                return Ok(());
            }
            // The pages count as clean from now on, whatever part of them was written.
            let mut written = content.clone();
            written.cut(&mut world.random, 2);
            content.durable = written.durable;
            content.pending.clear();
            Err(io::Error::from_raw_os_error(5))
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|world, content| {
            world.note(6, &len.to_le_bytes());
            world.changed()?;
            let len = usize::try_from(len).map_err(io::Error::other)?;
            content.seen.resize(len, 0);
            content.pending.push(Change::Resize(len));
            Ok(())
        })
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        self.with(|world, content| {
            world.note(7, &[offset.to_le_bytes(), len.to_le_bytes()].concat());
            world.changed()?;
            let from = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(content.seen.len());
            let to = usize::try_from(offset + len)
                .unwrap_or(usize::MAX)
                .min(content.seen.len());
            content.seen[from..to].fill(0);
            content.pending.push(Change::Write {
                offset: from,
                bytes: vec![0; to - from],
            });
            Ok(())
        })
    }
}

/// A seeded source of numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next_u64() % end as u64).unwrap_or(0)
    }
}
