//! Reads HTTP/1.1 answers from one connection through one reused buffer.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::Content;

const BUFFER_BYTES: usize = 256 * 1024;
const HEADERS_MAX: usize = 64;

/// What to do with the body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Count its bytes.
    Discard,
    /// Keep it in memory.
    Keep,
    /// Compare the body of a 2xx answer with this content while it arrives; other answers are kept.
    Compare(Content),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// Bytes of body received; for HEAD the length announced.
    pub(crate) length: u64,
    /// The ETag header, with its quotes.
    pub(crate) etag: Option<String>,
    /// The id of the version that it is about.
    pub(crate) version: Option<String>,
    /// The body of an answer that was kept; every answer outside 2xx is.
    pub(crate) body: Vec<u8>,
}

/// The reading half's state: bytes that arrived and are not yet consumed.
pub(super) struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

struct Head {
    status: u16,
    framing: Framing,
    etag: Option<String>,
    version: Option<String>,
}

#[derive(Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
        }
    }

    /// Reads one answer, body included; skips interim 1xx answers.
    pub(super) async fn reply(
        &mut self,
        stream: &mut TcpStream,
        head_only: bool,
        take: Take,
    ) -> io::Result<Reply> {
        let head = loop {
            let head = self.head(stream).await?;
            if head.status >= 200 {
                break head;
            }
        };
        let mut reply = Reply {
            status: head.status,
            length: 0,
            etag: head.etag,
            version: head.version,
            body: Vec::new(),
        };
        let take = if (200..300).contains(&head.status) {
            take
        } else {
            Take::Keep
        };
        match head.framing {
            Framing::Length(length) if head_only => reply.length = length,
            Framing::Chunked if head_only => {}
            Framing::Length(length) => self.body(stream, length, take, &mut reply).await?,
            Framing::Chunked => self.chunks(stream, take, &mut reply).await?,
        }
        Ok(reply)
    }

    async fn head(&mut self, stream: &mut TcpStream) -> io::Result<Head> {
        loop {
            if let Some((length, head)) = parse_head(&self.buffer[self.start..self.end])? {
                self.start += length;
                return Ok(head);
            }
            self.read_more(stream).await?;
        }
    }

    async fn body(
        &mut self,
        stream: &mut TcpStream,
        length: u64,
        take: Take,
        reply: &mut Reply,
    ) -> io::Result<()> {
        let mut left = length;
        while left > 0 {
            if self.start == self.end {
                self.read_more(stream).await?;
            }
            let usable = (self.end - self.start).min(usize::try_from(left).unwrap_or(usize::MAX));
            let bytes = &self.buffer[self.start..self.start + usable];
            match take {
                Take::Discard => {}
                Take::Keep => reply.body.extend_from_slice(bytes),
                Take::Compare(content) => {
                    if !content.matches(reply.length, bytes) {
                        return Err(invalid("the body is not what was stored"));
                    }
                }
            }
            self.start += usable;
            left -= usable as u64;
            reply.length += usable as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, stream: &mut TcpStream, take: Take, reply: &mut Reply) -> io::Result<()> {
        loop {
            let line = self.line(stream).await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(digits, 16).map_err(|_| invalid("bad chunk size"))?;
            self.body(stream, length, take, reply).await?;
            // Behind a chunk stands an empty line, behind the last one trailers and then an empty line.
            while !self.line(stream).await?.is_empty() {}
            if length == 0 {
                return Ok(());
            }
        }
    }

    async fn line(&mut self, stream: &mut TcpStream) -> io::Result<String> {
        loop {
            let waiting = &self.buffer[self.start..self.end];
            if let Some(end) = waiting.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&waiting[..end]).into_owned();
                self.start += end + 2;
                return Ok(line);
            }
            self.read_more(stream).await?;
        }
    }

    async fn read_more(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            return Err(invalid("a head or line longer than the buffer"));
        }
        match stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                self.end += length;
                Ok(())
            }
        }
    }
}

/// The head that starts `bytes` and its length, or `None` while it is incomplete.
fn parse_head(bytes: &[u8]) -> io::Result<Option<(usize, Head)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
    };
    let mut head = Head {
        status: response.code.unwrap_or(0),
        framing: Framing::Length(0),
        etag: None,
        version: None,
    };
    for header in response.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = String::from_utf8_lossy(header.value);
            head.framing = Framing::Length(text.trim().parse().map_err(|_| invalid("bad content-length"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("etag") {
            head.etag = Some(String::from_utf8_lossy(header.value).into_owned());
        } else if header.name.eq_ignore_ascii_case("x-amz-version-id") {
            head.version = Some(String::from_utf8_lossy(header.value).into_owned());
        }
    }
    Ok(Some((length, head)))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
