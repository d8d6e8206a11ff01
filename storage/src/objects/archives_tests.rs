//! Promises about keys that have many versions.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::time::sleep;

use super::{DeleteTarget, ListVersions};
use crate::cluster::neighbour_tests::{
    Wire, content, create, delete, founder, new_object, object_key, owner, put, three,
};
use crate::model::{Bucket, Cause, VersionId, Versioning, WriteCondition, row_key};
use crate::{Store, StoreError, simulation};

/// Every version of the key `k`, with the content of each, as pages of so many list them.
async fn listed(store: &Store, bucket: &Bucket, max: usize) -> Vec<(VersionId, bool)> {
    let mut versions = Vec::new();
    let (mut after, mut after_version) = (None, None);
    loop {
        let list = ListVersions {
            after,
            after_version,
            max,
            ..ListVersions::default()
        };
        let page = store.list_versions(bucket, list).await.unwrap();
        assert!(page.versions.len() <= max);
        let here = page.versions.iter();
        versions.extend(here.map(|version| (version.version, version.latest)));
        let Some((key, version)) = page.next else {
            return versions;
        };
        (after, after_version) = (Some(key), version);
    }
}

async fn read(store: &Store, bucket: &Bucket, version: VersionId) -> Result<String, StoreError> {
    let object = store.object(bucket, &object_key("k"), Some(version)).await?;
    let (mut reader, mut content) = (object.read(0..u64::MAX), Vec::new());
    while let Some(piece) = reader.next().await {
        content.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(content).unwrap())
}

async fn remove(store: &Store, bucket: &Bucket, version: VersionId) -> Result<(), StoreError> {
    let target = DeleteTarget {
        key: object_key("k"),
        version: Some(version),
        condition: WriteCondition::None,
        bypass: false,
        cause: Cause::default(),
    };
    store.delete_object(bucket, target).await.map(drop)
}

/// What the version of that number holds: some in blocks, some in the row.
fn text(number: usize) -> String {
    match number % 3 {
        0 => content(&format!("v{number}"), 1),
        _ => format!("version {number}"),
    }
}

/// Puts so many versions of the key `k`; gives their ids, oldest first.
async fn filled(store: &Store, bucket: &Bucket, versions: usize) -> Vec<VersionId> {
    let mut ids = Vec::new();
    for number in 0..versions {
        let body = crate::cluster::neighbour_tests::body(&text(number));
        let put = store
            .put_object(bucket, &object_key("k"), new_object(), body)
            .await;
        ids.push(put.unwrap().version.unwrap());
    }
    ids
}

fn archives(store: &Store) -> usize {
    let (from, to) = row_key::all_archives();
    let from = std::ops::Bound::Included(from.as_slice());
    let mut rows = store.0.disk.scan(from, std::ops::Bound::Excluded(&to)).unwrap();
    let mut archives = 0;
    while let Some(row) = rows.next_row().unwrap() {
        let here = store.0.partitions.read::<crate::model::ArchiveRow>(row.key());
        archives += usize::from(here.unwrap().is_some());
    }
    archives
}

