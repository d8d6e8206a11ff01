//! What whoever looks after a box is told: what keeps it from working, the end of its log, and what to send to who helps.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::page::Page;
use crate::support::{TestBox, mode, recovery_words};

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
        "the server runs for",
        "it is alone",
        "HTTPS with a certificate until 20",
    ] {
        assert!(all.iter().any(|one| one.contains(what)), "{what}: {found}");
    }
    let password = findings
        .iter()
        .find(|one| one["what"].as_str().unwrap().contains("password"));
    let password = password.unwrap_or_else(|| panic!("{found}"));
    assert_eq!(
        (password["state"].as_str(), found["ok"].as_bool()),
        (Some("look"), Some(true))
    );
    assert!(password["advice"].as_str().unwrap().contains("warren login-code"));
    home.stop();

    let said = home.run(&["doctor"]).exits(3).stdout;
    assert!(
        said.contains("(keys and index)") && said.contains("(blocks)"),
        "{said}"
    );
    // As a mount point without its disk is, and one that is gone as a whole.
    let folders = [("empty", "holds no blocks of a box"), ("nowhere", "is not there")];
    fs::create_dir(home.path("empty")).unwrap();
    for (folder, what) in folders {
        let config = format!("data = [{:?}]\n", home.path(folder).to_str().unwrap());
        fs::write(home.config_file(), config).unwrap();
        let said = home.run(&["doctor"]).exits(3).stdout;
        assert!(said.contains(what) && said.contains("is not mounted"), "{said}");
    }
}

#[test]
fn the_disks_are_listed_with_those_that_are_not_there() {
    let mut home = TestBox::new();
    let (one, two) = (home.path("one"), home.path("two"));
    let config = format!(
        "data = [{:?}, {:?}]\n",
        one.to_str().unwrap(),
        two.to_str().unwrap()
    );
    fs::write(home.config_file(), config).unwrap();
    home.start(&[]);
    let states = |home: &TestBox| {
        let list = home.run(&["disk", "ls", "--json"]).exits(0).json();
        let disks = list["disks"].as_array().unwrap().clone();
        let state = |path: &Path| {
            let disk = disks.iter().find(|disk| disk["path"] == path.to_str().unwrap());
            disk.unwrap_or_else(|| panic!("{path:?} is not in {disks:?}"))["state"].clone()
        };
        assert_eq!(disks.len(), 2);
        [state(&one), state(&two)]
    };
    assert_eq!(states(&home), ["serving", "serving"]);
    home.stop();
    fs::rename(&two, home.path("elsewhere")).unwrap();
    home.start(&[]);
    assert_eq!(states(&home), ["serving", "missing"]);
    let said = home.run(&["disk", "ls"]).exits(0);
    let missing = said.stdout.lines().find(|line| line.contains("two")).unwrap();
    assert!(missing.contains("not there"), "{said:?}");
    assert!(said.stderr.contains("mount what is not there"), "{said:?}");
    let verified = home.run(&["disk", "verify"]).exits(1);
    assert!(
        verified.stderr.contains("not read, for it is not there"),
        "{verified:?}"
    );
}

#[test]
fn a_person_who_has_all_blocks_verified_waits_and_hears_of_damage() {
    let page = Page::serving();
    let home = &page.home;
    home.run(&["bucket", "create", "photos"]).exits(0);
    let admin = page.token("admin");
    let content = "a cat on a wall ".repeat(20_000);
    let put = "PUT /api/v1/buckets/photos/objects/content?key=cat";
    assert_eq!(page.bearing(&admin, put, &content).status, 201);
    let good = home.run(&["disk", "verify"]).exits(0);
    assert!(good.stdout.contains("none is damaged"), "{good:?}");

    let list = home.run(&["disk", "ls", "--json"]).exits(0).json();
    let disk = PathBuf::from(list["disks"][0]["path"].as_str().unwrap());
    let entries = fs::read_dir(disk).unwrap().map(|entry| entry.unwrap().path());
    let segment = entries.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let segment = segment
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let bytes = fs::read(&segment).unwrap();
    // Behind what is written it is empty.
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[!bytes[middle]], middle as u64).unwrap();
    let bad = home.run(&["disk", "verify", "--json"]).exits(1).json();
    assert_eq!(bad["damaged"].as_u64(), Some(1), "{bad}");
    let listed = home.run(&["disk", "ls", "--json"]).exits(0).json();
    assert_eq!(listed["disks"][0]["damaged"].as_u64(), Some(1), "{listed}");
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
    let last = home.run(&["logs", "-n", "1"]).exits(0).stdout;
    assert_eq!(Some(last.trim_end()), lines.last().unwrap().as_str());
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
        "Disks",
        "History",
        "Numbers",
        "Log",
    ] {
        assert!(bundle.contains(&format!("\n== {part} ==\n")), "{part} is missing");
    }
    assert!(bundle.contains("\"verdict\"") && bundle.contains("warren_"));
    let told = fs::read_to_string(home.state().join("first-start.txt")).unwrap();
    let code = told
        .split_once("login code ")
        .unwrap()
        .1
        .split_whitespace()
        .next()
        .unwrap();
    assert_eq!(code.len(), "XXXX-XXXX-XXXX".len());
    let words = recovery_words(&told);
    let mut secrets = vec![code.to_owned()];
    secrets.extend(words.windows(4).map(|some| some.join(" ")));
    for (document, name) in [(&made, "secret"), (&token, "secret"), (&invite, "token")] {
        secrets.push(
            document[name]
                .as_str()
                .unwrap_or_else(|| panic!("{document}"))
                .to_owned(),
        );
    }
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
