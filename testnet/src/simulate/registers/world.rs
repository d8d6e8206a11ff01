//! Members, their network and their clients; every step does one random thing.

use std::collections::VecDeque;

use bytes::Bytes;
use storage::model::MemberId;
use storage::register::{
    Ballot, Broken, Config, Configs, Effect, Event, Fences, Key, Mutant, Nonce, Purpose, ReadEffect, Reader,
    Reply, Request, Row, Rows, Stamp,
};

use super::clients::{Client, Seen};
use super::disk::Entry;
use super::history::History;
use super::lane::{Memory, Outcome, Task, decide, upload_key};
use super::member::{Load, Member, Reading, Wanted};
use super::network::{Letter, Mail, Network, Weather};
use super::plan::Plan;
use super::root::Root;
use super::tally::Tally;
use crate::dice::Dice;

/// Nonces that a reader uses; those of holders are below.
const READERS: Nonce = 1 << 62;

/// Of so many schedules members tell holders all they have in one.
const SEEDS_PER_TELLING: u64 = 8;

/// One partition and everybody who has to do with it.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) plan: Plan,
    pub(super) broken: Broken,
    pub(super) is_traced: bool,
    pub(super) now: u64,
    pub(super) members: Vec<Member>,
    pub(super) network: Network,
    pub(super) root: Root,
    pub(super) clients: Vec<Client>,
    pub(super) history: History,
    pub(super) seen: Vec<Seen>,
    pub(super) lanes: Vec<Key>,
    pub(super) tally: Tally,
    /// The version of the directory.
    pub(super) directory: u64,
    /// Operations named so far.
    pub(super) operations: u32,
    /// The last moment that gateways know operations to have begun at which rows forgot.
    pub(super) newest: u64,
    /// Contents and uploads named so far.
    pub(super) values: u32,
    nonces: u64,
}

