//! Looks into a copy of `recovery.sealed` that a person keeps: whether it is whole, has what is there now, and which words open it.

use super::phrase::RecoveryPhrase;
use super::secrets::{FOR_RECOVERY, Generation, Recovery, parse_recovery};

/// A copy of what holds the keys of a mesh for the recovery phrase. It is no secret: without the words it opens nothing.
pub struct RecoveryCopy(Recovery);

impl RecoveryCopy {
    /// Reads the bytes of a copy; `None` for what is none, or was written by a newer Warren.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        parse_recovery(bytes).map(Self)
    }

    /// How many generations of keys are in it.
    pub fn generations(&self) -> usize {
        self.0.letters.len()
    }

    /// Whether it is of the same mesh as another.
    pub fn is_of_mesh_of(&self, other: &Self) -> bool {
        self.0.public == other.0.public
    }

    /// How many generations another has that it lacks.
    pub fn lacks(&self, other: &Self) -> usize {
        let letters = other.0.letters.iter();
        letters.filter(|letter| !self.0.letters.contains(letter)).count()
    }

    /// How many of its generations these words open.
    ///
    /// # Errors
    /// They are no recovery phrase, and why.
    pub fn opened_by(&self, words: &str) -> Result<usize, String> {
        let key = RecoveryPhrase::parse(words)?.secret();
        let letters = self.0.letters.iter();
        Ok(letters
            .filter(|letter| Generation::open(&key, FOR_RECOVERY, letter).is_ok())
            .count())
    }
}

#[cfg(test)]
mod tests {
    use super::super::secrets::Secrets;
    use super::*;

    fn copy(phrase: &RecoveryPhrase) -> RecoveryCopy {
        let recovery = Recovery::to(&phrase.secret(), &Secrets::sample());
        RecoveryCopy::read(&recovery.file()).unwrap()
    }

    #[test]
    fn a_copy_is_opened_by_its_own_words_alone() {
        let (phrase, other) = (RecoveryPhrase::new(), RecoveryPhrase::new());
        let copy = copy(&phrase);
        assert_eq!(copy.opened_by(&phrase.words()), Ok(1));
        assert_eq!(copy.opened_by(&other.words()), Ok(0));
        assert!(copy.opened_by("four quiet words").is_err());
    }

    #[test]
    fn a_copy_from_before_new_keys_lacks_them() {
        let phrase = RecoveryPhrase::new();
        let (old, mut now) = (copy(&phrase), copy(&phrase));
        now.0.letters = old.0.letters.clone();
        assert_eq!((old.lacks(&now), now.lacks(&old)), (0, 0));
        now.0
            .letters
            .push(bytes::Bytes::from_static(b"a letter of later"));
        assert_eq!((old.lacks(&now), now.lacks(&old)), (1, 0));
        assert!(old.is_of_mesh_of(&now));
        assert!(!old.is_of_mesh_of(&copy(&RecoveryPhrase::new())));
    }

    #[test]
    fn what_is_no_copy_is_refused() {
        assert!(RecoveryCopy::read(b"").is_none() && RecoveryCopy::read(b"\xff\x00").is_none());
    }
}
