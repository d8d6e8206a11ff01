//! What the admin API says and hears: one type for each JSON document.
//!
//! Every document carries `"schema": 1`. Fields may be added under that number; a change that
//! would mislead a reader of the old form raises it. Sizes are bytes, times RFC 3339 in UTC.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroize;

mod access;
mod apps;
mod buckets;
mod health;
mod history;
mod https;
mod mesh;
mod objects;
mod upkeep;

pub use access::*;
pub use apps::*;
pub use buckets::*;
pub use health::*;
pub use history::*;
pub use https::*;
pub use mesh::*;
pub use objects::*;
pub use upkeep::*;

/// The version of these documents: 1, or the document is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schema;

impl Schema {
    /// The number on the wire.
    pub const NUMBER: u32 = 1;
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(Self::NUMBER)
    }
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            Self::NUMBER => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!(
                "schema {other} is not known here, only {}",
                Self::NUMBER
            ))),
        }
    }
}

impl JsonSchema for Schema {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Schema".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> schemars::Schema {
        json_schema!({ "const": Self::NUMBER, "description": "The version of this document." })
    }
}

/// Reads a document from a JSON object. By itself it would also be read from a list of its fields, which no description tells
/// of: `[null, null]` would be a quota without bounds.
///
/// # Errors
/// It is no object, or not that document.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<T, M::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    from.deserialize_map(Object(PhantomData))
}

/// How safe the data is, in one word; the worst that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything is as it should be.
    Ok,
    /// Something is wrong and no data is in danger.
    Degraded,
    /// Data is lost or may be lost next.
    AtRisk,
    /// Nothing is served.
    Unavailable,
}

/// How the node is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of this document.
    pub schema: Schema,
    /// What people call this mesh.
    pub name: String,
    /// The verdict in one word.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub summary: String,
    /// What is wrong, a sentence each; empty when nothing is.
    pub problems: Vec<String>,
    /// Why the verdict is what it is, and what to do; empty when all is well.
    #[serde(default)]
    pub reasons: Vec<Reason>,
    /// How many copies there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopiesShown>,
    /// What would be lost with each home, and where there are more than two, with any two.
    #[serde(default)]
    pub burned: Vec<Burned>,
    /// The same in a sentence.
    #[serde(default)]
    pub if_burned: String,
    /// The homes that keep the data.
    pub homes: Vec<Home>,
    /// URLs that S3 clients use.
    pub s3: Vec<String>,
    /// How many buckets there are.
    pub buckets: usize,
    /// How many access keys there are.
    pub keys: usize,
    /// Seconds since the node started to serve.
    pub uptime_seconds: u64,
}

/// All buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BucketList {
    /// Version of this document.
    pub schema: Schema,
    /// By name.
    pub buckets: Vec<Bucket>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: String,
    /// Id of the access key that owns it.
    pub owner: String,
    /// What people without a key may do.
    pub public: Public,
}

/// What people without a key may do to a bucket through its access control list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Public {
    /// Nothing.
    No,
    /// Read and list.
    Read,
    /// Read, list and write: only an S3 client sets this.
    ReadWrite,
}

/// A bucket and who may use it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BucketInfo {
    /// Version of this document.
    pub schema: Schema,
    /// The bucket.
    #[serde(flatten)]
    pub bucket: Bucket,
    /// Whether it also has a bucket policy, which may allow or deny more.
    pub policy: bool,
    /// Whether it keeps old versions.
    pub versioning: Versioning,
    /// Its object lock; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<BucketLock>,
    /// How it is served as a website; absent where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub website: Option<WebsiteShown>,
    /// What it is called besides.
    pub aliases: Vec<Alias>,
    /// How much it may hold.
    pub quota: Quota,
    /// What it holds; nothing where too few boxes answer to count that.
    pub holds: Option<Usage>,
    /// The keys that may use it.
    pub keys: Vec<BucketKey>,
}

/// Another name of a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// Id of the access key for which it is; for everybody if there is none.
    pub key: Option<String>,
}

/// Asks to give a bucket another name, or to take it away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAlias {
    /// Version of this document.
    pub schema: Schema,
    /// The name.
    #[schemars(length(min = 3, max = 63))]
    pub alias: String,
    /// Id or name of the access key for which it is to be; for everybody if there is none.
    #[serde(default)]
    pub key: Option<String>,
    /// Whether it is to be there.
    pub on: bool,
}

/// How much may be held; nothing is a bound that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Bytes of content, of all versions and of unfinished uploads.
    pub max_bytes: Option<u64>,
    /// Versions that are no delete markers.
    pub max_objects: Option<u64>,
}

/// What is held, counted as a quota bounds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Bytes of content.
    pub bytes: u64,
    /// Versions.
    pub objects: u64,
}

/// Asks to bound what a bucket may hold, or all buckets that a key owns; a bound that is not named goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuota {
    /// Version of this document.
    pub schema: Schema,
    /// What may be held from now on.
    #[serde(deserialize_with = "object")]
    pub quota: Quota,
}

