//! One member: its acceptor, its holder, its readers, and what waits between them.

use std::collections::{BTreeMap, VecDeque};

use storage::model::MemberId;
use storage::register::{
    Acceptor, Broken, Configs, Epoch, Holder, Key, KeyRange, Mutant, Nonce, OpId, Reader, Reply, Request,
    Row, Ticket, Turn,
};

use super::disk::Disk;
use super::lane::{Outcome, Task};

/// Reads that one member has under way at a time; the oldest is given up for another.
const READINGS_MAX: usize = 8;

/// What a read is for.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// To answer this operation of a client.
    Answer(OpId),
    /// To bring everybody up to date.
    Teach,
    /// To bring this member up to date as a new voter, in this epoch.
    Sync(Epoch),
}

/// A read under way.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) reader: Reader,
    pub(super) key: Key,
    pub(super) wanted: Wanted,
    /// It has found what it teaches.
    pub(super) has_found: bool,
}

/// Rows that the holder asked for.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) lane: Key,
    pub(super) turn: Turn,
    pub(super) keys: Vec<Key>,
    pub(super) ranges: Vec<KeyRange>,
    /// Once they are read.
    pub(super) rows: Option<Vec<(Key, Row)>>,
}

/// One member of the partition, or one that may become it.
pub(super) struct Member {
    pub(super) id: MemberId,
    /// False for ever once its disk forgot something: its node is another member then.
    pub(super) is_alive: bool,
    pub(super) disk: Disk,
    pub(super) configs: Configs,
    pub(super) holder: Holder<Task, Outcome>,
    pub(super) readings: BTreeMap<Nonce, Reading>,
    /// Requests of its own holder and readers to its own acceptor, in order.
    pub(super) to_self: VecDeque<Request>,
    pub(super) loads: Vec<Load>,
    /// Which attempt of its operation was handed to the holder, and not answered yet, with which ticket.
    pub(super) submitted: BTreeMap<Ticket, u32>,
    last_ticket: Ticket,
}

impl Member {
    pub(super) fn new(id: MemberId, configs: Configs, nonce: Nonce, broken: Broken) -> Self {
        let disk = Disk::new(u8::try_from(id.0).unwrap_or_default());
        let holder = Holder::new(id, configs.clone(), disk.durable.part.promised, nonce, broken);
        Self {
            id,
            is_alive: true,
            disk,
            configs,
            holder,
            readings: BTreeMap::new(),
            to_self: VecDeque::new(),
            loads: Vec::new(),
            submitted: BTreeMap::new(),
            last_ticket: 0,
        }
    }

    /// The epoch it has adopted.
    pub(super) fn epoch(&self) -> Epoch {
        self.disk.newest.part.promised.epoch
    }

    /// Hands a request to the acceptor; returns a reply that needs no sync. `Read` is answered from what is durable.
    pub(super) fn accept(&mut self, from: MemberId, request: &Request, broken: Broken) -> Option<Reply> {
        let acceptor = Acceptor {
            me: self.id,
            configs: &self.configs,
            broken,
        };
        let dirty = broken.is(Mutant::ReplyBeforeSync);
        let state = match request {
            Request::Read { .. } if !dirty => &self.disk.durable,
            _ => &self.disk.newest,
        };
        let mut step = acceptor.step(&state.part, state, request);
        let waits = !dirty && !matches!(request, Request::Read { .. });
        let at_once = step.reply.take_if(|_| !waits);
        self.disk.take(step, from);
        at_once
    }

    /// Starts anew from what is durable.
    pub(super) fn restart(&mut self, known: &Configs, nonce: Nonce, broken: Broken) {
        let promised = self.disk.durable.part.promised;
        self.configs = Configs::default();
        for epoch in 0..=promised.epoch {
            if let Some(config) = known.get(epoch) {
                self.configs.learn(epoch, config.as_ref().clone());
            }
        }
        self.holder = Holder::new(self.id, self.configs.clone(), promised, nonce, broken);
        self.readings.clear();
        self.to_self.clear();
        self.loads.clear();
        self.submitted.clear();
    }

    /// A ticket for an attempt of an operation.
    pub(super) fn ticket(&mut self, attempt: u32) -> Ticket {
        self.last_ticket += 1;
        self.submitted.insert(self.last_ticket, attempt);
        self.last_ticket
    }

    /// Keeps a read under way; the oldest has to go where there are too many.
    pub(super) fn begin_reading(&mut self, nonce: Nonce, reading: Reading) {
        if self.readings.len() >= READINGS_MAX {
            self.readings.pop_first();
        }
        self.readings.insert(nonce, reading);
    }
}
