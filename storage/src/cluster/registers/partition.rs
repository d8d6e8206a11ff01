//! One partition on one member: decides in memory, under a lock, what then becomes durable in the order it was decided.
//!
//! An acceptor's answer may leave only after what it reflects is durable. So every decision is queued for the disk while the
//! lock is held, and answers wait for their commit. Until then the newest state is kept here, above the disk.

mod accept;
mod adopt;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;
use tokio::time::Instant;

pub(super) use self::adopt::Adopted;
use super::ages::{Ages, Look};
use super::record::{self, State};
use super::rows::{Pending, Stamps, Tombstones, View};
use super::{Done, Machine, Outgoing, Task};
use crate::StoreError;
use crate::disk::{Committing, Disk, Room, RowWrite};
use crate::model::MemberId;
use crate::register::{
    Answer, Ballot, Broken, Config, Configs, Decision, Effect, Epoch, Event, Fences, Holder, Key, Loaded,
    Nonce, Operation, Part, Reply, Row, Rows as _, Stamp, Step, Ticket,
};

/// Where an operation's answer is waited for.
pub(super) type Waiter<O> = oneshot::Sender<Answer<O>>;

/// What happens to the holder of a partition.
type PartitionEvent<M> = Event<Task<<M as Machine>::Command>, Done<M>>;

/// What one partition is on this member.
pub(super) struct Partition<M: Machine> {
    number: u16,
    me: MemberId,
    disk: Disk,
    machine: Arc<M>,
    configs: Configs,
    /// The newest state, and the durable one.
    part: Part,
    durable: Part,
    /// States that are queued for the disk, with the number of the commit that carries each.
    parts: VecDeque<(u64, Part)>,
    pending: Pending,
    /// Of this partition, durable or queued.
    tombstones: Tombstones,
    ages: Ages,
    /// When somebody was told last that what it asks for may be forgotten.
    told_forgotten: Option<Instant>,
    /// Number of the last commit queued, and of the last that ended.
    queued: u64,
    ended: u64,
    /// How often a row changed, from a number on that no earlier process counted from.
    changes: u64,
    /// A commit failed: nothing is decided until all have ended and the disk was read again.
    failed: bool,
    /// Whether there is anybody else who may submit operations.
    meshed: Arc<AtomicBool>,
    holder: Holder<Task<M::Command>, Done<M>>,
    /// Each waits for what comes of one attempt. Of one operation there may be several, and what is told of one may not hold
    /// for the next: a refusal that no row remembers says nothing of an attempt behind it.
    waiters: BTreeMap<Ticket, Waiter<Done<M>>>,
    last_ticket: Ticket,
    /// Who waits for which fences; told the ballot under which they were raised.
    raisers: Vec<(Fences, oneshot::Sender<Ballot>)>,
}

/// A tombstone as it stands here.
pub(super) struct Tombstone {
    pub(super) key: Key,
    pub(super) stamp: Stamp,
    /// When the last operation began that it remembers, or has forgotten.
    pub(super) newest: u64,
}

/// What has been decided and is still to become durable.
#[derive(Default)]
struct Decided {
    writes: Vec<RowWrite>,
    /// Answers of this member's own acceptor to its own holder.
    own: Vec<Reply>,
    /// Whether some answer waits for a commit although it writes nothing.
    waits: bool,
    /// Stamps of rows that were loaded under the same lock: until it is given up, nobody writes them to the disk.
    known: Stamps,
}

/// A commit under way: when it is durable, the answers that waited for it go on.
pub(super) struct Commit {
    committing: Committing,
    number: u64,
    own: Vec<Reply>,
}

impl Commit {
    /// Waits for the disk.
    pub(super) async fn durable(self) -> Ended {
        Ended {
            result: self.committing.durable().await.map_err(StoreError::from),
            number: self.number,
            own: self.own,
        }
    }
}

/// A commit that is over.
pub(super) struct Ended {
    pub(super) result: Result<(), StoreError>,
    number: u64,
    own: Vec<Reply>,
}

/// What follows from events, beside what was queued for the disk.
pub(super) struct Fed {
    pub(super) commit: Option<Commit>,
    pub(super) outgoing: Vec<Outgoing>,
    /// What could not be done. What was decided before is to become durable all the same, and its end to be noted.
    pub(super) failure: Option<Box<StoreError>>,
}

