//! ListObjectVersions.

use storage::model::{Bucket, VersionId};
use storage::{ListVersions, ListedVersion};

use super::listing::{Listing, bucket_name, checksum_algorithm, given, owner_for};
use super::user::User;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::response::{Reply, xml};
use crate::xml::XmlWriter;

/// Lists every version of every key; where versioning is off, each has one called `null`.
pub(crate) async fn list_object_versions(call: &Call, bucket: &Bucket) -> S3Result<Reply> {
    let listing = Listing::parse(&call.query, "max-keys")?;
    let key_marker = given(&call.query, "key-marker");
    let version_marker = given(&call.query, "version-id-marker");
    let list = ListVersions {
        prefix: listing.prefix.to_owned(),
        delimiter: listing.delimiter.map(str::to_owned),
        after: key_marker.map(str::to_owned),
        after_version: after_version(key_marker, version_marker)?,
        max: listing.max,
    };
    let page = call.gateway.store.list_versions(bucket, list).await?;
    let next = page.next.filter(|_| listing.max > 0);
    let mut document = XmlWriter::document();
    document.root("ListVersionsResult", |xml| {
        bucket_name(xml, &bucket.name);
        listing.key(xml, "KeyMarker", key_marker.unwrap_or_default());
        xml.text("VersionIdMarker", version_marker.unwrap_or_default());
        listing.repeat(xml, "MaxKeys");
        xml.boolean("IsTruncated", next.is_some());
        if let Some((key, version)) = &next {
            listing.key(xml, "NextKeyMarker", key);
            if let Some(version) = version {
                xml.text("NextVersionIdMarker", &version.to_string());
            }
        }
        let owner = owner_for(call, bucket);
        for version in &page.versions {
            entry(xml, &listing, version, owner.as_ref());
        }
        listing.prefixes(xml, &page.prefixes);
    });
    Ok(xml(document.finish()))
}

fn after_version(key: Option<&str>, version: Option<&str>) -> S3Result<Option<VersionId>> {
    let Some(text) = version else {
        return Ok(None);
    };
    if key.is_none() {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(S3Error::invalid_argument("version-id-marker", text, message));
    }
    VersionId::parse(text)
        .map(Some)
        .map_err(|_| S3Error::invalid_argument("version-id-marker", text, "Invalid version id specified"))
}

fn entry(xml: &mut XmlWriter, listing: &Listing<'_>, version: &ListedVersion, owner: Option<&User>) {
    let facts = &version.facts;
    let name = if version.delete_marker {
        "DeleteMarker"
    } else {
        "Version"
    };
    xml.element(name, |xml| {
        listing.key(xml, "Key", version.key.as_str());
        xml.text("VersionId", &version.version.to_string());
        xml.boolean("IsLatest", version.latest);
        xml.time("LastModified", facts.modified);
        if !version.delete_marker {
            xml.etag("ETag", facts.etag);
            checksum_algorithm(xml, facts.checksum);
            xml.number("Size", facts.size);
            xml.text("StorageClass", facts.class.name());
        }
        if let Some(owner) = owner {
            owner.element(xml, "Owner");
        }
    });
}
