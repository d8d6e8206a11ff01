//! What clients do: objects, uploads, buckets and access keys, each operation one straight story.

mod aliases;
mod amend;
pub(crate) mod archives;
#[cfg(test)]
mod archives_tests;
mod body;
mod buckets;
mod commit;
mod complete;
mod copy;
mod delete;
mod digest;
mod events;
mod get;
mod ingest;
mod keeping;
mod keys;
mod list;
mod list_uploads;
mod list_versions;
mod multipart;
#[cfg(test)]
mod naming_tests;
mod put;
mod quota;
mod read;
mod roll_up;

pub use aliases::Alias;
pub use body::{Claims, ObjectBody};
pub use complete::{CompleteUpload, CompletedPart};
pub use copy::{CopyBody, CopyObject};
pub use delete::{DeleteOutcome, DeleteTarget};
pub use events::NotedKey;
pub(crate) use events::{
    Events, answer as answer_about_events, ask as ask_for_events, hand_on as hand_on_events, is_about_events,
};
pub(crate) use get::OpenedVersion;
pub use get::{Object, ObjectInfo};
pub use keys::NewKey;
pub use list::{ListObjects, ListedFacts, ObjectPage};
pub use list_uploads::{ListUploads, ListedUpload, UploadPage};
pub use list_versions::{ListVersions, ListedVersion, VersionPage};
pub use multipart::{ListedPart, NewUpload, PartOutcome, PartPage, UploadInfo};
pub use put::{NewObject, PutOutcome};
pub use quota::QuotaOf;
pub(crate) use quota::{Counts, answer as answer_about_usage, is_about_usage};
pub use read::ObjectReader;

/// The largest object one PUT, one part or one copy makes: 5 GiB.
pub(crate) const PUT_BYTES_MAX: u64 = 5 << 30;