impl<M: Machine> Partition<M> {
    /// The partition as its disk remembers it, or as it begins under `first`.
    pub(super) fn load(
        (number, me): (u16, MemberId),
        disk: &Disk,
        tombstones: Tombstones,
        machine: &Arc<M>,
        first: &Config,
        (nonce, meshed): (Nonce, Arc<AtomicBool>),
    ) -> Result<Self, StoreError> {
        let state = match disk.row(&record::state_key(number))? {
            Some(value) => record::state(&value)?,
            None => State {
                part: Part::NEW,
                configs: Configs::first(first.clone()),
            },
        };
        let holder = Holder::new(
            me,
            state.configs.clone(),
            state.part.promised,
            nonce,
            Broken::NOTHING,
        );
        Ok(Self {
            number,
            me,
            disk: disk.clone(),
            machine: machine.clone(),
            configs: state.configs,
            part: state.part,
            durable: state.part,
            parts: VecDeque::new(),
            pending: Pending::new(),
            tombstones,
            ages: Ages::default(),
            told_forgotten: None,
            queued: 0,
            ended: 0,
            changes: u64::from_le_bytes(crate::seal::random()),
            failed: false,
            meshed,
            holder,
            waiters: BTreeMap::new(),
            last_ticket: 0,
            raisers: Vec::new(),
        })
    }

    /// The configuration this member has adopted.
    pub(super) fn config(&self) -> Option<Arc<Config>> {
        self.configs.get(self.part.promised.epoch).cloned()
    }

    /// Whether this member decides alone under the configuration it has adopted.
    pub(super) fn is_sole(&self) -> bool {
        let config = self.configs.get(self.part.promised.epoch);
        config.is_some_and(|config| config.is_sole(self.me))
    }

    /// The configurations it knows.
    pub(super) fn configs(&self) -> &Configs {
        &self.configs
    }

    /// The epoch it has adopted.
    pub(super) fn epoch(&self) -> Epoch {
        self.part.promised.epoch
    }

    /// The epoch it has adopted durably.
    pub(super) fn durable_epoch(&self) -> Epoch {
        self.durable.promised.epoch
    }

    /// The highest ballot it has promised durably: whatever it accepted below that is durable too.
    pub(super) fn durable_promise(&self) -> Ballot {
        self.durable.promised
    }

    /// See [`Holder::uncovered`]. Who has promised another ballot meanwhile holds nothing, though nobody may have told it.
    pub(super) fn uncovered(&self) -> Option<Ballot> {
        self.holder
            .uncovered()
            .filter(|ballot| *ballot == self.part.promised)
    }

    /// Whether a member has told all it has, in vain so far: others have to.
    pub(super) fn was_told_all_by(&self, member: MemberId) -> bool {
        self.holder.was_told_all_by(member)
    }

    /// How often a row changed here, if this member is one of those who vote in the epoch of a ballot, while none are
    /// changing, and has promised this ballot and no other: it takes nothing from below it any more, nothing has come from
    /// above it, and all it ever took is durable.
    pub(super) fn changes_under(&self, ballot: Ballot) -> Option<u64> {
        let config = self.configs.get(ballot.epoch);
        let votes = config.is_some_and(|config| config.new.is_none() && config.members().contains(&self.me));
        let is_under = votes && self.part.promised == ballot && !self.is_behind();
        is_under.then_some(self.changes)
    }

    /// The ballot under which this member holds the partition, if it does.
    pub(super) fn ballot(&self) -> Option<Ballot> {
        self.holder.ballot()
    }

    /// Whether tombstones are on their way out.
    pub(super) fn is_forgetting(&self) -> bool {
        self.holder.is_collecting()
    }

    /// Whether nobody tried again, for so long before this look, what may be forgotten: while somebody does, no more is.
    pub(super) fn may_forget(&self, look: Look) -> bool {
        let is_over = |told: Instant| look.at.duration_since(told) >= look.age;
        self.told_forgotten.is_none_or(is_over)
    }

