//! The `OwnershipControls` document, and which ACL goes with it.

use storage::model::{BucketSettings, ObjectOwnership};

use crate::error::{S3Code, S3Error, S3Result};
use crate::xml::{XmlWriter, malformed, parse};

/// Reads the body of PutBucketOwnershipControls.
///
/// # Errors
/// `MalformedXML`; `NotImplemented` for `ObjectWriter`: objects here belong to the owner of their bucket.
pub(super) fn read(document: &[u8]) -> S3Result<ObjectOwnership> {
    let root = parse(document, "OwnershipControls")?;
    let rule = root.only(&["Rule"])?.required("Rule")?;
    let said = rule.only(&["ObjectOwnership"])?.required("ObjectOwnership")?;
    match said.text().trim() {
        "ObjectWriter" => Err(S3Error::not_implemented(
            "ObjectWriter is not implemented: objects belong to the owner of their bucket, whoever writes them.",
        )),
        name => ObjectOwnership::from_name(name).ok_or_else(malformed),
    }
}

/// Writes the document GetBucketOwnershipControls answers with.
pub(super) fn write(xml: &mut XmlWriter, ownership: ObjectOwnership) {
    xml.root("OwnershipControls", |xml| {
        xml.element("Rule", |xml| xml.text("ObjectOwnership", ownership.name()));
    });
}

/// Refuses to do without ACLs where one is set that would then silently end.
///
/// # Errors
/// `InvalidBucketAclWithObjectOwnership`.
pub(in crate::ops) fn check_acl(settings: &BucketSettings) -> S3Result<()> {
    if settings.has_no_acls() && settings.acl.opens_something() {
        return Err(S3Error::new(S3Code::InvalidBucketAclWithObjectOwnership));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ownership_reads_back_as_it_was_put() {
        let put = |name: &str| {
            let document = format!(
                "<OwnershipControls><Rule><ObjectOwnership>{name}</ObjectOwnership></Rule></OwnershipControls>"
            );
            read(document.as_bytes()).map_err(|error| error.code())
        };
        for ownership in [
            ObjectOwnership::BucketOwnerEnforced,
            ObjectOwnership::BucketOwnerPreferred,
        ] {
            assert_eq!(put(ownership.name()), Ok(ownership));
            let mut xml = XmlWriter::document();
            write(&mut xml, ownership);
            assert_eq!(read(&xml.finish()).unwrap(), ownership);
        }
        assert_eq!(put("ObjectWriter"), Err(S3Code::NotImplemented));
        assert_eq!(put("Nobody"), Err(S3Code::MalformedXML));
        assert!(read(b"<OwnershipControls/>").is_err());
    }
}
