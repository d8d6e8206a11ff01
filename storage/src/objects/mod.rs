//! What clients do: objects, uploads, buckets and access keys, each operation one straight story.

mod body;
mod buckets;
mod copy;
mod delete;
mod get;
mod keys;
mod list;
mod multipart;
mod put;

pub use body::{Claims, ObjectBody};
pub use copy::CopyObject;
pub use delete::{DeleteOutcome, DeleteTarget};
pub use get::{Object, ObjectInfo, ObjectReader};
pub use keys::NewKey;
pub use list::{
    ListObjects, ListUploads, ListVersions, ListedObject, ListedUpload, ListedVersion, ObjectPage,
    UploadPage, VersionPage,
};
pub use multipart::{
    CompleteUpload, CompletedPart, ListedPart, NewUpload, PartOutcome, PartPage, UploadInfo,
};
pub use put::{NewObject, PutOutcome};
