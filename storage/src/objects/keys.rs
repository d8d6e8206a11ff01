//! Access keys: create, import, find, change, delete.

use crate::model::{AccessKey, AccessKeyId, BucketName, Grants, KeyName, SecretKey};
use crate::{Store, StoreError};
use std::sync::Arc;

/// A new access key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What people call it.
    pub name: KeyName,
    /// Whether it may create buckets.
    pub create_buckets: bool,
    /// Id and secret of a key brought from elsewhere; made up if not given.
    pub import: Option<(AccessKeyId, SecretKey)>,
}

impl Store {
    /// Creates or imports an access key.
    ///
    /// # Errors
    /// `AccessKeyExists`.
    pub async fn create_key(&self, new: NewKey) -> Result<Arc<AccessKey>, StoreError> {
        let _ = new;
        unimplemented!()
    }

    /// The key of that id, from the local directory: no wait.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub fn access_key(&self, id: &AccessKeyId) -> Result<Arc<AccessKey>, StoreError> {
        let _ = id;
        unimplemented!()
    }

    /// All keys by id.
    pub fn access_keys(&self) -> Vec<Arc<AccessKey>> {
        unimplemented!()
    }

    /// Sets what a key may do to a bucket.
    ///
    /// # Errors
    /// `NoSuchAccessKey`, `NoSuchBucket`.
    pub async fn set_grants(
        &self,
        id: &AccessKeyId,
        bucket: &BucketName,
        change: impl FnOnce(Grants) -> Grants + Send,
    ) -> Result<Arc<AccessKey>, StoreError> {
        let _ = (id, bucket, change);
        unimplemented!()
    }

    /// Sets whether a key may create buckets.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub async fn set_create_buckets(
        &self,
        id: &AccessKeyId,
        may: bool,
    ) -> Result<Arc<AccessKey>, StoreError> {
        let _ = (id, may);
        unimplemented!()
    }

    /// Deletes a key; requests signed with it are refused from now on.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub async fn delete_key(&self, id: &AccessKeyId) -> Result<(), StoreError> {
        let _ = id;
        unimplemented!()
    }
}
