//! Derives SigV4's signing keys and remembers the recent ones.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use ring::hmac;
use storage::model::SecretKey;
use zeroize::Zeroizing;

use super::credential::Credential;

/// How many keys are remembered: a day and region per access key, so enough for some hundred users.
const SLOTS: usize = 256;

/// Recently used signing keys. Each has one slot it can be in, chosen by a keyed hash, and a newcomer
/// replaces what is there: bounded by construction, and nobody waits for anybody else's slot.
pub(super) struct SigningKeys {
    slots: Box<[Mutex<Option<Remembered>>]>,
    hasher: RandomState,
}

struct Remembered {
    secret: SecretKey,
    date: String,
    region: String,
    key: hmac::Key,
}

impl SigningKeys {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Mutex::new(None)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The signing key, if it was remembered. The secret is compared, so that a key whose secret has been
    /// replaced is never served from memory.
    pub(super) fn recall(&self, secret: &SecretKey, credential: &Credential<'_>) -> Option<hmac::Key> {
        let slot = self
            .slot(credential)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let found = slot.as_ref()?;
        let same =
            found.date == credential.date && found.region == credential.region && found.secret == *secret;
        same.then(|| found.key.clone())
    }

    /// Remembers a key that has verified a signature; before that, a stranger could empty every slot.
    pub(super) fn remember(&self, secret: &SecretKey, credential: &Credential<'_>, key: &hmac::Key) {
        let remembered = Remembered {
            secret: secret.clone(),
            date: credential.date.to_owned(),
            region: credential.region.to_owned(),
            key: key.clone(),
        };
        *self
            .slot(credential)
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(remembered);
    }

    fn slot(&self, credential: &Credential<'_>) -> &Mutex<Option<Remembered>> {
        let hash = self
            .hasher
            .hash_one((credential.key_id, credential.date, credential.region));
        &self.slots[usize::from(hash.to_le_bytes()[0]) % SLOTS]
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys(…)")
    }
}

/// Derives the key that signs for one day, region and service.
pub(super) fn derive(secret: &SecretKey, credential: &Credential<'_>) -> hmac::Key {
    let first = Zeroizing::new(format!("AWS4{}", secret.expose()));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    for step in [credential.date, credential.region, "s3", "aws4_request"] {
        let tag = hmac::sign(&key, step.as_bytes());
        key = hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_for_its_secret_day_and_region_only() {
        let keys = SigningKeys::new();
        let secret = SecretKey::parse("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap();
        let other = SecretKey::parse("another-secret-of-enough-length").unwrap();
        let scope = |text| Credential::parse(text).unwrap();
        let today = scope("AKID/20130524/us-east-1/s3/aws4_request");
        assert!(keys.recall(&secret, &today).is_none());
        keys.remember(&secret, &today, &derive(&secret, &today));
        assert!(keys.recall(&secret, &today).is_some());
        assert!(keys.recall(&other, &today).is_none());
        assert!(
            keys.recall(&secret, &scope("AKID/20130525/us-east-1/s3/aws4_request"))
                .is_none()
        );
        assert!(
            keys.recall(&secret, &scope("AKID/20130524/us-east-2/s3/aws4_request"))
                .is_none()
        );
    }
}
