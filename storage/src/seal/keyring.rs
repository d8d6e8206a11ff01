//! The keys of the mesh as this node holds them: every generation there ever was, of which the newest seals.
//!
//! A sealed text begins with the number of the generation that it was sealed with, four bytes, big-endian; an envelope
//! follows. A bucket's key seals together with the mesh's: each generation of the mesh's key is one of every bucket's, and
//! whoever lacks either opens nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;
use zeroize::Zeroizing;

use super::envelope::{EnvelopeKey, InvalidEnvelope, cbor};
use super::letter::NodeSecret;
use super::phrase::RecoveryPhrase;
use super::secrets::{self, Generation, KeyringError, Recovery, Secrets};
use crate::model::{GenerationRow, MemberId};

const DEDUP: &str = "warren 2026 block keys from block content";
const OWNER: &str = "warren 2026 names of block owners";
const ROOT: &str = "warren 2026 root rows";
const ROWS: &str = "warren 2026 details of rows of one bucket";

/// Bytes in which a sealed text says its generation.
const NUMBER_BYTES: usize = 4;
/// Sets letters to members apart from those to the phrase. A letter says its number inside.
const FOR_MEMBERS: &[&[u8]] = &[b"generation"];

/// The mesh keys of this node and what is derived from them.
pub(crate) struct Keyring {
    dedup: Zeroizing<[u8; 32]>,
    owner: Zeroizing<[u8; 32]>,
    held: RwLock<Arc<Held>>,
    /// Opens the letters that bring new generations.
    node: NodeSecret,
    /// Where its files are; a simulated store has none.
    state: Option<PathBuf>,
}

/// What changes when the mesh gets new keys.
#[derive(Clone)]
struct Held {
    secrets: Secrets,
    /// Missing where somebody took the file away: nothing is sealed to the phrase from here then.
    recovery: Option<Recovery>,
}

impl Held {
    fn newest(&self) -> &Generation {
        // There is always one: see [`Keyring::new`].
        &self.secrets.generations[self.secrets.generations.len() - 1]
    }

    fn for_recovery(&self, generation: &Generation) -> Option<Bytes> {
        self.recovery.as_ref()?.letter(generation)
    }

    fn get(&self, number: u32) -> Option<&Generation> {
        let mut generations = self.secrets.generations.iter();
        generations.find(|generation| generation.number == number)
    }
}

impl Keyring {
    /// Opens the keyring of a state directory; a directory without data gets a new one and its phrase.
    ///
    /// # Errors
    /// Missing, damaged, readable by others, or the disk fails.
    pub(crate) fn open(
        state: &Path,
        node: NodeSecret,
        has_data: bool,
        phrase: Option<&str>,
    ) -> Result<(Self, Option<Zeroizing<String>>), KeyringError> {
        let (held, phrase) = open_files(state, has_data, phrase)?;
        let opened = Self::new(held, node, Some(state.to_owned()));
        Ok((opened.ok_or_else(|| secrets::missing(state))?, phrase))
    }

    /// The keyring of a simulated store.
    #[cfg(any(test, feature = "simulation"))]
    #[allow(clippy::expect_used, reason = "a simulation begins with one generation")]
    pub(crate) fn of_seed(seed: u64, node: NodeSecret) -> Self {
        let key = blake3::derive_key("warren 2026 keys of a simulation", &seed.to_le_bytes());
        let secrets = Secrets {
            generations: vec![Generation {
                number: 1,
                mesh: key,
                signing: key,
            }],
        };
        let recovery = Some(Recovery::to(&NodeSecret::from_bytes(&key), &secrets));
        let held = Held { secrets, recovery };
        Self::new(held, node, None).expect("there is one generation")
    }

    /// `None` where there is no generation.
    fn new(held: Held, node: NodeSecret, state: Option<PathBuf>) -> Option<Self> {
        // Dedup and owner names outlive rotations, so they hang on the first generation; sealing uses the newest.
        let first = held.secrets.generations.first()?;
        Some(Self {
            dedup: Zeroizing::new(blake3::derive_key(DEDUP, &first.mesh)),
            owner: Zeroizing::new(blake3::derive_key(OWNER, &first.mesh)),
            held: RwLock::new(Arc::new(held)),
            node,
            state,
        })
    }

