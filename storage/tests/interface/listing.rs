//! What the store promises about listings, through its public interface.
use std::collections::BTreeMap;

use crate::fixture::Fixture;
use proptest::prelude::*;
use storage::ListVersions;

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
    assert_eq!(second.versions[0].key.as_str(), "c");
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
                let mut entries: Vec<_> = page.objects().map(|(key, _)| key.to_owned()).collect();
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
