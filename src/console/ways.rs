//! How buckets keep and show what is in them: object lock and website, as the appliance asks for them.

use appliance::NodeError;
use appliance::api::{self, SetLock, SetWebsite};
use storage::StoreError;
use storage::model::{Bucket, DefaultRetention, ObjectKey, ObjectLock, Period, RetentionMode, Website};

use super::{Console, refusal};

/// Most days of a default retention. Source: AWS S3 user guide, "Object Lock considerations".
const DAYS_MAX: u32 = 36_500;
const DAYS_OF_YEAR: u32 = 365;

impl Console {
    /// Gives a bucket a lock, or another default retention.
    pub(super) async fn lock_bucket(
        &self,
        name: &str,
        request: SetLock,
    ) -> Result<api::BucketInfo, NodeError> {
        let default = request.retention.map(default_retention).transpose()?;
        let bucket = self.bucket_named(name)?;
        let set = self.store.set_object_lock(&bucket, ObjectLock { default }).await;
        let changed = set.map_err(|error| match error {
            StoreError::BucketState(_) => NodeError::Invalid(
                "only a bucket that keeps old versions can have a lock: have it keep them first".into(),
            ),
            other => refusal(other, name),
        })?;
        Ok(self.bucket_info(&changed).await)
    }

    /// Serves a bucket as a website, or no more.
    pub(super) async fn serve_website(
        &self,
        name: &str,
        request: SetWebsite,
    ) -> Result<api::BucketInfo, NodeError> {
        let website = request.pages.map(pages).transpose()?;
        let bucket = self.bucket_named(name)?;
        let changed = self
            .store
            .change_bucket(&bucket, move |settings| settings.website = website.clone())
            .await;
        let bucket = changed.map_err(|error| refusal(error, name))?;
        Ok(self.bucket_info(&bucket).await)
    }
}

/// The lock of a bucket, as it is shown.
pub(super) fn lock_shown(bucket: &Bucket) -> Option<api::BucketLock> {
    let lock = bucket.settings.lock?;
    let retention = lock.default.map(|default| api::DefaultRetention {
        mode: match default.mode {
            RetentionMode::Governance => api::RetentionMode::Governance,
            RetentionMode::Compliance => api::RetentionMode::Compliance,
        },
        days: match default.period {
            Period::Days(days) => days,
            Period::Years(years) => years.saturating_mul(DAYS_OF_YEAR),
        },
    });
    Some(api::BucketLock { retention })
}

/// The website of a bucket, as it is shown.
pub(super) fn website_shown(bucket: &Bucket) -> Option<api::WebsiteShown> {
    Some(match bucket.settings.website.as_ref()? {
        Website::Elsewhere { host, .. } => api::WebsiteShown::Elsewhere { host: host.clone() },
        Website::Pages { index, error, rules } => api::WebsiteShown::Pages {
            index: index.clone(),
            error: error.clone(),
            rules: rules.len(),
        },
    })
}

fn default_retention(asked: api::DefaultRetention) -> Result<DefaultRetention, NodeError> {
    if !(1..=DAYS_MAX).contains(&asked.days) {
        let why = format!("a default retention is of 1 to {DAYS_MAX} days");
        return Err(NodeError::Invalid(why));
    }
    Ok(DefaultRetention {
        mode: match asked.mode {
            api::RetentionMode::Governance => RetentionMode::Governance,
            api::RetentionMode::Compliance => RetentionMode::Compliance,
        },
        period: Period::Days(asked.days),
    })
}

/// What a website can be. As PutBucketWebsite reads it.
fn pages(asked: api::WebsitePages) -> Result<Website, NodeError> {
    let invalid = |why: &str| NodeError::Invalid(why.into());
    let index = asked.index;
    if index.is_empty() || index.contains('/') || index.len() > ObjectKey::BYTES_MAX {
        return Err(invalid(
            "the index is the last part of a name, such as index.html, without a slash",
        ));
    }
    let error = asked
        .error
        .map(|key| ObjectKey::parse(key.as_bytes()).map(|_| key));
    let error = error.transpose();
    Ok(Website::Pages {
        index,
        error: error
            .map_err(|_| invalid("the page for errors is the name of an object, such as error.html"))?,
        rules: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn website(index: &str, error: Option<&str>) -> Result<Website, NodeError> {
        pages(api::WebsitePages {
            index: index.into(),
            error: error.map(str::to_owned),
        })
    }

    #[test]
    fn what_a_website_cannot_be_is_refused() {
        assert!(
            website("index.html", None).is_ok() && website("index.html", Some("errors/404.html")).is_ok()
        );
        let long = "x".repeat(ObjectKey::BYTES_MAX + 1);
        for (index, error) in [
            ("", None),
            ("a/b", None),
            (long.as_str(), None),
            ("i", Some("")),
            ("i", Some(&long)),
        ] {
            assert!(website(index, error).is_err(), "{index} {error:?}");
        }
    }

    #[test]
    fn a_default_retention_is_of_some_days_and_no_more_than_a_hundred_years() {
        let of = |days| {
            default_retention(api::DefaultRetention {
                mode: api::RetentionMode::Governance,
                days,
            })
        };
        assert!(of(0).is_err() && of(DAYS_MAX + 1).is_err());
        assert_eq!(of(DAYS_MAX).unwrap().period, Period::Days(DAYS_MAX));
    }
}
