//! Reads the XML documents clients send and writes those they get.

mod documents;
mod locks;
mod read;
mod write;

pub use documents::{CompleteMultipartUpload, Delete, DeleteEntry, parse_create_bucket, parse_versioning};
pub(crate) use locks::{
    legal_hold_document, mode_name, mode_of, object_lock_document, parse_legal_hold, parse_object_lock,
    parse_retention, retention_document,
};
pub(crate) use read::malformed;
pub use read::{BODY_BYTES_MAX, Element, parse};
pub(crate) use write::hex_digits;
pub use write::{KeyEncoding, XmlWriter};
