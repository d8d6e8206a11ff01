//! Promises of registers whose voters change while they are used.

use std::collections::BTreeSet;

use super::*;
use crate::disk::RowWrite;
use crate::model::{BlockId, row_key};
use crate::register::{Configs, Fences, Next, Transition};

/// Brings a partition from one set of voters to another, as the root partition would; every member adopts what it is told.
struct Root {
    configs: Configs,
    votes: Votes,
}

impl Root {
    fn new(first: u32) -> Self {
        let votes = votes(&[(first, 1)]);
        Self {
            configs: Configs::first(Config::stable(votes.clone())),
            votes,
        }
    }

    async fn change(&mut self, members: &[Registers<Words>], here: &[u32], new: Votes) {
        let epoch = self.configs.newest().unwrap();
        let (epoch, joint, mut transition) =
            Transition::begin(epoch, self.votes.clone(), new.clone(), Broken::NOTHING);
        self.configs.learn(epoch, joint);
        loop {
            let here = here.iter().map(|me| &members[*me as usize - 1]);
            for member in here.clone() {
                member.adopt(7, &self.configs).await.unwrap();
                let standing = member.standing();
                if standing.adopted[7] >= epoch {
                    transition.adopted(member.0.me);
                }
                if standing.synced.get(&7) == Some(&epoch) {
                    transition.synced(member.0.me);
                }
            }
            match transition.next() {
                Next::Adopt => panic!("nobody adopts"),
                Next::Sync(missing) => {
                    for member in here.filter(|member| missing.contains(&member.0.me)) {
                        member.sync(&BTreeSet::from([7])).await.unwrap();
                    }
                }
                Next::Raise => {
                    let raised = members[0].raise(7, Fences::default()).await.unwrap();
                    transition.raised(raised.epoch);
                }
                Next::Commit(epoch, config) => {
                    self.configs.learn(epoch, config);
                    break;
                }
            }
        }
        for me in here {
            members[*me as usize - 1].adopt(7, &self.configs).await.unwrap();
        }
        self.votes = new;
    }
}

fn votes(votes: &[(u32, u8)]) -> Votes {
    Votes::new(votes.iter().map(|(me, votes)| (MemberId(*me), *votes))).unwrap()
}

/// What a member's own disk has under a name: its text, or that there is nothing.
fn own(member: &Registers<Words>, name: &str) -> Option<String> {
    let row = member.0.disk.whole_row(&key(name)).unwrap()?;
    let row = record::row(&row).unwrap();
    row.content.value.map(|value| text_of(&value.body))
}

#[tokio::test]
async fn one_box_becomes_two_and_three_and_each_has_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let (_, boxes) = members_under(folder.path(), 3, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    for name in ["a", "b", "c"] {
        ask(&boxes[0], name, Command::Put(name.into())).await.unwrap();
    }
    ask(&boxes[0], "b", Command::Delete).await.unwrap();
    // Who is outside reads and writes through who is in.
    assert_eq!(read(&boxes[2], "a").await.as_deref(), Some("a"));
    assert_eq!(ask(&boxes[2], "d", Command::Put("d".into())).await.unwrap(), "ok");
    root.change(&boxes, &[1, 2, 3], votes(&[(1, 2), (2, 1)])).await;
    assert_eq!(own(&boxes[1], "a").as_deref(), Some("a"));
    ask(&boxes[1], "c", Command::Put("C".into())).await.unwrap();
    root.change(&boxes, &[1, 2, 3], votes(&[(1, 1), (2, 1), (3, 1)]))
        .await;
    for member in &boxes {
        for (name, text) in [("a", Some("a")), ("b", None), ("c", Some("C")), ("d", Some("d"))] {
            assert_eq!(own(member, name).as_deref(), text, "{:?} {name}", member.0.me);
            assert_eq!(
                read(member, name).await.as_deref(),
                text,
                "{:?} {name}",
                member.0.me
            );
        }
    }
}

#[tokio::test]
async fn whoever_held_a_partition_holds_it_again_before_anybody_asks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, boxes) = members_under(folder.path(), 3, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    ask(&boxes[0], "a", Command::Put("1".into())).await.unwrap();
    root.change(&boxes, &[1, 2, 3], votes(&[(1, 1), (2, 1), (3, 1)]))
        .await;
    let holds = async {
        while boxes[0].partition(7).ballot().is_none_or(|held| held.epoch < 2) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE / 4, holds).await.unwrap();
    let held = boxes[0].partition(7).ballot();
    // Whoever else is asked does not take it over.
    ask(&boxes[2], "a", Command::Put("2".into())).await.unwrap();
    assert_eq!(boxes[0].partition(7).ballot(), held);
}

