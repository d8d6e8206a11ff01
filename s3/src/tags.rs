//! Tags as clients write them, within the bounds of S3.

use http::HeaderMap;

use crate::error::{S3Code, S3Error, S3Result};
use crate::headers::{TAGGING, text};
use crate::uri::Query;
use crate::xml::{Element, XmlWriter, parse};

/// Tags in the client's order: names and values.
pub(crate) type Tags = Vec<(String, String)>;

/// Whose tags they are: that bounds how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagsOf {
    /// At most ten. Source: AWS S3 user guide, "Object tagging".
    Object,
    /// At most fifty. Source: AWS S3 user guide, "Using cost allocation S3 bucket tags".
    Bucket,
}

impl TagsOf {
    const fn most(self) -> (usize, &'static str) {
        match self {
            Self::Object => (10, "Object tags cannot be greater than 10"),
            Self::Bucket => (50, "Bucket tags cannot be greater than 50"),
        }
    }
}

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
    check(tags.collect(), TagsOf::Object).map(Some)
}

/// The tags of a `Tagging` document.
///
/// # Errors
/// `MalformedXML`, and as [`check`].
pub(crate) fn tags_of_document(body: &[u8], of: TagsOf) -> S3Result<Tags> {
    let root = parse(body, "Tagging")?;
    let set = root.only(&["TagSet"])?.required("TagSet")?;
    set.only(&["Tag"])?;
    check(set.all("Tag").map(tag_of).collect::<S3Result<_>>()?, of)
}

/// One `Tag` of a document.
///
/// # Errors
/// `MalformedXML`.
pub(crate) fn tag_of(tag: &Element<'_>) -> S3Result<(String, String)> {
    let tag = tag.only(&["Key", "Value"])?;
    let name = tag.required("Key")?.text().to_owned();
    Ok((name, tag.required("Value")?.text().to_owned()))
}

/// The document that [`tags_of_document`] reads.
pub(crate) fn write_tags(document: &mut XmlWriter, tags: &[(String, String)]) {
    document.root("Tagging", |xml| {
        xml.element("TagSet", |xml| {
            tags.iter().for_each(|tag| write_tag(xml, tag));
        });
    });
}

/// The element that [`tag_of`] reads.
pub(crate) fn write_tag(xml: &mut XmlWriter, (name, value): &(String, String)) {
    xml.element("Tag", |xml| {
        xml.text("Key", name);
        xml.text("Value", value);
    });
}

/// Lets tags pass that S3 permits.
///
/// # Errors
/// `InvalidTag`: too many, a name twice, empty or of AWS's own, or one that is too long.
pub(crate) fn check(tags: Tags, of: TagsOf) -> S3Result<Tags> {
    let invalid = |why: &'static str| Err(S3Error::with_message(S3Code::InvalidTag, why));
    let (most, too_many) = of.most();
    if tags.len() > most {
        return invalid(too_many);
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
        let mut document = XmlWriter::document();
        write_tags(&mut document, &tags);
        tags_of_document(&document.finish(), TagsOf::Object)
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
        let bucket = |count: usize| {
            let tags = (0..count).map(|number| (number.to_string(), String::new()));
            check(tags.collect(), TagsOf::Bucket).map(|tags| tags.len())
        };
        assert_eq!(bucket(50).unwrap(), 50);
        assert_eq!(bucket(51).unwrap_err().code(), S3Code::InvalidTag);
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
            let refused = tags_of_document(body.as_bytes(), TagsOf::Object).unwrap_err();
            assert_eq!(refused.code(), S3Code::MalformedXML, "{body}");
        }
    }
}
