//! A bucket: its name, its identity, its settings, and who may do what to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    AccessKey, AccessKeyId, Acl, AclRights, BucketEncryption, BucketId, BucketLogging, BucketName, CorsRule,
    Grants, Keeping, KeySerial, LifecycleRule, NotificationRule, ObjectLock, ObjectOwnership,
    PublicAccessBlock, Quota, Timestamp, Versioning, Website,
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
    /// The version in which it last came to keep versions in another way, as long as not every partition has heard of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfenced: Option<u64>,
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
    /// Access control list.
    pub acl: Acl,
    /// Bucket policy: the JSON a client put, checked by whoever put it.
    pub policy: Option<String>,
    /// Which pages of other origins may use it from a browser: the first rule that fits counts; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cors: Vec<CorsRule>,
    /// Tags of the bucket, in the client's order; at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// What the public never gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_access: Option<PublicAccessBlock>,
    /// Whether ACLs mean anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<ObjectOwnership>,
    /// The default encryption that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<BucketEncryption>,
    /// How it is served as a website, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<Website>,
    /// Whether it keeps the version that a write replaces.
    #[serde(default)]
    pub versioning: Versioning,
    /// The object lock it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<ObjectLock>,
    /// What goes by itself, and when; at most 1000.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<LifecycleRule>,
    /// Whom it tells of what happens to its objects; at most 100, no two of which fit the same event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notifications: Vec<NotificationRule>,
    /// Whether it ever told anybody: events may stand in rows whose receivers are none any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub was_notifying: bool,
    /// Where its access logs go, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<BucketLogging>,
    /// How much it may hold.
    #[serde(default, skip_serializing_if = "Quota::is_none")]
    pub quota: Quota,
}

impl BucketSettings {
    /// What a write has to know at commit.
    pub const fn keeping(&self) -> Keeping {
        Keeping {
            versioning: self.versioning,
            lock: self.lock,
        }
    }

    /// What the public never gets; nothing is kept from it unless somebody says so.
    pub fn blocked(&self) -> PublicAccessBlock {
        self.public_access.unwrap_or_default()
    }

    /// Whether ACLs mean nothing here and must not be set.
    pub fn has_no_acls(&self) -> bool {
        self.ownership == Some(ObjectOwnership::BucketOwnerEnforced)
    }

    /// What an ACL of the bucket or of an object in it permits whoever signed with this key, or with none: nothing where ACLs
    /// mean nothing, and where public ones are ignored only what it grants to keys by name.
    pub fn rights(&self, acl: &Acl, who: Option<&AccessKey>) -> AclRights {
        if self.has_no_acls() {
            return AclRights::NONE;
        }
        acl.rights(who, self.blocked().ignore_acls)
    }
}
