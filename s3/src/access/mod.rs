//! Decides, in one place and refusing by default, who may do what to which bucket and object.

mod acl;
mod asking;
mod condition;
mod policy;
mod variables;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use storage::model::{AccessKey, Acl, AclRights, Bucket, BucketId, Grants, ObjectKey};
use tracing::warn;

use crate::auth::Identity;
use crate::error::{S3Code, S3Error, S3Result};
use crate::route::{
    BucketOperation, DefaultSetting, ObjectOperation, ServiceOperation, Setting, UnsetSetting,
};

pub use acl::{
    grant_headers, group_of_uri, name_of_permission, parse_canned, permission_of_name, uri_of_group,
};
pub use asking::{Asking, Tagged, copy_source};
pub use policy::{MalformedPolicy, POLICY_BYTES_MAX, Policy, Resource, Verdict};

/// The key that signed, unless nobody did.
pub fn key_of(identity: &Identity) -> Option<&Arc<AccessKey>> {
    match identity {
        Identity::Anonymous => None,
        Identity::Key(key) => Some(key),
    }
}

/// What a request must be permitted: a grant on the bucket, or a policy that allows the action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    action: &'static str,
    need: Need,
}

/// Which grant on the bucket suffices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Owning.
    Owner,
    /// Reading and writing, by grants of the caller's own key: whoever has both could copy what it makes public. The ACL of
    /// an object may permit it, too.
    ReadAndWrite,
    /// Any grant, also one that the bucket's ACL gives.
    Any,
    /// Any grant of the caller's own key.
    Member,
    /// The same, or being shown the ACL of the bucket by that ACL.
    ReadAcl,
    /// Owning, or being let change the ACL of the bucket by that ACL.
    WriteAcl,
    /// None: each thing the request names is asked about on its own, or nothing is given away.
    Nothing,
}

const fn rule(action: &'static str, need: Need) -> Rule {
    Rule { action, need }
}

impl Rule {
    /// Reading an object that is the source of a copy.
    pub const COPY_SOURCE: Self = rule("s3:GetObject", Need::Read);
    /// Reading a named version of an object that is the source of a copy.
    pub const COPY_SOURCE_VERSION: Self = rule("s3:GetObjectVersion", Need::Read);
    /// Deleting one object of many.
    pub const DELETE_OBJECT: Self = rule("s3:DeleteObject", Need::Write);
    /// Deleting one version of many.
    pub const DELETE_VERSION: Self = rule("s3:DeleteObjectVersion", Need::Write);
    /// Saying who may read an object while it is written.
    pub const ACL_OF_OBJECT: Self = rule("s3:PutObjectAcl", Need::Write);
    /// Tagging an object while it is written.
    pub const TAG_OBJECT: Self = rule("s3:PutObjectTagging", Need::Write);
    /// Locking an object while it is written, or later.
    pub const PUT_RETENTION: Self = rule("s3:PutObjectRetention", Need::Write);
    /// Being told until when an object stays.
    pub const GET_RETENTION: Self = rule("s3:GetObjectRetention", Need::Read);
    /// Putting an object under a legal hold while it is written, or later.
    pub const PUT_LEGAL_HOLD: Self = rule("s3:PutObjectLegalHold", Need::Write);
    /// Being told of a legal hold.
    pub const GET_LEGAL_HOLD: Self = rule("s3:GetObjectLegalHold", Need::Read);
    /// Removing or shortening a retention of governance: a key that only writes must not undo what protects from it.
    pub const BYPASS_GOVERNANCE: Self = rule("s3:BypassGovernanceRetention", Need::Owner);
    /// Having a bucket logged, or another's logs in it.
    pub const TAKE_LOGS: Self = rule("s3:PutBucketLogging", Need::Owner);
    /// Listing, which also permits to learn that a key is not there.
    pub const LIST: Self = rule("s3:ListBucket", Need::Read);

