//! Decodes aws-chunked bodies while they arrive, and verifies the signature of each chunk and of the trailer.
//!
//! ```text
//! 10000;chunk-signature=<64 hex>\r\n<65536 bytes>\r\n
//! 0;chunk-signature=<64 hex>\r\n
//! x-amz-checksum-crc32c:<base64>\r\n
//! x-amz-trailer-signature:<64 hex>\r\n
//! \r\n
//! ```
//! The signatures are there in the signed forms, the trailer in those that announce one. Lines may end in a
//! bare line feed and the last blank line may be missing: clients differ, and nothing depends on it.

use std::fmt;

use bytes::Bytes;
use ring::digest;
use storage::model::{ChecksumAlgorithm, ChecksumValue};

use super::chunk_signing::ChunkSigning;
use crate::checksum;
use crate::error::{S3Code, S3Error, S3Result};

/// The longest line of the encoding, in bytes: twice what the longest valid one has.
const LINE_BYTES_MAX: usize = 256;

/// The most lines after the final chunk, blank ones included: twice what any client sends.
const TRAILER_LINES_MAX: usize = 8;

/// How a body is chunked, as its request said.
#[derive(Debug)]
pub struct Chunked {
    decoded_length: u64,
    trailer: Option<ChecksumAlgorithm>,
    /// Boxed: a signing key is large, and most bodies have none.
    signing: Option<Box<ChunkSigning>>,
}

impl Chunked {
    /// A body of so many decoded bytes, with the checksum trailer announced, and with signed chunks if
    /// `signing` continues the request's signature.
    pub fn new(
        decoded_length: u64,
        trailer: Option<ChecksumAlgorithm>,
        signing: Option<ChunkSigning>,
    ) -> Self {
        Self {
            decoded_length,
            trailer,
            signing: signing.map(Box::new),
        }
    }

    /// Bytes of content (`x-amz-decoded-content-length`).
    pub fn decoded_length(&self) -> u64 {
        self.decoded_length
    }
}

/// Takes a body apart: no input or output, no copies of content, and at most one line is held back.
#[derive(Debug)]
pub struct ChunkedDecoder {
    rule: Chunked,
    state: State,
    /// The signature of the chunk at hand, in the signed forms.
    chunk: Option<SignedChunk>,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
    /// Bytes of content in the chunks whose headers were read.
    content: u64,
    /// Lines read after the final chunk.
    trailer_lines: usize,
    checksum: Option<ChecksumValue>,
    /// The trailer as its signature covers it.
    trailer: Vec<u8>,
    trailer_verified: bool,
}

#[derive(Debug)]
enum State {
    /// Before a chunk's header.
    Header,
    /// Inside a chunk with so many bytes to come: at least one.
    Data(u64),
    /// Between a chunk's content and the next header.
    DataEnd,
    /// After the final chunk's header.
    Trailer,
    /// After an error: whatever follows is not looked at.
    Broken,
}

/// A chunk's signature, and the hash of its content so far.
struct SignedChunk {
    signature: [u8; 64],
    sha256: digest::Context,
}

impl fmt::Debug for SignedChunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedChunk(…)")
    }
}

impl ChunkedDecoder {
    /// A decoder at the beginning of a body.
    pub fn new(rule: Chunked) -> Self {
        Self {
            rule,
            state: State::Header,
            chunk: None,
            line: Vec::new(),
            content: 0,
            trailer_lines: 0,
            checksum: None,
            trailer: Vec::new(),
            trailer_verified: false,
        }
    }

