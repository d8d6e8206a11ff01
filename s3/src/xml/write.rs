//! Writes response documents straight into bytes.
//!
//! S3's responses are a handful of nested elements without attributes, and a LIST page of a thousand keys is
//! written thousands of times a second. `quick_xml::Writer` builds an event with owned names for each tag and
//! scans every text several times; this writer appends name, escaped text and name, and copies a text that
//! needs no escaping in one piece.

use storage::model::{ETag, Timestamp};

use crate::time::{IsoTime, two_digits};
use crate::uri;

/// The namespace of every S3 document.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// How keys are shown in a listing: as they are, or percent-encoded (`encoding-type=url`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// As text, with XML's escapes.
    #[default]
    Plain,
    /// Percent-encoded; `/` stays.
    Url,
}

/// Builds one document. Element names are the caller's constants and are not checked.
#[derive(Clone, Debug, Default)]
pub struct XmlWriter {
    out: Vec<u8>,
    iso: IsoTime,
}

impl XmlWriter {
    /// Begins a document with its declaration.
    pub fn document() -> Self {
        Self::with_capacity(1024)
    }

    /// Begins a document expected to be about so many bytes long.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.extend_from_slice(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        Self {
            out,
            iso: IsoTime::default(),
        }
    }

    /// Begins a piece without a declaration, for a document whose beginning has already left.
    pub fn fragment() -> Self {
        Self::default()
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// The outermost element, in S3's namespace.
    pub fn root(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.element_with(name, &[("xmlns", NAMESPACE)], content);
    }

    /// An element with others inside.
    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// An element with attributes, e.g. the `xsi:type` of a Grantee.
    pub fn element_with(&mut self, name: &str, attributes: &[(&str, &str)], content: impl FnOnce(&mut Self)) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        for (attribute, value) in attributes {
            self.out.push(b' ');
            self.out.extend_from_slice(attribute.as_bytes());
            self.out.extend_from_slice(b"=\"");
            self.content(value);
            self.out.push(b'"');
        }
        self.out.push(b'>');
        content(self);
        self.close(name);
    }

    /// An element with text.
    pub fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        self.content(value);
        self.close(name);
    }

    /// An element with text, if there is one.
    pub fn text_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    /// An element with a key, prefix, delimiter or marker.
    pub fn key(&mut self, name: &str, value: &str, encoding: KeyEncoding) {
        self.open(name);
        self.key_content(value, encoding);
        self.close(name);
    }

    /// The text of the element that is open, which is a key or a part of one.
    pub fn key_content(&mut self, value: &str, encoding: KeyEncoding) {
        match encoding {
            KeyEncoding::Plain => self.content(value),
            KeyEncoding::Url => uri::encode_path_into(value.as_bytes(), &mut self.out),
        }
    }

    /// Elements, or parts of such, that were written elsewhere.
    #[inline]
    pub fn markup(&mut self, written: &[u8]) {
        self.out.extend_from_slice(written);
    }

    /// An element with a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.open(name);
        // Twenty digits hold every u64.
        let mut digits = [0; 20];
        let mut first = digits.len();
        let mut rest = value;
        while first == digits.len() || rest > 0 {
            first -= 2;
            digits[first..first + 2].copy_from_slice(two_digits(rest));
            rest /= 100;
        }
        first += usize::from(value > 9 && digits[first] == b'0') + usize::from(value <= 9);
        self.out.extend_from_slice(&digits[first..]);
        self.close(name);
    }

    /// An element with `true` or `false`.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// An element with a moment.
    pub fn time(&mut self, name: &str, value: Timestamp) {
        self.open(name);
        self.out.extend_from_slice(self.iso.bytes(value));
        self.close(name);
    }

    /// An element with an entity tag in its quotes.
    pub fn etag(&mut self, name: &str, value: ETag) {
        let (md5, parts) = match value {
            ETag::Md5(md5) => (md5, None),
            ETag::Multipart { md5, parts } => (md5, Some(parts)),
        };
        self.open(name);
        self.out.extend_from_slice(b"&quot;");
        self.out.extend_from_slice(&hex_digits(md5));
        if let Some(parts) = parts {
            self.out.push(b'-');
            self.out.extend_from_slice(parts.to_string().as_bytes());
        }
        self.out.extend_from_slice(b"&quot;");
        self.close(name);
    }

    fn open(&mut self, name: &str) {
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    fn close(&mut self, name: &str) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b'>');
    }

    /// The text of the element that is open, with XML's five escapes, and with control characters as
    /// references: a key may hold any byte, and a raw carriage return would be read back as a line feed.
    pub fn content(&mut self, text: &str) {
        let bytes = text.as_bytes();
        if needs_nothing(bytes) {
            self.out.extend_from_slice(bytes);
            return;
        }
        let mut copied = 0;
        for (at, byte) in bytes.iter().enumerate() {
            if stands_for_itself(*byte) {
                continue;
            }
            self.out.extend_from_slice(&bytes[copied..at]);
            copied = at + 1;
            match byte {
                b'&' => self.out.extend_from_slice(b"&amp;"),
                b'<' => self.out.extend_from_slice(b"&lt;"),
                b'>' => self.out.extend_from_slice(b"&gt;"),
                b'"' => self.out.extend_from_slice(b"&quot;"),
                b'\'' => self.out.extend_from_slice(b"&apos;"),
                control => self.out.extend_from_slice(format!("&#x{control:X};").as_bytes()),
            }
        }
        self.out.extend_from_slice(&bytes[copied..]);
    }
}

