//! What the store promises about buckets and access keys, through its public interface.
use crate::fixture::Fixture;
use storage::StoreError;
use storage::model::{BucketSettings, Grants, WriteCondition};

#[tokio::test]
async fn a_bucket_is_deleted_only_when_empty_and_shares_nothing_with_its_successor() {
    let fixture = Fixture::new().await;
    let name = fixture.bucket.name.clone();
    fixture.put("a", b"1").await;
    assert!(matches!(
        fixture.store.delete_bucket(&fixture.bucket).await,
        Err(StoreError::BucketNotEmpty)
    ));
    let taken = fixture
        .store
        .create_bucket(&name, &fixture.owner, BucketSettings::default())
        .await;
    assert!(matches!(taken, Err(StoreError::BucketAlreadyOwnedByYou)));
    fixture.delete("a").await;
    fixture.upload("big", &[b"part"], None).await;
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
    assert!(matches!(
        fixture.put_if("a", b"1", WriteCondition::None).await,
        Err(StoreError::NoSuchBucket)
    ));
    let again = fixture
        .store
        .create_bucket(&name, &fixture.owner, BucketSettings::default())
        .await
        .unwrap();
    assert_ne!(again.id, fixture.bucket.id);
    let key = fixture.store.access_key(&fixture.owner).unwrap();
    assert_eq!(again.grants_of(&key), Grants::ALL);
}

#[tokio::test]
async fn keys_and_buckets_are_remembered_over_a_restart() {
    let fixture = Fixture::new().await;
    let secret = fixture
        .store
        .access_key(&fixture.owner)
        .unwrap()
        .secret
        .expose()
        .to_owned();
    let fixture = fixture.reopen().await;
    let key = fixture.store.access_key(&fixture.owner).unwrap();
    assert_eq!(key.secret.expose(), secret);
    assert!(fixture.bucket.grants_of(&key).owner);
    fixture.store.delete_key(&fixture.owner).await.unwrap();
    let fixture = fixture.reopen().await;
    assert!(matches!(
        fixture.store.access_key(&fixture.owner),
        Err(StoreError::NoSuchAccessKey)
    ));
}
