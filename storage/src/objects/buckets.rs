//! Buckets: create, find, change, delete.

use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use crate::model::{
    AccessKey, AccessKeyId, Bucket, BucketId, BucketName, BucketSettings, Grants, Timestamp, row_key,
};
use crate::{Store, StoreError};

impl Store {
    /// Creates a bucket; its creator gets every grant on it.
    ///
    /// # Errors
    /// `BucketAlreadyOwnedByYou`, `BucketAlreadyExists`, `NoSuchAccessKey`.
    pub async fn create_bucket(
        &self,
        name: &BucketName,
        owner: &AccessKeyId,
        settings: BucketSettings,
    ) -> Result<Arc<Bucket>, StoreError> {
        let (store, name, owner) = (self.clone(), name.clone(), owner.clone());
        self.finish(async move {
            let inner = &store.0;
            let mut change = inner.directory.change(&inner.partitions, &inner.keyring).await?;
            let key = inner.directory.key(&owner)?;
            if let Ok(taken) = inner.directory.named(&name) {
                let yours = key.grants_on(taken.bucket.id).owner;
                return Err(if yours {
                    StoreError::BucketAlreadyOwnedByYou
                } else {
                    StoreError::BucketAlreadyExists
                });
            }
            let id = BucketId::new();
            let bucket = change.add_bucket(Bucket {
                id,
                name,
                created: Timestamp::now(),
                owner,
                settings,
            });
            let mut key = AccessKey::clone(&key);
            key.grants.insert(id, Grants::ALL);
            change.put_key(key);
            change.commit().await?;
            Ok(bucket)
        })
        .await
    }

    /// The bucket of that name, from the local directory: no wait.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, StoreError> {
        Ok(self.0.directory.named(name)?.bucket.clone())
    }

    /// All buckets by name.
    pub fn buckets(&self) -> Vec<Arc<Bucket>> {
        self.0.directory.buckets()
    }

    /// Replaces the settings by what `change` makes of them.
    ///
    /// # Errors
    /// `NoSuchBucket`, also where another bucket has its name by now.
    pub async fn change_bucket(
        &self,
        bucket: &Bucket,
        change: impl FnOnce(&mut BucketSettings) + Send + 'static,
    ) -> Result<Arc<Bucket>, StoreError> {
        let (store, id) = (self.clone(), bucket.id);
        self.finish(async move {
            let inner = &store.0;
            let mut edits = inner.directory.change(&inner.partitions, &inner.keyring).await?;
            let entry = inner.directory.entry(id)?;
            let mut bucket = Bucket::clone(&entry.bucket);
            change(&mut bucket.settings);
            let bucket = edits.replace_bucket(&entry, bucket);
            edits.commit().await?;
            Ok(bucket)
        })
        .await
    }

    /// Deletes an empty bucket and aborts its uploads.
    ///
    /// # Errors
    /// `NoSuchBucket`, also where another bucket has its name by now; `BucketNotEmpty`.
    pub async fn delete_bucket(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let (store, id) = (self.clone(), bucket.id);
        self.finish(async move {
            let inner = &store.0;
            let entry = inner.directory.entry(id)?;
            // An early answer keeps a mistaken call from stopping the bucket's writers.
            store.must_be_empty(entry.bucket.id).await?;
            let alone = entry.enter_alone().await?;
            store.must_be_empty(entry.bucket.id).await?;
            store.abort_all(&entry).await?;
            let mut change = inner.directory.change(&inner.partitions, &inner.keyring).await?;
            for key in inner.directory.keys() {
                if key.grants.contains_key(&entry.bucket.id) {
                    let mut key = AccessKey::clone(&key);
                    key.grants.remove(&entry.bucket.id);
                    change.put_key(key);
                }
            }
            change.remove_bucket(entry.bucket.clone());
            change.commit().await?;
            drop(alone);
            Ok(())
        })
        .await
    }

    async fn must_be_empty(&self, bucket: BucketId) -> Result<(), StoreError> {
        let disk = self.0.disk.clone();
        let (from, to) = row_key::objects_of(bucket);
        let first = move || disk.first_key(Included(&from), Excluded(&to));
        match self.0.disk.run(first).await?? {
            None => Ok(()),
            Some(_) => Err(StoreError::BucketNotEmpty),
        }
    }
}
