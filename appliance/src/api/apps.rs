//! What the admin API says and hears of connecting an app: a test that does what an app does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;

/// Asks to test what an app could do with an access key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestApp {
    /// Version of this document.
    pub schema: Schema,
    /// The bucket that the app would use.
    pub bucket: String,
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppTested {
    /// Version of this document.
    pub schema: Schema,
    /// Where it was done: what an app is told as the endpoint.
    pub endpoint: String,
    /// What people call the key.
    pub key: String,
    /// The bucket.
    pub bucket: String,
    /// Whether every step worked.
    pub works: bool,
    /// What was done, in order.
    pub steps: Vec<AppStep>,
    /// What is left of the test although it should not be; empty where all is removed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub left: String,
}

/// A step of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AppStep {
    /// What was done, e.g. `Store an object`.
    pub what: String,
    /// What came of it.
    pub outcome: StepOutcome,
    /// How long it took.
    pub seconds: f64,
    /// Why it did not work; empty where it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It worked.
    Worked,
    /// It did not.
    Failed,
    /// It was not tried, because a step before did not work.
    Skipped,
}
