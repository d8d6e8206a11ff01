//! The documents clients send, read into what they ask for.

use storage::CompletedPart;
use storage::model::{ChecksumAlgorithm, ETag, PartNumber, Versioning};

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
    /// `LastModifiedTime`: delete only if the object was modified then.
    pub modified: Option<String>,
    /// `Size`: delete only if the object has so many bytes.
    pub size: Option<String>,
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
    // An empty one is no condition that holds.
    let given = |name| -> S3Result<Option<String>> {
        let text = element.optional_text(name)?.map(str::trim);
        Ok(text.map(str::to_owned))
    };
    Ok(DeleteEntry {
        key,
        version_id: text("VersionId")?,
        etag: text("ETag")?,
        modified: given("LastModifiedTime")?,
        size: given("Size")?,
    })
}

/// Reads the body of CreateBucket, which changes nothing: any place a client asks for is this one.
///
/// # Errors
/// `MalformedXML`.
pub fn parse_create_bucket(body: &[u8]) -> S3Result<()> {
    if !body.trim_ascii().is_empty() {
        parse(body, "CreateBucketConfiguration")?.optional_text("LocationConstraint")?;
    }
    Ok(())
}

/// Reads the body of PutBucketVersioning.
///
/// # Errors
/// `MalformedXML`, also for a status that is neither; `NotImplemented` for deletes that want a second factor.
pub fn parse_versioning(body: &[u8]) -> S3Result<Versioning> {
    let root = parse(body, "VersioningConfiguration")?;
    match root.optional_text("MfaDelete")?.map(str::trim) {
        None | Some("Disabled") => {}
        Some("Enabled") => {
            return Err(S3Error::not_implemented(
                "MFA delete is not implemented: nobody here has a second factor. Nothing was changed.",
            ));
        }
        Some(_) => return Err(malformed()),
    }
    match root.required("Status")?.text().trim() {
        "Enabled" => Ok(Versioning::Enabled),
        "Suspended" => Ok(Versioning::Suspended),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use storage::model::{ChecksumValue, ETag};

    use super::*;
    use crate::error::S3Code;

    const MD5: &str = "9b2cf535f27731c974343645a3985328";

    fn code<T: std::fmt::Debug>(result: S3Result<T>) -> S3Code {
        result.unwrap_err().code()
    }

    fn complete(parts: &str) -> S3Result<CompleteMultipartUpload> {
        CompleteMultipartUpload::parse(
            format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").as_bytes(),
        )
    }

    #[test]
    fn a_complete_names_parts_with_tags_and_checksums() {
        let complete = complete(&format!(
            "<Part><ETag>&quot;{MD5}&quot;</ETag><PartNumber>7</PartNumber>\
             <ChecksumCRC32C>sOO8/Q==</ChecksumCRC32C></Part>\n\
             <Part>\n <PartNumber> 3 </PartNumber>\n <ETag>{MD5}</ETag>\n</Part>\
             <Part><PartNumber>1</PartNumber><ETag>no tag of ours</ETag></Part>"
        ))
        .unwrap();
        let numbers: Vec<_> = complete.parts.iter().map(|part| part.number.get()).collect();
        assert_eq!(numbers, [7, 3, 1]);
        let tags: Vec<_> = complete.parts.iter().map(|part| part.etag).collect();
        assert_eq!(tags, [ETag::parse(MD5).ok(), ETag::parse(MD5).ok(), None]);
        let crc = ChecksumValue::new(ChecksumAlgorithm::Crc32c, &[0xb0, 0xe3, 0xbc, 0xfd]).ok();
        assert_eq!(complete.parts[0].checksum, crc);
    }

    #[test]
    fn a_complete_that_names_no_valid_part_is_refused() {
        let part = |number: &str| format!("<Part><PartNumber>{number}</PartNumber><ETag>{MD5}</ETag></Part>");
        assert_eq!(code(complete("")), S3Code::MalformedXML);
        assert_eq!(code(complete(&part("0"))), S3Code::InvalidArgument);
        assert_eq!(code(complete(&part("10001"))), S3Code::InvalidArgument);
        assert_eq!(code(complete(&part("-1"))), S3Code::InvalidArgument);
        assert_eq!(code(complete(&part("one"))), S3Code::MalformedXML);
        assert_eq!(
            code(complete("<Part><PartNumber>1</PartNumber></Part>")),
            S3Code::MalformedXML
        );
        assert_eq!(code(complete(&part("1").repeat(10_001))), S3Code::MalformedXML);
        assert_eq!(complete(&part("1").repeat(10_000)).unwrap().parts.len(), 10_000);
    }

    #[test]
    fn a_delete_keeps_every_byte_of_a_key() {
        let delete = Delete::parse(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
              <Quiet>true</Quiet><Object><Key> a/../b &amp;&#x1F;&lt;<![CDATA[&amp;]]>\n</Key></Object>\
              <Object><Key>k</Key><VersionId>null</VersionId><ETag>\"x\"</ETag></Object></Delete>",
        )
        .unwrap();
        assert!(delete.quiet);
        assert_eq!(delete.objects[0].key, " a/../b &\u{1f}<&amp;\n");
        assert_eq!(delete.objects[0].version_id, None);
        assert_eq!(delete.objects[1].version_id.as_deref(), Some("null"));
        assert_eq!(delete.objects[1].etag.as_deref(), Some("\"x\""));
    }

    #[test]
    fn a_delete_names_one_to_a_thousand_keys() {
        let objects = |count: usize| {
            format!(
                "<Delete>{}</Delete>",
                "<Object><Key>k</Key></Object>".repeat(count)
            )
        };
        assert_eq!(code(Delete::parse(objects(0).as_bytes())), S3Code::MalformedXML);
        assert_eq!(
            Delete::parse(objects(1000).as_bytes()).unwrap().objects.len(),
            1000
        );
        assert_eq!(
            code(Delete::parse(objects(1001).as_bytes())),
            S3Code::MalformedXML
        );
        assert_eq!(
            code(Delete::parse(b"<Delete><Object><Key/></Object></Delete>")),
            S3Code::MalformedXML
        );
    }

    #[test]
    fn a_bucket_may_be_created_without_saying_where() {
        for body in [
            "",
            "<CreateBucketConfiguration/>",
            "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>",
        ] {
            assert!(parse_create_bucket(body.as_bytes()).is_ok(), "{body}");
        }
        assert_eq!(code(parse_create_bucket(b"<Other/>")), S3Code::MalformedXML);
    }

    #[test]
    fn versioning_is_enabled_or_suspended() {
        let parse = |status: &str| {
            let body =
                format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
            parse_versioning(body.as_bytes())
        };
        assert_eq!(parse("Enabled").unwrap(), Versioning::Enabled);
        assert_eq!(parse("Suspended").unwrap(), Versioning::Suspended);
        assert_eq!(code(parse("enabled")), S3Code::MalformedXML);
        let with_mfa = |mfa: &str| parse(&format!("Enabled</Status><MfaDelete>{mfa}</MfaDelete><Status>"));
        assert_eq!(code(with_mfa("Enabled")), S3Code::NotImplemented);
    }

    #[test]
    fn a_delete_names_what_the_object_must_be_like() {
        let body = b"<Delete><Object><Key>a</Key><Size>5</Size><LastModifiedTime>x</LastModifiedTime></Object></Delete>";
        let entry = Delete::parse(body).unwrap().objects.remove(0);
        assert_eq!(
            (entry.size.as_deref(), entry.modified.as_deref()),
            (Some("5"), Some("x"))
        );
    }

    fn element(name: &'static str, inside: BoxedStrategy<String>) -> BoxedStrategy<String> {
        inside
            .prop_map(move |inside| format!("<{name}>{inside}</{name}>"))
            .boxed()
    }

    /// Documents of the elements that clients send, in any order and nesting, with any text.
    fn documents() -> BoxedStrategy<String> {
        let texts = prop_oneof!["[0-9]{0,6}", "\\PC{0,12}", Just("Enabled".to_owned())];
        let inner = prop::sample::select(vec![
            "PartNumber",
            "ETag",
            "ChecksumCRC32",
            "Key",
            "VersionId",
            "Quiet",
            "Status",
            "LocationConstraint",
        ]);
        let fields = prop::collection::vec((inner, texts), 0..4).prop_map(|fields| {
            let fields = fields
                .iter()
                .map(|(name, text)| format!("<{name}>{text}</{name}>"));
            fields.collect::<String>()
        });
        let entries = prop_oneof![
            fields.clone(),
            element("Part", fields.clone().boxed()),
            element("Object", fields.boxed())
        ];
        let inside = prop::collection::vec(entries, 0..4).prop_map(|entries| entries.concat());
        prop_oneof![
            element("CompleteMultipartUpload", inside.clone().boxed()),
            element("Delete", inside.clone().boxed()),
            element("CreateBucketConfiguration", inside.clone().boxed()),
            element("VersioningConfiguration", inside.boxed()),
        ]
        .boxed()
    }

    proptest! {
        #[test]
        fn any_document_is_within_its_limits_or_refused(document in documents(), cut in any::<prop::sample::Index>()) {
            let bytes = document.as_bytes();
            for body in [bytes, &bytes[..cut.index(bytes.len())]] {
                if let Ok(complete) = CompleteMultipartUpload::parse(body) {
                    prop_assert!((1..=10_000).contains(&complete.parts.len()));
                }
                if let Ok(delete) = Delete::parse(body) {
                    prop_assert!((1..=1000).contains(&delete.objects.len()));
                    prop_assert!(delete.objects.iter().all(|object| !object.key.is_empty()));
                }
                let _ = parse_create_bucket(body);
                let _ = parse_versioning(body);
            }
        }
    }
}
