//! Opens objects for whoever may read them.

use storage::Object;
use storage::model::{Bucket, BucketAcl, ObjectKey, VersionId};

use super::Call;
use crate::access::Rule;
use crate::error::{S3Error, S3Result};

impl Call {
    /// Opens the object, or the version of it, for whoever may read it: by a grant, by a policy, or by the ACL of the object
    /// itself, unless a policy denies it.
    ///
    /// # Errors
    /// `AccessDenied`, also for what is not there and must not be known; `NoSuchKey`, `NoSuchVersion`.
    pub(crate) async fn readable(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> S3Result<Object> {
        let named = version.map(|version| version.to_string());
        let rules = (Rule::COPY_SOURCE, Rule::COPY_SOURCE_VERSION);
        let allowed = self.allow_version(bucket, key, named.as_deref(), rules);
        let access = &self.gateway.access;
        let asking = self.asking(named.as_deref());
        if let Err(denied) = allowed {
            let denies = |rule| access.denies(&asking, bucket, key, rule);
            let may_have_acl = !bucket.settings.effective(BucketAcl::PublicRead).is_private();
            if !may_have_acl || denies(rules.0) || named.is_some() && denies(rules.1) {
                return Err(denied);
            }
            let opened = self.gateway.store.object(bucket, key, version).await;
            let acl = |object: &Object| object.info().headers.acl;
            let object = opened.ok();
            let object = object.filter(|object| access.may_read_by_acl(&self.identity, bucket, acl(object)));
            return object.ok_or(denied);
        }
        let opened = self.gateway.store.object(bucket, key, version).await;
        opened.map_err(|error| self.absence(bucket, S3Error::from(error).field("Key", key.as_str())))
    }
}
