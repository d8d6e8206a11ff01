//! What starting and stopping a box promises.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::mesh::founder_in;
use crate::support::{TestBox, mode};
use rustix::process::Signal;

#[test]
fn a_box_starts_without_any_configuration_and_says_where_it_serves() {
    let mut new = TestBox::new();
    let ready = new.start(&[]);
    let url = ready["s3"][0].as_str().unwrap();
    assert!(
        url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"),
        "{url}"
    );
    let status = new.run(&["status", "--json"]).exits(0).json();
    assert_eq!(status["s3"][0], url);
    assert_eq!(status["verdict"], "ok");
    assert!(status["summary"].as_str().unwrap().contains("only on this box"));
    assert!(
        new.run(&["status"])
            .exits(0)
            .stdout
            .contains("your data lives only on this box")
    );
}

#[test]
fn a_service_keeps_the_first_secrets_out_of_its_log() {
    let mut new = TestBox::new();
    let ready = new.start(&["--log", "trace"]);
    let path = new.state().join("first-start.txt");
    assert_eq!(ready["secrets_file"], path.to_str().unwrap());
    assert_eq!(mode(&path), 0o600);
    let secrets = fs::read_to_string(&path).unwrap();
    let secret = secrets
        .lines()
        .find_map(|line| line.trim().strip_prefix("Secret key"))
        .unwrap()
        .trim();
    assert!(secrets.contains("aws --endpoint-url") && secrets.contains("rclone lsd warren:"));
    // Arguments are for every user of the box to see.
    let shown = |line: &str| line.contains("Secret key") || line.trim().starts_with("export ");
    assert!(secrets.lines().filter(|line| line.contains(secret)).all(shown));
    assert!(secrets.contains(" 24 "), "the phrase has 24 words");
    new.stop();
    assert!(!new.log().contains(secret) && !new.printed().contains(secret));
}

#[test]
fn a_refused_request_is_found_in_the_log_by_the_id_that_its_client_was_told() {
    let place = TestBox::new();
    fs::write(
        place.config_file(),
        "[log]\nlevel = \"debug\"\nformat = \"json\"\n",
    )
    .unwrap();
    let home = founder_in(place);
    let refused = home.client.get("/nothing/here");
    assert_eq!(refused.status, 404);
    let body = String::from_utf8(refused.body).unwrap();
    let id = body
        .split("<RequestId>")
        .nth(1)
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let log = home.place.log();
    let events = log.lines().map(|line| {
        let event: Result<serde_json::Value, _> = serde_json::from_str(line);
        event.unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let mut of_it = events.filter(|event| event["id"] == id && event["message"] == "request refused");
    let event = of_it.next().unwrap_or_else(|| panic!("{id} is not in {log}"));
    assert_eq!(event["level"], "DEBUG");
    assert!(
        event["error"].as_str().unwrap().contains("NoSuchBucket"),
        "{event}"
    );
}

#[test]
fn a_box_holds_no_more_memory_than_it_uses() {
    let running = TestBox::serving();
    // Older kernels do not tell.
    let told = running.proc("status");
    assert!(!told.contains("THP_enabled:\t1"), "huge pages are in use: {told}");
}

#[test]
fn secrets_are_shown_once() {
    let mut new = TestBox::new();
    new.start(&["--show-secrets"]);
    let printed: serde_json::Value = serde_json::from_str(&new.printed()).unwrap();
    assert!(printed["secret_key"].as_str().unwrap().len() >= 16);
    assert_eq!(
        printed["recovery_phrase"].as_str().unwrap().split(' ').count(),
        24
    );
    assert!(!new.state().join("first-start.txt").exists());
    new.stop();
    fs::remove_file(new.path("stdout")).unwrap();
    let ready = new.start(&["--show-secrets"]);
    assert!(ready["secrets_file"].is_null());
    assert_eq!(new.printed(), "");
}

#[test]
fn a_second_server_on_the_same_state_is_refused() {
    let first = TestBox::serving();
    let second = first.run(&["server", "--s3", "127.0.0.1:0"]).exits(6);
    assert!(second.stderr.contains("another Warren (process "), "{second:?}");
    first.run(&["status"]).exits(0);
}

#[test]
fn a_port_in_use_is_named_before_anything_is_made() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let new = TestBox::new();
    let said = new.run(&["server", "--s3", &address]).exits(6);
    assert!(
        said.stderr.contains("--s3") && said.stderr.contains("in use"),
        "{said:?}"
    );
    assert!(
        !new.state().join("mesh.keys").exists(),
        "secrets were made that nobody saw"
    );
}

#[test]
fn sigterm_and_sigint_stop_a_box_gracefully() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut running = TestBox::serving();
        running.signal(signal);
        assert!(running.ended().success(), "{}", running.log());
        assert!(running.log().contains("node stopped"));
        assert!(!running.state().join("admin.sock").exists());
        running.run(&["status"]).exits(3);
    }
}

