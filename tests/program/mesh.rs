//! What several boxes that are one mesh promise.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Client;
use crate::support::{Said, TestBox, mode};

/// How long news may take to reach every connected box.
const SOON: Duration = Duration::from_secs(45);

/// A running box and a client of it.
pub(crate) struct Home {
    pub(crate) place: TestBox,
    pub(crate) client: Client,
}

/// The first box of a mesh, with the key of its owner.
fn founder() -> Home {
    founder_in(TestBox::new())
}

/// The first box of a mesh, in a place that may be configured.
pub(crate) fn founder_in(mut place: TestBox) -> Home {
    let ready = place.start(&["--show-secrets"]);
    let printed: Value = serde_json::from_str(&place.printed()).unwrap();
    let text = |key: &str| printed[key].as_str().unwrap().to_owned();
    let client = Client::of(&ready, &text("access_key"), &text("secret_key"));
    Home { place, client }
}

/// A box that joined through another, and runs.
fn joined(through: &Home, name: &str) -> Home {
    joined_in(TestBox::new(), through, name)
}

/// A box that joined through another, in a place that may be configured.
pub(crate) fn joined_in(mut place: TestBox, through: &Home, name: &str) -> Home {
    place
        .run(&["join", &invite(&through.place), "--name", name, "--zone", name])
        .exits(0);
    let ready = place.start(&[]);
    let client = Client::of(&ready, &through.client.id, &through.client.secret);
    Home { place, client }
}

fn invite(by: &TestBox) -> String {
    let made = by.run(&["invite", "--json"]).exits(0).json();
    made["token"].as_str().unwrap().to_owned()
}

