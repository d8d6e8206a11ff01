//! Buckets: create, find, change, delete.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::commit::refusal_of;
use crate::cluster::mesh::closings;
use crate::cluster::mesh::feed::refresh;
use crate::cluster::{BucketEntry, new_bucket};
use crate::model::command::{Outcome, Refusal, RootCommand};
use crate::model::{
    AccessKeyId, Bucket, BucketId, BucketName, BucketSettings, BucketState, Grants, Keeping, ObjectRow,
    Timestamp, row_key,
};
use crate::store::Inner;
use crate::{Store, StoreError};

/// How often a change is made anew because others changed the same row meanwhile.
const TRIES_MAX: usize = 16;
/// How long a writer waits for the end of a deletion that another box has begun: longer than one takes.
const CLOSING_WAIT: Duration = Duration::from_secs(30);
/// How often it looks.
const CLOSING_LOOK: Duration = Duration::from_millis(200);

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
            if inner.aliased(&name).is_ok() {
                return Err(StoreError::BucketAlreadyExists);
            }
            let key = inner.directory.key(&owner)?;
            let mut bucket = Bucket {
                id: BucketId::new(),
                name,
                created: Timestamp::now(),
                owner,
                settings,
                grants: std::collections::BTreeMap::new(),
                state: BucketState::Open,
                version: 1,
                unfenced: None,
            };
            bucket.grant(&key, Grants::ALL);
            let create = RootCommand::CreateBucket(new_bucket(&inner.keyring, bucket));
            match inner.submit_root(create).await? {
                Outcome::Bucket(row) => Ok(Arc::new(row.bucket)),
                Outcome::Refused(Refusal::BucketExists(taken)) if taken.bucket.grants_of(&key).owner => {
                    Err(StoreError::BucketAlreadyOwnedByYou)
                }
                other => Err(refusal_of(other)),
            }
        })
        .await
    }

    /// The bucket of that name, or of that alias for everybody, from the local directory: no wait.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket(&self, name: &BucketName) -> Result<Arc<Bucket>, StoreError> {
        let named = self.0.directory.named(name);
        let entry = named.or_else(|_| self.0.aliased(name))?;
        Ok(entry.bucket.clone())
    }

    /// All buckets by name.
    pub fn buckets(&self) -> Vec<Arc<Bucket>> {
        self.0.directory.buckets()
    }

    /// Replaces the settings by what `change` makes of them; it is called again where others changed them meanwhile.
    ///
    /// # Errors
    /// `NoSuchBucket`, also where another bucket has its name by now.
    pub async fn change_bucket(
        &self,
        bucket: &Bucket,
        mut change: impl FnMut(&mut BucketSettings) + Send + 'static,
    ) -> Result<Arc<Bucket>, StoreError> {
        let (store, id) = (self.clone(), bucket.id);
        self.finish(async move {
            let changed = store
                .0
                .change_bucket(id, |bucket| change(&mut bucket.settings))
                .await;
            store.0.rules_changed.notify_one();
            changed
        })
        .await
    }

    /// Sets what a key may do to a bucket to what `change` makes of it, as [`Self::change_bucket`] does.
    ///
    /// # Errors
    /// `NoSuchAccessKey`, `NoSuchBucket`.
    pub async fn set_grants(
        &self,
        id: &AccessKeyId,
        bucket: &BucketName,
        mut change: impl FnMut(Grants) -> Grants + Send + 'static,
    ) -> Result<Arc<Bucket>, StoreError> {
        let (store, key) = (self.clone(), self.access_key(id)?);
        let bucket = self.bucket(bucket)?.id;
        self.finish(async move {
            let set = |bucket: &mut Bucket| bucket.grant(&key, change(bucket.grants_of(&key)));
            store.0.change_bucket(bucket, set).await
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
            let entry = store.0.directory.entry(id)?;
            // An early answer keeps a mistaken call from stopping the bucket's writers.
            store.must_be_empty(id).await?;
            // The fence: whoever wrote has left, and nobody enters any more.
            let _alone = entry.enter_alone().await?;
            let deleted = store.close_and_delete(id).await;
            match &deleted {
                Err(StoreError::BucketNotEmpty) => drop(store.0.set_state(id, BucketState::Open).await?),
                // If that fails too, whoever next wants to write opens it.
                Err(_) => drop(store.0.set_state(id, BucketState::Open).await),
                Ok(()) => {}
            }
            deleted
        })
        .await
    }

    /// Closes a bucket behind its fence, looks whether it is empty, and deletes it. May be given up anywhere and begun
    /// anew.
    async fn close_and_delete(&self, id: BucketId) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            let closed = self.0.set_state(id, BucketState::Closing).await?;
            // The gate holds only those who write through this box.
            if self.0.is_meshed() {
                closings::keep_others_out(&self.0).await?;
            }
            self.must_be_empty(id).await?;
            self.end_uploads(&closed).await?;
            let delete = RootCommand::DeleteBucket {
                name: closed.bucket.name.clone(),
                id,
                from: closed.bucket.version,
            };
            match self.0.submit_root(delete).await? {
                Outcome::BucketGone => return Ok(()),
                // What was found empty counts only if nobody opened the bucket since.
                Outcome::Refused(Refusal::BucketChanged(_)) => {}
                other => return Err(refusal_of(other)),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Opens buckets again whose deletion was cut off: they may hold objects.
    pub(crate) async fn reopen_buckets(&self) {
        self.0.partitions.registers().memories().until_asked().await;
        let closing = self.buckets().into_iter();
        for bucket in closing.filter(|bucket| bucket.state == BucketState::Closing) {
            if let Err(error) = self.0.set_state(bucket.id, BucketState::Open).await {
                tracing::warn!(bucket = %bucket.name, %error, "the deletion of this bucket was cut off; it stays closed");
            }
        }
    }

    async fn must_be_empty(&self, bucket: BucketId) -> Result<(), StoreError> {
        let (mut from, to) = row_key::objects_of(bucket);
        while let Some(key) = self.0.partitions.first(from, to.clone()).await? {
            let row: Option<ObjectRow> = self.0.partitions.current(&key).await?;
            if row.is_some_and(|row| !row.versions.is_empty()) {
                return Err(StoreError::BucketNotEmpty);
            }
            // What is still to be told of an object that is gone goes with the bucket.
            from = [&key[..], &[0]].concat();
        }
        Ok(())
    }
}

