//! Buckets: create, find, change, delete.

use crate::model::{AccessKeyId, Bucket, BucketName, BucketSettings};
use crate::{Store, StoreError};
use std::sync::Arc;

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
        let _ = (name, owner, settings);
        unimplemented!()
    }

    /// The bucket of that name, from the local directory: no wait.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, StoreError> {
        let _ = name;
        unimplemented!()
    }

    /// All buckets by name.
    pub fn buckets(&self) -> Vec<Arc<Bucket>> {
        unimplemented!()
    }

    /// Replaces the settings by what `change` makes of them.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub async fn change_bucket(
        &self,
        name: &BucketName,
        change: impl FnOnce(&mut BucketSettings) + Send,
    ) -> Result<Arc<Bucket>, StoreError> {
        let _ = (name, change);
        unimplemented!()
    }

    /// Deletes an empty bucket and aborts its uploads.
    ///
    /// # Errors
    /// `NoSuchBucket`, `BucketNotEmpty`.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), StoreError> {
        let _ = name;
        unimplemented!()
    }
}
