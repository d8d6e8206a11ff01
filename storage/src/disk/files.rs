//! A real directory as a medium, locked against other processes.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::DiskError;
use super::medium::{Medium, MediumFile, Space};

/// File whose lock says that a process has the directory open.
const LOCK: &str = "lock";

/// A directory, ours until dropped.
pub(crate) struct Directory {
    path: PathBuf,
    handle: File,
    _lock: File,
}

impl Directory {
    /// Opens a directory, creating it (for its owner alone) if it is missing.
    ///
    /// # Errors
    /// `Locked`: another process has it open. `Io`.
    pub(crate) fn open(path: &Path) -> Result<Self, DiskError> {
        let failed = |action| {
            move |source| DiskError::Io {
                directory: path.to_path_buf(),
                action,
                source,
            }
        };
        create_private(path).map_err(failed("create directory"))?;
        let lock = open_options().create(true).truncate(false).open(path.join(LOCK));
        let lock = lock.map_err(failed("open lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DiskError::Locked {
                    directory: path.to_path_buf(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let handle = File::open(path).map_err(failed("open directory"))?;
        Ok(Self {
            path: path.to_path_buf(),
            handle,
            _lock: lock,
        })
    }
}

/// Creates a directory and what is missing above it, for its owner alone, and makes their names durable: what is synced
/// in a directory is lost with the name of any above it.
///
/// # Errors
/// One cannot be created or synced.
pub(crate) fn create_private(path: &Path) -> io::Result<()> {
    let missing = path
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.is_dir());
    let missing: Vec<_> = missing.collect();
    let deepest = missing.last().map_or(Some(path), |highest| highest.parent());
    // It may have been created by a process that was killed before it could sync.
    match deepest.map_or(Ok(()), sync_name) {
        // Where nobody may look or write, it was not created by us.
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::InvalidInput
            ) =>
        {
            return Err(error);
        }
        _ => {}
    }
    for directory in missing.into_iter().rev() {
        DirBuilder::new().mode(0o700).create(directory)?;
        sync_name(directory)?;
    }
    Ok(())
}

/// Makes the name of a file or directory durable.
fn sync_name(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => File::open(".")?.sync_all(),
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

impl Medium for Directory {
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        let file = open_options().create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>> {
        Ok(Arc::new(RealFile(open_options().open(self.path.join(name))?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = statvfs(&self.path)?;
        Ok(Space {
            total: stat.f_blocks * stat.f_frsize,
            available: stat.f_bavail * stat.f_frsize,
        })
    }
}

struct RealFile(File);

impl MediumFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < into.len() {
            match self.0.read_at(&mut into[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()> {
        fallocate(
            &self.0,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            len,
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_in_use_is_not_opened_twice() {
        let temporary = tempfile::tempdir().unwrap();
        let first = Directory::open(&temporary.path().join("rows")).unwrap();
        let second = Directory::open(&temporary.path().join("rows"));
        assert!(matches!(second, Err(DiskError::Locked { .. })));
        drop(first);
        Directory::open(&temporary.path().join("rows")).unwrap();
    }

    #[test]
    fn directories_are_created_for_their_owner_alone_whatever_is_missing_above() {
        use std::os::unix::fs::PermissionsExt;
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b/c");
        for _ in 0..2 {
            create_private(&path).unwrap();
            for directory in [temporary.path().join("a"), path.clone()] {
                assert_eq!(
                    fs::metadata(directory).unwrap().permissions().mode() & 0o777,
                    0o700
                );
            }
        }
        fs::write(temporary.path().join("file"), []).unwrap();
        assert!(create_private(&temporary.path().join("file/a")).is_err());
    }

    #[test]
    fn a_punched_hole_reads_as_zeros_and_leaves_its_neighbours() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        let file = directory.create("file").unwrap();
        file.write_at(&[7; 12 << 10], 0).unwrap();
        file.punch_hole(4 << 10, 4 << 10).unwrap();
        let mut read = vec![1; 16 << 10];
        assert_eq!(file.read_at(&mut read, 0).unwrap(), 12 << 10);
        assert!(read[..4 << 10].iter().all(|byte| *byte == 7));
        assert!(read[4 << 10..8 << 10].iter().all(|byte| *byte == 0));
        assert!(read[8 << 10..12 << 10].iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_medium_names_its_files_and_knows_its_room() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::open(temporary.path()).unwrap();
        directory.create("a").unwrap();
        assert!(directory.create("a").is_err());
        directory.rename("a", "b").unwrap();
        directory.sync_directory().unwrap();
        let mut names = directory.list().unwrap();
        names.sort();
        assert_eq!(names, ["b", "lock"]);
        let space = directory.space().unwrap();
        assert!(space.total >= space.available);
    }
}
