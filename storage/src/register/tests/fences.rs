//! What fences promise (rule 7).

use super::*;

#[test]
fn fences_are_told_to_the_next_holder() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    let fences = Fences {
        sweeps: 5,
        directory: 7,
        forgotten: 0,
    };
    world.step(MemberId(0), Event::Raise(fences));
    world.deliver();
    assert!(world.disks.iter().all(|disk| disk.part.unwrap().fences == fences));
    world.ask(1, "a", Command::Get);
    let next = world.holders[1].step(Event::Raise(Fences::default()));
    assert!(next.iter().any(
        |effect| matches!(effect, Effect::Send { request: Request::Raise { fences: told, .. }, .. } if *told == fences)
    ));
}

#[test]
fn fences_are_raised_only_when_nothing_from_below_them_is_still_being_written() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    // Decided, and on its way to a quorum when the fences are raised.
    let under_way = world.submit(0, "a", Command::Put("2"));
    let accepts = std::mem::take(&mut world.mail);
    let fences = Fences {
        sweeps: 5,
        directory: 7,
        forgotten: 0,
    };
    world.step(MemberId(0), Event::Raise(fences));
    world.deliver();
    assert!(world.disks.iter().all(|disk| disk.part.unwrap().fences == fences));
    assert_eq!(world.raised, []);
    world.mail = accepts;
    world.deliver();
    assert_eq!(world.answer(under_way), done("ok"));
    assert_eq!(world.raised, [fences]);
    // Nothing is under way: once more is told at once.
    world.step(MemberId(0), Event::Raise(fences));
    world.deliver();
    assert_eq!(world.raised, [fences, fences]);
}

#[test]
fn fences_are_raised_although_the_ballot_changes_meanwhile() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Delete);
    let (key, stamp) = (Bytes::from("a"), world.disks[0].row(&Bytes::from("a")).stamp);
    let fences = Fences {
        sweeps: 5,
        directory: 0,
        forgotten: 0,
    };
    world.step(MemberId(0), Event::Raise(fences));
    world.mail.clear();
    world.step(MemberId(0), collect(&key, stamp));
    world.deliver();
    assert!(world.disks.iter().all(|disk| disk.part.unwrap().fences == fences));
}
