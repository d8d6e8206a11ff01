//! Reads the XML documents clients send and writes those they get.

mod documents;
mod read;
mod write;

pub use documents::{CompleteMultipartUpload, Delete, DeleteEntry, parse_create_bucket, parse_versioning};
pub(crate) use read::malformed;
pub use read::{BODY_BYTES_MAX, Element, parse};
pub(crate) use write::hex_digits;
pub use write::{KeyEncoding, XmlWriter};
