//! Recognises the directories of blocks that belong to a node, and refuses those that do not.
//!
//! Two files, integers little-endian. `blocks.identity` in each directory of blocks:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `WRNi` |
//! | 4 | format of the directory, 1 |
//! | 16 | id of the set of directories it belongs to |
//! | 16 | its own id |
//! | 4 | CRC32C of all above |
//!
//! `blocks.set` in the directory of rows, which lists the set:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | `WRNs` |
//! | 4 | format, 1 |
//! | 16 | id of the set |
//! | 4 | number of directories |
//! | each: 16, 4, n | its id, n, the path at which it was last seen |
//! | 4 | CRC32C of all above |
//!
//! Directories are told apart by their ids, so they may change places. A path that is listed but holds no
//! identity is a disk that is not mounted: it is never taken for a new, empty directory.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::disk::medium::Medium;

const IDENTITY_FILE: &str = "blocks.identity";
const SET_FILE: &str = "blocks.set";
const FORMAT: u32 = 1;

/// Which directory of which set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) set: [u8; 16],
    pub(super) directory: [u8; 16],
}

/// The directories of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) id: [u8; 16],
    pub(super) directories: Vec<([u8; 16], PathBuf)>,
}

/// Why a file of identity cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// Not the bytes that were written.
    Damaged,
    /// A newer Warren wrote it.
    Newer(u32),
}

/// What a directory turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One of ours.
    Ours([u8; 16]),
    /// New: it gets an identity.
    New,
    /// One of ours should be there and is not.
    Absent([u8; 16]),
    /// Not to be touched, and why.
    Foreign(&'static str),
}

impl Set {
    /// Judges the directory at `path`, which has this identity and maybe segments.
    pub(super) fn judge(&self, path: &Path, found: Option<Identity>, has_segments: bool) -> Verdict {
        let listed = self.directories.iter().find(|(_, known)| known == path);
        match (found, listed) {
            (Some(identity), _) if identity.set == self.id => Verdict::Ours(identity.directory),
            (Some(_), _) => Verdict::Foreign("it belongs to another store"),
            (None, Some((directory, _))) => Verdict::Absent(*directory),
            (None, None) if has_segments => Verdict::Foreign("it holds blocks but does not say whose"),
            (None, None) => Verdict::New,
        }
    }

    /// Remembers where a directory is.
    pub(super) fn note(&mut self, directory: [u8; 16], path: &Path) {
        match self.directories.iter_mut().find(|(known, _)| *known == directory) {
            Some((_, known)) => *known = path.to_path_buf(),
            None => self.directories.push((directory, path.to_path_buf())),
        }
    }

    pub(super) fn read(medium: &dyn Medium) -> io::Result<Option<Result<Self, Unusable>>> {
        Ok(read(medium, SET_FILE)?.map(|bytes| Self::decode(&bytes)))
    }

    pub(super) fn write(&self, medium: &dyn Medium) -> io::Result<()> {
        replace(medium, SET_FILE, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = b"WRNs".to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.id);
        bytes.extend(count(self.directories.len()));
        for (directory, path) in &self.directories {
            bytes.extend(directory);
            bytes.extend(count(path.as_os_str().len()));
            bytes.extend(path.as_os_str().as_bytes());
        }
        summed(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let fields = checked(bytes, b"WRNs")?;
        Self::fields(fields).ok_or(Unusable::Damaged)
    }

    fn fields(fields: &[u8]) -> Option<Self> {
        let (id, fields) = fields.split_first_chunk()?;
        let (count, mut fields) = fields.split_first_chunk()?;
        let mut directories = Vec::new();
        for _ in 0..u32::from_le_bytes(*count) {
            let (directory, rest) = fields.split_first_chunk()?;
            let (len, rest) = rest.split_first_chunk()?;
            let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
            directories.push((*directory, PathBuf::from(OsString::from_vec(path.to_vec()))));
            fields = rest;
        }
        fields.is_empty().then_some(Self { id: *id, directories })
    }
}

/// Whether a directory says that it holds the blocks of a store, whichever that is.
///
/// # Errors
/// It cannot be looked at.
pub fn is_of_a_store(directory: &Path) -> io::Result<bool> {
    directory.join(IDENTITY_FILE).try_exists()
}

impl Identity {
    pub(super) fn read(medium: &dyn Medium) -> io::Result<Option<Result<Self, Unusable>>> {
        Ok(read(medium, IDENTITY_FILE)?.map(|bytes| Self::decode(&bytes)))
    }

