//! What webhooks are promised by several boxes that are one mesh.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::client::Client;
use crate::mesh::{Home, founder_in, joined_in, online, soon};
use crate::support::TestBox;

/// An event as these tests compare them: who told it, what happened, of which bucket and key.
type Told = (String, String, String);

/// A receiver that keeps what it is told, and by whom, and can be told to refuse.
#[derive(Clone)]
struct Hook {
    port: u16,
    heard: Arc<Heard>,
}

#[derive(Default)]
struct Heard {
    refuses: AtomicBool,
    refused: AtomicUsize,
    told: Mutex<Vec<Told>>,
}

impl Hook {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Heard::default());
        let hook = Self { port, heard };
        let receiving = hook.clone();
        // It ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                // Whoever was killed in the middle of a request says no more.
                let _ = receiving.take(stream.unwrap());
            }
        });
        hook
    }

    fn take(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut said = Vec::new();
        let body = loop {
            let mut piece = [0; 4096];
            let length = stream.read(&mut piece)?;
            if length == 0 {
                return Ok(());
            }
            said.extend_from_slice(&piece[..length]);
            let Some(end) = said.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&said[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.unwrap().parse().unwrap();
            if said.len() == end + 4 + length {
                break said.split_off(end + 4);
            }
        };
        let status = match self.heard.refuses.load(Ordering::SeqCst) {
            true => {
                self.heard.refused.fetch_add(1, Ordering::SeqCst);
                "503 Busy"
            }
            false => {
                self.note(&String::from_utf8_lossy(&said), &body);
                "200 OK"
            }
        };
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
    }

    fn note(&self, head: &str, body: &[u8]) {
        let by = head.split([' ', '/']).nth(2).unwrap().to_owned();
        let message: Value = serde_json::from_slice(body).unwrap();
        for record in message["Records"].as_array().into_iter().flatten() {
            let text = |place: &str| record.pointer(place).unwrap().as_str().unwrap().to_owned();
            let what = format!("{}/{}", text("/s3/bucket/name"), text("/s3/object/key"));
            let mut told = self.heard.told.lock().unwrap();
            told.push((by.clone(), text("/eventName"), what));
        }
    }

    /// Has it refuse, or take, what it is told from now on; it forgets what it was told before it began to refuse.
    fn refuses(&self, refuses: bool) {
        self.heard.refused.store(0, Ordering::SeqCst);
        self.heard.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            self.take_told();
        }
    }

    fn has_refused(&self) -> bool {
        self.heard.refused.load(Ordering::SeqCst) > 0
    }

    fn told(&self) -> Vec<Told> {
        self.heard.told.lock().unwrap().clone()
    }

    /// What was told since the last time, by whomever: each event once, sorted.
    fn take_told(&self) -> Vec<(String, String)> {
        let told = std::mem::take(&mut *self.heard.told.lock().unwrap());
        let mut told: Vec<_> = told.into_iter().map(|(_, event, what)| (event, what)).collect();
        told.sort();
        told.dedup();
        told
    }

    /// A place for a box whose configuration names this receiver; it is told under the name of the box.
    fn known_to(&self, name: &str) -> TestBox {
        let place = TestBox::new();
        let url = format!("http://127.0.0.1:{}/{name}", self.port);
        let config = format!("s3.webhooks = ['hook={url}']\n");
        std::fs::write(place.config_file(), config).unwrap();
        place
    }
}

fn put_event(what: &str) -> (String, String) {
    ("ObjectCreated:Put".to_owned(), what.to_owned())
}

/// Has a bucket tell `hook` of what is created below `in/`; the status of the answer.
fn tell(home: &Home, bucket: &str, headers: &[(&str, &str)]) -> u16 {
    let rule = "<NotificationConfiguration><QueueConfiguration><Queue>arn:warren:sqs::hook:webhook</Queue>\
                <Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name><Value>in/</Value>\
                </FilterRule></S3Key></Filter></QueueConfiguration></NotificationConfiguration>";
    let target = format!("/{bucket}?notification");
    let answer = home.client.put_with(&target, headers, rule.as_bytes());
    answer.status
}

/// Waits until a box knows that a bucket tells somebody.
fn knows_rule(home: &Home, bucket: &str) {
    soon("the rule is known", || {
        let rules = home.client.get(&format!("/{bucket}?notification")).body;
        String::from_utf8_lossy(&rules).contains("QueueConfiguration")
    });
}

/// Puts an object that has to be stored, as soon as those that are left agree that a box is away.
fn put(home: &Home, path: &str) {
    soon("an object is stored", || {
        home.client.put(path, b"x").status == 200
    });
}

fn kill(home: &mut Home) {
    home.place.signal(Signal::KILL);
    home.place.ended();
}

fn restart(home: &mut Home) {
    let ready = home.place.start(&[]);
    home.client = Client::of(&ready, &home.client.id, &home.client.secret);
}

