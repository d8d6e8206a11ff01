//! Tells by the first byte of a connection whether a client speaks TLS or plain HTTP, and opens what it speaks: one port is
//! both.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{CipherSuite, ProtocolVersion, ServerConfig};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// How a TLS connection begins: a record with a handshake (RFC 8446, section 5.1). No HTTP method begins with that.
const HANDSHAKE: u8 = 0x16;

/// How long a handshake may take from its first byte on: two round trips, and much patience for a bad radio link.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What requests are read from. TLS is boxed, because its buffers would make every connection large.
pub(crate) type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// How a connection is encrypted, in the words of OpenSSL, which access logs of AWS have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cipher {
    pub(crate) version: &'static str,
    pub(crate) suite: &'static str,
}

impl Cipher {
    /// The version as conditions of policies have it, such as `1.3`.
    pub(crate) fn version_number(self) -> Option<&'static str> {
        self.version.strip_prefix("TLSv")
    }
}

/// How nobody between a client and us reads what they say; none where everybody can.
pub(crate) fn cipher(transport: &Transport) -> Option<Cipher> {
    let Either::Right(stream) = transport else {
        return None;
    };
    let (_, connection) = stream.get_ref();
    let suite = connection.negotiated_cipher_suite().map(|suite| suite.suite());
    Some(Cipher {
        version: match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "TLSv1.3",
        },
        suite: suite.map_or("-", named),
    })
}

/// The suites that there are for the keys of our certificates.
fn named(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        other => other.as_str().unwrap_or("-"),
    }
}

/// Opens what the client speaks, which has to say something within `patience`.
///
/// # Errors
/// It says nothing, goes away, or speaks TLS badly, or where there is none.
pub(crate) async fn open(
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
    use tokio_rustls::rustls::RootCertStore;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
    use tokio_rustls::rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    /// A server that has no certificate for anybody.
    fn tls() -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let none = Arc::new(ResolvesServerCertUsingSni::new());
        Arc::new(config.with_no_client_auth().with_cert_resolver(none))
    }

    /// What becomes of a client that says this and then waits, and what it is told.
    async fn opened(said: &[u8], tls: Option<Arc<ServerConfig>>) -> (io::Result<Transport>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(said).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let opened = open(stream, tls.as_ref(), Duration::from_millis(200)).await;
        let mut told = Vec::new();
        if opened.is_err() {
            let _ = client.read_to_end(&mut told).await;
        }
        (opened, told)
    }

    #[tokio::test]
    async fn what_does_not_begin_like_tls_is_http_and_nothing_of_it_is_lost() {
        for tls in [None, Some(tls())] {
            let (transport, _) = opened(b"GET / HTTP/1.1\r\n", tls).await;
            let mut transport = transport.unwrap();
            assert_eq!(cipher(&transport), None);
            let mut read = [0; 16];
            transport.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn who_says_nothing_or_stops_in_a_handshake_is_cut() {
        for said in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
            let (refused, told) = opened(said, Some(tls())).await;
            assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::TimedOut, "{said:?}");
            assert!(told.is_empty());
        }
    }

    #[tokio::test]
    async fn rubbish_after_the_first_byte_is_cut_at_once() {
        for said in [
            &b"\x16\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\x16\x03\x01\x00\x05hello",
            b"\x16GET / HTTP/1.1\r\n\r\n",
        ] {
            let (refused, _) = opened(said, Some(tls())).await;
            assert_eq!(
                refused.err().unwrap().kind(),
                io::ErrorKind::InvalidData,
                "{said:?}"
            );
        }
        let (refused, _) = opened(b"\x16\x03\x01", None).await;
        assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::Unsupported);
    }

    #[tokio::test]
    async fn a_client_is_told_that_there_is_no_certificate_yet() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio_rustls::rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let client = client.with_safe_default_protocol_versions().unwrap();
        let client = client
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let connecting = async {
            let stream = TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
            connector.connect("localhost".try_into().unwrap(), stream).await
        };
        let serving = async {
            let (stream, _) = listener.accept().await.unwrap();
            open(stream, Some(&tls()), Duration::from_secs(5)).await
        };
        let (told, refused) = tokio::join!(connecting, serving);
        assert!(refused.is_err());
        assert!(told.unwrap_err().to_string().contains("alert"));
    }
}
