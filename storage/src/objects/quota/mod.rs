//! Keeps writes within quotas, and says what buckets hold.
//!
//! | file | its job |
//! |---|---|
//! | `tally` | counts what rows on this disk hold |
//! | `wire` | what members say to each other about that |
//!
//! Nothing is counted while nobody asks: the rows are the truth, mostly by what their index says, and there is no counter that
//! could drift or get lost. A gateway remembers what it counted and adds what it lets in; others' writes and all deletes are
//! seen by the next count, a minute later, or ten times what a count takes. Before a write is refused it is counted anew, unless
//! that was done so shortly before that counting would take more than a tenth of the time. So several gateways at once may
//! together exceed a quota by what they take between two counts.

mod tally;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use self::wire::{Call, Partitions};
use crate::cluster::BucketEntry;
use crate::cluster::peers::Class;
use crate::model::{
    AccessKeyId, Bucket, BucketId, MemberId, ObjectKey, Partition, Usage, VersionId, Versioning,
};
use crate::store::Inner;
use crate::{Store, StoreError};

/// How long a count lets writes in.
const RECENT: Duration = Duration::from_secs(60);
/// A count is good for so many times as long as it took, whatever for: counting never takes more of the time.
const TIMES_ITS_TIME: u32 = 10;
/// How long a member is given to count.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often somebody else is asked in place of a member that does not answer.
const TRIES_MAX: usize = 4;

/// Whether a call is about counting.
pub(crate) fn is_about_usage(call: &[u8]) -> bool {
    wire::is_about_usage(call)
}

/// Answers a call about counting.
///
/// # Errors
/// It does not read, or the disk fails.
pub(crate) async fn answer(inner: &Arc<Inner>, call: &[u8]) -> Result<Bytes, StoreError> {
    let Call { bucket, partitions } = wire::decode(call)?;
    let held = tally::held_here(inner, bucket, partitions).await?;
    Ok(wire::encode(&held))
}

/// What was counted lately.
pub(crate) struct Counts {
    counted: Mutex<HashMap<BucketId, Counted>>,
    /// One count at a time.
    turn: Semaphore,
}

#[derive(Clone, Copy)]
struct Counted {
    held: Usage,
    /// What was let in since.
    added: Usage,
    at: Instant,
    took: Duration,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            counted: Mutex::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Counts {
    fn counted(&self) -> MutexGuard<'_, HashMap<BucketId, Counted>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, bucket: BucketId, good: Good) -> Option<Usage> {
        let counted = self.counted().get(&bucket).copied()?;
        let is_current = counted.added == Usage::default();
        let good_for = match good {
            Good::LettingIn => RECENT.max(counted.took * TIMES_ITS_TIME),
            Good::Showing if !is_current => return None,
            Good::Refusing | Good::Showing => counted.took * TIMES_ITS_TIME,
        };
        (counted.at.elapsed() <= good_for).then(|| counted.held.plus(counted.added))
    }

    /// Notes what was let in.
    pub(super) fn add(&self, bucket: BucketId, added: Usage) {
        if let Some(counted) = self.counted().get_mut(&bucket) {
            counted.added = counted.added.plus(added);
        }
    }
}

/// What a count is good enough for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Good {
    LettingIn,
    Refusing,
    Showing,
}

/// What a quota is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaOf {
    /// One bucket.
    Bucket,
    /// All buckets that this key owns.
    Key(AccessKeyId),
}

impl Store {
    /// What a bucket holds: counted a moment ago.
    ///
    /// # Errors
    /// `NoSuchBucket`. `Unavailable`: too few members answer.
    pub async fn usage(&self, bucket: &Bucket) -> Result<Usage, StoreError> {
        self.0.held(bucket.id, Good::Showing).await
    }

    /// Lets in what a write adds to a bucket.
    ///
    /// # Errors
    /// `QuotaExceeded`; `Unavailable`: nobody knows what is held.
    pub(super) async fn must_fit(
        &self,
        entry: &BucketEntry,
        key: &ObjectKey,
        adds: Usage,
    ) -> Result<(), StoreError> {
        let bucket = &entry.bucket;
        let of_key = self.0.directory.key(&bucket.owner).ok().map(|owner| owner.quota);
        let quotas = [
            (QuotaOf::Bucket, bucket.settings.quota),
            (QuotaOf::Key(bucket.owner.clone()), of_key.unwrap_or_default()),
        ];
        for (of, quota) in quotas {
            if quota.is_none() {
                continue;
            }
            let buckets = self.0.buckets_of(&of, bucket);
            if quota.admits(self.0.held_in(&buckets, Good::LettingIn).await?.plus(adds)) {
                continue;
            }
            let held = self.0.held_in(&buckets, Good::Refusing).await?;
            let replaced = self.replaced(bucket, key, adds).await?;
            if !quota.admits(held.minus(replaced).plus(adds)) {
                return Err(StoreError::QuotaExceeded { of, quota, held });
            }
        }
        self.0.counts.add(bucket.id, adds);
        Ok(())
    }

