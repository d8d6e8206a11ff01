//! Lets requests pass, or not, as grants, lists and policies have it for whoever sends them.

use storage::model::{Bucket, Lock, ObjectKey, Timestamp, WriteCondition};

use super::Call;
use crate::access::{Asking, Rule, Tagged};
use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::lock_in;
use crate::transport::Cipher;
use crate::uri::Query;

impl Call {
    /// Lets pass whoever may do what the rule says.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn allow(&self, bucket: &Bucket, key: Option<&ObjectKey>, rule: Rule) -> S3Result<()> {
        self.gateway.access.allow(&self.asking(None), bucket, key, rule)
    }

    /// Who asks and how, for a version or none.
    pub(super) fn asking<'c>(&'c self, version: Option<&'c str>) -> Asking<'c> {
        Asking {
            caller: &self.identity,
            from: self.origin.from,
            secure: self.origin.secure,
            tls: self.origin.cipher.and_then(Cipher::version_number),
            now: Timestamp::now(),
            headers: &self.headers,
            query: &self.query,
            source_bucket: self.source.as_ref().map(|bucket| bucket.name.as_str()),
            version,
            tags: Tagged::default(),
            lock: lock_in(&self.headers),
        }
    }

    /// As [`Self::allow`], for the version a request names. `null` is what a request without a version gets where
    /// versioning was never on, so whoever is denied the one is denied the other.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn allow_version(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<&str>,
        rules: (Rule, Rule),
    ) -> S3Result<()> {
        self.allow_asking(&self.asking(version), bucket, key, rules)
    }

    /// As [`Self::allow_version`], of a request that is asked for in this way.
    pub(super) fn allow_asking(
        &self,
        asking: &Asking<'_>,
        bucket: &Bucket,
        key: &ObjectKey,
        (current, named): (Rule, Rule),
    ) -> S3Result<()> {
        let access = &self.gateway.access;
        if asking.version == Some("null") && access.denies(asking, bucket, key, current) {
            return Err(S3Error::new(S3Code::AccessDenied));
        }
        let rule = if asking.version.is_some() { named } else { current };
        access.allow(asking, bucket, Some(key), rule)
    }

    /// Lets pass whoever may do what the rule says to an object, judged by the lock that a document asks for.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn allow_lock(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        rule: Rule,
        lock: Lock,
    ) -> S3Result<()> {
        let asking = Asking {
            lock,
            ..self.asking(self.query.get("versionId"))
        };
        self.allow_asking(&asking, bucket, key, (rule, rule))
    }

    /// Lets pass whoever may learn what a condition of a write tells: whether the object is there, and its tag.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn allow_condition(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        condition: WriteCondition,
    ) -> S3Result<()> {
        match condition {
            WriteCondition::None | WriteCondition::Absent => Ok(()),
            WriteCondition::Present | WriteCondition::Tag(_) | WriteCondition::Like(_) => {
                self.allow(bucket, Some(key), Rule::COPY_SOURCE)
            }
        }
    }

    /// What a failed look at an object may say: whoever may not list must not learn which keys exist.
    pub(crate) fn absence(&self, bucket: &Bucket, error: S3Error) -> S3Error {
        let absent = matches!(error.code(), S3Code::NoSuchKey | S3Code::NoSuchVersion);
        // It lists nothing: a prefix in its query is none of a listing's.
        let query = Query::default();
        let asking = Asking {
            query: &query,
            ..self.asking(None)
        };
        if absent && !self.gateway.access.may(&asking, bucket, None, Rule::LIST) {
            return S3Error::new(S3Code::AccessDenied);
        }
        error
    }
}
