//! What clients know of the versions that a bucket keeps: one that was acknowledged stays until somebody asks for its
//! removal; one that is held stays even then, and one that is retained until its time has come.

use std::collections::BTreeMap;
use std::time::Duration;

use storage::model::{
    Bucket, BucketId, BucketSettings, ETag, ObjectLock, Retention, RetentionMode, Timestamp, VersionId,
    Versioning, WriteCondition,
};
use storage::{DeleteTarget, ListVersions, ListedVersion, PutOutcome, Store, StoreError};

use super::client::{Client, Ended, object_key, read};
use super::history::Key;

/// For how long a version is retained at most, in milliseconds: a simulated life takes about as long.
const RETAINED_MILLIS_MAX: usize = 20_000;
/// By how much the clocks of others may seem behind.
const SEEM_BEHIND_MILLIS: u64 = 5000;
/// How long whoever removes everything waits for a version that is retained.
const LOCKED_FOR: Duration = Duration::from_secs(1);

/// The versions that were acknowledged.
#[derive(Default)]
pub(crate) struct Kept(BTreeMap<(Key, VersionId), Version>);

/// What is known of a version that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Version {
    tag: ETag,
    /// Somebody asked for a legal hold, and was told that it is there. It is never lifted.
    hold_asked: bool,
    held: bool,
    /// The latest time until which somebody asked to retain it, and until which somebody was told that nobody can remove it.
    retained_until: Timestamp,
    bound_until: Timestamp,
    /// Somebody asked for its removal, and was told that it is gone.
    removal_asked: bool,
    removed: bool,
}

impl Version {
    fn of(tag: ETag) -> Self {
        Self {
            tag,
            hold_asked: false,
            held: false,
            retained_until: Timestamp::from_millis(0),
            bound_until: Timestamp::from_millis(0),
            removal_asked: false,
            removed: false,
        }
    }

    /// Whether nobody can remove it now.
    fn is_bound(&self) -> bool {
        self.held || self.bound_until > Timestamp::now()
    }

    fn must_be_there(&self) -> bool {
        self.is_bound() || !self.removal_asked
    }
}

/// Settings of a bucket that keeps versions.
pub(super) fn keeping() -> BucketSettings {
    BucketSettings {
        versioning: Versioning::Enabled,
        lock: Some(ObjectLock::default()),
        ..BucketSettings::default()
    }
}

impl Kept {
    /// What must not be, if it is: a bucket was deleted although it has versions.
    pub(super) fn dropped(&self, bucket: BucketId) -> Option<String> {
        let mut versions = self.0.iter();
        let left = versions.find(|((key, _), version)| key.0 == bucket && version.must_be_there());
        left.map(|left| format!("a bucket was deleted with {left:?} in it"))
    }

    fn of_key<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = (VersionId, Version)> + 'a {
        let versions = self.0.iter().filter(move |((of, _), _)| of == key);
        versions.map(|((_, id), version)| (*id, *version))
    }

    fn get(&self, key: &Key, id: VersionId) -> Option<Version> {
        self.0.get(&(key.clone(), id)).copied()
    }

    fn note(&mut self, key: &Key, id: VersionId, note: impl FnOnce(&mut Version)) {
        if let Some(version) = self.0.get_mut(&(key.clone(), id)) {
            note(version);
        }
    }
}

impl Client {
    /// Notes the version that a write made.
    pub(super) fn note_version(&self, bucket: &Bucket, key: &Key, put: &Result<PutOutcome, StoreError>) {
        let Ok(PutOutcome { version, etag, .. }) = put else {
            return;
        };
        let mut noted = self.noted.borrow_mut();
        match (bucket.settings.versioning, version) {
            (Versioning::Off, None) => {}
            (Versioning::Enabled, Some(id)) => {
                let entry = noted.kept.0.entry((key.clone(), *id));
                let known = entry.or_insert(Version::of(*etag));
                if known.tag != *etag {
                    let what = format!("version {id} of {:?} was {} and is {etag}", key.1, known.tag);
                    noted.broken(what);
                }
            }
            (versioning, version) => noted.broken(format!("{versioning:?} made version {version:?}")),
        }
    }

