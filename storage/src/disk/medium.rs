//! The port to a directory of files: real here, simulated with faults in `fault`.

use std::io;
use std::sync::Arc;

/// Room in the file system of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes the file system holds in all.
    pub total: u64,
    /// Bytes an unprivileged process may still write.
    pub available: u64,
}

/// One flat directory of files.
///
/// Creation, removal and renaming are durable only after [`Medium::sync_directory`].
pub trait Medium: Send + Sync + 'static {
    /// Creates a new, empty file.
    ///
    /// # Errors
    /// The name exists, or the device fails.
    fn create(&self, name: &str) -> io::Result<Arc<dyn MediumFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// No such file, or the device fails.
    fn open(&self, name: &str) -> io::Result<Arc<dyn MediumFile>>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// The device fails.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// No such file, or the device fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing any file of the new name.
    ///
    /// # Errors
    /// No such file, or the device fails.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes creations, removals and renames so far durable.
    ///
    /// # Errors
    /// The device fails; what is durable is then unknown.
    fn sync_directory(&self) -> io::Result<()>;

    /// Room in the file system.
    ///
    /// # Errors
    /// The device fails.
    fn space(&self) -> io::Result<Space>;
}

/// One file of a medium. Concurrent calls are fine.
// Nobody asks whether a file is empty.
#[allow(clippy::len_without_is_empty)]
pub trait MediumFile: Send + Sync + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// The device fails.
    fn len(&self) -> io::Result<u64>;

    /// Reads at most `into.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// The device fails.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The device fails or is full; any prefix may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file's content and length durable.
    ///
    /// # Errors
    /// The device fails. Never retried: pages may have been dropped, and a second call would lie.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends (with zeros) the file.
    ///
    /// # Errors
    /// The device fails.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Gives the room of a range back to the file system; it then reads as zeros.
    ///
    /// # Errors
    /// The device fails or cannot punch holes.
    fn punch_hole(&self, offset: u64, len: u64) -> io::Result<()>;
}