    /// Those of some rows that are tombstones here, and were when somebody looked so long before this look.
    pub(super) fn ripe_tombstones(&mut self, keys: &[Key], look: Look) -> Result<Vec<Tombstone>, StoreError> {
        let view = self.newest();
        let mut tombstones = Vec::new();
        for key in keys {
            let row = view.row(key);
            if row.content.value.is_none() && !row.stamp.is_zero() {
                tombstones.push(Tombstone {
                    key: key.clone(),
                    stamp: row.stamp,
                    newest: row.content.newest(),
                });
            }
        }
        view.failure()?;
        if let Some(newest) = tombstones.iter().map(|tombstone| tombstone.stamp).max() {
            let ripe = self.ages.note(newest, look);
            tombstones.retain(|tombstone| tombstone.stamp <= ripe);
        }
        Ok(tombstones)
    }

    /// The fences that this member has, perhaps not durably.
    #[cfg(test)]
    pub(super) fn fences(&self) -> Fences {
        self.part.fences
    }

    /// Who holds the partition, as far as this member knows: whoever it promised last, and what.
    pub(super) fn believed_holder(&self) -> Option<(MemberId, Ballot)> {
        let promised = self.part.promised;
        Some((promised.holder()?, promised))
    }

    /// Whether this member holds the partition, as far as it knows, or is about to.
    pub(super) fn is_held(&self) -> bool {
        self.part.promised.holder() == Some(self.me)
    }

    /// Submits an operation; its answer goes to `waiter`.
    pub(super) fn submit(
        &mut self,
        operation: Operation<Task<M::Command>>,
        waiter: Waiter<Done<M>>,
        room: Room,
    ) -> Result<Fed, StoreError> {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.waiters.insert(ticket, waiter);
        let fed = self.feed([Event::Submit(operation, ticket)], room);
        if fed.is_err() {
            // It may not even have reached the holder, which answers everybody when it has to stop.
            self.waiters.remove(&ticket);
        }
        fed
    }

    /// Feeds the holder, and all that follows at once.
    pub(super) fn feed(
        &mut self,
        events: impl IntoIterator<Item = PartitionEvent<M>>,
        room: Room,
    ) -> Result<Fed, StoreError> {
        if self.failed {
            return Err(StoreError::Unavailable);
        }
        let mut decided = Decided::default();
        let mut outgoing = Vec::new();
        let mut events: VecDeque<_> = events.into_iter().collect();
        while let Some(event) = events.pop_front() {
            for effect in self.holder.step(event) {
                let next = self.effect(effect, &mut decided, &mut outgoing);
                match next {
                    Ok(next) => events.extend(next),
                    Err(error) => {
                        // What is decided so far still becomes durable; the rest waits for a retry.
                        let stopped = self.holder.step(Event::StepDown);
                        self.answer_all(stopped);
                        return Ok(Fed {
                            commit: self.commit(decided, room)?,
                            outgoing: Vec::new(),
                            failure: Some(Box::new(error)),
                        });
                    }
                }
            }
        }
        let commit = self.commit(decided, room)?;
        Ok(Fed {
            commit,
            outgoing,
            failure: None,
        })
    }

    /// Goes on after a commit: its answers reach the holder.
    pub(super) fn ended(&mut self, ended: Ended, room: Room) -> Result<Fed, StoreError> {
        self.note_end(ended.number, ended.result.is_ok())?;
        ended.result?;
        let from = self.me;
        let replies = ended.own.into_iter().map(|reply| Event::Reply { from, reply });
        self.feed(replies, room)
    }

    /// Notes the end of a commit whose replies went to another member.
    pub(super) fn note_ended(&mut self, ended: Ended) -> Result<(), StoreError> {
        self.note_end(ended.number, ended.result.is_ok())?;
        ended.result
    }

