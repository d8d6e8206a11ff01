//! Other names of buckets: for everybody, or for whoever signs with one access key.
//!
//! A bucket's own name always wins over an alias for everybody, and both give way to an alias of the key that signs. All
//! global aliases stand in one root row, those of a key in the key's; each names its bucket by id, so that one whose bucket is
//! gone means nothing and its name is free again.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::BucketEntry;
use crate::cluster::mesh::feed::refresh;
use crate::model::{AccessKey, AccessKeyId, Bucket, BucketId, BucketName, MeshKey};
use crate::store::Inner;
use crate::{Store, StoreError};

/// Most global aliases, and most of one key: all stand in one row.
const ALIASES_MAX: usize = 1000;
/// How often the change is made anew because others change aliases meanwhile.
const TRIES_MAX: usize = 16;
/// Said to whoever wants too many.
const TOO_MANY: &str = "there are 1000 aliases already: remove one that nobody uses";

/// Another name of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The name.
    pub name: BucketName,
    /// Whose it is; everybody's if nobody's.
    pub key: Option<AccessKeyId>,
}

impl Store {
    /// The bucket that whoever signs with this key calls so, from the local directory: no wait.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub fn bucket_for(&self, key: Option<&AccessKey>, name: &BucketName) -> Result<Arc<Bucket>, StoreError> {
        let own = key.and_then(|key| key.aliases.get(name));
        match own.and_then(|id| self.0.directory.entry(*id).ok()) {
            Some(entry) => Ok(entry.bucket.clone()),
            None => self.bucket(name),
        }
    }

    /// All aliases of a bucket: those for everybody first.
    pub fn aliases(&self, bucket: &Bucket) -> Vec<Alias> {
        let named = |aliases: &BTreeMap<BucketName, BucketId>, key: Option<&AccessKeyId>| {
            let all = aliases.iter().filter(|(_, id)| **id == bucket.id);
            let alias = |(name, _): (&BucketName, &BucketId)| Alias {
                name: name.clone(),
                key: key.cloned(),
            };
            all.map(alias).collect::<Vec<_>>()
        };
        let mut all = named(&self.0.mesh.view().aliases.value, None);
        for key in self.access_keys() {
            all.extend(named(&key.aliases, Some(&key.id)));
        }
        all
    }

    /// Gives a bucket another name, or takes it away; for everybody, or for one key. One that is not there is gone already.
    ///
    /// # Errors
    /// `BucketAlreadyExists`: the name is that of a bucket, or an alias of another. `BucketState`: there are too many.
    /// `NoSuchAccessKey`. `Unavailable`: too few members answer.
    pub async fn set_alias(&self, bucket: &Bucket, alias: Alias, on: bool) -> Result<(), StoreError> {
        let (store, id) = (self.clone(), bucket.id);
        let Alias { name, key } = alias;
        match key {
            Some(key) => {
                let known = store.access_key(&key)?;
                if on && !known.aliases.contains_key(&name) && known.aliases.len() >= ALIASES_MAX {
                    return Err(StoreError::BucketState(TOO_MANY));
                }
                let change = move |key: &mut AccessKey| set(&mut key.aliases, &name, id, on);
                store.change_key(&key, change).await.map(drop)
            }
            None => {
                self.finish(async move { store.set_global_alias(id, &name, on).await })
                    .await
            }
        }
    }

    async fn set_global_alias(&self, id: BucketId, name: &BucketName, on: bool) -> Result<(), StoreError> {
        let inner = &self.0;
        for _ in 0..TRIES_MAX {
            refresh(inner).await?;
            let known = inner.mesh.view().aliases.clone();
            let mut aliases = known.value;
            let is_taken = inner.directory.named(name).is_ok()
                || inner.aliased(name).is_ok_and(|entry| entry.bucket.id != id);
            if on && is_taken {
                return Err(StoreError::BucketAlreadyExists);
            }
            if on && aliases.len() >= ALIASES_MAX {
                return Err(StoreError::BucketState(TOO_MANY));
            }
            set(&mut aliases, name, id, on);
            let replaced =
                inner
                    .mesh
                    .replace(&inner.partitions, MeshKey::Aliases, Some(&aliases), known.version);
            if replaced.await? {
                refresh(inner).await?;
                inner.tell_of_change();
                return Ok(());
            }
        }
        Err(StoreError::Conflict)
    }
}

