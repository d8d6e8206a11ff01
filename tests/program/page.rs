//! What the page and the admin API promise to whoever asks them over the network.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::support::TestBox;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running box, and where its page is.
pub(crate) struct Page {
    pub(crate) home: TestBox,
    pub(crate) host: String,
    /// Where S3 clients connect.
    pub(crate) s3: String,
}

/// Status, headers and body of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Page {
    pub(crate) fn serving() -> Self {
        let mut home = TestBox::new();
        let ready = home.start(&[]);
        let url = ready["page"][0].as_str().unwrap();
        let host = url.strip_prefix("http://").unwrap().to_owned();
        let s3 = ready["s3"][0].as_str().unwrap();
        let s3 = s3.strip_prefix("http://").unwrap().to_owned();
        Self { home, host, s3 }
    }

    fn code(&self) -> String {
        let made = self.home.run(&["login-code", "--json"]).exits(0).json();
        assert_eq!(made["page"][0], format!("http://{}", self.host));
        made["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        let made = self
            .home
            .run(&["token", "create", scope, "--scope", scope, "--json"]);
        made.exits(0).json()["secret"].as_str().unwrap().to_owned()
    }

    /// Sends a request with these headers, and `Host` unless they name one.
    pub(crate) fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(&self.host, line, headers, body)
    }

    pub(crate) fn bearing(&self, token: &str, line: &str, body: &str) -> Answer {
        self.ask(line, &[("authorization", &format!("Bearer {token}"))], body)
    }

    /// Logs in with a fresh code; gives the cookie, and the token of this session's forms.
    pub(crate) fn enter(&self) -> (String, String) {
        let form = format!("code={}&password=four+quiet+words", self.code());
        let entered = self.ask("POST /login", &[], &form);
        assert_eq!(entered.status, 303, "{}", entered.body);
        let cookie = entered.header("set-cookie");
        assert!(cookie.contains("httponly; samesite=strict"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let shown = self.ask("GET /keys", &[("cookie", &cookie)], "").body;
        let token = shown.split("name=\"token\" value=\"").nth(1).unwrap();
        (cookie, token.split('"').next().unwrap().to_owned())
    }
}

/// Asks whoever listens at `host`.
pub(crate) fn ask(host: &str, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!(
        "{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    if !headers.iter().any(|(name, _)| *name == "host") {
        request += &format!("host: {host}\r\n");
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream
        .write_all(format!("{request}\r\n{body}").as_bytes())
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Answer::read(&answer)
}

impl Answer {
    /// Reads all that came of a request.
    pub(crate) fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Self {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(named, _)| *named == name)
            .map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}", self.body))
    }
}

#[test]
fn a_first_start_tells_where_the_page_is_and_what_opens_it() {
    let page = Page::serving();
    let told = std::fs::read_to_string(page.home.state().join("first-start.txt")).unwrap();
    let line = told.lines().find(|line| line.trim().starts_with("Page")).unwrap();
    assert!(line.contains(&format!("http://{}   login code ", page.host)) && line.contains("valid 10 min"));
    let code = line
        .split("login code ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let entered = page.ask(
        "POST /login",
        &[],
        &format!("code={code}&password=four+quiet+words"),
    );
    assert_eq!((entered.status, entered.header("location")), (303, "/"));
    assert!(!page.home.log().contains(code), "the code is in the log");
    // The code is used up, and a password is chosen.
    let again = page.ask(
        "POST /login",
        &[],
        &format!("code={code}&password=four+quiet+words"),
    );
    assert_eq!(again.status, 401);
    assert_eq!(
        page.ask("POST /login", &[], "password=four+quiet+words").status,
        303
    );
}

#[test]
fn whoever_is_not_logged_in_learns_only_that_the_box_lives() {
    let page = Page::serving();
    for path in ["/healthz", "/readyz", "/api/v1/openapi.json", "/login"] {
        let answer = page.ask(&format!("GET {path}"), &[], "");
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("127.0.0.1:39"), "{path}");
    }
    for path in [
        "/metrics",
        "/api/v1/status",
        "/api/v1/keys",
        "/api/v1/events",
        "/api/v1/config",
    ] {
        assert_eq!(page.ask(&format!("GET {path}"), &[], "").status, 401, "{path}");
    }
    for path in ["/", "/keys", "/buckets/photos", "/nothing"] {
        let answer = page.ask(&format!("GET {path}"), &[], "");
        assert_eq!(
            (answer.status, answer.header("location")),
            (303, "/login"),
            "{path}"
        );
    }
    assert_eq!(
        page.ask("POST /api/v1/buckets", &[], "{\"schema\":1,\"name\":\"photos\"}")
            .status,
        401
    );
}

