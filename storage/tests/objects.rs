//! What the store promises its clients, asked through its public interface.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use storage::disk::BlockDirectory;
use storage::model::{
    AccessKeyId, Bucket, BucketName, BucketSettings, ChecksumAlgorithm, ChecksumKind, ChecksumValue, ETag,
    Grants, ObjectHeaders, ObjectKey, PartNumber, StorageClass, WriteCondition,
};
use storage::{
    Claims, CompleteUpload, CompletedPart, CopyObject, DeleteTarget, Digest, ListObjects, ListUploads,
    ListVersions, NewObject, NewUpload, ObjectBody, ObjectPage, Options, Store, StoreError,
};

type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body in pieces, with claims; breaks off at the end if told.
struct Body {
    pieces: Vec<Bytes>,
    algorithm: Option<ChecksumAlgorithm>,
    claims: Claims,
    breaks_off: bool,
}

impl Body {
    fn new(content: &[u8]) -> Self {
        let pieces = content
            .chunks(100_000)
            .rev()
            .map(Bytes::copy_from_slice)
            .collect();
        Self {
            pieces,
            algorithm: None,
            claims: Claims::default(),
            breaks_off: false,
        }
    }
}

impl ObjectBody for Body {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        match self.pieces.pop() {
            Some(piece) => Some(Ok(piece)),
            None => self.breaks_off.then(|| Err("cut off".into())),
        }
    }
    fn size_hint(&self) -> Option<u64> {
        None
    }
    fn checksum_algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.algorithm
    }
    fn claims_sha256(&self) -> bool {
        self.claims.sha256.is_some()
    }
    fn claims(&self) -> Claims {
        self.claims.clone()
    }
}

/// A store in a folder of its own, with one bucket.
struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
    bucket: Arc<Bucket>,
    owner: AccessKeyId,
}

impl Fixture {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (store, first) = Store::open(options(&folder)).await.unwrap();
        let owner = first.unwrap().owner_key.id.clone();
        let name = BucketName::parse("photos").unwrap();
        let bucket = store
            .create_bucket(&name, &owner, BucketSettings::default())
            .await
            .unwrap();
        Self {
            folder,
            store,
            bucket,
            owner,
        }
    }

    async fn reopen(self) -> Self {
        self.store.close().await.unwrap();
        drop(self.store);
        let (store, first) = Store::open(options(&self.folder)).await.unwrap();
        assert!(first.is_none());
        let bucket = store.bucket(&self.bucket.name).unwrap();
        Self {
            store,
            bucket,
            ..self
        }
    }

    async fn put(&self, name: &str, content: &[u8]) -> ETag {
        self.put_if(name, content, WriteCondition::None).await.unwrap()
    }

    async fn put_if(
        &self,
        name: &str,
        content: &[u8],
        condition: WriteCondition,
    ) -> Result<ETag, StoreError> {
        let new = NewObject {
            headers: ObjectHeaders::default(),
            class: StorageClass::Standard,
            condition,
        };
        let outcome = self
            .store
            .put_object(&self.bucket, &key(name), new, Body::new(content))
            .await?;
        assert_eq!(outcome.size, content.len() as u64);
        Ok(outcome.etag)
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let object = self.store.object(&self.bucket, &key(name), None).await?;
        let size = object.info().size;
        read(&object, 0..size).await
    }

    async fn delete(&self, name: &str) {
        let target = DeleteTarget {
            key: key(name),
            version: None,
            condition: WriteCondition::None,
        };
        self.store.delete_object(&self.bucket, target).await.unwrap();
    }

    async fn list(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        after: Option<String>,
        max: usize,
    ) -> ObjectPage {
        let list = ListObjects {
            prefix: prefix.into(),
            delimiter: delimiter.map(Into::into),
            after,
            max,
        };
        self.store.list_objects(&self.bucket, list).await.unwrap()
    }

    async fn upload(
        &self,
        name: &str,
        parts: &[&[u8]],
        algorithm: Option<ChecksumAlgorithm>,
    ) -> CompleteUploadCall {
        let new = NewUpload {
            headers: ObjectHeaders::default(),
            class: StorageClass::Standard,
            checksum: algorithm,
            full_object: algorithm.is_some_and(ChecksumAlgorithm::is_linear),
            initiator: None,
        };
        let upload = self
            .store
            .create_upload(&self.bucket, &key(name), new)
            .await
            .unwrap();
        let mut named = Vec::new();
        for (content, number) in parts.iter().zip(1..) {
            let number = PartNumber::new(number).unwrap();
            let body = Body {
                algorithm,
                ..Body::new(content)
            };
            let part = self
                .store
                .put_part(&self.bucket, &key(name), upload, number, body)
                .await
                .unwrap();
            named.push(CompletedPart {
                number,
                etag: Some(part.etag),
                checksum: part.checksum,
            });
        }
        CompleteUploadCall { upload, parts: named }
    }

    async fn complete(
        &self,
        name: &str,
        call: &CompleteUploadCall,
    ) -> Result<storage::PutOutcome, StoreError> {
        let complete = CompleteUpload {
            parts: call.parts.clone(),
            condition: WriteCondition::None,
            checksum: None,
            size: None,
        };
        self.store
            .complete_upload(&self.bucket, &key(name), call.upload, complete)
            .await
    }
}

