//! What a box promises to remember of the others.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::page::Page;
use crate::support::TestBox;

/// Twice as long as a box takes to look at the others, ask them what they use, and tell.
const SOON: Duration = Duration::from_secs(40);

fn history(of: &TestBox) -> Value {
    let answer = of.ask_raw("GET /api/v1/history HTTP/1.1\r\nhost: box\r\nconnection: close\r\n\r\n");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

/// The history of the second box, once this is true of it.
fn soon(of: &TestBox, is_true: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let all = history(of);
        let ben = all["boxes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == "ben");
        match ben {
            Some(ben) if is_true(ben) => return all,
            _ => assert!(begin.elapsed() < SOON, "{all}"),
        }
        sleep(Duration::from_millis(200));
    }
}

fn seconds(of: &Value, which: &str) -> u64 {
    let days = of["days"].as_array().unwrap();
    days.iter().map(|day| day[which].as_u64().unwrap()).sum()
}

#[test]
fn what_the_others_did_is_remembered_and_time_that_this_box_was_off_is_not_known() {
    let mut anna = Page::serving();
    let made = anna.home.run(&["invite", "--json"]).exits(0).json();
    let mut ben = TestBox::new();
    let join = [
        "join",
        made["token"].as_str().unwrap(),
        "--name",
        "ben",
        "--zone",
        "ben",
    ];
    ben.run(&join).exits(0);
    ben.start(&[]);
    let all = soon(&anna.home, |ben| {
        let sent = &ben["hours"]
            .as_array()
            .unwrap()
            .last()
            .map(|hour| hour["sent_bytes"].as_u64());
        sent.flatten().unwrap_or(0) > 0 && seconds(ben, "here_seconds") > 0
    });
    let own = &all["boxes"][0];
    assert!(seconds(own, "here_seconds") > 0, "{all}");
    let before = seconds(&all["boxes"][1], "here_seconds");

    // It is written at the end, and read at the next start; here with days of long ago.
    anna.home.stop();
    let path = anna.home.state().join("history.json");
    let mut kept: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let of_ben = kept["boxes"].as_array_mut().unwrap().iter_mut();
    let of_ben = of_ben.max_by_key(|one| one["node"] == node(&ben)).unwrap();
    let days = of_ben["days"].as_array_mut().unwrap();
    let today = days.last().unwrap()[0].as_u64().unwrap();
    days.insert(0, json!([today - 100, 86_400, 86_400, null]));
    days.insert(1, json!([today - 90, 0, 86_400, null]));
    days.insert(2, json!([today - 9, 43_200, 86_400, 0]));
    days.insert(3, json!([today - 5, 86_400, 86_400, 0]));
    fs::write(&path, kept.to_string()).unwrap();
    let ready = anna.home.start(&[]);
    ready["page"][0].as_str().unwrap()["http://".len()..].clone_into(&mut anna.host);
    let all = soon(&anna.home, |ben| seconds(ben, "here_seconds") >= 216_000 + before);
    let of_ben = &all["boxes"][1];
    // Nothing is said of the days between, on which this box was off.
    assert!(of_ben["days"].as_array().unwrap().len() <= 6, "{all}");
    let sum = |which: &str| {
        let lines = all["ledger"].as_array().unwrap().iter();
        lines.map(|line| line[which].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(all["ledger"].as_array().unwrap().len(), 2, "{all}");
    // Each part is rounded down.
    assert!(sum("gives_bytes").abs_diff(sum("takes_bytes")) <= 2, "{all}");

    let (cookie, _) = anna.enter();
    let homes = anna.ask("GET /homes", &[("cookie", &cookie)], "").body;
    for says in [
        "ben in the last 12 months: here on 3 days, partly on 1, away on 1, not known of 360 days",
        "class=\"up\"",
        "ledger-title",
    ] {
        assert!(homes.contains(says), "{says}: {homes}");
    }
    let overview = anna.ask("GET /", &[("cookie", &cookie)], "").body;
    assert!(
        overview.contains("At the pace of the last month no box fills soon."),
        "{overview}"
    );

    // A file that a crash damaged is no reason not to start.
    anna.home.signal(Signal::KILL);
    anna.home.ended();
    fs::write(&path, "{\"format\":1,").unwrap();
    anna.home.start(&[]);
    assert!(anna.home.log().contains("history of the boxes is damaged"));
    assert!(fs::exists(anna.home.state().join("history.json.damaged")).unwrap());
}

/// The id of a node.
fn node(of: &TestBox) -> Value {
    of.run(&["status", "--json"]).json()["homes"][0]["node"].clone()
}
