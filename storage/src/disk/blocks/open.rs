//! Opens the directories of a node: judges each, gives new ones an identity, goes on without those that are missing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::directory::{Directory, LOG, Opening};
use super::identity::{Identity, KNOWN, Set, Unusable, Verdict};
use super::map::Maps;
use super::stamps::Stamps;
use super::{Blocks, DirectoryState, DirectoryStatus, Inner, Reopening};
use crate::disk::drive::Drive;
use crate::disk::log::Segments;
use crate::disk::medium::Medium;
use crate::disk::{BlockDirectory, DiskError, files};

/// What to do about a directory that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum IfAbsent {
    /// Create it.
    Create,
    /// Fail: it should be there.
    Fail,
}

/// Opens a directory as a medium.
pub(in crate::disk) type OpenMedium = dyn Fn(&Path, IfAbsent) -> Result<Arc<dyn Medium>, DiskError>;

/// Opens a real directory.
pub(in crate::disk) fn open_directory(
    path: &Path,
    if_absent: IfAbsent,
) -> Result<Arc<dyn Medium>, DiskError> {
    if if_absent == IfAbsent::Fail && !path.is_dir() {
        return Err(io(path, "open directory", std::io::ErrorKind::NotFound.into()));
    }
    Ok(Arc::new(files::Directory::open(path)?))
}

/// How the blocks of a node are laid out.
pub(crate) struct BlocksOptions<'a> {
    /// Where the list of directories is kept: the directory of rows.
    pub(crate) state: &'a dyn Medium,
    /// Its path, for messages.
    pub(crate) state_path: PathBuf,
    /// Where the index is.
    pub(crate) index: IndexAt,
    /// Directories of blocks.
    pub(crate) directories: Vec<BlockDirectory>,
    /// Opens one of them.
    pub(crate) open: &'a OpenMedium,
    /// A segment that has this many bytes is followed by another.
    pub(crate) segment_bytes: u64,
    /// Bytes a second at which old segments are rewritten.
    pub(crate) rewrite_pace: u64,
    /// Who does the work.
    pub(crate) drive: Drive,
}

/// Where the index of blocks is.
pub(crate) enum IndexAt {
    /// In this directory. Deleted and rebuilt if it does not open.
    Directory(PathBuf),
    /// In memory, made anew at each start.
    #[cfg(any(test, feature = "simulation"))]
    Memory,
}

/// A directory of this store: its identity, where it is, its capacity and its files.
type Listed<'a> = ([u8; 16], &'a PathBuf, Option<u64>, Arc<dyn Medium>);

impl Blocks {
    /// Opens the blocks of a node, creating what is new. Blocks the thread.
    ///
    /// # Errors
    /// `Foreign`: a directory belongs elsewhere, or it cannot be told whose it is. `NewerFormat`. `Locked`.
    /// `Io`: the list of directories, or one that is new, cannot be used. `Index`.
    pub(crate) fn open(options: &BlocksOptions<'_>) -> Result<Self, DiskError> {
        let inner = Inner::open(options, Arc::default())?;
        Ok(Self(Arc::new(Reopening::new(inner))))
    }
}

impl Inner {
    /// As [`Blocks::open`]; stamps go on from those given.
    pub(super) fn open(options: &BlocksOptions<'_>, stamps: Arc<Stamps>) -> Result<Self, DiskError> {
        let listed = read_set(options)?;
        let mut set = listed.clone();
        let mut found: Vec<Listed<'_>> = Vec::new();
        let mut missing = Vec::new();
        for BlockDirectory { path, capacity } in &options.directories {
            match admit(options, &mut set, path)? {
                Some((identity, _)) if found.iter().any(|(other, ..)| *other == identity) => {
                    return Err(DiskError::Foreign {
                        directory: path.clone(),
                        reason: "it is a copy of another directory of this store",
                    });
                }
                Some((identity, medium)) => found.push((identity, path, *capacity, medium)),
                None => missing.push(path.clone()),
            }
        }
        // A full disk must not prevent a start that changes nothing.
        if set != listed {
            write_set(options, &set)?;
        }
        let given = |directory: &[u8; 16]| found.iter().any(|(identity, ..)| identity == directory);
        let absent = set
            .directories
            .iter()
            .filter(|(directory, path)| !given(directory) && !missing.contains(path));
        let mut absent: Vec<_> = absent.map(|(_, path)| path.clone()).collect();
        missing.append(&mut absent);
        let maps = match &options.index {
            IndexAt::Directory(path) => Maps::open(path)?,
            #[cfg(any(test, feature = "simulation"))]
            IndexAt::Memory => Maps::Memory(Arc::default()),
        };
        let mut directories = Vec::new();
        for (identity, path, capacity, medium) in found {
            let opened = Directory::open(Opening {
                path: path.clone(),
                identity,
                medium,
                capacity,
                segment_bytes: options.segment_bytes,
                maps: maps.clone(),
                stamps: stamps.clone(),
                rewrite_pace: options.rewrite_pace,
                drive: options.drive,
            });
            match opened {
                Ok(directory) => directories.push(directory),
                // A failing device degrades the node, it does not end it.
                Err(error @ DiskError::Io { .. }) => {
                    tracing::error!(%error, directory = %path.display(), "directory of blocks not opened");
                    missing.push(path.clone());
                }
                Err(error) => {
                    directories.iter().for_each(Directory::close);
                    return Err(error);
                }
            }
        }
        for path in &missing {
            tracing::warn!(directory = %path.display(), "directory of blocks is missing");
        }
        directories.sort_by_key(|directory| directory.identity);
        Ok(Self {
            directories,
            absent: missing.into_iter().map(missing_status).collect(),
            maps: Some(maps),
            is_short: false,
            stamps,
            drive: options.drive,
        })
    }
}