impl Inner {
    /// Submits a command about the directory.
    pub(super) async fn submit_root(&self, command: RootCommand) -> Result<Outcome, StoreError> {
        let outcome = self
            .directory
            .submit(&self.partitions, &self.keyring, command)
            .await?;
        // The others hear of it before long; until then whoever misses something asks.
        self.partitions.registers().wake(&self.others());
        Ok(outcome)
    }

    async fn change_bucket(
        &self,
        id: BucketId,
        mut change: impl FnMut(&mut Bucket),
    ) -> Result<Arc<Bucket>, StoreError> {
        let change = move |bucket: &mut Bucket| {
            change(bucket);
            Ok(())
        };
        self.try_change_bucket(id, change).await
    }

    /// Replaces a bucket's row by what `change` makes of it, unless it refuses; it is called again where others changed the
    /// row meanwhile.
    pub(super) async fn try_change_bucket(
        &self,
        id: BucketId,
        mut change: impl FnMut(&mut Bucket) -> Result<(), StoreError>,
    ) -> Result<Arc<Bucket>, StoreError> {
        for _ in 0..TRIES_MAX {
            let entry = self.directory.entry(id)?;
            let mut changed = Ok(());
            let row = entry.changed(|bucket| changed = change(bucket));
            changed?;
            let replace = RootCommand::ReplaceBucket {
                row,
                from: entry.bucket.version,
            };
            match self.submit_root(replace).await? {
                Outcome::Bucket(row) => return Ok(Arc::new(row.bucket)),
                Outcome::Refused(Refusal::BucketChanged(_)) => {}
                other => return Err(refusal_of(other)),
            }
        }
        Err(StoreError::Conflict)
    }

    /// Waits until a bucket may be written to; says how many closed buckets are known with that, and how it keeps versions.
    /// Opens it where its deletion
    /// takes so long that nobody seems to be at it any more: who still is begins anew.
    ///
    /// # Errors
    /// `NoSuchBucket`. `Unavailable`: the root partition has no quorum.
    pub(super) async fn open_bucket(self: &Arc<Self>, id: BucketId) -> Result<(u64, Keeping), StoreError> {
        let deadline = Instant::now() + CLOSING_WAIT;
        loop {
            let standing = self.directory.standing(id).ok_or(StoreError::NoSuchBucket)?;
            match standing.state {
                BucketState::Open => return Ok((standing.closings, standing.keeping)),
                // Whoever deletes it here would have kept this writer at the gate.
                BucketState::Closing if !self.is_meshed() || Instant::now() >= deadline => {
                    self.set_state(id, BucketState::Open).await?;
                }
                BucketState::Closing => {
                    sleep(CLOSING_LOOK).await;
                    refresh(self).await?;
                }
            }
        }
    }

    /// The bucket in this state; its row is changed if it is in the other one.
    async fn set_state(&self, id: BucketId, state: BucketState) -> Result<Arc<BucketEntry>, StoreError> {
        if self.directory.entry(id)?.bucket.state != state {
            self.change_bucket(id, |bucket| bucket.state = state).await?;
        }
        self.directory.entry(id)
    }
}
