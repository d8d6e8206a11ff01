//! Operations of one lane, decided one after another: load, touch, decide, confirm, write, answer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::{
    Answer, Ballot, Change, Config, Decision, Effect, Holder, Key, KeyRange, LANE_MAX, Loaded, Mutant, Nonce,
    OpId, Operation, Request, Row, Stamp, Ticket, Turn,
};
use crate::model::MemberId;
use crate::register::Content;

/// The operations of one lane.
#[derive(Clone, Debug)]
pub(super) struct Lane<C, O> {
    /// Boxed, so that a map of lanes is small: most hold one.
    running: Option<Box<Running<C, O>>>,
    waiting: VecDeque<(Operation<C>, Ticket)>,
}

/// The operation of a lane that is being decided and written.
#[derive(Clone, Debug)]
struct Running<C, O> {
    operation: Arc<Operation<C>>,
    ticket: Ticket,
    /// Everything it asked for so far.
    keys: BTreeSet<Key>,
    ranges: Vec<KeyRange>,
    phase: Phase<O>,
    rows: Arc<BTreeMap<Key, Row>>,
    /// The rows before its own writes; kept only for [`Mutant::IgnoreOutstanding`].
    base: Option<Arc<BTreeMap<Key, Row>>>,
}

impl<C, O> Running<C, O> {
    fn new((operation, ticket): (Operation<C>, Ticket)) -> Self {
        Self {
            ticket,
            keys: operation.keys.iter().cloned().collect(),
            ranges: operation.ranges.clone(),
            operation: Arc::new(operation),
            phase: Phase::Covering,
            rows: Arc::default(),
            base: None,
        }
    }

    fn answer(&self, answer: Answer<O>) -> Effect<C, O> {
        Effect::Answer {
            op: self.operation.id,
            ticket: self.ticket,
            answer,
        }
    }
}

#[derive(Clone, Debug)]
enum Phase<O> {
    /// Waits for a promise, or for ranges to be covered.
    Covering,
    /// Waits for this member's own rows.
    Loading(Turn),
    /// Waits for rows of others.
    Touching {
        nonce: Nonce,
        wanted: Vec<Key>,
        told: BTreeMap<MemberId, BTreeMap<Key, Row>>,
    },
    /// Waits for the decision.
    Deciding(Turn),
    /// Waits for quorums, first to confirm, then to write, stage after stage.
    Proposing {
        outstanding: BTreeMap<Key, Proposal>,
        /// Nothing is written yet: only what stood before is being confirmed.
        confirming: bool,
        rest: VecDeque<Vec<Write>>,
        /// After how many more stages the client is told what; nothing once it has been.
        untold: Option<(usize, O)>,
    },
}

/// What a stage does to one row.
#[derive(Clone, Debug)]
enum Write {
    Change(Change),
    /// Remembers there that the operation was refused.
    Refusal(Key),
}

/// A content on its way to a quorum.
#[derive(Clone, Debug)]
struct Proposal {
    stamp: Stamp,
    content: Content,
    accepted: BTreeSet<MemberId>,
    /// Acknowledgements of earlier questions say nothing about now.
    since: Nonce,
}

impl<C, O> Lane<C, O> {
    fn new(submitted: (Operation<C>, Ticket)) -> Self {
        Self {
            running: None,
            waiting: VecDeque::from([submitted]),
        }
    }

    /// Gives up, and says what that means for each operation.
    pub(super) fn abandon(self) -> Vec<Effect<C, O>> {
        let waiting = self.waiting.into_iter();
        let mut answers: Vec<_> = waiting
            .map(|(operation, ticket)| Effect::Answer {
                op: operation.id,
                ticket,
                answer: Answer::NotHolder,
            })
            .collect();
        if let Some(running) = self.running {
            let written = matches!(
                running.phase,
                Phase::Proposing {
                    confirming: false,
                    ..
                }
            );
            let answer = if written {
                Answer::Unknown
            } else {
                Answer::NotHolder
            };
            answers.push(running.answer(answer));
        }
        answers
    }

    /// Whether an operation has begun.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether this member's own row of a key is on its way to the holder.
    pub(super) fn is_loading(&self, key: &Key) -> bool {
        self.running.as_ref().is_some_and(|running| {
            let is_asked =
                running.keys.contains(key) || running.ranges.iter().any(|range| range.contains(key));
            matches!(running.phase, Phase::Loading(_)) && is_asked
        })
    }

