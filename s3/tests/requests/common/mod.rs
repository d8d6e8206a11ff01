//! A server on a store of its own, and a client that signs and shows every byte of an answer.

use std::net::SocketAddr;
use std::time::Duration;

use ring::hmac;
use sha2::{Digest, Sha256};
use storage::Store;
use storage::disk::BlockDirectory;
use storage::model::{AccessKey, AccessKeyId, BucketName, Grants, KeyName, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warren_s3::proxies::Proxies;
use warren_s3::time::format_basic;
use warren_s3::uri::RootDomains;
use warren_s3::{Options, Server};

/// What every test server is like unless a test says otherwise.
pub(crate) fn options() -> Options {
    Options {
        root_domains: RootDomains::new(["s3.example"]),
        website_domains: RootDomains::new(["web.example"]),
        region: "us-east-1".into(),
        proxies: Proxies::default(),
        webhooks: Vec::new(),
        tls: None,
        connections_max: 100,
        requests_max: 50,
        idle_timeout: Duration::from_secs(20),
        header_timeout: Duration::from_secs(1),
        body_timeout: Duration::from_secs(1),
        drain_timeout: Duration::from_secs(5),
    }
}

/// A running server, its store, and the key a client signs with.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) address: SocketAddr,
    key: (String, String),
    stop: CancellationToken,
    serving: JoinHandle<()>,
    pub(crate) meter: std::sync::Arc<warren_s3::Meter>,
    _folder: TempDir,
}

/// A key by the name a test calls it.
pub(crate) struct Signer(String, String);

