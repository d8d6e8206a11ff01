//! What a box in trouble promises: what `warren status` exits with, how a lost key file comes back, how to stop at once.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::TestBox;
use rustix::process::Signal;
use serde_json::Value;

/// Starts to send a request and does not end it.
fn unfinished_request(ready: &Value) -> TcpStream {
    let url = ready["s3"][0].as_str().unwrap();
    let connect = || TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let mut unfinished = connect();
    unfinished.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").unwrap();
    // Connections are taken in order: once a later one is answered, the server has this one.
    let mut answered = connect();
    answered
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    answered.read_to_end(&mut Vec::new()).unwrap();
    unfinished
}

#[test]
fn a_second_signal_stops_a_box_that_waits_for_a_client() {
    for second in [Signal::TERM, Signal::INT] {
        let mut running = TestBox::new();
        let ready = running.start(&[]);
        let waiting = unfinished_request(&ready);
        running.signal(Signal::TERM);
        // Stopping: it still tells so, and that is what a script sees.
        let begun = Instant::now();
        while running.run(&["status"]).exit != 12 {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", running.log());
        }
        running.signal(second);
        assert_eq!(running.ended().code(), Some(1), "{}", running.log());
        assert!(running.log().contains("stopped at once by a second signal"));
        drop(waiting);
        running.start(&[]);
        running.run(&["status"]).exits(0);
    }
}

#[test]
fn a_box_without_room_is_degraded() {
    let mut small = TestBox::new();
    // The frame that opens a segment is all that fits.
    let data = format!("{}:40", small.path("small").display());
    small.start(&["--data", &data]);
    let said = small.run(&["status"]).exits(10);
    assert!(
        said.stdout.contains("DEGRADED") && said.stdout.contains("disk is full"),
        "{said:?}"
    );
    assert_eq!(
        small.run(&["status", "--json"]).exits(10).json()["verdict"],
        "degraded"
    );
}

#[test]
fn a_box_that_misses_a_directory_of_data_is_at_risk() {
    let mut two = TestBox::new();
    let [first, second] = ["first", "second"].map(|name| two.path(name).display().to_string());
    two.start(&["--data", &first, "--data", &second]);
    two.run(&["status"]).exits(0);
    two.stop();
    two.start(&["--data", &first]);
    let said = two.run(&["status"]).exits(11);
    assert!(
        said.stdout.contains("AT RISK") && said.stdout.contains(&format!("{second} is missing")),
        "{said:?}"
    );
    // Who only looks at the status of an answer hears of it, too.
    let health = "GET /api/v1/health HTTP/1.1\r\nhost: box\r\nconnection: close\r\n\r\n";
    let judged = two.ask_raw(health);
    assert!(
        judged.starts_with("HTTP/1.1 503") && judged.contains("\"verdict\":\"at-risk\""),
        "{judged}"
    );
    two.stop();
    two.start(&["--data", &first, "--data", &second]);
    two.run(&["status"]).exits(0);
    let judged = two.ask_raw(health);
    assert!(
        judged.starts_with("HTTP/1.1 200") && judged.contains("\"verdict\":\"ok\""),
        "{judged}"
    );
}

#[test]
fn the_recovery_phrase_brings_a_lost_key_file_back() {
    let mut known = TestBox::new();
    known.start(&["--show-secrets"]);
    let printed: Value = serde_json::from_str(&known.printed()).unwrap();
    known.run(&["bucket", "create", "photos"]).exits(0);
    known.stop();
    fs::remove_file(known.state().join("mesh.keys")).unwrap();
    assert!(
        known.try_start(&[]).is_none(),
        "a box without its keys made new ones"
    );
    assert!(!known.ended().success());

    let path = known.path("phrase");
    let phrase = printed["recovery_phrase"].as_str().unwrap();
    let words: Vec<_> = phrase.split(' ').rev().collect();
    for (text, mode) in [(words.join(" "), 0o600), (phrase.to_owned(), 0o644)] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let refused = known.try_start(&["--recovery-phrase-file", path.to_str().unwrap()]);
        assert!(
            refused.is_none(),
            "another phrase, or one for all to read, was taken"
        );
        assert!(!known.ended().success());
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    known.start(&["--recovery-phrase-file", path.to_str().unwrap()]);
    known.run(&["bucket", "info", "photos"]).exits(0);
    known.stop();
    known.start(&[]);
    known.run(&["bucket", "info", "photos"]).exits(0);
    assert!(!known.log().contains(phrase));
}
