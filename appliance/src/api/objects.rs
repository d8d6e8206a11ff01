//! What the admin API says and hears of objects, their versions, and uploads that are not finished.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schema, Secret};

/// Whether a bucket keeps the version that a write or a delete replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Versioning {
    /// It never did.
    Off,
    /// It does.
    On,
    /// It did: what was kept stays.
    Suspended,
}

/// Asks to keep versions in a bucket from now on, or to keep no more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetVersioning {
    /// Version of this document.
    pub schema: Schema,
    /// Whether versions are kept.
    pub on: bool,
}

/// Which objects to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListObjects {
    /// Only those whose names begin so.
    pub prefix: String,
    /// Names with this text after the prefix are one folder.
    pub delimiter: Option<String>,
    /// Only those after this name or folder.
    pub after: Option<String>,
    /// Objects and folders at most, 1 to 1000.
    pub max: u32,
}

/// Some objects of a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectList {
    /// Version of this document.
    pub schema: Schema,
    /// What names have in common up to the delimiter, in byte order.
    pub folders: Vec<String>,
    /// In byte order of their names.
    pub objects: Vec<ListedObject>,
    /// Set when there are more: what to send as `after` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedObject {
    /// Its name.
    pub key: String,
    /// Bytes of content.
    pub size: u64,
    /// When it was stored.
    pub modified: String,
    /// Entity tag.
    pub etag: String,
}

/// Which versions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListVersions {
    /// Which objects.
    pub of: ListObjects,
    /// Only versions of the object `of.after` that are older than this one, and objects after it.
    pub after_version: Option<String>,
}

/// Some versions of a bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VersionList {
    /// Version of this document.
    pub schema: Schema,
    /// What names have in common up to the delimiter, in byte order.
    pub folders: Vec<String>,
    /// In byte order of their names, the newest of each first.
    pub versions: Vec<ListedVersion>,
    /// Set when there are more: what to send as `after` for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Set beside `next` when there are more of that name: what to send as `after_version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_version: Option<String>,
}

/// A version of an object, or the mark that it was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedVersion {
    /// The object's name.
    pub key: String,
    /// Its name; `null` where none were kept when it was stored.
    pub version: String,
    /// Whether it is the newest.
    pub latest: bool,
    /// Whether it is the mark of a delete, which has no content.
    pub delete_marker: bool,
    /// Bytes of content.
    pub size: u64,
    /// When it was stored.
    pub modified: String,
}

/// An object, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectAt {
    /// Its name.
    pub key: String,
    /// Which version; the newest if none.
    pub version: Option<String>,
}

/// All about an object but its bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectInfo {
    /// Version of this document.
    pub schema: Schema,
    /// Its name.
    pub key: String,
    /// Which version.
    pub version: String,
    /// Whether that is the newest.
    pub latest: bool,
    /// Bytes of content.
    pub size: u64,
    /// When it was stored.
    pub modified: String,
    /// Entity tag.
    pub etag: String,
    /// What whoever stored it said that it is: a media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// How it is encoded, such as `gzip`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Until when nobody can delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<String>,
    /// Whether a legal hold keeps it.
    #[serde(default)]
    pub held: bool,
    /// Whether it takes a key that only its owner has to read it.
    #[serde(default)]
    pub sealed_by_customer: bool,
}

/// Pictures that browsers draw and that can hold no script, and how the names of such files end. Never SVG, which can.
const PICTURES: [(&str, &[&str]); 6] = [
    ("image/jpeg", &["jpg", "jpeg"]),
    ("image/png", &["png"]),
    ("image/gif", &["gif"]),
    ("image/webp", &["webp"]),
    ("image/avif", &["avif"]),
    ("image/bmp", &["bmp"]),
];

/// What programs say that do not know.
const ANYTHING: [&str; 2] = ["application/octet-stream", "binary/octet-stream"];

impl ObjectInfo {
    /// What it is called without the folders it is in.
    pub fn file_name(&self) -> &str {
        let name = self.key.trim_end_matches('/');
        let name = name.rsplit('/').next().unwrap_or_default();
        if name.is_empty() { "object" } else { name }
    }

