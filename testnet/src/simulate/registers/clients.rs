//! Clients: each asks for one thing at a time, and tries again under the same name when it hears nothing.

use storage::model::MemberId;
use storage::register::{Answer, Key, Mutant, OpId, Operation, Row};

use super::history::{Asked, Heard};
use super::lane::{Command, FIRST_UPLOAD, Outcome, Task, first_keys, object, range};
use super::member::Wanted;
use super::network::Mail;
use super::world::World;

/// Attempts of one operation.
const ATTEMPTS_MAX: u32 = 6;

/// One client.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    busy: Option<Busy>,
}

/// An operation that a client waits for.
#[derive(Clone, Copy, Debug)]
struct Busy {
    op: OpId,
    /// Its place in the history.
    asked: usize,
    task: Task,
    /// How often it was sent to a holder.
    attempts: u32,
    /// How many of these are known to have done nothing.
    refused: u32,
}

/// What was seen last in a lane, for conditions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    object: Option<u32>,
    upload: Option<u32>,
}

impl Client {
    /// Whether it may try this operation again.
    pub(super) fn waits_for(&self, op: OpId) -> bool {
        self.busy.is_some_and(|busy| busy.op == op)
    }
}

impl World {
    /// One client begins something, or loses patience.
    pub(super) fn client_acts(&mut self) {
        let index = self.dice.below(self.clients.len());
        match self.clients[index].busy {
            Some(_) if self.dice.chance(self.plan.impatience) => self.retry(index),
            Some(_) => {}
            None if self.history.asked.len() >= self.plan.operations => {}
            None if !self.dice.chance(self.plan.haste) => {}
            None => {
                let lane = self.dice.below(self.lanes.len());
                let command = self.any_command(lane);
                let by_reader = command == Command::Get && self.dice.chance(self.plan.readers);
                self.begin(index, lane, command, by_reader);
            }
        }
    }

    fn any_command(&mut self, lane: usize) -> Command {
        let seen = self.seen[lane];
        if !self.history.raised.is_empty() && self.dice.chance(0.3) {
            return Command::Inspect;
        }
        self.values += 1;
        let value = self.values;
        if self.dice.chance(self.plan.uploads) {
            let upload = seen.upload.unwrap_or(FIRST_UPLOAD);
            return match self.dice.below(8) {
                0 | 1 => {
                    let upload = FIRST_UPLOAD + value;
                    self.seen[lane].upload = Some(upload);
                    Command::Begin(upload)
                }
                2..=4 => Command::Complete(upload),
                5 | 6 => Command::Abort(upload),
                _ => Command::Inspect,
            };
        }
        match (self.dice.below(10), seen.object) {
            (0..=3, _) => Command::Get,
            (4, _) => Command::Put(value),
            (6, Some(old)) => Command::CompareAndSet(old, value),
            (5 | 6, _) => Command::PutNew(value),
            (7 | 8, _) => Command::Delete,
            _ => Command::Put(value),
        }
    }

    /// A client asks, through a reader or a holder.
    pub(super) fn begin(&mut self, index: usize, lane: usize, command: Command, by_reader: bool) {
        let op = self.next_operation();
        let behind = u64::from(self.dice.chance(self.plan.outdated));
        let task = Task {
            command,
            started: self.now,
            directory: self.directory.saturating_sub(behind),
            attempt: 0,
        };
        self.trace(|| format!("client {index} asks {op:?} {command:?} of lane {lane}"));
        self.clients[index].busy = Some(Busy {
            op,
            asked: self.history.asked.len(),
            task,
            attempts: 0,
            refused: 0,
        });
        self.history.asked.push(Asked {
            lane,
            command,
            called: self.now,
            directory: task.directory,
            heard: Heard::Nothing,
            through_holder: !by_reader,
        });
        if by_reader {
            // Any member may read, also one that is outside.
            let at = self.any_reader();
            self.read(at, self.lanes[lane].clone(), Wanted::Answer(op));
        } else {
            let to = self.likely_holder();
            self.forward(index, to);
        }
    }

    /// Often one that is behind.
    fn any_reader(&mut self) -> MemberId {
        let alive = self.members.iter().filter(|member| member.is_alive);
        let mut alive: Vec<_> = alive.map(|member| (member.epoch(), member.id)).collect();
        alive.sort();
        let index = match self.dice.chance(0.4) {
            true => 0,
            false => self.dice.below(alive.len()),
        };
        alive[index].1
    }

    pub(super) fn next_operation(&mut self) -> OpId {
        self.operations += 1;
        let mut id = [0; 16];
        id[6..10].copy_from_slice(&self.operations.to_be_bytes());
        // By a clock that is right, or behind, or ahead.
        let began = self.operations + [0, 5, 30][self.dice.below(3)];
        OpId(id).later_than(u64::from(began).max(self.newest))
    }

    /// Whom clients take for the holder.
    pub(super) fn likely_holder(&mut self) -> MemberId {
        let members: Vec<_> = self.root.members().into_iter().collect();
        let index = match self.dice.chance(self.plan.loyalty) {
            true => 0,
            false => self.dice.below(members.len()),
        };
        members[index]
    }

