//! Asks the running node through its admin socket: what the command line is made of.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use appliance::Problem;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::exchange::exchange;

/// How long an answer may take: a change waits for a few disk syncs, or for the node to open.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens at the socket.
    #[error("no server is running (nobody answers at {})", .0.display())]
    NotRunning(PathBuf),
    /// The socket belongs to somebody else.
    #[error("{} belongs to another user", .0.display())]
    Denied(PathBuf),
    /// The answer did not come in time.
    #[error("the server did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The node said no.
    #[error("{}", .0.detail)]
    Problem(Problem),
    /// The socket cannot be used.
    #[error("reach the server at {}", .path.display())]
    Unreachable {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke off.
    #[error("the server broke off")]
    BrokeOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer makes no sense here: usually it comes from another version.
    #[error("the server's answer is not understood; does it run the same version?")]
    NotUnderstood(#[source] serde_json::Error),
}

/// Where a node with this state directory listens for its tools.
pub(crate) fn socket_path(state: &Path) -> PathBuf {
    state.join("admin.sock")
}

/// A way to ask one node.
#[derive(Clone, Debug)]
pub(crate) struct AdminClient {
    socket: PathBuf,
}

impl AdminClient {
    /// Asks the node with this state directory.
    pub(crate) fn new(state: &Path) -> Self {
        Self {
            socket: socket_path(state),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// The node does not run, or refuses.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, AskError> {
        understand(&self.ask(Method::GET, path, Bytes::new()).await?)
    }

    /// Reads a text.
    ///
    /// # Errors
    /// The node does not run, or refuses.
    pub(crate) async fn text(&self, path: &[&str]) -> Result<String, AskError> {
        let text = self.ask(Method::GET, path, Bytes::new()).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Sends a document and reads the answer.
    ///
    /// # Errors
    /// The node does not run, or refuses.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        document: &impl Serialize,
    ) -> Result<T, AskError> {
        let body = serde_json::to_vec(document).map_err(AskError::NotUnderstood)?;
        understand(&self.ask(method, path, body.into()).await?)
    }

    /// Deletes what the path names.
    ///
    /// # Errors
    /// The node does not run, or refuses.
    pub(crate) async fn delete(&self, path: &[&str]) -> Result<(), AskError> {
        self.ask(Method::DELETE, path, Bytes::new()).await.map(drop)
    }

    /// Sends a document, where there is nothing to say about what was done.
    ///
    /// # Errors
    /// The node does not run, or refuses.
    pub(crate) async fn post(&self, path: &[&str], document: &impl Serialize) -> Result<(), AskError> {
        let body = serde_json::to_vec(document).map_err(AskError::NotUnderstood)?;
        self.ask(Method::POST, path, body.into()).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &[&str], body: Bytes) -> Result<Bytes, AskError> {
        let request = Request::builder()
            .method(method)
            .uri(uri(path))
            .header(header::HOST, "warren")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the parts of the request are valid: the path is percent-encoded");
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(request));
        let (status, body) = answer.await.map_err(|_| AskError::Timeout)??;
        if status.is_success() {
            return Ok(body);
        }
        Err(AskError::Problem(understand(&body)?))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), AskError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreached(error))?;
        let answer = exchange(stream, request).await.map_err(AskError::BrokeOff)?;
        Ok((answer.status(), answer.into_body()))
    }

    fn unreached(&self, source: io::Error) -> AskError {
        let path = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NotRunning(path),
            io::ErrorKind::PermissionDenied => AskError::Denied(path),
            _ => AskError::Unreachable { path, source },
        }
    }
}

fn uri(path: &[&str]) -> String {
    path.iter().fold(String::from("/api/v1"), |uri, segment| {
        format!("{uri}/{}", utf8_percent_encode(segment, NON_ALPHANUMERIC))
    })
}

fn understand<T: DeserializeOwned>(body: &[u8]) -> Result<T, AskError> {
    serde_json::from_slice(body).map_err(AskError::NotUnderstood)
}