    /// What a new version takes the place of.
    async fn replaced(&self, bucket: &Bucket, key: &ObjectKey, adds: Usage) -> Result<Usage, StoreError> {
        let makes_version = adds.objects > 0;
        if !makes_version || bucket.settings.versioning == Versioning::Enabled {
            return Ok(Usage::default());
        }
        let row = self.0.object_row(bucket, key).await?;
        let replaced = row.as_ref().and_then(|row| row.version(VersionId::Null));
        let replaced = replaced.filter(|version| !version.facts.delete_marker);
        Ok(replaced.map_or_else(Usage::default, |version| Usage {
            bytes: version.facts.size,
            objects: 1,
        }))
    }
}

impl Inner {
    fn buckets_of(&self, of: &QuotaOf, bucket: &Bucket) -> Vec<BucketId> {
        match of {
            QuotaOf::Bucket => vec![bucket.id],
            QuotaOf::Key(owner) => {
                let all = self.directory.buckets().into_iter();
                all.filter(|bucket| bucket.owner == *owner)
                    .map(|bucket| bucket.id)
                    .collect()
            }
        }
    }

    async fn held_in(self: &Arc<Self>, buckets: &[BucketId], good: Good) -> Result<Usage, StoreError> {
        let mut held = Usage::default();
        for bucket in buckets {
            held = held.plus(self.held(*bucket, good).await?);
        }
        Ok(held)
    }

    /// What a bucket holds, by a count that is good enough.
    async fn held(self: &Arc<Self>, bucket: BucketId, good: Good) -> Result<Usage, StoreError> {
        if let Some(held) = self.counts.find(bucket, good) {
            return Ok(held);
        }
        let _turn = self.counts.turn.acquire().await.map_err(|_| StoreError::Closed)?;
        if let Some(held) = self.counts.find(bucket, good) {
            return Ok(held);
        }
        let began = Instant::now();
        let held = self.count(bucket).await?;
        let counted = Counted {
            held,
            added: Usage::default(),
            at: Instant::now(),
            took: began.elapsed(),
        };
        let mut all = self.counts.counted();
        all.retain(|bucket, _| self.directory.standing(*bucket).is_some());
        all.insert(bucket, counted);
        Ok(held)
    }

    /// Counts what a bucket holds: each partition is counted by one of those who vote in it.
    async fn count(self: &Arc<Self>, bucket: BucketId) -> Result<Usage, StoreError> {
        let mut silent = BTreeSet::new();
        for _ in 0..TRIES_MAX {
            let shares = self.shares(&silent)?;
            let mut held = Usage::default();
            let mut all_told = true;
            for (member, partitions) in shares {
                match self.ask(member, Call { bucket, partitions }).await? {
                    Some(told) => held = held.plus(told),
                    None => {
                        silent.insert(member);
                        all_told = false;
                    }
                }
            }
            if all_told {
                return Ok(held);
            }
        }
        Err(StoreError::Unavailable)
    }

    /// Who counts which partitions: this member those it votes in, others the rest.
    fn shares(&self, silent: &BTreeSet<MemberId>) -> Result<BTreeMap<MemberId, Partitions>, StoreError> {
        let mut shares: BTreeMap<MemberId, Partitions> = BTreeMap::new();
        for partition in Partition::all() {
            let mut voters = self.voters(u16::from(partition.0));
            let member = match voters.contains(&self.me) {
                true => self.me,
                false => {
                    voters.retain(|voter| !silent.contains(voter));
                    let voters: Vec<MemberId> = voters.into_iter().collect();
                    let nearest = self.peers.nearest(&voters).first().copied();
                    nearest.ok_or(StoreError::Unavailable)?
                }
            };
            shares.entry(member).or_default().insert(partition);
        }
        Ok(shares)
    }

