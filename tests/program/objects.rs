//! What the admin API and the page promise about files: nothing runs, nothing is lost by surprise, and what broke off goes on.

use crate::page::{Answer, Page, ask};

/// A box with a bucket, and a token that may do what is needed.
struct Files {
    page: Page,
    admin: String,
}

const OBJECTS: &str = "/api/v1/buckets/photos/objects";
const UPLOADS: &str = "/api/v1/buckets/photos/uploads";

impl Files {
    fn serving() -> Self {
        let page = Page::serving();
        page.home.run(&["bucket", "create", "photos"]).exits(0);
        let admin = page.token("admin");
        Self { page, admin }
    }

    fn ask(&self, line: &str, body: &str) -> Answer {
        self.page.bearing(&self.admin, line, body)
    }

    fn put(&self, key: &str, content: &str) -> Answer {
        self.ask(&format!("PUT {OBJECTS}/content?key={key}"), content)
    }

    fn get(&self, key: &str) -> Answer {
        self.ask(&format!("GET {OBJECTS}/content?key={key}"), "")
    }

    fn keep_versions(&self) {
        let set = self.ask(
            "PUT /api/v1/buckets/photos/versioning",
            "{\"schema\":1,\"on\":true}",
        );
        assert_eq!(set.json()["versioning"], "on");
    }

    fn restore(&self, rest: &str) -> Answer {
        self.ask(
            &format!("POST {OBJECTS}/restore"),
            &format!("{{\"schema\":1,\"key\":\"a.txt\"{rest}}}"),
        )
    }
}

#[test]
fn what_is_stored_is_listed_by_folders_and_read_in_ranges() {
    let files = Files::serving();
    for key in ["a.txt", "trips%2F2026%2Fb.txt", "trips%2Fc%20d.txt"] {
        assert_eq!(files.put(key, "0123456789").json()["size"], 10);
    }
    let listed = files
        .ask(&format!("GET {OBJECTS}?prefix=trips%2F&delimiter=%2F"), "")
        .json();
    assert_eq!(listed["folders"][0], "trips/2026/");
    assert_eq!(listed["objects"][0]["key"], "trips/c d.txt");
    let first = files.ask(&format!("GET {OBJECTS}?max=1"), "").json();
    let after = first["next"].as_str().unwrap();
    let second = files
        .ask(&format!("GET {OBJECTS}?max=1&after={after}"), "")
        .json();
    assert_eq!(second["objects"][0]["key"], "trips/2026/b.txt");

    let whole = files.get("trips%2Fc%20d.txt");
    assert_eq!((whole.status, whole.body.as_str()), (200, "0123456789"));
    let bearer = format!("Bearer {}", files.admin);
    let ranged = |range: &str, more: &[(&str, &str)]| {
        let headers = [&[("authorization", bearer.as_str()), ("range", range)], more].concat();
        files
            .page
            .ask(&format!("GET {OBJECTS}/content?key=a.txt"), &headers, "")
    };
    let some = ranged("bytes=2-4", &[]);
    assert_eq!((some.status, some.body.as_str()), (206, "234"));
    assert_eq!(some.header("content-range"), "bytes 2-4/10");
    assert_eq!(
        ranged("bytes=2-4", &[("if-range", "\"other\"")]).body,
        "0123456789"
    );
    assert_eq!(
        ranged("bytes=2-4", &[("if-range", whole.header("etag"))]).body,
        "234"
    );
    assert_eq!(ranged("bytes=10-", &[]).status, 416);
    assert_eq!(files.get("nothing").json()["code"], "no-such-object");
}

#[test]
fn what_somebody_stored_is_a_file_and_never_a_page_of_the_console() {
    let files = Files::serving();
    let bearer = format!("Bearer {}", files.admin);
    let html = [("authorization", bearer.as_str()), ("content-type", "text/html")];
    let line = format!("PUT {OBJECTS}/content?key=%3Cb%3E.html");
    assert_eq!(
        files.page.ask(&line, &html, "<script>alert(1)</script>").status,
        201
    );
    let got = files.get("%3Cb%3E.html");
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert!(got.header("content-disposition").starts_with("attachment;"));
    assert_eq!(
        got.header("content-security-policy"),
        "default-src 'none'; sandbox"
    );
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let (cookie, _) = files.page.enter();
    let shown = files.page.ask(
        "GET /buckets/photos/object?key=%3Cb%3E.html",
        &[("cookie", &cookie)],
        "",
    );
    assert!(
        shown.body.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{}",
        shown.body
    );
    assert!(!shown.body.contains("<script>alert") && !shown.body.contains("<b>.html"));
    assert!(
        shown
            .header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self';")
    );
}