    /// The operation that has been decided, or is being decided now, and has not ended.
    pub(super) fn decided(&self) -> Option<OpId> {
        let is_decided = |phase: &Phase<O>| matches!(phase, Phase::Deciding(_) | Phase::Proposing { .. });
        let running = self.running.as_ref().filter(|running| is_decided(&running.phase));
        running.map(|running| running.operation.id)
    }

    /// Whether something is on its way to a quorum.
    pub(super) fn is_proposing(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| matches!(running.phase, Phase::Proposing { .. }))
    }
}

impl<C: Clone, O: Clone> Holder<C, O> {
    pub(super) fn submit(&mut self, operation: Operation<C>, ticket: Ticket) {
        let key = operation.lane.clone();
        // Who is outside would wait for its own promise for ever, and depose those inside meanwhile.
        let is_member = |config: Arc<Config>| config.members().contains(&self.me);
        if self.attempt.is_none() && !self.config().is_some_and(is_member) {
            return self.turn_away(&operation, ticket);
        }
        match self.lanes.get_mut(&key) {
            Some(lane) if lane.waiting.len() >= LANE_MAX => return self.turn_away(&operation, ticket),
            Some(lane) => lane.waiting.push_back((operation, ticket)),
            None => {
                self.lanes.insert(key.clone(), Lane::new((operation, ticket)));
            }
        }
        if self.attempt.is_none() {
            self.attempt();
        }
        self.start(&key);
    }

    fn turn_away(&mut self, operation: &Operation<C>, ticket: Ticket) {
        let (op, answer) = (operation.id, Answer::NotHolder);
        self.effects.push(Effect::Answer { op, ticket, answer });
    }

    /// Goes on with every lane that waited for a promise or for a range.
    pub(super) fn start_lanes(&mut self) {
        for key in self.lanes.keys().cloned().collect::<Vec<_>>() {
            self.start(&key);
        }
    }

    /// Begins the next operation of a lane, or goes on with one that waited for ranges.
    fn start(&mut self, key: &Key) {
        if self.ballot().is_none() {
            return;
        }
        // What runs comes to its end first: the ballot changes only then.
        let is_changing = self.is_changing_ballot();
        let eager = self.broken.is(Mutant::IgnoreOutstanding);
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let next_may_begin = match &lane.running {
            None if is_changing => return,
            None => true,
            Some(running) if matches!(running.phase, Phase::Covering) => false,
            Some(_) if eager && lane.is_proposing() => return self.start_eagerly(key),
            Some(_) => return,
        };
        if next_may_begin {
            let Some(next) = lane.waiting.pop_front() else {
                self.lanes.remove(key);
                return;
            };
            lane.running = Some(Box::new(Running::new(next)));
        }
        self.load(key);
    }

    /// The rule that one operation of a lane is outstanding at a time, broken: the next is decided on what stood before.
    fn start_eagerly(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        let Some(base) = lane.running.as_ref().and_then(|running| running.base.clone()) else {
            return;
        };
        let (Some(running), Some(next)) = (lane.running.take(), lane.waiting.pop_front()) else {
            return;
        };
        lane.running = Some(Box::new(Running::new(next)));
        self.effects.push(running.answer(Answer::Unknown));
        self.decide(key, base);
    }

    /// Asks for this member's own rows, once every range is covered.
    fn load(&mut self, key: &Key) {
        let Some(running) = self.running(key) else { return };
        let (keys, ranges) = (running.keys.iter().cloned().collect(), running.ranges.clone());
        let uncovered: Vec<_> = ranges
            .iter()
            .filter(|range| !self.knowledge.covers(range))
            .cloned()
            .collect();
        if !uncovered.is_empty() {
            uncovered.into_iter().for_each(|range| self.cover_range(range));
            return self.set_phase(key, Phase::Covering);
        }
        let (lane, turn) = (key.clone(), self.next_turn());
        self.set_phase(key, Phase::Loading(turn));
        self.effects.push(Effect::Load {
            lane,
            turn,
            keys,
            ranges,
        });
    }