/// Three boxes that all hold and decide everything.
fn three(places: [TestBox; 3]) -> [Home; 3] {
    let [first, second, third] = places;
    let anna = founder_in(first);
    anna.place.run(&["bucket", "create", "photos"]).exits(0);
    let ben = joined_in(second, &anna, "ben");
    let cleo = joined_in(third, &anna, "cleo");
    let homes = [anna, ben, cleo];
    for home in &homes {
        soon("all are online", || online(home) == 3);
    }
    homes[0].place.run(&["layout", "settle"]).exits(0);
    soon("everything is in three homes", || {
        homes[0].place.run(&["status", "--json"]).exit == 0
    });
    homes
}

#[test]
fn what_is_written_at_any_box_is_told_by_the_box_that_knows_the_receiver() {
    let hook = Hook::new();
    let anna = founder_in(hook.known_to("anna"));
    for bucket in ["photos", "quiet", "late"] {
        anna.place.run(&["bucket", "create", bucket]).exits(0);
    }
    let ben = joined_in(TestBox::new(), &anna, "ben");
    soon("both are online", || online(&anna) == 2 && online(&ben) == 2);
    assert_eq!(tell(&anna, "photos", &[]), 200);
    knows_rule(&ben, "photos");
    for path in ["/photos/out/a", "/quiet/in/a", "/photos/in/a"] {
        put(&ben, path);
    }
    put(&anna, "/photos/in/b");
    soon("both are told", || hook.told().len() >= 2);
    // Whatever else is told would be by now.
    thread::sleep(Duration::from_secs(2));
    let told = hook.told();
    assert!(told.iter().all(|(by, ..)| by == "anna"), "{told:?}");
    assert_eq!(
        hook.take_told(),
        [put_event("photos/in/a"), put_event("photos/in/b")]
    );

    // Ben's box does not know the receiver: it takes the rule only from whoever says that somebody else does.
    assert_eq!(tell(&ben, "late", &[]), 400);
    let skip = [("x-amz-skip-destination-validation", "true")];
    assert_eq!(tell(&ben, "late", &skip), 200);
    // At once, perhaps before anna's box has heard of the rule.
    put(&ben, "/late/in/a");
    soon("it is told", || hook.take_told() == [put_event("late/in/a")]);
}

#[test]
fn what_a_killed_box_did_not_get_told_another_one_tells() {
    let hook = Hook::new();
    let places = [hook.known_to("anna"), TestBox::new(), hook.known_to("cleo")];
    let [mut anna, mut ben, cleo] = three(places);
    assert_eq!(tell(&anna, "photos", &[]), 200);
    for home in [&ben, &cleo] {
        knows_rule(home, "photos");
    }
    // The box goes through which it was written.
    hook.refuses(true);
    put(&ben, "/photos/in/a");
    soon("the receiver refuses", || hook.has_refused());
    kill(&mut ben);
    hook.refuses(false);
    soon("it is told", || hook.take_told() == [put_event("photos/in/a")]);
    restart(&mut ben);
    soon("all are online", || online(&cleo) == 3);
    // And one that tells.
    hook.refuses(true);
    put(&anna, "/photos/in/b");
    soon("the receiver refuses", || hook.has_refused());
    kill(&mut anna);
    hook.refuses(false);
    soon("it is told", || {
        hook.told()
            .iter()
            .any(|(by, _, what)| by == "cleo" && what == "photos/in/b")
    });
    assert_eq!(hook.take_told(), [put_event("photos/in/b")]);
    restart(&mut anna);
    soon("all are online", || online(&cleo) == 3);
    // Told twice perhaps while nobody could note that it was told, and no more once that is noted.
    put(&anna, "/photos/in/c");
    soon("it is told", || {
        hook.told().iter().any(|(.., what)| what == "photos/in/c")
    });
    thread::sleep(Duration::from_secs(5));
    hook.take_told();
    put(&anna, "/photos/in/d");
    soon("it is told", || !hook.told().is_empty());
    thread::sleep(Duration::from_secs(5));
    assert_eq!(hook.take_told(), [put_event("photos/in/d")]);
}

#[test]
fn a_box_that_returns_tells_what_happened_while_it_was_away() {
    let hook = Hook::new();
    let places = [TestBox::new(), TestBox::new(), hook.known_to("cleo")];
    let [anna, ben, mut cleo] = three(places);
    assert_eq!(tell(&cleo, "photos", &[]), 200);
    for home in [&anna, &ben] {
        knows_rule(home, "photos");
    }
    kill(&mut cleo);
    let names: Vec<String> = (10..40).map(|number| format!("photos/in/{number}")).collect();
    for name in &names {
        put(&ben, &format!("/{name}"));
    }
    assert_eq!(hook.told(), []);
    restart(&mut cleo);
    let expected: Vec<_> = names.iter().map(|name| put_event(name)).collect();
    soon("all are told", || {
        let mut told: Vec<_> = hook.told();
        told.sort();
        told.dedup();
        told.len() >= expected.len()
    });
    assert_eq!(hook.take_told(), expected);
}
