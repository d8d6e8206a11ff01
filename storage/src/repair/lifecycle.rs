//! Carries out the lifecycle rules of buckets: each midnight (UTC), at each start, and when rules change.
//!
//! A pass walks the rows on this disk, reading those of which something may be due, and submits one command per key of which
//! something is. The command is done only if the key's row is still the very one that was judged, so nothing goes that was
//! written, locked or tagged meanwhile; where the row is another by now, it is judged anew. A pass that is cut off begins
//! again: what it did is not due any more.
//!
//! It goes by a time that most of the mesh agrees has passed, or by a clock that runs steadily (see `clock`): what is expired
//! does not come back.
//!
//! In a mesh each partition has one voter that does this, the same as long as it can be reached; where two both do it, the
//! second finds nothing left.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::clock::Clock;
use crate::cluster::{BucketEntry, summary_of};
use crate::disk::ScannedRow;
use crate::model::{
    Bucket, BucketId, Due, LifecycleRule, MemberId, ObjectKey, ObjectRow, Timestamp, UploadId, UploadRow,
    UploadState, VersionId, day_of, due, may_be_due, partition_of, row_key, summary, upload_is_due,
};
use crate::objects::archives::Whole;
use crate::store::Inner;
use crate::{Store, StoreError};

/// How often it is looked whether a pass is due: a look reads no disk.
const LOOK: Duration = Duration::from_secs(60);
/// After a start, so that other work goes first.
const FIRST_AFTER: Duration = Duration::from_secs(20);
/// Rows looked at before other work gets the thread.
const ROWS_MAX: usize = 1000;
/// Keys of which something is due that are remembered at once.
const DUE_MAX: usize = 250;
/// Commands under way at once.
const AT_ONCE: usize = 4;
/// Between pages, so that clients are served meanwhile.
const PAUSE: Duration = Duration::from_millis(10);
/// How often a key is judged anew because others change it meanwhile.
const TRIES_MAX: usize = 4;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Keys of which something went.
    pub(crate) keys: u64,
    /// Uploads that were aborted.
    pub(crate) uploads: u64,
}

/// Carries out rules until stopped.
pub(crate) async fn run(inner: Weak<Inner>, stop: CancellationToken) {
    let mut done = HashMap::new();
    let mut wait = FIRST_AFTER;
    let loaded = inner.upgrade().map(|inner| Clock::load(&inner.partitions));
    let Some(mut clock) = loaded else { return };
    loop {
        let Some(bell) = inner.upgrade().map(|inner| inner.rules_changed.clone()) else {
            return;
        };
        let waited = tokio::time::timeout(wait, bell.notified());
        if stop.run_until_cancelled(waited).await.is_none() {
            return;
        }
        wait = LOOK;
        let Some(inner) = inner.upgrade() else { return };
        let passed = Box::pin(async {
            clock.look(&inner).await;
            if !undone(&inner, &done, Timestamp::now()).is_empty()
                && let Some(now) = clock.reliable(&inner).await
            {
                carry_out_all(&inner, &mut done, now).await;
            }
        });
        if stop.run_until_cancelled(passed).await.is_none() {
            return;
        }
    }
}

/// For each bucket, the day whose rules were carried out last, and which those were.
type Done = HashMap<BucketId, (u64, Vec<LifecycleRule>)>;

/// The buckets with rules that were not carried out that day.
fn undone(inner: &Inner, done: &Done, now: Timestamp) -> Vec<Arc<Bucket>> {
    let mut buckets = inner.directory.buckets();
    buckets.retain(|bucket| {
        let rules = &bucket.settings.lifecycle;
        let is_done = done
            .get(&bucket.id)
            .is_some_and(|(day, before)| *day == day_of(now) && before == rules);
        !rules.is_empty() && !is_done
    });
    buckets
}

/// Carries out what was not carried out that day. What fails is tried again at the next look.
async fn carry_out_all(inner: &Arc<Inner>, done: &mut Done, now: Timestamp) {
    if inner.loss.is_some() {
        return;
    }
    let known = inner.directory.buckets();
    done.retain(|id, _| known.iter().any(|bucket| bucket.id == *id));
    for bucket in undone(inner, done, now) {
        match carry_out(inner, &bucket, now).await {
            Ok(carried) => {
                if carried != Carried::default() {
                    let Carried { keys, uploads } = carried;
                    info!(bucket = %bucket.name, keys, uploads, "lifecycle rules carried out");
                }
                done.insert(bucket.id, (day_of(now), bucket.settings.lifecycle.clone()));
            }
            // Others are away, or change something: that passes.
            Err(error @ (StoreError::Unavailable | StoreError::Conflict | StoreError::Closed)) => {
                debug!(bucket = %bucket.name, %error, "lifecycle rules are tried again");
            }
            Err(error) => warn!(bucket = %bucket.name, %error, "lifecycle rules cannot be carried out"),
        }
    }
}