#[test]
fn a_token_does_what_it_was_made_for_and_no_more() {
    let page = Page::serving();
    let (read, operate, admin) = (page.token("read"), page.token("operate"), page.token("admin"));
    assert_eq!(
        page.bearing(&read, "GET /api/v1/status", "").json()["verdict"],
        "ok"
    );
    assert!(
        page.bearing(&read, "GET /metrics", "")
            .body
            .contains("warren_copies_goal 1")
    );
    let pause = ("PUT /api/v1/scrub/paused", "{\"schema\":1,\"paused\":true}");
    assert_eq!(page.bearing(&read, pause.0, pause.1).status, 403);
    assert_eq!(page.bearing(&operate, pause.0, pause.1).json()["paused"], true);
    let create = ("POST /api/v1/buckets", "{\"schema\":1,\"name\":\"photos\"}");
    assert_eq!(page.bearing(&operate, create.0, create.1).status, 403);
    assert_eq!(page.bearing(&admin, create.0, create.1).status, 201);
    // No token makes another, or gets past the password.
    for line in ["GET /api/v1/tokens", "POST /api/v1/login-code"] {
        assert_eq!(
            page.bearing(&admin, line, "").json()["code"],
            "not-allowed",
            "{line}"
        );
    }
    assert_eq!(
        page.bearing("warren_00", "GET /api/v1/status", "").json()["code"],
        "no-such-token"
    );
    page.home.run(&["token", "revoke", "admin", "--yes"]).exits(0);
    assert_eq!(page.bearing(&admin, create.0, create.1).status, 401);
    page.home.run(&["token", "revoke", "admin", "--yes"]).exits(5);
    assert_eq!(
        page.home.run(&["token", "ls", "--json"]).exits(0).json()["tokens"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_session_changes_nothing_without_the_token_of_its_forms() {
    let page = Page::serving();
    let (cookie, token) = page.enter();
    let cookie = ("cookie", cookie.as_str());
    let made = page.ask("POST /buckets", &[cookie], "name=photos&token=wrong");
    assert_eq!(made.status, 403);
    let made = page.ask("POST /buckets", &[cookie], &format!("name=photos&token={token}"));
    assert_eq!((made.status, made.header("location")), (303, "/buckets/photos"));
    let picture = ("sec-fetch-dest", "image");
    page.ask("GET /buckets/photos", &[cookie, picture], "");
    let shown = page.ask("GET /buckets/photos", &[cookie], "").body;
    assert!(shown.contains("The bucket photos is created."));
    // What is said once is not said twice.
    assert!(
        !page
            .ask("GET /buckets/photos", &[cookie], "")
            .body
            .contains("is created.")
    );
    let body = "{\"schema\":1,\"name\":\"music\"}";
    assert_eq!(
        page.ask("POST /api/v1/buckets", &[cookie], body).json()["code"],
        "no-form-token"
    );
    let with = [cookie, ("x-form-token", token.as_str())];
    assert_eq!(page.ask("POST /api/v1/buckets", &with, body).status, 201);
    assert_eq!(
        page.ask("POST /logout", &[cookie], &format!("token={token}"))
            .status,
        303
    );
    assert_eq!(page.ask("GET /api/v1/status", &[cookie], "").status, 401);
}

#[test]
fn other_peoples_pages_get_nowhere() {
    let page = Page::serving();
    let admin = page.token("admin");
    let bearer = ("authorization", &*format!("Bearer {admin}"));
    let status = "GET /api/v1/status";
    assert_eq!(
        page.ask(status, &[bearer, ("host", "evil.example")], "").json()["code"],
        "unknown-name"
    );
    assert_eq!(
        page.ask(status, &[bearer, ("host", "warren-anna.local")], "")
            .status,
        200
    );
    let origin = ("origin", "http://evil.example");
    let made = page.ask("POST /login", &[origin], "password=x");
    assert_eq!(
        (made.status, made.json()["code"].as_str()),
        (403, Some("other-page"))
    );
    // A proxy on this box does not make the internet local.
    let far = ("x-forwarded-for", "203.0.113.9");
    assert_eq!(page.ask(status, &[bearer, far], "").json()["code"], "not-here");
    assert_eq!(
        page.ask(status, &[bearer, ("x-forwarded-for", "192.168.1.7")], "")
            .status,
        200
    );
    let shown = page.ask("GET /login", &[], "");
    assert!(
        shown
            .header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self';")
    );
    assert_eq!(
        (
            shown.header("x-frame-options"),
            shown.header("x-content-type-options")
        ),
        ("deny", "nosniff")
    );
    assert!(!shown.body.contains("style=") && !shown.body.contains("<script>"));
}

#[test]
fn who_guesses_waits_and_the_owner_does_not() {
    let page = Page::serving();
    page.enter();
    let guess = |from: &str| {
        page.ask(
            "POST /login",
            &[("x-forwarded-for", from)],
            "password=wrong+guesses",
        )
        .status
    };
    assert_eq!(
        (0..6).map(|_| guess("192.168.1.66")).collect::<Vec<_>>(),
        [401, 401, 401, 401, 401, 429]
    );
    assert_eq!(
        page.ask("POST /login", &[], "password=four+quiet+words").status,
        303
    );
}

#[test]
fn too_much_is_refused() {
    let page = Page::serving();
    let admin = page.token("admin");
    let long = format!("{{\"schema\":1,\"name\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(page.bearing(&admin, "POST /api/v1/buckets", &long).status, 413);
    let statuses: Vec<u16> = (0..200)
        .map(|_| page.ask("GET /healthz", &[], "").status)
        .collect();
    assert!(statuses.contains(&429), "nobody was paced");
}

#[test]
fn events_tell_the_status_and_end_when_the_box_stops() {
    let mut page = Page::serving();
    let token = page.token("read");
    let mut stream = TcpStream::connect(&page.host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "GET /api/v1/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
        page.host
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut until = |what: &str| {
        let mut heard = String::new();
        let mut piece = [0; 4096];
        while !heard.contains(what) {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "ended before {what}: {heard}");
            heard += &String::from_utf8_lossy(&piece[..read]);
        }
    };
    until("event: status\ndata: {\"schema\":1");
    page.home.run(&["bucket", "create", "photos"]).exits(0);
    until("\"buckets\":1");
    page.home.stop();
    assert!(!page.home.log().contains("unanswered") && !page.home.log().contains("cut off"));
}

#[test]
fn a_port_in_use_costs_the_page_and_nothing_else() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut home = TestBox::new();
    let ready = home.start(&["--page", &address]);
    assert_eq!(ready["page"].as_array().unwrap().len(), 0);
    let told = home.run(&["status"]).exits(10).stdout;
    assert!(
        told.contains("the page is not served") && told.contains("in use"),
        "{told}"
    );
    home.run(&["bucket", "create", "photos"]).exits(0);
}

#[test]
fn a_damaged_file_of_who_may_use_the_page_costs_the_password_and_nothing_else() {
    let mut page = Page::serving();
    page.enter();
    let admin = page.token("admin");
    page.home.stop();
    std::fs::write(page.home.state().join("access.json"), "half a fi").unwrap();
    let ready = page.home.start(&[]);
    let url = ready["page"][0].as_str().unwrap();
    page.host = url.strip_prefix("http://").unwrap().to_owned();
    assert!(page.home.run(&["status"]).exits(10).stdout.contains("is damaged"));
    assert_eq!(page.bearing(&admin, "GET /api/v1/status", "").status, 401);
    page.enter();
    page.home.run(&["status"]).exits(0);
    let aside = page.home.state().join("access.json.damaged-1");
    assert_eq!(std::fs::read_to_string(aside).unwrap(), "half a fi");
}

#[test]
fn events_end_for_a_token_that_is_taken_back() {
    let page = Page::serving();
    let token = page.token("read");
    let mut stream = TcpStream::connect(&page.host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // However its address is written.
    let request = format!(
        "GET /api/v1/event%73 HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
        page.host
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut piece = [0; 4096];
    let mut heard = String::new();
    while !heard.contains("event: status") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "ended at once: {heard}");
        heard += &String::from_utf8_lossy(&piece[..read]);
    }
    page.home.run(&["token", "revoke", "read", "--yes"]).exits(0);
    page.home.run(&["bucket", "create", "photos"]).exits(0);
    let mut rest = String::new();
    while !rest.ends_with("0\r\n\r\n") {
        let read = stream.read(&mut piece).unwrap();
        rest += &String::from_utf8_lossy(&piece[..read]);
        assert!(read > 0 && !rest.contains("\"buckets\":1"), "{rest}");
    }
}
