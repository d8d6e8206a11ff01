//! Opens objects for whoever a grant, a policy or the ACL of the object itself lets do something to them,
//! judged by their tags where a policy asks for those.

use storage::Object;
use storage::model::{AclRights, Bucket, ObjectKey, VersionId};

use super::Call;
use crate::access::{Asking, Rule, Tagged};
use crate::error::{S3Error, S3Result};
use crate::ops::version_id;
use crate::tags::Tags;

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
        let find = || self.gateway.store.object(bucket, key, version);
        let access = &self.gateway.access;
        let early = match access.asks_for_tags(bucket) {
            true => Some(find().await),
            false => None,
        };
        let tags = early.as_ref().and_then(|found| found.as_ref().ok()).map(tags_of);
        let asking = Asking {
            tags: Tagged {
                existing: tags.as_deref(),
                requested: None,
            },
            ..self.asking(named.as_deref())
        };
        if let Err(denied) = self.allow_asking(&asking, bucket, key, rules) {
            let denies = |rule| access.denies(&asking, bucket, key, rule);
            if bucket.settings.has_no_acls() || denies(rules.0) || named.is_some() && denies(rules.1) {
                return Err(denied);
            }
            let found = match early {
                Some(found) => found,
                None => find().await,
            };
            let rights =
                |object: &Object| access.rights_by_acl(&self.identity, bucket, &object.info().headers.acl);
            return found.ok().filter(|object| suffices(rights(object))).ok_or(denied);
        }
        let found = match early {
            Some(found) => found,
            None => find().await,
        };
        found.map_err(|error| self.absence(bucket, S3Error::from(error).field("Key", key.as_str())))
    }

    /// Lets pass whoever may do what the rule says to an object, judged by the tags it has and by those that a document
    /// gives it.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`.
    pub(crate) async fn allow_tagged(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        rules: (Rule, Rule),
        requested: Option<&[(String, String)]>,
    ) -> S3Result<()> {
        let version = version_id(&self.query)?;
        let named = version.map(|version| version.to_string());
        let existing = match self.gateway.access.asks_for_tags(bucket) {
            true => self.gateway.store.object(bucket, key, version).await.ok(),
            false => None,
        };
        let existing = existing.as_ref().map(tags_of);
        let asking = Asking {
            tags: Tagged {
                existing: existing.as_deref(),
                requested,
            },
            ..self.asking(named.as_deref())
        };
        self.allow_asking(&asking, bucket, key, rules)
    }
}

fn tags_of(object: &Object) -> Tags {
    object.info().headers.tags.clone()
}
