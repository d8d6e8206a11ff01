//! Reads a small XML document into a tree, within bounds that hostile input cannot pass.
//!
//! No DTD, no entities beyond XML's five and character references, no processing of encodings: UTF-8 only.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use crate::error::{S3Code, S3Error, S3Result};

/// The largest XML body a request may have: a thousand keys of 1024 bytes, most of them escaped.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// No document of S3 nests deeper than six.
const DEPTH_MAX: usize = 16;

/// Ten thousand parts of seven elements each, and some room.
const ELEMENTS_MAX: usize = 100_000;

/// An element, its text and the elements inside it. Attributes and namespaces are dropped: what an ACL's
/// `xsi:type` says, the elements inside the Grantee say too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'x> {
    name: String,
    text: Cow<'x, str>,
    children: Vec<Element<'x>>,
}

impl<'x> Element<'x> {
    /// The name without its namespace prefix.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as written, white space included; only of meaning in an element without others inside.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The elements inside, in order.
    pub fn children(&self) -> &[Self] {
        &self.children
    }

    /// The elements of that name inside, in order.
    pub fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// This element, if it holds elements of these names alone: what is not understood must not be taken for granted.
    ///
    /// # Errors
    /// `MalformedXML` when there is another.
    pub fn only(&self, names: &[&str]) -> S3Result<&Self> {
        let known = |child: &Self| names.contains(&child.name());
        self.children
            .iter()
            .all(known)
            .then_some(self)
            .ok_or_else(malformed)
    }

    /// The one element of that name inside, if any.
    ///
    /// # Errors
    /// `MalformedXML` when there are two.
    pub fn optional(&self, name: &str) -> S3Result<Option<&Self>> {
        let mut all = self.children.iter().filter(|child| child.name == name);
        let first = all.next();
        match all.next() {
            None => Ok(first),
            Some(_) => Err(malformed()),
        }
    }

    /// The text of the one element of that name inside, if any.
    ///
    /// # Errors
    /// `MalformedXML` when there are two.
    pub fn optional_text(&self, name: &str) -> S3Result<Option<&str>> {
        Ok(self.optional(name)?.map(Element::text))
    }

    /// The one element of that name inside.
    ///
    /// # Errors
    /// `MalformedXML` when there is none or more than one.
    pub fn required(&self, name: &str) -> S3Result<&Self> {
        self.optional(name)?.ok_or_else(malformed)
    }

    /// The one element of that name inside, read as a boolean; an empty one is false.
    ///
    /// # Errors
    /// `MalformedXML` when there are two or it is no boolean.
    pub fn optional_boolean(&self, name: &str) -> S3Result<Option<bool>> {
        match self.optional_text(name)?.map(str::trim) {
            None => Ok(None),
            Some("true" | "TRUE" | "True" | "1") => Ok(Some(true)),
            Some("false" | "FALSE" | "False" | "0" | "") => Ok(Some(false)),
            Some(_) => Err(malformed()),
        }
    }
}

/// Reads a document whose outermost element has this name.
///
/// # Errors
/// `MalformedXML`: not well-formed, not UTF-8, with a document type, beyond the bounds, or of another name.
pub fn parse<'x>(body: &'x [u8], root: &str) -> S3Result<Element<'x>> {
    let root_element = parse_any(body)?;
    if root_element.name == root {
        Ok(root_element)
    } else {
        Err(malformed())
    }
}

fn parse_any(body: &[u8]) -> S3Result<Element<'_>> {
    if body.len() > BODY_BYTES_MAX {
        return Err(S3Code::MaxMessageLengthExceeded.into());
    }
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut tree = Tree::default();
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(start) => tree.open(start)?,
            Event::Empty(start) => {
                tree.open(start)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => tree.append(text.decode().map_err(|_| malformed())?)?,
            Event::CData(text) => tree.append(text.decode().map_err(|_| malformed())?)?,
            Event::GeneralRef(reference) => tree.append(resolve(&reference)?)?,
            Event::Decl(_) | Event::Comment(_) => {}
            Event::DocType(_) | Event::PI(_) => return Err(malformed()),
            Event::Eof => return tree.finish(),
        }
    }
}

/// The document as far as it was read.
#[derive(Default)]
struct Tree<'x> {
    open: Vec<Element<'x>>,
    root: Option<Element<'x>>,
    elements: usize,
}