struct CompleteUploadCall {
    upload: storage::model::UploadId,
    parts: Vec<CompletedPart>,
}

fn options(folder: &tempfile::TempDir) -> Options {
    let blocks = vec![BlockDirectory {
        path: folder.path().join("blocks"),
        capacity: None,
    }];
    let state = folder.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    Options {
        state,
        blocks,
        accept_loss: false,
        recovery_phrase: None,
        memory: 64 << 20,
        hot: 8 << 20,
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::parse(name.as_bytes()).unwrap()
}

async fn read(object: &storage::Object, range: std::ops::Range<u64>) -> Result<Vec<u8>, StoreError> {
    let mut reader = object.read(range);
    let mut content = Vec::new();
    while let Some(piece) = reader.next().await {
        content.extend_from_slice(&piece?);
    }
    Ok(content)
}

/// Bytes that do not compress and differ by seed.
fn noise(len: usize, seed: u8) -> Vec<u8> {
    let mut state = u64::from(seed) << 32 | 0x9e37;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

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
    settle(&fixture).await;
    assert_eq!(
        fixture.store.disk_status().used,
        0,
        "blocks of refused bodies are freed"
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
    settle(&fixture).await;
    assert!(read(&object, 0..6 << 20).await.unwrap() == old);
    drop(object);
    settle(&fixture).await;
    assert_eq!(fixture.store.disk_status().used, 0, "freed after the last reader");
}

/// Gives background freeing time to happen; bounded.
async fn settle(fixture: &Fixture) {
    for _ in 0..200 {
        if fixture.store.disk_status().used == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
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
    settle(&fixture).await;
    assert_eq!(fixture.store.disk_status().used, 0);
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
    settle(&fixture).await;
    assert_eq!(fixture.store.disk_status().used, 0);
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
        headers: None,
        tags: None,
        class: StorageClass::Standard,
        checksum,
        condition: WriteCondition::None,
    };
    let copied = fixture
        .store
        .copy_object(&source, &fixture.bucket, &key("copy"), copy(None))
        .await
        .unwrap();
    assert_eq!(copied.etag, etag);
    assert_eq!(fixture.store.disk_status().used, before, "no bytes moved");
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
    assert_eq!(
        (key.grants_on(fixture.bucket.id), key.grants_on(again.id)),
        (Grants::NONE, Grants::ALL)
    );
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
    assert!(key.grants_on(fixture.bucket.id).owner);
    fixture.store.delete_key(&fixture.owner).await.unwrap();
    let fixture = fixture.reopen().await;
    assert!(matches!(
        fixture.store.access_key(&fixture.owner),
        Err(StoreError::NoSuchAccessKey)
    ));
}

#[tokio::test]
async fn versions_of_a_bucket_without_versioning_are_null() {
    let fixture = Fixture::new().await;
    for name in ["a", "b", "c"] {
        fixture.put(name, b"1").await;
    }
    let list = |after| ListVersions {
        after,
        max: 2,
        ..Default::default()
    };
    let first = fixture
        .store
        .list_versions(&fixture.bucket, list(None))
        .await
        .unwrap();
    assert!(
        first
            .versions
            .iter()
            .all(|version| version.latest && version.version.to_string() == "null")
    );
    let (key, version) = first.next.unwrap();
    let second = ListVersions {
        after_version: version,
        ..list(Some(key))
    };
    let second = fixture
        .store
        .list_versions(&fixture.bucket, second)
        .await
        .unwrap();
    assert_eq!(second.versions.len(), 1);
    assert_eq!(second.versions[0].object.key.as_str(), "c");
    assert!(second.next.is_none());
}

/// What S3 says a listing is, computed from all keys at once.
fn expected(keys: &BTreeMap<String, ()>, prefix: &str, delimiter: Option<&str>) -> Vec<String> {
    let mut entries = Vec::new();
    for key in keys.keys().filter(|key| key.starts_with(prefix)) {
        let group = delimiter.and_then(|delimiter| {
            let at = key[prefix.len()..].find(delimiter)?;
            Some(key[..prefix.len() + at + delimiter.len()].to_owned())
        });
        let entry = group.unwrap_or_else(|| key.clone());
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn pages_of_any_size_together_list_every_entry_once(
        names in proptest::collection::btree_set("[a-c/]{1,6}", 0..60),
        prefix in "[a-c/]{0,2}",
        delimiter in proptest::option::of(prop_oneof![Just("/"), Just("b/"), Just("cc")]),
        max in 1_usize..7,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            for name in &names {
                fixture.put(name, b"").await;
            }
            let keys = names.iter().map(|name| (name.clone(), ())).collect();
            let mut listed = Vec::new();
            let mut after = None;
            loop {
                let page = fixture.list(&prefix, delimiter, after.take(), max).await;
                let mut entries: Vec<_> = page.objects.iter().map(|object| object.key.to_string()).collect();
                entries.extend(page.prefixes.iter().cloned());
                entries.sort();
                prop_assert!(entries.len() <= max && (page.next.is_none() || entries.len() == max));
                listed.extend(entries);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(listed, expected(&keys, &prefix, delimiter));
            fixture.store.close().await.unwrap();
            Ok(())
        })?;
    }
}
