//! Sends one request over a connection of its own, and reads the whole answer.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// No answer that is read whole has more bytes: a page of objects is the longest.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What went wrong with an exchange.
type Broken = Box<dyn std::error::Error + Send + Sync>;

/// Sends a request and reads the answer.
///
/// # Errors
/// The connection broke off, or the answer is longer than 64 MiB.
pub(crate) async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    let answer = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // The connection has to be driven while the answer is awaited. It ends when the answer
    // drops its sender, so waiting for both waits for the answer.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
