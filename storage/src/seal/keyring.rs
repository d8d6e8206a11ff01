//! The keys of the mesh as this node holds them, and the files they live in.
//!
//! `mesh.keys` (mode 0600) holds the generations in the clear: whoever reads this file reads the store, and can let others
//! into the mesh. `recovery.sealed` holds them wrapped by the recovery phrase and may be copied anywhere. Both are CBOR:
//!
//! ```text
//! mesh.keys        {version: 2, secrets}
//! recovery.sealed  {version: 2, wrapped: envelope of secrets}
//! secrets          {generations: [{number, key: 32 bytes}], signing: [{number, key: 32 bytes}]}
//! ```
//! `generations` are K_mesh, `signing` the seeds of the key that signs for the mesh, the oldest first. Version 1 had no
//! signing key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::envelope::{EnvelopeKey, InvalidEnvelope, cbor};
use super::phrase::RecoveryPhrase;

const KEYS_FILE: &str = "mesh.keys";
const RECOVERY_FILE: &str = "recovery.sealed";
const VERSION: u32 = 2;

const DEDUP: &str = "warren 2026 block keys from block content";
const OWNER: &str = "warren 2026 names of block owners";
const ROOT: &str = "warren 2026 root rows";
const ROWS: &str = "warren 2026 details of rows of one bucket";

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

#[derive(Serialize, Deserialize, Clone)]
struct Generation {
    number: u32,
    #[serde(with = "serde_bytes")]
    key: [u8; 32],
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// Every generation of every key of a mesh. Has no `Debug`, so that it reaches no log.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Secrets {
    generations: Vec<Generation>,
    signing: Vec<Generation>,
}

#[derive(Serialize, Deserialize)]
struct KeysFile {
    version: u32,
    secrets: Secrets,
}

#[derive(Serialize, Deserialize)]
struct RecoveryFile {
    version: u32,
    #[serde(with = "serde_bytes")]
    wrapped: Vec<u8>,
}

/// The version that every file has, whatever else is in it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Secrets {
    fn new() -> Self {
        let first = || Generation {
            number: 1,
            key: super::random(),
        };
        Self {
            generations: vec![first()],
            signing: vec![first()],
        }
    }

    /// Keys that are the same in every test.
    #[cfg(test)]
    pub(crate) fn sample() -> Self {
        let only = |byte| Generation {
            number: 1,
            key: [byte; 32],
        };
        Self {
            generations: vec![only(3)],
            signing: vec![only(5)],
        }
    }

    /// All keys of the mesh as this state directory has them.
    ///
    /// # Errors
    /// Missing, damaged, readable by others, or the disk fails.
    pub(crate) fn read(state: &Path) -> Result<Self, KeyringError> {
        read_keys(&state.join(KEYS_FILE))
    }

    /// Keeps the keys of a mesh in a state directory that has none.
    ///
    /// # Errors
    /// `Exists`, or the disk fails.
    pub(crate) fn keep(&self, state: &Path, recovery: &[u8]) -> Result<(), KeyringError> {
        let keys = state.join(KEYS_FILE);
        // A file that cannot be asked for is not a file that is missing.
        if keys
            .try_exists()
            .map_err(|source| io_error("find", &keys, source))?
        {
            return Err(KeyringError::Exists(keys));
        }
        // The recovery file first: keys without it could never be recovered.
        write_file(&state.join(RECOVERY_FILE), recovery)?;
        write_keys(state, self)
    }
}

/// What wraps the keys for the recovery phrase, as this state directory has it.
///
/// # Errors
/// The disk fails.
pub(crate) fn recovery_file(state: &Path) -> Result<Vec<u8>, KeyringError> {
    let path = state.join(RECOVERY_FILE);
    fs::read(&path).map_err(|source| io_error("read", &path, source))
}

/// The mesh keys of this node and what is derived from them.
pub(crate) struct Keyring {
    dedup: Zeroizing<[u8; 32]>,
    owner: Zeroizing<[u8; 32]>,
    root: EnvelopeKey,
    signing: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// Opens the keyring of a state directory; a directory without data gets a new one and its phrase.
    ///
    /// # Errors
    /// Missing, damaged, readable by others, or the disk fails.
    pub(crate) fn open(
        state: &Path,
        has_data: bool,
        phrase: Option<&str>,
    ) -> Result<(Self, Option<Zeroizing<String>>), KeyringError> {
        let keys = state.join(KEYS_FILE);
        // A file that cannot be asked for is not a file that is missing: new keys must not take its place.
        if keys
            .try_exists()
            .map_err(|source| io_error("find", &keys, source))?
        {
            // Renamed, perhaps, by a process that was killed before it could sync: what these keys seal must not outlive
            // them.
            sync_directory(state).map_err(|source| io_error("sync", state, source))?;
            let secrets = read_keys(&keys)?;
            let keyring = Self::from_secrets(&secrets)?;
            // Keys without data: the first start crashed before anyone saw the phrase. A new one wraps the same keys.
            let phrase = if has_data {
                None
            } else {
                Some(wrap_for_recovery(state, &secrets)?.words())
            };
            return Ok((keyring, phrase));
        }
        match (has_data, phrase) {
            (true, None) => Err(KeyringError::Missing(keys)),
            (_, Some(words)) => Ok((Self::from_secrets(&recover(state, words)?)?, None)),
            (false, None) => {
                let (secrets, phrase) = create(state)?;
                Ok((Self::from_secrets(&secrets)?, Some(phrase.words())))
            }
        }
    }

