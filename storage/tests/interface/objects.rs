//! What the store promises about objects: put, read, raced for and copied, through its public interface.
use std::sync::Arc;

use crate::fixture::{Body, Fixture, TRACES, everything_is_freed, key, noise, read};
use storage::model::{
    ChecksumAlgorithm, ChecksumValue, ETag, Lock, ObjectHeaders, ObjectKey, StorageClass, WriteCondition,
};
use storage::{Claims, CopyObject, Digest, NewObject, StoreError};

#[tokio::test]
async fn objects_of_every_size_read_back_whole_and_in_ranges_also_after_a_restart() {
    let mut fixture = Fixture::new().await;
    let sizes = [
        0,
        1,
        4096,
        4097,
        65_536,
        300_000,
        4 << 20,
        (4 << 20) + 1,
        (9 << 20) + 17,
    ];
    for restarted in [false, true] {
        for size in sizes {
            let content = noise(size, 7);
            let name = format!("n{size}");
            if !restarted {
                let etag = fixture.put(&name, &content).await;
                assert!(matches!(etag, ETag::Md5(_)));
            }
            assert_eq!(
                fixture.get(&name).await.unwrap(),
                content,
                "{size} bytes, restarted: {restarted}"
            );
            let object = fixture
                .store
                .object(&fixture.bucket, &key(&name), None)
                .await
                .unwrap();
            for (from, to) in [
                (0, 1),
                (size / 2, size / 2 + 70_000),
                (size.saturating_sub(5), size),
                (1 << 20, 3 << 20),
            ] {
                let (from, to) = (from.min(size), to.min(size));
                let part = read(&object, from as u64..to as u64).await.unwrap();
                assert!(part == content[from..to], "{size} bytes, {from}..{to}");
            }
        }
        fixture = fixture.reopen().await;
    }
}

#[tokio::test]
async fn text_that_compresses_reads_back_in_any_range() {
    let fixture = Fixture::new().await;
    let text = (0..700_000)
        .flat_map(|line: u32| format!("line {line}\n").into_bytes())
        .collect::<Vec<_>>();
    fixture.put("text", &text).await;
    let object = fixture
        .store
        .object(&fixture.bucket, &key("text"), None)
        .await
        .unwrap();
    for (from, to) in [
        (0, 10),
        (65_535, 65_537),
        (1_000_000, 5_000_000),
        (text.len() - 3, text.len()),
    ] {
        assert!(
            read(&object, from as u64..to as u64).await.unwrap() == text[from..to],
            "{from}..{to}"
        );
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_lies_stores_nothing() {
    let fixture = Fixture::new().await;
    for size in [10, 100_000, 9 << 20] {
        let content = noise(size, 1);
        let new = || NewObject {
            headers: ObjectHeaders::default(),
            class: StorageClass::Standard,
            condition: WriteCondition::None,
            lock: Lock::default(),
            cause: storage::model::Cause::default(),
            invocation: None,
        };
        let put = |body| fixture.store.put_object(&fixture.bucket, &KEY, new(), body);
        let cut = put(Body {
            breaks_off: true,
            ..Body::new(&content)
        })
        .await;
        assert!(matches!(cut, Err(StoreError::Body(_))));
        let claims = Claims {
            md5: Some([0; 16]),
            ..Claims::default()
        };
        let lied = put(Body {
            claims,
            ..Body::new(&content)
        })
        .await;
        assert!(matches!(lied, Err(StoreError::DigestMismatch(Digest::Md5))));
        let claimed = ChecksumValue::new(ChecksumAlgorithm::Crc32, &[0; 4]).unwrap();
        let claims = Claims {
            checksum: Some(claimed),
            sha256: Some([0; 32]),
            ..Claims::default()
        };
        let lied = put(Body {
            claims,
            algorithm: Some(ChecksumAlgorithm::Crc32),
            ..Body::new(&content)
        })
        .await;
        assert!(matches!(
            lied,
            Err(StoreError::DigestMismatch(Digest::PayloadSha256))
        ));
        assert!(matches!(fixture.get("key").await, Err(StoreError::NoSuchKey)));
    }
    assert!(
        everything_is_freed(&fixture).await,
        "blocks of refused bodies stay"
    );
    static KEY: std::sync::LazyLock<ObjectKey> = std::sync::LazyLock::new(|| key("key"));
}

#[tokio::test]
async fn a_reader_keeps_what_it_opened_while_others_overwrite_and_delete_it() {
    let fixture = Fixture::new().await;
    let old = noise(6 << 20, 1);
    fixture.put("a", &old).await;
    let object = fixture
        .store
        .object(&fixture.bucket, &key("a"), None)
        .await
        .unwrap();
    fixture.put("a", &noise(6 << 20, 2)).await;
    fixture.delete("a").await;
    assert!(
        !everything_is_freed(&fixture).await,
        "what a reader holds is freed"
    );
    assert!(read(&object, 0..6 << 20).await.unwrap() == old);
    drop(object);
    assert!(everything_is_freed(&fixture).await, "freed after the last reader");
}

#[tokio::test]
async fn of_many_writers_that_want_to_be_first_one_wins() {
    let fixture = Arc::new(Fixture::new().await);
    for round in 0..20 {
        let name = format!("lock{round}");
        let writers = (0..8).map(|writer| {
            let (fixture, name) = (fixture.clone(), name.clone());
            tokio::spawn(async move { fixture.put_if(&name, &[writer], WriteCondition::Absent).await })
        });
        let mut winners = 0;
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert!(matches!(error, StoreError::PreconditionFailed)),
            }
        }
        assert_eq!(winners, 1);
    }
    let etag = fixture.put("tagged", b"1").await;
    assert!(
        fixture
            .put_if("tagged", b"2", WriteCondition::Tag(Some(etag)))
            .await
            .is_ok()
    );
    let stale = fixture
        .put_if("tagged", b"3", WriteCondition::Tag(Some(etag)))
        .await;
    assert!(matches!(stale, Err(StoreError::PreconditionFailed)));
    assert!(matches!(
        fixture.put_if("none", b"", WriteCondition::Present).await,
        Err(StoreError::NoSuchKey)
    ));
}

#[tokio::test]
async fn a_copy_shares_blocks_and_outlives_its_source() {
    let fixture = Fixture::new().await;
    let content = noise(9 << 20, 3);
    let etag = fixture.put("source", &content).await;
    let before = fixture.store.disk_status().used;
    let source = fixture
        .store
        .object(&fixture.bucket, &key("source"), None)
        .await
        .unwrap();
    let copy = |checksum| CopyObject {
        customer: None,
        headers: None,
        tags: None,
        class: StorageClass::Standard,
        checksum,
        condition: WriteCondition::None,
        lock: Lock::default(),
        cause: storage::model::Cause::default(),
        invocation: None,
    };
    let copied = fixture
        .store
        .copy_object(&source, &fixture.bucket, &key("copy"), copy(None))
        .await
        .unwrap();
    assert_eq!(copied.etag, etag);
    let moved = fixture.store.disk_status().used - before;
    assert!(moved < TRACES, "{moved} bytes moved");
    let summed = copy(Some(ChecksumAlgorithm::Sha256));
    let summed = fixture
        .store
        .copy_object(&source, &fixture.bucket, &key("summed"), summed)
        .await
        .unwrap();
    assert_eq!(
        summed.checksum.unwrap().value.algorithm(),
        ChecksumAlgorithm::Sha256
    );
    drop(source);
    fixture.delete("source").await;
    fixture.delete("summed").await;
    assert!(fixture.get("copy").await.unwrap() == content);
}