/// Carries out the rules of a bucket on the partitions that are this member's business.
///
/// # Errors
/// The disk fails, a row does not read, or too few members answer. `Conflict`: the rules are others by now.
pub(crate) async fn carry_out(
    inner: &Arc<Inner>,
    bucket: &Bucket,
    now: Timestamp,
) -> Result<Carried, StoreError> {
    let entry = inner.directory.entry(bucket.id)?;
    let walk = Arc::new(Walk {
        mine: partitions_of(inner),
        inner: inner.clone(),
        entry,
        now,
    });
    let mut carried = Carried::default();
    let mut next = Some(row_key::objects_of(bucket.id).0);
    while let Some(from) = next {
        walk.must_still_hold()?;
        let page = page(&walk, from, Walk::objects).await?;
        let gone = stream::iter(page.due.into_iter().map(|(key, judged)| walk.expire(key, judged)))
            .buffer_unordered(AT_ONCE)
            .try_fold(0, async |sum, gone| Ok(sum + u64::from(gone)));
        carried.keys += gone.await?;
        next = page.next;
        tokio::time::sleep(PAUSE).await;
    }
    let mut next = Some(row_key::uploads_of(bucket.id).0);
    while let Some(from) = next {
        walk.must_still_hold()?;
        let page = page(&walk, from, Walk::uploads).await?;
        for (key, upload) in page.due {
            carried.uploads += u64::from(walk.abort(&key, upload).await?);
        }
        next = page.next;
    }
    Ok(carried)
}

/// The partitions of which this member carries out the rules: of those who vote in one, the first in turn that it can reach.
pub(super) fn partitions_of(inner: &Inner) -> BTreeSet<u8> {
    let is_mine = |partition: &u8| {
        let voters: Vec<MemberId> = inner.voters(u16::from(*partition)).into_iter().collect();
        let turn = usize::from(*partition).checked_rem(voters.len()).unwrap_or(0);
        let in_turn = voters.iter().cycle().skip(turn).take(voters.len());
        let before: Vec<MemberId> = in_turn.take_while(|voter| **voter != inner.me).copied().collect();
        voters.contains(&inner.me) && inner.peers.nearest(&before).is_empty()
    };
    (0..=u8::MAX).filter(is_mine).collect()
}

/// One pass over a bucket.
struct Walk {
    inner: Arc<Inner>,
    entry: Arc<BucketEntry>,
    mine: BTreeSet<u8>,
    now: Timestamp,
}

/// A part of the rows: of what something is due, and where to go on.
struct Page<T> {
    due: Vec<T>,
    next: Option<Vec<u8>>,
}

/// A row as it was judged.
struct Judged {
    /// Its digest.
    seen: [u8; 32],
    /// What one command can do of what is due.
    due: Due,
    /// Whether that is everything.
    is_all: bool,
}

/// What one row has due.
type Look<T> = fn(&Walk, ScannedRow<'_>) -> Result<Option<T>, StoreError>;

/// Looks at rows from a place on, on a thread for it.
async fn page<T: Send + 'static>(
    walk: &Arc<Walk>,
    from: Vec<u8>,
    look: Look<T>,
) -> Result<Page<T>, StoreError> {
    let walking = walk.clone();
    walk.inner.disk.run(move || walking.page(&from, look)).await?
}

impl Walk {
    fn rules(&self) -> &[LifecycleRule] {
        &self.entry.bucket.settings.lifecycle
    }

    /// Keeps rules from being carried out that somebody has taken back meanwhile.
    ///
    /// # Errors
    /// `Conflict`: the bucket has others by now. `NoSuchBucket`.
    fn must_still_hold(&self) -> Result<(), StoreError> {
        let now = self.inner.directory.entry(self.entry.bucket.id)?;
        match now.bucket.settings.lifecycle == self.rules() {
            true => Ok(()),
            false => Err(StoreError::Conflict),
        }
    }