    /// The keyring of a simulated store.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn of_seed(seed: u64) -> Self {
        let key = blake3::derive_key("warren 2026 keys of a simulation", &seed.to_le_bytes());
        let only = Generation { number: 1, key };
        Self::of_generations(&only, &only, &only)
    }

    fn from_secrets(secrets: &Secrets) -> Result<Self, KeyringError> {
        // Dedup and owner names outlive rotations, so they hang on the first generation; sealing uses the newest.
        let Secrets { generations, signing } = secrets;
        let (Some(first), Some(newest), Some(signing)) =
            (generations.first(), generations.last(), signing.last())
        else {
            return Err(KeyringError::Damaged(KEYS_FILE.into()));
        };
        Ok(Self::of_generations(first, newest, signing))
    }

    fn of_generations(first: &Generation, newest: &Generation, signing: &Generation) -> Self {
        Self {
            signing: Zeroizing::new(signing.key),
            dedup: Zeroizing::new(blake3::derive_key(DEDUP, &first.key)),
            owner: Zeroizing::new(blake3::derive_key(OWNER, &first.key)),
            root: EnvelopeKey::new(blake3::derive_key(ROOT, &newest.key)),
        }
    }

    /// Makes block keys of block content.
    pub(crate) fn dedup_key(&self) -> &[u8; 32] {
        &self.dedup
    }

    /// Names owners of references.
    pub(crate) fn owner_key(&self) -> &[u8; 32] {
        &self.owner
    }

    /// The seed of the key that signs for the mesh.
    pub(crate) fn signing_seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.signing
    }

    /// Seals access keys and bucket keys.
    pub(crate) fn root(&self) -> &EnvelopeKey {
        &self.root
    }
}

/// The key of one bucket; losing it shreds the bucket.
pub(crate) struct BucketKey {
    key: Zeroizing<[u8; 32]>,
    rows: EnvelopeKey,
}

impl BucketKey {
    pub(crate) fn new() -> Self {
        Self::from_bytes(super::random())
    }

    fn from_bytes(key: [u8; 32]) -> Self {
        Self {
            rows: EnvelopeKey::new(blake3::derive_key(ROWS, &key)),
            key: Zeroizing::new(key),
        }
    }

    /// The key sealed by the mesh's, for the bucket's row.
    pub(crate) fn wrap(&self, keyring: &Keyring, context: &[&[u8]]) -> Vec<u8> {
        keyring.root().seal_bytes(context, self.key.as_slice())
    }

    /// Opens what [`Self::wrap`] sealed for the same context.
    pub(crate) fn unwrap(
        keyring: &Keyring,
        context: &[&[u8]],
        wrapped: &[u8],
    ) -> Result<Self, InvalidEnvelope> {
        let key = Zeroizing::new(keyring.root().open_bytes(context, wrapped)?);
        let key: [u8; 32] = key
            .as_slice()
            .try_into()
            .map_err(|_| InvalidEnvelope::Unreadable)?;
        Ok(Self::from_bytes(key))
    }

    /// Seals the details of the bucket's rows.
    pub(crate) fn rows(&self) -> &EnvelopeKey {
        &self.rows
    }
}

fn create(state: &Path) -> Result<(Secrets, RecoveryPhrase), KeyringError> {
    let secrets = Secrets::new();
    // The recovery file first: keys without it could never be recovered, it without keys is merely unused.
    let phrase = wrap_for_recovery(state, &secrets)?;
    write_keys(state, &secrets)?;
    Ok((secrets, phrase))
}

/// Wraps the keys with a new phrase, which replaces any earlier one in this directory.
fn wrap_for_recovery(state: &Path, secrets: &Secrets) -> Result<RecoveryPhrase, KeyringError> {
    let phrase = RecoveryPhrase::new();
    let text = Zeroizing::new(cbor(secrets));
    let wrapped = phrase.key().seal_bytes(&[RECOVERY_FILE.as_bytes()], &text);
    write_file(
        &state.join(RECOVERY_FILE),
        &cbor(&RecoveryFile {
            version: VERSION,
            wrapped,
        }),
    )?;
    Ok(phrase)
}

