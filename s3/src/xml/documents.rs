//! The documents clients send, read into what they ask for.

use storage::CompletedPart;
use storage::model::{ChecksumAlgorithm, ETag, PartNumber};

use super::read::{Element, malformed, parse};
use crate::checksum;
use crate::error::{S3Error, S3Result};

/// The parts a `CompleteMultipartUpload` names, in the client's order: 1 to 10,000.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteMultipartUpload {
    /// As the client wrote them; whether they ascend is the store's to judge.
    pub parts: Vec<CompletedPart>,
}

impl CompleteMultipartUpload {
    /// Reads the body of CompleteMultipartUpload.
    ///
    /// # Errors
    /// `MalformedXML` (also for no part at all), `InvalidArgument` for a part number outside 1–10000,
    /// `InvalidRequest` for a malformed or second checksum of a part.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        let root = parse(body, "CompleteMultipartUpload")?;
        let parts: Vec<_> = root.all("Part").map(part).collect::<S3Result<_>>()?;
        if parts.is_empty() || parts.len() > 10_000 {
            return Err(malformed());
        }
        Ok(Self { parts })
    }
}

fn part(element: &Element<'_>) -> S3Result<CompletedPart> {
    let number = element.required("PartNumber")?.text().trim();
    let number: i64 = number.parse().map_err(|_| malformed())?;
    let number = u16::try_from(number)
        .ok()
        .and_then(|n| PartNumber::new(n).ok())
        .ok_or_else(|| {
            let message = "PartNumber must be an integer between 1 and 10000, inclusive.";
            S3Error::invalid_argument("PartNumber", number.to_string(), message)
        })?;
    let etag = ETag::parse(element.required("ETag")?.text().trim()).ok();
    let mut checksum = None;
    for algorithm in ChecksumAlgorithm::ALL {
        let Some(text) = element.optional_text(checksum::element_name(algorithm))? else {
            continue;
        };
        if checksum
            .replace(checksum::parse_value(algorithm, text)?)
            .is_some()
        {
            return Err(S3Error::invalid_request("A part has at most one checksum."));
        }
    }
    Ok(CompletedPart {
        number,
        etag,
        checksum,
    })
}

/// What a multi-delete asks for: 1 to 1000 objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// In the client's order.
    pub objects: Vec<DeleteEntry>,
    /// Report only failures.
    pub quiet: bool,
}

/// One object of a multi-delete, as text: a bad key or version is an answer of its own, not the end of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteEntry {
    /// The key, white space and all; never empty.
    pub key: String,
    /// `VersionId`.
    pub version_id: Option<String>,
    /// `ETag`: delete only if the object has this tag.
    pub etag: Option<String>,
}

impl Delete {
    /// Reads the body of DeleteObjects.
    ///
    /// # Errors
    /// `MalformedXML`, also for no object, more than 1000 of them, or an empty key.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        let root = parse(body, "Delete")?;
        let objects: Vec<_> = root.all("Object").map(delete_entry).collect::<S3Result<_>>()?;
        if objects.is_empty() || objects.len() > 1000 {
            return Err(malformed());
        }
        let quiet = root.optional_boolean("Quiet")?.unwrap_or(false);
        Ok(Self { objects, quiet })
    }
}

fn delete_entry(element: &Element<'_>) -> S3Result<DeleteEntry> {
    let key = element.required("Key")?.text().to_owned();
    if key.is_empty() {
        return Err(malformed());
    }
    let text = |name| -> S3Result<Option<String>> {
        let text = element.optional_text(name)?.map(str::trim);
        Ok(text.filter(|text| !text.is_empty()).map(str::to_owned))
    };
    Ok(DeleteEntry {
        key,
        version_id: text("VersionId")?,
        etag: text("ETag")?,
    })
}

/// Where a `CreateBucketConfiguration` wants a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateBucketConfiguration {
    /// `LocationConstraint`, if it says one.
    pub location: Option<String>,
}

impl CreateBucketConfiguration {
    /// Reads the body of CreateBucket; no body says nothing.
    ///
    /// # Errors
    /// `MalformedXML`.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let root = parse(body, "CreateBucketConfiguration")?;
        let location = root.optional_text("LocationConstraint")?.map(str::trim);
        Ok(Self {
            location: location.filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }
}

/// What a `VersioningConfiguration` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersioningStatus {
    /// Keep old versions.
    Enabled,
    /// Stop keeping old versions.
    Suspended,
}

/// Reads the body of PutBucketVersioning.
///
/// # Errors
/// `MalformedXML`, also for a status that is neither.
pub fn parse_versioning(body: &[u8]) -> S3Result<VersioningStatus> {
    match parse(body, "VersioningConfiguration")?
        .required("Status")?
        .text()
        .trim()
    {
        "Enabled" => Ok(VersioningStatus::Enabled),
        "Suspended" => Ok(VersioningStatus::Suspended),
        _ => Err(malformed()),
    }
}
