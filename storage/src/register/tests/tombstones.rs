//! What is promised of tombstones (rule 5).

use super::*;

#[test]
fn a_tombstone_goes_only_when_all_have_it() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    world.away = [2].map(MemberId).into();
    world.ask(0, "a", Command::Delete);
    let key = Bytes::from("a");
    let stamp = world.disks[0].row(&key).stamp;
    world.step(MemberId(0), collect(&key, stamp));
    world.deliver();
    world.step(MemberId(0), Event::Resend);
    assert!(!world.disks[0].row(&key).stamp.is_zero());
    world.away.clear();
    world.read(1, "a", Purpose::Teach);
    world.step(MemberId(0), collect(&key, stamp));
    world.deliver();
    assert!(world.disks.iter().all(|disk| disk.row(&key).stamp.is_zero()));
    assert_eq!(world.ask(1, "a", Command::Get), done("nothing"));
}

#[test]
fn an_operation_that_waits_for_a_range_ends_although_tombstones_are_collected_meanwhile() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Delete);
    let (key, stamp) = (Bytes::from("a"), world.disks[0].row(&Bytes::from("a")).stamp);
    // Asks for a range, and is told nothing of it yet.
    let operation = Operation {
        id: OpId([99; 16]),
        is_retry: false,
        lane: Bytes::from("b"),
        keys: vec![Bytes::from("b")],
        ranges: vec![KeyRange::ALL],
        command: Command::Get,
    };
    world.step(MemberId(0), Event::Submit(operation, 0));
    let pages = std::mem::take(&mut world.mail);
    world.step(MemberId(0), collect(&key, stamp));
    world.deliver();
    world.mail = pages;
    world.deliver();
    assert_eq!(world.answer(OpId([99; 16])), done("nothing"));
    assert!(world.disks.iter().all(|disk| disk.row(&key).stamp.is_zero()));
    assert!(world.holders[0].is_idle());
}

#[test]
fn what_a_forgotten_tombstone_remembered_is_not_done_again_and_what_begins_later_is() {
    let mut world = World::new(3);
    let name = |began: u64| OpId([7; 16]).later_than(began);
    assert_eq!(world.ask_as(name(10), 0, "a", Command::Put("1")), done("ok"));
    assert_eq!(world.ask_as(name(20), 0, "a", Command::Delete), done("ok"));
    let key = Bytes::from("a");
    let Row { stamp, content, .. } = world.disks[0].row(&key);
    let newest = content.newest();
    assert_eq!(newest, name(20).began());
    let tombstones = vec![(key.clone(), stamp)];
    world.step(MemberId(0), Event::Collect { tombstones, newest });
    world.deliver();
    assert!(world.disks.iter().all(|disk| disk.row(&key).stamp.is_zero()));
    // An attempt that slept, at another member; and what somebody begins whose clock is behind.
    for began in [10, 15] {
        world.answers.clear();
        let answer = world.ask_as(name(began), 1, "a", Command::Put("1"));
        assert_eq!(answer, Answer::Forgotten { newest });
        assert!(world.disks.iter().all(|disk| disk.row(&key).stamp.is_zero()));
    }
    let later = name(15).later_than(newest);
    assert_eq!(world.ask_as(later, 1, "a", Command::Put("2")), done("ok"));
    assert_eq!(
        world.read(2, "a", Purpose::Answer).map(|row| text(&row)),
        Some("2".into())
    );
}

#[test]
fn whoever_forgets_a_tombstone_has_the_fence_whatever_was_lost_on_the_way() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Delete);
    let (key, last) = (Bytes::from("a"), MemberId(2));
    let drop = Request::Drop {
        ballot: world.disks[2].part.unwrap().promised,
        key: key.clone(),
        stamp: world.disks[2].row(&key).stamp,
        forgotten: 77,
    };
    world.accept(last, &drop);
    assert!(world.disks[2].row(&key).stamp.is_zero());
    assert_eq!(world.disks[2].part.unwrap().fences.forgotten, 77);
}