    /// Makes block keys of block content.
    pub(crate) fn dedup_key(&self) -> &[u8; 32] {
        &self.dedup
    }

    /// Names owners of references.
    pub(crate) fn owner_key(&self) -> &[u8; 32] {
        &self.owner
    }

    /// What holds the keys for the recovery phrase, as a person may keep it; none where somebody took the file away.
    pub(crate) fn recovery_copy(&self) -> Option<Vec<u8>> {
        self.held().recovery.as_ref().map(Recovery::file)
    }

    /// The number of the generation that seals.
    pub(crate) fn newest(&self) -> u32 {
        self.held().newest().number
    }

    /// Whether the generation of this number is here.
    pub(crate) fn holds(&self, number: u32) -> bool {
        self.held().get(number).is_some()
    }

    /// The seeds of the keys that ever signed for the mesh, as far as they are held here, the oldest first. The first names
    /// the mesh, the last signs.
    pub(crate) fn signing_seeds(&self) -> Vec<Zeroizing<[u8; 32]>> {
        let held = self.held();
        let generations = held.secrets.generations.iter();
        generations
            .map(|generation| Zeroizing::new(generation.signing))
            .collect()
    }

    /// Seals the CBOR of a value: of access keys, and of what signs certificates.
    pub(crate) fn seal<T: Serialize>(&self, context: &[&[u8]], value: &T) -> Bytes {
        seal(
            self.held().newest(),
            root_key,
            context,
            &Zeroizing::new(cbor(value)),
        )
    }

    /// Opens what [`Self::seal`] sealed for the same context.
    pub(crate) fn open_sealed<T: DeserializeOwned>(
        &self,
        context: &[&[u8]],
        sealed: &[u8],
    ) -> Result<T, InvalidEnvelope> {
        read(&open(&self.held(), root_key, context, sealed)?)
    }

    /// A generation that is newer than any held here, sealed to these nodes and to the recovery phrase; `without` are those
    /// who must never have it. A node whose key is none gets no letter.
    pub(crate) fn next_generation<'a>(
        &self,
        number: u32,
        members: impl Iterator<Item = (MemberId, &'a [u8])>,
        without: &BTreeSet<MemberId>,
    ) -> GenerationRow {
        let generation = Generation::random(number);
        let letter = |(member, node)| Some((member, generation.seal_to(node, FOR_MEMBERS)?));
        GenerationRow {
            letters: members.filter_map(letter).collect(),
            without: without.clone(),
            recovery: self.held().for_recovery(&generation).unwrap_or_default(),
        }
    }

    /// A generation that is held here, as a letter to one node.
    pub(crate) fn letter(&self, number: u32, node: &[u8]) -> Option<Bytes> {
        self.held().get(number)?.seal_to(node, FOR_MEMBERS)
    }

    /// Takes the generations that the mesh began, as far as there are letters to this member; says whether any was news.
    pub(crate) fn take<'a>(
        &self,
        me: MemberId,
        rows: impl Iterator<Item = (u32, &'a GenerationRow)>,
    ) -> bool {
        let before = self.held();
        let unknown: Vec<_> = rows.filter(|(number, _)| before.get(*number).is_none()).collect();
        let mut held = Held::clone(&before);
        for (number, row) in unknown {
            let Some(letter) = row.letters.get(&me) else {
                continue;
            };
            match Generation::open(&self.node, FOR_MEMBERS, letter) {
                Ok(generation) if generation.number == number => held.secrets.generations.push(generation),
                _ => {
                    warn!(number, "the letter with new keys of the mesh does not open");
                    continue;
                }
            }
            if let Some(recovery) = &mut held.recovery {
                recovery.add(&row.recovery);
            }
        }
        let is_news = held.secrets != before.secrets;
        if is_news {
            held.secrets
                .generations
                .sort_by_key(|generation| generation.number);
            *self.held.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(held);
        }
        is_news
    }

    /// Writes its files as they ought to be. Losing that in a crash loses nothing: letters are root rows.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn keep(&self) -> Result<(), KeyringError> {
        let Some(state) = &self.state else {
            return Ok(());
        };
        let held = self.held();
        // The recovery file first: keys without it could never be recovered.
        if let Some(recovery) = &held.recovery {
            recovery.write(state)?;
        }
        held.secrets.write(state)
    }

    fn held(&self) -> Arc<Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The key of one bucket; losing it shreds the bucket.
