//! The `Tagging` document, as buckets have it and as forms carry it.

use crate::error::{S3Code, S3Error, S3Result};
use crate::xml::{XmlWriter, parse};

/// Most tags of a bucket. Source: AWS S3 user guide, "Using cost allocation S3 bucket tags".
const TAGS_MAX: usize = 50;

/// Reads the body of PutBucketTagging.
///
/// # Errors
/// `MalformedXML`; `InvalidTag` for too many, a key twice, or one that is too long.
pub(in crate::ops) fn read(document: &[u8]) -> S3Result<Vec<(String, String)>> {
    let root = parse(document, "Tagging")?;
    let set = root.only(&["TagSet"])?.required("TagSet")?;
    set.only(&["Tag"])?;
    let mut tags: Vec<(String, String)> = Vec::new();
    let invalid = |why: &'static str| Err(S3Error::with_message(S3Code::InvalidTag, why));
    for tag in set.all("Tag") {
        let tag = tag.only(&["Key", "Value"])?;
        let (key, value) = (tag.required("Key")?.text(), tag.required("Value")?.text());
        if !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256 {
            return invalid("A tag's key has 1 to 128 characters and its value at most 256");
        }
        if key.starts_with("aws:") {
            return invalid("System tags cannot be added/updated by requester");
        }
        if tags.iter().any(|(known, _)| known == key) {
            return invalid("Cannot provide multiple Tags with the same key");
        }
        if tags.len() == TAGS_MAX {
            return invalid("Bucket tags cannot be greater than 50");
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

/// Writes the document GetBucketTagging answers with.
pub(super) fn write(xml: &mut XmlWriter, tags: &[(String, String)]) {
    xml.root("Tagging", |xml| {
        xml.element("TagSet", |xml| {
            for (key, value) in tags {
                xml.element("Tag", |xml| {
                    xml.text("Key", key);
                    xml.text("Value", value);
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagging(tags: &str) -> Result<Vec<(String, String)>, S3Code> {
        let document = format!("<Tagging><TagSet>{tags}</TagSet></Tagging>");
        read(document.as_bytes()).map_err(|error| error.code())
    }

    fn tag(key: &str, value: &str) -> String {
        format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")
    }

    #[test]
    fn tags_read_back_in_their_order() {
        let tags = tagging(&(tag("z", "1 &lt; 2") + &tag("a", ""))).unwrap();
        assert_eq!(tags[0], ("z".into(), "1 < 2".into()));
        let mut xml = XmlWriter::document();
        write(&mut xml, &tags);
        assert_eq!(read(&xml.finish()).unwrap(), tags);
        let fifty: String = (0..50).map(|n| tag(&n.to_string(), "")).collect();
        assert_eq!(tagging(&fifty).map(|tags| tags.len()), Ok(50));
        assert_eq!(tagging(&(fifty + &tag("x", ""))), Err(S3Code::InvalidTag));
    }

    #[test]
    fn a_tag_that_is_none_is_refused() {
        for (tags, code) in [
            (tag("", "x"), S3Code::InvalidTag),
            (tag(&"k".repeat(129), ""), S3Code::InvalidTag),
            (tag("k", &"v".repeat(257)), S3Code::InvalidTag),
            (tag("aws:k", ""), S3Code::InvalidTag),
            (tag("k", "") + &tag("k", "2"), S3Code::InvalidTag),
            ("<Tag><Key>k</Key></Tag>".into(), S3Code::MalformedXML),
            ("<Other/>".into(), S3Code::MalformedXML),
        ] {
            assert_eq!(tagging(&tags), Err(code), "{tags}");
        }
    }
}