    pub(super) fn loaded(&mut self, key: &Key, turn: Turn, mut rows: BTreeMap<Key, Row>) {
        let Some(ballot) = self.ballot() else { return };
        let Some(running) = self.running(key) else { return };
        if !matches!(running.phase, Phase::Loading(awaited) if awaited == turn) {
            return;
        }
        let elsewhere = running
            .ranges
            .iter()
            .flat_map(|range| self.knowledge.elsewhere_in(range));
        let named: BTreeSet<Key> = running.keys.iter().cloned().chain(elsewhere).collect();
        for key in &named {
            let own = rows.entry(key.clone()).or_insert_with(Row::absent);
            match self.knowledge.newer.get(key) {
                Some(newer) if newer.row.stamp > own.stamp => *own = newer.row.clone(),
                // It stands here too now, and was read from here.
                Some(newer) if newer.is_here => {
                    self.knowledge.newer.remove(key);
                }
                Some(_) | None => {}
            }
        }
        // A row of this ballot is this holder's own proposal, made after it had touched the row.
        let unsure = rows
            .iter()
            .filter(|(key, row)| row.stamp.ballot != ballot && !self.knowledge.own_is_newest(key));
        let wanted: Vec<Key> = unsure.map(|(key, _)| key.clone()).collect();
        let rows = Arc::new(rows);
        if wanted.is_empty() {
            return self.decide(key, rows);
        }
        if let Some(running) = self.running_mut(key) {
            running.rows = rows;
        }
        self.knowledge.note_touch();
        let Some(nonce) = self.ask_for_promises(wanted.clone()) else {
            return;
        };
        self.touching.insert(nonce, key.clone());
        let told = BTreeMap::new();
        self.set_phase(key, Phase::Touching { nonce, wanted, told });
    }

    /// Takes rows that somebody told with a promise.
    pub(super) fn touched(&mut self, from: MemberId, rows: Vec<(Key, Row)>, answered: Nonce) {
        let quorum_needed = !self.broken.is(Mutant::TouchWithoutQuorum);
        let Some(config) = self.config() else { return };
        let Some(key) = self.touching.get(&answered).cloned() else {
            return;
        };
        let Some(running) = self.running_mut(&key) else {
            return;
        };
        let Phase::Touching { wanted, told, .. } = &mut running.phase else {
            return;
        };
        told.insert(from, rows.into_iter().collect());
        if quorum_needed && !config.is_quorum(&told.keys().copied().collect()) {
            return;
        }
        let rows = Arc::make_mut(&mut running.rows);
        for key in wanted {
            let newest = told
                .values()
                .filter_map(|rows| rows.get(key))
                .max_by_key(|row| row.stamp);
            if let Some(newest) = newest {
                rows.insert(key.clone(), newest.clone());
            }
        }
        let rows = std::mem::take(&mut running.rows);
        self.touching.remove(&answered);
        self.decide(&key, rows);
    }

    fn decide(&mut self, key: &Key, rows: Arc<BTreeMap<Key, Row>>) {
        let (fences, turn) = (self.fences, self.next_turn());
        let Some(running) = self.running_mut(key) else {
            return;
        };
        running.rows = rows.clone();
        running.phase = Phase::Deciding(turn);
        let (operation, ranges) = (running.operation.clone(), running.ranges.clone());
        let id = operation.id;
        let trusts_any = self.broken.is(Mutant::TrustAnyRow);
        let is_known = rows.iter().any(|(key, row)| {
            (trusts_any || operation.keys.contains(key)) && row.content.remembers(id).is_some()
        });
        // Also the first attempt, which may have waited in the queue of a member that slept while another was done.
        let is_exempt = !operation.is_retry && self.broken.is(Mutant::TrustFirstAttempts);
        let is_forgotten =
            id.began() <= fences.forgotten || rows.values().any(|row| row.content.may_have_forgotten(id));
        if is_forgotten && !is_known && !is_exempt {
            // No more than has to be: a name from a clock that is far ahead must not become everybody's.
            let newest = rows.values().map(|row| row.content.forgotten);
            let newest = newest.fold(fences.forgotten, u64::max);
            return self.end(key, Answer::Forgotten { newest });
        }
        self.effects.push(Effect::Decide {
            lane: key.clone(),
            turn,
            operation,
            loaded: Loaded { rows, ranges, fences },
        });
    }

    pub(super) fn decided(&mut self, key: &Key, turn: Turn, decision: Decision<O>) {
        let Some(running) = self.running_mut(key) else {
            return;
        };
        if !matches!(running.phase, Phase::Deciding(awaited) if awaited == turn) {
            return;
        }
        match decision {
            Decision::Need { keys, ranges } => {
                running.keys.extend(keys);
                running.ranges.extend(ranges);
                self.load(key);
            }
            Decision::Commit {
                stages,
                told_after,
                relies_on,
                outcome,
            } => {
                let writes = |stage: Vec<Change>| stage.into_iter().map(Write::Change).collect();
                let stages = stages.into_iter().map(writes).collect();
                self.commit(key, stages, relies_on, (told_after, outcome));
            }
            Decision::Refuse {
                key: remembering,
                relies_on,
                outcome,
            } => {
                let refusal = VecDeque::from([vec![Write::Refusal(remembering)]]);
                self.commit(key, refusal, relies_on, (1, outcome));
            }
        }
    }