    /// Lists the versions of a key, and does something to one that is not current.
    pub(super) async fn use_a_version(&mut self, bucket: &Bucket, key: &Key) {
        let expected: Vec<VersionId> = {
            let noted = self.noted.borrow();
            let there = noted
                .kept
                .of_key(key)
                .filter(|(_, version)| version.must_be_there());
            there.map(|(id, _)| id).collect()
        };
        let listed = versions_of(&self.store, bucket, &key.1).await;
        let Ended::Well(listed) = self.ended("list versions", listed) else {
            return;
        };
        for id in expected {
            let still = self.noted.borrow().kept.get(key, id);
            let is_listed = listed.iter().any(|version| version.version == id);
            if still.is_some_and(|version| version.must_be_there()) && !is_listed {
                let what = format!("version {id} of {:?} is not among {listed:?}", key.1);
                self.noted.borrow_mut().broken(what);
            }
        }
        let old: Vec<_> = listed.iter().filter(|version| !version.latest).collect();
        if old.is_empty() {
            return;
        }
        let id = old[self.dice.below(old.len())].version;
        match self.dice.below(6) {
            0 | 1 => self.read_version(bucket, key, id).await,
            2 => self.hold(bucket, key, id).await,
            3 => self.retain(bucket, key, id).await,
            _ => self.remove_version(bucket, key, id).await,
        }
    }

    /// Reads all versions that are known of a key.
    pub(super) async fn read_versions(&self, bucket: &Bucket, key: &Key) {
        let known: Vec<_> = self.noted.borrow().kept.of_key(key).map(|(id, _)| id).collect();
        for id in known {
            self.read_version(bucket, key, id).await;
        }
    }

    async fn read_version(&self, bucket: &Bucket, key: &Key, id: VersionId) {
        let was_removed = self
            .noted
            .borrow()
            .kept
            .get(key, id)
            .is_some_and(|version| version.removed);
        let opened = match self.store.object(bucket, &object_key(key), Some(id)).await {
            Err(StoreError::NoSuchVersion | StoreError::DeleteMarker { .. }) => Ok(None),
            opened => opened.map(Some),
        };
        let Ended::Well(opened) = self.ended("get version", opened) else {
            return;
        };
        let content = match &opened {
            Some(object) => Some(read(object).await),
            None => None,
        };
        let Some(version) = self.noted.borrow().kept.get(key, id) else {
            return;
        };
        let expected = self.content_of(version.tag);
        let name = || format!("version {id} of {:?}", key.1);
        match content {
            None if version.must_be_there() => self.noted.borrow_mut().broken(format!("{} is gone", name())),
            Some(_) if was_removed => self.noted.borrow_mut().broken(format!("{} is back", name())),
            Some(Ok(content)) if Some(&content[..]) != expected.as_deref() => {
                self.noted.borrow_mut().broken(format!("{} is another", name()));
            }
            // What is removed while it is read elsewhere is freed.
            Some(Err(StoreError::Damaged(_))) if !version.must_be_there() => {}
            Some(Err(error)) => drop(self.ended::<()>("read version", Err(error))),
            None | Some(Ok(_)) => {}
        }
    }

    async fn hold(&self, bucket: &Bucket, key: &Key, id: VersionId) {
        self.note(key, id, |version| version.hold_asked = true);
        let held = self
            .store
            .set_legal_hold(bucket, &object_key(key), Some(id), true)
            .await;
        let known = self.noted.borrow().kept.get(key, id);
        match self.ended("hold", held) {
            Ended::Well(_) => self.note(key, id, |version| version.held = true),
            Ended::Refused if known.is_some_and(|version| version.must_be_there()) => {
                let what = format!("version {id} of {:?} cannot be held", key.1);
                self.noted.borrow_mut().broken(what);
            }
            Ended::Refused | Ended::Nothing | Ended::Unknown => {}
        }
        self.check(key, id);
    }

