//! One client of one box: reads, writes, deletes and lists until it is told to stop, and writes down what it heard.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

use super::super::home::S3;
use super::super::tamper::Tampered;
use super::super::wire;
use super::record::{Begun, Kind, Record};
use super::register::{Command, Outcome};
use super::value::{Value, body, value_of};
use crate::client::{Body, Connection, Reply, Request, Signer, Take, texts};
use crate::dice::Dice;

/// The bucket that everything happens in.
pub(crate) const BUCKET: &str = "histories";
/// How long most clients wait for an answer. The others wait longer than a box tries.
const IMPATIENT: Duration = Duration::from_secs(6);
const PATIENT: Duration = Duration::from_secs(40);
/// One client in so many is patient.
const PATIENT_SHARE: usize = 3;
/// How long a client rests between two operations, in milliseconds: the boxes share this machine.
const REST_MS: std::ops::Range<u64> = 0..60;
/// How long before it tries again to connect.
const RECONNECT: Duration = Duration::from_millis(200);
/// Keys of one page of a listing.
const PAGE: usize = 100;

/// Who a client is, and what it needs.
pub(super) struct Client {
    pub(super) seat: usize,
    pub(super) number: usize,
    pub(super) namespace: String,
    pub(super) signer: Signer,
    /// By whose clock it signs: that of its box.
    pub(super) clock: Option<Tampered>,
    pub(super) record: Arc<Record>,
    pub(super) dice: Dice,
}

/// What came back.
enum Heard {
    Reply(Reply),
    /// Nothing in time, or the connection broke.
    Nothing(String),
}

impl Client {
    /// Runs until told to stop, on a thread of its own that enters the box's namespace.
    ///
    /// # Errors
    /// The namespace is not there.
    pub(super) fn run(mut self, is_over: &AtomicBool) -> Result<()> {
        wire::enter(&self.namespace)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime of a client")?;
        runtime.block_on(async {
            let mut seen = BTreeMap::new();
            while !is_over.load(Ordering::Relaxed) {
                match connect(&self.signer).await {
                    Ok(connection) => self.work(connection, &mut seen, is_over).await,
                    Err(_) => sleep(RECONNECT).await,
                }
            }
        });
        Ok(())
    }

    /// One operation after the other, until the connection breaks.
    async fn work(
        &mut self,
        mut connection: Connection,
        seen: &mut BTreeMap<String, Value>,
        is_over: &AtomicBool,
    ) {
        while !is_over.load(Ordering::Relaxed) {
            if let Some(clock) = &self.clock {
                connection.set_clock(clock.ahead_ms().unwrap_or_default());
            }
            let is_connected = match self.dice.within(0..112) {
                100.. => self.keep(&mut connection).await,
                0..28 => self.register(&mut connection, Kind::Register).await,
                28..60 => self.conditional(&mut connection, seen).await,
                60..72 => self.register(&mut connection, Kind::Listed).await,
                72..80 => self.list(&mut connection).await,
                80..95 => self.add(&mut connection).await,
                _ => self.list_set(&mut connection).await,
            };
            if !is_connected {
                return;
            }
            sleep(Duration::from_millis(self.dice.within(REST_MS))).await;
        }
    }

    async fn register(&mut self, connection: &mut Connection, kind: Kind) -> bool {
        let key = self.record.key(kind, &mut self.dice);
        let command = match self.dice.within(0..100) {
            0..38 => Command::Put(self.record.fresh_value()),
            38..82 => Command::Get,
            _ => Command::Delete,
        };
        self.ask(connection, &key, command).await.1
    }

    async fn conditional(&mut self, connection: &mut Connection, seen: &mut BTreeMap<String, Value>) -> bool {
        let key = self.record.key(Kind::Conditional, &mut self.dice);
        let last = seen.get(&key).copied();
        let command = match (self.dice.within(0..100), last) {
            (0..30, _) => Command::Get,
            (30..55, _) | (55..92, None) => Command::PutNew(self.record.fresh_value()),
            (55..85, Some(last)) => Command::Replace(last, self.record.fresh_value()),
            (85..92, Some(last)) => Command::DeleteThis(last),
            _ => Command::Delete,
        };
        let (outcome, is_connected) = self.ask(connection, &key, command).await;
        // What it knows is there, or was a moment ago.
        match (command, outcome) {
            (_, Some(Outcome::Is(value)))
            | (
                Command::Put(value) | Command::PutNew(value) | Command::Replace(_, value),
                Some(Outcome::Done),
            ) => {
                seen.insert(key, value);
            }
            (Command::Delete | Command::DeleteThis(_), Some(Outcome::Done)) | (_, Some(Outcome::Nothing)) => {
                seen.remove(&key);
            }
            _ => {}
        }
        is_connected
    }

    /// Asks something of a key, and writes down what is heard; what that is, and whether the connection can be used again.
    async fn ask(&self, connection: &mut Connection, key: &str, command: Command) -> (Option<Outcome>, bool) {
        let begun = self.record.begin(key, command);
        let heard = send(connection, key, command, self.patience()).await;
        match heard {
            Heard::Nothing(why) => {
                self.record.end(begun, None, self.seat, why);
                (None, false)
            }
            Heard::Reply(reply) => (self.understand(begun, command, &reply), is_kept(reply.status)),
        }
    }

