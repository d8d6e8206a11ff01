//! Opens objects for whoever a grant, a policy or the ACL of the object itself lets do something to them.

use storage::Object;
use storage::model::{AclRights, Bucket, ObjectKey, VersionId};

use super::Call;
use crate::access::Rule;
use crate::error::{S3Error, S3Result};

impl Call {
    /// Opens the object, or the version of it, for whoever may read it.
    ///
    /// # Errors
    /// As [`Self::opened`].
    pub(crate) async fn readable(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> S3Result<Object> {
        let rules = (Rule::COPY_SOURCE, Rule::COPY_SOURCE_VERSION);
        self.opened(bucket, key, version, rules, |rights| rights.read)
            .await
    }

    /// Opens the object, or the version of it, for whoever may do to it what the rule says (that of the current version,
    /// that of a named one): by a grant, by a policy, or because the ACL of the object itself permits as much, unless a
    /// policy denies it.
    ///
    /// # Errors
    /// `AccessDenied`, also for what is not there and must not be known; `NoSuchKey`, `NoSuchVersion`.
    pub(crate) async fn opened(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<VersionId>,
        rules: (Rule, Rule),
        suffices: impl Fn(AclRights) -> bool + Send,
    ) -> S3Result<Object> {
        let named = version.map(|version| version.to_string());
        let allowed = self.allow_version(bucket, key, named.as_deref(), rules);
        let access = &self.gateway.access;
        if let Err(denied) = allowed {
            let asking = self.asking(named.as_deref());
            let denies = |rule| access.denies(&asking, bucket, key, rule);
            if bucket.settings.has_no_acls() || denies(rules.0) || named.is_some() && denies(rules.1) {
                return Err(denied);
            }
            let opened = self.gateway.store.object(bucket, key, version).await;
            let rights =
                |object: &Object| access.rights_by_acl(&self.identity, bucket, &object.info().headers.acl);
            let object = opened.ok().filter(|object| suffices(rights(object)));
            return object.ok_or(denied);
        }
        let opened = self.gateway.store.object(bucket, key, version).await;
        opened.map_err(|error| self.absence(bucket, S3Error::from(error).field("Key", key.as_str())))
    }
}