impl World {
    pub(super) fn new(seed: u64, broken: Broken, is_traced: bool) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 77);
        let plan = Plan {
            tells: seed.is_multiple_of(SEEDS_PER_TELLING) || broken.is(Mutant::TellBeforePromise),
            ..Plan::random(&mut dice, broken)
        };
        let weather = Weather::random(&mut dice, plan.pool, broken);
        let configs = Configs::first(Config::stable(plan.first.clone()));
        let ids = (0_u32..).map(MemberId).take(plan.pool);
        let members = (1_u64..).zip(ids);
        let members = members.map(|(number, id)| Member::new(id, configs.clone(), number << 32, broken));
        let members: Vec<_> = members.collect();
        let lanes = [Bytes::from("a"), Bytes::from("b")];
        Self {
            dice,
            broken,
            is_traced,
            now: 0,
            nonces: members.len() as u64 + 1,
            members,
            network: Network::new(weather),
            root: Root::new(configs, plan.first.clone()),
            clients: vec![Client::default(); plan.clients],
            history: History::default(),
            seen: vec![Seen::default(); plan.lanes],
            lanes: lanes.into_iter().take(plan.lanes).collect(),
            tally: Tally::default(),
            directory: 1,
            operations: 0,
            newest: 0,
            values: 0,
            plan,
        }
    }

    /// Runs the schedule, with faults, to its end.
    pub(super) fn run(&mut self) {
        while self.now < self.plan.steps {
            self.step();
        }
    }

    fn step(&mut self) {
        self.now += 1;
        let any = self.any_member();
        if self.plan.tells && self.dice.chance(0.02) {
            self.tell_all(any);
        }
        match self.dice.below(1000) {
            0..520 => drop(self.deliver()),
            520..690 => self.sync(any),
            690..740 => self.work(any),
            740..850 => self.client_acts(),
            850..890 => self.hurry(any),
            890..915 => {
                let key = self.any_key();
                self.read(any, key, Wanted::Teach);
            }
            915..937 if self.dice.chance(self.plan.collects) => {
                let share = [0.5, 1.0][self.dice.below(2)];
                let holds = |member: &&Member| member.is_alive && member.holder.ballot().is_some();
                let holder = self.members.iter().find(holds).map(|member| member.id);
                self.collect(holder.unwrap_or(any), share);
            }
            937..950 => self.holder(any, Event::Resend),
            950..952 => self.holder(any, Event::StepDown),
            952..982 => self.root_acts(),
            982..988 if self.dice.chance(self.plan.fences) => self.raise(any),
            988..992 if self.dice.chance(self.plan.cuts) => {
                let other = self.any_member();
                self.network.toggle(any, other);
            }
            992..1000 if self.dice.chance(self.plan.crashes) => self.crash(any),
            _ => {}
        }
    }

    pub(super) fn member(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members
            .get_mut(id.0 as usize)
            .filter(|member| member.is_alive)
    }

    pub(super) fn any_member(&mut self) -> MemberId {
        MemberId(u32::try_from(self.dice.below(self.members.len())).unwrap_or_default())
    }

    /// Both keys of every lane.
    pub(super) fn keys(&self) -> Vec<Key> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|lane| [lane.clone(), upload_key(lane)]).collect()
    }

    fn any_key(&mut self) -> Key {
        let keys = self.keys();
        keys[self.dice.below(keys.len())].clone()
    }

    pub(super) fn trace(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            println!("{:>6} {}", self.now, what());
        }
    }

    pub(super) fn next_nonces(&mut self) -> Nonce {
        self.nonces += 1;
        self.nonces << 32
    }

    // Messages.

    pub(super) fn send(&mut self, from: MemberId, to: MemberId, mail: Mail) {
        self.network.send(Letter { from, to, mail });
    }

    fn ask(&mut self, from: MemberId, to: MemberId, request: Request) {
        match self.member(from) {
            Some(member) if from == to => member.to_self.push_back(request),
            _ => self.send(from, to, Mail::Request(request)),
        }
    }

    pub(super) fn deliver(&mut self) -> bool {
        let Some(letter) = self.network.next(&mut self.dice, self.now) else {
            return false;
        };
        self.trace(|| format!("{:?} -> {:?} {:?}", letter.from, letter.to, letter.mail));
        let Letter { from, to, mail } = letter;
        match mail {
            Mail::Answer { op, attempt, answer } => self.client_hears(op, attempt, &answer),
            mail if self.member(to).is_some() => match mail {
                Mail::Request(request) => self.accept(to, from, &request),
                Mail::Reply(reply) => self.take_reply(to, from, reply),
                Mail::Told(ballot, heads) => self.take_told(to, from, ballot, &heads),
                Mail::Forward(operation) => {
                    let attempt = operation.command.attempt;
                    if let Some(ticket) = self.member(to).map(|member| member.ticket(attempt)) {
                        self.holder(to, Event::Submit(operation, ticket));
                    }
                }
                Mail::Answer { .. } => {}
            },
            // Nobody is there any more.
            _ => {}
        }
        true
    }

    fn accept(&mut self, me: MemberId, from: MemberId, request: &Request) {
        let broken = self.broken;
        let Some(member) = self.member(me) else { return };
        let before = member.disk.newest.rows.len();
        let reply = member.accept(from, request, broken);
        let dropped = before > member.disk.newest.rows.len();
        self.tally.drops += u64::from(dropped);
        self.tally.learns += u64::from(matches!(request, Request::Learn { .. }));
        if let Some(reply) = reply {
            self.send(me, from, Mail::Reply(reply));
        }
    }

    fn take_reply(&mut self, me: MemberId, from: MemberId, reply: Reply) {
        if reply.nonce() < READERS {
            return self.holder(me, Event::Reply { from, reply });
        }
        let nonce = reply.nonce();
        let Some(member) = self.member(me) else { return };
        let Some(reading) = member.readings.get_mut(&nonce) else {
            return;
        };
        let effects = reading.reader.reply(&member.configs, from, reply);
        self.read_effects(me, nonce, effects);
    }

    /// Makes some or all of what a member wrote durable.
    pub(super) fn sync(&mut self, me: MemberId) {
        let all = self.dice.chance(0.8);
        let Some(member) = self.members.get(me.0 as usize).filter(|member| member.is_alive) else {
            return;
        };
        if member.disk.is_synced() {
            return;
        }
        let unsynced = member.disk.unsynced();
        let entries = if all {
            unsynced
        } else {
            self.dice.below(unsynced + 1)
        };
        let Some(member) = self.member(me) else { return };
        for (to, reply) in member.disk.sync(entries) {
            self.send(me, to, Mail::Reply(reply));
        }
    }

    /// One thing that waits inside a member.
    pub(super) fn work(&mut self, me: MemberId) {
        let local_first = self.dice.chance(0.5);
        let Some(member) = self.member(me) else { return };
        let is_local = local_first || member.loads.is_empty();
        if is_local && let Some(request) = member.to_self.pop_front() {
            return self.accept(me, me, &request);
        }
        self.load(me);
    }

    /// Reads rows that the holder asked for, or hands over what was read.
    fn load(&mut self, me: MemberId) {
        let count = self.member(me).map_or(0, |member| member.loads.len());
        if count == 0 {
            return;
        }
        let index = self.dice.below(count);
        let at_once = self.plan.is_prompt || self.dice.chance(0.5);
        let Some(member) = self.member(me) else { return };
        let load = &mut member.loads[index];
        if load.rows.is_none() {
            let state = &member.disk.newest;
            let mut rows: Vec<_> = load
                .keys
                .iter()
                .map(|key| (key.clone(), state.row(key)))
                .collect();
            let within = state
                .rows
                .iter()
                .filter(|(key, _)| load.ranges.iter().any(|range| range.contains(key)));
            rows.extend(within.map(|(key, row)| (key.clone(), row.clone())));
            load.rows = Some(rows);
            if !at_once {
                return;
            }
        }
        let Load { lane, turn, rows, .. } = member.loads.swap_remove(index);
        let rows = rows.unwrap_or_default();
        self.holder(
            me,
            Event::Loaded {
                lane,
                turn,
                rows: rows.into_iter().collect(),
            },
        );
    }

    // The holder.

    /// Has a member tell all that it has, durably, to whom it promised last.
    fn tell_all(&mut self, from: MemberId) {
        let holds = |member: &&Member| member.is_alive && member.id != from;
        let held = self.members.iter().filter(holds);
        let held: Vec<_> = held
            .filter_map(|member| Some((member.id, member.holder.ballot()?)))
            .collect();
        if held.is_empty() {
            return;
        }
        let (to, ballot) = held[self.dice.below(held.len())];
        let is_broken = self.broken.is(Mutant::TellBeforePromise);
        let Some(member) = self.member(from) else { return };
        let state = &member.disk.durable;
        if state.part.promised == ballot || is_broken {
            let heads = state.rows.iter().map(|(key, row)| (key.clone(), row.stamp));
            let heads = heads.collect();
            self.send(from, to, Mail::Told(ballot, heads));
        }
    }

    /// Compares what was told with what is durable here.
    fn take_told(&mut self, me: MemberId, from: MemberId, ballot: Ballot, heads: &[(Key, Stamp)]) {
        let Some(member) = self.member(me) else { return };
        let rows = &member.disk.durable;
        let behind = heads.iter().filter(|(key, stamp)| rows.row(key).stamp < *stamp);
        let behind = behind.map(|(key, _)| key.clone()).collect();
        self.tally.tellings += 1;
        self.holder(me, Event::ToldAll { from, ballot, behind });
    }

    /// Hands an event to a member's holder, and does what follows.
    pub(super) fn holder(&mut self, me: MemberId, event: Event<Task, Outcome>) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let Some(member) = self.member(me) else { return };
            let before = member.holder.ballot();
            let effects = member.holder.step(event);
            let after = member.holder.ballot();
            if after.is_some() && after != before {
                self.tally.takeovers += 1;
                self.trace(|| format!("{me:?} holds {after:?}"));
            }
            for effect in effects {
                events.extend(self.do_effect(me, effect));
            }
        }
        while self.plan.is_prompt
            && let Some(member) = self.member(me)
        {
            if let Some(request) = member.to_self.pop_front() {
                self.accept(me, me, &request);
            } else if member.loads.is_empty() {
                return;
            } else {
                self.load(me);
            }
        }
    }

    fn do_effect(&mut self, me: MemberId, effect: Effect<Task, Outcome>) -> Option<Event<Task, Outcome>> {
        match effect {
            Effect::Send { to, request } => self.ask(me, to, request),
            Effect::Load {
                lane,
                turn,
                keys,
                ranges,
            } => {
                let rows = None;
                self.member(me)?.loads.push(Load {
                    lane,
                    turn,
                    keys,
                    ranges,
                    rows,
                });
            }
            Effect::Decide {
                lane,
                turn,
                operation,
                loaded,
            } => {
                let memory = Memory {
                    forgets_operations: self.broken.is(Mutant::ForgetOperations),
                    forgets_refusals: self.broken.is(Mutant::ForgetRefusals),
                };
                let decision = decide(&operation, &loaded, memory);
                self.trace(|| {
                    format!(
                        "{me:?} decides {:?} {:?} on {loaded:?}: {decision:?}",
                        operation.id, operation.command
                    )
                });
                return Some(Event::Decided { lane, turn, decision });
            }
            Effect::Compare {
                from,
                nonce,
                heads,
                next,
            } => {
                let disk = &self.member(me)?.disk.newest;
                let behind = heads
                    .into_iter()
                    .filter(|(key, stamp)| disk.row(key).stamp < *stamp);
                let behind = behind.map(|(key, _)| key).collect();
                return Some(Event::Compared {
                    from,
                    nonce,
                    behind,
                    next,
                });
            }
            Effect::Answer { op, ticket, answer } => {
                let attempt = self.member(me)?.submitted.remove(&ticket)?;
                self.trace(|| format!("{me:?} answers {op:?}, attempt {attempt}: {answer:?}"));
                self.send(me, me, Mail::Answer { op, attempt, answer });
            }
            Effect::Raised(fences) => {
                self.trace(|| format!("{me:?} raised {fences:?}"));
                // What is raised for tombstones says nothing of what clients may do.
                let lines = Fences {
                    forgotten: 0,
                    ..fences
                };
                let last = self.history.raised.last().map(|(_, last)| *last);
                if lines != last.unwrap_or_default() {
                    self.history.raised.push((self.now, lines));
                    self.tally.raises += 1;
                }
                let ballot = self.member(me)?.holder.ballot()?;
                if let Some(transition) = &mut self.root.transition {
                    transition.raised(ballot.epoch);
                }
            }
            Effect::Dropped(_) => {}
        }
        None
    }

    /// Begins to forget about so many of the tombstones, if this member holds the partition.
    pub(super) fn collect(&mut self, me: MemberId, share: f64) {
        let Some(member) = self.member(me).filter(|member| member.holder.ballot().is_some()) else {
            return;
        };
        let is_tombstone = |row: &Row| row.content.value.is_none();
        let rows = member
            .disk
            .newest
            .rows
            .iter()
            .filter(|(_, row)| is_tombstone(row));
        let rows: Vec<_> = rows
            .map(|(key, row)| (key.clone(), row.stamp, row.content.newest()))
            .collect();
        let rows: Vec<_> = rows.into_iter().filter(|_| self.dice.chance(share)).collect();
        if let Some(newest) = rows.iter().map(|(.., newest)| *newest).max() {
            self.tally.collections += 1;
            let tombstones = rows.into_iter().map(|(key, stamp, _)| (key, stamp)).collect();
            self.holder(me, Event::Collect { tombstones, newest });
        }
    }

    fn raise(&mut self, me: MemberId) {
        let mut fences = Fences::default();
        if self.dice.chance(0.7) {
            fences.sweeps = self.now.saturating_sub(self.dice.within(0..150));
        } else {
            self.directory += 1;
            fences.directory = self.directory;
        }
        self.holder(me, Event::Raise(fences));
    }

    // Readers.

    /// Begins to read a key at a member.
    pub(super) fn read(&mut self, me: MemberId, key: Key, wanted: Wanted) {
        let broken = self.broken;
        self.nonces += 1;
        let nonce = READERS + self.nonces;
        let Some(member) = self.member(me) else { return };
        let epoch = member.epoch();
        let Some(config) = member.configs.get(epoch).cloned() else {
            return;
        };
        let purpose = match wanted {
            Wanted::Answer(_) => Purpose::Answer,
            Wanted::Teach | Wanted::Sync(_) => Purpose::Teach,
        };
        let all = self.dice.chance(0.6);
        let of: Vec<_> = config
            .members()
            .into_iter()
            .filter(|_| all || self.dice.chance(0.6))
            .collect();
        let (reader, effects) = Reader::begin((key.clone(), epoch, purpose), of, nonce, broken);
        let reading = Reading {
            reader,
            key,
            wanted,
            has_found: false,
        };
        if let Some(member) = self.member(me) {
            member.begin_reading(nonce, reading);
        }
        self.read_effects(me, nonce, effects);
    }

    /// Presses one of a member's reads; one that has found its row has done what it could.
    pub(super) fn hurry(&mut self, me: MemberId) {
        let count = self.member(me).map_or(0, |member| member.readings.len());
        if count == 0 {
            return;
        }
        let index = self.dice.below(count);
        let Some(member) = self.member(me) else { return };
        let Some((nonce, reading)) = member.readings.iter_mut().nth(index) else {
            return;
        };
        let nonce = *nonce;
        if reading.has_found {
            member.readings.remove(&nonce);
            return;
        }
        let effects = reading.reader.hurry(&member.configs);
        self.read_effects(me, nonce, effects);
    }

    fn read_effects(&mut self, me: MemberId, nonce: Nonce, effects: Vec<ReadEffect>) {
        let mut relays = false;
        for effect in effects {
            match effect {
                ReadEffect::Send { to, request } => {
                    relays |= matches!(request, Request::Accept { .. });
                    self.ask(me, to, request);
                }
                ReadEffect::Found(row) => self.found(me, nonce, &row),
                ReadEffect::NewerEpoch(_) => {
                    let Some(reading) = self.member(me).and_then(|member| member.readings.remove(&nonce))
                    else {
                        continue;
                    };
                    // It hears of it sooner or later.
                    if self.dice.chance(0.5) {
                        self.adopt(me);
                        self.read(me, reading.key, reading.wanted);
                    }
                }
                ReadEffect::AskHolder(ballot) => {
                    let inside = self.root.members();
                    let known = ballot.holder().filter(|holder| inside.contains(holder));
                    let holder = known.unwrap_or_else(|| self.likely_holder());
                    self.ask_holder(me, nonce, holder);
                }
            }
        }
        self.tally.relays += u64::from(relays);
        self.note_synced(me, nonce);
    }

    fn found(&mut self, me: MemberId, nonce: Nonce, row: &Row) {
        let Some(member) = self.member(me) else { return };
        let Some(reading) = member.readings.get_mut(&nonce) else {
            return;
        };
        reading.has_found = true;
        if let Wanted::Answer(op) = reading.wanted {
            member.readings.remove(&nonce);
            self.tally.fast_reads += 1;
            self.client_found(op, row);
        }
    }

    /// A higher ballot is in the way of a read: the holder settles what stands there.
    fn ask_holder(&mut self, me: MemberId, nonce: Nonce, holder: MemberId) {
        let Some(reading) = self.member(me).and_then(|member| member.readings.remove(&nonce)) else {
            return;
        };
        match reading.wanted {
            Wanted::Answer(op) => self.client_asks_holder(op, holder),
            Wanted::Teach | Wanted::Sync(_) => self.settle_lane(me, holder, &reading.key),
        }
    }

    // Disasters.

    fn crash(&mut self, me: MemberId) {
        let broken = self.broken;
        let nonce = self.next_nonces();
        let forgets = self.plan.forgets && self.dice.chance(0.5) && self.may_lose(me);
        let backs_up = self.dice.chance(0.5);
        let unsynced = self.member(me).map_or(0, |member| member.disk.unsynced());
        let kept = self.dice.below(unsynced + 1);
        let known = self.root.configs.clone();
        let Some(member) = self.member(me) else { return };
        let remembered = member.disk.mark();
        if backs_up {
            member.disk.back_up();
        }
        member.disk.crash(kept);
        if forgets {
            member.disk.restore();
        }
        member.restart(&known, nonce, broken);
        self.tally.crashes += 1;
        self.trace(|| {
            format!(
                "{me:?} crashes{}",
                if forgets { " and its disk forgets" } else { "" }
            )
        });
        if forgets {
            // It is enough once, unless nobody minds.
            self.plan.forgets = self.broken.is(Mutant::Amnesia);
            self.rejoin(me, remembered);
        }
    }

    /// Writes what a member decided by itself.
    pub(super) fn write(&mut self, me: MemberId, entry: Entry) {
        if let Some(member) = self.member(me) {
            member.disk.write(entry);
        }
    }
}
