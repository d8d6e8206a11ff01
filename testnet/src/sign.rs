//! Turns a request into one signed with AWS Signature Version 4, with an unsigned payload.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};

use crate::client::{Ask, Credentials};

/// What SigV4 leaves unencoded in a query; a path also keeps `/`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

const REGION: &str = "us-east-1";
/// The server does not hash the payload either; what a test compares, it compares byte for byte.
const PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// Signs requests to one server; keeps the signing key, which changes once a day.
pub(crate) struct Signer {
    host: String,
    credentials: Credentials,
    daily: Option<(String, hmac::Key)>,
}

impl Signer {
    pub(crate) fn new(server: SocketAddr, credentials: Credentials) -> Self {
        Self {
            host: server.to_string(),
            credentials,
            daily: None,
        }
    }

    /// Encodes path and query, and signs them with all headers.
    pub(crate) fn sign(&mut self, ask: Ask) -> Result<Request<Full<Bytes>>, http::Error> {
        self.sign_at(ask, Timestamp::now())
    }

    fn sign_at(&mut self, ask: Ask, now: Timestamp) -> Result<Request<Full<Bytes>>, http::Error> {
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = time[..8].to_owned();
        let path = utf8_percent_encode(&ask.path, PATH).to_string();
        let query = encode_query(ask.query);

        let mut headers = ask.headers;
        headers.push(("host", self.host.clone()));
        headers.push(("x-amz-content-sha256", PAYLOAD.to_owned()));
        headers.push(("x-amz-date", time.clone()));
        headers.sort_unstable();
        let names = headers
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(";");

        let mut canonical = format!("{}\n{path}\n{query}\n", ask.method);
        for (name, value) in &headers {
            // Writing to a String cannot fail.
            let _ = writeln!(canonical, "{name}:{}", value.trim());
        }
        let _ = write!(canonical, "\n{names}\n{PAYLOAD}");

        let scope = format!("{date}/{REGION}/s3/aws4_request");
        let digest = hex::encode(digest::digest(&digest::SHA256, canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}");
        let signature = hex::encode(hmac::sign(self.key_of(date), text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={signature}",
            self.credentials.access_key
        );

        let target = if query.is_empty() {
            path
        } else {
            format!("{path}?{query}")
        };
        let mut request = Request::builder().method(ask.method).uri(target);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .header("authorization", authorization)
            .body(Full::new(ask.body))
    }

    fn key_of(&mut self, date: String) -> &hmac::Key {
        if self.daily.as_ref().is_none_or(|(day, _)| *day != date) {
            let secret = format!("AWS4{}", self.credentials.secret);
            let key = [date.as_str(), REGION, "s3", "aws4_request"].iter().fold(
                hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
                |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()),
            );
            self.daily = Some((date, key));
        }
        let (_, key) = self.daily.as_ref().expect("set above");
        key
    }
}

fn encode_query(query: Vec<(&'static str, String)>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let mut pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    /// Signed once with botocore 1.44's `S3SigV4Auth` for the same credentials, headers and time.
    #[test]
    fn a_signature_equals_the_one_botocore_computes() {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG".into(),
        };
        let mut signer = Signer::new(([127, 0, 0, 1], 3900).into(), credentials);
        let ask = Ask::new(Method::PUT, "/photos/a b+c/ü.jpg")
            .query("uploadId", "x/y=")
            .query("partNumber", "1")
            .header("if-none-match", "*");
        let now = "2026-01-02T03:04:05Z".parse().unwrap();

        let request = signer.sign_at(ask, now).unwrap();

        assert_eq!(
            request.uri(),
            "/photos/a%20b%2Bc/%C3%BC.jpg?partNumber=1&uploadId=x%2Fy%3D"
        );
        let authorization = request.headers()["authorization"].to_str().unwrap();
        assert_eq!(
            authorization.rsplit('=').next(),
            Some("0fa71dc2ca681354cf0e107c6256ac99d96c7828843918c4f5700ffb77ebc89e")
        );
    }
}