    /// Takes bytes off the front of `input` up to the next piece of content, which shares their memory.
    /// `None` when all of `input` is taken and more is needed. A piece may be handed out before the signature
    /// of its chunk has been checked: only [`Self::finish`] says that the content is whole and authentic.
    ///
    /// # Errors
    /// `InvalidRequest` for a malformed chunk, `SignatureDoesNotMatch`, `IncompleteBody` for another decoded
    /// length than announced, `MalformedTrailerError`. Nothing of the body may be stored.
    pub fn decode(&mut self, input: &mut Bytes) -> S3Result<Option<Bytes>> {
        while !input.is_empty() {
            // An early return leaves `Broken` behind.
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Data(remaining) => {
                    let take = usize::try_from(remaining).map_or(input.len(), |most| most.min(input.len()));
                    let piece = input.split_to(take);
                    self.state = self.after_data(&piece, remaining - take as u64)?;
                    return Ok(Some(piece));
                }
                State::Broken => return Err(malformed("failed before")),
                state => self.state = self.read_line(state, input)?,
            }
        }
        Ok(None)
    }

    /// Ends the body: gives the trailer's checksum, if one was announced.
    ///
    /// # Errors
    /// `IncompleteBody`: the final chunk is missing. `MalformedTrailerError` or `SignatureDoesNotMatch`: the
    /// trailer is missing or wrong.
    pub fn finish(&mut self) -> S3Result<Option<ChecksumValue>> {
        match std::mem::replace(&mut self.state, State::Broken) {
            State::Trailer => {}
            State::Broken => return Err(malformed("failed before")),
            State::Header | State::Data(_) | State::DataEnd => return Err(S3Code::IncompleteBody.into()),
        }
        let last = std::mem::take(&mut self.line);
        self.trailer_line(last.trim_ascii())?;
        let missing = self.rule.trailer.is_some() && self.checksum.is_none();
        let unsigned = self.rule.signing.is_some() && self.checksum.is_some() && !self.trailer_verified;
        if missing || unsigned {
            return Err(S3Code::MalformedTrailerError.into());
        }
        Ok(self.checksum)
    }

    fn after_data(&mut self, piece: &[u8], remaining: u64) -> S3Result<State> {
        if let Some(chunk) = &mut self.chunk {
            chunk.sha256.update(piece);
        }
        if remaining > 0 {
            return Ok(State::Data(remaining));
        }
        if let (Some(signing), Some(chunk)) = (&mut self.rule.signing, self.chunk.take()) {
            signing.verify_chunk(chunk.sha256.finish().as_ref(), &chunk.signature)?;
        }
        Ok(State::DataEnd)
    }

    /// Takes a line off the input, or as much of it as is there, and gives what comes after it.
    fn read_line(&mut self, state: State, input: &mut Bytes) -> S3Result<State> {
        let end = input.iter().take(LINE_BYTES_MAX).position(|byte| *byte == b'\n');
        let part = input.split_to(end.map_or(input.len().min(LINE_BYTES_MAX), |end| end + 1));
        self.line.extend_from_slice(&part);
        if self.line.len() > LINE_BYTES_MAX || (end.is_none() && self.line.len() == LINE_BYTES_MAX) {
            return Err(malformed("too long a line"));
        }
        if end.is_none() {
            return Ok(state);
        }
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii_end();
        let next = match state {
            State::Header => self.chunk_header(text)?,
            State::DataEnd if text.is_empty() => State::Header,
            State::DataEnd => return Err(malformed("more content than its size says")),
            State::Data(_) | State::Trailer | State::Broken => {
                self.trailer_line(text)?;
                State::Trailer
            }
        };
        // Keeps the memory for the next line.
        self.line = line;
        self.line.clear();
        Ok(next)
    }

    /// Reads `SIZE;chunk-signature=DIGITS`, or `SIZE` with extensions that mean nothing to us.
    fn chunk_header(&mut self, line: &[u8]) -> S3Result<State> {
        let line = std::str::from_utf8(line).map_err(|_| malformed("a header that is not text"))?;
        let (size, extension) = line.split_once(';').unwrap_or((line, ""));
        let size = parse_size(size.trim())?;
        self.chunk = match self.rule.signing {
            None => None,
            Some(_) => Some(SignedChunk {
                signature: parse_signature(extension.trim().strip_prefix("chunk-signature="))?,
                sha256: digest::Context::new(&digest::SHA256),
            }),
        };
        self.content = self.content.saturating_add(size);
        let complete = size > 0 || self.content == self.rule.decoded_length;
        if self.content > self.rule.decoded_length || !complete {
            return Err(wrong_length(self.content, self.rule.decoded_length));
        }
        if size > 0 {
            return Ok(State::Data(size));
        }
        self.after_data(b"", 0)?;
        Ok(State::Trailer)
    }

    /// Reads `x-amz-checksum-…:VALUE`, `x-amz-trailer-signature:DIGITS` or a blank line.
    fn trailer_line(&mut self, line: &[u8]) -> S3Result<()> {
        let refused = || S3Error::new(S3Code::MalformedTrailerError);
        self.trailer_lines += 1;
        if self.trailer_lines > TRAILER_LINES_MAX {
            return Err(refused());
        }
        if line.is_empty() {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| refused())?;
        let (name, value) = line.split_once(':').ok_or_else(refused)?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        if self.trailer_verified {
            return Err(refused());
        }
        if let (Some(signing), "x-amz-trailer-signature") = (&mut self.rule.signing, name.as_str()) {
            signing.verify_trailer(&self.trailer, &parse_signature(Some(value))?)?;
            self.trailer_verified = true;
            return Ok(());
        }
        let announced = self
            .rule
            .trailer
            .filter(|algorithm| checksum::header_name(*algorithm) == name);
        let algorithm = announced
            .filter(|_| self.checksum.is_none())
            .ok_or_else(refused)?;
        self.checksum = Some(checksum::parse_value(algorithm, value)?);
        self.trailer
            .extend_from_slice(format!("{name}:{value}\n").as_bytes());
        Ok(())
    }
}

fn parse_size(text: &str) -> S3Result<u64> {
    // `from_str_radix` alone would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let size = u64::from_str_radix(text, 16).ok().filter(|_| digits);
    size.ok_or_else(|| malformed("a size that is no hexadecimal number"))
}

fn parse_signature(text: Option<&str>) -> S3Result<[u8; 64]> {
    let digits = text.and_then(|text| text.trim().as_bytes().try_into().ok());
    digits.ok_or_else(|| malformed("no signature of 64 hexadecimal digits"))
}

fn malformed(what: &str) -> S3Error {
    S3Error::invalid_request(format!("The aws-chunked body is malformed: a chunk has {what}."))
}

fn wrong_length(content: u64, announced: u64) -> S3Error {
    S3Error::with_message(
        S3Code::IncompleteBody,
        format!("The chunks hold {content} bytes, x-amz-decoded-content-length says {announced}."),
    )
}

#[cfg(test)]
mod tests;