    fn page<T>(&self, from: &[u8], look: Look<T>) -> Result<Page<T>, StoreError> {
        let to = row_key::after_bucket(from);
        let mut rows = self.inner.disk.scan(Included(from), Excluded(&to))?;
        let mut due = Vec::new();
        let mut looked_at = 0;
        while let Some(row) = rows.next_row()? {
            if looked_at == ROWS_MAX || due.len() == DUE_MAX {
                let next = Some(row.key().to_vec());
                return Ok(Page { due, next });
            }
            looked_at += 1;
            if partition_of(row.key()).is_some_and(|partition| self.mine.contains(&partition)) {
                due.extend(look(self, row)?);
            }
        }
        Ok(Page { due, next: None })
    }

    fn objects(&self, row: ScannedRow<'_>) -> Result<Option<(ObjectKey, Judged)>, StoreError> {
        let Some(key) = row_key::object_key(row.key()) else {
            return Ok(None);
        };
        if let Some(known) = summary::decode(summary_of(row)).filter(|known| known.only_version) {
            let facts = (known.modified, known.delete_marker);
            if !may_be_due(self.rules(), key.as_str(), facts, self.now) {
                return Ok(None);
            }
        }
        let row = match self.inner.whole_row_here(row.key()) {
            Ok(Some(row)) => row,
            // Another day.
            Ok(None) | Err(StoreError::Busy) => return Ok(None),
            Err(error) => return Err(error),
        };
        let judged = self.judge(&key, row)?;
        Ok(judged.map(|judged| (key, judged)))
    }

    fn judge(&self, key: &ObjectKey, row: Whole) -> Result<Option<Judged>, StoreError> {
        let (seen, head) = (row.head.digest(), row.head.clone());
        let row = row.joined();
        let tags = |version: &_| {
            let details = self.inner.details(&self.entry, key, version)?;
            Ok::<_, StoreError>(details.headers.tags)
        };
        let due = due(self.rules(), key.as_str(), &row, self.now, tags)?;
        if due.is_nothing() {
            return Ok(None);
        }
        let (due, is_all) = at_once(&head, due);
        Ok(Some(Judged { seen, due, is_all }))
    }

    /// Carries out what is due of a key; whether anything went.
    async fn expire(&self, key: ObjectKey, mut judged: Judged) -> Result<bool, StoreError> {
        let store = Store(self.inner.clone());
        let bucket = &self.entry.bucket;
        let (mut is_any, mut tries) = (false, 0);
        while tries < TRIES_MAX {
            match store.expire(bucket, &key, judged.seen, judged.due).await {
                Ok(()) if judged.is_all => return Ok(true),
                Ok(()) => (is_any, tries) = (true, 0),
                Err(StoreError::Conflict) => tries += 1,
                // Locked a moment ago, or full of versions: the rules come back to it.
                Err(StoreError::Locked | StoreError::TooManyVersions) => break,
                Err(error) => return Err(error),
            }
            self.must_still_hold()?;
            let Some(row) = self.inner.whole_row(bucket.id, &key).await? else {
                break;
            };
            let Some(anew) = self.judge(&key, row)? else {
                break;
            };
            judged = anew;
        }
        Ok(is_any)
    }

    fn uploads(&self, row: ScannedRow<'_>) -> Result<Option<(ObjectKey, UploadId)>, StoreError> {
        let Some((key, id)) = row_key::parse_upload(row.key()) else {
            return Ok(None);
        };
        let upload = self.inner.partitions.read::<UploadRow>(row.key())?;
        let open = upload.filter(|upload| upload.state == UploadState::Open);
        let is_due = open.is_some_and(|upload| upload_is_due(self.rules(), key.as_str(), &upload, self.now));
        Ok(is_due.then_some((key, id)))
    }

