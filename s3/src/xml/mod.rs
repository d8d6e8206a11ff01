//! Reads the XML documents clients send and writes those they get.

mod documents;
mod read;
mod write;

pub use documents::{
    CompleteMultipartUpload, CreateBucketConfiguration, Delete, DeleteEntry, VersioningStatus,
    parse_versioning,
};
pub use read::{BODY_BYTES_MAX, Element, parse};
pub use write::{KeyEncoding, NAMESPACE, XmlWriter};