    fn commit(&mut self, key: &Key, mut rest: VecDeque<Vec<Write>>, relies_on: Vec<Key>, told: (usize, O)) {
        let (mut told_after, outcome) = told;
        if self.is_sole() || self.broken.is(Mutant::StagesAtOnce) {
            // Nobody else ever sees one stage without the others: they become durable together.
            rest = VecDeque::from([rest.into_iter().flatten().collect::<Vec<_>>()]);
            rest.retain(|stage| !stage.is_empty());
            told_after = told_after.min(1);
        }
        if self.broken.is(Mutant::IgnoreOutstanding)
            && let Some(running) = self.running_mut(key)
        {
            running.base = Some(running.rows.clone());
        }
        let writes = !rest.is_empty();
        let to_confirm = self.to_confirm(key, relies_on, writes);
        let confirming = !to_confirm.is_empty();
        let outstanding = BTreeMap::new();
        self.set_phase(
            key,
            Phase::Proposing {
                outstanding,
                confirming,
                rest,
                untold: Some((told_after, outcome)),
            },
        );
        if confirming {
            let proposals = to_confirm
                .into_iter()
                .map(|(key, row)| (key, row.content, Some(row.stamp)));
            self.propose(key, proposals.collect());
        } else {
            self.next_stage(key);
        }
    }

    /// Rows whose content must reach a quorum once more before the result may stand.
    fn to_confirm(&self, key: &Key, relies_on: Vec<Key>, writes: bool) -> Vec<(Key, Row)> {
        let skipped = match writes {
            true => Mutant::WriteWithoutConfirming,
            false => Mutant::AnswerWithoutConfirming,
        };
        if self.broken.is(skipped) {
            return Vec::new();
        }
        let is_sole = self.is_sole();
        let Some(running) = self.running(key) else {
            return Vec::new();
        };
        let rows = relies_on.into_iter().map(|key| {
            let row = running.rows.get(&key).cloned().unwrap_or_else(Row::absent);
            (key, row)
        });
        // A sole member's own row is the only one there is. But one from before it was alone looks unfinished to readers
        // until it is written anew.
        let stands = |row: &Row| row.chosen || row.stamp.is_zero() || row.stamp.ballot.epoch == self.epoch;
        rows.filter(|(_, row)| !is_sole || !stands(row)).collect()
    }

    /// Proposes contents, all at once. A content of this very ballot is proposed again under its stamp.
    fn propose(&mut self, lane: &Key, contents: Vec<(Key, Content, Option<Stamp>)>) {
        for (key, content, stood) in contents {
            let Some(ballot) = self.ballot() else { return };
            let stamp = match stood.filter(|stamp| stamp.ballot == ballot) {
                Some(stamp) => stamp,
                None => match self.next_stamp() {
                    Some(stamp) => stamp,
                    None => return self.depose(),
                },
            };
            let row = Row {
                stamp,
                chosen: false,
                content: content.clone(),
            };
            self.knowledge.propose(lane, &key, &row);
            let since = self.broadcast(|nonce| accept(stamp, &key, &content, nonce));
            self.proposing.insert(key.clone(), lane.clone());
            let Some(running) = self.running_mut(lane) else {
                return;
            };
            // Whoever decided has let go of them.
            Arc::make_mut(&mut running.rows).insert(key.clone(), row);
            if let Phase::Proposing { outstanding, .. } = &mut running.phase {
                let accepted = BTreeSet::new();
                outstanding.insert(
                    key,
                    Proposal {
                        stamp,
                        content,
                        accepted,
                        since,
                    },
                );
            }
        }
    }

    fn next_stamp(&mut self) -> Option<Stamp> {
        let attempt = self.attempt.as_mut()?;
        attempt.seq = attempt.seq.checked_add(1)?;
        Some(Stamp {
            ballot: attempt.ballot,
            seq: attempt.seq,
        })
    }

