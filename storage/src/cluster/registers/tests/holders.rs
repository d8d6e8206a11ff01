//! Promises about who holds a partition, where answers are lost.

use std::pin::pin;

use super::*;

/// Writes through a member, while it reads something else all the time.
async fn write_while_reading(member: &Registers<Words>, text: &str) -> Result<String, StoreError> {
    let mut written = pin!(ask(member, "a", Command::Put(text.to_owned())));
    loop {
        tokio::select! {
            biased;
            written = &mut written => return written,
            _ = read(member, "b") => {}
        }
    }
}

#[tokio::test]
async fn a_holder_of_whom_one_answer_is_lost_keeps_its_partition() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    ask(&three[0], "a", Command::Put("1".into())).await.unwrap();
    ask(&three[0], "b", Command::Put("1".into())).await.unwrap();
    let held = three[0].partition(7).ballot().unwrap();
    board.losses.store(1, Ordering::Relaxed);
    assert_eq!(write_while_reading(&three[1], "2").await.unwrap(), "again");
    assert_eq!(board.losses.load(Ordering::Relaxed), 0);
    assert_eq!(three[0].partition(7).ballot(), Some(held));
    assert_eq!(read(&three[2], "a").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_holder_that_answers_no_operation_is_deposed_though_it_is_heard_of() {
    let folder = tempfile::tempdir().unwrap();
    let (board, three) = members(folder.path(), &[(1, 1), (2, 1), (3, 1)]).await;
    ask(&three[0], "a", Command::Put("1".into())).await.unwrap();
    ask(&three[0], "b", Command::Put("1".into())).await.unwrap();
    let held = three[0].partition(7).ballot().unwrap();
    board.losses.store(u32::MAX, Ordering::Relaxed);
    let written = timeout(DEADLINE / 2, write_while_reading(&three[1], "2"));
    assert_eq!(written.await.unwrap().unwrap(), "again");
    assert!(three[1].partition(7).ballot() > Some(held));
}