/// Waits until it comes true.
pub(crate) fn soon(what: &str, is_true: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_true() {
        assert!(begin.elapsed() < SOON, "{what}: not within {SOON:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn reads(home: &Home, path: &str, body: &[u8]) {
    let got = home.client.get(path);
    let shown = String::from_utf8_lossy(&got.body);
    let log = home.place.log();
    assert_eq!(
        (got.status, got.body == body),
        (200, true),
        "{path}: {} bytes, {shown:.200} {log}",
        got.body.len()
    );
}

pub(crate) fn online(home: &Home) -> usize {
    let status = home.place.run(&["status", "--json"]).json();
    let homes = status["homes"].as_array().unwrap();
    homes.iter().filter(|home| home["online"] == true).count()
}

#[test]
fn one_box_becomes_three_and_what_is_stored_at_one_is_read_at_all() {
    let anna = founder();
    anna.place.run(&["bucket", "create", "photos"]).exits(0);
    assert_eq!(anna.client.put("/photos/before", b"from anna alone").status, 200);
    let ben = joined(&anna, "ben");
    soon("ben hears of the bucket", || {
        ben.client.get("/photos/before").status == 200
    });
    reads(&ben, "/photos/before", b"from anna alone");
    assert_eq!(ben.client.put("/photos/from-ben", &[7; 4096]).status, 200);
    reads(&anna, "/photos/from-ben", &[7; 4096]);
    // More than a row carries: in blocks, the last of them not full.
    let film: Vec<u8> = (0..9_000_001_u32)
        .map(|at| (at ^ (at >> 7)).to_le_bytes()[0])
        .collect();
    assert_eq!(anna.client.put("/photos/film", &film).status, 200);
    reads(&ben, "/photos/film", &film);
    let cleo = joined(&ben, "cleo");
    for home in [&anna, &ben, &cleo] {
        soon("all are online", || online(home) == 3);
    }
    assert_eq!(cleo.client.put("/photos/from-cleo", b"small").status, 200);
    for home in [&anna, &ben, &cleo] {
        reads(home, "/photos/before", b"from anna alone");
        reads(home, "/photos/from-ben", &[7; 4096]);
        reads(home, "/photos/film", &film);
        reads(home, "/photos/from-cleo", b"small");
    }
    // What is made at any box holds at all of them.
    ben.place.run(&["bucket", "create", "music"]).exits(0);
    let made = cleo
        .place
        .run(&["key", "create", "phone", "--json"])
        .exits(0)
        .json();
    soon("the key is known", || {
        let keys = anna.place.run(&["key", "ls", "--json"]).json();
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["id"] == made["id"])
    });
    soon("the bucket is known", || {
        anna.place.run(&["bucket", "info", "music"]).exit == 0
    });
}

#[test]
fn boxes_that_restart_find_each_other_again() {
    let anna = founder();
    anna.place.run(&["bucket", "create", "photos"]).exits(0);
    let mut ben = joined(&anna, "ben");
    soon("both are online", || online(&anna) == 2);
    ben.place.stop();
    soon("ben is away", || online(&anna) == 1);
    let status = anna.place.run(&["status"]).exits(11);
    assert!(status.stdout.contains("ben is away"), "{status:?}");
    assert_eq!(anna.client.put("/photos/meanwhile", b"without ben").status, 200);
    let ready = ben.place.start(&[]);
    ben.client = Client::of(&ready, &anna.client.id, &anna.client.secret);
    soon("both are online", || online(&anna) == 2);
    reads(&ben, "/photos/meanwhile", b"without ben");
}

#[test]
fn status_counts_copies_and_says_what_is_in_one_home_only() {
    let anna = founder();
    anna.place.run(&["peer", "rename", "1", "anna"]);
    anna.place.run(&["bucket", "create", "photos"]).exits(0);
    let mut ben = joined(&anna, "ben");
    soon("both are online", || online(&anna) == 2);
    let preview = anna.place.run(&["layout", "preview"]).exits(0);
    assert!(
        preview.stdout.contains("ben gets its share if it stays"),
        "{preview:?}"
    );
    anna.place.run(&["layout", "settle"]).exits(0);
    let film = vec![7; 100_000];
    assert_eq!(anna.client.put("/photos/film", &film).status, 200);
    let says = |home: &Home, exit: i32, words: &[&str]| {
        let said = home.place.run(&["status"]);
        said.exit == exit && words.iter().all(|word| said.stdout.contains(word))
    };
    let well = [
        "OK: every object has 2 copies in 2 homes (goal 2)",
        "one home burned now: nothing lost",
    ];
    soon("anna knows of both copies", || says(&anna, 0, &well));
    soon("ben knows of both copies", || says(&ben, 0, &well));
    // Anna heard of it from ben, perhaps; once he is away she can only go by what she found herself.
    soon("anna compared all rows", || {
        let repair = anna.place.run(&["repair", "status", "--json"]).exits(0).json();
        let boxes = repair["boxes"].as_array().unwrap().iter();
        boxes.map(|one| one["uncompared"].as_u64().unwrap()).sum::<u64>() == 0
    });
    let layout = anna.place.run(&["layout", "show"]).exits(0);
    assert!(layout.stdout.matches("256/256").count() == 4, "{layout:?}");
    let history = anna.place.run(&["layout", "history"]).exits(0);
    assert!(history.stdout.contains("ben gets its share"), "{history:?}");
    ben.place.signal(rustix::process::Signal::KILL);
    ben.place.ended();
    let away = [
        "DEGRADED: every object has 2 copies in 2 homes",
        "1 of 2 boxes away",
        "ben is away",
        "nothing lost",
    ];
    soon("anna misses ben and nothing else", || says(&anna, 10, &away));
    assert_eq!(anna.client.put("/photos/small", b"alone").status, 200);
    assert_eq!(anna.client.put("/photos/film-2", &vec![9; 100_000]).status, 200);
    let alone = ["AT RISK", "1 block", "in one home only", "→ warren why"];
    soon("what only anna has is named", || says(&anna, 11, &alone));
    let why = anna.place.run(&["why"]).exits(11).stdout;
    assert!(why.contains("as soon as another home can be reached"), "{why}");
    let repair = anna.place.run(&["repair", "status"]).exits(0).stdout;
    assert!(repair.contains("BEHIND") && repair.contains("ben"), "{repair}");
    let metrics = anna.place.run(&["metrics"]).exits(0).stdout;
    for line in [
        "warren_copies_least 2",
        "warren_copies_short_blocks{copies=\"1\"} 1",
        "warren_peer_connected{peer=\"ben\",path=\"none\"} 0",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let paused = anna.place.run(&["scrub", "pause", "--json"]).exits(0).json();
    assert_eq!(paused["paused"], true);
    let ready = ben.place.start(&[]);
    ben.client = Client::of(&ready, &anna.client.id, &anna.client.secret);
    soon("ben has caught up", || says(&anna, 0, &well));
}

#[test]
fn an_invite_lets_one_box_in_and_says_clearly_that_it_lets_no_other_in() {
    let anna = founder();
    let token = invite(&anna.place);
    let (ben, cleo) = (TestBox::new(), TestBox::new());
    let said = ben.run(&["join", &token, "--name", "ben"]).exits(0);
    assert!(
        said.stdout.contains("Token valid") && said.stdout.contains("lan"),
        "{said:?}"
    );
    assert!(!said.stdout.contains(&token) && !said.stderr.contains(&token));
    let used = cleo.run(&["join", &token]).exits(4);
    assert!(used.stderr.contains("ask for a new one"), "{used:?}");
    assert!(!cleo.state().join("mesh.keys").exists());
    // A box that failed to join joins with a better invite.
    cleo.run(&["join", &invite(&anna.place), "--name", "ben"])
        .exits(0);
    let peers = anna.place.run(&["peer", "ls", "--json"]).exits(0).json();
    let names: Vec<_> = peers["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["name"].clone())
        .collect();
    assert_eq!(names[1..], ["ben", "ben-2"]);
    let invites = anna.place.run(&["invite", "ls", "--json"]).exits(0).json();
    assert_eq!(
        (&invites["invites"][0]["state"], &invites["invites"][0]["member"]),
        (&"used".into(), &2.into())
    );
}

#[test]
fn revoked_expired_and_garbled_invites_are_refused_with_a_word_on_what_to_do() {
    let anna = founder();
    let refused = |token: &str, exit: i32, word: &str| -> Said {
        let said = TestBox::new().run(&["join", token]).exits(exit);
        assert!(said.stderr.contains(word), "{said:?}");
        said
    };
    let made = anna.place.run(&["invite", "--json"]).exits(0).json();
    let (revoked, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    // Another one keeps the door open, so that the answer is about this one.
    let open = invite(&anna.place);
    anna.place.run(&["invite", "revoke", id]).exits(0);
    anna.place.run(&["invite", "revoke", id]).exits(5);
    refused(revoked, 4, "ask for a new one");
    let expired = anna
        .place
        .run(&["invite", "--expires", "1s", "--json"])
        .exits(0)
        .json();
    std::thread::sleep(Duration::from_millis(1100));
    let expired = expired["token"].as_str().unwrap();
    refused(expired, 4, "ask for a new one");
    refused(&open[..open.len() - 3], 2, "copy the whole line again");
    refused("hello", 2, "an invite begins with wrn1");
    anna.place.run(&["invite", "--expires", "40d"]).exits(2);
    anna.place.run(&["invite", "--role", "vault"]).exits(2);
    // With no invite outstanding nobody is even heard.
    for invite in anna.place.run(&["invite", "ls", "--json"]).json()["invites"]
        .as_array()
        .unwrap()
    {
        if invite["state"] == "open" {
            anna.place
                .run(&["invite", "revoke", invite["id"].as_str().unwrap()])
                .exits(0);
        }
    }
    refused(&open, 7, "ask for a new one");
    // One that was used keeps the door open for a while: its answer may have been lost.
    let used = invite(&anna.place);
    TestBox::new().run(&["join", &used]).exits(0);
    let known = p2p::Invite::parse(&open).unwrap();
    let made_up = p2p::Invite::new(
        known.mesh(),
        known.role(),
        known.expires_s(),
        known.addresses().to_vec(),
    );
    let made_up = made_up.unwrap().text();
    // Whoever holds one that does not work learns nothing of why.
    let answers = [revoked, expired, used.as_str(), made_up.as_str()].map(|token| {
        let said = TestBox::new().run(&["join", token]).exits(4);
        (said.stdout, said.stderr)
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[test]
fn a_box_that_holds_data_does_not_join() {
    let (anna, mut ben) = (founder(), TestBox::new());
    ben.start(&[]);
    let token = invite(&anna.place);
    let join = |ben: &TestBox| {
        let said = ben.run(&["join", &token]).exits(6);
        assert!(said.stderr.contains("holds a box already"), "{said:?}");
    };
    join(&ben);
    ben.stop();
    join(&ben);
}

#[test]
fn a_removed_box_is_cut_off_and_its_keys_stay_private() {
    let mut anna = founder();
    anna.place.run(&["bucket", "create", "photos"]).exits(0);
    let mut ben = joined(&anna, "ben");
    soon("both are online", || online(&ben) == 2);
    for file in ["mesh.keys", "seat", "identity"] {
        assert_eq!(mode(&ben.place.state().join(file)), 0o600, "{file}");
    }
    let trusted = |home: &Home| home.place.run(&["net", "ca", "--fingerprint"]).stdout;
    let first = trusted(&anna);
    soon("whoever trusts anna's box trusts ben's", || {
        trusted(&ben) == first
    });
    let needed = ben.place.run(&["peer", "remove", "1", "--yes"]).exits(6);
    assert!(
        needed.stderr.contains("still needed") && needed.stderr.contains("drain"),
        "{needed:?}"
    );
    anna.place.run(&["peer", "remove", "ben"]).exits(2);
    ben.place.stop();
    let away = anna.place.run(&["peer", "remove", "ben", "--yes"]).exits(7);
    assert!(away.stderr.contains("--lose-data"), "{away:?}");
    let ready = ben.place.start(&[]);
    ben.client = Client::of(&ready, &anna.client.id, &anna.client.secret);
    soon("both are online again", || online(&anna) == 2);
    invite(&anna.place);
    anna.place.run(&["peer", "remove", "ben", "--yes"]).exits(0);
    // At once, though the mesh is getting other keys: what was invited before is void, and this is not.
    invite(&anna.place);
    anna.place.run(&["peer", "show", "ben"]).exits(5);
    soon("ben is cut off", || online(&ben) == 1);
    let knows = |ben: &Home| {
        let status = ben.place.run(&["status"]);
        status.exit == 12 && status.stdout.contains("no member of the mesh any more")
    };
    soon("ben knows why", || knows(&ben));
    let said = "this box was removed from the mesh";
    soon("ben logs why", || ben.place.log().contains(said));
    // It knows what signed so far.
    soon("another authority signs", || trusted(&anna) != first);
    assert_eq!(trusted(&ben), first);
    assert_eq!(ben.client.put("/photos/late", b"x").status, 503);
    assert_eq!(anna.client.put("/photos/late", b"x").status, 200);
    assert_eq!(online(&anna), 1);
    // Whoever was away is told when it is back, by boxes that were away themselves.
    let mut ben = ben;
    ben.place.stop();
    anna.place.stop();
    let ready = anna.place.start(&[]);
    anna.client = Client::of(&ready, &anna.client.id, &anna.client.secret);
    ben.place.start(&[]);
    soon("ben knows why", || knows(&ben));
    // The mesh has other keys by now: they sign for who joins, and open what was written under them and before.
    let invites = anna.place.run(&["invite", "ls", "--json"]).exits(0).json();
    assert_eq!(invites["invites"].as_array().unwrap().len(), 1);
    let cleo = joined(&anna, "cleo");
    soon("both are online", || online(&cleo) == 2);
    assert_eq!(cleo.client.get("/photos/late").body, b"x");
}

#[test]
fn a_box_that_lost_all_but_its_identity_joins_anew_in_place_of_what_it_was() {
    let anna = founder();
    let mut ben = joined(&anna, "ben");
    soon("both are online", || online(&anna) == 2);
    ben.place.stop();
    for entry in std::fs::read_dir(ben.place.state()).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("identity") {
            continue;
        }
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.unwrap();
    }
    ben.place
        .run(&["join", &invite(&anna.place), "--name", "ben", "--zone", "ben"])
        .exits(0);
    ben.place.start(&[]);
    soon("ben stands there once", || {
        let boxes = boxes(&anna);
        boxes.len() == 2 && boxes[1] == "3 ben"
    });
    soon("both are online", || online(&anna) == 2);
}

/// Number and name of every box.
fn boxes(by: &Home) -> Vec<String> {
    let list = by.place.run(&["peer", "ls", "--json"]).exits(0).json();
    let peers = list["peers"].as_array().unwrap().iter();
    let named = peers.map(|peer| format!("{} {}", peer["member"], peer["name"].as_str().unwrap()));
    named.collect()
}

#[test]
fn a_box_that_is_set_back_to_a_backup_takes_its_place_anew_by_itself() {
    let anna = founder();
    let mut ben = joined(&anna, "ben");
    soon("both are online", || online(&anna) == 2);
    ben.place.stop();
    let (state, backup) = (ben.place.state(), ben.place.path("backup"));
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    copy(&state, &backup);
    ben.place.start(&[]);
    assert_eq!(anna.client.put("/photos", b"").status, 200);
    assert_eq!(anna.client.put("/photos/cat", b"meow").status, 200);
    let buckets = |of: &TestBox| of.run(&["bucket", "ls", "--json"]).exits(0).stdout;
    soon("ben hears of it", || buckets(&ben.place).contains("photos"));
    ben.place.stop();
    std::fs::remove_dir_all(&state).unwrap();
    copy(&backup, &state);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    ben.client.host = port.to_string();
    let mut server = ben.place.command(&["server", "--json", "--s3", &ben.client.host]);
    ben.place.try_start_command(&mut server).unwrap();
    soon("ben has another number", || {
        let boxes = boxes(&anna);
        boxes.len() == 2 && boxes[1] == "3 ben"
    });
    soon("both are online", || online(&anna) == 2);
    soon("ben serves again", || ben.client.get("/photos/cat").status == 200);
    reads(&ben, "/photos/cat", b"meow");
    let log = ben.place.log();
    assert!(log.contains("older state"), "{log}");
}

#[test]
fn the_second_box_goes_on_when_a_person_says_that_the_first_is_lost() {
    let mut anna = founder();
    let ben = joined(&anna, "ben");
    soon("both are online", || online(&anna) == 2);
    assert_eq!(anna.client.put("/photos", b"").status, 200);
    assert_eq!(anna.client.put("/photos/cat", b"meow").status, 200);
    anna.place.run(&["layout", "settle"]).exits(0);
    soon("ben holds all there is", || {
        let status = ben.place.run(&["status", "--json"]);
        status.exit == 0
    });
    let refused = ben
        .place
        .run(&["mesh", "force-epoch", "--without", "1", "--yes"])
        .exits(6);
    assert!(refused.stderr.contains("not lost"), "{}", refused.stderr);
    anna.place.signal(rustix::process::Signal::KILL);
    anna.place.ended();
    soon("anna is missed", || online(&ben) == 1);
    assert_ne!(ben.client.put("/photos/dog", b"woof").status, 200);
    let dry = ben
        .place
        .run(&["mesh", "force-epoch", "--without", "1", "--dry-run", "--json"]);
    assert_eq!(dry.exits(0).json()["emptied"], 0);
    ben.place
        .run(&["mesh", "force-epoch", "--without", "1", "--yes"])
        .exits(0);
    reads(&ben, "/photos/cat", b"meow");
    assert_eq!(ben.client.put("/photos/dog", b"woof").status, 200);
    assert_eq!(boxes(&ben), ["2 ben"]);
}

#[test]
fn boxes_are_shown_measured_renamed_and_leave() {
    let anna = founder();
    let ben = joined(&anna, "ben");
    soon("both are online", || online(&anna) == 2);
    soon("ben answers", || {
        anna.place.run(&["peer", "ping", "ben"]).exit == 0
    });
    let pong = anna.place.run(&["peer", "ping", "ben", "--json"]).exits(0).json();
    assert!(pong["answer_seconds"].as_f64().unwrap() < 5.0);
    anna.place.run(&["peer", "ping", "1"]).exits(2);
    let renamed = ben
        .place
        .run(&["peer", "rename", "1", "anna", "--json"])
        .exits(0)
        .json();
    assert_eq!(renamed["name"], "anna");
    // Until ben has stayed for a while, everything is at anna's only.
    let status = ben.place.run(&["status"]).exits(11).stdout;
    assert!(
        status.contains("anna") && status.contains("ben (you)") && status.contains("lan"),
        "{status}"
    );
    soon("the name is heard", || {
        anna.place.run(&["peer", "show", "anna"]).exit == 0
    });
    let draining = anna
        .place
        .run(&["peer", "drain", "ben", "--json"])
        .exits(0)
        .json();
    assert_eq!(draining["draining"], true);
    anna.place.run(&["peer", "drain", "ben", "--undo"]).exits(0);
    let net = anna.place.run(&["net", "check", "--json"]).exits(0).json();
    assert!(net["listening"][0].as_str().unwrap().starts_with("127.0.0.1:"));
    anna.place.run(&["net", "limit", "up", "5M"]).exits(0);
    anna.place.run(&["net", "limit", "up", "0"]).exits(2);
    let net = anna.place.run(&["net", "check", "--json"]).exits(0).json();
    assert_eq!(
        (net["limit_up"].as_u64(), net["limit_down"].as_u64()),
        (Some(5_000_000), None)
    );
    let quiet = anna
        .place
        .run(&["net", "quiet", "1h", "--rate", "20K", "--json"])
        .exits(0)
        .json();
    assert_eq!(quiet["quiet"]["bytes_per_second"], 20_000, "{quiet}");
    assert!(
        (3590..=3600).contains(&quiet["quiet"]["left_seconds"].as_u64().unwrap()),
        "{quiet}"
    );
    anna.place.run(&["net", "quiet", "9d"]).exits(2);
    anna.place.run(&["net", "quiet", "--rate", "none"]).exits(2);
    let shown = anna.place.run(&["net", "check"]).exits(0);
    assert!(shown.stdout.contains("a second either way for"), "{shown:?}");
    let loud = anna
        .place
        .run(&["net", "quiet", "--end", "--json"])
        .exits(0)
        .json();
    assert!(loud["quiet"].is_null() && loud["limit_up"] == 5_000_000, "{loud}");
    let refused = anna.place.run(&["leave", "--yes"]).exits(6);
    assert!(refused.stderr.contains("hands over from now on"), "{refused:?}");
    ben.place.run(&["leave", "--yes"]).exits(0);
    soon("ben has left", || {
        anna.place.run(&["peer", "show", "ben"]).exit == 5
    });
}

/// The transcript that people are shown, by the very commands.
#[test]
fn five_minutes_make_two_homes_one_mesh() {
    let (mut anna, mut ben) = (TestBox::new(), TestBox::new());
    let init = [
        "init",
        "--name",
        "Maple family",
        "--zone",
        "Anna's house",
        "--give",
        "5G",
    ];
    let made = anna.run(&init).exits(0);
    for word in [
        "Maple family",
        "GB given of",
        "sync",
        "1 of 1",
        "until a second home joins",
    ] {
        assert!(made.stdout.contains(word), "{word}: {made:?}");
    }
    assert!(made.stderr.contains("warren invite"), "{made:?}");
    let ready = anna.start(&[]);
    let invited = anna.run(&["invite", "--expires", "48h"]).exits(0);
    let line = invited.stdout.trim();
    assert!(
        line.starts_with("warren join wrn1") && !line.contains('\n'),
        "{invited:?}"
    );
    assert!(
        invited.stderr.contains("single use") && invited.stderr.contains("2 d"),
        "{invited:?}"
    );

    let token = line.strip_prefix("warren join ").unwrap();
    let join = [
        "join",
        token,
        "--zone",
        "Ben's flat",
        "--give",
        "5G",
        "--name",
        "ben",
    ];
    let joined = ben.run(&join).exits(0);
    for word in [
        "Token valid: mesh \"Maple family\", signed by",
        "Path to",
        "lan ",
        " ms",
        "GB given",
    ] {
        assert!(joined.stdout.contains(word), "{word}: {joined:?}");
    }
    ben.start(&[]);
    soon("both homes are online", || {
        ben.run(&["status"])
            .stdout
            .contains("Maple family   AT RISK: every object has 1 copy in 1 home (goal 2)")
    });
    let status = ben.run(&["status"]).exits(11).stdout;
    for word in ["ben (you)", "Ben's flat", "Anna's house", "online", " GB", "lan"] {
        assert!(status.contains(word), "{word}: {status}");
    }

    // The first home's key opens the second home, and what one stores the other serves.
    let secrets = std::fs::read_to_string(anna.state().join("first-start.txt")).unwrap();
    let word = |name: &str| {
        let line = secrets.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let (id, secret) = (word("Access key"), word("Secret key"));
    anna.run(&["bucket", "create", "photos"]).exits(0);
    let client = Client::of(&ready, &id, &secret);
    assert_eq!(client.put("/photos/cat.txt", b"a cat").status, 200);
    let ready = ben.run(&["status", "--json"]).json();
    let client = Client::of(&ready, &id, &secret);
    soon("the cat is at ben's", || {
        client.get("/photos/cat.txt").body == b"a cat"
    });
}
