//! What readers, the writer and the flusher of the index share: memtables, tables, and which of them count now.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::filter::KeyHash;
use super::levels::{LEVELS_MAX, Levels, Merge, Spans, Writers, table_bytes};
use super::manifest::{Listed, Manifest, Progress};
use super::memtable::Memtable;
use super::scan::{Run, Source, TreeScan};
use super::table::{BlockCache, BlockWeight, Table, TableNumber, file_name};
use super::table_writer::{TableWriter, TablesWriter};
use super::{BLOCK_BYTES, CACHE_BYTES};

/// A merge looks this often, in rows, whether it should stop.
const ROWS_UNTIL_LOOK: u64 = 4096;

impl Spans for Arc<Table> {
    fn number(&self) -> TableNumber {
        Table::number(self)
    }
    fn bytes(&self) -> u64 {
        self.proof().bytes
    }
    fn keys(&self) -> (&[u8], &[u8]) {
        (self.first_key(), self.last_key())
    }
}

/// A memtable that takes no more rows.
struct Sealed {
    memtable: Arc<Memtable>,
    /// How far the tables hold the log once it is flushed; `None` if no further than they do without it.
    progress: Option<Progress>,
}

/// The index at one moment; never changed.
#[derive(Default)]
struct View {
    active: Arc<Memtable>,
    /// Newest first.
    sealed: Vec<Arc<Sealed>>,
    tables: Arc<Levels<Arc<Table>>>,
    /// The same tables as readers meet them, the newest rows first.
    runs: Arc<Vec<Run>>,
}

impl View {
    fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        let sealed = self.sealed.iter().map(|sealed| &sealed.memtable);
        std::iter::once(&self.active).chain(sealed)
    }
}

fn runs_of(tables: &Levels<Arc<Table>>) -> Vec<Run> {
    let fresh = tables.fresh.iter().map(|table| Arc::new(vec![table.clone()]));
    let levels = tables.levels.iter().map(|level| Arc::new(level.clone()));
    fresh.chain(levels).collect()
}

/// Memtables and tables.
pub(super) struct TreeStore {
    directory: PathBuf,
    view: RwLock<Arc<View>>,
    cache: Arc<BlockCache>,
    next_number: AtomicU32,
    /// How far the tables hold the log. Held while the manifest is replaced.
    progress: Mutex<Progress>,
    /// Held while memtables are flushed: they become tables in their order.
    flushing: Mutex<()>,
}