pub(crate) struct BucketKey {
    key: Zeroizing<[u8; 32]>,
    keyring: Arc<Keyring>,
}

impl BucketKey {
    pub(crate) fn new(keyring: &Arc<Keyring>) -> Self {
        Self::from_bytes(super::random(), keyring)
    }

    fn from_bytes(key: [u8; 32], keyring: &Arc<Keyring>) -> Self {
        Self {
            key: Zeroizing::new(key),
            keyring: Arc::clone(keyring),
        }
    }

    /// The key sealed by the mesh's, for the bucket's row.
    pub(crate) fn wrap(&self, context: &[&[u8]]) -> Bytes {
        seal(
            self.keyring.held().newest(),
            root_key,
            context,
            self.key.as_slice(),
        )
    }

    /// Opens what [`Self::wrap`] sealed for the same context.
    pub(crate) fn unwrap(
        keyring: &Arc<Keyring>,
        context: &[&[u8]],
        wrapped: &[u8],
    ) -> Result<Self, InvalidEnvelope> {
        let key = open(&keyring.held(), root_key, context, wrapped)?;
        let key: [u8; 32] = key
            .as_slice()
            .try_into()
            .map_err(|_| InvalidEnvelope::Unreadable)?;
        Ok(Self::from_bytes(key, keyring))
    }

    /// Seals the details of one of the bucket's rows: the CBOR of a value.
    pub(crate) fn seal<T: Serialize>(&self, context: &[&[u8]], value: &T) -> Bytes {
        let held = self.keyring.held();
        let key = |generation: &Generation| self.rows_key(generation);
        seal(held.newest(), key, context, &Zeroizing::new(cbor(value)))
    }

    /// Opens what [`Self::seal`] sealed for the same context.
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        context: &[&[u8]],
        sealed: &[u8],
    ) -> Result<T, InvalidEnvelope> {
        let key = |generation: &Generation| self.rows_key(generation);
        read(&open(&self.keyring.held(), key, context, sealed)?)
    }

    fn rows_key(&self, generation: &Generation) -> EnvelopeKey {
        let both = Zeroizing::new([self.key.as_slice(), &generation.mesh].concat());
        EnvelopeKey::new(blake3::derive_key(ROWS, &both))
    }
}

fn root_key(generation: &Generation) -> EnvelopeKey {
    EnvelopeKey::new(blake3::derive_key(ROOT, &generation.mesh))
}

fn seal(
    generation: &Generation,
    key: impl Fn(&Generation) -> EnvelopeKey,
    context: &[&[u8]],
    text: &[u8],
) -> Bytes {
    let envelope = key(generation).seal_bytes(context, text);
    [&generation.number.to_be_bytes()[..], &envelope].concat().into()
}

