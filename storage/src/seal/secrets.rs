//! The files that the keys of a mesh live in.
//!
//! `mesh.keys` (mode 0600) holds every generation in the clear: whoever reads this file reads the store, and can let others
//! into the mesh. `recovery.sealed` holds each as a letter to the recovery phrase, and may be copied anywhere; new ones are
//! added without the phrase. Both are CBOR:
//!
//! ```text
//! mesh.keys        {version: 3, secrets}
//! recovery.sealed  {version: 3, public: 32 bytes, letters: [letter to it of one generation]}
//! secrets          {generations: [generation]}, the oldest first
//! generation       {number, mesh: 32 bytes, signing: 32 bytes}
//! ```
//! `mesh` is K_mesh, `signing` the seed of the key that signs for the mesh. `public` is the ed25519 key that the phrase
//! stands for. Version 2 kept the two kinds of keys apart, and wrapped all of them at once with a key that only the phrase
//! gave.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tracing::warn;
use zeroize::{Zeroize, Zeroizing};

use super::envelope::{InvalidEnvelope, cbor};
use super::letter::{NodeSecret, seal_letter};
use super::phrase::RecoveryPhrase;

pub(super) const KEYS_FILE: &str = "mesh.keys";
pub(super) const RECOVERY_FILE: &str = "recovery.sealed";
const VERSION: u32 = 3;
/// Sets letters to the phrase apart from those to members.
pub(super) const FOR_RECOVERY: &[&[u8]] = &[b"recovery.sealed"];

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    /// The file system failed.
    #[error("{action} {}", .path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Anyone on this machine could read the keys.
    #[error("{} can be read by others; run: chmod 600 {}", .0.display(), .0.display())]
    WorldReadable(PathBuf),
    /// A new keyring would take its place.
    #[error("{} exists already; it is never overwritten", .0.display())]
    Exists(PathBuf),
    /// Not a key file of ours.
    #[error("{} is damaged; restore it from a backup or from the recovery phrase", .0.display())]
    Damaged(PathBuf),
    /// Written by a newer program.
    #[error("{} was written by a newer Warren", .0.display())]
    Newer(PathBuf),
    /// The state has data but no keys.
    #[error("{} is missing, but the store has data; restore the file, or give the recovery phrase", .0.display())]
    Missing(PathBuf),
    /// The words are no phrase, or not the phrase of this mesh.
    #[error("{0}")]
    Phrase(String),
}

/// The keys that a mesh began to use at one time. Has no `Debug`, so that it reaches no log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(crate) struct Generation {
    /// The first is 1.
    pub(super) number: u32,
    #[serde(with = "serde_bytes")]
    pub(super) mesh: [u8; 32],
    #[serde(with = "serde_bytes")]
    pub(super) signing: [u8; 32],
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.mesh.zeroize();
        self.signing.zeroize();
    }
}

impl Generation {
    /// Keys that nobody has yet.
    pub(super) fn random(number: u32) -> Self {
        Self {
            number,
            mesh: super::random(),
            signing: super::random(),
        }
    }

    /// Seals it to one key; `None` where the bytes are none.
    pub(super) fn seal_to(&self, to: &[u8], context: &[&[u8]]) -> Option<Bytes> {
        seal_letter(to, context, &Zeroizing::new(cbor(self))).map(Bytes::from)
    }

    /// Opens [`Self::seal_to`].
    pub(super) fn open(key: &NodeSecret, context: &[&[u8]], letter: &[u8]) -> Result<Self, InvalidEnvelope> {
        let text = key.open(context, letter)?;
        ciborium::from_reader(text.as_slice()).map_err(|_| InvalidEnvelope::Unreadable)
    }
}

/// Every generation of the keys of a mesh, the oldest first. Has no `Debug`, so that it reaches no log.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(crate) struct Secrets {
    pub(super) generations: Vec<Generation>,
}

/// All generations as letters to the recovery phrase.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    #[serde(with = "serde_bytes")]
    pub(super) public: [u8; 32],
    pub(super) letters: Vec<Bytes>,
}

