//! Promises of registers on real disks: alone, and among members that call each other.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod forget;
mod holders;
mod voters;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::*;
use crate::cluster::peers::{NoPeers, PeerError};
use crate::disk::{BlockDirectory, DiskOptions};
use crate::register::{Answer, Broken, Change, Operation, Purpose, Value, Votes};

/// What these tests do to a register.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Put(String),
    PutNew(String),
    Add(u32),
    Delete,
}

struct Words;

impl Machine for Words {
    type Command = Command;
    type Outcome = String;

    fn decide(&self, (op, _): (OpId, bool), command: &Command, loaded: &Loaded) -> Decision<String> {
        let (key, row) = loaded.rows.first_key_value().unwrap();
        let key = key.clone();
        let value = |text: String| {
            let summary = Bytes::from(format!("about {text}"));
            Some(Value {
                summary,
                body: text.into(),
            })
        };
        let stands = row.content.value.as_ref().map(|value| text_of(&value.body));
        let (write, outcome) = match (command, stands) {
            _ if loaded.remembers(&key, op).is_some() => (None, "again".to_owned()),
            (Command::Put(text), _) | (Command::PutNew(text), None) => {
                (Some(value(text.clone())), "ok".to_owned())
            }
            (Command::PutNew(_), Some(text)) => (None, text),
            (Command::Add(more), stands) => {
                let sum = stands.map_or(0, |text| text.parse().unwrap()) + more;
                (Some(value(sum.to_string())), sum.to_string())
            }
            (Command::Delete, _) => (Some(None), "ok".to_owned()),
        };
        let relies_on = if write.is_none() {
            vec![key.clone()]
        } else {
            Vec::new()
        };
        Decision::Commit {
            stages: write
                .into_iter()
                .map(|value| {
                    vec![Change {
                        key: key.clone(),
                        value,
                    }]
                })
                .collect(),
            told_after: 1,
            relies_on,
            outcome,
        }
    }

    fn partition_of(key: &[u8]) -> Option<u16> {
        (key.first() == Some(&0x10)).then(|| u16::from(key[1]))
    }

    fn lane_of(key: &Key) -> Key {
        key.clone()
    }
}

fn text_of(body: &[u8]) -> String {
    String::from_utf8(body.to_vec()).unwrap()
}

/// Members in one process, whose calls can be cut.
#[derive(Clone, Default)]
struct Switchboard {
    members: Arc<OnceLock<BTreeMap<MemberId, Weak<Inner<Words>>>>>,
    away: Arc<Mutex<Vec<MemberId>>>,
    /// Who seems to be there and does not answer.
    mute: Arc<Mutex<Vec<MemberId>>>,
    /// So many answers to operations that were passed on get lost, one after the other.
    losses: Arc<AtomicU32>,
}

impl Switchboard {
    fn loses_answer_to(&self, request: &Bytes) -> bool {
        let passed_on = matches!(
            wire::decode::<Call<Task<Command>>>(request),
            Ok((_, Call::Submit(..)))
        );
        let one_less = |losses: u32| losses.checked_sub(1);
        passed_on
            && self
                .losses
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                .is_ok()
    }
}

struct Line {
    from: MemberId,
    board: Switchboard,
}

impl Peers for Line {
    fn call(&self, to: MemberId, _: Class, request: Bytes) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let (from, board) = (self.from, self.board.clone());
        Box::pin(async move {
            let cut = |board: &Switchboard| {
                let away = board.away.lock().unwrap();
                let mute = board.mute.lock().unwrap();
                away.contains(&to) || away.contains(&from) || mute.contains(&to)
            };
            let inner = board.members.get().and_then(|members| members[&to].upgrade());
            let Some(inner) = inner.filter(|_| !cut(&board)) else {
                sleep(Duration::from_millis(5)).await;
                return Err(PeerError::NoAnswer(to));
            };
            match Registers(inner).answer(from, &request).await {
                Ok(reply) if !cut(&board) && !board.loses_answer_to(&request) => Ok(reply),
                _ => Err(PeerError::NoAnswer(to)),
            }
        })
    }

    fn nearest(&self, of: &[MemberId]) -> Vec<MemberId> {
        let away = self.board.away.lock().unwrap();
        of.iter()
            .copied()
            .filter(|member| !away.contains(member))
            .collect()
    }
}

async fn disk(folder: &Path) -> Disk {
    Disk::open(DiskOptions {
        rows: folder.join("rows"),
        blocks: vec![BlockDirectory {
            path: folder.join("blocks"),
            capacity: None,
        }],
        accept_loss: false,
    })
    .await
    .unwrap()
}