fn recover(state: &Path, words: &str) -> Result<Secrets, KeyringError> {
    let phrase = RecoveryPhrase::parse(words).map_err(KeyringError::Phrase)?;
    let path = state.join(RECOVERY_FILE);
    let file: RecoveryFile = read_file(&path)?;
    let text = phrase
        .key()
        .open_bytes(&[RECOVERY_FILE.as_bytes()], &file.wrapped)
        .map_err(|_| KeyringError::Phrase("these words do not open this mesh's keys".into()))?;
    let text = Zeroizing::new(text);
    let secrets: Secrets = ciborium::from_reader(text.as_slice()).map_err(|_| KeyringError::Damaged(path))?;
    write_keys(state, &secrets)?;
    Ok(secrets)
}

fn read_keys(path: &Path) -> Result<Secrets, KeyringError> {
    let metadata = fs::metadata(path).map_err(|source| io_error("read", path, source))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(KeyringError::WorldReadable(path.to_owned()));
    }
    let file: KeysFile = read_file(path)?;
    Ok(file.secrets)
}

fn write_keys(state: &Path, secrets: &Secrets) -> Result<(), KeyringError> {
    let file = KeysFile {
        version: VERSION,
        secrets: secrets.clone(),
    };
    write_file(&state.join(KEYS_FILE), &Zeroizing::new(cbor(&file)))
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
    fn lost_keys_come_back_from_the_phrase_and_only_from_it() {
        let state = tempfile::tempdir().unwrap();
        let (created, phrase) = Keyring::open(state.path(), false, None).unwrap();
        let phrase = phrase.unwrap();
        assert_eq!(phrase.split(' ').count(), 24);
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        assert!(matches!(
            Keyring::open(state.path(), true, None),
            Err(KeyringError::Missing(_))
        ));
        let other = RecoveryPhrase::new().words();
        assert!(matches!(
            Keyring::open(state.path(), true, Some(&other)),
            Err(KeyringError::Phrase(_))
        ));
        let shouted = phrase.to_uppercase();
        let (recovered, _) = Keyring::open(state.path(), true, Some(&shouted)).unwrap();
        assert_eq!(recovered.dedup_key(), created.dedup_key());
        let (reopened, shown_again) = Keyring::open(state.path(), true, None).unwrap();
        assert_eq!(reopened.dedup_key(), created.dedup_key());
        assert!(shown_again.is_none());
    }

    #[test]
    fn a_first_start_that_crashed_before_showing_the_phrase_shows_one_that_works() {
        let state = tempfile::tempdir().unwrap();
        let (created, _unseen) = Keyring::open(state.path(), false, None).unwrap();
        let (again, phrase) = Keyring::open(state.path(), false, None).unwrap();
        assert_eq!(again.dedup_key(), created.dedup_key());
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        let (recovered, _) = Keyring::open(state.path(), true, Some(&phrase.unwrap())).unwrap();
        assert_eq!(recovered.dedup_key(), created.dedup_key());
    }

    #[test]
    fn a_recovery_file_of_a_newer_program_is_named_and_not_guessed_at() {
        let state = tempfile::tempdir().unwrap();
        let (_, phrase) = Keyring::open(state.path(), false, None).unwrap();
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        let path = state.path().join(RECOVERY_FILE);
        let mut file: RecoveryFile = read_file(&path).unwrap();
        file.version += 1;
        fs::write(&path, cbor(&file)).unwrap();
        assert!(matches!(
            Keyring::open(state.path(), true, phrase.as_deref().map(String::as_str)),
            Err(KeyringError::Newer(_))
        ));
    }

    #[test]
    fn keys_of_the_second_format_stay_readable() {
        let state = tempfile::tempdir().unwrap();
        Secrets::sample().keep(state.path(), b"").unwrap();
        let path = state.path().join(KEYS_FILE);
        let fixture = include_bytes!("../../fixtures/mesh-keys-2.bin");
        assert_eq!(fs::read(&path).unwrap(), fixture);
        fs::write(&path, fixture).unwrap();
        let read = Secrets::read(state.path()).unwrap();
        assert_eq!(cbor(&read), cbor(&Secrets::sample()));
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let state = tempfile::tempdir().unwrap();
        Keyring::open(state.path(), false, None).unwrap();
        let path = state.path().join(KEYS_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            Keyring::open(state.path(), true, None),
            Err(KeyringError::WorldReadable(_))
        ));
    }

    #[test]
    fn a_bucket_key_opens_only_for_its_own_bucket() {
        let state = tempfile::tempdir().unwrap();
        let (keyring, _) = Keyring::open(state.path(), false, None).unwrap();
        let wrapped = BucketKey::new().wrap(&keyring, &[b"a"]);
        assert!(BucketKey::unwrap(&keyring, &[b"a"], &wrapped).is_ok());
        assert!(BucketKey::unwrap(&keyring, &[b"b"], &wrapped).is_err());
    }
}
