//! Promises of the protocol on a network that loses nothing: what each part does, in order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::*;
use crate::model::MemberId;

mod attempts;
mod broken;
mod fences;
mod told;
mod tombstones;

/// What a client of these tests wants.
#[derive(Clone, Debug, PartialEq)]
enum Command {
    Put(&'static str),
    PutNew(&'static str),
    /// Another attempt of it.
    RetryPutNew(&'static str),
    Get,
    Delete,
    /// Writes both keys of the lane, one after the other.
    Both(&'static str),
}

type Outcome = String;

/// The acceptor side of one member.
#[derive(Clone, Default)]
struct Disk {
    part: Option<Part>,
    rows: BTreeMap<Key, Row>,
}

impl Rows for Disk {
    fn row(&self, key: &Key) -> Row {
        self.rows.get(key).cloned().unwrap_or_else(Row::absent)
    }

    fn heads(&self, range: &KeyRange) -> (Vec<(Key, Stamp)>, Option<KeyRange>) {
        // One head a page, so that pages are met.
        let mut within = self.rows.iter().filter(|(key, _)| range.contains(key));
        let head = within.next().map(|(key, row)| (key.clone(), row.stamp));
        let next = within.next().map(|(key, _)| KeyRange {
            from: key.clone(),
            to: range.to.clone(),
        });
        (head.into_iter().collect(), next)
    }
}

struct World {
    configs: Configs,
    disks: Vec<Disk>,
    holders: Vec<Holder<Command, Outcome>>,
    mail: VecDeque<(MemberId, MemberId, Mail)>,
    answers: Vec<(OpId, Answer<Outcome>)>,
    raised: Vec<Fences>,
    /// Members that nothing reaches.
    away: BTreeSet<MemberId>,
    /// Member that no ballot reaches.
    deaf: Option<MemberId>,
    broken: Broken,
    sent: usize,
    ops: u8,
}

enum Mail {
    Request(Request),
    Reply(Reply),
}

impl World {
    fn new(members: u32) -> Self {
        Self::breaking(members, Broken::NOTHING)
    }

    fn breaking(members: u32, broken: Broken) -> Self {
        let votes = Votes::equal((0..members).map(MemberId)).unwrap();
        let configs = Configs::first(Config::stable(votes));
        let holders = (0..members)
            .map(|me| Holder::new(MemberId(me), configs.clone(), Ballot::ZERO, 0, broken))
            .collect();
        Self {
            configs,
            disks: vec![Disk::default(); members as usize],
            holders,
            mail: VecDeque::new(),
            answers: Vec::new(),
            raised: Vec::new(),
            away: BTreeSet::new(),
            deaf: None,
            broken,
            sent: 0,
            ops: 0,
        }
    }

    fn submit(&mut self, holder: u32, key: &'static str, command: Command) -> OpId {
        self.ops += 1;
        let id = OpId([self.ops; 16]);
        self.submit_as(id, holder, key, command);
        id
    }

    fn submit_as(&mut self, id: OpId, holder: u32, key: &'static str, command: Command) {
        let lane = Bytes::from(key);
        let operation = Operation {
            id,
            is_retry: false,
            keys: vec![lane.clone()],
            lane,
            ranges: Vec::new(),
            command,
        };
        self.step(MemberId(holder), Event::Submit(operation, 0));
    }

    /// The answer to a command, with every message delivered.
    fn ask(&mut self, holder: u32, key: &'static str, command: Command) -> Answer<Outcome> {
        self.ops += 1;
        self.ask_as(OpId([self.ops; 16]), holder, key, command)
    }

    fn ask_as(&mut self, id: OpId, holder: u32, key: &'static str, command: Command) -> Answer<Outcome> {
        self.submit_as(id, holder, key, command.clone());
        self.deliver();
        if self.answer(id) != Answer::NotHolder {
            return self.answer(id);
        }
        // It has learnt now that it is not the holder any more, and takes over.
        self.answers.clear();
        self.submit_as(id, holder, key, command);
        self.deliver();
        self.answer(id)
    }

    fn answer(&self, id: OpId) -> Answer<Outcome> {
        self.answers.iter().find(|(op, _)| *op == id).unwrap().1.clone()
    }

    fn step(&mut self, me: MemberId, event: Event<Command, Outcome>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.holders[me.0 as usize].step(event) {
                match effect {
                    Effect::Send { to, request } => {
                        self.sent += 1;
                        self.mail.push_back((me, to, Mail::Request(request)));
                    }
                    Effect::Load {
                        lane,
                        turn,
                        keys,
                        ranges,
                    } => {
                        let disk = &self.disks[me.0 as usize];
                        let mut rows: BTreeMap<_, _> =
                            keys.iter().map(|key| (key.clone(), disk.row(key))).collect();
                        let within = |key: &Key| ranges.iter().any(|range| range.contains(key));
                        rows.extend(
                            disk.rows
                                .iter()
                                .filter(|(key, _)| within(key))
                                .map(|(key, row)| (key.clone(), row.clone())),
                        );
                        events.push_back(Event::Loaded { lane, turn, rows });
                    }
                    Effect::Decide {
                        lane,
                        turn,
                        operation,
                        loaded,
                    } => {
                        let decision = decide(&operation, &loaded);
                        events.push_back(Event::Decided { lane, turn, decision });
                    }
                    Effect::Compare {
                        from,
                        nonce,
                        heads,
                        next,
                    } => {
                        let disk = &self.disks[me.0 as usize];
                        let behind = heads
                            .into_iter()
                            .filter(|(key, stamp)| disk.row(key).stamp < *stamp);
                        events.push_back(Event::Compared {
                            from,
                            nonce,
                            behind: behind.map(|(key, _)| key).collect(),
                            next,
                        });
                    }
                    Effect::Answer { op, answer, .. } => self.answers.push((op, answer)),
                    Effect::Raised(fences) => self.raised.push(fences),
                    Effect::Dropped(_) => {}
                }
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((from, to, mail)) = self.mail.pop_front() {
            if self.away.contains(&to) || self.away.contains(&from) {
                continue;
            }
            match mail {
                Mail::Request(Request::Prepare { .. } | Request::Raise { .. }) if self.deaf == Some(to) => {}
                Mail::Request(request) => {
                    if let Some(reply) = self.accept(to, &request) {
                        self.mail.push_back((to, from, Mail::Reply(reply)));
                    }
                }
                Mail::Reply(reply) => self.step(to, Event::Reply { from, reply }),
            }
        }
    }

    fn accept(&mut self, me: MemberId, request: &Request) -> Option<Reply> {
        let disk = &mut self.disks[me.0 as usize];
        let acceptor = Acceptor {
            me,
            configs: &self.configs,
            broken: self.broken,
        };
        let step = acceptor.step(&disk.part.unwrap_or(Part::NEW), &*disk, request);
        disk.part = step.part.or(disk.part);
        if let Some((key, row)) = step.set {
            disk.rows.insert(key, row);
        }
        if let Some(key) = step.forget {
            disk.rows.remove(&key);
        }
        step.reply
    }

    fn read(&mut self, me: u32, key: &'static str, purpose: Purpose) -> Option<Row> {
        let members = (0_u32..).map(MemberId).take(self.disks.len());
        let (mut reader, effects) = Reader::begin(
            (Bytes::from(key), 0, purpose),
            members,
            77 + u64::from(me),
            Broken::NOTHING,
        );
        let mut effects = VecDeque::from(effects);
        let mut found = None;
        while let Some(effect) = effects.pop_front() {
            match effect {
                ReadEffect::Send { to, request } if !self.away.contains(&to) => {
                    if let Some(reply) = self.accept(to, &request) {
                        effects.extend(reader.reply(&self.configs, to, reply));
                    }
                }
                ReadEffect::Send { .. } => {}
                ReadEffect::Found(row) => found = Some(row),
                ReadEffect::NewerEpoch(_) | ReadEffect::AskHolder(_) => return None,
            }
            if effects.is_empty() && found.is_none() {
                effects.extend(reader.hurry(&self.configs));
            }
        }
        found
    }
}

fn second(key: &Key) -> Key {
    Bytes::from([key.as_ref(), b"/2"].concat())
}

fn value(text: &str) -> Option<Value> {
    Some(Value {
        summary: Bytes::new(),
        body: Bytes::copy_from_slice(text.as_bytes()),
    })
}

fn text(row: &Row) -> String {
    let body = row.content.value.as_ref().map(|value| value.body.clone());
    body.map_or("nothing".into(), |body| String::from_utf8(body.to_vec()).unwrap())
}

fn decide(operation: &Operation<Command>, loaded: &Loaded) -> Decision<Outcome> {
    let key = operation.lane.clone();
    let row = &loaded.rows[&key];
    if matches!(operation.command, Command::RetryPutNew(_)) {
        return Decision::Refuse {
            relies_on: vec![key.clone()],
            key,
            outcome: "exists".into(),
        };
    }
    if matches!(operation.command, Command::Both(_)) && !loaded.rows.contains_key(&second(&key)) {
        return Decision::Need {
            keys: vec![second(&key)],
            ranges: vec![],
        };
    }
    let put = |key: &Key, text: &str| Change {
        key: key.clone(),
        value: value(text),
    };
    let (stages, relies_on, outcome) = match (&operation.command, row.content.value.is_some()) {
        _ if loaded.remembers(&key, operation.id).is_some() => (vec![], vec![key], "again".into()),
        (Command::Put(text), _) | (Command::PutNew(text), false) => {
            (vec![vec![put(&key, text)]], vec![], "ok".into())
        }
        (Command::PutNew(_) | Command::RetryPutNew(_), _) => (vec![], vec![key], "exists".into()),
        (Command::Get, _) => (vec![], vec![key], text(row)),
        (Command::Delete, _) => {
            let change = Change { key, value: None };
            (vec![vec![change]], vec![], "ok".into())
        }
        (Command::Both(text), _) => (
            vec![vec![put(&key, text)], vec![put(&second(&key), text)]],
            vec![],
            "ok".into(),
        ),
    };
    Decision::Commit {
        told_after: stages.len(),
        stages,
        relies_on,
        outcome,
    }
}

fn done(text: &str) -> Answer<Outcome> {
    Answer::Done(text.into())
}

#[test]
fn what_one_holder_wrote_another_reads() {
    let mut world = World::new(3);
    assert_eq!(world.ask(0, "a", Command::Put("1")), done("ok"));
    assert_eq!(world.ask(1, "a", Command::Get), done("1"));
    assert_eq!(world.ask(2, "a", Command::PutNew("2")), done("exists"));
    assert_eq!(world.ask(2, "a", Command::Delete), done("ok"));
    assert_eq!(world.ask(0, "a", Command::PutNew("3")), done("ok"));
    assert_eq!(text(&world.read(1, "a", Purpose::Answer).unwrap()), "3");
}

#[test]
fn a_settled_holder_writes_in_one_round() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    world.sent = 0;
    assert_eq!(world.ask(0, "a", Command::Put("2")), done("ok"));
    assert_eq!(world.sent, 3);
    let mut alone = World::new(1);
    alone.ask(0, "a", Command::Put("1"));
    alone.sent = 0;
    assert_eq!(alone.ask(0, "new", Command::Both("2")), done("ok"));
    assert_eq!(alone.ask(0, "new", Command::PutNew("3")), done("exists"));
    assert_eq!(alone.sent, 2);
}

#[test]
fn a_deposed_holder_says_unknown_for_what_it_wrote_and_no_for_what_waited() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    world.away = [1, 2].map(MemberId).into();
    let (first, second) = (
        world.submit(0, "a", Command::Put("2")),
        world.submit(0, "a", Command::Put("3")),
    );
    world.deliver();
    world.away = [0].map(MemberId).into();
    assert_eq!(world.ask(1, "a", Command::Get), done("1"));
    world.away.clear();
    world.step(MemberId(0), Event::Resend);
    world.deliver();
    assert_eq!(world.answer(first), Answer::Unknown);
    assert_eq!(world.answer(second), Answer::NotHolder);
    assert_eq!(world.ask(2, "a", Command::Get), done("1"));
}

#[test]
fn a_retry_is_recognised_by_whoever_holds_the_partition() {
    let mut world = World::new(3);
    let id = world.submit(0, "a", Command::PutNew("1"));
    world.deliver();
    assert_eq!(world.answer(id), done("ok"));
    world.answers.clear();
    world.submit_as(id, 2, "a", Command::PutNew("1"));
    world.deliver();
    assert_eq!(world.answer(id), done("again"));
}

#[test]
fn a_reader_helps_a_write_along_that_reached_only_one() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    world.away = [1, 2].map(MemberId).into();
    world.submit(0, "a", Command::Put("2"));
    world.deliver();
    world.away.clear();
    assert_eq!(text(&world.read(2, "a", Purpose::Answer).unwrap()), "2");
    // Now it is chosen, and stays.
    world.away = [0].map(MemberId).into();
    assert_eq!(text(&world.read(2, "a", Purpose::Answer).unwrap()), "2");
}

#[test]
fn teaching_brings_everybody_up_to_date_with_the_mark() {
    let mut world = World::new(3);
    world.away = [2].map(MemberId).into();
    world.ask(0, "a", Command::Put("1"));
    world.away.clear();
    assert_eq!(text(&world.read(1, "a", Purpose::Teach).unwrap()), "1");
    for disk in &world.disks {
        let row = disk.row(&Bytes::from("a"));
        assert!(row.chosen && text(&row) == "1");
    }
}

fn collect(key: &Key, stamp: Stamp) -> Event<Command, Outcome> {
    Event::Collect {
        tombstones: vec![(key.clone(), stamp)],
        newest: OpId([0; 16]).began(),
    }
}

#[test]
fn a_range_is_covered_before_it_is_decided_on() {
    let mut world = World::new(3);
    world.away = [2].map(MemberId).into();
    for key in ["a/1", "a/2", "a/3"] {
        world.ask(0, key, Command::Put(key));
    }
    world.away = [0].map(MemberId).into();
    let operation = Operation {
        id: OpId([99; 16]),
        is_retry: false,
        lane: Bytes::from("a"),
        keys: vec![Bytes::from("a")],
        ranges: vec![KeyRange {
            from: Bytes::from("a/"),
            to: Some(Bytes::from("a0")),
        }],
        command: Command::Get,
    };
    // The third member has none of these rows; what it decides on, it heard from the second.
    let mut decided = None;
    let mut events = VecDeque::from([Event::Submit(operation, 0)]);
    loop {
        while let Some(event) = events.pop_front() {
            for effect in world.holders[2].step(event) {
                match effect {
                    Effect::Send { to, request } => {
                        world.mail.push_back((MemberId(2), to, Mail::Request(request)))
                    }
                    Effect::Load { lane, turn, keys, .. } => {
                        let rows = keys.into_iter().map(|key| (key, Row::absent())).collect();
                        events.push_back(Event::Loaded { lane, turn, rows });
                    }
                    Effect::Compare {
                        from,
                        nonce,
                        heads,
                        next,
                    } => events.push_back(Event::Compared {
                        from,
                        nonce,
                        behind: heads
                            .into_iter()
                            .filter(|_| from != MemberId(2))
                            .map(|(key, _)| key)
                            .collect(),
                        next,
                    }),
                    Effect::Decide { loaded, .. } => decided = Some(loaded),
                    other => panic!("{other:?}"),
                }
            }
        }
        let Some((from, to, mail)) = world.mail.pop_front() else {
            break;
        };
        match mail {
            Mail::Request(request) if to != MemberId(0) => {
                let reply = world.accept(to, &request);
                world
                    .mail
                    .extend(reply.map(|reply| (to, from, Mail::Reply(reply))));
            }
            Mail::Request(_) => {}
            Mail::Reply(reply) => events.push_back(Event::Reply { from, reply }),
        }
    }
    let rows = decided.unwrap().rows;
    let texts: Vec<_> = rows.values().map(text).collect();
    assert_eq!(texts, ["nothing", "a/1", "a/2", "a/3"]);
}

#[test]
fn an_outsider_turns_operations_away() {
    let mut world = World::new(3);
    let mut outsider = Holder::<Command, Outcome>::new(
        MemberId(7),
        world.configs.clone(),
        Ballot::ZERO,
        0,
        Broken::NOTHING,
    );
    std::mem::swap(&mut world.holders[0], &mut outsider);
    let id = world.submit(0, "a", Command::Get);
    assert_eq!(world.answer(id), Answer::NotHolder);
    assert!(world.mail.is_empty());
}

#[test]
fn what_comes_late_is_not_taken_for_the_next_operations() {
    let mut world = World::new(1);
    world.ask(0, "a", Command::Put("1"));
    let lane = Bytes::from("a");
    let submit = |id: u8| {
        let operation = Operation {
            id: OpId([id; 16]),
            is_retry: false,
            lane: lane.clone(),
            keys: vec![lane.clone()],
            ranges: Vec::new(),
            command: Command::Get,
        };
        Event::Submit(operation, 0)
    };
    let load = |effects: &[Effect<Command, Outcome>]| {
        let load = effects.iter().find_map(|effect| match effect {
            Effect::Load { turn, .. } => Some(*turn),
            _ => None,
        });
        load.unwrap()
    };
    let first = load(&world.holders[0].step(submit(100)));
    world.step(MemberId(0), Event::StepDown);
    world.ask(0, "a", Command::Put("2"));
    let second = load(&world.holders[0].step(submit(101)));
    let mut loaded = |turn| {
        let (lane, rows) = (lane.clone(), BTreeMap::from([(lane.clone(), Row::absent())]));
        world.holders[0].step(Event::Loaded { lane, turn, rows })
    };
    assert_eq!(loaded(first), []);
    assert!(matches!(loaded(second)[..], [Effect::Decide { .. }]));
}

#[test]
fn what_was_written_before_a_member_was_alone_is_settled_by_a_read() {
    let mut world = World::new(2);
    world.ask(0, "a", Command::Put("1"));
    let mut transition = Transition::begin(
        0,
        Votes::equal([0, 1].map(MemberId)).unwrap(),
        Votes::equal([MemberId(0)]).unwrap(),
        Broken::NOTHING,
    );
    let alone = Config::stable(Votes::equal([MemberId(0)]).unwrap());
    for (epoch, config) in [(1, transition.1.clone()), (2, alone)] {
        world.configs.learn(epoch, config.clone());
        world.holders[0].learn_config(epoch, config);
    }
    transition.2.adopted(MemberId(0));
    assert_eq!(transition.2.next(), Next::Adopt);
    let part = adopt(
        MemberId(0),
        &world.configs,
        &world.disks[0].part.unwrap(),
        2,
        Broken::NOTHING,
    );
    world.disks[0].part = Some(part.unwrap().part);
    world.away = [1].map(MemberId).into();
    world.step(MemberId(0), Event::Adopted(2));
    assert_eq!(world.ask(0, "a", Command::Get), done("1"));
    assert_eq!(world.disks[0].row(&Bytes::from("a")).stamp.ballot.epoch, 2);
}

#[test]
fn who_promised_more_than_the_others_is_taught_through_a_holder() {
    let mut world = World::new(3);
    world.away = [2].map(MemberId).into();
    world.ask(0, "a", Command::Put("1"));
    // The third tries to take over, and reaches nobody but itself.
    world.away = [0, 1].map(MemberId).into();
    let waits = world.submit(2, "a", Command::Get);
    world.deliver();
    world.away.clear();
    assert_eq!(world.read(1, "a", Purpose::Teach), None);
    world.step(MemberId(2), Event::Resend);
    world.deliver();
    assert_eq!(world.answer(waits), done("1"));
    assert_eq!(text(&world.disks[2].row(&Bytes::from("a"))), "1");
}

#[test]
fn a_refusal_that_is_remembered_stops_earlier_attempts() {
    let mut world = World::new(3);
    world.ask(0, "a", Command::Put("1"));
    let id = OpId([99; 16]);
    world.submit_as(id, 0, "a", Command::RetryPutNew("2"));
    world.deliver();
    assert_eq!(world.answer(id), done("exists"));
    assert_eq!(world.ask(0, "a", Command::Delete), done("ok"));
    world.answers.clear();
    // The first attempt arrives at last.
    world.submit_as(id, 1, "a", Command::PutNew("2"));
    world.deliver();
    world.answers.clear();
    world.submit_as(id, 1, "a", Command::PutNew("2"));
    world.deliver();
    assert_eq!(world.answer(id), done("again"));
    assert_eq!(world.ask(1, "a", Command::Get), done("nothing"));
}