    /// What an operation on a bucket must be permitted.
    pub const fn of_bucket(operation: BucketOperation) -> Self {
        use BucketOperation as Op;
        match operation {
            Op::HeadBucket => rule("s3:ListBucket", Need::Any),
            Op::DeleteBucket => rule("s3:DeleteBucket", Need::Owner),
            Op::GetBucketLocation => rule("s3:GetBucketLocation", Need::Any),
            Op::ListObjects | Op::ListObjectsV2 => Self::LIST,
            Op::ListObjectVersions => rule("s3:ListBucketVersions", Need::Read),
            Op::ListMultipartUploads => rule("s3:ListBucketMultipartUploads", Need::Member),
            // Who sends a form stands in it.
            Op::DeleteObjects | Op::PostObject | Op::Preflight => rule("", Need::Nothing),
            Op::GetBucketVersioning => rule("s3:GetBucketVersioning", Need::Any),
            Op::PutBucketVersioning => rule("s3:PutBucketVersioning", Need::Owner),
            Op::GetObjectLockConfiguration => rule("s3:GetBucketObjectLockConfiguration", Need::Member),
            Op::PutObjectLockConfiguration => rule("s3:PutBucketObjectLockConfiguration", Need::Owner),
            Op::GetBucketAcl => rule("s3:GetBucketAcl", Need::ReadAcl),
            Op::PutBucketAcl => rule("s3:PutBucketAcl", Need::WriteAcl),
            Op::GetBucketPolicy => rule("s3:GetBucketPolicy", Need::Owner),
            Op::PutBucketPolicy => rule("s3:PutBucketPolicy", Need::Owner),
            Op::DeleteBucketPolicy => rule("s3:DeleteBucketPolicy", Need::Owner),
            Op::GetBucketPolicyStatus => rule("s3:GetBucketPolicyStatus", Need::Member),
            Op::GetBucketNotificationConfiguration => rule("s3:GetBucketNotification", Need::Member),
            Op::PutBucketNotificationConfiguration => rule("s3:PutBucketNotification", Need::Owner),
            Op::GetBucketLogging => rule("s3:GetBucketLogging", Need::Member),
            Op::PutBucketLogging => Self::TAKE_LOGS,
            Op::GetSetting(setting) => rule(setting_actions(setting).0, Need::Member),
            Op::PutSetting(setting) => rule(setting_actions(setting).1, Need::Owner),
            Op::DeleteSetting(setting) => rule(setting_actions(setting).2, Need::Owner),
            Op::GetDefault(setting) => rule(default_action(setting), Need::Member),
            Op::GetUnset(setting) => rule(unset_actions(setting).0, Need::Member),
            Op::DeleteUnset(setting) => rule(unset_actions(setting).1, Need::Owner),
        }
    }

    /// What an operation on an object must be permitted: of its current version, and of one that is named.
    pub const fn both_of_object(operation: ObjectOperation) -> (Self, Self) {
        (
            Self::of_object(operation, false),
            Self::of_object(operation, true),
        )
    }

    /// What an operation on an object (or on the version it names) must be permitted.
    pub const fn of_object(operation: ObjectOperation, version: bool) -> Self {
        use ObjectOperation as Op;
        match operation {
            Op::GetObject | Op::HeadObject if version => Self::COPY_SOURCE_VERSION,
            Op::GetObject | Op::HeadObject => Self::COPY_SOURCE,
            Op::PutObject
            | Op::CopyObject
            | Op::CreateMultipartUpload
            | Op::UploadPart
            | Op::UploadPartCopy
            | Op::CompleteMultipartUpload => rule("s3:PutObject", Need::Write),
            Op::DeleteObject if version => Self::DELETE_VERSION,
            Op::DeleteObject => Self::DELETE_OBJECT,
            Op::AbortMultipartUpload => rule("s3:AbortMultipartUpload", Need::Write),
            Op::ListParts => rule("s3:ListMultipartUploadParts", Need::Write),
            Op::GetObjectAcl if version => rule("s3:GetObjectVersionAcl", Need::Member),
            Op::GetObjectAcl => rule("s3:GetObjectAcl", Need::Member),
            Op::PutObjectAcl if version => rule("s3:PutObjectVersionAcl", Need::ReadAndWrite),
            Op::PutObjectAcl => rule("s3:PutObjectAcl", Need::ReadAndWrite),
            Op::GetObjectTagging if version => rule("s3:GetObjectVersionTagging", Need::Read),
            Op::GetObjectTagging => rule("s3:GetObjectTagging", Need::Read),
            Op::PutObjectTagging if version => rule("s3:PutObjectVersionTagging", Need::Write),
            Op::PutObjectTagging => Self::TAG_OBJECT,
            Op::DeleteObjectTagging if version => rule("s3:DeleteObjectVersionTagging", Need::Write),
            Op::DeleteObjectTagging => rule("s3:DeleteObjectTagging", Need::Write),
            Op::GetObjectRetention => Self::GET_RETENTION,
            Op::PutObjectRetention => Self::PUT_RETENTION,
            Op::GetObjectLegalHold => Self::GET_LEGAL_HOLD,
            Op::PutObjectLegalHold => Self::PUT_LEGAL_HOLD,
            Op::GetObjectAttributes if version => rule("s3:GetObjectVersionAttributes", Need::Read),
            Op::GetObjectAttributes => rule("s3:GetObjectAttributes", Need::Read),
            Op::Preflight => rule("", Need::Nothing),
        }
    }
}

