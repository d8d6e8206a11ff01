//! Knows of which objects something is still to be told, and forgets what has been told.
//!
//! The truth stands in the rows of objects (see [`ObjectEvent`]); what is kept here are hints in memory: who commits a change
//! notes its key, tells the other members of it, and whoever can reach the receiver takes it from there. A hint that
//! gets lost is found again by looking at rows (`repair/find_events`).
//!
//! Between members: one byte (`0xC5`: about events, version 1), then CBOR: pairs of a bucket's id and an object's key. The answer
//! is that byte alone. No pairs at all say that the member has just started, and would like to hear what there is to be told.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::cluster::peers::Class;
use crate::model::command::{Action, Outcome};
use crate::model::{
    Bucket, BucketId, BucketRow, Cause, MemberId, ObjectEvent, ObjectKey, ObjectRow, Telling, Timestamp,
    row_key,
};
use crate::objects::commit::refusal_of;
use crate::store::Inner;
use crate::{Store, StoreError};

/// Messages about events begin with it.
const ABOUT_EVENTS: u8 = 0xC5;
/// Keys that are remembered at once, for this box and for the others.
const NOTED_MAX: usize = 10_000;
/// Keys in one message.
const KEYS_MAX: usize = 500;
/// How long another member is given to take them.
const PATIENCE: Duration = Duration::from_secs(5);

/// An object of which something may be still to be told.
pub type NotedKey = (BucketId, ObjectKey);

/// What this box has heard of.
#[derive(Default)]
pub(crate) struct Events {
    noted: Mutex<Noted>,
    /// Rings when there is something for whoever tells.
    here: Notify,
    /// Rings when there is something for other members.
    abroad: Notify,
    /// Rings when something was left out.
    missed: Notify,
}

#[derive(Default)]
struct Noted {
    here: VecDeque<NotedKey>,
    abroad: VecDeque<NotedKey>,
    /// Whether something was left out because there was too much.
    has_missed: bool,
    /// Members that may not have heard something.
    uninformed: BTreeSet<MemberId>,
}

impl Events {
    /// Notes that something is to be told of a key, here and to the others.
    pub(crate) fn note(&self, bucket: BucketId, key: &ObjectKey) {
        {
            let mut noted = self.noted();
            if noted.abroad.len() < NOTED_MAX {
                noted.abroad.push_back((bucket, key.clone()));
            }
        }
        self.abroad.notify_one();
        self.note_here((bucket, key.clone()));
    }

    fn note_here(&self, key: NotedKey) {
        {
            let mut noted = self.noted();
            match noted.here.len() < NOTED_MAX {
                true => noted.here.push_back(key),
                false => noted.has_missed = true,
            }
        }
        self.here.notify_one();
    }

    /// Whether some of these may not have heard something; from now on none of these.
    pub(crate) fn take_uninformed(&self, of: &BTreeSet<MemberId>) -> bool {
        let mut noted = self.noted();
        let before = noted.uninformed.len();
        noted.uninformed.retain(|member| !of.contains(member));
        noted.uninformed.len() < before
    }

    fn note_uninformed(&self, member: MemberId) {
        self.noted().uninformed.insert(member);
    }

    fn take_here(&self) -> Vec<NotedKey> {
        let mut noted = self.noted();
        if std::mem::take(&mut noted.has_missed) {
            self.missed.notify_one();
        }
        noted.here.drain(..).collect()
    }

    fn take_abroad(&self) -> Vec<NotedKey> {
        let mut noted = self.noted();
        let most = noted.abroad.len().min(KEYS_MAX);
        noted.abroad.drain(..most).collect()
    }

    /// Whether there is no room for more, which is then looked for later.
    pub(crate) fn is_full(&self) -> bool {
        let mut noted = self.noted();
        let is_full = noted.here.len() >= NOTED_MAX;
        noted.has_missed |= is_full;
        is_full
    }

