//! The `PublicAccessBlockConfiguration` document.

use storage::model::PublicAccessBlock;

use crate::error::S3Result;
use crate::xml::{XmlWriter, parse};

const ROOT: &str = "PublicAccessBlockConfiguration";
const BLOCK_ACLS: &str = "BlockPublicAcls";
const IGNORE_ACLS: &str = "IgnorePublicAcls";
const BLOCK_POLICY: &str = "BlockPublicPolicy";
const RESTRICT_POLICY: &str = "RestrictPublicBuckets";

/// Reads the body of PutPublicAccessBlock; what it does not name is not blocked.
///
/// # Errors
/// `MalformedXML`.
pub(super) fn read(document: &[u8]) -> S3Result<PublicAccessBlock> {
    let root = parse(document, ROOT)?;
    root.only(&[BLOCK_ACLS, IGNORE_ACLS, BLOCK_POLICY, RESTRICT_POLICY])?;
    let said = |name| -> S3Result<bool> { Ok(root.optional_boolean(name)?.unwrap_or(false)) };
    Ok(PublicAccessBlock {
        block_acls: said(BLOCK_ACLS)?,
        ignore_acls: said(IGNORE_ACLS)?,
        block_policy: said(BLOCK_POLICY)?,
        restrict_policy: said(RESTRICT_POLICY)?,
    })
}

/// Writes the document GetPublicAccessBlock answers with.
pub(super) fn write(xml: &mut XmlWriter, block: PublicAccessBlock) {
    xml.root(ROOT, |xml| {
        xml.boolean(BLOCK_ACLS, block.block_acls);
        xml.boolean(IGNORE_ACLS, block.ignore_acls);
        xml.boolean(BLOCK_POLICY, block.block_policy);
        xml.boolean(RESTRICT_POLICY, block.restrict_policy);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_as_it_was_put() {
        let document = "<PublicAccessBlockConfiguration><BlockPublicAcls>TRUE</BlockPublicAcls>\
                        <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
        let block = read(document.as_bytes()).unwrap();
        let expected = PublicAccessBlock {
            block_acls: true,
            restrict_policy: true,
            ..PublicAccessBlock::default()
        };
        assert_eq!(block, expected);
        let mut xml = XmlWriter::document();
        write(&mut xml, block);
        assert_eq!(read(&xml.finish()).unwrap(), block);
        let misspelt = document.replace("RestrictPublicBuckets", "RestrictPublicBucket");
        assert!(read(misspelt.as_bytes()).is_err());
        assert!(read(document.replace("TRUE", "yes").as_bytes()).is_err());
    }
}
