//! What the admin API says and hears of how buckets keep and show what is in them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;

/// How a retention binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetentionMode {
    /// Whoever may bypass it can shorten or remove it.
    Governance,
    /// Nobody can shorten or remove it.
    Compliance,
}

/// How long new versions stay that are put without a retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultRetention {
    /// How it binds.
    pub mode: RetentionMode,
    /// For how many days; a year has 365.
    #[schemars(range(min = 1, max = 36_500))]
    pub days: u32,
}

/// The object lock of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BucketLock {
    /// How long new versions stay; absent where only those stay that are put with a retention.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<DefaultRetention>,
}

/// Asks to give a bucket an object lock, which it keeps for good, or another default retention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLock {
    /// Version of this document.
    pub schema: Schema,
    /// How long new versions stay; those that are there keep theirs. Absent or null: only those that are put with a retention.
    #[serde(default)]
    pub retention: Option<DefaultRetention>,
}

/// How a bucket is served as a website.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum WebsiteShown {
    /// Its objects are pages.
    Pages {
        /// What is appended to a path that ends with `/`.
        index: String,
        /// The page that is shown for errors.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Redirects: only an S3 client sets these.
        rules: usize,
    },
    /// Every request is sent to another host: only an S3 client sets this.
    Elsewhere {
        /// Which.
        host: String,
    },
}

/// Asks to serve a bucket as a website, or no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetWebsite {
    /// Version of this document.
    pub schema: Schema,
    /// Its pages; absent or null: it is no website. Redirects that an S3 client set go either way.
    #[serde(default)]
    pub pages: Option<WebsitePages>,
}

/// The pages of a website.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebsitePages {
    /// What is appended to a path that ends with `/`, e.g. `index.html`; no `/` is in it.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^[^/]+$"))]
    pub index: String,
    /// The object that is shown for errors.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    pub error: Option<String>,
}