#[tokio::test]
async fn rows_of_one_member_alone_keep_nobody_from_becoming_a_voter() {
    let folder = tempfile::tempdir().unwrap();
    let (_, boxes) = members_under(folder.path(), 2, &Config::sole(MemberId(1))).await;
    ask(&boxes[0], "a", Command::Put("1".into())).await.unwrap();
    // As while a block is missing somewhere.
    let own_row = RowWrite::Put {
        key: row_key::wanted(&[1; 16], &BlockId([2; 32])),
        summary: vec![2; 9],
        value: Bytes::new(),
    };
    boxes[0].0.disk.commit(vec![own_row]).await.unwrap();
    let mut root = Root::new(1);
    root.change(&boxes, &[1, 2], votes(&[(1, 2), (2, 1)])).await;
    assert_eq!(own(&boxes[1], "a").as_deref(), Some("1"));
}

#[tokio::test]
async fn who_was_outside_for_a_while_brings_nothing_back() {
    let folder = tempfile::tempdir().unwrap();
    let (board, boxes) = members_under(folder.path(), 3, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    root.change(&boxes, &[1, 2, 3], votes(&[(1, 1), (2, 1), (3, 1)]))
        .await;
    ask(&boxes[0], "a", Command::Put("1".into())).await.unwrap();
    ask(&boxes[0], "b", Command::Put("1".into())).await.unwrap();
    boxes[2].read_for(7, &key("a"), Purpose::Teach).await.unwrap();
    // The third is away, and is voted out.
    board.away.lock().unwrap().push(MemberId(3));
    root.change(&boxes, &[1, 2], votes(&[(1, 2), (2, 1)])).await;
    root.change(&boxes, &[1, 2], votes(&[(1, 1)])).await;
    // Alone, the first leaves no trace of what it deletes.
    ask(&boxes[0], "a", Command::Delete).await.unwrap();
    assert_eq!(own(&boxes[2], "a").as_deref(), Some("1"));
    board.away.lock().unwrap().clear();
    root.change(&boxes, &[1, 2, 3], votes(&[(1, 1), (2, 1), (3, 1)]))
        .await;
    board.away.lock().unwrap().push(MemberId(1));
    assert_eq!(read(&boxes[2], "a").await, None);
    assert_eq!(read(&boxes[1], "b").await.as_deref(), Some("1"));
    assert_eq!(own(&boxes[2], "a"), None);
}

#[tokio::test]
async fn writes_go_on_while_voters_change_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (_, boxes) = members_under(folder.path(), 5, &Config::sole(MemberId(1))).await;
    let writer = async {
        let mut sure = Vec::new();
        for number in 0..150_usize {
            let name = format!("{:02}", number % 40);
            let put = Command::Put(format!("{number}"));
            if ask(&boxes[number % 5], &name, put).await.is_ok() {
                sure.push(number);
            }
        }
        sure
    };
    let changes = async {
        let mut root = Root::new(1);
        let all = [1, 2, 3, 4, 5];
        root.change(&boxes, &all, votes(&[(1, 2), (2, 1)])).await;
        root.change(&boxes, &all, votes(&[(2, 1), (3, 1), (4, 1)])).await;
        root.change(&boxes, &all, votes(&all.map(|me| (me, 1)))).await;
        root.change(&boxes, &all, votes(&[(5, 1)])).await;
    };
    let (sure, ()) = tokio::join!(writer, changes);
    assert!(sure.len() > 140, "{}", sure.len());
    for name in 0..40 {
        let last = sure.iter().rev().find(|number| *number % 40 == name).unwrap();
        let stands = read(&boxes[4], &format!("{name:02}")).await.unwrap();
        assert!(
            stands.parse::<usize>().unwrap() >= *last,
            "{name:02}: {stands} {last}"
        );
    }
}