impl TreeStore {
    /// Opens what `directory` holds, proves all of it, and removes what is left of unfinished work.
    ///
    /// # Errors
    /// It cannot be read, or does not verify.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let manifest = Manifest::read(directory)?.unwrap_or_default();
        let mut tables = Levels::default();
        for Listed { level, number, proof } in &manifest.tables {
            let table = Arc::new(Table::open(directory, *number, *proof)?);
            let level = usize::from(*level);
            if level > LEVELS_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "level of a table"));
            }
            while tables.levels.len() < level {
                tables.levels.push(Vec::new());
            }
            match level.checked_sub(1) {
                None => tables.fresh.push(table),
                Some(level) => tables.levels[level].push(table),
            }
        }
        remove_unlisted(directory, &manifest)?;
        let view = View {
            runs: Arc::new(runs_of(&tables)),
            tables: Arc::new(tables),
            ..View::default()
        };
        let blocks = usize::try_from(CACHE_BYTES).unwrap_or(usize::MAX) / BLOCK_BYTES;
        Ok(Self {
            directory: directory.to_path_buf(),
            view: RwLock::new(Arc::new(view)),
            cache: Arc::new(BlockCache::with_weighter(blocks, CACHE_BYTES, BlockWeight)),
            next_number: AtomicU32::new(manifest.next_number.max(1)),
            progress: Mutex::new(manifest.progress),
            flushing: Mutex::default(),
        })
    }

    /// How far the tables hold the log.
    pub(super) fn progress(&self) -> Progress {
        lock(&self.progress).clone()
    }

    /// The entry of a row as `found` reads it.
    pub(super) fn get<T>(&self, key: &[u8], found: impl Fn(&[u8]) -> T) -> io::Result<Option<T>> {
        let view = self.view();
        for memtable in view.memtables() {
            if let Some(entry) = memtable.get(key) {
                return Ok(entry.map(found));
            }
        }
        let hash = KeyHash::of(key);
        for run in view.runs.iter() {
            let table = run.partition_point(|table| table.last_key() < key);
            let Some(table) = run.get(table) else { continue };
            let entry = table.get(key, hash, &self.cache, |entry| entry.map(&found))?;
            if let Some(entry) = entry {
                return Ok(entry);
            }
        }
        Ok(None)
    }

    /// Rows in key order as they are now.
    pub(super) fn scan(&self, from: &Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> io::Result<TreeScan> {
        let view = self.view();
        let memtables = view.memtables().cloned().map(Source::Memtable);
        let runs = view.runs.iter().cloned().map(Source::Run);
        TreeScan::begin(memtables.chain(runs), from, to, Some(&self.cache))
    }

    /// Rows, about: overwritten and forgotten ones count too.
    pub(super) fn rows_about(&self) -> u64 {
        let view = self.view();
        let memtables = view.memtables().map(|memtable| memtable.rows() as u64);
        let tables = view.tables.tables().map(|table| table.rows());
        memtables.sum::<u64>() + tables.sum::<u64>()
    }

    /// The memtable that is written to; only its one writer may [publish](Self::publish) another.
    pub(super) fn active(&self) -> Memtable {
        Memtable::clone(&self.view().active)
    }

    /// Makes a memtable the one that is read and written to.
    pub(super) fn publish(&self, active: Memtable) {
        self.update(|view| View {
            active: Arc::new(active),
            sealed: view.sealed.clone(),
            tables: view.tables.clone(),
            runs: view.runs.clone(),
        });
    }

    /// Has the memtable take no more rows. `progress` says how far the tables hold the log once it is flushed, if that is
    /// known.
    pub(super) fn seal(&self, progress: Option<Progress>) {
        self.update(|view| {
            let memtable = view.active.clone();
            let mut sealed = vec![Arc::new(Sealed { memtable, progress })];
            sealed.extend(view.sealed.iter().cloned());
            View {
                active: Arc::default(),
                sealed,
                tables: view.tables.clone(),
                runs: view.runs.clone(),
            }
        });
    }

    /// Memtables that wait to be flushed.
    pub(super) fn waiting(&self) -> usize {
        self.view().sealed.len()
    }

    /// Writes sealed memtables to tables, durably.
    pub(super) fn flush(&self) -> io::Result<()> {
        let _one_at_a_time = lock(&self.flushing);
        while let Some(oldest) = self.view().sealed.last().cloned() {
            let table = match oldest.memtable.rows() {
                0 => None,
                _ => Some(Arc::new(self.write_table(&oldest.memtable)?)),
            };
            let added = table.clone();
            let installed = self.install(oldest.progress.clone(), true, |tables| {
                let mut tables = tables.clone();
                tables.fresh.splice(0..0, added);
                tables
            });
            if let Err(error) = installed {
                self.remove(table.iter());
                return Err(error);
            }
        }
        Ok(())
    }

    fn write_table(&self, memtable: &Arc<Memtable>) -> io::Result<Table> {
        let number = self.take_number();
        let write = || {
            let mut writer = TableWriter::create(&self.directory, number)?;
            let source = Source::Memtable(memtable.clone());
            let mut rows = TreeScan::begin([source].into_iter(), &Bound::Unbounded, Bound::Unbounded, None)?;
            while let Some((key, entry)) = rows.next_version()? {
                writer.add(key, entry)?;
            }
            writer.finish()
        };
        write().inspect_err(|_| self.remove_files([number].into_iter()))
    }

    /// Does the merge that is due, if any, durably; false if there was none, or `stop` said to stop.
    pub(super) fn merge(&self, writers: Writers, stop: &dyn Fn() -> bool) -> io::Result<bool> {
        let Some(merge) = self.view().tables.next_merge(writers) else {
            return Ok(false);
        };
        let into = if merge.is_move() {
            merge.upper.clone()
        } else {
            match self.write_merged(&merge, stop)? {
                Some(into) => into,
                None => return Ok(false),
            }
        };
        let installed = self.install(None, false, |tables| tables.merged(&merge, into.clone()));
        if let Err(error) = installed {
            if !merge.is_move() {
                self.remove(into.iter());
            }
            return Err(error);
        }
        if !merge.is_move() {
            // Those who still read them hold them open.
            self.remove(merge.tables());
        }
        Ok(true)
    }

    /// The tables of a merge; `None` if it was stopped.
    fn write_merged(
        &self,
        merge: &Merge<Arc<Table>>,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<Vec<Arc<Table>>>> {
        let next_number = || self.take_number();
        let mut writer = TablesWriter::new(&self.directory, table_bytes(merge.level), &next_number);
        let runs = merge.fresh.iter().map(|table| vec![table.clone()]);
        let runs = runs.chain([merge.upper.clone(), merge.lower.clone()]);
        let sources = runs.map(|run| Source::Run(Arc::new(run)));
        let mut rows = TreeScan::begin(sources, &Bound::Unbounded, Bound::Unbounded, None)?;
        let mut met = 0_u64;
        while let Some((key, entry)) = rows.next_version()? {
            if entry.is_some() || !merge.oldest {
                writer.add(key, entry)?;
            }
            met += 1;
            if met.is_multiple_of(ROWS_UNTIL_LOOK) && stop() {
                return Ok(None);
            }
        }
        let tables = writer.finish()?;
        Ok(Some(tables.into_iter().map(Arc::new).collect()))
    }

    /// Makes other tables the ones that count, durably; with `flushed` they hold the oldest sealed memtable.
    fn install(
        &self,
        progress: Option<Progress>,
        flushed: bool,
        change: impl FnOnce(&Levels<Arc<Table>>) -> Levels<Arc<Table>>,
    ) -> io::Result<()> {
        let mut known = lock(&self.progress);
        let progress = progress.unwrap_or_else(|| known.clone());
        // Only here do the tables change, and only while `progress` is held.
        let tables = change(&self.view().tables);
        let manifest = Manifest {
            progress: progress.clone(),
            next_number: self.next_number.load(Ordering::Relaxed),
            tables: listed(&tables),
        };
        manifest.write(&self.directory)?;
        *known = progress;
        let (runs, tables) = (Arc::new(runs_of(&tables)), Arc::new(tables));
        self.update(|view| View {
            active: view.active.clone(),
            sealed: view.sealed[..view.sealed.len() - usize::from(flushed)].to_vec(),
            tables,
            runs,
        });
        Ok(())
    }

    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&View) -> View) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let new = Arc::new(change(&view));
        let old = std::mem::replace(&mut *view, new);
        // Freeing what nobody holds any more takes its time; nobody should wait for it.
        drop(view);
        drop(old);
    }

    fn take_number(&self) -> TableNumber {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    fn remove<'a>(&self, tables: impl Iterator<Item = &'a Arc<Table>>) {
        self.remove_files(tables.map(|table| Table::number(table)));
    }

    fn remove_files(&self, numbers: impl Iterator<Item = TableNumber>) {
        for number in numbers {
            let removed = fs::remove_file(self.directory.join(file_name(number)));
            if let Err(error) = removed
                && error.kind() != io::ErrorKind::NotFound
            {
                // The next start removes it.
                tracing::warn!(%error, number, "table of the row index not removed");
            }
        }
    }
}

fn listed(tables: &Levels<Arc<Table>>) -> Vec<Listed> {
    let list = |level: usize, table: &Arc<Table>| Listed {
        level: u8::try_from(level).unwrap_or(u8::MAX),
        number: Table::number(table),
        proof: table.proof(),
    };
    let fresh = tables.fresh.iter().map(|table| list(0, table));
    let levels = tables.levels.iter().enumerate();
    let levels = levels.flat_map(|(level, tables)| tables.iter().map(move |table| list(level + 1, table)));
    fresh.chain(levels).collect()
}

/// Removes tables that the manifest does not name.
fn remove_unlisted(directory: &Path, manifest: &Manifest) -> io::Result<()> {
    let listed = manifest
        .tables
        .iter()
        .map(|table| OsString::from(file_name(table.number)));
    let listed: HashSet<_> = listed.collect();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let is_table = name.to_str().is_some_and(|name| name.ends_with(".table"));
        if is_table && !listed.contains(&name) {
            fs::remove_file(directory.join(name))?;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind them is replaced as a whole, or nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
