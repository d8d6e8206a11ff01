//! What a box promises to whoever comes over HTTPS: on the same ports, under an authority that vouches for homes alone.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::page::{Answer, Page};
use crate::support::TestBox;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the box says of how it speaks HTTPS.
pub(crate) fn told(home: &TestBox) -> Value {
    home.run(&["net", "ca", "--json"]).exits(0).json()
}

/// A client that trusts what this PEM file says, and nothing else.
struct Visitor(Arc<ClientConfig>);

impl Visitor {
    fn trusting(pem: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        Self(Arc::new(
            config.with_root_certificates(roots).with_no_client_auth(),
        ))
    }

    /// Connects to whoever listens there, which has to be `name`.
    fn connect(&self, place: &str, name: &str) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).unwrap();
        let mut stream = TcpStream::connect(place)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }

    /// Asks there under a name.
    fn ask(&self, place: &str, name: &str, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect(place, name).unwrap();
        let mut request = format!(
            "{line} HTTP/1.1\r\nhost: {place}\r\nconnection: close\r\ncontent-length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream
            .write_all(format!("{request}\r\n{body}").as_bytes())
            .unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => panic!("{error}"),
            _ => Answer::read(&String::from_utf8_lossy(&answer)),
        }
    }
}

#[test]
fn one_port_speaks_http_and_https_and_whoever_trusts_the_home_knows_the_box() {
    let page = Page::serving();
    let told = told(&page.home);
    let pem = told["authority"]["pem"].as_str().unwrap();
    let visitor = Visitor::trusting(pem);
    for name in ["127.0.0.1", "localhost"] {
        let healthy = visitor.ask(&page.host, name, "GET /healthz", &[], "");
        assert_eq!((healthy.status, healthy.body.as_str()), (200, "alive\n"));
        let s3 = visitor.ask(&page.s3, name, "GET /", &[], "");
        assert!(
            s3.status == 403 && s3.body.contains("AccessDenied"),
            "{}",
            s3.body
        );
    }
    assert_eq!(page.ask("GET /healthz", &[], "").status, 200);
    // No other box, and not one of the web.
    for other in ["warren-other.local", "example.org", "192.0.2.1"] {
        let refused = visitor.connect(&page.s3, other).err().unwrap();
        assert!(refused.to_string().contains("not valid for name"), "{refused}");
    }
    let stranger = Page::serving();
    let of_stranger = self::told(&stranger.home)["authority"]["pem"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        Visitor::trusting(&of_stranger)
            .connect(&page.s3, "localhost")
            .is_err()
    );
}

