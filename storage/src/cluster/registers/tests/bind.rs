//! What members promise of rows in which something must stay, whatever a holder decides.

use super::*;

const THREE: [(u32, u8); 3] = [(1, 1), (2, 1), (3, 1)];

/// Waits until everybody knows that what stands under a name is chosen.
async fn marked(members: &[Registers<Words>], name: &str) {
    for member in members {
        while !member.0.partition(7).durable_row(&key(name)).unwrap().chosen {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn what_must_stay_is_not_replaced_by_whoever_holds_the_partition() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &THREE).await;
    ask(&three[0], "a", Command::Put("kept".into())).await.unwrap();
    three[0].bind(key("a")).await;
    marked(&three, "a").await;
    // What leaves it there is done.
    ask(&three[1], "a", Command::Put("kept, and more".into()))
        .await
        .unwrap();
    three[1].bind(key("a")).await;
    marked(&three, "a").await;
    for command in [Command::Put("kept".into()), Command::Delete] {
        let (member, began) = (three[2].clone(), Instant::now());
        let asked = tokio::spawn(async move { ask(&member, "a", command).await });
        sleep(Duration::from_secs(1)).await;
        assert!(!asked.is_finished());
        // Nobody took it, so that all read on.
        for member in &three {
            assert_eq!(read(member, "a").await.as_deref(), Some("kept, and more"));
        }
        // Its time has come: whoever still asks is heard.
        board.nothing_stays.store(true, Ordering::Relaxed);
        assert_eq!(asked.await.unwrap().unwrap(), "ok");
        assert!(began.elapsed() < DEADLINE);
        board.nothing_stays.store(false, Ordering::Relaxed);
        ask(&three[0], "a", Command::Put("kept, and more".into()))
            .await
            .unwrap();
        three[0].bind(key("a")).await;
        marked(&three, "a").await;
    }
}

#[tokio::test]
async fn a_write_that_may_never_have_come_to_be_keeps_no_other_from_a_quorum() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &THREE).await;
    ask(&three[0], "a", Command::Put("1".into())).await.unwrap();
    // It reaches one of three.
    board
        .away
        .lock()
        .unwrap()
        .extend([MemberId(1), MemberId(2), MemberId(3)]);
    let alone = three[0].clone();
    let asked = tokio::spawn(async move { ask(&alone, "a", Command::Put("kept".into())).await });
    while read_here(&three[0], "a").as_deref() != Some("kept") {
        sleep(Duration::from_millis(5)).await;
    }
    *board.away.lock().unwrap() = vec![MemberId(1)];
    ask(&three[1], "a", Command::Put("2".into())).await.unwrap();
    // Now the first is needed for a quorum.
    *board.away.lock().unwrap() = vec![MemberId(3)];
    ask(&three[1], "a", Command::Put("3".into())).await.unwrap();
    assert_eq!(read(&three[1], "a").await.as_deref(), Some("3"));
    board.away.lock().unwrap().clear();
    // What came of the first nobody can say, but that it is over.
    drop(asked.await.unwrap());
}

fn read_here(member: &Registers<Words>, name: &str) -> Option<String> {
    let row = member.0.partition(7).durable_row(&key(name)).unwrap();
    row.content.value.map(|value| text_of(&value.body))
}
