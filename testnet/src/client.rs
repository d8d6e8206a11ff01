//! Speaks S3 over one keep-alive connection at as little CPU as possible, because it shares the cores with the server it drives.

mod content;
mod reply;
mod sign;
mod upload;
mod xml;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use md5::{Digest, Md5};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

pub(crate) use content::{Content, scramble};
pub(crate) use reply::{Reply, Take};
pub(crate) use sign::{Payload, Signer, iso};
pub(crate) use upload::{NotUploaded, PART_BYTES_MIN};
pub(crate) use xml::texts;

use reply::Incoming;
use sign::Signable;

/// Bodies go out in writes of this many bytes.
const WRITE_BYTES: usize = 256 * 1024;

/// One request; path and query are already percent-encoded, the query also sorted as SigV4 wants it.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// `GET`, `PUT`, …
    pub(crate) method: &'a str,
    /// Starts with `/`: the bucket and the key.
    pub(crate) path: &'a str,
    /// Without the question mark; empty for none.
    pub(crate) query: &'a str,
    /// What to send after the head.
    pub(crate) body: Body<'a>,
    /// What to do with the body of the answer.
    pub(crate) take: Take,
}

impl<'a> Request<'a> {
    /// One whose answer is kept.
    pub(crate) const fn kept((method, path, query): (&'a str, &'a str, &'a str), body: Body<'a>) -> Self {
        Self {
            method,
            path,
            query,
            body,
            take: Take::Keep,
        }
    }
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    /// No body and no length header.
    Empty,
    /// These bytes.
    Bytes(&'a [u8]),
    /// Reproducible bytes, made while they are sent.
    Content(Content),
}

impl Body<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Content(content) => content.len,
        }
    }

    fn fill(&self, offset: u64, out: &mut [u8]) {
        match self {
            Self::Empty => {}
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                out.copy_from_slice(&bytes[start..start + out.len()]);
            }
            Self::Content(content) => content.fill(offset, out),
        }
    }
}

/// A keep-alive connection that carries one request at a time.
///
/// # Cancellation
/// A connection whose `send` was dropped or failed is out of step and must be replaced.
pub(crate) struct Connection {
    stream: TcpStream,
    host: String,
    signer: Signer,
    /// How far the clock is ahead by which requests are signed, in milliseconds.
    ahead_ms: i64,
    outgoing: Vec<u8>,
    incoming: Incoming,
}

