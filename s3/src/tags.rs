//! Tags as clients write them, within the bounds of S3.

use http::HeaderMap;

use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::{TAGGING, text};
use crate::uri::Query;
use crate::xml::{XmlWriter, malformed, parse};

/// Tags in the client's order: names and values.
pub(crate) type Tags = Vec<(String, String)>;

/// Most tags of an object. Source: AWS S3 user guide, "Object tagging".
const OBJECT_TAGS_MAX: usize = 10;

/// The tags of `x-amz-tagging`, if it is there.
///
/// # Errors
/// As [`check`].
pub(crate) fn tags_of_header(headers: &HeaderMap) -> S3Result<Option<Tags>> {
    let Some(list) = text(headers, TAGGING)? else {
        return Ok(None);
    };
    let list = Query::parse(Some(list))?;
    let tags = list
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    check(tags.collect()).map(Some)
}

/// The tags of a `Tagging` document.
///
/// # Errors
/// `MalformedXML`, and as [`check`].
pub(crate) fn tags_of_document(body: &[u8]) -> S3Result<Tags> {
    let root = parse(body, "Tagging")?;
    let set = root.required("TagSet")?;
    if set.children().iter().any(|child| child.name() != "Tag") {
        return Err(malformed());
    }
    let tag = |tag: &crate::xml::Element<'_>| {
        let name = tag.required("Key")?.text().to_owned();
        Ok((name, tag.required("Value")?.text().to_owned()))
    };
    check(set.all("Tag").map(tag).collect::<S3Result<_>>()?)
}

/// The document that [`tags_of_document`] reads.
pub(crate) fn tags_document(tags: &[(String, String)]) -> Vec<u8> {
    let mut document = XmlWriter::document();
    document.root("Tagging", |xml| {
        xml.element("TagSet", |xml| {
            for (name, value) in tags {
                xml.element("Tag", |xml| {
                    xml.text("Key", name);
                    xml.text("Value", value);
                });
            }
        });
    });
    document.finish()
}

/// Lets tags pass that S3 permits.
///
/// # Errors
/// `InvalidTag`: more than ten, a name twice, empty or of AWS's own, or one that is too long.
fn check(tags: Tags) -> S3Result<Tags> {
    let invalid = |why: &'static str| Err(S3Error::with_message(S3Code::InvalidTag, why));
    if tags.len() > OBJECT_TAGS_MAX {
        return invalid("Object tags cannot be greater than 10");
    }
    for (at, (name, value)) in tags.iter().enumerate() {
        if !(1..=128).contains(&name.chars().count()) || value.chars().count() > 256 {
            return invalid("A tag's key has 1 to 128 characters and its value at most 256");
        }
        if name.starts_with("aws:") {
            return invalid("System tags cannot be added or updated by the requester");
        }
        if tags[..at].iter().any(|(earlier, _)| earlier == name) {
            return invalid("Cannot provide multiple Tags with the same key");
        }
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(tags: &[(&str, &str)]) -> S3Result<Tags> {
        let tags: Tags = tags
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        tags_of_document(&tags_document(&tags))
    }

    fn refusal(tags: &[(&str, &str)]) -> S3Code {
        document(tags).unwrap_err().code()
    }

    #[test]
    fn tags_read_back_in_their_order_whatever_they_hold() {
        let tags = [("b", ""), ("a <&> \u{e9}", "x=y&z"), ("c", "1")];
        let read = document(&tags).unwrap();
        let read: Vec<_> = read
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(read, tags);
        assert_eq!(document(&[]).unwrap(), []);
    }

    #[test]
    fn tags_beyond_the_bounds_are_refused() {
        let names: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let eleven: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
        assert!(document(&eleven[..10]).is_ok());
        assert_eq!(refusal(&eleven), S3Code::InvalidTag);
        let (long_name, long_value) = ("\u{e9}".repeat(129), "v".repeat(257));
        for tag in [("", "v"), (&long_name, "v"), ("k", &long_value), ("aws:k", "v")] {
            assert_eq!(refusal(&[tag]), S3Code::InvalidTag, "{tag:?}");
        }
        assert!(document(&[(&long_name[2..], &long_value[1..])]).is_ok());
        assert_eq!(refusal(&[("k", "1"), ("k", "2")]), S3Code::InvalidTag);
        for body in [
            "<Tagging/>",
            "<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
            "<Tagging><TagSet><Other/></TagSet></Tagging>",
        ] {
            let refused = tags_of_document(body.as_bytes()).unwrap_err();
            assert_eq!(refused.code(), S3Code::MalformedXML, "{body}");
        }
    }
}
