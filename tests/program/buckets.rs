//! What the commands about buckets promise: what is in them comes back, stays, and is shown as a person asked.

use crate::page::{Page, ask};
use crate::support::TestBox;

#[test]
fn what_was_deleted_comes_back_by_a_command() {
    let page = Page::serving();
    page.home.run(&["bucket", "create", "photos"]).exits(0);
    let kept = page
        .home
        .run(&["bucket", "versioning", "photos", "on", "--json"])
        .exits(0)
        .json();
    assert_eq!(kept["versioning"], "on");
    let admin = page.token("admin");
    let content = "/api/v1/buckets/photos/objects/content?key=a.txt";
    page.bearing(&admin, &format!("PUT {content}"), "first");
    page.home.run(&["bucket", "undelete", "photos", "b.txt"]).exits(5);
    let deleted = page.bearing(&admin, "DELETE /api/v1/buckets/photos/objects?key=a.txt", "");
    assert_eq!(deleted.status, 204);
    assert_eq!(page.bearing(&admin, &format!("GET {content}"), "").status, 404);
    let said = page.home.run(&["bucket", "undelete", "photos", "a.txt"]).exits(0);
    assert!(
        said.stderr.contains("a.txt is in photos: the version of 20"),
        "{said:?}"
    );
    assert_eq!(page.bearing(&admin, &format!("GET {content}"), "").body, "first");
    let off = page.home.run(&["bucket", "versioning", "photos", "off"]).exits(0);
    assert!(off.stderr.contains("those that are there stay"), "{off:?}");
}

#[test]
fn a_bucket_is_given_a_lock_for_good_and_only_with_a_yes() {
    let home = TestBox::serving();
    home.run(&["bucket", "create", "papers"]).exits(0);
    let lock = ["bucket", "lock", "papers", "--days", "30"];
    let refused = home.run(&[&lock[..], &["--yes"]].concat()).exits(2);
    assert!(refused.stderr.contains("have it keep them first"), "{refused:?}");
    home.run(&["bucket", "versioning", "papers", "on"]).exits(0);
    let asked = home.run(&lock).exits(2);
    assert!(asked.stderr.contains("--yes"), "{asked:?}");
    assert_eq!(
        home.run(&["bucket", "info", "papers", "--json"])
            .exits(0)
            .json()
            .get("lock"),
        None
    );
    let locked = home
        .run(&[&lock[..], &["--yes", "--json"]].concat())
        .exits(0)
        .json();
    assert_eq!(
        locked["lock"],
        serde_json::json!({"retention": {"mode": "governance", "days": 30}})
    );
    let shown = home.run(&["bucket", "info", "papers"]).exits(0).stdout;
    assert!(
        shown.contains("what is put stays for 30 days (governance)"),
        "{shown}"
    );
    home.run(&["bucket", "versioning", "papers", "off"]).exits(2);
    // Nothing is taken from what is not named.
    let same = home.run(&["bucket", "lock", "papers", "--json"]).exits(0).json();
    assert_eq!(same["lock"], locked["lock"]);
    home.run(&["bucket", "lock", "papers", "--days", "1", "--no-days"])
        .exits(2);
    // Another retention takes nothing for good that was not before; one that nobody can undo is asked about again.
    home.run(&["bucket", "lock", "papers", "--no-days"]).exits(0);
    home.run(&["bucket", "lock", "papers", "--mode", "compliance", "--days", "1"])
        .exits(2);
    let free = home.run(&["bucket", "info", "papers", "--json"]).exits(0).json();
    assert_eq!(free["lock"], serde_json::json!({}));
    home.run(&["bucket", "lock", "papers", "--days", "0"]).exits(2);
    let alone = home
        .run(&["bucket", "lock", "papers", "--mode", "compliance", "--yes"])
        .exits(2);
    assert!(alone.stderr.contains("--days"), "{alone:?}");
    home.run(&["bucket", "lock", "nothing", "--yes"]).exits(5);
}

#[test]
fn a_bucket_is_a_website_until_it_is_said_to_be_none() {
    let mut home = TestBox::new();
    let ready = home.start(&["--s3-website-domain", "web.test"]);
    home.run(&["bucket", "create", "blog"]).exits(0);
    let said = home
        .run(&["bucket", "website", "blog", "--error", "lost.html"])
        .exits(0);
    assert!(
        said.stderr
            .contains("index.html for folders, lost.html for errors"),
        "{said:?}"
    );
    assert!(said.stderr.contains("warren bucket public blog on"), "{said:?}");
    home.run(&["bucket", "public", "blog", "on"]).exits(0);
    let made = home
        .run(&["token", "create", "put", "--scope", "admin", "--json"])
        .exits(0)
        .json();
    let page = ready["page"][0]
        .as_str()
        .unwrap()
        .strip_prefix("http://")
        .unwrap();
    let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
    let put = |key: &str, content: &str| {
        let line = format!("PUT /api/v1/buckets/blog/objects/content?key={key}");
        let stored = ask(page, &line, &[("authorization", &bearer)], content);
        assert_eq!(stored.status, 201, "{}", stored.body);
    };
    put("index.html", "welcome");
    put("lost.html", "not here");
    let s3 = ready["s3"][0].as_str().unwrap().strip_prefix("http://").unwrap();
    let visit = |path: &str| ask(s3, &format!("GET {path}"), &[("host", "blog.web.test")], "");
    assert_eq!((visit("/").status, visit("/").body.as_str()), (200, "welcome"));
    assert_eq!(
        (visit("/other").status, visit("/other").body.as_str()),
        (404, "not here")
    );
    home.run(&["bucket", "website", "blog", "--index", "a/b"])
        .exits(2);
    let off = home
        .run(&["bucket", "website", "blog", "--off", "--json"])
        .exits(0)
        .json();
    assert_eq!(off.get("website"), None);
    assert_ne!(visit("/").body, "welcome");
}