impl Connection {
    /// Connects to a server that knows the signer's key.
    pub(crate) async fn open(address: SocketAddr, signer: Signer) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            host: address.to_string(),
            signer,
            ahead_ms: 0,
            outgoing: Vec::with_capacity(2048),
            incoming: Incoming::new(),
        })
    }

    /// Signs from now on by a clock that is ahead of this machine's by so many milliseconds, or behind it.
    pub(crate) fn set_clock(&mut self, ahead_ms: i64) {
        self.ahead_ms = ahead_ms;
    }

    /// Sends one signed request and reads its whole answer; any status is an answer.
    ///
    /// # Errors
    /// The connection broke, the answer is not HTTP/1.1, or its body is not what [`Take::Compare`] expects.
    pub(crate) async fn send(&mut self, request: &Request<'_>) -> io::Result<Reply> {
        self.send_with(request, &[]).await
    }

    /// The same with further headers, which the signature does not cover.
    ///
    /// # Errors
    /// See [`Self::send`].
    pub(crate) async fn send_with(
        &mut self,
        request: &Request<'_>,
        headers: &[(&str, &str)],
    ) -> io::Result<Reply> {
        self.write_head(request, headers);
        let sent = self.write(request.body).await;
        let reply = self
            .incoming
            .reply(&mut self.stream, request.method == "HEAD", request.take)
            .await;
        // A server that refuses a body early closes while we write; its answer says why, the broken pipe does not.
        match (sent, reply) {
            (_, Ok(reply)) => Ok(reply),
            (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(error),
        }
    }

    fn write_head(&mut self, request: &Request<'_>, headers: &[(&str, &str)]) {
        let out = &mut self.outgoing;
        out.clear();
        for part in [request.method, " ", request.path] {
            out.extend_from_slice(part.as_bytes());
        }
        if !request.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(request.query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
        out.extend_from_slice(self.host.as_bytes());
        if !matches!(request.body, Body::Empty) {
            out.extend_from_slice(format!("\r\ncontent-length: {}", request.body.len()).as_bytes());
        }
        for (name, value) in headers {
            out.extend_from_slice(format!("\r\n{name}: {value}").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        let signable = Signable {
            method: request.method,
            path: request.path,
            query: request.query,
            host: &self.host,
        };
        let off = Duration::from_millis(self.ahead_ms.unsigned_abs());
        let now = match self.ahead_ms {
            0.. => SystemTime::now() + off,
            _ => SystemTime::now() - off,
        };
        self.signer.sign(&signable, &request.body, now, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Sends the head and the body, in one write if they fit.
    async fn write(&mut self, body: Body<'_>) -> io::Result<()> {
        let total = body.len();
        let mut offset = 0;
        loop {
            let head = self.outgoing.len();
            let room = (WRITE_BYTES - head.min(WRITE_BYTES)) as u64;
            let take = usize::try_from(room.min(total - offset)).unwrap_or(WRITE_BYTES);
            self.outgoing.resize(head + take, 0);
            body.fill(offset, &mut self.outgoing[head..]);
            self.stream.write_all(&self.outgoing).await?;
            self.outgoing.clear();
            offset += take as u64;
            if offset == total {
                return Ok(());
            }
        }
    }
}

/// The ETag S3 gives a body sent in one PUT: quoted hexadecimal MD5.
pub(crate) fn etag_of(content: Content) -> String {
    let mut md5 = Md5::new();
    content.for_each_chunk(|chunk| md5.update(chunk));
    format!("\"{}\"", hex::encode(md5.finalize()))
}

/// The ETag of these bytes, sent in one PUT.
pub(crate) fn etag_of_bytes(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::digest(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    /// Answers the first request with `answer` whatever it is; returns what the client made of it and what it had sent.
    async fn exchange(request: Request<'_>, answer: &'static [u8]) -> (io::Result<Reply>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut seen = vec![0; 64 * 1024];
            let length = stream.read(&mut seen).await.unwrap();
            seen.truncate(length);
            stream.write_all(answer).await.unwrap();
            seen
        });
        let mut connection = Connection::open(address, Signer::new("id", "secret", "r", Payload::Unsigned))
            .await
            .unwrap();
        let reply = connection.send(&request).await;
        (reply, server.await.unwrap())
    }

    fn get(take: Take) -> Request<'static> {
        Request {
            method: "GET",
            path: "/b/k",
            query: "",
            body: Body::Empty,
            take,
        }
    }

    #[tokio::test]
    async fn a_put_carries_its_length_and_its_bytes_behind_a_signed_head() {
        let put = Request {
            method: "PUT",
            body: Body::Bytes(b"hello"),
            ..get(Take::Discard)
        };
        let (reply, sent) = exchange(
            put,
            b"HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
        let sent = String::from_utf8(sent).unwrap();
        assert!(
            sent.starts_with("PUT /b/k HTTP/1.1\r\nhost: 127.0.0.1:"),
            "{sent}"
        );
        assert!(
            sent.contains("\r\ncontent-length: 5\r\n") && sent.ends_with("\r\n\r\nhello"),
            "{sent}"
        );
        assert!(
            sent.contains("authorization: AWS4-HMAC-SHA256 Credential=id/"),
            "{sent}"
        );
        assert_eq!(reply.unwrap().etag.as_deref(), Some("\"x\""));
    }

    #[tokio::test]
    async fn a_chunked_answer_is_put_together() {
        let answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let (reply, _) = exchange(get(Take::Keep), answer).await;
        let reply = reply.unwrap();
        assert_eq!((reply.length, reply.body.as_slice()), (5, b"abcde".as_slice()));
    }

    #[tokio::test]
    async fn a_body_cut_short_is_an_error() {
        let (reply, _) = exchange(
            get(Take::Discard),
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc",
        )
        .await;
        assert_eq!(reply.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_body_that_differs_from_the_expected_one_is_an_error() {
        let expected = Take::Compare(Content { seed: 7, len: 3 });
        let (reply, _) = exchange(get(expected), b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc").await;
        assert_eq!(reply.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