    fn forward(&mut self, index: usize, to: MemberId) {
        let Some(busy) = &mut self.clients[index].busy else {
            return;
        };
        busy.attempts += 1;
        busy.task.attempt = busy.attempts;
        let Busy { op, asked, task, .. } = *busy;
        let lane = self.lanes[self.history.asked[asked].lane].clone();
        let operation = self.operation(op, lane, task);
        self.send(to, to, Mail::Forward(operation));
    }

    fn operation(&mut self, id: OpId, lane: Key, command: Task) -> Operation<Task> {
        let ranges = match self.dice.chance(0.5) {
            // The other row is found to be needed, or not.
            true => Vec::new(),
            false => vec![range(&lane)],
        };
        Operation {
            id,
            is_retry: command.attempt > 1,
            keys: first_keys(&lane, command.command),
            lane,
            ranges,
            command,
        }
    }

    /// Has a holder settle both rows of a key's lane; nobody waits for the answer.
    pub(super) fn settle_lane(&mut self, me: MemberId, holder: MemberId, key: &Key) {
        let lane = self.lanes.iter().find(|lane| key.starts_with(lane));
        let Some(lane) = lane.cloned() else { return };
        let task = Task {
            command: Command::Inspect,
            started: self.now,
            directory: self.directory,
            attempt: 1,
        };
        // It changes nothing.
        let op = self.next_operation().later_than(u64::MAX);
        let operation = self.operation(op, lane, task);
        self.send(me, holder, Mail::Forward(operation));
    }

    /// Tries again, or gives up.
    pub(super) fn retry(&mut self, index: usize) {
        let Some(busy) = self.clients[index].busy else {
            return;
        };
        let through_holder = self.history.asked[busy.asked].through_holder;
        if through_holder && busy.attempts < ATTEMPTS_MAX && self.dice.chance(self.plan.retries) {
            let to = self.likely_holder();
            return self.forward(index, to);
        }
        let heard = match busy.attempts == busy.refused {
            true => Heard::Failed,
            false => Heard::Nothing,
        };
        self.finish(index, heard);
    }

    fn finish(&mut self, index: usize, heard: Heard) {
        let Some(busy) = self.clients[index].busy.take() else {
            return;
        };
        self.trace(|| format!("client {index} hears of {:?}: {heard:?}", busy.op));
        let asked = &mut self.history.asked[busy.asked];
        asked.heard = heard;
        let lane = asked.lane;
        match heard {
            Heard::Answer(_, Outcome::Object(object)) => self.seen[lane].object = object,
            Heard::Answer(_, Outcome::Both(both)) => self.seen[lane].object = both.object,
            _ => {}
        }
    }

    /// Gives up whatever any client waits for.
    pub(super) fn give_up(&mut self) {
        for index in 0..self.clients.len() {
            self.finish(index, Heard::Nothing);
        }
    }

    fn waiting_for(&self, op: OpId) -> Option<usize> {
        self.clients.iter().position(|client| client.waits_for(op))
    }

    /// A holder answers.
    pub(super) fn client_hears(&mut self, op: OpId, attempt: u32, answer: &Answer<Outcome>) {
        let Some(index) = self.waiting_for(op) else { return };
        let Some(busy) = &mut self.clients[index].busy else {
            return;
        };
        match answer {
            Answer::Done(Outcome::Refused) | Answer::NotHolder => {
                busy.refused += 1;
                self.retry(index);
            }
            // Only the last attempt leaves a mark by which those before it are refused too.
            Answer::Done(Outcome::No) if attempt < busy.attempts => {}
            Answer::Done(outcome) => self.finish(index, Heard::Answer(self.now, *outcome)),
            Answer::Unknown if self.broken.is(Mutant::UnknownAsFailed) => self.finish(index, Heard::Failed),
            Answer::Unknown => self.retry(index),
            Answer::Forgotten { newest } if busy.attempts == busy.refused + 1 => {
                let newest = *newest;
                self.rename(index, newest);
            }
            Answer::Forgotten { .. } => self.finish(index, Heard::Nothing),
        }
    }

    /// Nothing was done under the name of an operation, nor will be: a client makes it again under another.
    fn rename(&mut self, index: usize, newest: u64) {
        // Often the gateway of some other client learns nothing of it.
        if self.dice.chance(0.5) {
            self.newest = self.newest.max(newest);
        }
        let op = self.next_operation().later_than(newest);
        if let Some(busy) = &mut self.clients[index].busy {
            (busy.op, busy.attempts, busy.refused) = (op, 0, 0);
        }
        let to = self.likely_holder();
        self.forward(index, to);
    }

    /// A reader has found a row.
    pub(super) fn client_found(&mut self, op: OpId, row: &Row) {
        if let Some(index) = self.waiting_for(op) {
            self.finish(index, Heard::Answer(self.now, Outcome::Object(object(row))));
        }
    }

    /// A reader could not tell.
    pub(super) fn client_asks_holder(&mut self, op: OpId, holder: MemberId) {
        if let Some(index) = self.waiting_for(op) {
            self.forward(index, holder);
        }
    }
}