impl<'x> Tree<'x> {
    fn open(&mut self, start: BytesStart<'_>) -> S3Result<()> {
        self.elements += 1;
        let second_root = self.open.is_empty() && self.root.is_some();
        if second_root || self.open.len() == DEPTH_MAX || self.elements > ELEMENTS_MAX {
            return Err(malformed());
        }
        self.open.push(Element {
            name: local_name(&start)?,
            ..Element::default()
        });
        Ok(())
    }

    fn close(&mut self) -> S3Result<()> {
        let closed = self.open.pop().ok_or_else(malformed)?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(closed),
            None => self.root = Some(closed),
        }
        Ok(())
    }

    fn append(&mut self, text: Cow<'x, str>) -> S3Result<()> {
        match self.open.last_mut() {
            Some(element) if element.text.is_empty() => element.text = text,
            Some(element) => element.text.to_mut().push_str(&text),
            None if text.trim().is_empty() => {}
            None => return Err(malformed()),
        }
        Ok(())
    }

    fn finish(self) -> S3Result<Element<'x>> {
        match self.root {
            Some(root) if self.open.is_empty() => Ok(root),
            _ => Err(malformed()),
        }
    }
}

fn local_name(start: &BytesStart<'_>) -> S3Result<String> {
    let name = start.local_name();
    std::str::from_utf8(name.as_ref())
        .map(str::to_owned)
        .map_err(|_| malformed())
}

/// One of XML's five entities, or a character reference.
fn resolve(reference: &BytesRef<'_>) -> S3Result<Cow<'static, str>> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| malformed())? {
        return Ok(Cow::Owned(character.to_string()));
    }
    let name = reference.decode().map_err(|_| malformed())?;
    resolve_predefined_entity(&name)
        .map(Cow::Borrowed)
        .ok_or_else(malformed)
}

/// The answer to a document that is not what it should be.
pub(crate) fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedXML)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::XmlWriter;

    fn is_refused(body: &str) -> bool {
        parse(body.as_bytes(), "a").is_err()
    }

    #[test]
    fn names_text_and_order_are_read() {
        let body = "\u{feff}<?xml version=\"1.0\"?><!-- hi --><n:a xmlns:n=\"x\" y='1'> <b>1</b><c/><b>2</b></n:a>\n";
        let a = parse(body.as_bytes(), "a").unwrap();
        let texts: Vec<_> = a.all("b").map(Element::text).collect();
        assert_eq!(texts, ["1", "2"]);
        assert_eq!(
            a.children().iter().map(Element::name).collect::<Vec<_>>(),
            ["b", "c", "b"]
        );
        assert!(a.optional("b").is_err());
        assert_eq!(a.optional_text("c").unwrap(), Some(""));
        assert!(a.required("d").is_err());
    }

    #[test]
    fn hostile_documents_are_refused() {
        for body in [
            "",
            "text",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><a/>",
            "<a/>text",
            "<b/>",
            "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
            "<a>&x;</a>",
            "<a>&#0;</a>",
            "<a>&#x110000;</a>",
            "<a>&</a>",
            "<a><?php ?></a>",
            "<a",
        ] {
            assert!(is_refused(body), "{body}");
        }
        assert!(is_refused(&format!("{}{}", "<a>".repeat(17), "</a>".repeat(17))));
        assert!(!is_refused(&format!("{}{}", "<a>".repeat(16), "</a>".repeat(16))));
        assert!(is_refused(&format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX))));
        assert!(parse(b"<a>\xff</a>", "a").is_err());
        let large = format!("<a>{}</a>", " ".repeat(BODY_BYTES_MAX));
        assert_eq!(
            parse(large.as_bytes(), "a").unwrap_err().code(),
            S3Code::MaxMessageLengthExceeded
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>) {
            let _ = parse(&body, "a");
        }

        #[test]
        fn arbitrary_markup_never_panics(body in "(<|>|/|&|;|#|x|a|\"|!|\\?|\\[|\\]|-|CDATA| ){0,40}") {
            let _ = parse(body.as_bytes(), "a");
        }

        #[test]
        fn text_that_was_written_reads_back(text: String) {
            // XML has no way to name U+0000; S3's listings send such keys percent-encoded.
            prop_assume!(!text.contains('\0'));
            let mut xml = XmlWriter::document();
            xml.element("a", |xml| xml.text("b", &text));
            let body = xml.finish();
            let a = parse(&body, "a").unwrap();
            prop_assert_eq!(a.required("b").unwrap().text(), text);
        }
    }
}