const fn default_action(setting: DefaultSetting) -> &'static str {
    match setting {
        DefaultSetting::Accelerate => "s3:GetAccelerateConfiguration",
        DefaultSetting::RequestPayment => "s3:GetBucketRequestPayment",
    }
}

/// The actions of reading, putting and removing a setting, as AWS names them.
const fn setting_actions(setting: Setting) -> (&'static str, &'static str, &'static str) {
    let (read, write) = match setting {
        Setting::Cors => ("s3:GetBucketCORS", "s3:PutBucketCORS"),
        Setting::Tagging => ("s3:GetBucketTagging", "s3:PutBucketTagging"),
        Setting::PublicAccessBlock => ("s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
        Setting::OwnershipControls => ("s3:GetBucketOwnershipControls", "s3:PutBucketOwnershipControls"),
        Setting::Website => {
            return (
                "s3:GetBucketWebsite",
                "s3:PutBucketWebsite",
                "s3:DeleteBucketWebsite",
            );
        }
        Setting::Lifecycle => ("s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
        Setting::Encryption => ("s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"),
    };
    (read, write, write)
}

/// The actions of reading and of removing a setting that nobody can put, as AWS names them.
const fn unset_actions(setting: UnsetSetting) -> (&'static str, &'static str) {
    match setting {
        UnsetSetting::Replication => ("s3:GetReplicationConfiguration", "s3:PutReplicationConfiguration"),
    }
}

impl Need {
    /// Whether grants suffice: those of the caller's own key, and what the bucket's ACL permits the caller.
    const fn met_by(self, own: Grants, acl: AclRights) -> bool {
        let member = own.read || own.write || own.owner;
        match self {
            Self::Read => own.read || acl.read,
            Self::Write => own.write || acl.write,
            Self::Owner => own.owner,
            Self::ReadAndWrite => own.owner || own.read && own.write,
            Self::Any => member || acl.read || acl.write,
            Self::Member => member,
            Self::ReadAcl => member || acl.read_acl,
            Self::WriteAcl => own.owner || acl.write_acl,
            Self::Nothing => true,
        }
    }
}

/// What the ACL of a bucket gives to this caller.
fn rights_in(bucket: &Bucket, caller: &Identity) -> AclRights {
    let who = key_of(caller).map(|key| &**key);
    bucket.settings.rights(&bucket.settings.acl, who)
}

/// Whether what a policy allows is kept from a caller with these grants of its own: its bucket lets a public policy open
/// nothing to strangers.
fn is_restricted(bucket: &Bucket, policy: &Policy, own: Grants) -> bool {
    bucket.settings.blocked().restrict_policy && own == Grants::NONE && policy.is_public()
}

/// Most parsed policies kept; with more buckets than this, some are parsed again.
const POLICIES_MAX: usize = 1024;

/// Answers whether a caller may; remembers the policies it has parsed.
#[derive(Debug, Default)]
pub struct Access {
    policies: RwLock<HashMap<BucketId, Parsed>>,
}

/// A policy beside the text it was parsed from; `None` where the text cannot be understood.
#[derive(Clone, Debug)]
struct Parsed {
    text: String,
    policy: Option<Arc<Policy>>,
}

impl Access {
    /// Lets pass whoever may do what the rule says to the bucket or the object in it.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn allow(
        &self,
        asking: &Asking<'_>,
        bucket: &Bucket,
        key: Option<&ObjectKey>,
        rule: Rule,
    ) -> S3Result<()> {
        if self.may(asking, bucket, key, rule) {
            Ok(())
        } else {
            Err(S3Error::new(S3Code::AccessDenied))
        }
    }

    /// Whether a caller may: a denying policy wins, then grants, then an allowing policy.
    pub fn may(&self, asking: &Asking<'_>, bucket: &Bucket, key: Option<&ObjectKey>, rule: Rule) -> bool {
        let caller = asking.caller;
        let own = key_of(caller).map_or(Grants::NONE, |key| bucket.grants_of(key));
        let granted = rule.need.met_by(own, rights_in(bucket, caller));
        let Some(text) = bucket
            .settings
            .policy
            .as_deref()
            .filter(|_| rule.need != Need::Nothing)
        else {
            return granted;
        };
        // A policy that denies everything must not lock its owner out of replacing it.
        if own.owner && rule.action.ends_with("BucketPolicy") {
            return true;
        }
        let Some(policy) = self.policy(bucket, text) else {
            return own.owner;
        };
        let on = Resource {
            bucket: bucket.name.as_str(),
            key: key.map(ObjectKey::as_str),
        };
        match policy.decide(asking, rule.action, on) {
            Verdict::Deny => false,
            Verdict::Allow => granted || !is_restricted(bucket, &policy, own),
            Verdict::Silent => granted,
        }
    }

    /// Whether the policy of the bucket denies the caller the action of the rule.
    pub fn denies(&self, asking: &Asking<'_>, bucket: &Bucket, key: &ObjectKey, rule: Rule) -> bool {
        let policy = || self.policy(bucket, bucket.settings.policy.as_deref()?);
        let on = Resource {
            bucket: bucket.name.as_str(),
            key: Some(key.as_str()),
        };
        policy().is_some_and(|policy| policy.decide(asking, rule.action, on) == Verdict::Deny)
    }

    /// Whether the policy of the bucket decides by the locks that requests ask for.
    pub fn asks_for_locks(&self, bucket: &Bucket) -> bool {
        let policy = || self.policy(bucket, bucket.settings.policy.as_deref()?);
        policy().is_some_and(|policy| policy.asks_for_locks())
    }

    /// Whether the policy of the bucket decides by the tags of objects.
    pub fn asks_for_tags(&self, bucket: &Bucket) -> bool {
        let policy = || self.policy(bucket, bucket.settings.policy.as_deref()?);
        policy().is_some_and(|policy| policy.asks_for_tags())
    }

    /// What the ACL of an object gives to a caller. A denying policy must have been asked before.
    pub fn rights_by_acl(&self, caller: &Identity, bucket: &Bucket, acl: &Acl) -> AclRights {
        let who = key_of(caller).map(|key| &**key);
        bucket.settings.rights(acl, who)
    }

    /// Lets pass whoever may delete anything in the bucket, before what exactly is known.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn allow_some_delete(&self, caller: &Identity, bucket: &Bucket) -> S3Result<()> {
        let own = key_of(caller).map_or(Grants::NONE, |key| bucket.grants_of(key));
        let granted = Need::Write.met_by(own, rights_in(bucket, caller));
        let rules = [Rule::DELETE_OBJECT, Rule::DELETE_VERSION];
        let allows = |policy: Arc<Policy>| {
            let who = key_of(caller).map(|key| &key.id);
            !is_restricted(bucket, &policy, own)
                && rules.iter().any(|rule| policy.may_allow(who, rule.action))
        };
        let policy = || self.policy(bucket, bucket.settings.policy.as_deref()?);
        if granted || own.owner || policy().is_some_and(allows) {
            Ok(())
        } else {
            Err(S3Error::new(S3Code::AccessDenied))
        }
    }

    /// Whether the ACL of the bucket lets anyone read the object: here it opens all that is in the bucket, and no ACL of an
    /// object takes that away. What a policy allows does not count: as in S3, it stands beside every ACL and in none.
    pub fn is_opened_by_bucket(&self, bucket: &Bucket, key: &ObjectKey) -> bool {
        let opened = rights_in(bucket, &Identity::Anonymous).read;
        let Some(text) = bucket.settings.policy.as_deref().filter(|_| opened) else {
            return opened;
        };
        let on = Resource {
            bucket: bucket.name.as_str(),
            key: Some(key.as_str()),
        };
        // A policy that nobody understands lets nobody pass but owners.
        self.policy(bucket, text)
            .is_some_and(|policy| !policy.denies_everyone(Rule::COPY_SOURCE.action, on))
    }

    fn policy(&self, bucket: &Bucket, text: &str) -> Option<Arc<Policy>> {
        {
            let parsed = self.policies.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = parsed.get(&bucket.id).filter(|known| known.text == text) {
                return known.policy.clone();
            }
        }
        let policy = Policy::parse(text, &bucket.name)
            .inspect_err(|error| warn!(bucket = %bucket.name, %error, "bucket policy not understood: only owners may pass"))
            .ok()
            .map(Arc::new);
        let mut parsed = self.policies.write().unwrap_or_else(PoisonError::into_inner);
        if parsed.len() >= POLICIES_MAX {
            parsed.clear();
        }
        let text = text.to_owned();
        parsed.insert(
            bucket.id,
            Parsed {
                text,
                policy: policy.clone(),
            },
        );
        policy
    }
}

/// Lets pass whoever may do what is about no bucket that is there.
///
/// # Errors
/// `AccessDenied`.
pub fn allow_service(caller: &Identity, operation: ServiceOperation) -> S3Result<()> {
    let key = key_of(caller).ok_or_else(|| S3Error::new(S3Code::AccessDenied))?;
    match operation {
        // It shows a key its own buckets.
        ServiceOperation::ListBuckets => Ok(()),
        ServiceOperation::CreateBucket if key.create_buckets => Ok(()),
        ServiceOperation::CreateBucket => Err(S3Error::with_message(
            S3Code::AccessDenied,
            "Access Denied. This key may not create buckets.",
        )),
    }
}
