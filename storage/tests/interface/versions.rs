//! What the store promises about versions, through its public interface.
use crate::fixture::{Body, Fixture, everything_is_freed, key, noise};
use storage::model::{Invocation, Lock, ObjectHeaders, StorageClass, VersionId, Versioning, WriteCondition};
use storage::{CopyObject, DeleteOutcome, DeleteTarget, ListVersions, ListedVersion, NewObject, StoreError};

impl Fixture {
    async fn versioning(&self, versioning: Versioning) {
        self.store.set_versioning(&self.bucket, versioning).await.unwrap();
    }

    async fn put_version(&self, name: &str, content: &[u8]) -> Option<VersionId> {
        let key = key(name);
        let put = self
            .store
            .put_object(&self.bucket, &key, plain(), Body::new(content));
        put.await.unwrap().version
    }

    async fn get_version(&self, name: &str, version: VersionId) -> Result<Vec<u8>, StoreError> {
        let object = self.store.object(&self.bucket, &key(name), Some(version)).await?;
        crate::fixture::read(&object, 0..object.info().size).await
    }

    async fn delete_version(
        &self,
        name: &str,
        version: Option<VersionId>,
    ) -> Result<DeleteOutcome, StoreError> {
        let target = DeleteTarget {
            key: key(name),
            version,
            condition: WriteCondition::None,
            bypass: false,
            cause: storage::model::Cause::default(),
        };
        self.store.delete_object(&self.bucket, target).await
    }

    async fn page(&self, list: ListVersions) -> storage::VersionPage {
        self.store.list_versions(&self.bucket, list).await.unwrap()
    }

    async fn versions(&self) -> Vec<ListedVersion> {
        let all = ListVersions {
            max: 1000,
            ..ListVersions::default()
        };
        self.page(all).await.versions
    }

    /// Keys and sizes of all versions: `D` for a marker, `*` behind the current one.
    async fn shown(&self) -> String {
        let versions = self.versions().await;
        let shown = versions.iter().map(|version| {
            let what = match version.delete_marker {
                true => "D".to_owned(),
                false => version.facts.size.to_string(),
            };
            let latest = if version.latest { "*" } else { "" };
            format!("{}={what}{latest}", version.key.as_str())
        });
        shown.collect::<Vec<_>>().join(" ")
    }
}

fn plain() -> NewObject {
    NewObject {
        headers: ObjectHeaders::default(),
        class: StorageClass::Standard,
        lock: Lock::default(),
        condition: WriteCondition::None,
        cause: storage::model::Cause::default(),
        invocation: None,
    }
}

#[tokio::test]
async fn what_was_overwritten_or_deleted_is_still_there_until_it_is_named() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.put_version("k", b"0").await, None);
    fixture.versioning(Versioning::Enabled).await;
    let large = noise(100_000, 1);
    let one = fixture.put_version("k", &large).await.unwrap();
    let two = fixture.put_version("k", b"22").await.unwrap();
    assert_eq!(fixture.get("k").await.unwrap(), b"22");
    assert_eq!(fixture.get_version("k", one).await.unwrap(), large);
    assert_eq!(fixture.get_version("k", VersionId::Null).await.unwrap(), b"0");
    let hidden = fixture.delete_version("k", None).await.unwrap();
    let marker = hidden.version.unwrap();
    assert!(hidden.delete_marker);
    assert_eq!(fixture.shown().await, "k=D* k=2 k=100000 k=1");
    assert!(matches!(
        fixture.get("k").await,
        Err(StoreError::DeleteMarker { version, named: false, .. }) if version == marker
    ));
    assert!(matches!(
        fixture.get_version("k", marker).await,
        Err(StoreError::DeleteMarker { named: true, .. })
    ));
    assert_eq!(fixture.list("", None, None, 10).await.entries(), 0);
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.bucket.settings.versioning, Versioning::Enabled);
    let shown = fixture.delete_version("k", Some(marker)).await.unwrap();
    assert!(shown.delete_marker && shown.version == Some(marker));
    assert_eq!(fixture.get("k").await.unwrap(), b"22");
    for version in [two, one] {
        assert!(matches!(
            fixture.store.delete_bucket(&fixture.bucket).await,
            Err(StoreError::BucketNotEmpty)
        ));
        let removed = fixture.delete_version("k", Some(version)).await.unwrap();
        assert!(!removed.delete_marker && removed.version == Some(version));
        assert!(matches!(
            fixture.get_version("k", version).await,
            Err(StoreError::NoSuchVersion)
        ));
    }
    assert!(everything_is_freed(&fixture).await);
    fixture.delete_version("k", Some(VersionId::Null)).await.unwrap();
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
}

