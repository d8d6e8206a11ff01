//! Takes `multipart/form-data` (RFC 7578) apart as it arrives, holding no more than a piece of it.
//!
//! A parser of our own: those of libraries keep whatever a fast sender has ready, which for a form is its whole file.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::error::{S3Code, S3Error, S3Result};

/// Most bytes of the headers of a part.
const HEADERS_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of white space between a boundary and the end of its line.
const PADDING_BYTES_MAX: usize = 64;

/// What comes next in a form.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A field begins.
    Part(Part),
    /// Some of its content.
    Content(Bytes),
    /// It ends.
    PartEnd,
    /// The form ends; what follows means nothing.
    End,
}

/// What the headers of a part say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The name of the field.
    pub name: String,
    /// What the file is called on the client.
    pub filename: Option<String>,
    /// What its sender says that it is: a media type.
    pub content_type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// Right behind a boundary.
    Boundary,
    Headers,
    Content,
    End,
}

/// A form that is being read. Give it bytes, then take events until it wants more.
#[derive(Debug)]
pub struct Multipart {
    delimiter: Finder<'static>,
    buffer: BytesMut,
    state: State,
}

impl Multipart {
    /// A form whose parts this boundary separates.
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}");
        Self {
            delimiter: Finder::new(delimiter.as_bytes()).into_owned(),
            // So that the first boundary, which nothing need precede, looks like the others.
            buffer: BytesMut::from(&b"\r\n"[..]),
            state: State::Preamble,
        }
    }

    /// Takes bytes of the form.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// How many bytes were pushed and not yet made into events.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next event in what was pushed; `None`: more is needed.
    ///
    /// # Errors
    /// `MalformedPOSTRequest`.
    pub fn event(&mut self) -> S3Result<Option<Event>> {
        loop {
            match self.state {
                State::Preamble => {
                    let certain = match self.delimiter.find(&self.buffer) {
                        Some(at) => at,
                        None => self.certain_bytes(),
                    };
                    self.buffer.advance(certain);
                    if !self.at_boundary() {
                        return Ok(None);
                    }
                }
                State::Content => match self.delimiter.find(&self.buffer) {
                    Some(0) => {
                        self.at_boundary();
                        return Ok(Some(Event::PartEnd));
                    }
                    Some(at) => return Ok(Some(self.content(at))),
                    None => {
                        let certain = self.certain_bytes();
                        return Ok((certain > 0).then(|| self.content(certain)));
                    }
                },
                State::Boundary => {
                    if !self.pass_boundary()? {
                        return Ok(None);
                    }
                }
                State::Headers => return self.headers(),
                State::End => {
                    self.buffer.clear();
                    return Ok(Some(Event::End));
                }
            }
        }
    }

    /// How many bytes cannot be the beginning of a boundary.
    fn certain_bytes(&self) -> usize {
        self.buffer
            .len()
            .saturating_sub(self.delimiter.needle().len() - 1)
    }

    /// Passes a boundary where one is next.
    fn at_boundary(&mut self) -> bool {
        let is_there = self.buffer.starts_with(self.delimiter.needle());
        if is_there {
            self.buffer.advance(self.delimiter.needle().len());
            self.state = State::Boundary;
        }
        is_there
    }

    fn content(&mut self, bytes: usize) -> Event {
        Event::Content(self.buffer.split_to(bytes).freeze())
    }

    /// Passes the rest of a boundary's line; false: more is needed.
    fn pass_boundary(&mut self) -> S3Result<bool> {
        if self.buffer.len() < 2 {
            return Ok(false);
        }
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            return Ok(true);
        }
        let padding = self
            .buffer
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        match &self.buffer[padding..] {
            _ if padding > PADDING_BYTES_MAX => Err(malformed()),
            [] | [b'\r'] => Ok(false),
            [b'\r', b'\n', ..] => {
                // The line break stays: headers that are none are an empty line.
                self.buffer.advance(padding);
                self.state = State::Headers;
                Ok(true)
            }
            _ => Err(malformed()),
        }
    }

    fn headers(&mut self) -> S3Result<Option<Event>> {
        let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") else {
            return match self.buffer.len() > HEADERS_BYTES_MAX {
                true => Err(malformed()),
                false => Ok(None),
            };
        };
        if end > HEADERS_BYTES_MAX {
            return Err(malformed());
        }
        let part = part(std::str::from_utf8(&self.buffer[..end]).map_err(|_| malformed())?)?;
        self.buffer.advance(end + 4);
        self.state = State::Content;
        Ok(Some(Event::Part(part)))
    }
}