    /// Retains a version, under compliance more often than under governance, which is lifted again.
    async fn retain(&mut self, bucket: &Bucket, key: &Key, id: VersionId) {
        let millis = self.dice.below(RETAINED_MILLIS_MAX) as u64;
        let until = Timestamp::from_millis(Timestamp::now().as_millis() + millis);
        let mode = match self.dice.below(4) {
            0 => RetentionMode::Governance,
            _ => RetentionMode::Compliance,
        };
        let retention = Some(Retention { mode, until });
        self.note(key, id, |version| {
            version.retained_until = version.retained_until.max(until)
        });
        let (store, object) = (self.store.clone(), object_key(key));
        let known = self.noted.borrow().kept.get(key, id);
        let bound = known.is_some_and(|version| version.bound_until > until);
        let retained = store
            .set_retention(bucket, &object, Some(id), (retention, false))
            .await;
        match self.ended("retain", retained) {
            Ended::Well(_) if bound && until > Timestamp::now() => {
                let what = format!(
                    "version {id} of {:?} is retained for less long than before",
                    key.1
                );
                self.noted.borrow_mut().broken(what);
            }
            Ended::Well(_) if mode == RetentionMode::Compliance => {
                self.note(key, id, |version| {
                    version.bound_until = version.bound_until.max(until)
                });
            }
            // Whoever may bypass governance removes what it retains, and nobody is surprised.
            Ended::Well(_) => {
                let lifted = store.set_retention(bucket, &object, Some(id), (None, true)).await;
                self.ended("lift a retention", lifted);
            }
            Ended::Refused | Ended::Nothing | Ended::Unknown => {}
        }
    }

    async fn remove_version(&self, bucket: &Bucket, key: &Key, id: VersionId) {
        self.note(key, id, |version| version.removal_asked = true);
        let known = self.noted.borrow().kept.get(key, id);
        let (was_bound_until, began) = (known.map(|version| version.bound_until), Timestamp::now());
        let removed = self.store.delete_object(bucket, version_of(key, id)).await;
        let locked = matches!(removed, Err(StoreError::Locked));
        let ended = self.ended("remove version", removed);
        if let Ended::Well(_) = ended {
            self.note(key, id, |version| version.removed = true);
            if was_bound_until > Some(Timestamp::now()) {
                let what = format!("version {id} of {:?} was retained and removed", key.1);
                self.noted.borrow_mut().broken(what);
            }
        }
        let known = self.noted.borrow().kept.get(key, id);
        // The clocks of others seem behind by as long as they take to say what they are.
        let since = |until: Timestamp| began.as_millis().saturating_sub(until.as_millis());
        let is_free =
            |version: Version| !version.hold_asked && since(version.retained_until) > SEEM_BEHIND_MILLIS;
        if locked && known.is_some_and(is_free) {
            let what = format!("version {id} of {:?} is locked by nobody", key.1);
            self.noted.borrow_mut().broken(what);
        }
        self.check(key, id);
    }

    fn note(&self, key: &Key, id: VersionId, note: impl FnOnce(&mut Version)) {
        self.noted.borrow_mut().kept.note(key, id, note);
    }

    /// Whoever is told that a version is held is not told of its removal.
    fn check(&self, key: &Key, id: VersionId) {
        let mut noted = self.noted.borrow_mut();
        if let Some(version) = noted.kept.get(key, id)
            && version.held
            && version.removed
        {
            noted.broken(format!("version {id} of {:?} was held and removed", key.1));
        }
    }
}

fn version_of(key: &Key, id: VersionId) -> DeleteTarget {
    DeleteTarget {
        key: object_key(key),
        version: Some(id),
        condition: WriteCondition::None,
        bypass: false,
        cause: storage::model::Cause::default(),
    }
}

/// The versions of the keys that begin so, in small pages.
async fn versions_of(store: &Store, bucket: &Bucket, prefix: &str) -> Result<Vec<ListedVersion>, StoreError> {
    let mut listed = Vec::new();
    let (mut after, mut after_version) = (None, None);
    loop {
        let list = ListVersions {
            prefix: prefix.to_owned(),
            after,
            after_version,
            max: 3,
            ..ListVersions::default()
        };
        let page = store.list_versions(bucket, list).await?;
        listed.extend(page.versions);
        match page.next {
            Some(next) => (after, after_version) = (Some(next.0), next.1),
            None => return Ok(listed),
        }
    }
}

/// Lifts every hold of a bucket and removes everything in it.
pub(super) async fn remove_all(store: &Store, bucket: &Bucket) -> Result<(), StoreError> {
    for version in versions_of(store, bucket, "").await? {
        let key = (bucket.id, version.key.as_str().to_owned());
        if bucket.settings.lock.is_some() && !version.delete_marker {
            let lifted = store.set_legal_hold(bucket, &version.key, Some(version.version), false);
            lifted.await?;
        }
        loop {
            match store
                .delete_object(bucket, version_of(&key, version.version))
                .await
            {
                // It is retained; the time of that comes.
                Err(StoreError::Locked) => tokio::time::sleep(LOCKED_FOR).await,
                removed => {
                    removed?;
                    break;
                }
            }
        }
    }
    Ok(())
}