async fn members(folder: &Path, votes: &[(u32, u8)]) -> (Switchboard, Vec<Registers<Words>>) {
    let first = Config::stable(Votes::new(votes.iter().map(|(me, votes)| (MemberId(*me), *votes))).unwrap());
    members_under(folder, u32::try_from(votes.len()).unwrap(), &first).await
}

/// So many members, the first of which is number 1, under a first configuration.
async fn members_under(folder: &Path, count: u32, first: &Config) -> (Switchboard, Vec<Registers<Words>>) {
    let board = Switchboard::default();
    let mut registers = Vec::new();
    for me in 1..=count {
        let disk = disk(&folder.join(me.to_string())).await;
        let peers: Arc<dyn Peers> = match count {
            1 => Arc::new(NoPeers),
            _ => Arc::new(Line {
                from: MemberId(me),
                board: board.clone(),
            }),
        };
        let opened = Registers::open(
            MemberId(me),
            &disk,
            peers,
            &Arc::new(Words),
            first,
            Tasks::default(),
        );
        registers.push(opened.unwrap());
    }
    let weak = registers
        .iter()
        .map(|member| (member.0.me, Arc::downgrade(&member.0)));
    board.members.set(weak.collect()).unwrap();
    (board, registers)
}

fn key(name: &str) -> Key {
    Bytes::from([&[0x10, 7], name.as_bytes()].concat())
}

async fn ask(member: &Registers<Words>, name: &str, command: Command) -> Result<String, StoreError> {
    let operation = Operation {
        id: op_now(),
        is_retry: false,
        lane: key(name),
        keys: vec![key(name)],
        ranges: Vec::new(),
        command,
    };
    member.submit(7, operation).await
}

/// An operation that begins now.
fn op_now() -> OpId {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let mut id: [u8; 16] = crate::seal::random();
    id[..6].copy_from_slice(&u64::try_from(now.as_millis()).unwrap().to_be_bytes()[2..]);
    OpId(id)
}

async fn read(member: &Registers<Words>, name: &str) -> Option<String> {
    let row = member.read(7, &key(name)).await.unwrap();
    row.content.value.map(|value| text_of(&value.body))
}

#[tokio::test]
async fn a_box_that_is_alone_reads_what_it_wrote_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (_, alone) = members(folder.path(), &[(1, 1)]).await;
        assert_eq!(ask(&alone[0], "a", Command::Put("1".into())).await.unwrap(), "ok");
        assert_eq!(
            ask(&alone[0], "a", Command::PutNew("2".into())).await.unwrap(),
            "1"
        );
        assert_eq!(ask(&alone[0], "b", Command::Put("3".into())).await.unwrap(), "ok");
        assert_eq!(ask(&alone[0], "b", Command::Delete).await.unwrap(), "ok");
        alone[0].0.disk.close().await.unwrap();
    }
    let (_, alone) = members(folder.path(), &[(1, 1)]).await;
    assert_eq!(read(&alone[0], "a").await.as_deref(), Some("1"));
    assert_eq!(read(&alone[0], "b").await, None);
    assert_eq!(
        ask(&alone[0], "b", Command::PutNew("4".into())).await.unwrap(),
        "ok"
    );
    let row = alone[0].0.disk.whole_row(&key("b")).unwrap().unwrap();
    assert_eq!(record::summary_of(&row.summary), Some(&b"about 4"[..]));
    alone[0].0.disk.close().await.unwrap();
}

#[tokio::test]
async fn attempts_of_one_operation_hear_each_what_came_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (_, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    ask(&three[0], "a", Command::Put("1".into())).await.unwrap();
    let operation = Operation {
        id: op_now(),
        is_retry: false,
        lane: key("a"),
        keys: vec![key("a")],
        ranges: Vec::new(),
        command: Task::Command(Command::Put("2".into())),
    };
    // As if a gateway had lost patience with the first.
    let attempts = [false, true].map(|is_retry| {
        let (member, operation) = (&three[0], operation.clone());
        let deadline = Instant::now() + DEADLINE;
        async move {
            member
                .decide(
                    7,
                    Operation {
                        is_retry,
                        ..operation
                    },
                    deadline,
                )
                .await
                .unwrap()
        }
    });
    let told = |text: &str| Answer::Done(Some(text.to_owned()));
    assert_eq!(join_all(attempts).await, [told("ok"), told("again")]);
}