    /// What one effect leads to at once.
    fn effect(
        &mut self,
        effect: Effect<Task<M::Command>, Done<M>>,
        decided: &mut Decided,
        outgoing: &mut Vec<Outgoing>,
    ) -> Result<Option<PartitionEvent<M>>, StoreError> {
        let from = self.me;
        match effect {
            Effect::Send { to, request } if to == from => {
                let step = self.accept(&request, &decided.known)?;
                let reply = self.apply(step, decided);
                if self.is_behind() {
                    decided.waits |= reply.is_some();
                    decided.own.extend(reply);
                    return Ok(None);
                }
                Ok(reply.map(|reply| Event::Reply { from, reply }))
            }
            Effect::Send { to, request } => {
                let partition = self.number;
                outgoing.push(Outgoing {
                    partition,
                    to,
                    request,
                });
                Ok(None)
            }
            Effect::Load {
                lane,
                turn,
                keys,
                ranges,
            } => {
                let view = self.newest();
                let mut rows = view.in_ranges(&ranges);
                for key in keys {
                    let row = view.row(&key);
                    decided.known.insert(key.clone(), row.stamp);
                    rows.insert(key, row);
                }
                view.failure()?;
                Ok(Some(Event::Loaded { lane, turn, rows }))
            }
            Effect::Decide {
                lane,
                turn,
                operation,
                loaded,
            } => {
                let decision = self.decide(&operation, &loaded);
                Ok(Some(Event::Decided { lane, turn, decision }))
            }
            Effect::Compare {
                from,
                nonce,
                heads,
                next,
            } => {
                let view = self.newest();
                let behind = heads.into_iter().filter(|(key, stamp)| view.stamp(key) < *stamp);
                let behind = behind.map(|(key, _)| key).collect();
                view.failure()?;
                Ok(Some(Event::Compared {
                    from,
                    nonce,
                    behind,
                    next,
                }))
            }
            Effect::Answer { ticket, answer, .. } => {
                if matches!(answer, Answer::Forgotten { .. }) {
                    self.told_forgotten = Some(Instant::now());
                }
                self.answer(ticket, answer);
                Ok(None)
            }
            Effect::Raised(fences) => {
                self.tell_raised(fences);
                Ok(None)
            }
            Effect::Dropped(_) => Ok(None),
        }
    }

    fn decide(&self, operation: &Operation<Task<M::Command>>, loaded: &Loaded) -> Decision<Done<M>> {
        let command = match &operation.command {
            Task::Command(command) => command,
            Task::Confirm => {
                return Decision::Commit {
                    stages: Vec::new(),
                    told_after: 0,
                    relies_on: operation.keys.clone(),
                    outcome: None,
                };
            }
        };
        match self
            .machine
            .decide((operation.id, operation.is_retry), command, loaded)
        {
            Decision::Need { keys, ranges } => Decision::Need { keys, ranges },
            Decision::Refuse {
                key,
                relies_on,
                outcome,
            } => Decision::Refuse {
                key,
                relies_on,
                outcome: Some(outcome),
            },
            Decision::Commit {
                stages,
                told_after,
                relies_on,
                outcome,
            } => Decision::Commit {
                stages,
                told_after,
                relies_on,
                outcome: Some(outcome),
            },
        }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer<Done<M>>) {
        if let Some(waiter) = self.waiters.remove(&ticket) {
            // Whoever gave up waiting needs no answer.
            drop(waiter.send(answer));
        }
    }

    /// Lets somebody wait until a quorum has these fences.
    pub(super) fn wait_for_raise(&mut self, fences: Fences, waiter: oneshot::Sender<Ballot>) {
        self.raisers.retain(|(_, waiter)| !waiter.is_closed());
        self.raisers.push((fences, waiter));
    }

    fn tell_raised(&mut self, raised: Fences) {
        let Some(ballot) = self.holder.ballot() else {
            return;
        };
        let (reached, waiting) = std::mem::take(&mut self.raisers)
            .into_iter()
            .partition(|(wanted, _)| wanted.max(raised) == raised);
        self.raisers = waiting;
        for (_, waiter) in reached {
            // Whoever gave up waiting needs no answer.
            let _ = waiter.send(ballot);
        }
    }

    /// The row as it is durable here.
    pub(super) fn durable_row(&self, key: &Key) -> Result<Row, StoreError> {
        let view = self.view(None);
        let row = view.row(key);
        view.failure()?;
        Ok(row)
    }

    /// The stamp of a row as it is durable here; zero where there is none.
    pub(super) fn durable_stamp(&self, key: &Key) -> Result<Stamp, StoreError> {
        Ok(self.durable_row(key)?.stamp)
    }

    fn answer_all(&mut self, effects: Vec<Effect<Task<M::Command>, Done<M>>>) {
        for effect in effects {
            if let Effect::Answer { ticket, answer, .. } = effect {
                self.answer(ticket, answer);
            }
        }
    }

