//! The holder: the one member that at most times decides what is written in a partition.
//!
//! Any member may try: it makes a ballot above all it has seen and asks everybody to promise it. With the promises of a
//! quorum it is the holder until somebody makes a higher one; there is no lease and no clock. It decides the operations of
//! one *lane* (the rows of one object key) one at a time, lanes in parallel.
//!
//! How an operation goes:
//! 1. **Load**: the rows it names, as they stand on this member.
//! 2. **Touch**: a row that this member may have missed is asked of everybody again; of the answers of a quorum the newest
//!    counts. A row written under this very ballot needs no touch, nor does one in a range that was *covered*: whose stamps
//!    a quorum has told after it promised this ballot, and of which none was newer than here. What an operation needs a range
//!    of is covered page by page; everything is, once a quorum has told all it has (DESIGN.md section 4, `Prepare *`).
//! 3. **Decide**: what the operation means is not known here; whoever drives the holder decides it, purely.
//! 4. **Confirm**: rows that the result relies on without writing them are accepted by a quorum once more, so that no older
//!    attempt that reached but a few members can become the newest afterwards.
//! 5. **Write**: stage after stage; the writes of one stage at once.
//! 6. **Answer**.
//!
//! Sans-io: [`Holder::step`] takes an event and returns effects.

mod collect;
mod lane;
mod promise;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use collect::Collection;
use lane::Lane;
use promise::{Attempt, Knowledge, Raising};
use serde::{Deserialize, Serialize};

use super::mutant::Broken;
use super::{
    Ballot, Config, Configs, Epoch, Fences, Key, KeyRange, Known, Mutant, Nonce, OpId, Reply, Request, Row,
    Stamp, Value,
};
use crate::model::MemberId;

/// Operations that may wait in one lane.
pub const LANE_MAX: usize = 1024;

/// Ties rows and decisions to the question they answer: what comes late, after its operation was given up, is not taken for
/// the next one's.
pub type Turn = u64;

/// Tells one attempt of an operation from all others that were ever submitted to the same holder: what came of one says nothing
/// of another that waits behind it. Whoever submits it makes it.
pub type Ticket = u64;

/// What a client wants done to the rows of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation<C> {
    /// Its name; a retry has the same.
    pub id: OpId,
    /// Whether there were attempts before: where this one is refused, it is refused for good.
    pub is_retry: bool,
    /// Operations of one lane are decided one after another.
    pub lane: Key,
    /// Rows in which attempts of it look for one another; what else it needs, its decision asks for. That a row which is not
    /// among these remembers it tells nothing: it may have been written before the one that decides, or outlive that one.
    pub keys: Vec<Key>,
    /// Ranges of rows it needs.
    pub ranges: Vec<KeyRange>,
    /// What it means; opaque here.
    pub command: C,
}

/// One row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which register.
    pub key: Key,
    /// `None` leaves a tombstone.
    pub value: Option<Value>,
}

/// What an operation comes to, given the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<O> {
    /// More rows are needed to tell.
    Need {
        /// Further rows.
        keys: Vec<Key>,
        /// Further ranges.
        ranges: Vec<KeyRange>,
    },
    /// This is to be written, in stages: one begins when the one before is chosen.
    Commit {
        /// May be none.
        stages: Vec<Vec<Change>>,
        /// How many stages are chosen before the client is told. Those behind tidy up.
        told_after: usize,
        /// Rows that were read and not written, and on which the outcome depends.
        relies_on: Vec<Key>,
        /// What to answer; opaque here.
        outcome: O,
    },
    /// Nothing is to be changed, now or by any earlier attempt that still waits somewhere: the row remembers that the
    /// operation was refused. For a retry that fails on a condition (rule 4).
    Refuse {
        /// The row in which attempts of this operation look for one another.
        key: Key,
        /// As in a commit.
        relies_on: Vec<Key>,
        /// As in a commit.
        outcome: O,
    },
}

/// The rows an operation is decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Every row asked for by name, and those of the ranges. Tombstones are among them. Shared with the holder: a range may
    /// have thousands.
    pub rows: Arc<BTreeMap<Key, Row>>,
    /// The ranges asked for.
    pub ranges: Vec<KeyRange>,
    /// Below these lines the operation is to be refused.
    pub fences: Fences,
}