    /// The media type of the picture it is, if it is one that can be shown: as whoever stored it said, or where they did not,
    /// by its name.
    pub fn picture(&self) -> Option<&'static str> {
        if self.encoding.is_some() || self.sealed_by_customer {
            return None;
        }
        let said = self.media.as_deref().unwrap_or(ANYTHING[0]);
        let said = said
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let is_unsaid = ANYTHING.contains(&said.as_str());
        let ending = self
            .file_name()
            .rsplit_once('.')
            .map(|(_, ending)| ending.to_ascii_lowercase());
        let fits = |(media, endings): &&(&str, &[&str])| match is_unsaid {
            true => ending.as_deref().is_some_and(|ending| endings.contains(&ending)),
            false => *media == said,
        };
        PICTURES.iter().find(fits).map(|(media, _)| *media)
    }
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoredObject {
    /// Version of this document.
    pub schema: Schema,
    /// Its name.
    pub key: String,
    /// Which version, where the bucket ever kept some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Bytes of content.
    pub size: u64,
    /// Entity tag.
    pub etag: String,
}

/// Asks to bring back a version: it becomes the newest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreObject {
    /// Version of this document.
    pub schema: Schema,
    /// The object's name.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// Which version; where none is named, the one that was deleted last.
    #[serde(default)]
    pub version: Option<String>,
}

/// Asks for a link that opens one object to whoever has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShareObject {
    /// Version of this document.
    pub schema: Schema,
    /// The object's name.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// Which version; whichever is the newest if none.
    #[serde(default)]
    pub version: Option<String>,
    /// For how long, in seconds: 604,800 at most, which are seven days.
    #[schemars(range(min = 1, max = 604_800))]
    pub seconds: u64,
    /// Whether it leads over HTTPS, which whoever opens it has to trust.
    #[serde(default)]
    pub https: bool,
}

/// A link that opens one object to whoever has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Shared {
    /// Version of this document.
    pub schema: Schema,
    /// The object's name.
    pub key: String,
    /// The link.
    pub url: Secret,
    /// Until when it works.
    pub expires: String,
    /// Id of the access key that signed it: deleting that ends all links of this bucket.
    pub signed_by: String,
    /// What people call that access key.
    pub signer: String,
}

/// Uploads that were begun and are not finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UploadList {
    /// Version of this document.
    pub schema: Schema,
    /// By name, a thousand at most.
    pub uploads: Vec<ListedUpload>,
}

/// An upload that is not finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ListedUpload {
    /// The name of the object to be.
    pub key: String,
    /// Its id.
    pub upload: String,
    /// When it was begun.
    pub started: String,
}

/// Asks to begin an upload in parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartUpload {
    /// Version of this document.
    pub schema: Schema,
    /// The name of the object to be.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// What it will be: a media type.
    #[serde(default)]
    pub media: Option<String>,
}

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadAt {
    /// The name of the object to be.
    pub key: String,
    /// Its id.
    pub upload: String,
}

/// An upload that was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StartedUpload {
    /// Version of this document.
    pub schema: Schema,
    /// Its id.
    pub upload: String,
}

/// The parts of an upload that are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartList {
    /// Version of this document.
    pub schema: Schema,
    /// By number, all of them.
    pub parts: Vec<StoredPart>,
}

/// A part that is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoredPart {
    /// Its number, 1 to 10,000.
    pub number: u16,
    /// Bytes of content.
    pub size: u64,
    /// Entity tag.
    pub etag: String,
}

/// A part, just stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartInfo {
    /// Version of this document.
    pub schema: Schema,
    /// The part.
    #[serde(flatten)]
    pub part: StoredPart,
}

/// Asks to make all parts of an upload the object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteUpload {
    /// Version of this document.
    pub schema: Schema,
    /// The name of the object to be.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// The id of the upload.
    pub upload: String,
    /// How many bytes all parts have together: otherwise nothing is stored.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, media: Option<&str>, picture: Option<&str>) {
        let object = ObjectInfo {
            schema: Schema,
            key: key.into(),
            version: "null".into(),
            latest: true,
            size: 1,
            modified: String::new(),
            etag: String::new(),
            media: media.map(str::to_owned),
            encoding: None,
            locked_until: None,
            held: false,
            sealed_by_customer: false,
        };
        assert_eq!(object.picture(), picture, "{key} {media:?}");
    }

    #[test]
    fn only_what_can_hold_no_script_is_shown_as_a_picture() {
        check("a.jpg", Some("image/jpeg"), Some("image/jpeg"));
        check("a", Some("Image/PNG; x=y"), Some("image/png"));
        check("d/a.JPG", None, Some("image/jpeg"));
        check("a.webp", Some("binary/octet-stream"), Some("image/webp"));
        // What was said counts more than how the name ends.
        check("a.png", Some("text/html"), None);
        check("a.svg", Some("image/svg+xml"), None);
        check("a.svg", None, None);
        check("jpg", None, None);
    }
}
