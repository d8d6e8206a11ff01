//! ListParts.

use storage::model::{Bucket, ObjectKey};

use super::listing::{checksum_algorithm, given, page_max};
use super::multipart::{checksum_element, type_name, upload_id};
use super::user::User;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, xml};
use crate::xml::{KeyEncoding, XmlWriter};

/// Lists the parts of an upload that is neither complete nor aborted.
pub(crate) async fn list_parts(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let upload = upload_id(&call.query)?;
    let max = page_max(&call.query, "max-parts")?;
    let marker = match given(&call.query, "part-number-marker") {
        None => None,
        // A marker behind the last part that can be is followed by none.
        Some(text) => Some(
            text.parse::<u32>()
                .map(|n| u16::try_from(n).unwrap_or(u16::MAX))
                .map_err(|_| {
                    let message = "Argument part-number-marker must be an integer between 0 and 2147483647";
                    S3Error::invalid_argument("part-number-marker", text, message)
                })?,
        ),
    };
    let page = call
        .gateway
        .store
        .list_parts(bucket, key, upload, marker, max)
        .await?;
    let next = page.next.filter(|_| max > 0);
    let encoding = match call.query.get("encoding-type") {
        Some("url") => KeyEncoding::Url,
        _ => KeyEncoding::Plain,
    };
    let mut document = XmlWriter::document();
    document.root("ListPartsResult", |xml| {
        xml.text("Bucket", bucket.name.as_str());
        xml.key("Key", key.as_str(), encoding);
        xml.text("UploadId", &upload.to_string());
        xml.number("PartNumberMarker", marker.unwrap_or(0).into());
        if let Some(next) = next {
            xml.number("NextPartNumberMarker", next.get().into());
        }
        xml.number("MaxParts", max as u64);
        xml.boolean("IsTruncated", next.is_some());
        checksum_algorithm(xml, page.upload.checksum);
        if page.upload.checksum.is_some() {
            xml.text("ChecksumType", type_name(page.upload.full_object));
        }
        for part in &page.parts {
            xml.element("Part", |xml| {
                xml.number("PartNumber", part.number.get().into());
                xml.time("LastModified", part.modified);
                xml.etag("ETag", part.etag);
                xml.number("Size", part.size);
                checksum_element(xml, part.checksum.as_ref());
            });
        }
        let store = &call.gateway.store;
        User::initiator(store, page.upload.initiator.as_ref()).element(xml, "Initiator");
        User::of(store, &bucket.owner).element(xml, "Owner");
        xml.text("StorageClass", page.upload.class.name());
    });
    Ok(xml(document.finish()))
}