#[test]
fn every_version_of_a_key_with_many_is_listed_read_tagged_and_removed() {
    simulation::run(11, async {
        let wire = Wire::default();
        let stores = three(&wire).await;
        let [first, second, third] = &stores;
        let bucket = second.bucket(&crate::model::BucketName::parse("photos").unwrap());
        let bucket = bucket.unwrap();
        let bucket = first.set_versioning(&bucket, Versioning::Enabled).await.unwrap();
        sleep(Duration::from_secs(60)).await;
        let mut ids = filled(second, &bucket, 60).await;
        let row = first
            .0
            .object_row(&bucket, &object_key("k"))
            .await
            .unwrap()
            .unwrap();
        assert!(row.archived.len() > 2 && row.versions.len() < 20, "{row:?}");
        assert_eq!(row.usage().objects, 60);

        for (number, id) in ids.iter().enumerate() {
            for store in &stores {
                assert_eq!(read(store, &bucket, *id).await.unwrap(), text(number));
            }
        }
        for max in [1, 7, 59, 60, 1000] {
            let newest_first: Vec<_> = ids.iter().rev().copied().collect();
            let pages = listed(third, &bucket, max).await;
            assert!(pages[0].1 && pages[1..].iter().all(|(_, latest)| !latest));
            assert_eq!(
                pages.into_iter().map(|(id, _)| id).collect::<Vec<_>>(),
                newest_first
            );
        }

        // What is said about one that is far back, and what keeps it.
        let tags = vec![("a".to_owned(), "b".to_owned())];
        let key = object_key("k");
        first
            .set_tags(&bucket, &key, Some(ids[5]), (tags.clone(), Cause::default()))
            .await
            .unwrap();
        let object = third.object(&bucket, &key, Some(ids[5])).await.unwrap();
        assert_eq!(object.info().headers.tags, tags);
        second
            .set_legal_hold(&bucket, &key, Some(ids[6]), true)
            .await
            .unwrap();
        assert!(matches!(
            remove(third, &bucket, ids[6]).await,
            Err(StoreError::Locked)
        ));
        second
            .set_legal_hold(&bucket, &key, Some(ids[6]), false)
            .await
            .unwrap();

        // From the newest on, so that what is current comes out of an archive again and again; then those in between.
        for _ in 0..30 {
            let newest = ids.pop().unwrap();
            remove(first, &bucket, newest).await.unwrap();
            let current = third.object(&bucket, &key, None).await.unwrap();
            assert_eq!(current.info().version, ids[ids.len() - 1]);
        }
        while ids.len() > 1 {
            let id = ids.remove(ids.len() / 2);
            remove(second, &bucket, id).await.unwrap();
            assert!(matches!(
                read(third, &bucket, id).await,
                Err(StoreError::NoSuchVersion)
            ));
            assert_eq!(listed(first, &bucket, 1000).await.len(), ids.len());
        }
        remove(first, &bucket, ids[0]).await.unwrap();
        assert!(listed(first, &bucket, 1000).await.is_empty());
        sleep(Duration::from_secs(120)).await;
        for store in &stores {
            assert!(store.is_settled() && store.0.disk.references(None, 10).unwrap().is_empty());
            assert_eq!(archives(store), 0);
        }
    })
    .unwrap();
}

#[test]
fn what_only_archives_name_is_kept_by_collection_and_by_sweeps() {
    simulation::run(12, async {
        let alone = founder(&Wire::default(), "anna").await;
        let key = owner(&alone).await;
        let bucket = create(&alone, "photos", &key).await;
        let bucket = alone.set_versioning(&bucket, Versioning::Enabled).await.unwrap();
        let ids = filled(&alone, &bucket, 40).await;
        assert!(archives(&alone) > 1);
        assert_eq!(alone.collect().await.unwrap(), 0);
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(read(&alone, &bucket, *id).await.unwrap(), text(number));
        }

        let wire = Wire::default();
        let stores = three(&wire).await;
        let [first, second, third] = &stores;
        let name = crate::model::BucketName::parse("photos").unwrap();
        let bucket = first.bucket(&name).unwrap();
        let bucket = first.set_versioning(&bucket, Versioning::Enabled).await.unwrap();
        let ids = filled(first, &bucket, 40).await;
        sleep(Duration::from_secs(60)).await;
        for _ in 0..2 {
            second.begin_sweep().await.unwrap();
            sleep(Duration::from_secs(60)).await;
            for store in &stores {
                while store.sweep().await.is_err() {
                    sleep(Duration::from_secs(5)).await;
                }
            }
            sleep(Duration::from_secs(30)).await;
        }
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(read(third, &bucket, *id).await.unwrap(), text(number));
        }
    })
    .unwrap();
}

#[test]
fn a_bucket_that_keeps_versions_no_more_goes_on_with_the_many_it_has() {
    simulation::run(13, async {
        let store = founder(&Wire::default(), "anna").await;
        let key = owner(&store).await;
        let bucket = create(&store, "photos", &key).await;
        // The one called `null` is as old as can be, and is found all the same.
        put(&store, &bucket, "k", "null").await.unwrap();
        let bucket = store.set_versioning(&bucket, Versioning::Enabled).await.unwrap();
        let ids = filled(&store, &bucket, 40).await;
        assert_eq!(read(&store, &bucket, VersionId::Null).await.unwrap(), "null");
        let bucket = store
            .set_versioning(&bucket, Versioning::Suspended)
            .await
            .unwrap();
        put(&store, &bucket, "k", "newer").await.unwrap();
        assert_eq!(read(&store, &bucket, VersionId::Null).await.unwrap(), "newer");
        delete(&store, &bucket, "k").await;
        let pages = listed(&store, &bucket, 9).await;
        assert_eq!(pages.len(), 41);
        assert_eq!(pages[0], (VersionId::Null, true));
        for (number, id) in ids.iter().enumerate() {
            assert_eq!(read(&store, &bucket, *id).await.unwrap(), text(number));
        }
    })
    .unwrap();
}