impl Loaded {
    /// What came of an earlier attempt of the operation in this row, if it is remembered. An operation that changes several
    /// rows may have changed one and not yet another.
    pub fn remembers(&self, key: &Key, op: OpId) -> Option<Known> {
        self.rows.get(key)?.content.remembers(op)
    }
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer<O> {
    /// It was decided so, and that stands.
    Done(O),
    /// It was not decided: nothing of it is written, nor ever will be. Try whoever holds the partition.
    NotHolder,
    /// Whether an attempt of it was done is forgotten. It is not done now, nor will this attempt ever be.
    Forgotten {
        /// What begins later, by its name, is done.
        newest: u64,
    },
    /// Some of it may be written, now or later. Never told to a client as a failure: try again under the same name.
    Unknown,
}

/// What happens to a holder.
#[derive(Clone, Debug)]
pub enum Event<C, O> {
    /// A client wants something.
    Submit(Operation<C>, Ticket),
    /// Rows as they stand on this member now, in answer to [`Effect::Load`].
    Loaded {
        /// Whose.
        lane: Key,
        /// As in the effect.
        turn: Turn,
        /// Of every key and range asked for.
        rows: BTreeMap<Key, Row>,
    },
    /// What the operation comes to, in answer to [`Effect::Decide`].
    Decided {
        /// Whose.
        lane: Key,
        /// As in the effect.
        turn: Turn,
        /// What.
        decision: Decision<O>,
    },
    /// An acceptor answered, this member's own among them.
    Reply {
        /// Which.
        from: MemberId,
        /// What.
        reply: Reply,
    },
    /// In answer to [`Effect::Compare`].
    Compared {
        /// Whose heads these were.
        from: MemberId,
        /// As in the effect.
        nonce: Nonce,
        /// Keys of which this member has an older row than was told.
        behind: Vec<Key>,
        /// As in the effect.
        next: Option<KeyRange>,
    },
    /// A member that had promised this ballot told the stamps of everything it has, afterwards.
    ToldAll {
        /// Who.
        from: MemberId,
        /// What it had promised before it looked, and nothing higher.
        ballot: Ballot,
        /// Keys of which this member has an older row than was told.
        behind: Vec<Key>,
    },
    /// Answers are overdue: ask again.
    Resend,
    /// This member has adopted an epoch, in this very turn: a holder that goes on under an older one than its acceptor would,
    /// alone in its configuration, answer from rows of somebody else.
    Adopted(Epoch),
    /// These tombstones may be forgotten if all members have them.
    Collect {
        /// As they stand here.
        tombstones: Vec<(Key, Stamp)>,
        /// The last of what they remember, or have forgotten, began then: [`Content::newest`](super::Content::newest).
        newest: u64,
    },
    /// Fences are to be raised.
    Raise(Fences),
    /// Give up holding.
    StepDown,
}

/// What a holder wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<C, O> {
    /// Send to a member, or hand to this member's own acceptor.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        request: Request,
    },
    /// Read these of this member's own rows, newest state, and report [`Event::Loaded`].
    Load {
        /// For whom.
        lane: Key,
        /// To be repeated.
        turn: Turn,
        /// Rows.
        keys: Vec<Key>,
        /// Ranges.
        ranges: Vec<KeyRange>,
    },
    /// Decide the operation and report [`Event::Decided`].
    Decide {
        /// For whom.
        lane: Key,
        /// To be repeated.
        turn: Turn,
        /// The operation.
        operation: Arc<Operation<C>>,
        /// The rows it named.
        loaded: Loaded,
    },
    /// Compare these stamps with this member's own rows and report [`Event::Compared`].
    Compare {
        /// Who told them.
        from: MemberId,
        /// To be repeated.
        nonce: Nonce,
        /// Keys and stamps.
        heads: Vec<(Key, Stamp)>,
        /// To be repeated.
        next: Option<KeyRange>,
    },
    /// Tell the client.
    Answer {
        /// Of which operation.
        op: OpId,
        /// Which attempt.
        ticket: Ticket,
        /// What became of it.
        answer: Answer<O>,
    },
    /// All fences are at least so high at a quorum, and nothing from below them is still being written by this holder.
    Raised(Fences),
    /// A tombstone was dropped, as far as this holder can tell.
    Dropped(Key),
}