    pub(super) fn accepted(&mut self, from: MemberId, stamp: Stamp, key: &Key, nonce: Nonce) {
        if self.ballot() != Some(stamp.ballot) {
            return;
        }
        if from == self.me {
            self.accepted_here(key, stamp);
        }
        let Some(config) = self.config() else { return };
        let old_count = self.broken.is(Mutant::ConfirmByOldAcks);
        let Some(lane) = self.proposing.get(key).cloned() else {
            return;
        };
        let Some(running) = self.running_mut(&lane) else {
            return;
        };
        let Phase::Proposing { outstanding, .. } = &mut running.phase else {
            return;
        };
        let Some(proposal) = outstanding.get_mut(key) else {
            return;
        };
        if proposal.stamp != stamp || (nonce < proposal.since && !old_count) {
            return;
        }
        proposal.accepted.insert(from);
        if config.is_quorum(&proposal.accepted) {
            outstanding.remove(key);
            let is_last = outstanding.is_empty();
            self.proposing.remove(key);
            if is_last {
                self.next_stage(&lane);
            }
        }
    }

    /// Writes the next stage, or answers after the last.
    fn next_stage(&mut self, key: &Key) {
        let Some(running) = self.running_mut(key) else {
            return;
        };
        let Phase::Proposing {
            confirming,
            rest,
            untold,
            ..
        } = &mut running.phase
        else {
            return;
        };
        let op = running.operation.id;
        let next = rest.pop_front();
        let told = untold.take_if(|(stages, _)| *stages == 0 || next.is_none());
        if let Some((stages, _)) = untold {
            *stages -= 1;
        }
        let contents = next.map(|stage| {
            *confirming = false;
            let before = |key: &Key| running.rows.get(key).map(|row| row.content.clone());
            let contents = stage.into_iter().map(|write| match write {
                Write::Change(Change { key, value }) => {
                    let content = before(&key).unwrap_or_default().after(op, value);
                    (key, content, None)
                }
                Write::Refusal(key) => {
                    let content = before(&key).unwrap_or_default().refusing(op);
                    (key, content, None)
                }
            });
            contents.collect()
        });
        let told = told.map(|(_, outcome)| running.answer(Answer::Done(outcome)));
        self.effects.extend(told);
        if let Some(contents) = contents {
            return self.propose(key, contents);
        }
        self.go_on(key);
    }

    /// Ends the operation of a lane with an answer.
    fn end(&mut self, key: &Key, answer: Answer<O>) {
        let told = self.running(key).map(|running| running.answer(answer));
        self.effects.extend(told);
        self.go_on(key);
    }

    /// Begins what waits behind the operation that has ended.
    fn go_on(&mut self, key: &Key) {
        let ended = self.lanes.get_mut(key).and_then(|lane| lane.running.take());
        if let Some(running) = ended {
            self.ended(running.operation.id);
        }
        self.start(key);
        self.ballot_may_change();
    }

    pub(super) fn resend_lanes(&mut self) {
        let Some(ballot) = self.attempt.as_ref().map(|attempt| attempt.ballot) else {
            return;
        };
        let members = self.config().map(|config| config.members()).unwrap_or_default();
        let mut overdue = Vec::new();
        for lane in self.lanes.values() {
            match lane.running.as_ref().map(|running| &running.phase) {
                Some(Phase::Touching { nonce, wanted, told }) => {
                    let silent = members.iter().filter(|member| !told.contains_key(member));
                    overdue.extend(silent.map(|to| (*to, prepare(ballot, wanted, *nonce))));
                }
                Some(Phase::Proposing { outstanding, .. }) => {
                    for (key, proposal) in outstanding {
                        let silent = members
                            .iter()
                            .filter(|member| !proposal.accepted.contains(member));
                        overdue.extend(silent.map(|to| {
                            (
                                *to,
                                accept(proposal.stamp, key, &proposal.content, proposal.since),
                            )
                        }));
                    }
                }
                Some(Phase::Covering | Phase::Loading(_) | Phase::Deciding(_)) | None => {}
            }
        }
        self.effects.extend(
            overdue
                .into_iter()
                .map(|(to, request)| Effect::Send { to, request }),
        );
    }

    fn running(&self, lane: &Key) -> Option<&Running<C, O>> {
        self.lanes.get(lane)?.running.as_deref()
    }

    fn running_mut(&mut self, lane: &Key) -> Option<&mut Running<C, O>> {
        self.lanes.get_mut(lane)?.running.as_deref_mut()
    }

    fn set_phase(&mut self, lane: &Key, phase: Phase<O>) {
        if let Some(running) = self.running_mut(lane) {
            running.phase = phase;
        }
    }
}

fn accept(stamp: Stamp, key: &Key, content: &Content, nonce: Nonce) -> Request {
    Request::Accept {
        stamp,
        key: key.clone(),
        content: content.clone(),
        nonce,
    }
}

fn prepare(ballot: Ballot, keys: &[Key], nonce: Nonce) -> Request {
    Request::Prepare {
        ballot,
        keys: keys.to_vec(),
        nonce,
    }
}