#[tokio::test]
async fn a_tombstone_still_stands_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let votes = [(1, 1), (2, 1), (3, 1)];
    let before = {
        let (_, three) = members(folder.path(), &votes).await;
        for command in [Command::Put("1".into()), Command::Delete] {
            assert_eq!(ask(&three[0], "a", command).await.unwrap(), "ok");
        }
        let row = three[0].read(7, &key("a")).await.unwrap();
        for member in &three {
            member.0.disk.close().await.unwrap();
        }
        row
    };
    assert!(before.content.value.is_none() && !before.stamp.is_zero());
    let (_, three) = members(folder.path(), &votes).await;
    let after = three[0].read(7, &key("a")).await.unwrap();
    assert_eq!((after.stamp, after.content), (before.stamp, before.content));
}

#[tokio::test]
async fn additions_by_many_tasks_through_all_members_are_all_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    let additions = (0..60).map(|number| ask(&three[number % 3], "sum", Command::Add(1)));
    let answers = join_all(additions).await;
    // Whoever hears that it is not known may be counted, once.
    let sure = answers.iter().filter(|answer| answer.is_ok()).count();
    let sums: Vec<usize> = join_all(three.iter().map(|member| read(member, "sum")))
        .await
        .into_iter()
        .map(|sum| sum.unwrap().parse().unwrap())
        .collect();
    assert!(
        (sure..=60).contains(&sums[0]) && sums == [sums[0]; 3],
        "{sure} of {sums:?}"
    );
    assert!(sure > 50, "{sure}");
    let mut told: Vec<usize> = answers
        .into_iter()
        .flatten()
        .filter_map(|sum| sum.parse().ok())
        .collect();
    told.sort_unstable();
    told.dedup();
    assert!(told.len() + 10 > sure);
}

#[tokio::test]
async fn two_of_three_go_on_and_the_third_catches_up() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    ask(&three[0], "a", Command::Put("1".into())).await.unwrap();
    board.away.lock().unwrap().push(MemberId(1));
    assert_eq!(ask(&three[1], "a", Command::Put("2".into())).await.unwrap(), "ok");
    assert_eq!(
        ask(&three[2], "b", Command::PutNew("3".into())).await.unwrap(),
        "ok"
    );
    assert_eq!(ask(&three[1], "b", Command::Delete).await.unwrap(), "ok");
    board.away.lock().unwrap().clear();
    assert_eq!(read(&three[0], "a").await.as_deref(), Some("2"));
    assert_eq!(read(&three[0], "b").await, None);
    three[0].read_for(7, &key("a"), Purpose::Teach).await.unwrap();
    let own = three[0].0.disk.whole_row(&key("a")).unwrap().unwrap();
    assert_eq!(record::summary_of(&own.summary), Some(&b"about 2"[..]));
}

#[tokio::test]
async fn the_tie_break_home_goes_on_alone_and_the_other_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let (board, homes) = members(folder.path(), &[(1, 2), (2, 1)]).await;
    ask(&homes[1], "a", Command::Put("1".into())).await.unwrap();
    board.away.lock().unwrap().push(MemberId(2));
    assert_eq!(ask(&homes[0], "a", Command::Put("2".into())).await.unwrap(), "ok");
    assert_eq!(read(&homes[0], "a").await.as_deref(), Some("2"));
    let stuck = ask(&homes[1], "a", Command::Put("3".into()));
    assert!(timeout(Duration::from_millis(500), stuck).await.is_err());
    board.away.lock().unwrap().clear();
    assert_eq!(read(&homes[1], "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_listing_shows_what_any_quorum_has_and_no_tombstone() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    for name in ["a", "b", "c", "d"] {
        ask(&three[0], name, Command::Put(name.into())).await.unwrap();
    }
    board.away.lock().unwrap().push(MemberId(1));
    ask(&three[1], "b", Command::Delete).await.unwrap();
    ask(&three[1], "c", Command::Put("C".into())).await.unwrap();
    *board.away.lock().unwrap() = vec![MemberId(3)];
    let mut listed = Vec::new();
    let mut from = Key::from_static(&[0x10]);
    loop {
        let page = three[0]
            .scan(0..256, (&from, &Key::from_static(&[0x11])), 2)
            .await
            .unwrap();
        let names = page
            .rows
            .iter()
            .map(|row| (text_of(&row.key[2..]), text_of(&row.summary)));
        listed.extend(names);
        let Some(next) = page.next else { break };
        from = next;
    }
    let listed: Vec<_> = listed
        .iter()
        .map(|(name, about)| (name.as_str(), about.as_str()))
        .collect();
    assert_eq!(listed, [("a", "about a"), ("c", "about C"), ("d", "about d")]);
    board.away.lock().unwrap().push(MemberId(2));
    let end = Key::from_static(&[0x11]);
    let alone = timeout(
        Duration::from_millis(300),
        three[0].scan(0..256, (&from, &end), 2),
    );
    assert!(alone.await.is_err());
}
