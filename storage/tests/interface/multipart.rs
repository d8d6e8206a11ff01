//! What the store promises about multipart uploads, through its public interface.
use crate::fixture::{Body, CompleteUploadCall, Fixture, everything_is_freed, key, noise};
use storage::model::{ChecksumAlgorithm, ChecksumKind, ETag, PartNumber};
use storage::{CompletedPart, ListUploads, StoreError};

#[tokio::test]
async fn an_upload_becomes_one_object_and_a_repeated_complete_hears_the_same() {
    let fixture = Fixture::new().await;
    let (first, second) = (noise(5 << 20, 1), noise(100, 2));
    let call = fixture
        .upload("big", &[&first, &second], Some(ChecksumAlgorithm::Crc64Nvme))
        .await;
    let uploads = fixture
        .store
        .list_uploads(
            &fixture.bucket,
            ListUploads {
                max: 10,
                ..Default::default()
            },
        )
        .await;
    assert_eq!(uploads.unwrap().uploads.len(), 1);
    let outcome = fixture.complete("big", &call).await.unwrap();
    assert!(matches!(outcome.etag, ETag::Multipart { parts: 2, .. }));
    assert_eq!(outcome.checksum.unwrap().kind, ChecksumKind::FullObject);
    assert!(fixture.get("big").await.unwrap() == [first.clone(), second.clone()].concat());
    let object = fixture
        .store
        .object(&fixture.bucket, &key("big"), None)
        .await
        .unwrap();
    let sizes: Vec<_> = object
        .parts()
        .await
        .unwrap()
        .iter()
        .map(|part| part.size)
        .collect();
    assert_eq!(sizes, [5 << 20, 100]);
    let repeated = fixture.complete("big", &call).await.unwrap();
    assert_eq!((repeated.etag, repeated.size), (outcome.etag, outcome.size));
    let big = key("big");
    let late = fixture.store.put_part(
        &fixture.bucket,
        &big,
        call.upload,
        PartNumber::FIRST,
        Body::new(b"x"),
    );
    assert!(matches!(late.await, Err(StoreError::NoSuchUpload)));
    let whole = fixture.put("same", &[first, second].concat()).await;
    assert_ne!(whole, outcome.etag);
    drop(object);
    fixture.delete("big").await;
    fixture.delete("same").await;
    assert!(everything_is_freed(&fixture).await);
}

#[tokio::test]
async fn a_complete_that_names_wrong_parts_is_refused_and_can_be_repaired() {
    let fixture = Fixture::new().await;
    let call = fixture
        .upload("big", &[&noise(1000, 1), &noise(100, 2)], None)
        .await;
    let wrong = |parts: Vec<CompletedPart>| CompleteUploadCall {
        upload: call.upload,
        parts,
    };
    let reversed = wrong(call.parts.iter().rev().cloned().collect());
    assert!(matches!(
        fixture.complete("big", &reversed).await,
        Err(StoreError::InvalidPartOrder)
    ));
    assert!(matches!(
        fixture.complete("big", &call).await,
        Err(StoreError::EntityTooSmall { size: 1000, .. })
    ));
    let mut other_tag = call.parts.clone();
    other_tag[0].etag = Some(ETag::Md5([0; 16]));
    assert!(matches!(
        fixture.complete("big", &wrong(other_tag)).await,
        Err(StoreError::InvalidPart(_))
    ));
    let mut missing = call.parts.clone();
    missing[1].number = PartNumber::new(9).unwrap();
    assert!(matches!(
        fixture.complete("big", &wrong(missing)).await,
        Err(StoreError::InvalidPart(_))
    ));
    let last_only = fixture
        .complete("big", &wrong(call.parts[1..].to_vec()))
        .await
        .unwrap();
    assert_eq!(last_only.size, 100);
    assert_eq!(fixture.get("big").await.unwrap(), noise(100, 2));
}

#[tokio::test]
async fn an_aborted_upload_is_gone_and_its_blocks_with_it() {
    let fixture = Fixture::new().await;
    let call = fixture.upload("big", &[&noise(5 << 20, 1)], None).await;
    fixture
        .store
        .abort_upload(&fixture.bucket, &key("big"), call.upload)
        .await
        .unwrap();
    let again = fixture
        .store
        .abort_upload(&fixture.bucket, &key("big"), call.upload)
        .await;
    assert!(matches!(again, Err(StoreError::NoSuchUpload)));
    assert!(matches!(
        fixture.complete("big", &call).await,
        Err(StoreError::NoSuchUpload)
    ));
    assert!(everything_is_freed(&fixture).await);
}