    async fn abort(&self, key: &ObjectKey, upload: UploadId) -> Result<bool, StoreError> {
        let store = Store(self.inner.clone());
        match store.abort_upload(&self.entry.bucket, key, upload).await {
            Ok(()) => Ok(true),
            Err(StoreError::NoSuchUpload) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What of that one command can do, and whether it is all: what is in the row itself, or else in one archive, which is taken back
/// for it.
fn at_once(head: &ObjectRow, due: Due) -> (Due, bool) {
    let archive = |version: &VersionId| head.archive_of(*version).map(|archived| archived.id);
    let first = match due.current {
        true => None,
        false => due.remove.iter().map(archive).min(),
    };
    let first = first.flatten();
    let before = due.remove.len();
    let mut due = due;
    due.remove.retain(|version| archive(version) == first);
    let is_all = due.remove.len() == before;
    (due, is_all)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::cluster::neighbour_tests::{
        Wire, create, delete, founder, get, new_upload, object_key, owner, put, three,
    };
    use crate::model::{
        BucketName, Expiration, LifecycleFilter, NoncurrentExpiration, Retention, RetentionMode, Versioning,
    };
    use crate::{ListObjects, ListVersions, simulation};

    fn rule(expiration: Option<Expiration>, noncurrent: Option<u32>) -> LifecycleRule {
        LifecycleRule {
            id: "r".into(),
            enabled: true,
            filter: LifecycleFilter::default(),
            expiration,
            noncurrent: noncurrent.map(|days| NoncurrentExpiration { days, keep: None }),
            abort_uploads: Some(1),
        }
    }

    async fn set(store: &Store, bucket: &Bucket, rule: LifecycleRule) -> Arc<Bucket> {
        let set = move |settings: &mut crate::model::BucketSettings| {
            settings.lifecycle = vec![rule.clone()];
        };
        store.change_bucket(bucket, set).await.unwrap()
    }

    fn in_days(days: u64) -> Timestamp {
        Timestamp::from_millis(Timestamp::now().as_millis() + days * 24 * 3600 * 1000)
    }

    /// The keys of all objects, and how many versions there are.
    async fn standing(store: &Store, bucket: &Bucket) -> (Vec<String>, usize) {
        let max = 1000;
        let objects = ListObjects {
            max,
            ..ListObjects::default()
        };
        let page = store.list_objects(bucket, objects).await.unwrap();
        let keys = page.objects().map(|object| object.0.to_owned()).collect();
        let versions = ListVersions {
            max,
            ..ListVersions::default()
        };
        let page = store.list_versions(bucket, versions).await.unwrap();
        (keys, page.versions.len())
    }

    #[test]
    fn in_a_mesh_each_key_is_expired_by_one_box_and_by_another_if_that_one_is_away() {
        simulation::run(1, async {
            let wire = Wire::default();
            let stores = three(&wire).await;
            let [first, second, third] = &stores;
            let photos = BucketName::parse("photos").unwrap();
            let bucket = first.bucket(&photos).unwrap();
            for number in 0..40 {
                put(first, &bucket, &format!("k{number}"), "x").await.unwrap();
            }
            let days = rule(Some(Expiration::Days(1)), None);
            let bucket = set(first, &bucket, days).await;
            sleep(Duration::from_secs(60)).await;
            let keys_of = async |store: &Store, days| {
                let carried = carry_out(&store.0, &bucket, in_days(days)).await.unwrap();
                carried.keys
            };
            assert_eq!(keys_of(first, 0).await, 0);
            let by_first = keys_of(first, 3).await;
            wire.cut(MemberId(2));
            sleep(Duration::from_secs(5)).await;
            let by_both = keys_of(first, 3).await + keys_of(third, 3).await;
            wire.mend(MemberId(2));
            sleep(Duration::from_secs(5)).await;
            assert!(
                (1..39).contains(&by_first) && by_first + by_both == 40,
                "{by_first} {by_both}"
            );
            assert_eq!(keys_of(second, 3).await, 0);
            assert_eq!(standing(second, &bucket).await, (vec![], 0));
        })
        .unwrap();
    }

    #[test]
    fn what_was_written_since_it_was_judged_stays() {
        simulation::run(2, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let bucket = create(&store, "photos", &key).await;
            put(&store, &bucket, "k", "old").await.unwrap();
            let mut small = rule(Some(Expiration::Days(1)), None);
            small.filter.smaller_than = Some(4);
            let bucket = set(&store, &bucket, small).await;
            let walk = Walk {
                mine: partitions_of(&store.0),
                inner: store.0.clone(),
                entry: store.0.directory.entry(bucket.id).unwrap(),
                now: in_days(2),
            };
            let judged = async || {
                let row = store.0.whole_row(bucket.id, &object_key("k")).await.unwrap();
                walk.judge(&object_key("k"), row.unwrap()).unwrap().unwrap()
            };
            let (stale, again) = (judged().await, judged().await);
            // The same content, written anew.
            put(&store, &bucket, "k", "old").await.unwrap();
            let refused = store
                .expire(&bucket, &object_key("k"), stale.seen, stale.due)
                .await;
            assert!(matches!(refused, Err(StoreError::Conflict)));
            assert_eq!(get(&store, &bucket, "k").await.unwrap(), "old");
            put(&store, &bucket, "k", "new and long").await.unwrap();
            assert!(!walk.expire(object_key("k"), again).await.unwrap());
            assert_eq!(get(&store, &bucket, "k").await.unwrap(), "new and long");
        })
        .unwrap();
    }

    #[test]
    fn old_versions_go_in_one_commit_and_locked_ones_stay() {
        simulation::run(3, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let bucket = create(&store, "photos", &key).await;
            store.set_versioning(&bucket, Versioning::Enabled).await.unwrap();
            let bucket = store
                .set_object_lock(&bucket, crate::model::ObjectLock::default())
                .await
                .unwrap();
            for text in ["1", "2", "3"] {
                put(&store, &bucket, "k", text).await.unwrap();
            }
            let retention = Some(Retention {
                mode: RetentionMode::Compliance,
                until: in_days(30),
            });
            store
                .set_retention(&bucket, &object_key("k"), None, (retention, false))
                .await
                .unwrap();
            put(&store, &bucket, "k", "4").await.unwrap();
            put(&store, &bucket, "gone", "x").await.unwrap();
            delete(&store, &bucket, "gone").await;
            let rules = rule(Some(Expiration::Days(3)), Some(1));
            let bucket = set(&store, &bucket, rules).await;
            let after = async |days| {
                let carried = carry_out(&store.0, &bucket, in_days(days)).await.unwrap();
                (carried.keys, standing(&store, &bucket).await)
            };
            let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(after(0).await, (0, (keys(&["k"]), 6)));
            // Versions 1 and 2; and what the marker hides.
            assert_eq!(after(2).await, (2, (keys(&["k"]), 3)));
            // The current one is hidden, and the marker goes that hides nothing.
            assert_eq!(after(4).await, (2, (keys(&[]), 3)));
            // What was hidden is the latest that went, and version 3 is locked.
            assert_eq!(after(4).await, (1, (keys(&[]), 2)));
            assert_eq!(after(4).await, (0, (keys(&[]), 2)));
        })
        .unwrap();
    }

    #[test]
    fn rules_are_carried_out_when_they_are_set_and_once_a_day() {
        simulation::run(4, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let bucket = create(&store, "photos", &key).await;
            // The world begins at midnight to the millisecond, which counts as the day before.
            sleep(Duration::from_secs(1)).await;
            let upload = store
                .create_upload(&bucket, &object_key("u"), new_upload())
                .await
                .unwrap();
            put(&store, &bucket, "k", "x").await.unwrap();
            sleep(Duration::from_secs(30)).await;
            let past = Expiration::Date(Timestamp::from_millis(0));
            set(&store, &bucket, rule(Some(past), None)).await;
            sleep(Duration::from_secs(5)).await;
            assert_eq!(standing(&store, &bucket).await.0.len(), 0);
            let mut done = Done::default();
            for (days, left, is_open) in [(0, 0, true), (0, 1, true), (1, 0, true), (2, 0, false)] {
                put(&store, &bucket, "k", "x").await.unwrap();
                carry_out_all(&store.0, &mut done, in_days(days)).await;
                let open = store.upload(&bucket, &object_key("u"), upload).await;
                assert_eq!(
                    (standing(&store, &bucket).await.0.len(), open.is_ok()),
                    (left, is_open)
                );
            }
        })
        .unwrap();
    }