/// One member as the holder of one partition, or as one that may become it.
#[derive(Clone, Debug)]
pub struct Holder<C, O> {
    me: MemberId,
    broken: Broken,
    configs: Configs,
    /// The epoch this member has adopted.
    epoch: Epoch,
    /// The highest round seen in any ballot.
    round: u32,
    nonce: Nonce,
    turn: Turn,
    attempt: Option<Attempt>,
    /// What is known of rows beyond this member's own, under the present ballot.
    knowledge: Knowledge,
    fences: Fences,
    /// Whether fences are to be raised as soon as this member holds the partition.
    raise_wanted: bool,
    lanes: BTreeMap<Key, Lane<C, O>>,
    /// Which lane waits for rows of others, by the nonce of the question.
    touching: BTreeMap<Nonce, Key>,
    /// Which lane has a content on its way to this register.
    proposing: BTreeMap<Key, Key>,
    collection: Option<Collection>,
    effects: Vec<Effect<C, O>>,
}

impl<C: Clone, O: Clone> Holder<C, O> {
    /// A member that holds nothing. `promised` is what its acceptor has promised; `nonce` is one that it never used.
    pub fn new(me: MemberId, configs: Configs, promised: Ballot, nonce: Nonce, broken: Broken) -> Self {
        Self {
            me,
            broken,
            configs,
            epoch: promised.epoch,
            round: promised.round,
            nonce,
            turn: 0,
            attempt: None,
            knowledge: Knowledge::default(),
            fences: Fences::default(),
            raise_wanted: false,
            lanes: BTreeMap::new(),
            touching: BTreeMap::new(),
            proposing: BTreeMap::new(),
            collection: None,
            effects: Vec::new(),
        }
    }

    /// The ballot under which this member holds the partition, if it does.
    pub fn ballot(&self) -> Option<Ballot> {
        self.attempt
            .as_ref()
            .filter(|attempt| attempt.is_holder)
            .map(|attempt| attempt.ballot)
    }

    /// The ballot under which this member holds the partition, if it has had to ask others about rows under it, and would
    /// have to ask about the next: each time, a round trip. [`Event::ToldAll`] ends that.
    pub fn uncovered(&self) -> Option<Ballot> {
        self.ballot().filter(|_| self.knowledge.is_wanting())
    }

    /// Whether a member has told all it has under the present ballot.
    pub fn was_told_all_by(&self, member: MemberId) -> bool {
        self.knowledge.was_told_all_by(member)
    }

    /// Whether tombstones are on their way out.
    pub fn is_collecting(&self) -> bool {
        self.collection.is_some()
    }

    /// Whether nothing waits for anything.
    pub fn is_idle(&self) -> bool {
        self.lanes.is_empty() && self.collection.is_none()
    }

    /// Learns of a configuration; see [`Configs::learn`].
    pub fn learn_config(&mut self, epoch: Epoch, config: Config) {
        self.configs.learn(epoch, config);
    }

    /// What follows from an event.
    pub fn step(&mut self, event: Event<C, O>) -> Vec<Effect<C, O>> {
        match event {
            Event::Submit(operation, ticket) => self.submit(operation, ticket),
            Event::Loaded { lane, turn, rows } => self.loaded(&lane, turn, rows),
            Event::Decided { lane, turn, decision } => self.decided(&lane, turn, decision),
            Event::Reply { from, reply } => self.reply(from, reply),
            Event::Compared {
                from,
                nonce,
                behind,
                next,
            } => self.compared(from, nonce, behind, next),
            Event::ToldAll { from, ballot, behind } => self.told_all(from, ballot, behind),
            Event::Resend => self.resend(),
            Event::Adopted(epoch) => self.adopted(epoch),
            Event::Collect { tombstones, newest } => self.collect(tombstones, newest),
            Event::Raise(fences) => self.raise(fences),
            Event::StepDown => self.depose(),
        }
        std::mem::take(&mut self.effects)
    }

    fn reply(&mut self, from: MemberId, reply: Reply) {
        match reply {
            Reply::Promise {
                ballot,
                rows,
                fences,
                nonce,
            } => self.promised(from, ballot, rows, fences, nonce),
            Reply::Heads {
                ballot,
                heads,
                next,
                nonce,
            } if self.ballot() == Some(ballot) => self.effects.push(Effect::Compare {
                from,
                nonce,
                heads,
                next,
            }),
            Reply::Accepted { stamp, key, nonce } => self.accepted(from, stamp, &key, nonce),
            Reply::Confirmed {
                ballot, key, stamp, ..
            } => self.confirmed(from, ballot, &key, stamp),
            Reply::Raised { ballot, fences, .. } => self.raised(from, ballot, fences),
            Reply::Refused { ballot, promised, .. } => self.refused(ballot, promised),
            // Told to readers.
            Reply::Heads { .. } | Reply::Found { .. } | Reply::Learned { .. } => {}
        }
    }