    fn understand(&self, begun: Begun, command: Command, reply: &Reply) -> Option<Outcome> {
        let how = said(reply);
        match understood(command, reply) {
            Ok(outcome) => {
                self.record.end(begun, outcome, self.seat, how);
                outcome
            }
            Err(Strange::Denied) => {
                self.record.deny();
                None
            }
            Err(Strange::Wrong) => {
                self.record
                    .accuse(format!("box {} answers {command:?} with {how}", self.seat));
                self.record.end(begun, None, self.seat, how);
                None
            }
        }
    }

    /// Lists a prefix: a read of each of its keys, some time during the call.
    async fn list(&mut self, connection: &mut Connection) -> bool {
        let (prefix, keys) = self.record.listed(&mut self.dice);
        let begun: Vec<_> = keys
            .iter()
            .map(|key| self.record.begin(key, Command::Get))
            .collect();
        let Some(listed) = listed(connection, &prefix, self.patience()).await else {
            return false;
        };
        for (key, begun) in keys.iter().zip(begun) {
            let outcome = match listed.get(key).map(|tag| (tag, self.record.value_by(tag))) {
                None => Outcome::Nothing,
                Some((_, Some(value))) => Outcome::Is(value),
                Some((tag, None)) => {
                    self.record.accuse(format!(
                        "box {} lists {key} with {tag}, which nobody wrote",
                        self.seat
                    ));
                    continue;
                }
            };
            self.record.end(begun, Some(outcome), self.seat, "LIST".into());
        }
        if let Some(key) = listed.keys().find(|key| !keys.contains(key)) {
            self.record
                .accuse(format!("box {} lists {key}, which nobody wrote", self.seat));
        }
        true
    }

    async fn add(&mut self, connection: &mut Connection) -> bool {
        let value = self.record.fresh_value();
        let (number, key) = self.record.add_element(value);
        let heard = send(connection, &key, Command::Put(value), self.patience()).await;
        let is_acknowledged = matches!(&heard, Heard::Reply(reply) if reply.status == 200);
        self.record.added(number, &key, is_acknowledged);
        matches!(heard, Heard::Reply(reply) if is_kept(reply.status))
    }

    async fn list_set(&mut self, connection: &mut Connection) -> bool {
        let sets = self.record.sets();
        if sets == 0 {
            return true;
        }
        // Mostly the one that grows.
        let number = match self.dice.chance(0.7) {
            true => sets - 1,
            false => self.dice.below(sets),
        };
        let called = self.record.moment();
        let Some(listed) = listed(connection, &self.record.set_prefix(number), self.patience()).await else {
            return false;
        };
        let seen: BTreeSet<_> = listed.into_keys().collect();
        self.record
            .saw_set(number, called, seen, format!("box {}", self.seat));
        true
    }

    pub(super) fn patience(&self) -> Duration {
        match self.number % PATIENT_SHARE {
            0 => PATIENT,
            _ => IMPATIENT,
        }
    }
}

/// Whether a connection goes on after such an answer: a box that refuses a body may close instead of reading it.
pub(super) const fn is_kept(status: u16) -> bool {
    matches!(status, 200..300 | 404)
}

/// Why an answer says nothing about what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strange {
    /// It was not taken up: the key or the time of the request is not believed.
    Denied,
    /// No box may answer so.
    Wrong,
}

/// What an answer says; nothing where it may have been done or not.
pub(super) fn understood(command: Command, reply: &Reply) -> Result<Option<Outcome>, Strange> {
    let code = code(reply);
    match (reply.status, command) {
        (500.., _) => Ok(None),
        (403, _) => Err(Strange::Denied),
        (200, Command::Get) => match value_of(&reply.body) {
            Some(value) => Ok(Some(Outcome::Is(value))),
            None => Err(Strange::Wrong),
        },
        (404, Command::Get) if code == "NoSuchKey" => Ok(Some(Outcome::Nothing)),
        (200, Command::Put(value) | Command::PutNew(value) | Command::Replace(_, value)) => {
            match reply.etag == Some(tag_of(value)) {
                true => Ok(Some(Outcome::Done)),
                false => Err(Strange::Wrong),
            }
        }
        (204, Command::Delete | Command::DeleteThis(_)) => Ok(Some(Outcome::Done)),
        (412, Command::PutNew(_) | Command::Replace(..) | Command::DeleteThis(_)) => {
            Ok(Some(Outcome::Refused))
        }
        (404, Command::Replace(..) | Command::DeleteThis(_)) if code == "NoSuchKey" => {
            Ok(Some(Outcome::Refused))
        }
        // Another write is under way; nothing is said of this one.
        (409, _) => Ok(None),
        _ => Err(Strange::Wrong),
    }
}

/// Connects to the box of the namespace that this thread is in.
///
/// # Errors
/// It does not listen.
pub(super) async fn connect(signer: &Signer) -> io::Result<Connection> {
    let address: SocketAddr = S3.parse().map_err(io::Error::other)?;
    Connection::open(address, signer.clone()).await
}

