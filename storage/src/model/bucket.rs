//! A bucket: its name, its identity, its settings, and who may do what to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AccessKey, AccessKeyId, BucketId, BucketName, Grants, Keeping, KeySerial, ObjectLock, Timestamp,
    Versioning,
};

/// A bucket as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Names it in rows.
    pub id: BucketId,
    /// Names it to clients.
    pub name: BucketName,
    /// When it was created.
    pub created: Timestamp,
    /// The access key that created it; shown as its owner.
    pub owner: AccessKeyId,
    /// What people set on it.
    pub settings: BucketSettings,
    /// What access keys may do to it. The grant of a key that is gone grants nothing.
    pub grants: BTreeMap<AccessKeyId, Granted>,
    /// Whether clients may use it.
    pub state: BucketState,
    /// Grows by one with every change, from 1.
    pub version: u64,
}

impl Bucket {
    /// What a key may do to this bucket; nothing unless granted to this very key.
    pub fn grants_of(&self, key: &AccessKey) -> Grants {
        self.grants
            .get(&key.id)
            .filter(|granted| granted.serial == key.serial)
            .map_or(Grants::NONE, |granted| granted.grants)
    }

    /// Sets what a key may do.
    pub fn grant(&mut self, key: &AccessKey, grants: Grants) {
        if grants == Grants::NONE {
            self.grants.remove(&key.id);
        } else {
            let serial = key.serial;
            self.grants.insert(key.id.clone(), Granted { serial, grants });
        }
    }
}

/// What one access key may do to a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Which key of that id.
    pub serial: KeySerial,
    /// What it may do.
    pub grants: Grants,
}

/// Whether clients may use a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketState {
    /// They may.
    #[default]
    Open,
    /// It is being deleted: nothing may be written until it is found to be empty and goes, or is opened again.
    Closing,
}

/// The row of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    /// What the directory knows of it.
    pub bucket: Bucket,
    /// Its key, wrapped by that of the mesh.
    pub wrapped_key: Bytes,
}

/// What people set on a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSettings {
    /// Canned access control list.
    pub acl: BucketAcl,
    /// Bucket policy: the JSON a client put, checked by whoever put it.
    pub policy: Option<String>,
    /// Whether it keeps the version that a write replaces.
    pub versioning: Versioning,
    /// The object lock it has.
    pub lock: Option<ObjectLock>,
}

impl BucketSettings {
    /// What a write has to know at commit.
    pub const fn keeping(&self) -> Keeping {
        Keeping {
            versioning: self.versioning,
            lock: self.lock,
        }
    }
}

/// The canned access control lists that change anything here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum BucketAcl {
    /// Only keys with a grant.
    #[default]
    Private,
    /// Anyone may read and list.
    PublicRead,
    /// Anyone may read, list and write.
    PublicReadWrite,
    /// Any access key of this mesh may read and list.
    AuthenticatedRead,
}