    /// What a member counts; `None` where it does not answer.
    async fn ask(self: &Arc<Self>, member: MemberId, call: Call) -> Result<Option<Usage>, StoreError> {
        if member == self.me {
            return tally::held_here(self, call.bucket, call.partitions)
                .await
                .map(Some);
        }
        let asked = self.peers.call(member, Class::Block, wire::encode(&call));
        let answer = timeout(PATIENCE, asked).await.ok().and_then(Result::ok);
        Ok(answer.and_then(|answer| wire::decode(&answer).ok()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::cluster::neighbour_tests::{
        Wire, body, create, delete, founder, get, new_object, new_upload, object_key, owner, put, three,
    };
    use crate::model::{BucketName, Invocation, Quota};
    use crate::{NewObject, simulation};

    async fn set(store: &Store, bucket: &Bucket, bytes: Option<u64>, objects: Option<u64>) -> Arc<Bucket> {
        let quota = Quota { bytes, objects };
        let set = move |settings: &mut crate::model::BucketSettings| settings.quota = quota;
        store.change_bucket(bucket, set).await.unwrap()
    }

    /// Whether the quota lets a text in.
    async fn fits(store: &Store, bucket: &Bucket, key: &str, text: &str) -> bool {
        match put(store, bucket, key, text).await {
            Ok(()) => true,
            Err(StoreError::QuotaExceeded { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_write_fits_or_is_refused_by_what_is_there_now() {
        simulation::run(1, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let bucket = create(&store, "photos", &key).await;
            put(&store, &bucket, "a", "12345").await.unwrap();
            let bucket = set(&store, &bucket, Some(10), Some(3)).await;
            assert!(fits(&store, &bucket, "b", "12345").await);
            assert!(!fits(&store, &bucket, "c", "1").await);
            assert!(fits(&store, &bucket, "c", "").await);
            assert!(!fits(&store, &bucket, "d", "").await);
            // What takes the place of something adds only the difference.
            assert!(fits(&store, &bucket, "b", "54321").await);
            assert!(!fits(&store, &bucket, "b", "123456").await);
            assert_eq!(get(&store, &bucket, "b").await.unwrap(), "54321");
            delete(&store, &bucket, "a").await;
            sleep(Duration::from_secs(2)).await;
            assert!(fits(&store, &bucket, "b", "1234567890").await);
            let held = Usage {
                bytes: 10,
                objects: 2,
            };
            sleep(Duration::from_secs(2)).await;
            assert_eq!(store.usage(&bucket).await.unwrap(), held);
        })
        .unwrap();
    }

    #[test]
    fn what_a_client_tries_again_needs_no_room_beside_what_it_did() {
        simulation::run(3, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let bucket = create(&store, "photos", &key).await;
            store.set_versioning(&bucket, Versioning::Enabled).await.unwrap();
            let bucket = set(&store, &bucket, Some(5), Some(1)).await;
            let attempt = async |request: &str, text: &str| {
                let new = NewObject {
                    invocation: Invocation::of("GK1", "e5a1", request),
                    ..new_object()
                };
                let key = object_key("a");
                store.put_object(&bucket, &key, new, body(text)).await
            };
            let first = attempt("attempt=1", "12345").await.unwrap();
            assert_eq!(
                attempt("attempt=2", "12345").await.unwrap().version,
                first.version
            );
            for (request, text) in [("attempt=1", "12345"), ("attempt=2", "54321")] {
                let refused = attempt(request, text).await;
                assert!(
                    matches!(refused, Err(StoreError::QuotaExceeded { .. })),
                    "{refused:?}"
                );
            }
        })
        .unwrap();
    }

    #[test]
    fn versions_and_uploads_count_and_a_key_answers_for_all_its_buckets() {
        simulation::run(2, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let photos = create(&store, "photos", &key).await;
            let music = create(&store, "music", &key).await;
            store.set_versioning(&photos, Versioning::Enabled).await.unwrap();
            for text in ["123", "1234"] {
                put(&store, &photos, "k", text).await.unwrap();
            }
            delete(&store, &photos, "k").await;
            let held = |bytes, objects| Usage { bytes, objects };
            assert_eq!(store.usage(&photos).await.unwrap(), held(7, 2));
            let quota = Quota {
                bytes: Some(10),
                objects: None,
            };
            store.set_key_quota(&key, quota).await.unwrap();
            assert!(fits(&store, &music, "m", "123").await);
            assert!(!fits(&store, &music, "n", "1").await);
            assert!(!fits(&store, &photos, "k", "1").await);
            store
                .create_upload(&music, &object_key("u"), new_upload())
                .await
                .unwrap();
            store.set_key_quota(&key, Quota::default()).await.unwrap();
            assert!(fits(&store, &photos, "k", "1").await);
        })
        .unwrap();
    }

    #[test]
    fn in_a_mesh_every_box_counts_all_of_it() {
        simulation::run(3, async {
            let wire = Wire::default();
            let [first, second, third] = three(&wire).await;
            let bucket = first.bucket(&BucketName::parse("photos").unwrap()).unwrap();
            for number in 0..20 {
                put(&first, &bucket, &format!("k{number}"), "12345")
                    .await
                    .unwrap();
            }
            let all = Usage {
                bytes: 100,
                objects: 20,
            };
            sleep(Duration::from_secs(60)).await;
            for store in [&first, &second, &third] {
                assert_eq!(store.usage(&bucket).await.unwrap(), all);
            }
            // One that asks others, as a box that holds nothing does.
            let mut partitions = Partitions::default();
            Partition::all().for_each(|partition| partitions.insert(partition));
            let call = Call {
                bucket: bucket.id,
                partitions,
            };
            assert_eq!(first.0.ask(MemberId(3), call.clone()).await.unwrap(), Some(all));
            wire.cut(MemberId(3));
            assert_eq!(first.0.ask(MemberId(3), call).await.unwrap(), None);
        })
        .unwrap();
    }
}