    pub(super) fn write(&self, medium: &dyn Medium) -> io::Result<()> {
        replace(medium, IDENTITY_FILE, &self.encode())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = b"WRNi".to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.set);
        bytes.extend(self.directory);
        summed(bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let fields = checked(bytes, b"WRNi")?;
        let (set, directory) = fields.split_first_chunk().ok_or(Unusable::Damaged)?;
        let directory = directory.try_into().map_err(|_| Unusable::Damaged)?;
        Ok(Self { set: *set, directory })
    }
}

/// Newest format this program reads, for messages.
pub(super) const KNOWN: u32 = FORMAT;

/// Lists and paths are far shorter than 2^32.
fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc_fast::crc32_iscsi(&bytes);
    bytes.extend(sum.to_le_bytes());
    bytes
}

/// The fields behind magic and format, if the checksum holds.
fn checked<'a>(bytes: &'a [u8], magic: &[u8; 4]) -> Result<&'a [u8], Unusable> {
    let (covered, sum) = bytes.split_last_chunk().ok_or(Unusable::Damaged)?;
    let fields = covered.strip_prefix(magic).ok_or(Unusable::Damaged)?;
    if crc_fast::crc32_iscsi(covered) != u32::from_le_bytes(*sum) {
        return Err(Unusable::Damaged);
    }
    match fields
        .split_first_chunk()
        .map(|(format, fields)| (u32::from_le_bytes(*format), fields))
    {
        Some((FORMAT, fields)) => Ok(fields),
        Some((newer, _)) => Err(Unusable::Newer(newer)),
        None => Err(Unusable::Damaged),
    }
}

fn read(medium: &dyn Medium, name: &str) -> io::Result<Option<Vec<u8>>> {
    if !medium.list()?.iter().any(|file| file == name) {
        return Ok(None);
    }
    let file = medium.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()?.min(1 << 20)).unwrap_or(0)];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a file as a whole: after a crash it is the old one or the new one.
fn replace(medium: &dyn Medium, name: &str, bytes: &[u8]) -> io::Result<()> {
    let partial = format!("{name}.new");
    if medium.list()?.contains(&partial) {
        medium.remove(&partial)?;
    }
    let file = medium.create(&partial)?;
    file.write_at(bytes, 0)?;
    file.sync_data()?;
    medium.rename(&partial, name)?;
    medium.sync_directory()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Identity = Identity {
        set: [1; 16],
        directory: [2; 16],
    };

    fn set() -> Set {
        Set {
            id: [1; 16],
            directories: vec![([2; 16], "/a".into())],
        }
    }

    #[test]
    fn directories_may_change_places() {
        assert_eq!(
            set().judge(Path::new("/b"), Some(OURS), true),
            Verdict::Ours([2; 16])
        );
    }

    #[test]
    fn a_disk_that_is_not_mounted_is_not_taken_for_a_new_one() {
        assert_eq!(
            set().judge(Path::new("/a"), None, false),
            Verdict::Absent([2; 16])
        );
        assert_eq!(set().judge(Path::new("/b"), None, false), Verdict::New);
    }

    #[test]
    fn a_directory_of_another_store_is_refused() {
        let other = Identity { set: [9; 16], ..OURS };
        assert!(matches!(
            set().judge(Path::new("/a"), Some(other), false),
            Verdict::Foreign(_)
        ));
        assert!(matches!(
            set().judge(Path::new("/b"), None, true),
            Verdict::Foreign(_)
        ));
    }

    #[test]
    fn version_1_identities_keep_their_bytes() {
        let identity = include_bytes!("../../../fixtures/blocks-identity-1.bin");
        assert_eq!(Identity::decode(identity), Ok(OURS));
        assert_eq!(OURS.encode(), identity);
        let list = include_bytes!("../../../fixtures/blocks-set-1.bin");
        assert_eq!(Set::decode(list), Ok(set()));
        assert_eq!(set().encode(), list);
    }

    #[test]
    fn a_newer_or_damaged_identity_is_told_apart() {
        let mut bytes = OURS.encode();
        bytes[20] ^= 1;
        assert_eq!(Identity::decode(&bytes), Err(Unusable::Damaged));
        let mut newer = OURS.encode();
        newer.truncate(newer.len() - 4);
        newer[4] = 2;
        assert_eq!(Identity::decode(&summed(newer)), Err(Unusable::Newer(2)));
        assert_eq!(Identity::decode(b""), Err(Unusable::Damaged));
    }
}