/// The hexadecimal digits of an MD5, eight at a time: a listing writes a thousand.
pub(crate) fn hex_digits(md5: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    let (eights, _) = digits.as_chunks_mut::<8>();
    let (fours, _) = md5.as_chunks::<4>();
    for (eight, four) in eights.iter_mut().zip(fours) {
        let bytes = u64::from(u32::from_le_bytes(*four));
        // One byte in each 16 bits, then one of its halves in each 8, the upper first.
        let spread = (bytes | bytes << 16) & 0x0000_FFFF_0000_FFFF;
        let spread = (spread | spread << 8) & 0x00FF_00FF_00FF_00FF;
        let halves = ((spread >> 4) & 0x000F_000F_000F_000F) | ((spread & 0x000F_000F_000F_000F) << 8);
        // 1 where the half is a letter, which stands 39 behind where it would follow the nines.
        let letters = ((halves + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        *eight = (halves + 0x3030_3030_3030_3030 + letters * 39).to_le_bytes();
    }
    digits
}

/// Whether every byte of a text can stand as it is: most texts need nothing.
fn needs_nothing(text: &[u8]) -> bool {
    // Sixteen at a time without a branch, which the compiler turns into one comparison each.
    let (sixteens, rest) = text.as_chunks::<16>();
    let plain = |plain, byte: &u8| plain & stands_for_itself(*byte);
    let sixteens = sixteens.iter().all(|sixteen| sixteen.iter().fold(true, plain));
    sixteens && rest.iter().all(|byte| PLAIN[usize::from(*byte)])
}

/// By byte: [`stands_for_itself`].
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    loop {
        plain[byte as usize] = stands_for_itself(byte);
        if byte == u8::MAX {
            break plain;
        }
        byte += 1;
    }
};

/// Whether a byte can stand in text as it is.
const fn stands_for_itself(byte: u8) -> bool {
    let special = (byte == b'&') | (byte == b'<') | (byte == b'>') | (byte == b'"') | (byte == b'\'');
    let control = (byte < 0x20) & (byte != b'\n') & (byte != b'\t') | (byte == 0x7f);
    !(special | control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut XmlWriter)) -> String {
        let mut xml = XmlWriter::fragment();
        write(&mut xml);
        String::from_utf8(xml.finish()).unwrap()
    }

    #[test]
    fn a_document_begins_with_its_declaration_and_namespace() {
        let mut xml = XmlWriter::document();
        xml.root("ListBucketResult", |xml| xml.text("Name", "photos"));
        assert_eq!(
            String::from_utf8(xml.finish()).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>photos</Name></ListBucketResult>"
        );
    }

    #[test]
    fn values_are_written_as_s3_writes_them() {
        let md5 = [0xab; 16];
        for (xml, expected) in [
            (written(|xml| xml.number("N", 0)), "<N>0</N>"),
            (written(|xml| xml.number("N", 10)), "<N>10</N>"),
            (written(|xml| xml.number("N", 105)), "<N>105</N>"),
            (
                written(|xml| xml.number("N", u64::MAX)),
                "<N>18446744073709551615</N>",
            ),
            (written(|xml| xml.boolean("B", true)), "<B>true</B>"),
            (written(|xml| xml.text_if("T", None)), ""),
            (
                written(|xml| xml.time("M", Timestamp::from_millis(1))),
                "<M>1970-01-01T00:00:00.001Z</M>",
            ),
            (
                written(|xml| xml.etag("ETag", ETag::Multipart { md5, parts: 12 })),
                "<ETag>&quot;abababababababababababababababab-12&quot;</ETag>",
            ),
            (
                written(|xml| xml.text("T", "a<b>&\"'\r\u{1}é")),
                "<T>a&lt;b&gt;&amp;&quot;&apos;&#xD;&#x1;é</T>",
            ),
            (
                written(|xml| xml.key("Key", "a b+c/é&", KeyEncoding::Url)),
                "<Key>a%20b%2Bc/%C3%A9%26</Key>",
            ),
            (
                written(|xml| xml.key("Key", "a b+c/é&", KeyEncoding::Plain)),
                "<Key>a b+c/é&amp;</Key>",
            ),
        ] {
            assert_eq!(xml, expected);
        }
    }
}
