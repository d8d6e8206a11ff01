//! Schedules made by hand for rules that random schedules hardly ever need: what the rule prevents happens without it.

use super::*;

/// A value is deleted while one member is away, which is then taught the tombstone but hears of no new ballot. When
/// the tombstone is to be forgotten, a message that proposed the value long ago arrives there. What is read then?
fn read_behind_a_dropped_tombstone(broken: Broken) -> Answer<Outcome> {
    let (mut world, key) = (World::breaking(3, broken), Bytes::from("a"));
    // All promise the first holder's ballot.
    world.ask(0, "other", Command::Put("1"));
    world.away = [2].map(MemberId).into();
    world.ask(0, "a", Command::Put("deleted"));
    let Row { stamp, content, .. } = world.disks[0].row(&key);
    let late = Request::Accept {
        stamp,
        key: key.clone(),
        content,
        nonce: 1,
    };
    assert_eq!(world.ask(1, "a", Command::Delete), done("ok"));
    world.away.clear();
    world.read(1, "a", Purpose::Teach);
    let tombstone = world.disks[1].row(&key).stamp;
    assert_eq!(world.disks[2].row(&key).stamp, tombstone);
    world.deaf = Some(MemberId(2));
    world.step(MemberId(1), collect(&key, tombstone));
    world.deliver();
    world.accept(MemberId(2), &late);
    world.deaf = None;
    world.away = [0].map(MemberId).into();
    world.ask(1, "a", Command::Get)
}

#[test]
fn a_tombstone_that_goes_before_all_have_promised_brings_back_what_it_hid() {
    assert_eq!(read_behind_a_dropped_tombstone(Broken::NOTHING), done("nothing"));
    let broken = Broken::by(Mutant::DropWithoutPromise);
    assert_eq!(read_behind_a_dropped_tombstone(broken), done("deleted"));
}

/// A holder has been deposed without hearing of it, and an acknowledgement of what it wrote long ago arrives again while it
/// confirms what stands. What does it answer, if anything?
fn answer_of_a_deposed_holder(broken: Broken) -> Option<Answer<Outcome>> {
    let (mut world, key) = (World::breaking(3, broken), Bytes::from("a"));
    world.ask(0, "a", Command::Put("old"));
    let stamp = world.disks[0].row(&key).stamp;
    world.away = [0].map(MemberId).into();
    assert_eq!(world.ask(1, "a", Command::Put("new")), done("ok"));
    world.away = [1, 2].map(MemberId).into();
    let asked = world.submit(0, "a", Command::Get);
    world.deliver();
    let (from, nonce) = (MemberId(1), 1);
    let reply = Reply::Accepted { stamp, key, nonce };
    world.step(MemberId(0), Event::Reply { from, reply });
    let answers = world.answers.into_iter();
    answers
        .filter(|(op, _)| *op == asked)
        .map(|(_, answer)| answer)
        .next()
}

#[test]
fn old_acknowledgements_confirm_what_does_not_stand_any_more() {
    assert_eq!(answer_of_a_deposed_holder(Broken::NOTHING), None);
    let broken = Broken::by(Mutant::ConfirmByOldAcks);
    assert_eq!(answer_of_a_deposed_holder(broken), Some(done("old")));
}

/// An operation writes two rows and is not heard of. The row in which its attempts look for one another is deleted and its
/// tombstone forgotten; the other stands, and remembers it. What does the next attempt hear, and what is read behind it?
fn done_again_behind_a_forgotten_tombstone(broken: Broken) -> (Answer<Outcome>, Answer<Outcome>) {
    let (mut world, key) = (World::breaking(3, broken), Bytes::from("a"));
    let name = |began: u64| OpId([7; 16]).later_than(began);
    assert_eq!(world.ask_as(name(10), 0, "a", Command::Both("1")), done("ok"));
    assert_eq!(world.ask_as(name(20), 0, "a", Command::Delete), done("ok"));
    let Row { stamp, content, .. } = world.disks[0].row(&key);
    let (newest, tombstones) = (content.newest(), vec![(key.clone(), stamp)]);
    world.step(MemberId(0), Event::Collect { tombstones, newest });
    world.deliver();
    assert!(world.disks.iter().all(|disk| disk.row(&key).stamp.is_zero()));
    assert_eq!(text(&world.disks[0].row(&second(&key))), "1");
    world.answers.clear();
    let again = Operation {
        id: name(10),
        is_retry: true,
        keys: vec![key.clone()],
        // It has both rows loaded.
        ranges: vec![KeyRange::ALL],
        lane: key,
        command: Command::Both("1"),
    };
    world.step(MemberId(0), Event::Submit(again, 0));
    world.deliver();
    let heard = world.answer(name(10));
    (heard, world.ask_as(name(30), 0, "a", Command::Get))
}

#[test]
fn what_a_forgotten_tombstone_remembered_is_not_done_again_although_another_row_remembers_it() {
    let (heard, read) = done_again_behind_a_forgotten_tombstone(Broken::NOTHING);
    assert!(matches!(heard, Answer::Forgotten { .. }), "{heard:?}");
    assert_eq!(read, done("nothing"));
    let broken = Broken::by(Mutant::TrustAnyRow);
    let undone = done_again_behind_a_forgotten_tombstone(broken);
    assert_eq!(undone, (done("ok"), done("1")));
}

/// A fence is raised while a write that was decided below it is on its way. If it is told to stand before that has arrived: what
/// does somebody read then, and what later?
fn reads_behind_a_fence(broken: Broken) -> Option<[String; 2]> {
    let mut world = World::breaking(3, broken);
    world.ask(0, "a", Command::Put("before"));
    world.submit(0, "a", Command::Put("below"));
    let late = std::mem::take(&mut world.mail);
    let fences = Fences {
        sweeps: 5,
        directory: 7,
        forgotten: 0,
    };
    world.step(MemberId(0), Event::Raise(fences));
    world.deliver();
    let is_told = world.raised == [fences];
    let first = text(&world.read(1, "a", Purpose::Answer).unwrap());
    world.mail = late;
    world.deliver();
    let later = text(&world.read(1, "a", Purpose::Answer).unwrap());
    is_told.then_some([first, later])
}

#[test]
fn a_fence_that_stands_too_early_lets_through_what_it_is_to_keep_out() {
    assert_eq!(reads_behind_a_fence(Broken::NOTHING), None);
    let broken = Broken::by(Mutant::FenceWithoutDraining);
    let read = reads_behind_a_fence(broken);
    assert_eq!(read, Some(["before", "below"].map(String::from)));
}
