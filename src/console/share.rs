//! Makes links that open one object to whoever has them, signed by an access key that can only read its bucket.

use std::sync::Arc;

use appliance::api::{self, ObjectAt, Schema};
use appliance::{NodeError, over_https};
use hyper::Method;
use s3::auth::{Signer, Unsigned};
use storage::NewKey;
use storage::model::{AccessKey, Bucket, Grants, KeyName, Timestamp};

use super::objects::refused;
use super::{Console, refusal, time_shown};
use crate::endpoint;
use crate::node::REGION;

/// The longest a link works, in seconds: seven days. Source: AWS S3 user guide, "Expiration time for presigned URLs".
const SECONDS_MAX: u64 = 7 * 24 * 60 * 60;

/// The longest name of an access key, in characters.
const NAME_MAX: usize = 64;

const READ: Grants = Grants {
    read: true,
    ..Grants::NONE
};

impl Console {
    pub(super) async fn share(
        &self,
        bucket: &str,
        request: api::ShareObject,
    ) -> Result<api::Shared, NodeError> {
        if !(1..=SECONDS_MAX).contains(&request.seconds) {
            let why = "a link works for 1 to 604800 seconds, which are seven days";
            return Err(NodeError::Invalid(why.into()));
        }
        if has_dots(&request.key) {
            let why =
                "browsers change addresses with \".\" or \"..\" as a folder: copy the object to another name";
            return Err(NodeError::Invalid(why.into()));
        }
        let at = ObjectAt {
            key: request.key,
            version: request.version,
        };
        let object = self.opened(bucket, &at).await?;
        object
            .unlock(None)
            .map_err(|error| refused(error, bucket, &at.key))?;
        let in_store = self.bucket_named(bucket)?;
        let key = self.signer_of(&in_store).await?;
        let now = Timestamp::now();
        let urls = endpoint::urls(self.s3);
        let url = urls.first().map_or("", String::as_str);
        let host = url.trim_start_matches("http://");
        if request.https && self.https_facts().is_none() {
            let why = "this box has no certificate yet: ask for a link over http";
            return Err(NodeError::Invalid(why.into()));
        }
        let (url, own_port) = match request.https {
            true => (over_https(url), ":443"),
            false => (url.to_owned(), ":80"),
        };
        let link = Signer::new(&key, REGION, now).link(
            &Unsigned {
                method: Method::GET,
                // Browsers leave the port away that the scheme has anyway.
                host: host.strip_suffix(own_port).unwrap_or(host),
                path: &format!("{}/{}", in_store.name, at.key),
                query: &at
                    .version
                    .as_deref()
                    .map(|version| ("versionId", version))
                    .into_iter()
                    .collect::<Vec<_>>(),
            },
            request.seconds,
        );
        let link = link.map_err(|error| NodeError::Failed(Box::new(error)))?;
        let ends = Timestamp::from_millis((now.as_secs() + request.seconds) * 1000);
        Ok(api::Shared {
            schema: Schema,
            key: at.key,
            url: api::Secret::new(format!("{url}{link}")),
            expires: time_shown(ends),
            signed_by: key.id.to_string(),
            signer: key.name.as_str().into(),
        })
    }

    /// The key that signs links of this bucket, made where there is none: it can do nothing else.
    async fn signer_of(&self, bucket: &Bucket) -> Result<Arc<AccessKey>, NodeError> {
        let name = name_for(bucket.name.as_str());
        let keys = self.store.access_keys();
        if let Some(key) = keys.into_iter().find(|key| self.only_signs(key, &name, bucket)) {
            return Ok(key);
        }
        let refused = |error| refusal(error, bucket.name.as_str());
        let new = NewKey {
            name: KeyName::parse(&name).map_err(NodeError::Invalid)?,
            create_buckets: false,
            import: None,
        };
        let key = self.store.create_key(new).await.map_err(refused)?;
        let granted = self.store.set_grants(&key.id, &bucket.name, |_| READ).await;
        granted.map(|_| key).map_err(refused)
    }

    fn only_signs(&self, key: &AccessKey, name: &str, bucket: &Bucket) -> bool {
        let mut others = self
            .store
            .buckets()
            .into_iter()
            .filter(|other| other.id != bucket.id);
        key.name.as_str() == name
            && !key.create_buckets
            && bucket.grants_of(key) == READ
            && others.all(|other| other.grants_of(key) == Grants::NONE)
    }
}

/// What people see among their keys: deleting it ends all links of the bucket.
fn name_for(bucket: &str) -> String {
    format!("Links to {bucket}").chars().take(NAME_MAX).collect()
}

/// Whether a browser would take parts of this path away.
fn has_dots(key: &str) -> bool {
    key.split('/').any(|part| matches!(part, "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_signs_links_has_a_name_whatever_the_bucket_is_called() {
        assert_eq!(name_for("photos"), "Links to photos");
        assert!(KeyName::parse(&name_for(&"b".repeat(63))).is_ok());
    }

    #[test]
    fn only_whole_parts_of_dots_change_an_address() {
        assert!(has_dots("a/../b") && has_dots("."));
        assert!(!has_dots("a..b/.hidden/..."));
    }
}