impl Inner {
    /// The bucket of which this is an alias for everybody.
    ///
    /// # Errors
    /// `NoSuchBucket`.
    pub(super) fn aliased(&self, name: &BucketName) -> Result<Arc<BucketEntry>, StoreError> {
        let view = self.mesh.view();
        let id = view.aliases.value.get(name).ok_or(StoreError::NoSuchBucket)?;
        self.directory.entry(*id)
    }
}

fn set(aliases: &mut BTreeMap<BucketName, BucketId>, name: &BucketName, id: BucketId, on: bool) {
    match on {
        true => drop(aliases.insert(name.clone(), id)),
        false if aliases.get(name) == Some(&id) => drop(aliases.remove(name)),
        false => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::cluster::neighbour_tests::{Wire, create, founder, get, join, owner, put};
    use crate::simulation;

    fn name(text: &str) -> BucketName {
        BucketName::parse(text).unwrap()
    }

    fn alias(text: &str, key: Option<&AccessKeyId>) -> Alias {
        Alias {
            name: name(text),
            key: key.cloned(),
        }
    }

    #[test]
    fn a_bucket_is_found_by_each_of_its_names_at_every_box() {
        simulation::run(1, async {
            let wire = Wire::default();
            let first = founder(&wire, "anna").await;
            let key = owner(&first).await;
            let photos = create(&first, "photos", &key).await;
            let music = create(&first, "music", &key).await;
            let second = join(&wire, &first, "ben").await;
            put(&first, &photos, "k", "content").await.unwrap();
            first
                .set_alias(&photos, alias("pictures", None), true)
                .await
                .unwrap();
            first
                .set_alias(&photos, alias("music", Some(&key)), true)
                .await
                .unwrap();
            while second.bucket(&name("pictures")).is_err() {
                sleep(Duration::from_millis(100)).await;
            }
            sleep(Duration::from_secs(15)).await;
            let pictures = second.bucket(&name("pictures")).unwrap();
            assert_eq!(get(&second, &pictures, "k").await.unwrap(), "content");
            // Of whoever signs with the key, "music" is the photos; of everybody else, the music.
            let signer = second.access_key(&key).unwrap();
            let called = |key| second.bucket_for(key, &name("music")).unwrap().id;
            assert_eq!((called(Some(&*signer)), called(None)), (photos.id, music.id));
            let all = [alias("pictures", None), alias("music", Some(&key))];
            assert_eq!(first.aliases(&photos), all);

            for (bucket, taken) in [(&photos, "music"), (&music, "photos"), (&music, "pictures")] {
                let refused = first.set_alias(bucket, alias(taken, None), true).await;
                assert!(matches!(refused, Err(StoreError::BucketAlreadyExists)), "{taken}");
            }
            let created = first
                .create_bucket(&name("pictures"), &key, crate::model::BucketSettings::default())
                .await;
            assert!(matches!(created, Err(StoreError::BucketAlreadyExists)));
            first
                .set_alias(&photos, alias("pictures", None), false)
                .await
                .unwrap();
            first
                .set_alias(&photos, alias("pictures", None), false)
                .await
                .unwrap();
            assert!(first.bucket(&name("pictures")).is_err());
            first
                .set_alias(&photos, alias("music", Some(&key)), false)
                .await
                .unwrap();
            assert!(first.aliases(&photos).is_empty());
        })
        .unwrap();
    }

    #[test]
    fn an_alias_of_a_bucket_that_is_gone_is_free() {
        simulation::run(2, async {
            let store = founder(&Wire::default(), "anna").await;
            let key = owner(&store).await;
            let photos = create(&store, "photos", &key).await;
            store.set_alias(&photos, alias("site", None), true).await.unwrap();
            store.delete_bucket(&photos).await.unwrap();
            assert!(store.bucket(&name("site")).is_err());
            let music = create(&store, "music", &key).await;
            store.set_alias(&music, alias("site", None), true).await.unwrap();
            assert_eq!(store.bucket(&name("site")).unwrap().id, music.id);
        })
        .unwrap();
    }
}
