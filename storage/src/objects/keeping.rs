//! Changes how a bucket keeps versions: behind a fence, so that nothing is overwritten that was promised to be kept.
//!
//! A write carries what its gateway knows of the bucket, together with how many changes of this kind it has heard of, and
//! both are judged at commit. The bucket's row is changed first; then writers of this box are waited for, and the fences
//! of all partitions are raised, as when a bucket is closed (see `cluster::mesh::closings`). Until that is done the bucket's
//! row says so, and whoever sets the same again goes on with it. From then on every write that
//! is told to be done went by the new settings. One that was never told, since its holder was cut off, may still come to
//! light later as if it had been made just before the change.

use std::sync::Arc;

use crate::cluster::mesh::closings;
use crate::cluster::mesh::feed::refresh;
use crate::model::{Bucket, BucketId, BucketSettings, ObjectLock, Versioning};
use crate::{Store, StoreError};

/// Said to whoever wants to lock a bucket that does not keep versions.
const NOT_VERSIONED: &str = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration";
/// Said to whoever wants a bucket with locks to keep no more versions.
const LOCKED: &str =
    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.";

impl Store {
    /// Has a bucket keep versions, or keep no more. When this returns, no write goes by what was set before.
    ///
    /// # Errors
    /// `NoSuchBucket`. `BucketState`: it has an object lock. `Unavailable`: it may be set, and writes of other members may
    /// not know yet: set it again.
    pub async fn set_versioning(
        &self,
        bucket: &Bucket,
        versioning: Versioning,
    ) -> Result<Arc<Bucket>, StoreError> {
        self.change_keeping(bucket.id, move |settings| {
            if settings.lock.is_some() && versioning != Versioning::Enabled {
                return Err(StoreError::BucketState(LOCKED));
            }
            settings.versioning = versioning;
            Ok(())
        })
        .await
    }

    /// Gives a bucket an object lock, or another default retention. As [`Self::set_versioning`].
    ///
    /// # Errors
    /// As there. `BucketState`: it does not keep versions.
    pub async fn set_object_lock(
        &self,
        bucket: &Bucket,
        lock: ObjectLock,
    ) -> Result<Arc<Bucket>, StoreError> {
        self.change_keeping(bucket.id, move |settings| {
            if settings.versioning != Versioning::Enabled {
                return Err(StoreError::BucketState(NOT_VERSIONED));
            }
            settings.lock = Some(lock);
            Ok(())
        })
        .await
    }

    async fn change_keeping(
        &self,
        id: BucketId,
        mut change: impl FnMut(&mut BucketSettings) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Arc<Bucket>, StoreError> {
        let store = self.clone();
        self.finish(async move {
            let is_meshed = store.0.is_meshed();
            if is_meshed {
                refresh(&store.0).await?;
            }
            let entry = store.0.directory.entry(id)?;
            let mut settings = entry.bucket.settings.clone();
            change(&mut settings)?;
            if settings.keeping() == entry.bucket.settings.keeping() && entry.bucket.unfenced.is_none() {
                return Ok(entry.bucket.clone());
            }
            // Whoever writes here has left, and who enters after this reads the new settings.
            let _alone = entry.enter_alone().await?;
            let changed = store.0.try_change_bucket(id, |bucket| {
                change(&mut bucket.settings)?;
                bucket.unfenced = is_meshed.then_some(bucket.version.saturating_add(1));
                Ok(())
            });
            let changed = changed.await?;
            match changed.unfenced {
                Some(version) => store.fence(id, version).await,
                None => Ok(changed),
            }
        })
        .await
    }

    /// Keeps out gateways that have not heard of the change a bucket's row says it had in that version, and notes that.
    async fn fence(&self, id: BucketId, version: u64) -> Result<Arc<Bucket>, StoreError> {
        closings::keep_others_out(&self.0).await?;
        let fenced = self.0.try_change_bucket(id, |bucket| {
            // Whoever changed it again meanwhile raises the fences once more.
            bucket.unfenced = bucket.unfenced.filter(|there| *there != version);
            Ok(())
        });
        fenced.await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use crate::cluster::mesh::closings;
    use crate::cluster::neighbour_tests::{Wire, create, founder, join, object_key, owner, put, settled};
    use crate::model::Versioning;
    use crate::{ListVersions, simulation};

    /// Sizes of all versions, the current one first.
    async fn sizes(store: &crate::Store, bucket: &crate::model::Bucket) -> Vec<u64> {
        let all = ListVersions {
            max: 100,
            ..ListVersions::default()
        };
        let page = store.list_versions(bucket, all).await.unwrap();
        page.versions.iter().map(|version| version.facts.size).collect()
    }

    #[test]
    fn a_box_that_has_not_heard_of_a_change_writes_by_it_all_the_same() {
        for seed in 0..2 {
            simulation::run(seed, async {
                let wire = Wire::default();
                let first = founder(&wire, "anna").await;
                let key = owner(&first).await;
                let second = join(&wire, &first, "ben").await;
                settled(&[&first, &second], &[1, 2]).await;
                let bucket = create(&first, "photos", &key).await;
                while second.bucket(&bucket.name).is_err() {
                    sleep(Duration::from_millis(10)).await;
                }
                put(&second, &bucket, "k", "1").await.unwrap();
                let changes = [
                    (Versioning::Enabled, "22", &[2, 1][..]),
                    (Versioning::Suspended, "333", &[3, 2]),
                    (Versioning::Enabled, "4444", &[4, 3, 2]),
                ];
                for (versioning, text, kept) in changes {
                    let before = second.bucket(&bucket.name).unwrap().settings.versioning;
                    // Whoever holds this keeps the other box from hearing anything.
                    let deaf = second.0.directory.alone().await.unwrap();
                    first.set_versioning(&bucket, versioning).await.unwrap();
                    let heard = second.bucket(&bucket.name).unwrap().settings.versioning;
                    assert_eq!(heard, before);
                    let hears_later = async {
                        sleep(Duration::from_millis(300)).await;
                        drop(deaf);
                    };
                    let (put, ()) = futures_util::join!(put(&second, &bucket, "k", text), hears_later);
                    put.unwrap();
                    assert_eq!(sizes(&first, &bucket).await, kept);
                }
                let object = second.object(&bucket, &object_key("k"), None).await.unwrap();
                assert!(object.info().version.made().is_some());
            })
            .unwrap();
        }
    }

    #[test]
    fn only_what_changes_how_versions_are_kept_raises_fences() {
        simulation::run(3, async {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            let key = owner(&first).await;
            let second = join(&wire, &first, "ben").await;
            settled(&[&first, &second], &[1, 2]).await;
            let bucket = create(&first, "photos", &key).await;
            let raised = async || closings::count(&first.0.partitions).await.unwrap();
            let set = async |versioning| first.set_versioning(&bucket, versioning).await.unwrap();
            let before = raised().await;
            assert_eq!(set(Versioning::Off).await.version, 1);
            assert_eq!(raised().await, before);
            assert_eq!(set(Versioning::Enabled).await.unfenced, None);
            assert_eq!(raised().await, before + 1);
            set(Versioning::Enabled).await;
            assert_eq!(raised().await, before + 1);
            // An attempt that ended before the fences were raised is ended by whoever sets the same again.
            let cut_off = |bucket: &mut crate::model::Bucket| {
                bucket.unfenced = Some(bucket.version + 1);
                Ok(())
            };
            first.0.try_change_bucket(bucket.id, cut_off).await.unwrap();
            assert_eq!(set(Versioning::Enabled).await.unfenced, None);
            assert_eq!(raised().await, before + 2);
        })
        .unwrap();
    }
}