impl Signer {
    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.0
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(options()).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let (state, blocks) = (folder.path().join("state"), folder.path().join("blocks"));
        for path in [&state, &blocks] {
            std::fs::create_dir_all(path).unwrap();
        }
        let opened = Store::open(storage::Options {
            state,
            blocks: vec![BlockDirectory {
                path: blocks,
                capacity: None,
            }],
            accept_loss: false,
            recovery_phrase: None,
            memory: 32 << 20,
            hot: 8 << 20,
            membership: storage::Membership::alone(),
        });
        let (store, first) = opened.await.unwrap();
        let owner = first.unwrap().owner_key;
        let server = Server::bind(&["127.0.0.1:0".parse().unwrap()], store.clone(), options)
            .await
            .unwrap();
        let address = server.local_addresses().unwrap()[0];
        let stop = CancellationToken::new();
        let meter = server.meter();
        let serving = tokio::spawn(server.serve(stop.clone()));
        let key = (owner.id.to_string(), owner.secret.expose().to_owned());
        let world = Self {
            store,
            address,
            key,
            stop,
            serving,
            meter,
            _folder: folder,
        };
        world.check("PUT /bucket", "200").await;
        world
    }

    /// Stops the server and waits until no task is left.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }

    /// Tells the server to stop without waiting for it.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Gives a key these grants on another bucket.
    pub(crate) async fn grant(&self, key: &Signer, bucket: &str, grants: Grants) {
        let (id, bucket) = (
            AccessKeyId::parse(&key.0).unwrap(),
            BucketName::parse(bucket).unwrap(),
        );
        self.store
            .set_grants(&id, &bucket, move |_| grants)
            .await
            .unwrap();
    }

    /// A new key with these grants on a bucket.
    pub(crate) async fn key(&self, name: &str, bucket: &str, grants: Grants) -> Signer {
        let new = storage::NewKey {
            name: KeyName::parse(name).unwrap(),
            create_buckets: false,
            import: None,
        };
        let key: std::sync::Arc<AccessKey> = self.store.create_key(new).await.unwrap();
        let signer = Signer(key.id.to_string(), key.secret.expose().to_owned());
        self.grant(&signer, bucket, grants).await;
        signer
    }

    /// Sends a request signed by the owner and compares the answer.
    pub(crate) async fn check(&self, request: &str, expected: &str) -> Answer {
        check(request, expected, self.send(request).await)
    }

    /// As [`Self::check`], signed by another key.
    pub(crate) async fn check_as(&self, signer: &Signer, request: &str, expected: &str) -> Answer {
        check(request, expected, self.send_as(signer, request).await)
    }

    /// As [`Self::check`], signed by nobody.
    pub(crate) async fn check_anonymous(&self, request: &str, expected: &str) -> Answer {
        check(request, expected, self.send_anonymous(request).await)
    }

    /// Sends a request signed by this key.
    pub(crate) async fn send_as(&self, signer: &Signer, request: &str) -> Answer {
        self.exchange(&self.sign(request, &signer.0, &signer.1)).await
    }

    /// Sends a request that nobody signed.
    pub(crate) async fn send_anonymous(&self, request: &str) -> Answer {
        let (line, mut headers, body) = parse(request);
        let named = headers.iter().position(|(name, _)| name == "host");
        let host = named.map_or_else(|| self.host(), |at| headers.remove(at).1);
        self.exchange(&assemble(&line, &host, &headers, &body)).await
    }

    pub(crate) async fn send(&self, request: &str) -> Answer {
        self.exchange(&self.signed(request)).await
    }

    /// The bytes of a request signed by the owner.
    pub(crate) fn signed(&self, request: &str) -> Vec<u8> {
        self.sign(request, &self.key.0, &self.key.1)
    }

    /// Sends bytes as they are and reads until the server closes.
    pub(crate) async fn exchange(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // A server that refuses early may stop reading; its answer is what counts.
        let _ = stream.write_all(request).await;
        read_answer(&mut stream).await
    }

    fn host(&self) -> String {
        self.address.to_string()
    }

    fn sign(&self, request: &str, id: &str, secret: &str) -> Vec<u8> {
        let ((method, target), mut headers, body) = parse(request);
        let date = format_basic(Timestamp::now().as_secs());
        let hash = hex::encode(Sha256::digest(&body));
        let mut given = |name: &str, value: String| {
            if !headers.iter().any(|(known, _)| known == name) {
                headers.push((name.into(), value));
            }
        };
        given("host", self.host());
        given("x-amz-date", date);
        given("x-amz-content-sha256", hash);
        headers.sort();
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).unwrap().1.clone();
        let (date, hash, host) = (value("x-amz-date"), value("x-amz-content-sha256"), value("host"));
        let signed: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name == "host" || name.starts_with("x-amz-"))
            .collect();
        let names = signed
            .iter()
            .map(|(name, _)| name.as_str())
            .collect::<Vec<_>>()
            .join(";");
        let lines: String = signed
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let pairs = pairs.iter().map(|pair| {
            if pair.contains('=') {
                pair.to_string()
            } else {
                format!("{pair}=")
            }
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{hash}");
        let scope = format!("{}/us-east-1/s3/aws4_request", &date[..8]);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
            hex::encode(Sha256::digest(canonical))
        );
        let mut key = format!("AWS4{secret}").into_bytes();
        for step in [&date[..8], "us-east-1", "s3", "aws4_request"] {
            key = mac(&key, step);
        }
        let signature = hex::encode(mac(&key, &to_sign));
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        headers.retain(|(name, _)| name != "host");
        headers.push(("authorization".into(), authorization));
        assemble(&(method, target), &host, &headers, &body)
    }
}

impl World {
    /// The fields of a form that the owner signs under a policy with these conditions, besides the key.
    pub(crate) fn signed_fields(&self, conditions: &str) -> Vec<(String, String)> {
        let (id, secret) = self.key.clone();
        self.signed_fields_as(&Signer(id, secret), conditions)
    }

