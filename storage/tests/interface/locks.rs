//! What the store promises about locks and tags of versions, through its public interface.
use crate::fixture::{Fixture, key};
use storage::model::{
    Cause, DefaultRetention, Lock, ObjectLock, Period, Retention, RetentionMode, Timestamp, VersionId,
    Versioning, WriteCondition,
};
use storage::{DeleteTarget, StoreError};

impl Fixture {
    async fn locks(&self, default: Option<DefaultRetention>) {
        let (store, bucket) = (&self.store, &self.bucket);
        store.set_versioning(bucket, Versioning::Enabled).await.unwrap();
        store
            .set_object_lock(bucket, ObjectLock { default })
            .await
            .unwrap();
    }

    async fn current(&self, name: &str) -> (VersionId, Lock) {
        let object = self.store.object(&self.bucket, &key(name), None).await.unwrap();
        (object.info().version, object.info().lock)
    }

    async fn remove(&self, name: &str, version: VersionId, bypass: bool) -> Result<(), StoreError> {
        let target = DeleteTarget {
            key: key(name),
            version: Some(version),
            condition: WriteCondition::None,
            bypass,
            cause: Cause::default(),
        };
        self.store.delete_object(&self.bucket, target).await.map(drop)
    }

    async fn retain(&self, name: &str, mode: RetentionMode, seconds: u64) -> Result<VersionId, StoreError> {
        let until = Timestamp::from_millis(Timestamp::now().as_millis() + seconds * 1000);
        let retention = Some(Retention { mode, until });
        self.store
            .set_retention(&self.bucket, &key(name), None, (retention, false))
            .await
    }
}

fn is_locked<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Locked))
}

#[tokio::test]
async fn a_version_with_the_retention_of_its_bucket_stays_whoever_wants_it_gone() {
    let fixture = Fixture::new().await;
    let default = DefaultRetention {
        mode: RetentionMode::Compliance,
        period: Period::Days(1),
    };
    fixture.locks(Some(default)).await;
    fixture.put("k", b"1").await;
    let (version, lock) = fixture.current("k").await;
    assert_eq!(lock.retention.unwrap().mode, RetentionMode::Compliance);
    fixture.delete("k").await;
    let fixture = fixture.reopen().await;
    assert!(is_locked(fixture.remove("k", version, true).await));
    assert!(matches!(
        fixture.store.delete_bucket(&fixture.bucket).await,
        Err(StoreError::BucketNotEmpty)
    ));
    let upload = fixture.upload("u", &[b"part"], None).await;
    fixture.complete("u", &upload).await.unwrap();
    assert_eq!(
        fixture.current("u").await.1.retention.unwrap().mode,
        RetentionMode::Compliance
    );
}

#[tokio::test]
async fn a_retention_ends_and_one_of_governance_can_be_bypassed() {
    let fixture = Fixture::new().await;
    fixture.locks(None).await;
    fixture.put("k", b"1").await;
    let version = fixture.retain("k", RetentionMode::Governance, 1).await.unwrap();
    assert!(is_locked(fixture.remove("k", version, false).await));
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    fixture.remove("k", version, false).await.unwrap();
    fixture.put("k", b"2").await;
    let version = fixture
        .retain("k", RetentionMode::Governance, 3600)
        .await
        .unwrap();
    assert!(is_locked(
        fixture.retain("k", RetentionMode::Governance, 60).await
    ));
    assert!(is_locked(
        fixture.retain("k", RetentionMode::Compliance, 7200).await
    ));
    fixture.remove("k", version, true).await.unwrap();
}

#[tokio::test]
async fn a_legal_hold_lasts_until_it_is_lifted() {
    let fixture = Fixture::new().await;
    fixture.locks(None).await;
    fixture.put("k", b"1").await;
    let k = key("k");
    let hold = async |on| {
        let held = fixture.store.set_legal_hold(&fixture.bucket, &k, None, on);
        held.await.unwrap()
    };
    let version = hold(true).await;
    assert!(is_locked(fixture.remove("k", version, true).await));
    hold(false).await;
    fixture.remove("k", version, false).await.unwrap();
}

#[tokio::test]
async fn a_bucket_with_locks_keeps_versions_and_one_without_versions_gets_none() {
    let fixture = Fixture::new().await;
    let lock = ObjectLock::default();
    assert!(matches!(
        fixture.store.set_object_lock(&fixture.bucket, lock).await,
        Err(StoreError::BucketState(_))
    ));
    fixture.locks(None).await;
    for versioning in [Versioning::Suspended, Versioning::Off] {
        assert!(matches!(
            fixture.store.set_versioning(&fixture.bucket, versioning).await,
            Err(StoreError::BucketState(_))
        ));
    }
    let bucket = fixture.store.bucket(&fixture.bucket.name).unwrap();
    assert_eq!(bucket.settings.versioning, Versioning::Enabled);
}

#[tokio::test]
async fn tags_are_changed_in_place_and_the_content_stays() {
    let fixture = Fixture::new().await;
    let content = crate::fixture::noise(20_000, 3);
    let etag = fixture.put("k", &content).await;
    let before = fixture.store.object(&fixture.bucket, &key("k"), None).await;
    let modified = before.unwrap().info().modified;
    let tag = |name: &str| vec![(name.to_owned(), "value".to_owned())];
    // All at once: each is made from the version as it is then, and one of them is the last.
    let k = key("k");
    let tagged = (0..8).map(|number| {
        let tags = tag(&number.to_string());
        fixture
            .store
            .set_tags(&fixture.bucket, &k, None, (tags, Cause::default()))
    });
    for tagged in futures_util::future::join_all(tagged).await {
        assert_eq!(tagged.unwrap(), VersionId::Null);
    }
    let fixture = fixture.reopen().await;
    let object = fixture
        .store
        .object(&fixture.bucket, &key("k"), None)
        .await
        .unwrap();
    assert_eq!(object.info().headers.tags.len(), 1);
    assert_eq!((object.info().etag, object.info().modified), (etag, modified));
    assert_eq!(fixture.get("k").await.unwrap(), content);
    let missing = fixture
        .store
        .set_tags(&fixture.bucket, &key("none"), None, (tag("a"), Cause::default()))
        .await;
    assert!(matches!(missing, Err(StoreError::NoSuchKey)));
}