    #[test]
    fn nothing_is_expired_while_too_few_clocks_of_the_mesh_answer() {
        simulation::run(5, async {
            let wire = Wire::default();
            let [first, _second, _third] = &three(&wire).await;
            let photos = BucketName::parse("photos").unwrap();
            let bucket = first.bucket(&photos).unwrap();
            let mut clock = Clock::load(&first.0.partitions);
            let bucket = set(first, &bucket, rule(Some(Expiration::Days(1)), None)).await;
            assert_eq!(undone(&first.0, &Done::default(), Timestamp::now()).len(), 1);
            clock.look(&first.0).await;
            let agreed = clock.reliable(&first.0).await.unwrap();
            assert!(agreed <= Timestamp::now());
            let done = Done::from([(bucket.id, (day_of(agreed), bucket.settings.lifecycle.clone()))]);
            assert_eq!(undone(&first.0, &done, agreed).len(), 0);
            wire.cut(MemberId(2));
            assert!(clock.reliable(&first.0).await.is_some());
            wire.cut(MemberId(3));
            sleep(Duration::from_secs(5)).await;
            assert_eq!(clock.reliable(&first.0).await, None);
            wire.mend(MemberId(3));
            sleep(Duration::from_secs(5)).await;
            assert!(clock.reliable(&first.0).await.is_some());
        })
        .unwrap();
    }
}
