//! Sends one message to a webhook: a connection, a POST, an answer, all of it within ten seconds.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};

use super::{Authorities, Webhook};

/// How long all of it may take. Source: what AWS gives an HTTPS endpoint of SNS is 15 s; a receiver here is nearer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a webhook was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// It took too long.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    TooSlow,
    /// No connection, or it broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Nobody who is trusted vouches for its certificate.
    #[error("no authority that is trusted vouches for its certificate (s3.webhook_ca_files can name one)")]
    Stranger,
    /// Its certificate is for somebody else.
    #[error("its certificate is for another name")]
    OtherName,
    /// Its certificate proves nothing, for another reason.
    #[error("its certificate is not valid: {0:?}")]
    Certificate(CertificateError),
    /// Something else than HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// An answer that is not 2xx. A redirect is none either: it leads where the owner of the box did not say.
    #[error("it answers {0}")]
    Refused(StatusCode),
    /// This machine cannot speak TLS.
    #[error("TLS is not available")]
    NoTls,
    /// The URL cannot be sent.
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// What TLS connections are made with: the certificate authorities that browsers trust, or those of the owner's choice.
pub(super) struct Tls(Option<TlsConnector>);

impl Tls {
    pub(super) fn new(authorities: Option<&Authorities>) -> Self {
        let roots = match authorities {
            Some(authorities) => authorities.roots(),
            None => RootCertStore {
                roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
            },
        };
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map(|config| config.with_root_certificates(roots).with_no_client_auth());
        Self(config.ok().map(|config| TlsConnector::from(Arc::new(config))))
    }
}

/// Sends a message, and waits until it is taken.
///
/// # Errors
/// As [`PostError`] says. The webhook may have taken it all the same.
pub(super) async fn post(webhook: &Webhook, tls: &Tls, body: String) -> Result<(), PostError> {
    match timeout(PATIENCE, sent(webhook, tls, body)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(PostError::TooSlow),
    }
}

async fn sent(webhook: &Webhook, tls: &Tls, body: String) -> Result<(), PostError> {
    let (host, port) = webhook.address();
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let request = request(webhook, body)?;
    if !webhook.is_https() {
        return exchange(stream, request).await;
    }
    let tls = tls.0.as_ref().ok_or(PostError::NoTls)?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = tls.connect(name, stream).await.map_err(why_not_connected)?;
    exchange(stream, request).await
}

/// What the owner of the box can do about it, where that is known.
fn why_not_connected(error: io::Error) -> PostError {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => PostError::Stranger,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                PostError::OtherName
            }
            other => PostError::Certificate(other.clone()),
        },
        _ => PostError::Io(error),
    }
}

fn request(webhook: &Webhook, body: String) -> Result<Request<Full<Bytes>>, PostError> {
    let target = webhook
        .url()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let host = webhook
        .url()
        .authority()
        .map_or("", |authority| authority.as_str());
    Ok(Request::post(target)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "Warren")
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Full::new(Bytes::from(body)))?)
}

/// Sends a request over a connection of its own. Of the answer only the status counts; the rest is not read.
async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(), PostError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let (answer, connection) = (pin!(sender.send_request(request)), pin!(connection));
    let answered = match select(answer, connection).await {
        Either::Left((answered, _)) => answered?,
        // The connection may end with the answer that is just being handed over.
        Either::Right((ended, answer)) => {
            ended?;
            answer.await?
        }
    };
    match answered.status() {
        status if status.is_success() => Ok(()),
        status => Err(PostError::Refused(status)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// What a receiver that answers so makes of an event, and what it was sent.
    async fn told(answer: &str) -> (Result<(), String>, String) {
        let webhook = Webhook::parse("hook=http://hooks.example:81/secret?a=b").unwrap();
        let (ours, mut theirs) = duplex(4096);
        let sending = exchange(ours, request(&webhook, "{}".into()).unwrap());
        let receiving = async {
            let mut said = vec![0; 1024];
            let mut length = 0;
            while !said[..length].ends_with(b"{}") {
                length += theirs.read(&mut said[length..]).await.unwrap();
            }
            theirs.write_all(answer.as_bytes()).await.unwrap();
            drop(theirs);
            String::from_utf8_lossy(&said[..length]).into_owned()
        };
        let (sent, said) = tokio::join!(sending, receiving);
        (sent.map_err(|error| error.to_string()), said)
    }

    #[tokio::test]
    async fn only_an_answer_of_success_means_that_an_event_was_taken() {
        let (sent, said) = told("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(sent, Ok(()));
        assert!(said.starts_with("POST /secret?a=b HTTP/1.1\r\n"), "{said}");
        assert!(said.contains("host: hooks.example:81\r\n"), "{said}");
        for (answer, why) in [
            (
                "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n",
                "302",
            ),
            ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", "500"),
        ] {
            assert!(told(answer).await.0.unwrap_err().contains(why), "{answer}");
        }
        assert!(told("220 mail.example ESMTP\r\n").await.0.is_err());
        assert!(told("").await.0.is_err());
    }

    #[test]
    fn tls_is_there() {
        assert!(Tls::new(None).0.is_some());
    }
}
