//! What a client does once, however often it asks for it.
//!
//! An SDK that does not hear an answer asks again, often after a minute, and perhaps at another gateway. What it asked for may
//! have happened: a condition that held the first time is then refused by what the first attempt did. SDKs name what they do, and
//! count their attempts, in two headers; a version keeps the name of what made it, so that the next attempt finds it.

use super::{InvocationId, Lock, ObjectHeaders, StorageClass};
use crate::seal::cbor;

/// Separates this digest from all others.
const CONTEXT: &str = "warren 2026 name of what a client does once";
/// Separates this one.
const CONTEXT_OF_OBJECT: &str = "warren 2026 name of an object that a client stores once";

/// One attempt of what a client does once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// What all attempts share.
    pub id: InvocationId,
    /// Whether the client says that it asked before. Only then is anything taken for an earlier attempt's: some programs give
    /// everything the same name.
    pub is_retry: bool,
}

impl Invocation {
    /// From the headers `amz-sdk-invocation-id` and `amz-sdk-request` (such as `attempt=2; max=3`); `None` where the client does
    /// not count its attempts. `access_key` is the id of the key that signed.
    ///
    /// Source: AWS SDKs and Tools Reference Guide, "Retry behavior"; all SDKs of the present generation send both.
    pub fn of(access_key: &str, invocation: &str, request: &str) -> Option<Self> {
        let mut said = request.split(';').filter_map(|word| word.split_once('='));
        let (_, attempt) = said.find(|(name, _)| name.trim() == "attempt")?;
        let attempt: u32 = attempt.trim().parse().ok().filter(|attempt| *attempt > 0)?;
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(&(access_key.len() as u64).to_le_bytes());
        hasher.update(access_key.as_bytes()).update(invocation.as_bytes());
        (!invocation.is_empty()).then_some(Self {
            id: name(&hasher),
            is_retry: attempt > 1,
        })
    }

    /// The same, of storing an object of which this is said, whatever key its customer gives: no program that names everything
    /// alike is told that it has done what it has not.
    #[must_use]
    pub(crate) fn storing(self, headers: &ObjectHeaders, class: StorageClass, lock: &Lock) -> Self {
        let headers = ObjectHeaders {
            customer: None,
            ..headers.clone()
        };
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT_OF_OBJECT);
        hasher.update(self.id.as_bytes());
        hasher.update(&cbor(&(headers, class, lock)));
        Self {
            id: name(&hasher),
            ..self
        }
    }
}

fn name(hasher: &blake3::Hasher) -> InvocationId {
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    InvocationId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::model::{SealedVersion, VersionFacts, WriteId};

    #[test]
    fn attempts_of_one_thing_share_its_name_and_the_first_is_no_retry() {
        let first = Invocation::of("GK1", "e5a1", "attempt=1").unwrap();
        let second = Invocation::of("GK1", "e5a1", "ttl=20261127T010203Z; attempt=2; max=3").unwrap();
        assert_eq!(first.id, second.id);
        assert!(!first.is_retry && second.is_retry);
        for (key, invocation) in [("GK2", "e5a1"), ("GK1", "e5a2"), ("GK1e", "5a1")] {
            assert_ne!(Invocation::of(key, invocation, "attempt=1").unwrap().id, first.id);
        }
    }

    #[test]
    fn a_version_keeps_the_name_and_one_of_before_has_none() {
        let first = Invocation::of("GK1", "e5a1", "attempt=1").unwrap();
        let stored = first.storing(
            &ObjectHeaders::default(),
            StorageClass::Standard,
            &Lock::default(),
        );
        let version = |invocation| SealedVersion {
            facts: VersionFacts::marker_for_tests(),
            write: WriteId::from_bytes([1; 16]),
            extents: Vec::new(),
            invocation,
            details: bytes::Bytes::new(),
        };
        let (named, before) = (cbor(&version(Some(stored.id))), cbor(&version(None)));
        for (text, is) in [(&named, Some(stored.id)), (&before, None)] {
            let read: SealedVersion = ciborium::from_reader(text.as_slice()).unwrap();
            assert_eq!(read, version(is));
        }
        let sum = blake3::hash(&named).to_hex();
        assert_eq!(
            (named.len() - before.len(), &sum.as_str()[..16]),
            (28, "383b9d4779d3d6ec")
        );
    }

    #[test]
    fn what_else_is_said_of_an_object_is_part_of_the_name() {
        let first = Invocation::of("GK1", "e5a1", "attempt=1").unwrap();
        let tagged = ObjectHeaders {
            tags: vec![("a".into(), "b".into())],
            ..ObjectHeaders::default()
        };
        let name = |headers, class| first.storing(headers, class, &Lock::default()).id;
        let untagged = ObjectHeaders::default();
        let plain = name(&untagged, StorageClass::Standard);
        assert_ne!(plain, name(&tagged, StorageClass::Standard));
        assert_ne!(plain, name(&untagged, StorageClass::Glacier));
    }

    #[test]
    fn who_does_not_count_attempts_names_nothing() {
        for request in [
            "",
            "max=3",
            "attempt",
            "attempt=",
            "attempt=0",
            "attempt=-1",
            "attempt=two",
        ] {
            assert_eq!(Invocation::of("GK1", "e5a1", request), None, "{request}");
        }
        assert_eq!(Invocation::of("GK1", "", "attempt=1"), None);
    }
}