fn missing_status(path: PathBuf) -> DirectoryStatus {
    DirectoryStatus {
        path,
        state: DirectoryState::Missing,
        used: 0,
        given: 0,
        full: false,
        damaged: 0,
        frames_lost: 0,
    }
}

fn read_set(options: &BlocksOptions<'_>) -> Result<Set, DiskError> {
    let read = Set::read(options.state)
        .map_err(|source| io(&options.state_path, "read list of directories", source))?;
    match read {
        Some(Ok(set)) => Ok(set),
        Some(Err(why)) => Err(refused(
            &options.state_path,
            why,
            "the list of block directories is damaged",
        )),
        None => {
            let set = Set {
                id: random(&options.state_path)?,
                directories: Vec::new(),
            };
            // Before any directory says that it belongs to the set.
            write_set(options, &set)?;
            Ok(set)
        }
    }
}

fn write_set(options: &BlocksOptions<'_>, set: &Set) -> Result<(), DiskError> {
    set.write(options.state)
        .map_err(|source| io(&options.state_path, "write list of directories", source))
}

/// The id of a directory, and the directory.
type Admitted = ([u8; 16], Arc<dyn Medium>);

/// Opens one directory if it is ours or new; `None` if it is ours and missing.
fn admit(options: &BlocksOptions<'_>, set: &mut Set, path: &Path) -> Result<Option<Admitted>, DiskError> {
    let listed = set.directories.iter().any(|(_, known)| known == path);
    let if_absent = if listed { IfAbsent::Fail } else { IfAbsent::Create };
    let medium = match (options.open)(path, if_absent) {
        Ok(medium) => medium,
        Err(DiskError::Io { .. }) if listed => return Ok(None),
        Err(error) => return Err(error),
    };
    let failed = |source| io(path, "read identity", source);
    let found = match Identity::read(&*medium) {
        Ok(None) => None,
        Ok(Some(Ok(identity))) => Some(identity),
        Ok(Some(Err(why))) => return Err(refused(path, why, "its identity is damaged")),
        Err(_) if listed => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let segments = Segments::find(medium.clone(), LOG, path).map_err(failed)?;
    let identity = match set.judge(path, found, !segments.numbers().is_empty()) {
        Verdict::Ours(identity) => identity,
        Verdict::Absent(_) => return Ok(None),
        Verdict::Foreign(reason) => {
            return Err(DiskError::Foreign {
                directory: path.into(),
                reason,
            });
        }
        Verdict::New => {
            let directory = random(path)?;
            let identity = Identity {
                set: set.id,
                directory,
            };
            // Before the list: after a crash in between the directory still says whose it is.
            identity
                .write(&*medium)
                .map_err(|source| io(path, "write identity", source))?;
            directory
        }
    };
    set.note(identity, path);
    Ok(Some((identity, medium)))
}

fn random(path: &Path) -> Result<[u8; 16], DiskError> {
    let mut bytes = [0; 16];
    crate::random::fill(&mut bytes)
        .map_err(|error| io(path, "make identity", std::io::Error::other(error.to_string())))?;
    Ok(bytes)
}

fn refused(path: &Path, why: Unusable, reason: &'static str) -> DiskError {
    match why {
        Unusable::Damaged => DiskError::Foreign {
            directory: path.into(),
            reason,
        },
        Unusable::Newer(found) => DiskError::NewerFormat {
            directory: path.into(),
            found,
            known: KNOWN,
        },
    }
}

fn io(path: &Path, action: &'static str, source: std::io::Error) -> DiskError {
    DiskError::Io {
        directory: path.into(),
        action,
        source,
    }
}
