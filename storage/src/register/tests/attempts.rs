//! What is told of several attempts of one operation that wait at one member.

use super::*;

fn put_as(id: OpId, text: &'static str) -> Operation<Command> {
    let lane = Bytes::from("a");
    Operation {
        id,
        is_retry: false,
        keys: vec![lane.clone()],
        lane,
        ranges: Vec::new(),
        command: Command::Put(text),
    }
}

#[test]
fn each_attempt_hears_what_came_of_itself() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Get);
    let id = OpId([99; 16]);
    // The first is on its way to a quorum, the second waits behind it, when this member gives up holding.
    world.step(MemberId(0), Event::Submit(put_as(id, "1"), 1));
    world.step(MemberId(0), Event::Submit(put_as(id, "1"), 2));
    let told = world.holders[0].step(Event::StepDown).into_iter();
    let told: BTreeMap<_, _> = told
        .filter_map(|effect| match effect {
            Effect::Answer { ticket, answer, .. } => Some((ticket, answer)),
            _ => None,
        })
        .collect();
    assert_eq!(
        told,
        BTreeMap::from([(1, Answer::Unknown), (2, Answer::NotHolder)])
    );
}