#[test]
fn a_token_that_watches_sees_names_and_opens_nothing() {
    let files = Files::serving();
    files.put("a.txt", "secret");
    let read = files.page.token("read");
    let listed = files.page.bearing(&read, &format!("GET {OBJECTS}"), "");
    assert_eq!(listed.json()["objects"][0]["key"], "a.txt");
    for line in [
        format!("GET {OBJECTS}/content?key=a.txt"),
        format!("PUT {OBJECTS}/content?key=a.txt"),
        format!("DELETE {OBJECTS}?key=a.txt"),
        format!("POST {OBJECTS}/share"),
        format!("POST {UPLOADS}"),
    ] {
        assert_eq!(
            files.page.bearing(&read, &line, "").json()["code"],
            "not-allowed",
            "{line}"
        );
    }
}

#[test]
fn what_is_deleted_comes_back_where_versions_are_kept_and_is_gone_where_not() {
    let files = Files::serving();
    files.put("a.txt", "one");
    assert_eq!(files.restore("").json()["code"], "no-versions");
    files.keep_versions();
    files.put("a.txt", "two");
    assert_eq!(files.ask(&format!("DELETE {OBJECTS}?key=a.txt"), "").status, 204);
    assert_eq!(files.get("a.txt").status, 404);
    assert_eq!(files.restore("").json()["latest"], true);
    assert_eq!(files.get("a.txt").body, "two");
    // An earlier version becomes the newest, and the one in between stays.
    let versions = files
        .ask(&format!("GET {OBJECTS}/versions?prefix=a.txt"), "")
        .json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    let first = versions["versions"][1]["version"].as_str().unwrap();
    assert_eq!(files.restore(&format!(",\"version\":\"{first}\"")).status, 200);
    assert_eq!(files.get("a.txt").body, "one");
    let versions = files
        .ask(&format!("GET {OBJECTS}/versions?prefix=a.txt"), "")
        .json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 3);
}

#[test]
fn an_upload_in_parts_goes_on_and_is_stored_only_whole() {
    let files = Files::serving();
    let begun = files.ask(
        &format!("POST {UPLOADS}"),
        "{\"schema\":1,\"key\":\"film.mp4\",\"media\":\"video/mp4\"}",
    );
    let upload = begun.json()["upload"].as_str().unwrap().to_owned();
    let part = |number: u32, content: &str| {
        let line = format!("PUT {UPLOADS}/parts?key=film.mp4&upload={upload}&number={number}");
        files.ask(&line, content).status
    };
    let (first, last) = ("a".repeat(5 << 20), "b".repeat(1000));
    assert_eq!(part(1, &first), 201);
    let complete = |size: usize| {
        let asked = format!("{{\"schema\":1,\"key\":\"film.mp4\",\"upload\":\"{upload}\",\"size\":{size}}}");
        files.ask(&format!("POST {UPLOADS}/complete"), &asked)
    };
    assert_eq!(complete(first.len() + last.len()).json()["code"], "invalid");
    let listed = files.ask(&format!("GET {UPLOADS}?prefix=film"), "").json();
    assert_eq!(listed["uploads"][0]["upload"], upload.as_str());
    let stored = files
        .ask(&format!("GET {UPLOADS}/parts?key=film.mp4&upload={upload}"), "")
        .json();
    assert_eq!(stored["parts"][0]["size"], first.len());
    assert_eq!(part(2, &last), 201);
    assert_eq!(complete(first.len() + last.len()).status, 201);
    let info = files.ask(&format!("GET {OBJECTS}/info?key=film.mp4"), "").json();
    assert_eq!(
        (&info["size"], &info["media"]),
        (&(first.len() + last.len()).into(), &"video/mp4".into())
    );
    assert_eq!(part(3, &last), 404);
}

#[test]
fn whoever_sends_too_much_hears_why() {
    let files = Files::serving();
    files
        .page
        .home
        .run(&["bucket", "quota", "photos", "--max-size", "1M"])
        .exits(0);
    let refused = files.put("a.txt", &"x".repeat(6 << 20));
    assert_eq!(
        (refused.status, refused.json()["code"].as_str()),
        (409, Some("over-quota"))
    );
    assert_eq!(files.get("a.txt").status, 404);
}