    /// Waits until rows should be looked at because something was left out.
    pub(crate) async fn missed(&self) {
        self.missed.notified().await;
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a call is about events.
pub(crate) fn is_about_events(call: &[u8]) -> bool {
    call.first() == Some(&ABOUT_EVENTS)
}

/// Takes note of what another member committed, or that it knows nothing.
///
/// # Errors
/// The call does not read.
pub(crate) fn answer(inner: &Inner, from: MemberId, call: &[u8]) -> Result<Bytes, StoreError> {
    let keys = decode(call)?;
    if keys.is_empty() {
        inner.events.note_uninformed(from);
    }
    for key in keys {
        inner.events.note_here(key);
    }
    Ok(Bytes::from_static(&[ABOUT_EVENTS]))
}

/// Tells a member that this one has just started; whether it heard that.
pub(crate) async fn ask(inner: &Inner, member: MemberId) -> bool {
    let asking = inner.peers.call(member, Class::Metadata, encode(&[]));
    matches!(timeout(PATIENCE, asking).await, Ok(Ok(_)))
}

fn encode(keys: &[NotedKey]) -> Bytes {
    let mut bytes = vec![ABOUT_EVENTS];
    bytes.extend_from_slice(&crate::seal::cbor(&keys));
    bytes.into()
}

fn decode(call: &[u8]) -> Result<Vec<NotedKey>, StoreError> {
    let cbor = call.strip_prefix(&[ABOUT_EVENTS]).unwrap_or_default();
    let keys: Vec<NotedKey> = ciborium::from_reader(cbor)
        .map_err(|error| StoreError::Damaged(format!("a message about events: {error}")))?;
    match keys.len() <= KEYS_MAX {
        true => Ok(keys),
        false => Err(StoreError::Damaged("too much in a message about events".into())),
    }
}

/// Tells the other members of what was committed here, until stopped. Who does not hear it is told once it can be reached, from
/// rows.
pub(crate) async fn hand_on(inner: Arc<Inner>, stop: CancellationToken) {
    let working = async {
        loop {
            let keys = inner.events.take_abroad();
            if keys.is_empty() {
                inner.events.abroad.notified().await;
                continue;
            }
            let call = encode(&keys);
            let calls = inner.others().into_iter().map(|other| {
                let calling = inner.peers.call(other, Class::Metadata, call.clone());
                let events = &inner.events;
                async move {
                    if !matches!(timeout(PATIENCE, calling).await, Ok(Ok(_))) {
                        events.note_uninformed(other);
                        debug!(?other, "events not announced");
                    }
                }
            });
            join_all(calls).await;
        }
    };
    stop.run_until_cancelled(working).await;
}

impl Inner {
    /// What is to be told of a change of a key, as far as this gateway knows the bucket.
    pub(super) fn telling(&self, bucket: BucketId, key: &ObjectKey, cause: &Cause) -> Option<Telling> {
        let entry = self.directory.entry(bucket).ok()?;
        Telling::of(&entry.bucket.settings.notifications, key.as_str(), cause)
    }
}

impl Store {
    /// Waits until something may be still to be told of some objects. Each is named at least once; what is named may be told
    /// by now.
    pub async fn noted_events(&self) -> Vec<NotedKey> {
        loop {
            let keys = self.0.events.take_here();
            if !keys.is_empty() {
                return keys;
            }
            self.0.events.here.notified().await;
        }
    }

    /// Has rows looked at for what is still to be told: whoever tells has left something out.
    pub fn find_events(&self) {
        self.0.events.missed.notify_one();
    }

    /// The bucket of this id.
    pub fn bucket_of_id(&self, bucket: BucketId) -> Option<Arc<Bucket>> {
        let entry = self.0.directory.entry(bucket).ok()?;
        Some(entry.bucket.clone())
    }

    /// The same as all members know it: the copy here may be older than an event that is to be told by its rules.
    ///
    /// # Errors
    /// `NoSuchBucket`. `Unavailable`: too few members answer.
    pub async fn bucket_of_id_now(&self, bucket: BucketId) -> Result<Bucket, StoreError> {
        let known = self.0.directory.entry(bucket)?;
        let row = row_key::bucket(&known.bucket.name);
        let row: Option<BucketRow> = self.0.partitions.current(&row).await?;
        match row {
            Some(row) if row.bucket.id == bucket => Ok(row.bucket),
            _ => Err(StoreError::NoSuchBucket),
        }
    }

    /// Has an object named by [`Self::noted_events`] once more.
    pub fn note_events_again(&self, bucket: BucketId, key: &ObjectKey) {
        self.0.events.note_here((bucket, key.clone()));
    }

    /// What is still to be told of an object, oldest first.
    ///
    /// # Errors
    /// `NoSuchBucket`. `Unavailable`: too few members answer.
    pub async fn events(&self, bucket: BucketId, key: &ObjectKey) -> Result<Vec<ObjectEvent>, StoreError> {
        self.0.directory.entry(bucket)?;
        let row = row_key::object(bucket, key.as_str());
        let row: Option<ObjectRow> = self.0.partitions.current(&row).await?;
        Ok(row.unwrap_or_default().events)
    }

    /// Forgets what has been told of an object: the events that happened at these times.
    ///
    /// # Errors
    /// `NoSuchBucket`. `Unavailable`: too few members answer.
    pub async fn settle_events(
        &self,
        bucket: BucketId,
        key: &ObjectKey,
        told: Vec<Timestamp>,
    ) -> Result<(), StoreError> {
        let entry = self.0.directory.entry(bucket)?;
        let (store, key) = (self.clone(), key.clone());
        self.finish(async move {
            let settle = Action::Settle { told };
            match store
                .submit(store.0.begin(), &entry, &key, settle, Vec::new())
                .await?
            {
                Outcome::Amended { .. } => Ok(()),
                other => Err(refusal_of(other)),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALL: &str = "c5818250070707070707070707070707070707076161";

    const ASK: &str = "c580";

    fn key(name: &str) -> NotedKey {
        (
            BucketId::from_bytes([7; 16]),
            ObjectKey::parse(name.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn messages_of_version_1_are_read_as_written() {
        let keys = vec![key("a")];
        assert_eq!(hex::encode(encode(&keys)), CALL);
        assert_eq!(decode(&encode(&keys)).unwrap(), keys);
        assert!(decode(&encode(&vec![key("a"); KEYS_MAX + 1])).is_err());
        assert_eq!(hex::encode(encode(&[])), ASK);
        assert_eq!(decode(&encode(&[])).unwrap(), []);
    }

    #[test]
    fn what_finds_no_room_is_looked_for_later() {
        let events = Events::default();
        for _ in 0..=NOTED_MAX {
            events.note_here(key("a"));
        }
        assert!(events.noted().has_missed && events.is_full());
        assert_eq!(events.take_here().len(), NOTED_MAX);
        assert!(!events.is_full());
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(mut bytes: Vec<u8>) {
            bytes.insert(0, ABOUT_EVENTS);
            let _ = decode(&bytes);
        }
    }
}