#[derive(Serialize, Deserialize)]
struct KeysFile {
    version: u32,
    secrets: Secrets,
}

#[derive(Serialize, Deserialize)]
struct RecoveryFile {
    version: u32,
    #[serde(flatten)]
    recovery: Recovery,
}

/// The version that every file has, whatever else is in it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Secrets {
    pub(super) fn first() -> Self {
        Self {
            generations: vec![Generation::random(1)],
        }
    }

    /// Keys that are the same in every test.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        Self {
            generations: vec![Generation {
                number: 1,
                mesh: [3; 32],
                signing: [5; 32],
            }],
        }
    }

    /// All keys of the mesh as this state directory has them.
    ///
    /// # Errors
    /// Missing, damaged, readable by others, or the disk fails.
    pub(crate) fn read(state: &Path) -> Result<Self, KeyringError> {
        let path = state.join(KEYS_FILE);
        let metadata = fs::metadata(&path).map_err(|source| io_error("read", &path, source))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(KeyringError::WorldReadable(path));
        }
        let file: KeysFile = read_file(&path)?;
        if file.secrets.generations.is_empty() {
            return Err(KeyringError::Damaged(path));
        }
        Ok(file.secrets)
    }

    /// Keeps the keys of a mesh in a state directory that has none.
    ///
    /// # Errors
    /// `Exists`, or the disk fails.
    pub(crate) fn keep(&self, state: &Path, recovery: &[u8]) -> Result<(), KeyringError> {
        if are_kept(state)? {
            return Err(KeyringError::Exists(state.join(KEYS_FILE)));
        }
        // The recovery file first: keys without it could never be recovered.
        write_file(&state.join(RECOVERY_FILE), recovery)?;
        self.write(state)
    }

    pub(super) fn write(&self, state: &Path) -> Result<(), KeyringError> {
        let file = KeysFile {
            version: VERSION,
            secrets: self.clone(),
        };
        write_file(&state.join(KEYS_FILE), &Zeroizing::new(cbor(&file)))
    }
}

impl Recovery {
    /// Letters of these keys to what a phrase stands for.
    pub(super) fn to(phrase: &NodeSecret, secrets: &Secrets) -> Self {
        let mut recovery = Self {
            public: phrase.public(),
            letters: Vec::new(),
        };
        for generation in &secrets.generations {
            recovery.letters.extend(recovery.letter(generation));
        }
        recovery
    }

