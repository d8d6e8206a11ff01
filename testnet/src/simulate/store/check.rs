//! What must be true of a simulated store when nobody else uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use storage::model::MemberId;
use storage::{Store, StoreError};
use tokio::time::sleep;

use super::client::{Client, key_of, object_key};
use super::versions;

/// Most looks at a store that frees blocks, and the time between two.
const LOOKS_MAX: usize = 200;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Every object is read and every bucket is listed, and both agree.
pub(crate) async fn everything_is_read(client: &Client) -> Result<(), String> {
    for bucket in client.store.buckets() {
        let mut found = BTreeMap::new();
        for number in 0..client.keys {
            let key = key_of(&bucket, number);
            client.read_versions(&bucket, &key).await;
            if let Some(tag) = client.get(&bucket, &key).await {
                found.insert(key.1, tag);
            }
        }
        match client.list(&bucket).await {
            Some(listed) if listed != found => {
                return Err(format!("{} lists {listed:?}, but holds {found:?}", bucket.name));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Every block of every object is held by whoever should, as one box sees it; names one that is not.
pub(crate) async fn astray(
    client: &Client,
    stores: &BTreeMap<MemberId, Store>,
) -> Result<Option<String>, String> {
    let failed = |error: StoreError| error.to_string();
    let mut held = BTreeSet::new();
    for (member, store) in stores {
        let references = store.disk().references(None, usize::MAX);
        let references = references.map_err(|error| error.to_string())?;
        held.extend(references.into_iter().map(|held| (*member, held.id, held.owner)));
    }
    for bucket in client.store.buckets() {
        for number in 0..client.keys {
            let key = object_key(&key_of(&bucket, number));
            let references = match client.store.references(&bucket, &key).await {
                Err(StoreError::Unavailable) => return Ok(Some(format!("{key:?} cannot be asked about"))),
                references => references.map_err(failed)?,
            };
            for wanted in references {
                let lacks = |member: &&MemberId| !held.contains(&(**member, wanted.id, wanted.owner));
                if let Some(member) = wanted.holders.iter().find(lacks) {
                    return Ok(Some(format!("{member:?} lacks a block of {key:?}: {wanted:?}")));
                }
            }
        }
    }
    Ok(None)
}

/// Nothing that was acknowledged is lost, and no block is known to be damaged.
pub(super) fn nothing_is_damaged(store: &Store) -> Result<(), String> {
    let status = store.disk_status();
    let lost: u64 = status
        .directories
        .iter()
        .map(|directory| directory.frames_lost)
        .sum();
    match (&status.rows.loss, lost, status.damaged_blocks) {
        (None, 0, 0) => Ok(()),
        _ => Err(format!("damaged without cause: {status:?}")),
    }
}

/// Every block verifies; a second collection finds nothing; and when all objects and uploads are deleted, no block is
/// left.
pub(super) async fn everything_is_freed(client: &Client) -> Result<(), String> {
    let store = &client.store;
    let failed = |error: StoreError| error.to_string();
    let verified = store
        .disk()
        .verify_blocks(None, u64::MAX)
        .map_err(|error| error.to_string())?;
    if !verified.damaged.is_empty() || verified.frames_broken > 0 {
        return Err(format!("blocks do not verify: {verified:?}"));
    }
    store.collect().await.map_err(failed)?;
    let again = store.collect().await.map_err(failed)?;
    if again > 0 {
        return Err(format!("a second collection released {again} references"));
    }
    everything_is_deleted(client).await?;
    settle(store).await?;
    left_over(std::slice::from_ref(store))?.map_or(Ok(()), Err)
}

/// Deletes every object and every bucket, and with them every upload.
pub(crate) async fn everything_is_deleted(client: &Client) -> Result<(), String> {
    let store = &client.store;
    let failed = |error: StoreError| error.to_string();
    for bucket in store.buckets() {
        versions::remove_all(store, &bucket).await.map_err(failed)?;
        store.delete_bucket(&bucket).await.map_err(failed)?;
    }
    Ok(())
}

/// References that stores have although all objects are deleted, in words.
pub(crate) fn left_over(stores: &[Store]) -> Result<Option<String>, String> {
    for store in stores {
        let left = store.disk().references(None, 1000);
        let left = left.map_err(|error| error.to_string())?;
        if !left.is_empty() {
            let (many, me) = (left.len(), store.me());
            return Ok(Some(format!(
                "with all objects deleted, {many} references are left at {me:?}: {left:?}"
            )));
        }
    }
    Ok(None)
}

async fn settle(store: &Store) -> Result<(), String> {
    for _ in 0..LOOKS_MAX {
        if store.is_settled() {
            // The last release may still be on its way.
            sleep(LOOK_EVERY).await;
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    Err("what was deleted is not freed".into())
}