    /// Takes a step: the newest state is here at once, and its writes are to be queued.
    fn apply(&mut self, step: Step, decided: &mut Decided) -> Option<Reply> {
        let number = self.queued + 1;
        if let Some(part) = step.part {
            // Accepting may promise: the row itself carries the ballot, and so proves the promise after a crash only for
            // its own key. The state is written too.
            self.part = part;
            self.parts.push_back((number, part));
            decided.writes.push(self.put_state());
        }
        // That what stands is chosen changes nothing about it.
        let marks = |(key, row): &(Key, Row)| row.chosen && self.newest().stamp(key) == row.stamp;
        if step.forget.is_some() || step.set.as_ref().is_some_and(|set| !marks(set)) {
            self.changes = self.changes.wrapping_add(1);
        }
        if let Some((key, row)) = step.set {
            self.put_row(&key, &row, &mut decided.writes);
            self.pending.insert(key, (number, row));
        }
        if let Some(key) = step.forget {
            decided.writes.push(RowWrite::Drop {
                key: record::tombstone_key(&key),
            });
            self.pending.insert(key, (number, Row::absent()));
        }
        step.reply
    }

    fn put_row(&mut self, key: &Key, row: &Row, writes: &mut Vec<RowWrite>) {
        // A tombstone hides older values elsewhere, and remembers what was done to the row, for gateways that try again. A
        // member that is alone in the world has neither. It may have had both once, and left tombstones.
        let is_alone = self.is_sole() && !self.meshed.load(Ordering::Relaxed);
        if row.content.value.is_none() {
            writes.push(RowWrite::Drop { key: key.to_vec() });
            if !is_alone {
                self.tombstones = Tombstones::Maybe;
                return writes.push(record::put(key, row));
            }
        }
        // Below a row an older one hides nothing, and would be told as if it were the row.
        if self.tombstones == Tombstones::Maybe {
            let key = record::tombstone_key(key);
            writes.push(RowWrite::Drop { key });
        }
        if row.content.value.is_some() {
            writes.push(record::put(key, row));
        }
    }

    fn put_state(&self) -> RowWrite {
        record::put_state(
            self.number,
            &State {
                part: self.part,
                configs: self.configs.clone(),
            },
        )
    }

    fn newest(&self) -> View<'_> {
        self.view(Some(&self.pending))
    }

    fn view<'a>(&'a self, pending: Option<&'a Pending>) -> View<'a> {
        View::new(&self.disk, pending, self.tombstones, self.number, M::partition_of)
    }

    /// Whether the disk is behind what was decided.
    fn is_behind(&self) -> bool {
        !self.pending.is_empty() || self.part != self.durable
    }

    /// Queues what was decided, in the order of the lock.
    fn commit(&mut self, mut decided: Decided, room: Room) -> Result<Option<Commit>, StoreError> {
        if decided.writes.is_empty() {
            if !decided.waits {
                return Ok(None);
            }
            // Behind what it waits for, something must be written for it to wait for.
            decided.writes.push(self.put_state());
        }
        let committing = match self.disk.enqueue(room, decided.writes) {
            Ok(committing) => committing,
            Err(error) => {
                self.fail()?;
                return Err(error.into());
            }
        };
        self.queued += 1;
        Ok(Some(Commit {
            committing,
            number: self.queued,
            own: decided.own,
        }))
    }

    fn note_end(&mut self, number: u64, succeeded: bool) -> Result<(), StoreError> {
        self.ended += 1;
        if !succeeded {
            return self.fail();
        }
        // Commits become durable in the order they were queued.
        self.pending.retain(|_, (queued, _)| *queued > number);
        while let Some((_, part)) = self.parts.pop_front_if(|(queued, _)| *queued <= number) {
            self.durable = part;
        }
        if self.failed {
            return self.recover();
        }
        Ok(())
    }

    /// Something that was decided is not on disk: the state here is not the disk's. Nothing is decided until it is again.
    fn fail(&mut self) -> Result<(), StoreError> {
        self.failed = true;
        let stopped = self.holder.step(Event::StepDown);
        self.answer_all(stopped);
        self.recover()
    }

    fn recover(&mut self) -> Result<(), StoreError> {
        if self.ended < self.queued {
            return Ok(());
        }
        if let Some(value) = self.disk.row(&record::state_key(self.number))? {
            self.part = record::state(&value)?.part;
        } else {
            self.part = Part::NEW;
        }
        self.durable = self.part;
        self.parts.clear();
        self.pending.clear();
        self.failed = false;
        Ok(())
    }
}