    /// As this state directory has them; `None` where somebody took the file away.
    ///
    /// # Errors
    /// Damaged, or the disk fails.
    pub(super) fn read(state: &Path) -> Result<Option<Self>, KeyringError> {
        let path = state.join(RECOVERY_FILE);
        match read_file::<RecoveryFile>(&path) {
            Ok(file) => Ok(Some(file.recovery)),
            Err(KeyringError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let path = path.display();
                warn!(%path, "missing: the recovery phrase opens nothing here; copy the file from another box");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds what is not there yet.
    pub(super) fn add(&mut self, letter: &Bytes) {
        if !letter.is_empty() && !self.letters.contains(letter) {
            self.letters.push(letter.clone());
        }
    }

    /// One generation as a letter to the phrase; `None` where what was read of it is no key.
    pub(super) fn letter(&self, generation: &Generation) -> Option<Bytes> {
        generation.seal_to(&self.public, FOR_RECOVERY)
    }

    pub(super) fn write(&self, state: &Path) -> Result<(), KeyringError> {
        write_file(&state.join(RECOVERY_FILE), &self.file())
    }

    /// The bytes of the file that it is kept in.
    pub(super) fn file(&self) -> Vec<u8> {
        cbor(&RecoveryFile {
            version: VERSION,
            recovery: self.clone(),
        })
    }

    /// Opens all letters, and keeps what was in them.
    pub(super) fn recover(state: &Path, words: &str) -> Result<(Secrets, Self), KeyringError> {
        let phrase = RecoveryPhrase::parse(words).map_err(KeyringError::Phrase)?;
        let file: RecoveryFile = read_file(&state.join(RECOVERY_FILE))?;
        let (recovery, key) = (file.recovery, phrase.secret());
        // A letter that somebody spoiled must not keep the others shut.
        let opened = recovery.letters.iter();
        let opened = opened.filter_map(|letter| Generation::open(&key, FOR_RECOVERY, letter).ok());
        let mut generations: Vec<_> = opened.collect();
        if generations.is_empty() {
            let why = "these words do not open this mesh's keys";
            return Err(KeyringError::Phrase(why.into()));
        }
        generations.sort_by_key(|generation| generation.number);
        let secrets = Secrets { generations };
        secrets.write(state)?;
        Ok((secrets, recovery))
    }
}

/// Whether a state directory has keys. One that cannot be asked for is not one that is missing.
pub(super) fn are_kept(state: &Path) -> Result<bool, KeyringError> {
    let keys = state.join(KEYS_FILE);
    keys.try_exists()
        .map_err(|source| io_error("find", &keys, source))
}

/// Renamed, perhaps, by a process that was killed before it could sync: what these keys seal must not outlive them.
pub(super) fn sync(state: &Path) -> Result<(), KeyringError> {
    sync_directory(state).map_err(|source| io_error("sync", state, source))
}

pub(super) fn missing(state: &Path) -> KeyringError {
    KeyringError::Missing(state.join(KEYS_FILE))
}

/// What holds the keys for the recovery phrase, as this state directory has it.
///
/// # Errors
/// The disk fails.
pub(crate) fn recovery_file(state: &Path) -> Result<Vec<u8>, KeyringError> {
    let path = state.join(RECOVERY_FILE);
    fs::read(&path).map_err(|source| io_error("read", &path, source))
}

/// Reads the bytes of `recovery.sealed`; `None` for what is none, or was written by a newer program.
pub(super) fn parse_recovery(bytes: &[u8]) -> Option<Recovery> {
    let Versioned { version } = ciborium::from_reader(bytes).ok()?;
    let file: RecoveryFile = ciborium::from_reader(bytes).ok()?;
    (version <= VERSION).then_some(file.recovery)
}

fn read_file<T: DeserializeOwned>(path: &Path) -> Result<T, KeyringError> {
    let bytes = Zeroizing::new(fs::read(path).map_err(|source| io_error("read", path, source))?);
    let damaged = || KeyringError::Damaged(path.to_owned());
    let Versioned { version } = ciborium::from_reader(bytes.as_slice()).map_err(|_| damaged())?;
    if version > VERSION {
        return Err(KeyringError::Newer(path.to_owned()));
    }
    ciborium::from_reader(bytes.as_slice()).map_err(|_| damaged())
}

/// Writes a new file that is whole or absent after a power cut, and readable by its owner alone.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), KeyringError> {
    let partial = path.with_extension("partial");
    let write = || -> io::Result<()> {
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(bytes)?;
        // Sync before renaming: after a crash the name must never point at a torn file.
        file.sync_all()?;
        fs::rename(&partial, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    };
    write().map_err(|source| io_error("write", path, source))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyringError {
    KeyringError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_third_format_stay_readable() {
        let state = tempfile::tempdir().unwrap();
        Secrets::sample().keep(state.path(), b"").unwrap();
        let path = state.path().join(KEYS_FILE);
        let fixture = include_bytes!("../../fixtures/mesh-keys-3.bin");
        assert_eq!(fs::read(&path).unwrap(), fixture);
        fs::write(&path, fixture).unwrap();
        assert!(Secrets::read(state.path()).unwrap() == Secrets::sample());
    }

    #[test]
    fn a_recovery_file_of_the_third_format_stays_readable() {
        let state = tempfile::tempdir().unwrap();
        let fixture = include_bytes!("../../fixtures/recovery-3.bin");
        fs::write(state.path().join(RECOVERY_FILE), fixture).unwrap();
        let read = Recovery::read(state.path()).unwrap().unwrap();
        let key = NodeSecret::from_bytes(&[9; 32]);
        assert_eq!(read.public, key.public());
        let opened = Generation::open(&key, FOR_RECOVERY, &read.letters[0]).unwrap();
        assert!(opened == Secrets::sample().generations[0]);
    }
}
