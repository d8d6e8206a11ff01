//! GetObjectTagging, and the answer to GetObjectRetention and GetObjectLegalHold where nothing is locked.

use storage::model::{Bucket, ObjectKey};

use super::get_object::{open, tell_version};
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, xml};
use crate::xml::XmlWriter;

/// Says which tags an object has; none is an empty set.
pub(crate) async fn get_object_tagging(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let object = open(call, bucket, key).await?;
    let mut document = XmlWriter::document();
    document.root("Tagging", |xml| {
        xml.element("TagSet", |xml| {
            for (name, value) in &object.info().headers.tags {
                xml.element("Tag", |xml| {
                    xml.text("Key", name);
                    xml.text("Value", value);
                });
            }
        });
    });
    let mut reply = xml(document.finish());
    tell_version(reply.headers_mut(), bucket, object.info());
    Ok(reply)
}

/// Says that an object is not locked.
pub(crate) async fn get_object_lock(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    open(call, bucket, key).await?;
    Err(S3Error::new(S3Code::NoSuchObjectLockConfiguration))
}
