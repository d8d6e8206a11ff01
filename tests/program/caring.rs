//! What whoever looks after a box is told: what keeps it from working, the end of its log, and what to send to who helps.

use std::fs;

use crate::page::Page;
use crate::support::{TestBox, mode};

#[test]
fn a_doctor_says_what_is_wrong_also_where_no_server_runs() {
    let mut home = TestBox::new();
    let said = home.run(&["doctor"]).exits(3).stdout;
    assert!(
        said.contains("there is no box in") && said.contains("warren join"),
        "{said}"
    );
    assert!(
        said.contains("no server is running") && said.contains("start it with `warren server`"),
        "{said}"
    );

    home.start(&[]);
    let found = home.run(&["doctor", "--json"]).exits(0).json();
    let findings = found["findings"].as_array().unwrap();
    let all: Vec<&str> = findings.iter().map(|one| one["what"].as_str().unwrap()).collect();
    for what in [
        "the configuration is fine",
        "(keys and index) has",
        "(blocks) has",
        "the server runs for",
        "it is alone",
    ] {
        assert!(all.iter().any(|one| one.contains(what)), "{what}: {found}");
    }
    let password = findings
        .iter()
        .find(|one| one["what"].as_str().unwrap().contains("password"))
        .unwrap();
    assert_eq!(
        (password["state"].as_str(), found["ok"].as_bool()),
        (Some("look"), Some(false))
    );
    assert!(password["advice"].as_str().unwrap().contains("warren login-code"));
    home.stop();

    let gone = home.path("not-plugged-in");
    let said = home.run(&["doctor"]).exits(3).stdout;
    assert!(!said.contains("is not there"), "{said}");
    let config = format!("data = [{:?}]\n", gone.to_str().unwrap());
    fs::write(home.config_file(), config).unwrap();
    let said = home.run(&["doctor"]).exits(3).stdout;
    assert!(
        said.contains("not-plugged-in is not there") && said.contains("plugged in"),
        "{said}"
    );
}

#[test]
fn the_end_of_the_log_is_shown_as_it_was_written() {
    let home = TestBox::serving();
    let log = home.run(&["logs", "--json"]).exits(0).json();
    let lines = log["lines"].as_array().unwrap();
    assert!(!lines.is_empty());
    let written = home.log();
    for line in lines {
        // But for the time, which is taken twice.
        let (_, said) = line.as_str().unwrap().split_once(' ').unwrap();
        assert!(written.contains(said), "{said} is not in {written}");
    }
    assert_eq!(home.run(&["logs", "-n", "1"]).exits(0).stdout.lines().count(), 1);
}

#[test]
fn a_support_bundle_says_all_but_secrets() {
    let mut home = TestBox::new();
    home.start(&[]);
    let made = home.run(&["key", "create", "laptop", "--json"]).exits(0).json();
    let token = home
        .run(&["token", "create", "watch", "--scope", "admin", "--json"])
        .exits(0)
        .json();
    let invite = home.run(&["invite", "--json"]).exits(0).json();
    let file = home.path("bundle.txt");
    let file = file.to_str().unwrap();
    home.run(&["support-bundle", file]).exits(0);
    home.run(&["support-bundle", file]).exits(6);
    assert_eq!(mode(file.as_ref()), 0o600);
    let bundle = fs::read_to_string(file).unwrap();
    for part in [
        "Status",
        "Settings",
        "Boxes",
        "Reach",
        "HTTPS",
        "Who holds what",
        "Repair",
        "Scrub",
        "History",
        "Numbers",
        "Log",
    ] {
        assert!(bundle.contains(&format!("\n== {part} ==\n")), "{part} is missing");
    }
    assert!(bundle.contains("\"verdict\"") && bundle.contains("warren_"));
    let told = fs::read_to_string(home.state().join("first-start.txt")).unwrap();
    let first = told
        .lines()
        .filter(|line| line.contains("Secret") || line.contains("login code"));
    let mut secrets: Vec<String> = first
        .filter_map(|line| line.split_whitespace().max_by_key(|word| word.len()))
        .map(str::to_owned)
        .collect();
    for document in [&made, &token, &invite] {
        for name in ["secret", "token", "invite"] {
            secrets.extend(document[name].as_str().map(str::to_owned));
        }
    }
    assert!(secrets.len() >= 4, "the secrets were not found: {secrets:?}");
    for secret in secrets {
        assert!(!bundle.contains(&secret), "{secret} is in the bundle");
    }
}

#[test]
fn only_who_may_change_everything_reads_the_log_and_the_bundle() {
    let page = Page::serving();
    let (reader, admin) = (page.token("read"), page.token("admin"));
    for path in ["/api/v1/log", "/api/v1/support-bundle"] {
        assert_eq!(page.bearing(&reader, &format!("GET {path}"), "").status, 403);
        let shown = page.bearing(&admin, &format!("GET {path}"), "");
        assert_eq!(shown.status, 200);
        assert!(!shown.body.contains(&admin));
    }
}