#[test]
fn whoever_cannot_log_in_yet_gets_what_has_to_be_trusted_and_is_told_how() {
    let page = Page::serving();
    let told = told(&page.home);
    let authority = &told["authority"];
    let (pem, fingerprint) = (
        authority["pem"].as_str().unwrap(),
        authority["fingerprint"].as_str().unwrap(),
    );
    let text = page.ask("GET /ca.pem", &[], "");
    assert_eq!((text.status, text.body.as_str()), (200, pem));
    // The body is no text: only its beginning is looked at here.
    let mut stream = TcpStream::connect(&page.host).unwrap();
    let request = format!(
        "GET /ca.crt HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        page.host
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    assert!(
        head.contains("content-type: application/x-x509-ca-cert\r\n"),
        "{head}"
    );
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert!(answer.ends_with(&der));
    let how = page.ask("GET /trust", &[], "");
    assert_eq!(how.status, 200);
    for part in [
        fingerprint,
        "href=\"/ca.crt\"",
        "Windows",
        "iPhone",
        "Android",
        "Firefox",
        "update-ca-certificates",
    ] {
        assert!(how.body.contains(part), "{part}");
    }
    assert!(!how.body.contains("This certificate is new"));
    assert!(page.ask("GET /login", &[], "").body.contains("href=\"/trust\""));
    // The command line says the same.
    let run = |args: &[&str]| page.home.run(args).exits(0).stdout;
    assert_eq!(run(&["net", "ca", "--fingerprint"]).trim(), fingerprint);
    assert_eq!(run(&["net", "ca"]), pem);
    let status = page.home.run(&["status"]).stdout;
    assert!(
        status.contains(&format!("HTTPS: https://{}", page.s3)) && status.contains(fingerprint),
        "{status}"
    );
    let described = page.ask("GET /api/v1/openapi.json", &[], "").json();
    for path in ["/ca.crt", "/ca.pem", "/api/v1/https", "/api/v1/https/authority"] {
        assert!(described["paths"][path].is_object(), "{path}");
    }
    // What a box is called is for those who may know.
    assert_eq!(page.ask("GET /api/v1/https", &[], "").status, 401);
    let token = page.token("read");
    let names = &page.bearing(&token, "GET /api/v1/https", "").json()["certificate"]["names"];
    assert!(names.as_array().unwrap().contains(&"127.0.0.1".into()), "{names}");
    assert_eq!(
        page.bearing(&token, "POST /api/v1/https/authority", "").status,
        403
    );
}

#[test]
fn a_session_over_https_stays_there_and_leaves_logins_over_http_alone() {
    let page = Page::serving();
    let pem = told(&page.home)["authority"]["pem"].as_str().unwrap().to_owned();
    let visitor = Visitor::trusting(&pem);
    let (plain, _) = page.enter();
    assert!(plain.starts_with("warren_session="), "{plain}");
    let origin = format!("https://{}", page.host);
    let entered = visitor.ask(
        &page.host,
        "127.0.0.1",
        "POST /login",
        &[("origin", &origin)],
        "password=four+quiet+words",
    );
    assert_eq!((entered.status, entered.header("location")), (303, "/"));
    let cookie = entered.header("set-cookie");
    assert!(
        cookie.starts_with("__host-warren_session=") && cookie.ends_with("; secure"),
        "{cookie}"
    );
    let secret = cookie.split(['=', ';']).nth(1).unwrap();
    let secure = format!("__Host-warren_session={secret}");
    // A browser that has logged in both ways sends both to HTTPS, and the one alone to HTTP.
    let both = format!("{plain}; {secure}");
    let connect = visitor.ask(&page.host, "127.0.0.1", "GET /connect", &[("cookie", &both)], "");
    assert!(
        connect
            .body
            .contains(&format!("aws --endpoint-url https://{}", page.s3)),
        "{}",
        connect.body
    );
    assert!(connect.body.contains("AWS_CA_BUNDLE"));
    let connect = page.ask("GET /connect", &[("cookie", &plain)], "");
    assert!(
        connect
            .body
            .contains(&format!("aws --endpoint-url http://{}", page.s3))
    );
    let alone = visitor.ask(&page.host, "127.0.0.1", "GET /access", &[("cookie", &secure)], "");
    assert!(alone.status == 200 && alone.body.contains("Download the certificate"));
    assert!(alone.header("strict-transport-security").is_empty());
}

#[test]
fn a_link_leads_over_https_where_that_is_asked_for_and_works_there() {
    let page = Page::serving();
    let pem = told(&page.home)["authority"]["pem"].as_str().unwrap().to_owned();
    page.home.run(&["bucket", "create", "photos"]).exits(0);
    let token = page.token("admin");
    let line = "PUT /api/v1/buckets/photos/objects/content?key=cat.txt";
    let stored = page.bearing(&token, line, "meow");
    assert_eq!(stored.status, 201, "{}", stored.body);
    for https in [false, true] {
        let asked = format!("{{\"schema\":1,\"key\":\"cat.txt\",\"seconds\":60,\"https\":{https}}}");
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("content-type", "application/json".into()),
        ];
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let made = page.ask("POST /api/v1/buckets/photos/objects/share", &headers, &asked);
        let url = made.json()["url"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", made.body))
            .to_owned();
        let scheme = if https { "https" } else { "http" };
        let path = url.strip_prefix(&format!("{scheme}://{}", page.s3)).unwrap();
        let got = match https {
            true => Visitor::trusting(&pem).ask(&page.s3, "127.0.0.1", &format!("GET {path}"), &[], ""),
            false => crate::page::ask(&page.s3, &format!("GET {path}"), &[], ""),
        };
        assert_eq!((got.status, got.body.as_str()), (200, "meow"));
    }
}

#[test]
fn who_stalls_in_a_handshake_or_sends_rubbish_is_cut_on_both_ports() {
    let page = Page::serving();
    for place in [&page.host, &page.s3] {
        let mut rubbish = TcpStream::connect(place).unwrap();
        rubbish.set_read_timeout(Some(PATIENCE)).unwrap();
        rubbish.write_all(b"\x16GET / HTTP/1.1\r\n\r\n").unwrap();
        let begun = Instant::now();
        let _ = rubbish.read_to_end(&mut Vec::new());
        assert!(begun.elapsed() < Duration::from_secs(5), "{place}");
    }
    // Both at once: each waits ten seconds.
    let mut stalled = [&page.host, &page.s3].map(|place| {
        let mut stalled = TcpStream::connect(place).unwrap();
        stalled.set_read_timeout(Some(PATIENCE)).unwrap();
        stalled.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
        stalled
    });
    let begun = Instant::now();
    for stream in &mut stalled {
        let read = stream.read(&mut [0; 1]);
        assert!(matches!(read, Ok(0)), "{read:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert_eq!(page.ask("GET /healthz", &[], "").status, 200);
}

#[test]
fn a_box_keeps_its_authority_over_a_restart_and_is_known_by_a_new_name_without_one() {
    let mut home = TestBox::new();
    let ready = home.start(&[]);
    let before = told(&home);
    assert_eq!(ready["https"]["fingerprint"], before["authority"]["fingerprint"]);
    let s3 = ready["s3"][0]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap()
        .to_owned();
    assert_eq!(ready["https"]["s3"][0], format!("https://{s3}"));
    home.run(&["peer", "rename", "1", "Attic"]).exits(0);
    let begun = Instant::now();
    let visitor = Visitor::trusting(before["authority"]["pem"].as_str().unwrap());
    for name in ["warren-attic.local", "photos.warren-attic.local"] {
        while visitor.connect(&s3, name).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(45));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    home.stop();
    home.start(&[]);
    let after = told(&home);
    assert!(!home.log().contains("ERROR"), "{}", home.log());
    assert_eq!(after["authority"], before["authority"]);
    assert_ne!(
        after["certificate"]["fingerprint"],
        before["certificate"]["fingerprint"]
    );
}

#[test]
fn another_authority_covers_what_is_configured_since_and_the_page_says_that_it_is_new() {
    let mut home = TestBox::new();
    home.start(&[]);
    let first = told(&home);
    home.stop();
    let ready = home.start(&["--s3-domain", "s3.example.org"]);
    let left_out = &told(&home)["certificate"]["left_out"];
    assert!(
        left_out.as_array().unwrap().contains(&"s3.example.org".into()),
        "{left_out}"
    );
    home.run(&["net", "ca", "--renew"]).exits(2);
    let second = home
        .run(&["net", "ca", "--renew", "--yes", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&first["authority"]["number"], &second["authority"]["number"]),
        (&1.into(), &2.into())
    );
    assert_ne!(
        first["authority"]["fingerprint"],
        second["authority"]["fingerprint"]
    );
    let place = |what: &str| {
        ready[what][0]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap()
            .to_owned()
    };
    let (s3, page) = (place("s3"), place("page"));
    let trusting = |told: &Value| Visitor::trusting(told["authority"]["pem"].as_str().unwrap());
    assert!(trusting(&second).connect(&s3, "photos.s3.example.org").is_ok());
    assert!(trusting(&first).connect(&s3, "localhost").is_err());
    assert!(
        crate::page::ask(&page, "GET /trust", &[], "")
            .body
            .contains("This certificate is new")
    );
}