/// Reads the headers of a part; those that say nothing about a form are left alone.
fn part(headers: &str) -> S3Result<Part> {
    let header = |wanted: &str| {
        let mut lines = headers.split("\r\n").filter_map(|line| line.split_once(':'));
        lines
            .find(|(name, _)| name.trim().eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let disposition = header("content-disposition").ok_or_else(malformed)?;
    let (kind, parameters) = disposition.split_once(';').ok_or_else(malformed)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(malformed());
    }
    let mut part = Part {
        content_type: header("content-type").map(str::to_owned),
        ..Part::default()
    };
    for (name, value) in parameters_of(parameters)? {
        match name.as_str() {
            "name" => part.name = value,
            "filename" => part.filename = Some(value),
            _ => {}
        }
    }
    if part.name.is_empty() {
        Err(malformed())
    } else {
        Ok(part)
    }
}

/// Reads `name="a"; filename="b"`; in quotes, a backslash stands before a quote or a backslash.
fn parameters_of(mut text: &str) -> S3Result<Vec<(String, String)>> {
    let mut parameters = Vec::new();
    loop {
        text = text.trim_matches([' ', '\t', ';']);
        if text.is_empty() {
            return Ok(parameters);
        }
        let (name, rest) = text.split_once('=').ok_or_else(malformed)?;
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        parameters.push((name.trim().to_ascii_lowercase(), value));
        text = rest;
    }
}

fn unquoted(text: &str) -> S3Result<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\')) {
                Some((_, escaped)) => value.push(escaped),
                // Browsers send the backslashes of a Windows path as they are.
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    Err(malformed())
}

/// The boundary that a `Content-Type` names, if it is that of a form.
pub fn boundary_of(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let parameters = parameters_of(parameters).ok()?;
    let (_, boundary) = parameters.into_iter().find(|(name, _)| name == "boundary")?;
    // Source: RFC 2046 section 5.1.1.
    (1..=70).contains(&boundary.len()).then_some(boundary)
}

/// The answer to a form that is none.
pub(super) fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedPOSTRequest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a form sent in pieces of this size is read as, e.g. `key=a|file(f.txt)=b|end`.
    fn read(form: &[u8], piece_bytes: usize) -> S3Result<String> {
        let mut multipart = Multipart::new("XX");
        let mut shown = String::new();
        for piece in form.chunks(piece_bytes) {
            multipart.push(piece);
            while let Some(event) = multipart.event()? {
                match event {
                    Event::Part(part) => {
                        shown += &part.name;
                        shown += &part.filename.map(|name| format!("({name})")).unwrap_or_default();
                        shown.push('=');
                    }
                    Event::Content(content) => shown += &String::from_utf8_lossy(&content),
                    Event::PartEnd => shown.push('|'),
                    Event::End => return Ok(shown + "end"),
                }
            }
        }
        Ok(shown)
    }

    fn check(form: &str, expected: &str) {
        for piece_bytes in [1, 2, 3, 7, 1000] {
            assert_eq!(
                read(form.as_bytes(), piece_bytes).unwrap(),
                expected,
                "in {piece_bytes}s"
            );
        }
    }

    #[test]
    fn a_form_is_read_however_it_is_cut_into_pieces() {
        check(
            "--XX\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\na\r\n\
             --XX  \r\ncontent-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename=\"f \\\"1\\\".txt\"; name=file\r\n\r\n\
             one\r\n--X\r\n--YXX\r\n--XX--",
            "key=a|file(f \"1\".txt)=one\r\n--X\r\n--YXX|end",
        );
        check(
            "preamble\r\n--XX\r\nContent-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX--\r\nepilogue",
            "empty=|end",
        );
        check(
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a\"\r\n\r\n--X\r\n--XX--",
            "file(C:\\dir\\a)=--X|end",
        );
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for form in [
            "--XX\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n",
            "--XX\r\nContent-Disposition: form-data; filename=\"a\"\r\n\r\n",
            "--XX\r\nContent-Disposition: form-data; name=\"a\r\n\r\n",
            "--XX\r\nContent-Type: text/plain\r\n\r\n",
            "--XXjunk\r\n",
            "--XX\r\n\r\n",
            &format!("--XX{}", " ".repeat(65)),
            &format!("--XX\r\n{}", "x".repeat(HEADERS_BYTES_MAX + 1)),
        ] {
            assert!(read(form.as_bytes(), 1000).is_err(), "{form}");
        }
        assert_eq!(
            boundary_of("multipart/form-data; boundary=\"a b\""),
            Some("a b".into())
        );
        assert_eq!(
            boundary_of("Multipart/Form-Data;charset=utf-8;boundary=ab"),
            Some("ab".into())
        );
        for none in [
            "text/plain; boundary=a",
            "multipart/form-data",
            "multipart/form-data; boundary=",
        ] {
            assert_eq!(boundary_of(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn content_is_given_as_it_was_sent(content: Vec<u8>, piece_bytes in 1_usize..40) {
            prop_assume!(memchr::memmem::find(&content, b"--XX").is_none());
            let mut form = b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n".to_vec();
            form.extend_from_slice(&content);
            form.extend_from_slice(b"\r\n--XX--\r\n");
            let mut multipart = Multipart::new("XX");
            let mut read = Vec::new();
            for piece in form.chunks(piece_bytes) {
                multipart.push(piece);
                while let Some(event) = multipart.event().unwrap() {
                    match event {
                        Event::Content(bytes) => read.extend_from_slice(&bytes),
                        Event::End => break,
                        _ => {}
                    }
                }
                // What is held is never more than a piece and a boundary.
                prop_assert!(multipart.buffer.len() <= piece_bytes + 60);
            }
            prop_assert_eq!(read, content);
        }

        #[test]
        fn any_bytes_are_read_or_refused(form in "(--XX|\r\n|Content-Disposition: form-data; name=|a|\"|;|=|-| ){0,30}", piece_bytes in 1_usize..9) {
            let _ = read(form.as_bytes(), piece_bytes);
        }
    }
}