#[tokio::test]
async fn a_client_that_tries_again_makes_no_second_version_and_leaves_no_block() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let (k, text) = (key("k"), noise(100_000, 1));
    let attempt = async |number: u32, condition, content: &[u8]| {
        let request = format!("attempt={number}; max=3");
        let new = NewObject {
            condition,
            invocation: Invocation::of("GK1", "e5a1", &request),
            ..plain()
        };
        let put = fixture
            .store
            .put_object(&fixture.bucket, &k, new, Body::new(content));
        put.await.map(|put| put.version.unwrap())
    };
    let first = attempt(1, WriteCondition::Absent, &text).await.unwrap();
    assert_eq!(attempt(2, WriteCondition::Absent, &text).await.unwrap(), first);
    assert_eq!(attempt(3, WriteCondition::None, &text).await.unwrap(), first);
    // What others did since stays the current one.
    fixture.put_version("k", b"22").await;
    assert_eq!(attempt(3, WriteCondition::Absent, &text).await.unwrap(), first);
    assert_eq!(fixture.shown().await, "k=2* k=100000");
    // The same name for the first attempt of something else, or for other content.
    for (number, content) in [(1, &text[..]), (2, b"other")] {
        let refused = attempt(number, WriteCondition::Absent, content).await;
        assert!(
            matches!(refused, Err(StoreError::PreconditionFailed)),
            "{refused:?}"
        );
    }
    attempt(1, WriteCondition::None, &text).await.unwrap();
    assert_eq!(fixture.shown().await, "k=100000* k=2 k=100000");
    for version in fixture.versions().await {
        fixture.delete_version("k", Some(version.version)).await.unwrap();
    }
    assert!(everything_is_freed(&fixture).await);
}

#[tokio::test]
async fn a_bucket_of_nothing_but_markers_is_not_empty() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let marker = fixture.delete_version("never", None).await.unwrap();
    assert!(matches!(
        fixture.store.delete_bucket(&fixture.bucket).await,
        Err(StoreError::BucketNotEmpty)
    ));
    fixture.delete_version("never", marker.version).await.unwrap();
    fixture.store.delete_bucket(&fixture.bucket).await.unwrap();
}

#[tokio::test]
async fn where_versioning_is_suspended_only_null_is_replaced() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let kept = fixture.put_version("k", b"1").await.unwrap();
    fixture.versioning(Versioning::Suspended).await;
    for content in [&b"22"[..], b"333"] {
        assert_eq!(fixture.put_version("k", content).await, Some(VersionId::Null));
    }
    assert_eq!(fixture.shown().await, "k=3* k=1");
    let hidden = fixture.delete_version("k", None).await.unwrap();
    assert_eq!(
        (hidden.version, hidden.delete_marker),
        (Some(VersionId::Null), true)
    );
    assert_eq!(fixture.shown().await, "k=D* k=1");
    fixture.delete_version("k", Some(VersionId::Null)).await.unwrap();
    assert_eq!(fixture.get("k").await.unwrap(), b"1");
    assert_eq!(fixture.get_version("k", kept).await.unwrap(), b"1");
}

#[tokio::test]
async fn a_marker_counts_as_absent_for_conditions() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let etag = fixture.put("k", b"1").await;
    fixture.delete("k").await;
    assert!(matches!(
        fixture.put_if("k", b"2", WriteCondition::Tag(Some(etag))).await,
        Err(StoreError::NoSuchKey)
    ));
    fixture.put_if("k", b"2", WriteCondition::Absent).await.unwrap();
    assert!(matches!(
        fixture.put_if("k", b"3", WriteCondition::Absent).await,
        Err(StoreError::PreconditionFailed)
    ));
    assert_eq!(fixture.shown().await, "k=1* k=D k=1");
}