#[test]
fn a_form_stores_its_files_for_the_session_it_belongs_to() {
    let files = Files::serving();
    let (cookie, token) = files.page.enter();
    let send = |token: &str| {
        let field = |name: &str, content: &str| {
            format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\r\n\r\n{content}\r\n")
        };
        let form = [
            field("token\"", token),
            field("file\"; filename=\"a.txt\"\r\nContent-Type: text/plain", "one"),
            field("file\"; filename=\"b.txt\"", &"two".repeat(100_000)),
            "--XX--\r\n".into(),
        ];
        let headers = [
            ("cookie", cookie.as_str()),
            ("content-type", "multipart/form-data; boundary=XX"),
        ];
        files.page.ask(
            "POST /buckets/photos/upload?prefix=d%2F",
            &headers,
            &form.concat(),
        )
    };
    assert_eq!(send("wrong").status, 403);
    assert_eq!(files.get("d%2Fa.txt").status, 404);
    let sent = send(&token);
    assert_eq!(
        (sent.status, sent.header("location")),
        (303, "/buckets/photos/objects?prefix=d%2f")
    );
    assert_eq!(files.get("d%2Fa.txt").body, "one");
    assert_eq!(files.get("d%2Fb.txt").body.len(), 300_000);
    let shown = files.page.ask(
        "GET /buckets/photos/objects?prefix=d%2F",
        &[("cookie", &cookie)],
        "",
    );
    assert!(
        shown.body.contains("2 files are stored: 300 kB."),
        "{}",
        shown.body
    );
}

#[test]
fn a_link_opens_one_file_until_its_key_is_deleted() {
    let files = Files::serving();
    files.put("a%20%26%2B.txt", "shared");
    let share = |key: &str, seconds: u32| {
        let asked = format!("{{\"schema\":1,\"key\":\"{key}\",\"seconds\":{seconds}}}");
        files.ask(&format!("POST {OBJECTS}/share"), &asked)
    };
    assert_eq!(share("a &+.txt", 604_801).json()["code"], "invalid");
    assert_eq!(share("nothing", 60).json()["code"], "no-such-object");
    let shared = share("a &+.txt", 604_800).json();
    let url = shared["url"].as_str().unwrap();
    let target = url.strip_prefix(&format!("http://{}", files.page.s3)).unwrap();
    let open = |target: &str| ask(&files.page.s3, &format!("GET {target}"), &[], "");
    assert_eq!(open(target).body, "shared");
    assert_eq!(open(&target.replace("/photos/a", "/photos/b")).status, 403);
    // One key signs all links of a bucket, and can do nothing but read it.
    let key = files.ask("GET /api/v1/keys/Links%20to%20photos", "").json();
    assert_eq!(share("a &+.txt", 60).json()["signed_by"], key["id"]);
    assert_eq!(key["buckets"][0]["read"], true);
    assert_eq!(
        (&key["buckets"][0]["write"], &key["create_buckets"]),
        (&false.into(), &false.into())
    );
    files
        .page
        .home
        .run(&["key", "rm", "Links to photos", "--yes"])
        .exits(0);
    assert_eq!(open(target).status, 403);
}

#[test]
fn a_key_is_tested_as_an_app_uses_it_and_nothing_of_that_stays() {
    let files = Files::serving();
    files.keep_versions();
    let home = &files.page.home;
    home.run(&["key", "create", "laptop", "--json"]).exits(0);
    let test = ["app", "test", "laptop", "photos", "--json"];
    let refused = home.run(&test).exits(1).json();
    assert_eq!(refused["works"], false);
    assert!(
        refused["steps"][0]["why"]
            .as_str()
            .unwrap()
            .contains("AccessDenied"),
        "{refused}"
    );
    home.run(&["key", "allow", "laptop", "photos", "--read"]).exits(0);
    let reads = home.run(&test).exits(1).json();
    assert_eq!(
        (&reads["steps"][0]["outcome"], &reads["steps"][2]["outcome"]),
        (&"failed".into(), &"worked".into())
    );
    home.run(&["key", "allow", "laptop", "photos", "--read", "--write"])
        .exits(0);
    let works = home.run(&test).exits(0).json();
    assert_eq!(
        (works["works"].as_bool(), works["steps"].as_array().unwrap().len()),
        (Some(true), 5),
        "{works}"
    );
    let versions = files.ask(&format!("GET {OBJECTS}/versions"), "").json();
    assert_eq!(versions["versions"].as_array().unwrap().len(), 0, "{versions}");
    home.run(&["app", "test", "nobody", "photos"]).exits(5);
}
