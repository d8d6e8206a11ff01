//! Speaks S3 to one server over one kept-alive connection, signing every request.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use crate::sign::Signer;

/// What signs a request: the two halves of an access key.
#[derive(Clone)]
pub struct Credentials {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret: String,
}

/// One request, before it is signed.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The HTTP method.
    pub method: Method,
    /// The path as S3 decodes it, e.g. `/bucket/a key`; encoded when sent.
    pub path: String,
    /// Query parameters, not yet encoded.
    pub query: Vec<(&'static str, String)>,
    /// Further headers; `host` and the `x-amz-*` of the signature are added.
    pub headers: Vec<(&'static str, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl Ask {
    /// A request without query, further headers or body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a header; its name in lower case.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// A complete answer.
#[derive(Debug)]
pub struct Reply {
    /// The status line.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Reply {
    /// The text of the first element `name` of an XML body.
    pub fn element(&self, name: &str) -> Option<&str> {
        elements(std::str::from_utf8(&self.body).ok()?, name).next()
    }
}

/// The texts of all elements `name` of a flat XML document, in order; entities are left as they are.
pub fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let close = format!("</{name}>");
    xml.split(&format!("<{name}>"))
        .skip(1)
        .filter_map(|rest| rest.split(&close).next())
        .collect::<Vec<_>>()
        .into_iter()
}

/// Why there is no complete answer. Whether the server acted is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection.
    #[error("no connection to the server")]
    Connect(#[from] io::Error),
    /// The connection broke, or what came over it was not HTTP.
    #[error("the exchange broke off")]
    Exchange(#[from] hyper::Error),
    /// The request cannot be written as HTTP.
    #[error("not a valid request")]
    Request(#[from] http::Error),
}

/// A signing client with one connection, which it opens anew when it was closed.
pub struct Client {
    server: SocketAddr,
    signer: Signer,
    connection: Option<Connection>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Client {
    /// A client of the server at this address; connects at its first request.
    pub fn new(server: SocketAddr, credentials: Credentials) -> Self {
        Self {
            server,
            signer: Signer::new(server, credentials),
            connection: None,
        }
    }

    /// Sends a request and takes the whole answer into memory.
    ///
    /// # Errors
    /// There was no complete answer; the request may have been carried out nevertheless.
    pub async fn call(&mut self, ask: Ask) -> Result<Reply, ClientError> {
        let (head, body) = self.send(ask).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// Sends a request and hands over the answer as soon as its head is there.
    ///
    /// # Errors
    /// There was no answer; the request may have been carried out nevertheless.
    pub async fn send(&mut self, ask: Ask) -> Result<http::Response<Incoming>, ClientError> {
        let request = self.signer.sign(ask)?;
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => Connection::open(self.server).await?,
        };
        if connection.requests.ready().await.is_err() {
            connection = Connection::open(self.server).await?;
        }
        let response = connection.requests.send_request(request).await?;
        self.connection = Some(connection);
        Ok(response)
    }
}

impl Connection {
    async fn open(server: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(server).await?;
        stream.set_nodelay(true)?;
        let (mut requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // An error of the connection reaches whoever waits for the answer; here nobody is left to tell.
        let driver = tokio::spawn(async move { driver.await.unwrap_or_default() });
        requests.ready().await?;
        Ok(Self {
            requests,
            _driver: AbortOnDropHandle::new(driver),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn elements_of_a_list_come_in_order() {
        let xml = "<L><Key>a</Key><X><Key>b&amp;c</Key></X></L>";
        assert_eq!(elements(xml, "Key").collect::<Vec<_>>(), ["a", "b&amp;c"]);
    }
}