#[tokio::test]
async fn an_upload_becomes_one_version_however_often_it_is_completed() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let before = fixture.put_version("k", b"1").await.unwrap();
    let upload = fixture.upload("k", &[b"part"], None).await;
    let first = fixture.complete("k", &upload).await.unwrap();
    assert_eq!(fixture.complete("k", &upload).await.unwrap(), first);
    assert_eq!(
        fixture.get_version("k", first.version.unwrap()).await.unwrap(),
        b"part"
    );
    assert_eq!(fixture.get_version("k", before).await.unwrap(), b"1");
    assert_eq!(fixture.shown().await, "k=4* k=1");
}

#[tokio::test]
async fn a_version_is_restored_by_copying_it() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let large = noise(50_000, 2);
    let old = fixture.put_version("k", &large).await;
    fixture.delete("k").await;
    let k = key("k");
    let source = fixture.store.object(&fixture.bucket, &k, old).await.unwrap();
    let copy = CopyObject {
        customer: None,
        headers: None,
        tags: None,
        class: StorageClass::Standard,
        checksum: None,
        condition: WriteCondition::Absent,
        lock: Lock::default(),
        cause: storage::model::Cause::default(),
        invocation: None,
    };
    let copied = fixture.store.copy_object(&source, &fixture.bucket, &k, copy);
    let copied = copied.await.unwrap();
    assert!(copied.version.is_some() && copied.version != old);
    // The copy does not need what it was made from.
    fixture.delete_version("k", old).await.unwrap();
    assert_eq!(fixture.get("k").await.unwrap(), large);
}

#[tokio::test]
async fn pages_of_any_size_list_every_version_once_also_when_those_listed_are_removed() {
    for (max, removes) in [(1, false), (2, false), (3, true), (1, true), (7, false)] {
        let fixture = Fixture::new().await;
        fixture.put("b", b"0").await;
        fixture.versioning(Versioning::Enabled).await;
        for name in ["a", "b", "b", "b", "c/1", "c/2", "d"] {
            fixture.put(name, b"1").await;
        }
        fixture.delete("b").await;
        let expected = fixture.versions().await;
        let (mut listed, mut prefixes, mut after, mut after_version) = (Vec::new(), Vec::new(), None, None);
        loop {
            let list = ListVersions {
                delimiter: Some("/".into()),
                after,
                after_version,
                max,
                ..ListVersions::default()
            };
            let page = fixture.page(list).await;
            assert!(page.versions.len() + page.prefixes.len() <= max);
            if removes {
                for version in &page.versions {
                    let name = version.key.as_str();
                    fixture.delete_version(name, Some(version.version)).await.unwrap();
                }
            }
            listed.extend(page.versions);
            prefixes.extend(page.prefixes);
            let Some(next) = page.next else { break };
            (after, after_version) = (Some(next.0), next.1);
        }
        let names = |versions: &[ListedVersion]| {
            let outside = versions
                .iter()
                .filter(|version| !version.key.as_str().starts_with("c/"));
            outside
                .map(|version| (version.key.clone(), version.version))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&listed), names(&expected), "{max} {removes}");
        assert_eq!(prefixes, ["c/"]);
    }
}

#[tokio::test]
async fn a_key_keeps_more_versions_than_its_row_has_room_for() {
    let fixture = Fixture::new().await;
    fixture.versioning(Versioning::Enabled).await;
    let headers = ObjectHeaders {
        user: [("note".to_owned(), "x".repeat(60_000))].into(),
        ..ObjectHeaders::default()
    };
    let (mut first, k) = (None, key("k"));
    for _ in 0..40 {
        let new = NewObject {
            headers: headers.clone(),
            ..plain()
        };
        let put = fixture
            .store
            .put_object(&fixture.bucket, &k, new, Body::new(b"1"));
        first = first.or(put.await.unwrap().version);
    }
    assert_eq!(fixture.versions().await.len(), 40);
    assert_eq!(fixture.get("k").await.unwrap(), b"1");
    let oldest = fixture.store.object(&fixture.bucket, &k, first).await.unwrap();
    assert_eq!(oldest.info().headers, headers);
    fixture.delete("k").await;
    fixture.delete_version("k", first).await.unwrap();
    fixture.put("k", b"2").await;
    assert_eq!(fixture.versions().await.len(), 41);
}
