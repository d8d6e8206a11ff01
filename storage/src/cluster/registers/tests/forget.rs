//! What members promise of tombstones that they forget.

use super::*;

const THREE: [(u32, u8); 3] = [(1, 1), (2, 1), (3, 1)];

/// Has every member forget what it can; whether nobody has a tombstone after that.
async fn forget(members: &[Registers<Words>], look: Look) -> bool {
    for member in members {
        member.forget_tombstones(None, look).await.unwrap();
    }
    for member in members {
        // What was decided may be on its way to the disk.
        sleep(Duration::from_millis(50)).await;
        if member.has_tombstones().unwrap() {
            return false;
        }
    }
    true
}

/// Has every member forget what it can, again and again; whether nobody has a tombstone in the end.
async fn forgotten(members: &[Registers<Words>], look: Look) -> bool {
    for _ in 0..100 {
        if forget(members, look).await {
            return true;
        }
    }
    false
}

/// Waits until what was done to these rows stands on every disk: a quorum is enough for an answer.
async fn settled(members: &[Registers<Words>], names: &[&str]) {
    for (member, name) in members
        .iter()
        .flat_map(|member| names.iter().map(move |name| (member, name)))
    {
        while member.0.partition(7).durable_stamp(&key(name)).unwrap().is_zero() {
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Of all that is there.
fn at_once() -> Look {
    after(Duration::ZERO, Duration::ZERO)
}

/// So long from now, of what will have been there for so long.
fn after(wait: Duration, age: Duration) -> Look {
    let at = Instant::now() + wait;
    Look { at, age }
}

#[tokio::test]
async fn tombstones_go_once_all_are_there_and_old_enough_and_nothing_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &THREE).await;
    for name in ["a", "b"] {
        ask(&three[0], name, Command::Put("1".into())).await.unwrap();
        ask(&three[0], name, Command::Delete).await.unwrap();
    }
    assert!(!forget(&three, after(Duration::ZERO, Duration::from_secs(900))).await);
    board.away.lock().unwrap().push(MemberId(3));
    assert!(!forget(&three[..2], at_once()).await);
    board.away.lock().unwrap().clear();
    for name in ["a", "b"] {
        three[0].read_for(7, &key(name), Purpose::Teach).await.unwrap();
    }
    assert!(forgotten(&three, at_once()).await);
    assert_eq!(read(&three[1], "a").await, None);
    // Their clocks are right: nobody notices.
    assert_eq!(
        ask(&three[2], "a", Command::PutNew("2".into())).await.unwrap(),
        "ok"
    );
    assert_eq!(read(&three[0], "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_a_tombstone_remembered_is_not_done_again_and_a_clock_that_is_behind_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (_, three) = members(folder.path(), &THREE).await;
    let slept = Operation {
        id: op_now(),
        is_retry: false,
        lane: key("a"),
        keys: vec![key("a")],
        ranges: Vec::new(),
        command: Command::Put("1".into()),
    };
    three[0].submit(7, slept.clone()).await.unwrap();
    ask(&three[0], "a", Command::Delete).await.unwrap();
    assert!(forgotten(&three, at_once()).await);
    // Another attempt of it, by whoever does not know what came of the first.
    let again = Operation {
        is_retry: true,
        ..slept.clone()
    };
    let answer = three[1].submit(7, again).await;
    assert!(matches!(answer, Err(StoreError::Unavailable)), "{answer:?}");
    assert_eq!(read(&three[1], "a").await, None);
    // As if it began an hour ago, but nobody tried before.
    let behind = Operation {
        id: OpId([1; 16]),
        command: Command::Put("2".into()),
        ..slept
    };
    assert_eq!(three[1].submit(7, behind).await.unwrap(), "ok");
    assert_eq!(read(&three[2], "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn who_did_not_answer_is_not_asked_for_every_tombstone_and_who_heard_of_forgotten_ones_is_spared() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &THREE).await;
    let old = Operation {
        id: op_now(),
        is_retry: true,
        lane: key("a"),
        keys: vec![key("a")],
        ranges: Vec::new(),
        command: Command::Delete,
    };
    three[0].submit(7, old.clone()).await.unwrap();
    settled(&three, &["a"]).await;
    // It seems to be there, and says nothing.
    board.mute.lock().unwrap().push(MemberId(3));
    assert_eq!(
        three[0].forget_tombstones(None, at_once()).await.unwrap().asked,
        1
    );
    assert_eq!(
        three[0].forget_tombstones(None, at_once()).await.unwrap().asked,
        0
    );
    board.mute.lock().unwrap().clear();
    three[0].read_for(7, &key("a"), Purpose::Teach).await.unwrap();
    assert!(forgotten(&three, at_once()).await);
    // Somebody tries again what is forgotten: others may, too.
    assert!(three[0].submit(7, old).await.is_err());
    ask(&three[0], "b", Command::Delete).await.unwrap();
    settled(&three, &["b"]).await;
    let (age, soon, later) = (
        Duration::from_secs(9),
        Duration::from_secs(5),
        Duration::from_secs(20),
    );
    for (wait, asked) in [(Duration::ZERO, 0), (soon, 0), (later, 1)] {
        let pass = three[0].forget_tombstones(None, after(wait, age)).await.unwrap();
        assert_eq!(pass.asked, asked);
    }
}

#[tokio::test]
async fn tombstones_are_as_old_as_they_have_been_here_whatever_their_names_say() {
    let folder = tempfile::tempdir().unwrap();
    let (_, three) = members(folder.path(), &THREE).await;
    // By a clock that is years ahead, and by one that is years behind.
    for (name, began) in [("a", u64::MAX >> 17), ("b", 1)] {
        let delete = Operation {
            id: op_now().later_than(began),
            is_retry: false,
            lane: key(name),
            keys: vec![key(name)],
            ranges: Vec::new(),
            command: Command::Delete,
        };
        assert_eq!(three[0].submit(7, delete).await.unwrap(), "ok");
    }
    settled(&three, &["a", "b"]).await;
    let age = Duration::from_secs(900);
    for wait in [0, 600] {
        assert!(!forget(&three, after(Duration::from_secs(wait), age)).await);
        assert_eq!(
            three[0]
                .forget_tombstones(None, after(Duration::from_secs(wait), age))
                .await
                .unwrap()
                .asked,
            0
        );
    }
    assert!(forgotten(&three, after(Duration::from_secs(1200), age)).await);
    // Whoever has a clock that is right is not stopped by that.
    assert_eq!(ask(&three[1], "a", Command::Put("1".into())).await.unwrap(), "ok");
}

#[tokio::test]
async fn who_is_alone_again_leaves_no_tombstone_below_what_it_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, alone) = members(folder.path(), &[(1, 1)]).await;
    let alone = &alone[0];
    for again in [Command::Put("2".into()), Command::Delete] {
        alone.note_meshed(true);
        ask(alone, "a", Command::Put("1".into())).await.unwrap();
        ask(alone, "a", Command::Delete).await.unwrap();
        assert!(alone.has_tombstones().unwrap());
        alone.note_meshed(false);
        ask(alone, "a", again).await.unwrap();
        assert!(!alone.has_tombstones().unwrap());
    }
    assert_eq!(read(alone, "a").await, None);
    alone.0.disk.close().await.unwrap();
}