    /// Somebody promised a higher ballot: this member holds nothing any more.
    fn refused(&mut self, ballot: Ballot, promised: Ballot) {
        if promised.epoch == self.epoch {
            self.round = self.round.max(promised.round);
        }
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.ballot == ballot)
            && promised > ballot
        {
            self.depose();
        }
    }

    fn adopted(&mut self, epoch: Epoch) {
        if epoch > self.epoch {
            self.depose();
            self.epoch = epoch;
            self.round = 0;
        }
    }

    /// Ends the attempt. What was being written may yet be chosen by somebody else's takeover; the rest never will.
    fn depose(&mut self) {
        self.attempt = None;
        self.collection = None;
        self.raise_wanted = false;
        self.knowledge = Knowledge::default();
        self.touching.clear();
        self.proposing.clear();
        for (_, lane) in std::mem::take(&mut self.lanes) {
            self.effects.extend(lane.abandon());
        }
    }

    fn raise(&mut self, fences: Fences) {
        // At once, so that what is decided from now on respects them, whether or not a quorum is reached.
        self.fences = self.fences.max(fences);
        match &mut self.attempt {
            Some(attempt) if attempt.is_holder => {
                let under_way = attempt.raising.as_ref().map(|raising| raising.fences);
                if under_way != Some(self.fences) {
                    attempt.raising = Some(Raising {
                        fences: self.fences,
                        agreed: BTreeSet::new(),
                        before: self.lanes.values().filter_map(Lane::decided).collect(),
                    });
                }
                self.raise_wanted = false;
                self.send_raise();
            }
            Some(_) => self.raise_wanted = true,
            None => {
                self.raise_wanted = true;
                self.attempt();
            }
        }
    }

    fn send_raise(&mut self) {
        let Some(ballot) = self.ballot() else { return };
        let fences = self.fences;
        self.broadcast(|nonce| Request::Raise {
            ballot,
            fences,
            nonce,
        });
    }

    fn raised(&mut self, from: MemberId, ballot: Ballot, fences: Fences) {
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else {
            return;
        };
        let Some(raising) = &mut attempt.raising else {
            return;
        };
        if fences.max(raising.fences) == fences {
            raising.agreed.insert(from);
        }
        self.tell_raised();
    }

    /// An operation has ended, for better or worse.
    fn ended(&mut self, op: OpId) {
        let raising = self.attempt.as_mut().and_then(|attempt| attempt.raising.as_mut());
        if raising.is_some_and(|raising| raising.before.remove(&op)) {
            self.tell_raised();
        }
    }

    /// Tells that the fences are raised, once a quorum has them and nothing from below them is still being written.
    fn tell_raised(&mut self) {
        let Some(config) = self.config() else { return };
        let drains = !self.broken.is(Mutant::FenceWithoutDraining);
        let Some(attempt) = &mut self.attempt else { return };
        let is_raised = |raising: &mut Raising| {
            config.is_quorum(&raising.agreed) && (raising.before.is_empty() || !drains)
        };
        if let Some(raising) = attempt.raising.take_if(is_raised) {
            self.effects.push(Effect::Raised(raising.fences));
            self.fenced(raising.fences);
        }
    }

    fn resend(&mut self) {
        self.resend_promises();
        self.resend_lanes();
        self.resend_collection();
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.raising.is_some())
        {
            self.send_raise();
        }
    }

    /// The configuration of the adopted epoch.
    fn config(&self) -> Option<Arc<Config>> {
        self.configs.get(self.epoch).cloned()
    }

    fn is_sole(&self) -> bool {
        self.configs
            .get(self.epoch)
            .is_some_and(|config| config.is_sole(self.me))
    }

    fn next_nonce(&mut self) -> Nonce {
        self.nonce = self.nonce.wrapping_add(1);
        self.nonce
    }

    fn next_turn(&mut self) -> Turn {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }

    /// Asks every member of the configuration the same, and returns the nonce of the question.
    fn broadcast(&mut self, request: impl Fn(Nonce) -> Request) -> Nonce {
        let nonce = self.next_nonce();
        let members = self.config().map(|config| config.members()).unwrap_or_default();
        for to in members {
            let request = request(nonce);
            self.effects.push(Effect::Send { to, request });
        }
        nonce
    }
}
