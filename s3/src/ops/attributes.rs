//! GetObjectAttributes.

use http::{HeaderMap, header};
use storage::model::{Bucket, ObjectKey, PartInfo};
use storage::{Object, ObjectInfo};

use super::customer_key::customer_key;
use super::get_object::{insert, open, tell_version};
use super::multipart::checksum_element;
use crate::access::Rule;
use crate::checksum;
use crate::error::{S3Error, S3Result};
use crate::gateway::Call;
use crate::headers::text;
use crate::response::{Reply, xml};
use crate::route::ObjectOperation;
use crate::time::http_date;
use crate::xml::XmlWriter;

const ATTRIBUTES: &str = "x-amz-object-attributes";
const MAX_PARTS: &str = "x-amz-max-parts";
const PART_MARKER: &str = "x-amz-part-number-marker";

/// Most parts of one answer.
const PARTS_MAX: usize = 1000;

/// What is asked about an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    etag: bool,
    checksum: bool,
    parts: bool,
    class: bool,
    size: bool,
}

impl Asked {
    /// Reads the names, in any number of headers and lists.
    fn parse(headers: &HeaderMap) -> S3Result<Self> {
        let mut asked = Self::default();
        for value in headers.get_all(ATTRIBUTES) {
            for name in value.to_str().unwrap_or_default().split(',').map(str::trim) {
                match name {
                    "ETag" => asked.etag = true,
                    "Checksum" => asked.checksum = true,
                    "ObjectParts" => asked.parts = true,
                    "StorageClass" => asked.class = true,
                    "ObjectSize" => asked.size = true,
                    other => {
                        let message = "Invalid attribute name specified.";
                        return Err(S3Error::invalid_argument(ATTRIBUTES, other, message));
                    }
                }
            }
        }
        if asked == Self::default() {
            return Err(S3Error::invalid_request(
                "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty",
            ));
        }
        Ok(asked)
    }
}

/// Which parts are asked for.
struct Paging {
    after: u16,
    max: usize,
}

impl Paging {
    fn parse(headers: &HeaderMap) -> S3Result<Self> {
        let number = |name: &'static str, most: u32| match text(headers, name)? {
            None => Ok(None),
            Some(given) => match given.parse::<u32>() {
                Ok(number) if number <= i32::MAX.unsigned_abs() => Ok(Some(number.min(most))),
                _ => {
                    let message = "This argument must be an integer between 0 and 2147483647";
                    Err(S3Error::invalid_argument(name, given, message))
                }
            },
        };
        let after = number(PART_MARKER, u16::MAX.into())?.unwrap_or(0);
        let max = number(MAX_PARTS, 1000)?.map_or(PARTS_MAX, |max| max as usize);
        Ok(Self {
            after: u16::try_from(after).unwrap_or(u16::MAX),
            max,
        })
    }
}

/// Says what is asked about an object, and nothing else.
pub(crate) async fn get_object_attributes(call: &Call, bucket: &Bucket, key: &ObjectKey) -> S3Result<Reply> {
    let rules = Rule::both_of_object(ObjectOperation::GetObjectAttributes);
    call.allow_tagged(bucket, key, rules, None).await?;
    // It tells what a GET tells, so whoever is denied the one is denied the other.
    let rules = (Rule::COPY_SOURCE, Rule::COPY_SOURCE_VERSION);
    call.allow_tagged(bucket, key, rules, None).await?;
    let (asked, paging) = (Asked::parse(&call.headers)?, Paging::parse(&call.headers)?);
    let object = open(call, bucket, key).await?;
    object.unlock(customer_key(&call.headers)?)?;
    let parts = match asked.parts {
        true => object.parts().await?,
        false => Vec::new(),
    };
    let mut reply = xml(document(&object, asked, &parts, &paging));
    let headers = reply.headers_mut();
    let modified = http_date(object.info().modified);
    insert(headers, header::LAST_MODIFIED, &modified);
    tell_version(headers, bucket, object.info());
    Ok(reply)
}

fn document(object: &Object, asked: Asked, parts: &[PartInfo], paging: &Paging) -> Vec<u8> {
    let info = object.info();
    let mut document = XmlWriter::document();
    document.root("GetObjectAttributesResponse", |xml| {
        if asked.etag {
            xml.text("ETag", &info.etag.to_string());
        }
        if let Some(checksum) = info.checksum.filter(|_| asked.checksum) {
            xml.element("Checksum", |xml| {
                let name = checksum::element_name(checksum.value.algorithm());
                xml.text(name, &checksum::print(&checksum));
                xml.text("ChecksumType", checksum::kind_name(checksum.kind));
            });
        }
        if !parts.is_empty() {
            xml.element("ObjectParts", |xml| parts_element(xml, info, parts, paging));
        }
        if asked.class {
            xml.text("StorageClass", info.class.name());
        }
        if asked.size {
            xml.number("ObjectSize", info.size);
        }
    });
    document.finish()
}

/// The parts; one by one only where they carry checksums, as AWS answers.
fn parts_element(xml: &mut XmlWriter, info: &ObjectInfo, parts: &[PartInfo], paging: &Paging) {
    xml.number("PartsCount", parts.len() as u64);
    if info.checksum.is_none() {
        return;
    }
    let from = parts.partition_point(|part| part.number.get() <= paging.after);
    let rest = &parts[from..];
    let page = &rest[..rest.len().min(paging.max)];
    let is_truncated = paging.max > 0 && page.len() < rest.len();
    xml.number("PartNumberMarker", paging.after.into());
    let last = page.last().map_or(paging.after, |part| part.number.get());
    xml.number("NextPartNumberMarker", last.into());
    xml.number("MaxParts", paging.max as u64);
    xml.boolean("IsTruncated", is_truncated);
    for part in page {
        xml.element("Part", |xml| {
            xml.number("PartNumber", part.number.get().into());
            xml.number("Size", part.size);
            checksum_element(xml, part.checksum.as_ref());
        });
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::error::S3Code;

    fn asked(values: &[&str]) -> Result<Asked, S3Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ATTRIBUTES, HeaderValue::from_str(value).unwrap());
        }
        Asked::parse(&headers).map_err(|error| error.code())
    }

    #[test]
    fn attributes_come_in_lists_and_in_several_headers() {
        let both = Asked {
            etag: true,
            size: true,
            ..Asked::default()
        };
        assert_eq!(asked(&["ETag, ObjectSize"]), Ok(both));
        assert_eq!(asked(&["ETag", "ObjectSize"]), Ok(both));
        assert_eq!(asked(&[]), Err(S3Code::InvalidRequest));
        assert_eq!(asked(&["ETag,Owner"]), Err(S3Code::InvalidArgument));
    }
}