#[tokio::test]
async fn fences_are_raised_through_any_member() {
    let folder = tempfile::tempdir().unwrap();
    let (_, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    ask(&three[0], "a", Command::Put("1".into())).await.unwrap();
    let fences = Fences {
        sweeps: 9,
        directory: 4,
        forgotten: 0,
    };
    assert_eq!(three[2].raise(7, fences).await.unwrap().epoch, 0);
    let raised = three
        .iter()
        .filter(|member| member.partition(7).fences() == fences);
    assert!(raised.count() >= 2);
}

#[tokio::test]
async fn who_missed_an_epoch_learns_of_it_from_whoever_answers_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_, boxes) = members_under(folder.path(), 4, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    ask(&boxes[0], "a", Command::Put("1".into())).await.unwrap();
    root.change(&boxes, &[1, 2], votes(&[(1, 1), (2, 1)])).await;
    // Nobody here reads root rows: what a call meets is all there is to learn from.
    assert_eq!(boxes[2].epoch(7), 0);
    assert_eq!(
        timeout(DEADLINE / 4, read(&boxes[2], "a"))
            .await
            .unwrap()
            .as_deref(),
        Some("1")
    );
    assert_eq!(boxes[2].epoch(7), 2);
    assert_eq!(boxes[3].epoch(7), 0);
    let [from, to] = [&[0x10], &[0x11]].map(|key| Key::from_static(key));
    let listed = timeout(DEADLINE / 4, boxes[3].scan(7..8, (&from, &to), 2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((listed.rows.len(), boxes[3].epoch(7)), (1, 2));
}

#[tokio::test]
async fn a_holder_that_missed_an_epoch_learns_of_it_from_who_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let (board, boxes) = members_under(folder.path(), 3, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    root.change(&boxes, &[1, 2, 3], votes(&[(1, 1), (2, 1), (3, 1)]))
        .await;
    board.away.lock().unwrap().push(MemberId(1));
    ask(&boxes[2], "a", Command::Put("1".into())).await.unwrap();
    assert!(boxes[2].partition(7).ballot().is_some());
    *board.away.lock().unwrap() = vec![MemberId(3)];
    root.change(&boxes, &[1, 2], votes(&[(1, 2), (2, 1)])).await;
    board.away.lock().unwrap().clear();
    assert_eq!(boxes[2].epoch(7), 2);
    let written = ask(&boxes[2], "a", Command::Put("2".into()));
    assert!(timeout(DEADLINE / 4, written).await.unwrap().is_ok());
    assert_eq!(boxes[2].epoch(7), 4);
    assert_eq!(read(&boxes[1], "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_voter_that_missed_an_epoch_learns_of_it_from_who_asks_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (board, boxes) = members_under(folder.path(), 3, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    let three = votes(&[(1, 1), (2, 1), (3, 1)]);
    root.change(&boxes, &[1, 2, 3], three.clone()).await;
    let (epoch, joint, _) = Transition::begin(2, three, votes(&[(1, 1), (2, 1)]), Broken::NOTHING);
    root.configs.learn(epoch, joint);
    board.away.lock().unwrap().push(MemberId(3));
    for member in &boxes[..2] {
        member.adopt(7, &root.configs).await.unwrap();
    }
    assert_eq!((boxes[2].epoch(7), epoch), (2, 3));
    board.away.lock().unwrap().clear();
    ask(&boxes[0], "a", Command::Put("1".into())).await.unwrap();
    let learned = async {
        while boxes[2].epoch(7) < epoch {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE / 4, learned).await.unwrap();
}

#[tokio::test]
async fn who_was_outside_forgets_every_row_also_where_two_have_it_adopt() {
    let folder = tempfile::tempdir().unwrap();
    let (_, boxes) = members_under(folder.path(), 2, &Config::sole(MemberId(1))).await;
    // More than are forgotten in one turn.
    let names: Vec<String> = (0..4200).map(|number| format!("{number:04}")).collect();
    let written = names
        .iter()
        .map(|name| ask(&boxes[0], name, Command::Put("1".into())));
    assert!(join_all(written).await.iter().all(Result::is_ok));
    assert!(names.iter().all(|name| own(&boxes[0], name).is_some()));
    let [alone, other, both] = [&[(1, 1)][..], &[(2, 1)], &[(1, 1), (2, 1)]].map(votes);
    let mut configs = Configs::first(Config::stable(alone.clone()));
    for (old, new) in [(alone, other.clone()), (other, both)] {
        let (epoch, joint, _) =
            Transition::begin(configs.newest().unwrap(), old, new.clone(), Broken::NOTHING);
        configs.learn(epoch, joint);
        configs.learn(epoch + 1, Config::stable(new));
    }
    let twice = tokio::join!(boxes[0].adopt(7, &configs), boxes[0].adopt(7, &configs));
    assert!(twice.0.is_ok() && twice.1.is_ok());
    assert_eq!(boxes[0].standing().adopted[7], 4);
    let left = names.iter().filter(|name| own(&boxes[0], name).is_some());
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn who_is_turned_away_by_whom_it_took_for_the_holder_learns_of_its_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let (board, boxes) = members_under(folder.path(), 3, &Config::sole(MemberId(1))).await;
    let mut root = Root::new(1);
    let three = votes(&[(1, 1), (2, 1), (3, 1)]);
    root.change(&boxes, &[1, 2, 3], three).await;
    ask(&boxes[0], "a", Command::Put("1".into())).await.unwrap();
    assert_eq!(boxes[2].partition(7).believed_holder().unwrap().0, MemberId(1));
    // The holder leaves the voters while the third hears of nothing.
    board.away.lock().unwrap().push(MemberId(3));
    root.change(&boxes, &[1, 2], votes(&[(2, 1)])).await;
    board.away.lock().unwrap().clear();
    let written = ask(&boxes[2], "a", Command::Put("2".into()));
    assert!(timeout(DEADLINE / 4, written).await.unwrap().is_ok());
    assert_eq!(boxes[2].epoch(7), 4);
    assert_eq!(read(&boxes[1], "a").await.as_deref(), Some("2"));
}
