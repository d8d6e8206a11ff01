//! Access keys: create, import, find, change, delete.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{AccessKey, AccessKeyId, BucketName, Grants, KeyName, SecretKey, Timestamp};
use crate::{Store, StoreError};

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
        let store = self.clone();
        self.finish(async move {
            let inner = &store.0;
            let mut change = inner.directory.change(&inner.partitions, &inner.keyring).await?;
            let (id, secret) = new.import.map_or_else(made_up, Ok)?;
            if inner.directory.key(&id).is_ok() {
                return Err(StoreError::AccessKeyExists);
            }
            let key = change.put_key(AccessKey {
                id,
                secret,
                name: new.name,
                created: Timestamp::now(),
                create_buckets: new.create_buckets,
                grants: BTreeMap::new(),
            });
            change.commit().await?;
            Ok(key)
        })
        .await
    }

    /// The key of that id, from the local directory: no wait.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub fn access_key(&self, id: &AccessKeyId) -> Result<Arc<AccessKey>, StoreError> {
        self.0.directory.key(id)
    }

    /// All keys by id.
    pub fn access_keys(&self) -> Vec<Arc<AccessKey>> {
        self.0.directory.keys()
    }

    /// Sets what a key may do to a bucket.
    ///
    /// # Errors
    /// `NoSuchAccessKey`, `NoSuchBucket`.
    pub async fn set_grants(
        &self,
        id: &AccessKeyId,
        bucket: &BucketName,
        change: impl FnOnce(Grants) -> Grants + Send + 'static,
    ) -> Result<Arc<AccessKey>, StoreError> {
        let (store, bucket) = (self.clone(), bucket.clone());
        self.change_key(id, move |key| {
            let bucket = store.bucket(&bucket)?.id;
            match change(key.grants_on(bucket)) {
                Grants::NONE => key.grants.remove(&bucket),
                grants => key.grants.insert(bucket, grants),
            };
            Ok(())
        })
        .await
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
        self.change_key(id, move |key| {
            key.create_buckets = may;
            Ok(())
        })
        .await
    }

    /// Deletes a key; requests signed with it are refused from now on.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub async fn delete_key(&self, id: &AccessKeyId) -> Result<(), StoreError> {
        let (store, id) = (self.clone(), id.clone());
        self.finish(async move {
            let inner = &store.0;
            let mut change = inner.directory.change(&inner.partitions, &inner.keyring).await?;
            inner.directory.key(&id)?;
            change.remove_key(&id);
            change.commit().await
        })
        .await
    }

    async fn change_key(
        &self,
        id: &AccessKeyId,
        edit: impl FnOnce(&mut AccessKey) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Arc<AccessKey>, StoreError> {
        let (store, id) = (self.clone(), id.clone());
        self.finish(async move {
            let inner = &store.0;
            let mut change = inner.directory.change(&inner.partitions, &inner.keyring).await?;
            let mut key = AccessKey::clone(&*inner.directory.key(&id)?);
            edit(&mut key)?;
            let key = change.put_key(key);
            change.commit().await?;
            Ok(key)
        })
        .await
    }
}

/// `WK` and 18 hexadecimal digits; a secret of 256 random bits.
fn made_up() -> Result<(AccessKeyId, SecretKey), StoreError> {
    let id = format!("WK{}", hex::encode_upper(crate::seal::random::<9>()));
    let secret = hex::encode(crate::seal::random::<32>());
    Ok((
        AccessKeyId::parse(&id).map_err(StoreError::Damaged)?,
        SecretKey::parse(&secret).map_err(StoreError::Damaged)?,
    ))
}