    /// As [`Self::signed_fields`], signed by this key.
    pub(crate) fn signed_fields_as(&self, signer: &Signer, conditions: &str) -> Vec<(String, String)> {
        let date = format_basic(Timestamp::now().as_secs());
        let credential = format!("{}/{}/us-east-1/s3/aws4_request", signer.0, &date[..8]);
        let policy = format!(
            r#"{{"expiration":"2099-01-01T00:00:00Z","conditions":[{conditions},{{"x-amz-algorithm":"AWS4-HMAC-SHA256"}},{{"x-amz-credential":"{credential}"}},{{"x-amz-date":"{date}"}}]}}"#
        );
        let policy = base64(&policy);
        let mut key = format!("AWS4{}", signer.1).into_bytes();
        for step in [&date[..8], "us-east-1", "s3", "aws4_request"] {
            key = mac(&key, step);
        }
        let signature = hex::encode(mac(&key, &policy));
        let fields = [
            ("x-amz-algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("x-amz-credential", credential),
            ("X-Amz-Date", date),
            ("x-amz-signature", signature),
            ("policy", policy),
        ];
        fields.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Sends a form to a bucket: its fields, then a file.
    pub(crate) async fn send_form(&self, bucket: &str, fields: &[(String, String)], file: &str) -> Answer {
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        }
        body += &format!(
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n{file}\r\n--XX--\r\n"
        );
        self.send_body(bucket, "multipart/form-data; boundary=XX", &body)
            .await
    }

    /// Posts a body of this type to a bucket; nobody signs that.
    pub(crate) async fn send_body(&self, bucket: &str, content_type: &str, body: &str) -> Answer {
        let head = format!(
            "POST /{bucket} HTTP/1.1\r\nhost: {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            self.host(),
            body.len()
        );
        self.exchange((head + body).as_bytes()).await
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

type Parsed = ((String, String), Vec<(String, String)>, Vec<u8>);

/// Reads `METHOD /target name=value… < body`; `~` in a value stands for a space.
fn parse(request: &str) -> Parsed {
    let (head, body) = request.split_once(" < ").unwrap_or((request, ""));
    let mut words = head.split_whitespace();
    let line = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let header = |word: &str| {
        let (name, value) = word.split_once('=').unwrap();
        (name.to_owned(), value.replace('~', " "))
    };
    (line, words.map(header).collect(), body.as_bytes().to_vec())
}

fn assemble(line: &(String, String), host: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\nhost: {host}\r\n", line.0, line.1);
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let has_length = headers
        .iter()
        .any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    if !has_length && matches!(line.0.as_str(), "PUT" | "POST") {
        text += &format!("content-length: {}\r\n", body.len());
    }
    if !headers.iter().any(|(name, _)| name == "connection") {
        text += "connection: close\r\n";
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

/// Everything the server sent before it closed.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The status line and headers, lower-case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value)
            .next()
    }

    /// The text of the first element of this name.
    pub(crate) fn element(&self, name: &str) -> String {
        let text = self.text();
        let start = text
            .find(&format!("<{name}>"))
            .unwrap_or_else(|| panic!("no {name} in {text}"));
        let rest = &text[start + name.len() + 2..];
        rest[..rest.find("</").unwrap()].to_owned()
    }
}

pub(crate) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A cut connection is an answer too: what came before it is looked at.
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await;
    answer(&bytes)
}

/// The bytes of an answer as its parts.
pub(crate) fn answer(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(bytes.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Answer {
        status,
        head,
        body: bytes[end..].to_vec(),
    }
}

/// Compares an answer with e.g. `404 NoSuchKey`, `206 | content-range: bytes 0-1/5 | = ab` (the body), or
/// `200 | !x-amz-version-id` (not there): a status, then what the answer holds.
fn check(request: &str, expected: &str, answer: Answer) -> Answer {
    let (status, rest) = expected.split_at(3);
    let shown = format!("{request}\n{}{}", answer.head, answer.text());
    assert_eq!(answer.status.to_string(), status, "{shown}");
    for part in rest.split('|').map(str::trim).filter(|part| !part.is_empty()) {
        let holds = |text: &str| answer.head.contains(text) || answer.text().contains(text);
        match (part.strip_prefix('='), part.strip_prefix('!')) {
            (Some(body), _) => assert_eq!(answer.text(), body.trim_start(), "{shown}"),
            (_, Some(absent)) => assert!(!holds(absent), "{absent} in {shown}"),
            _ => assert!(holds(part), "no {part} in {shown}"),
        }
    }
    let id = answer.header("x-amz-request-id").unwrap().to_uppercase();
    assert_eq!(id.len(), 16, "{shown}");
    assert_eq!(answer.header("server"), Some("warren"), "{shown}");
    assert!(answer.header("date").is_some(), "{shown}");
    if answer.status >= 400 && answer.header("content-type") == Some("application/xml") {
        assert_eq!(answer.element("RequestId"), id, "{shown}");
    }
    answer
}