#[test]
fn a_box_that_was_killed_starts_again() {
    let mut killed = TestBox::serving();
    killed.signal(Signal::KILL);
    killed.ended();
    assert!(
        killed.state().join("admin.sock").exists(),
        "the socket of a dead process is left"
    );
    killed.start(&[]);
    killed.run(&["status"]).exits(0);
}

#[test]
fn buckets_and_keys_outlive_a_restart_and_a_kill() {
    let mut running = TestBox::serving();
    let made = running
        .run(&["key", "create", "laptop", "--json"])
        .exits(0)
        .json();
    running
        .run(&["bucket", "create", "photos", "--owner", "laptop"])
        .exits(0);
    for signal in [Signal::TERM, Signal::KILL] {
        running.signal(signal);
        running.ended();
        running.start(&[]);
        let bucket = running
            .run(&["bucket", "info", "photos", "--json"])
            .exits(0)
            .json();
        assert_eq!(bucket["owner"], made["id"]);
        assert_eq!(bucket["keys"][0]["name"], "laptop");
        assert_eq!(
            running.run(&["key", "ls", "--json"]).json()["keys"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}

#[test]
fn init_makes_a_box_that_remembers_what_it_was_told() {
    let mut new = TestBox::new();
    let init = [
        "init",
        "--name",
        "Maple family",
        "--zone",
        "Anna's house",
        "--give",
        "5G",
    ];
    let said = new.run(&init).exits(0);
    assert!(
        said.stdout.contains("Maple family") && said.stdout.contains("1 of 1"),
        "{said:?}"
    );
    assert!(said.stderr.contains("first-start.txt"));
    let again = new.run(&init).exits(6);
    assert!(again.stderr.contains("holds a box already"));
    let ready = new.start(&[]);
    assert!(ready["secrets_file"].is_null(), "shown by init already");
    let status = new.run(&["status", "--json"]).json();
    assert_eq!(status["name"], "Maple family");
    assert_eq!(status["homes"][0]["zone"], "Anna's house");
    let config = new.run(&["config", "show"]).exits(0).stdout;
    assert!(
        config.contains("blocks:5000000000") && config.contains("init.toml"),
        "{config}"
    );
}

#[test]
fn a_box_whose_secrets_could_not_be_shown_says_that_they_are_lost() {
    for verb in [&["init"][..], &["server", "--s3", "127.0.0.1:0"]] {
        let new = TestBox::new();
        fs::create_dir_all(new.state().join("first-start.txt")).unwrap();
        let said = new.run(verb).exits(1);
        assert!(said.stderr.contains("recovery phrase"), "{said:?}");
        assert!(said.stderr.contains("nothing is stored yet: delete"), "{said:?}");
    }
}

#[test]
fn the_service_manager_hears_of_start_life_and_stop() {
    let mut new = TestBox::new();
    let path = new.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut command = new.command(&["server", "--json", "--s3", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    new.try_start_command(&mut command).unwrap();
    let heard = || {
        let mut bytes = [0; 256];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    assert!(heard().starts_with("READY=1"));
    assert_eq!(heard(), "WATCHDOG=1");
    assert_eq!(heard(), "WATCHDOG=1");
    new.signal(Signal::TERM);
    while heard() != "STOPPING=1" {}
    assert!(new.ended().success());
}

#[test]
fn the_admin_socket_is_private_and_tells_health() {
    let running = TestBox::serving();
    assert_eq!(mode(&running.state().join("admin.sock")), 0o600);
    assert_eq!(mode(&running.state()), 0o700);
    for (path, answer) in [("/healthz", "alive"), ("/readyz", "ready")] {
        let said = running.ask_raw(&format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        ));
        assert!(
            said.starts_with("HTTP/1.1 200") && said.ends_with(&format!("{answer}\n")),
            "{said}"
        );
    }
}

#[test]
fn the_admin_api_answers_nonsense_with_problem_documents() {
    let running = TestBox::serving();
    let post = |path: &str, body: &str| {
        let length = body.len();
        running.ask_raw(&format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    };
    for (answer, status, code) in [
        (post("/api/v1/buckets", "{"), "400", "malformed"),
        (
            post("/api/v1/buckets", r#"{"schema":2,"name":"abc"}"#),
            "400",
            "malformed",
        ),
        (
            post("/api/v1/buckets", r#"{"schema":1,"name":"abc","x":1}"#),
            "400",
            "malformed",
        ),
        (
            post("/api/v1/buckets", r#"{"schema":1,"name":"A"}"#),
            "422",
            "invalid",
        ),
        (post("/api/v1/buckets", &" ".repeat(70_000)), "413", "too-large"),
        (post("/api/v1/nothing", ""), "404", "no-such-resource"),
        (post("/api/v1/keys/%FF/allow", "{}"), "400", "malformed"),
        (
            post(
                "/api/v1/keys/a%2Fb/allow",
                r#"{"schema":1,"create_buckets":true}"#,
            ),
            "404",
            "no-such-key",
        ),
    ] {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("application/problem+json"), "{answer}");
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{answer}");
    }
    running.run(&["status"]).exits(0);
}
