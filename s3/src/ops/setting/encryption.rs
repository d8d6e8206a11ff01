//! The `ServerSideEncryptionConfiguration` document.

use storage::model::BucketEncryption;

use crate::error::{S3Error, S3Result};
use crate::xml::{XmlWriter, malformed, parse};

/// Reads the body of PutBucketEncryption.
///
/// # Errors
/// `MalformedXML`; `InvalidArgument` for a KMS key without KMS; `NotImplemented` for KMS.
pub(super) fn read(document: &[u8]) -> S3Result<BucketEncryption> {
    let root = parse(document, "ServerSideEncryptionConfiguration")?;
    let rule = root.only(&["Rule"])?.required("Rule")?;
    rule.only(&["ApplyServerSideEncryptionByDefault", "BucketKeyEnabled"])?;
    let default = rule.required("ApplyServerSideEncryptionByDefault")?;
    default.only(&["SSEAlgorithm", "KMSMasterKeyID"])?;
    match default.required("SSEAlgorithm")?.text().trim() {
        "AES256" => {}
        "aws:kms" | "aws:kms:dsse" => {
            return Err(S3Error::not_implemented(
                "There is no KMS here: everything is encrypted with keys of this store. Ask for AES256.",
            ));
        }
        _ => return Err(malformed()),
    }
    if default.optional("KMSMasterKeyID")?.is_some() {
        return Err(S3Error::invalid_argument(
            "KMSMasterKeyID",
            "",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
        ));
    }
    Ok(BucketEncryption {
        bucket_key: rule.optional_boolean("BucketKeyEnabled")?,
    })
}

/// Writes the document GetBucketEncryption answers with.
pub(super) fn write(xml: &mut XmlWriter, encryption: BucketEncryption) {
    xml.root("ServerSideEncryptionConfiguration", |xml| {
        xml.element("Rule", |xml| {
            xml.element("ApplyServerSideEncryptionByDefault", |xml| {
                xml.text("SSEAlgorithm", "AES256");
            });
            if let Some(enabled) = encryption.bucket_key {
                xml.boolean("BucketKeyEnabled", enabled);
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::S3Code;

    #[test]
    fn only_what_is_true_of_every_object_can_be_asked_for() {
        let put = |default: &str, rest: &str| {
            let document = format!(
                "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>{default}\
                 </ApplyServerSideEncryptionByDefault>{rest}</Rule></ServerSideEncryptionConfiguration>"
            );
            read(document.as_bytes()).map_err(|error| error.code())
        };
        let aes = "<SSEAlgorithm>AES256</SSEAlgorithm>";
        let enabled = "<BucketKeyEnabled>true</BucketKeyEnabled>";
        let encryption = put(aes, enabled).unwrap();
        assert_eq!(encryption.bucket_key, Some(true));
        let mut xml = XmlWriter::document();
        write(&mut xml, encryption);
        assert_eq!(read(&xml.finish()).unwrap(), encryption);
        assert_eq!(put(aes, "").map(|encryption| encryption.bucket_key), Ok(None));
        let key = "<KMSMasterKeyID>arn:x</KMSMasterKeyID>";
        for (default, code) in [
            (
                "<SSEAlgorithm>aws:kms</SSEAlgorithm>".into(),
                S3Code::NotImplemented,
            ),
            ("<SSEAlgorithm>rot13</SSEAlgorithm>".into(), S3Code::MalformedXML),
            (String::new(), S3Code::MalformedXML),
            (format!("{aes}{key}"), S3Code::InvalidArgument),
        ] {
            assert_eq!(put(&default, ""), Err(code), "{default}");
        }
        assert_eq!(put(aes, "<BlockedEncryptionTypes/>"), Err(S3Code::MalformedXML));
    }
}
