//! A holder that was told all that a quorum has need not ask for it row by row.

use super::*;

impl World {
    /// Has a member tell a holder all it has.
    fn tell_all(&mut self, from: u32, to: u32) {
        let ballot = self.holders[to as usize].ballot().unwrap();
        let [teller, holder] = [from, to].map(|member| &self.disks[member as usize]);
        let has_promised = teller.part.unwrap().promised == ballot;
        if !has_promised && !self.broken.is(Mutant::TellBeforePromise) {
            return;
        }
        let behind = teller
            .rows
            .iter()
            .filter(|(key, row)| holder.row(key).stamp < row.stamp);
        let behind = behind.map(|(key, _)| key.clone()).collect();
        let from = MemberId(from);
        self.step(MemberId(to), Event::ToldAll { from, ballot, behind });
    }

    fn is_uncovered(&self, holder: u32) -> bool {
        self.holders[holder as usize].uncovered().is_some()
    }
}

/// Member 1 holds the partition, and lacks what was written to "missed".
fn world_with_a_new_holder() -> World {
    let mut world = World::new(3);
    world.away = [MemberId(1)].into();
    world.ask(0, "missed", Command::Put("1"));
    world.away.clear();
    world.ask(1, "a", Command::Put("1"));
    world
}

#[test]
fn a_holder_that_was_told_everything_writes_new_rows_in_one_round() {
    let mut world = world_with_a_new_holder();
    assert!(world.is_uncovered(1));
    world.sent = 0;
    world.ask(1, "new", Command::PutNew("1"));
    assert_eq!(world.sent, 6);
    world.tell_all(2, 1);
    assert!(!world.is_uncovered(1));
    world.sent = 0;
    assert_eq!(world.ask(1, "newer", Command::PutNew("1")), done("ok"));
    assert_eq!(world.sent, 3);
}

#[test]
fn rows_that_were_told_to_be_newer_elsewhere_are_asked_for() {
    let mut world = world_with_a_new_holder();
    world.tell_all(0, 1);
    assert_eq!(world.ask(1, "missed", Command::PutNew("2")), done("exists"));
}

#[test]
fn what_was_told_under_another_ballot_counts_for_nothing() {
    let mut world = world_with_a_new_holder();
    let ballot = world.holders[1].ballot().unwrap();
    world.ask(0, "a", Command::Put("2"));
    world.ask(1, "a", Command::Put("3"));
    let (from, behind) = (MemberId(2), Vec::new());
    world.step(MemberId(1), Event::ToldAll { from, ballot, behind });
    assert!(world.is_uncovered(1));
}

#[test]
fn the_word_of_one_is_enough_only_if_both_are_a_quorum() {
    let mut world = World::new(5);
    world.ask(0, "other", Command::Put("1"));
    world.ask(1, "a", Command::Put("1"));
    world.tell_all(2, 1);
    world.tell_all(2, 1);
    let was_told_by = |world: &World, member| world.holders[1].was_told_all_by(MemberId(member));
    assert!(world.is_uncovered(1) && was_told_by(&world, 2) && !was_told_by(&world, 3));
    world.tell_all(3, 1);
    assert!(!world.is_uncovered(1));
}

#[test]
fn of_a_holder_that_lacks_very_much_everything_is_not_covered() {
    let mut world = world_with_a_new_holder();
    let (from, ballot) = (MemberId(2), world.holders[1].ballot().unwrap());
    let behind = (0..5000).map(|number| Key::from(format!("{number}"))).collect();
    world.step(MemberId(1), Event::ToldAll { from, ballot, behind });
    assert!(!world.is_uncovered(1), "it would be told in vain again");
    assert_eq!(world.ask(1, "missed", Command::PutNew("2")), done("exists"));
}

/// A write of the holder before has reached itself, which has promised the next holder's ballot since, and is on its way to
/// somebody who has not. That one tells the next holder all it has; then the write arrives. What is acknowledged, and what is
/// read?
fn told_before_a_late_write(broken: Broken) -> [Answer<Outcome>; 2] {
    let mut world = World::breaking(3, broken);
    world.ask(0, "a", Command::Put("old"));
    let written = world.submit(0, "a", Command::Put("new"));
    let late = world.mail.iter().position(|(_, to, _)| *to == MemberId(2));
    let (_, _, late) = world.mail.remove(late.unwrap()).unwrap();
    world.away = [1, 2].map(MemberId).into();
    world.deliver();
    world.away = [MemberId(2)].into();
    world.ask(1, "other", Command::Put("1"));
    world.tell_all(2, 1);
    world.away = [MemberId(1)].into();
    world.mail.push_back((MemberId(0), MemberId(2), late));
    world.deliver();
    world.away.clear();
    [world.answer(written), world.ask(1, "a", Command::Get)]
}

#[test]
fn what_was_told_before_the_promise_may_be_overtaken_by_what_came_later() {
    let [written, read] = told_before_a_late_write(Broken::NOTHING);
    assert_eq!([written, read], [done("ok"), done("new")]);
    let [written, read] = told_before_a_late_write(Broken::by(Mutant::TellBeforePromise));
    assert_eq!([written, read], [done("ok"), done("old")]);
}
