//! Finds the one query parameter that says what a request is about.

use super::{DefaultSetting, Setting, UnsetSetting};
use crate::error::{S3Error, S3Result};
use crate::uri::Query;

/// The one query parameter that says what a request is about; the rest are arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubResource {
    Nothing,
    Acl,
    Delete,
    Location,
    Policy,
    PolicyStatus,
    Notification,
    Logging,
    Upload,
    Uploads,
    Versioning,
    Versions,
    ObjectLock,
    Retention,
    LegalHold,
    Attributes,
    Tagging,
    Setting(Setting),
    Default(DefaultSetting),
    Unset(UnsetSetting),
}

/// Sub-resources of S3 that Warren does not know, also where they come with a value.
pub(super) const UNKNOWN: [&str; 16] = [
    "abac",
    "analytics",
    "append",
    "intelligent-tiering",
    "inventory",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "renameObject",
    "restore",
    "select",
    "select-type",
    "session",
    "torrent",
];

/// Parameters that may come without a value and are no sub-resources.
const ARGUMENTS: [&str; 15] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
];

impl SubResource {
    /// The sub-resource a parameter names, if it is one.
    fn of(name: &str, value: &str) -> S3Result<Option<Self>> {
        Ok(Some(match name {
            "acl" => Self::Acl,
            "delete" => Self::Delete,
            "location" => Self::Location,
            "policy" => Self::Policy,
            "policyStatus" => Self::PolicyStatus,
            "uploadId" => Self::Upload,
            "uploads" => Self::Uploads,
            "versioning" => Self::Versioning,
            "versions" => Self::Versions,
            "object-lock" => Self::ObjectLock,
            "retention" => Self::Retention,
            "legal-hold" => Self::LegalHold,
            "attributes" => Self::Attributes,
            "tagging" => Self::Tagging,
            "accelerate" => Self::Default(DefaultSetting::Accelerate),
            "requestPayment" => Self::Default(DefaultSetting::RequestPayment),
            "logging" => Self::Logging,
            "notification" => Self::Notification,
            "cors" => Self::Setting(Setting::Cors),
            "lifecycle" => Self::Setting(Setting::Lifecycle),
            "website" => Self::Setting(Setting::Website),
            "encryption" => Self::Setting(Setting::Encryption),
            "replication" => Self::Unset(UnsetSetting::Replication),
            "publicAccessBlock" => Self::Setting(Setting::PublicAccessBlock),
            "ownershipControls" => Self::Setting(Setting::OwnershipControls),
            _ if UNKNOWN.contains(&name) => return unknown(name),
            // Every sub-resource is a bare name; one invented after this was written must not become
            // a GetObject or, worse, a PutObject.
            _ if value.is_empty() && name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                return if ARGUMENTS.contains(&name) {
                    Ok(None)
                } else {
                    unknown(name)
                };
            }
            _ => return Ok(None),
        }))
    }

    /// Whether a write to it may name a version.
    pub(super) const fn is_of_a_version(self) -> bool {
        matches!(
            self,
            Self::Acl | Self::Tagging | Self::Retention | Self::LegalHold
        )
    }

    /// The sub-resource of a query; two at once mean nothing.
    pub(super) fn in_query(query: &Query) -> S3Result<Self> {
        let mut found = Self::Nothing;
        for (name, value) in query.iter() {
            let Some(sub_resource) = Self::of(name, value)? else {
                continue;
            };
            if found != Self::Nothing {
                return Err(S3Error::invalid_argument(
                    "ResourceType",
                    name,
                    "Conflicting query string parameters: a request is about one sub-resource.",
                ));
            }
            found = sub_resource;
        }
        Ok(found)
    }
}

fn unknown<T>(name: &str) -> S3Result<T> {
    Err(S3Error::not_implemented(format!(
        "The sub-resource ?{name} is not implemented."
    )))
}
