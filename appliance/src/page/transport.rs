//! Tells by the first byte of a connection whether a client speaks TLS or plain HTTP, and opens what it speaks: one port is
//! both.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// How a TLS connection begins: a record with a handshake (RFC 8446, section 5.1). No HTTP method begins with that.
const HANDSHAKE: u8 = 0x16;

/// How long a handshake may take from its first byte on: two round trips, and much patience for a bad radio link.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests are read from. TLS is boxed, because its buffers would make every connection large.
pub(super) type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Opens what the client speaks, which has to say something within `patience`.
///
/// # Errors
/// It says nothing, goes away, or speaks TLS badly, or where there is none.
pub(super) async fn open(
    stream: TcpStream,
    tls: Option<&Arc<ServerConfig>>,
    patience: Duration,
) -> io::Result<Transport> {
    let mut first = [0];
    if timeout(patience, stream.peek(&mut first)).await?? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first != [HANDSHAKE] {
        return Ok(Either::Left(stream));
    }
    let tls = tls.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
    let accepting = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    let accepted = timeout(patience.min(HANDSHAKE_TIMEOUT), accepting).await??;
    Ok(Either::Right(Box::new(accepted)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::{Https, Names, Signer, new_authority};

    /// A box that is called `localhost`, and what its visitors trust.
    fn home() -> (Https, RootCertStore) {
        let https = Https::new().unwrap();
        let signer = Signer {
            number: 1,
            since: String::new(),
            secret: new_authority(&[]).unwrap(),
        };
        https
            .renew(&signer, &Names::new(["localhost".into()], []), 1_795_737_600)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(
                https.facts(Vec::new()).unwrap().der.to_vec(),
            ))
            .unwrap();
        (https, roots)
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connecting, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn one_port_speaks_both() {
        let (https, roots) = home();
        let config = https.config();
        let (mut client, stream) = pair().await;
        client.write_all(b"GET /").await.unwrap();
        let plain = open(stream, Some(&config), PATIENCE).await.unwrap();
        assert!(matches!(plain, Either::Left(_)));

        let trusting = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let trusting = trusting.with_safe_default_protocol_versions().unwrap();
        // The certificate is valid from a time on that the clock of whoever runs this may not have reached.
        let mut trusting = trusting.with_root_certificates(roots).with_no_client_auth();
        trusting.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        trusting.time_provider = Arc::new(Then);
        let (client, stream) = pair().await;
        let connecting =
            TlsConnector::from(Arc::new(trusting)).connect("localhost".try_into().unwrap(), client);
        let (client, served) = tokio::join!(connecting, open(stream, Some(&config), PATIENCE));
        let (mut client, mut served) = (client.unwrap(), served.unwrap());
        assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.write_all(b"GET /").await.unwrap();
        client.flush().await.unwrap();
        let mut read = [0; 5];
        served.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"GET /");
    }

    #[derive(Debug)]
    struct Then;

    impl tokio_rustls::rustls::time_provider::TimeProvider for Then {
        fn current_time(&self) -> Option<tokio_rustls::rustls::pki_types::UnixTime> {
            let then = Duration::from_secs(1_795_737_600);
            Some(tokio_rustls::rustls::pki_types::UnixTime::since_unix_epoch(then))
        }
    }

    #[tokio::test]
    async fn who_says_nothing_stalls_or_talks_rubbish_is_cut() {
        let (https, _) = home();
        let config = https.config();
        for (said, why) in [
            (&b""[..], io::ErrorKind::TimedOut),
            (b"\x16\x03\x01", io::ErrorKind::TimedOut),
            (b"\x16\xff\xff\xff\xff\xff", io::ErrorKind::InvalidData),
        ] {
            let (mut client, stream) = pair().await;
            client.write_all(said).await.unwrap();
            let refused = open(stream, Some(&config), Duration::from_millis(200)).await;
            assert_eq!(refused.err().unwrap().kind(), why, "{said:?}");
        }
        let (mut client, stream) = pair().await;
        client.write_all(b"\x16\x03\x01").await.unwrap();
        let refused = open(stream, None, PATIENCE).await;
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::Unsupported);
    }
}