/// What a key may do to the bucket it is listed under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BucketKey {
    /// The key's id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    #[serde(flatten)]
    pub grants: Grants,
}

/// What a key may do to a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Grants {
    /// Read and list objects.
    #[serde(default)]
    pub read: bool,
    /// Write and delete objects.
    #[serde(default)]
    pub write: bool,
    /// Delete the bucket and change its settings.
    #[serde(default)]
    pub owner: bool,
}

/// Asks for a new bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBucket {
    /// Version of this document.
    pub schema: Schema,
    /// Its name.
    #[schemars(length(min = 3, max = 63))]
    pub name: String,
    /// Id or name of the key that will own it; the oldest that may create buckets if not given.
    #[serde(default)]
    pub owner: Option<String>,
}

/// Asks to open a bucket to people without a key, or to close it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPublic {
    /// Version of this document.
    pub schema: Schema,
    /// Whether anyone may read and list.
    pub public: bool,
}

/// All access keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// Version of this document.
    pub schema: Schema,
    /// By id.
    pub keys: Vec<Key>,
}

/// An access key without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// The public half.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// When it was created or imported.
    pub created: String,
    /// Whether it may create buckets.
    pub create_buckets: bool,
    /// How much all buckets together may hold that it owns.
    pub quota: Quota,
    /// What it may do, bucket by bucket.
    pub buckets: Vec<KeyBucket>,
}

/// What the key may do to one bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyBucket {
    /// The bucket's name.
    pub bucket: String,
    /// What it may do.
    #[serde(flatten)]
    pub grants: Grants,
}

/// An access key on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeyInfo {
    /// Version of this document.
    pub schema: Schema,
    /// The key.
    #[serde(flatten)]
    pub key: Key,
}

/// A secret, wiped from memory after use; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret on its way to where it is needed.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key just made, with its secret: the only document that holds one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedKey {
    /// Version of this document.
    pub schema: Schema,
    /// The key.
    #[serde(flatten)]
    pub key: Key,
    /// Its secret half.
    pub secret: Secret,
}

/// Asks for a new access key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// Version of this document.
    pub schema: Schema,
    /// What people will call it.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Whether it may create buckets.
    #[serde(default)]
    pub create_buckets: bool,
    /// Id and secret of a key brought from elsewhere; made up if not given.
    #[serde(default)]
    pub import: Option<ImportedKey>,
}

/// The halves of a key brought from elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportedKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: Secret,
}

/// Asks to give permissions to a key, or to take them away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeKey {
    /// Version of this document.
    pub schema: Schema,
    /// Permissions on one bucket.
    #[serde(default)]
    pub on: Option<KeyBucket>,
    /// Also the permission to create buckets.
    #[serde(default)]
    pub create_buckets: bool,
}

/// Whether a change gives or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Gives what is named.
    Allow,
    /// Takes what is named.
    Deny,
}

/// The configuration the node runs with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigShown {
    /// Version of this document.
    pub schema: Schema,
    /// In the order of the manual.
    pub settings: Vec<Setting>,
}

/// The end of the log of a box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogShown {
    /// Version of this document.
    pub schema: Schema,
    /// Lines, oldest first.
    pub lines: Vec<String>,
}

/// One setting, and who set it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Setting {
    /// Its key in the configuration file, e.g. `s3.address`.
    pub key: String,
    /// Its value as the configuration file would have it.
    pub value: String,
    /// Where it comes from, e.g. `--s3`, `WARREN_S3`, a file or `default`.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_document_names_its_schema() {
        let text = serde_json::to_string(&SetPublic {
            schema: Schema,
            public: true,
        })
        .unwrap();
        assert_eq!(text, r#"{"schema":1,"public":true}"#);
    }

    #[test]
    fn a_document_of_another_schema_is_refused() {
        let error = serde_json::from_str::<SetPublic>(r#"{"schema":2,"public":true}"#).unwrap_err();
        assert!(error.to_string().contains("schema 2 is not known here"));
    }

    #[test]
    fn a_list_is_not_taken_for_what_has_names() {
        let read = |text| serde_json::from_str::<SetQuota>(text).map_err(|error| error.to_string());
        let error = read(r#"{"schema":1,"quota":[null,null]}"#).unwrap_err();
        assert!(error.contains("expected an object"), "{error}");
        let quota = read(r#"{"schema":1,"quota":{"max_bytes":7}}"#).unwrap().quota;
        assert_eq!((quota.max_bytes, quota.max_objects), (Some(7), None));
        assert!(read(r#"{"schema":1,"quota":{},"max_bytes":7}"#).is_err());
    }

    #[test]
    fn a_secret_is_never_in_debug_output() {
        let import = ImportedKey {
            id: "id".into(),
            secret: Secret::new("hunter2".into()),
        };
        assert!(!format!("{import:?}").contains("hunter2"));
    }
}