fn open(
    held: &Held,
    key: impl Fn(&Generation) -> EnvelopeKey,
    context: &[&[u8]],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, InvalidEnvelope> {
    let (number, envelope) = sealed
        .split_first_chunk::<NUMBER_BYTES>()
        .ok_or(InvalidEnvelope::Unverified)?;
    let number = u32::from_be_bytes(*number);
    let generation = held.get(number);
    let generation = generation.ok_or(InvalidEnvelope::UnknownGeneration(number))?;
    key(generation).open_bytes(context, envelope).map(Zeroizing::new)
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, InvalidEnvelope> {
    ciborium::from_reader(text).map_err(|_| InvalidEnvelope::Unreadable)
}

fn open_files(
    state: &Path,
    has_data: bool,
    phrase: Option<&str>,
) -> Result<(Held, Option<Zeroizing<String>>), KeyringError> {
    if secrets::are_kept(state)? {
        secrets::sync(state)?;
        let secrets = Secrets::read(state)?;
        if has_data {
            let recovery = Recovery::read(state)?;
            return Ok((Held { secrets, recovery }, None));
        }
        // Keys without data: the first start crashed before anyone saw the phrase. A new one opens the same keys.
        return first_phrase(state, secrets);
    }
    match (has_data, phrase) {
        (true, None) => Err(secrets::missing(state)),
        (_, Some(words)) => {
            let (secrets, recovery) = Recovery::recover(state, words)?;
            let recovery = Some(recovery);
            Ok((Held { secrets, recovery }, None))
        }
        (false, None) => {
            // The recovery file first: keys without it could never be recovered, it without keys is merely unused.
            let first = first_phrase(state, Secrets::first())?;
            first.0.secrets.write(state)?;
            Ok(first)
        }
    }
}

/// Seals the keys to a new phrase, which replaces any earlier one in this directory.
fn first_phrase(state: &Path, secrets: Secrets) -> Result<(Held, Option<Zeroizing<String>>), KeyringError> {
    let phrase = RecoveryPhrase::new();
    let recovery = Recovery::to(&phrase.secret(), &secrets);
    recovery.write(state)?;
    let recovery = Some(recovery);
    Ok((Held { secrets, recovery }, Some(phrase.words())))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::secrets::{KEYS_FILE, RECOVERY_FILE};
    use super::*;

    fn node(seed: u8) -> NodeSecret {
        NodeSecret::from_bytes(&[seed; 32])
    }

    fn open(
        state: &Path,
        has_data: bool,
        phrase: Option<&str>,
    ) -> Result<(Keyring, Option<Zeroizing<String>>), KeyringError> {
        Keyring::open(state, node(1), has_data, phrase)
    }

    #[test]
    fn lost_keys_come_back_from_the_phrase_and_only_from_it() {
        let state = tempfile::tempdir().unwrap();
        let (created, phrase) = open(state.path(), false, None).unwrap();
        let phrase = phrase.unwrap();
        assert_eq!(phrase.split(' ').count(), 24);
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        assert!(matches!(
            open(state.path(), true, None),
            Err(KeyringError::Missing(_))
        ));
        let other = RecoveryPhrase::new().words();
        assert!(matches!(
            open(state.path(), true, Some(&other)),
            Err(KeyringError::Phrase(_))
        ));
        let shouted = phrase.to_uppercase();
        let (recovered, _) = open(state.path(), true, Some(&shouted)).unwrap();
        assert_eq!(recovered.dedup_key(), created.dedup_key());
        let (reopened, shown_again) = open(state.path(), true, None).unwrap();
        assert_eq!(reopened.dedup_key(), created.dedup_key());
        assert!(shown_again.is_none());
    }

    #[test]
    fn a_first_start_that_crashed_before_showing_the_phrase_shows_one_that_works() {
        let state = tempfile::tempdir().unwrap();
        let (created, _unseen) = open(state.path(), false, None).unwrap();
        let (again, phrase) = open(state.path(), false, None).unwrap();
        assert_eq!(again.dedup_key(), created.dedup_key());
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        let (recovered, _) = open(state.path(), true, Some(&phrase.unwrap())).unwrap();
        assert_eq!(recovered.dedup_key(), created.dedup_key());
    }

    #[test]
    fn a_recovery_file_of_a_newer_program_is_named_and_not_guessed_at() {
        let state = tempfile::tempdir().unwrap();
        let (_, phrase) = open(state.path(), false, None).unwrap();
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        let path = state.path().join(RECOVERY_FILE);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.windows(8).position(|window| window == b"gversion").unwrap() + 8;
        bytes[at] += 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(
            open(state.path(), true, phrase.as_deref().map(String::as_str)),
            Err(KeyringError::Newer(_))
        ));
    }

    #[test]
    fn without_its_recovery_file_a_box_starts_all_the_same() {
        let state = tempfile::tempdir().unwrap();
        open(state.path(), false, None).unwrap();
        fs::remove_file(state.path().join(RECOVERY_FILE)).unwrap();
        let (keyring, _) = open(state.path(), true, None).unwrap();
        keyring.keep().unwrap();
        assert!(!state.path().join(RECOVERY_FILE).exists());
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let state = tempfile::tempdir().unwrap();
        open(state.path(), false, None).unwrap();
        let path = state.path().join(KEYS_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            open(state.path(), true, None),
            Err(KeyringError::WorldReadable(_))
        ));
    }

    #[test]
    fn a_bucket_key_opens_only_for_its_own_bucket() {
        let keyring = Arc::new(Keyring::of_seed(1, node(1)));
        let wrapped = BucketKey::new(&keyring).wrap(&[b"a"]);
        assert!(BucketKey::unwrap(&keyring, &[b"a"], &wrapped).is_ok());
        assert!(BucketKey::unwrap(&keyring, &[b"b"], &wrapped).is_err());
    }

    /// Keyrings of three members of one mesh, and a generation that the first makes without the third.
    fn rotated() -> ([Arc<Keyring>; 3], GenerationRow) {
        let rings = [1, 2, 3].map(|seed| Arc::new(Keyring::of_seed(7, node(seed))));
        let keys = [1, 2].map(|seed| (MemberId(seed.into()), node(seed).public()));
        let members = keys.iter().map(|(member, key)| (*member, key.as_slice()));
        let row = rings[0].next_generation(2, members, &BTreeSet::from([MemberId(3)]));
        for (ring, member) in rings.iter().zip(1..) {
            ring.take(MemberId(member), [(2, &row)].into_iter());
        }
        (rings, row)
    }

    #[test]
    fn what_is_sealed_after_a_rotation_opens_for_all_but_whom_it_was_without() {
        let ([anna, ben, gone], row) = rotated();
        assert!(!row.letters.contains_key(&MemberId(3)));
        let key = BucketKey::new(&gone);
        let old = key.seal(&[b"row"], &"old");
        let wrapped = key.wrap(&[b"bucket"]);
        let theirs = |ring| BucketKey::unwrap(ring, &[b"bucket"], &wrapped).unwrap();
        // The bucket is an old one, whose key the member that went knows.
        let new = theirs(&anna).seal(&[b"row"], &"new");
        for ring in [&anna, &ben] {
            assert_eq!(theirs(ring).open::<String>(&[b"row"], &new).unwrap(), "new");
            assert_eq!(theirs(ring).open::<String>(&[b"row"], &old).unwrap(), "old");
        }
        assert_eq!(
            key.open::<String>(&[b"row"], &new),
            Err(InvalidEnvelope::UnknownGeneration(2))
        );
        let access = anna.seal(&[b"access key"], &1);
        assert!(ben.open_sealed::<u32>(&[b"access key"], &access).is_ok());
        assert!(gone.open_sealed::<u32>(&[b"access key"], &access).is_err());
        assert_eq!(anna.signing_seeds(), ben.signing_seeds());
        assert_eq!((ben.signing_seeds().len(), gone.signing_seeds().len()), (2, 1));
    }

    #[test]
    fn a_letter_for_somebody_else_or_under_another_number_is_not_taken() {
        let ([anna, ..], row) = rotated();
        let late = Keyring::of_seed(7, node(2));
        assert!(!late.take(MemberId(1), [(2, &row)].into_iter()));
        assert!(!late.take(MemberId(2), [(3, &row)].into_iter()));
        assert!(late.take(MemberId(2), [(2, &row)].into_iter()));
        assert!(!late.take(MemberId(2), [(2, &row)].into_iter()));
        assert!(anna.letter(2, &node(4).public()).is_some());
        assert!(anna.letter(3, &node(4).public()).is_none());
    }

    #[test]
    fn the_phrase_opens_generations_that_began_after_it_was_printed() {
        let state = tempfile::tempdir().unwrap();
        let (keyring, phrase) = open(state.path(), false, None).unwrap();
        let key = node(1).public();
        let row = keyring.next_generation(2, [(MemberId(1), key.as_slice())].into_iter(), &BTreeSet::new());
        assert!(keyring.take(MemberId(1), [(2, &row)].into_iter()));
        keyring.keep().unwrap();
        let (reopened, _) = open(state.path(), true, None).unwrap();
        assert_eq!(reopened.signing_seeds(), keyring.signing_seeds());
        fs::remove_file(state.path().join(KEYS_FILE)).unwrap();
        let (recovered, _) = open(state.path(), true, phrase.as_deref().map(String::as_str)).unwrap();
        assert_eq!(recovered.signing_seeds(), keyring.signing_seeds());
        assert_eq!(recovered.dedup_key(), keyring.dedup_key());
    }
}
