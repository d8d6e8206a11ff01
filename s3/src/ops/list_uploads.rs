//! ListMultipartUploads.

use storage::model::{Bucket, UploadId};
use storage::{ListUploads, ListedUpload};

use super::listing::{Listing, checksum_algorithm, given};
use super::user::User;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, xml};
use crate::xml::XmlWriter;

/// Lists the uploads that are neither complete nor aborted.
pub(crate) async fn list_multipart_uploads(call: &Call, bucket: &Bucket) -> S3Result<Reply> {
    let listing = Listing::parse(&call.query, "max-uploads")?;
    let key_marker = given(&call.query, "key-marker");
    // Without a key marker an upload marker says nothing.
    let upload_marker = given(&call.query, "upload-id-marker").filter(|_| key_marker.is_some());
    let after_upload =
        match upload_marker {
            None => None,
            Some(text) => Some(UploadId::parse(text).ok_or_else(|| {
                S3Error::invalid_argument("upload-id-marker", text, "Invalid uploadId marker")
            })?),
        };
    let list = ListUploads {
        prefix: listing.prefix.to_owned(),
        delimiter: listing.delimiter.map(str::to_owned),
        after: key_marker.map(str::to_owned),
        after_upload,
        max: listing.max,
    };
    let page = call.gateway.store.list_uploads(bucket, list).await?;
    let next = page.next.filter(|_| listing.max > 0);
    let mut document = XmlWriter::document();
    document.root("ListMultipartUploadsResult", |xml| {
        xml.text("Bucket", bucket.name.as_str());
        listing.key(xml, "KeyMarker", key_marker.unwrap_or_default());
        xml.text("UploadIdMarker", upload_marker.unwrap_or_default());
        listing.repeat(xml, "MaxUploads");
        xml.boolean("IsTruncated", next.is_some());
        if let Some((key, upload)) = &next {
            listing.key(xml, "NextKeyMarker", key);
            xml.text(
                "NextUploadIdMarker",
                &upload.map(|id| id.to_string()).unwrap_or_default(),
            );
        }
        let store = &call.gateway.store;
        let owner = User::of(store, &bucket.owner);
        for upload in &page.uploads {
            let initiator = User::initiator(store, upload.initiator.as_ref());
            entry(xml, &listing, upload, (&initiator, &owner));
        }
        listing.prefixes(xml, &page.prefixes);
    });
    Ok(xml(document.finish()))
}

fn entry(
    xml: &mut XmlWriter,
    listing: &Listing<'_>,
    upload: &ListedUpload,
    (initiator, owner): (&User, &User),
) {
    xml.element("Upload", |xml| {
        listing.key(xml, "Key", upload.key.as_str());
        xml.text("UploadId", &upload.upload.to_string());
        initiator.element(xml, "Initiator");
        owner.element(xml, "Owner");
        xml.text("StorageClass", upload.class.name());
        xml.time("Initiated", upload.started);
        checksum_algorithm(xml, upload.checksum);
        if upload.checksum.is_some() {
            xml.text("ChecksumType", super::multipart::type_name(upload.full_object));
        }
    });
}