/// Asks something of one key, for nobody's record.
///
/// # Errors
/// The connection breaks, or nothing comes in time.
pub(super) async fn ask(
    connection: &mut Connection,
    key: &str,
    command: Command,
    patience: Duration,
) -> Result<Reply> {
    match send(connection, key, command, patience).await {
        Heard::Reply(reply) => Ok(reply),
        Heard::Nothing(why) => anyhow::bail!("{key}: {why}"),
    }
}

async fn send(connection: &mut Connection, key: &str, command: Command, patience: Duration) -> Heard {
    let path = format!("/{BUCKET}/{key}");
    let (method, value, condition) = match command {
        Command::Get => ("GET", None, None),
        Command::Put(value) => ("PUT", Some(value), None),
        Command::PutNew(value) => ("PUT", Some(value), Some(("if-none-match", "*".to_owned()))),
        Command::Replace(old, new) => ("PUT", Some(new), Some(("if-match", tag_of(old)))),
        Command::Delete => ("DELETE", None, None),
        Command::DeleteThis(old) => ("DELETE", None, Some(("if-match", tag_of(old)))),
    };
    let bytes = value.map(body);
    let request = Request {
        method,
        path: &path,
        query: "",
        body: bytes.as_deref().map_or(Body::Empty, Body::Bytes),
        take: Take::Keep,
    };
    let headers = condition.iter().map(|(name, value)| (*name, value.as_str()));
    let headers: Vec<_> = headers.collect();
    match timeout(patience, connection.send_with(&request, &headers)).await {
        Ok(Ok(reply)) => Heard::Reply(reply),
        Ok(Err(error)) => Heard::Nothing(format!("{method}: {error}")),
        Err(_) => Heard::Nothing(format!("{method}: no answer in {patience:?}")),
    }
}

/// All keys below a prefix with their tags, page by page; none where a page was not had.
pub(super) async fn listed(
    connection: &mut Connection,
    prefix: &str,
    patience: Duration,
) -> Option<BTreeMap<String, String>> {
    let path = format!("/{BUCKET}");
    let escaped = |text: &str| text.replace('/', "%2F");
    let (mut all, mut after) = (BTreeMap::new(), String::new());
    loop {
        let (prefix, after_key) = (escaped(prefix), escaped(&after));
        let query = format!("list-type=2&max-keys={PAGE}&prefix={prefix}&start-after={after_key}");
        let request = Request {
            method: "GET",
            path: &path,
            query: &query,
            body: Body::Empty,
            take: Take::Keep,
        };
        let reply = timeout(patience, connection.send(&request)).await.ok()?.ok()?;
        if reply.status != 200 {
            return None;
        }
        let xml = String::from_utf8(reply.body).ok()?;
        let tags = texts(&xml, "ETag").map(|tag| tag.replace("&quot;", "\""));
        all.extend(texts(&xml, "Key").map(str::to_owned).zip(tags));
        match all.last_key_value() {
            Some((last, _)) if xml.contains("<IsTruncated>true") => after.clone_from(last),
            _ => return Some(all),
        }
    }
}

fn tag_of(value: Value) -> String {
    crate::client::etag_of_bytes(&body(value))
}

fn code(reply: &Reply) -> String {
    let said = String::from_utf8_lossy(&reply.body);
    texts(&said, "Code").next().unwrap_or_default().to_owned()
}

/// An answer in a few words.
fn said(reply: &Reply) -> String {
    match reply.status {
        200..300 => reply.status.to_string(),
        status => format!("{status} {}", code(reply)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: Command, status: u16, text: &str) -> Result<Option<Outcome>, Strange> {
        let reply = Reply {
            status,
            length: text.len() as u64,
            etag: Some(tag_of(1)),
            version: None,
            body: text.as_bytes().to_vec(),
        };
        understood(command, &reply)
    }

    #[test]
    fn answers_say_what_they_say_and_no_more() {
        let missing = "<Error><Code>NoSuchKey</Code></Error>";
        assert_eq!(check(Command::Get, 404, missing), Ok(Some(Outcome::Nothing)));
        assert_eq!(
            check(Command::Get, 404, "<Code>NoSuchBucket</Code>"),
            Err(Strange::Wrong)
        );
        assert_eq!(check(Command::Get, 200, "other bytes"), Err(Strange::Wrong));
        assert_eq!(check(Command::Put(1), 200, ""), Ok(Some(Outcome::Done)));
        assert_eq!(check(Command::Put(2), 200, ""), Err(Strange::Wrong));
        assert_eq!(check(Command::PutNew(1), 412, ""), Ok(Some(Outcome::Refused)));
        assert_eq!(
            check(Command::Replace(1, 2), 404, missing),
            Ok(Some(Outcome::Refused))
        );
        assert_eq!(check(Command::Put(1), 503, ""), Ok(None));
        assert_eq!(check(Command::Delete, 403, ""), Err(Strange::Denied));
        assert_eq!(check(Command::Put(1), 412, ""), Err(Strange::Wrong));
    }
}
