//! Access keys: create, import, find, change, delete.

use std::sync::Arc;

use super::commit::refusal_of;
use crate::cluster::access_key_row;
use crate::model::command::{Outcome, Refusal, RootCommand};
use crate::model::{AccessKey, AccessKeyId, KeyName, KeySerial, Quota, SecretKey, Timestamp};
use crate::{Store, StoreError};

/// How often a change is made anew because others changed the same key meanwhile.
const TRIES_MAX: usize = 16;

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
            let (id, secret) = new.import.map_or_else(made_up, Ok)?;
            let key = AccessKey {
                id: id.clone(),
                serial: KeySerial::new(),
                secret,
                name: new.name,
                created: Timestamp::now(),
                create_buckets: new.create_buckets,
                quota: Quota::default(),
                aliases: std::collections::BTreeMap::new(),
            };
            let row = access_key_row(&inner.keyring, &key);
            match inner
                .submit_root(RootCommand::CreateAccessKey { id, row })
                .await?
            {
                Outcome::AccessKey(_) => Ok(Arc::new(key)),
                other => Err(refusal_of(other)),
            }
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

    /// Sets whether a key may create buckets.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub async fn set_create_buckets(
        &self,
        id: &AccessKeyId,
        may: bool,
    ) -> Result<Arc<AccessKey>, StoreError> {
        self.change_key(id, move |key| key.create_buckets = may).await
    }

    /// Sets how much all buckets together may hold that a key owns.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub async fn set_key_quota(&self, id: &AccessKeyId, quota: Quota) -> Result<Arc<AccessKey>, StoreError> {
        self.change_key(id, move |key| key.quota = quota).await
    }

    pub(super) async fn change_key(
        &self,
        id: &AccessKeyId,
        change: impl Fn(&mut AccessKey) + Send + 'static,
    ) -> Result<Arc<AccessKey>, StoreError> {
        let (store, id) = (self.clone(), id.clone());
        self.finish(async move {
            let inner = &store.0;
            for _ in 0..TRIES_MAX {
                let (known, from) = inner.directory.versioned_key(&id)?;
                let mut key = AccessKey::clone(&known);
                change(&mut key);
                let replace = RootCommand::ReplaceAccessKey {
                    id: id.clone(),
                    row: access_key_row(&inner.keyring, &key),
                    from,
                };
                match inner.submit_root(replace).await? {
                    Outcome::AccessKey(_) => return inner.directory.key(&id),
                    Outcome::Refused(Refusal::AccessKeyChanged(_)) => {}
                    other => return Err(refusal_of(other)),
                }
            }
            Err(StoreError::Conflict)
        })
        .await
    }

    /// Deletes a key; requests signed with it are refused from now on. What buckets grant it is void.
    ///
    /// # Errors
    /// `NoSuchAccessKey`.
    pub async fn delete_key(&self, id: &AccessKeyId) -> Result<(), StoreError> {
        let (store, id) = (self.clone(), id.clone());
        self.finish(async move {
            let serial = store.0.directory.key(&id)?.serial;
            match store
                .0
                .submit_root(RootCommand::DeleteAccessKey { id, serial })
                .await?
            {
                Outcome::AccessKeyGone => Ok(()),
                other => Err(refusal_of(other)),
            }
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
