//! Becoming the holder, and learning which rows of others are newer than one's own.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ballot, Effect, Fences, Holder, Key, KeyRange, Mutant, Nonce, OpId, Request, Row, Stamp};
use crate::model::MemberId;

/// Ranges remembered as covered.
const COVERED_MAX: usize = 64;
/// Of a member that has missed more rows than these everything is not covered: remembering them would take too much memory.
const BEHIND_MAX: usize = 4096;

/// One ballot of this member.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) ballot: Ballot,
    /// Whether a quorum promised it.
    pub(super) is_holder: bool,
    /// Who promised it.
    pub(super) promised: BTreeSet<MemberId>,
    /// Proposals made under it.
    pub(super) seq: u32,
    /// Fences that are being raised.
    pub(super) raising: Option<Raising>,
}

/// Fences on their way to a quorum.
#[derive(Clone, Debug)]
pub(super) struct Raising {
    pub(super) fences: Fences,
    /// Who has raised them.
    pub(super) agreed: BTreeSet<MemberId>,
    /// Operations that were decided below them and have not ended: what they write is not behind the fences yet.
    pub(super) before: BTreeSet<OpId>,
}

/// What is known of rows beyond this member's own, under the present ballot.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// In these ranges every row is the newest that a quorum has, but for those behind.
    covered: Vec<KeyRange>,
    /// Rows in covered ranges of which this member has an older one.
    behind: BTreeSet<Key>,
    /// Rows whose newest content this member does not have, or not durably yet.
    pub(super) newer: BTreeMap<Key, Newer>,
    /// Pages under way, by the nonce of the first question about their range.
    paging: BTreeMap<Nonce, Paging>,
    /// Who has told all it has.
    told_all: BTreeSet<MemberId>,
    /// Whether others had to be asked about rows.
    touched: bool,
    /// Whether this member has missed too much to remember it.
    misses_much: bool,
}

/// The newest content of a row, which this member proposed.
#[derive(Clone, Debug)]
pub(super) struct Newer {
    pub(super) row: Row,
    lane: Key,
    /// This member's own acceptor has it, durably, but rows read before may be on their way to the holder.
    pub(super) is_here: bool,
}

/// A range being covered.
#[derive(Clone, Debug)]
struct Paging {
    range: KeyRange,
    /// Where each member is to go on.
    next: BTreeMap<MemberId, Option<KeyRange>>,
    done: BTreeSet<MemberId>,
}

impl Knowledge {
    /// Whether this member's own row of a key is the newest of a quorum.
    pub(super) fn own_is_newest(&self, key: &Key) -> bool {
        !self.behind.contains(key) && self.covered.iter().any(|range| range.contains(key))
    }

    /// Whether a whole range is covered.
    pub(super) fn covers(&self, range: &KeyRange) -> bool {
        let ends_within = |covered: &KeyRange| match (&covered.to, &range.to) {
            (None, _) => true,
            (Some(covered), Some(to)) => to <= covered,
            (Some(_), None) => false,
        };
        self.covered
            .iter()
            .any(|covered| covered.from <= range.from && ends_within(covered))
    }

    /// Keys of a range whose newest row is not this member's own.
    pub(super) fn elsewhere_in(&self, range: &KeyRange) -> Vec<Key> {
        let behind = self.behind.range(range.from.clone()..);
        let newer = self.newer.range(range.from.clone()..).map(|(key, _)| key);
        let within = |key: &&Key| range.contains(key);
        behind
            .take_while(within)
            .chain(newer.take_while(within))
            .cloned()
            .collect()
    }

    /// Remembers a proposal until this member has it itself.
    pub(super) fn propose(&mut self, lane: &Key, key: &Key, row: &Row) {
        let newer = Newer {
            row: row.clone(),
            lane: lane.clone(),
            is_here: false,
        };
        self.newer.insert(key.clone(), newer);
    }

    /// Whether others were asked about rows, and would be about others.
    pub(super) fn is_wanting(&self) -> bool {
        self.touched && !self.misses_much && !self.covers(&KeyRange::ALL)
    }

    pub(super) fn was_told_all_by(&self, member: MemberId) -> bool {
        self.told_all.contains(&member)
    }

    /// Notes that others are asked about rows.
    pub(super) fn note_touch(&mut self) {
        self.touched = true;
    }

    fn cover(&mut self, range: KeyRange) {
        if range == KeyRange::ALL {
            self.covered.clear();
        } else if self.covers(&range) {
            return;
        }
        if self.covered.len() >= COVERED_MAX {
            self.covered.remove(0);
        }
        self.covered.push(range);
    }
}

impl<C: Clone, O: Clone> Holder<C, O> {
    /// This member's own acceptor has accepted.
    pub(super) fn accepted_here(&mut self, key: &Key, stamp: Stamp) {
        let Some(newer) = self.knowledge.newer.get_mut(key) else {
            return;
        };
        if newer.row.stamp != stamp {
            return;
        }
        let lane = self.lanes.get(&newer.lane);
        if lane.is_some_and(|lane| lane.is_loading(key)) {
            newer.is_here = true;
        } else {
            self.knowledge.newer.remove(key);
        }
    }

    /// Makes a ballot above all this member has seen, and asks for promises.
    pub(super) fn attempt(&mut self) {
        let Some(round) = self.round.checked_add(1) else {
            return;
        };
        self.round = round;
        let ballot = Ballot {
            epoch: self.epoch,
            round,
            member: self.me,
        };
        self.knowledge = Knowledge::default();
        // What was being raised is raised under the new ballot.
        let raising = self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.raising.is_some());
        self.raise_wanted |= raising;
        self.attempt = Some(Attempt {
            ballot,
            is_holder: false,
            promised: BTreeSet::new(),
            seq: 0,
            raising: None,
        });
        self.ask_for_promises(Vec::new());
    }

    /// Asks everybody for a promise, and for rows; returns the nonce of the question.
    pub(super) fn ask_for_promises(&mut self, keys: Vec<Key>) -> Option<Nonce> {
        let ballot = self.attempt.as_ref()?.ballot;
        Some(self.broadcast(|nonce| Request::Prepare {
            ballot,
            keys: keys.clone(),
            nonce,
        }))
    }

    pub(super) fn promised(
        &mut self,
        from: MemberId,
        ballot: Ballot,
        rows: Vec<(Key, Row)>,
        fences: Fences,
        nonce: Nonce,
    ) {
        let Some(config) = self.config() else { return };
        let Some(attempt) = self.attempt.as_mut().filter(|attempt| attempt.ballot == ballot) else {
            return;
        };
        attempt.promised.insert(from);
        // This member's own promise is needed too: its own rows are what it decides on.
        let agreed = config.is_quorum(&attempt.promised) && attempt.promised.contains(&self.me);
        let becomes_holder = agreed && !attempt.is_holder;
        attempt.is_holder |= becomes_holder;
        if !self.broken.is(Mutant::ForgetFences) {
            // The highest of any quorum is as high as any holder before raised them.
            self.fences = self.fences.max(fences);
        }
        if becomes_holder && config.is_sole(self.me) {
            self.knowledge.cover(KeyRange::ALL);
        }
        self.touched(from, rows, nonce);
        self.all_promised();
        if becomes_holder {
            if self.raise_wanted {
                self.raise(self.fences);
            }
            self.start_lanes();
        }
    }

    /// Has a quorum tell its stamps of a range.
    pub(super) fn cover_range(&mut self, range: KeyRange) {
        let Some(ballot) = self.ballot() else { return };
        if self.knowledge.paging.values().any(|paging| paging.range == range) {
            return;
        }
        let nonce = self.broadcast(|nonce| Request::Page {
            ballot,
            range: range.clone(),
            nonce,
        });
        let members = self.config().map(|config| config.members()).unwrap_or_default();
        let next = members
            .into_iter()
            .map(|member| (member, Some(range.clone())))
            .collect();
        let paging = Paging {
            range,
            next,
            done: BTreeSet::new(),
        };
        self.knowledge.paging.insert(nonce, paging);
    }

    pub(super) fn compared(
        &mut self,
        from: MemberId,
        nonce: Nonce,
        behind: Vec<Key>,
        next: Option<KeyRange>,
    ) {
        let (Some(ballot), Some(config)) = (self.ballot(), self.config()) else {
            return;
        };
        let Some(paging) = self.knowledge.paging.get_mut(&nonce) else {
            return;
        };
        // A page told twice must not be taken for the one behind it.
        let turn = paging.next.get(&from).cloned().flatten();
        let is_next = match (&turn, &next) {
            (Some(turn), Some(next)) => next.from > turn.from,
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !is_next {
            return;
        }
        paging.next.insert(from, next.clone());
        self.knowledge.behind.extend(behind);
        match next {
            Some(range) => self.effects.push(Effect::Send {
                to: from,
                request: Request::Page { ballot, range, nonce },
            }),
            None => {
                paging.done.insert(from);
                // One's own rows are what the others' are compared with.
                let mut told = paging.done.clone();
                told.insert(self.me);
                if config.is_quorum(&told) {
                    let range = paging.range.clone();
                    self.knowledge.paging.remove(&nonce);
                    self.knowledge.cover(range);
                    self.start_lanes();
                }
            }
        }
    }

    /// What a member has told of everything counts as what it has told of a range.
    pub(super) fn told_all(&mut self, from: MemberId, ballot: Ballot, behind: Vec<Key>) {
        let Some(config) = self.config().filter(|_| self.ballot() == Some(ballot)) else {
            return;
        };
        let knowledge = &mut self.knowledge;
        if knowledge.behind.len() + behind.len() > BEHIND_MAX {
            knowledge.misses_much = true;
            return;
        }
        knowledge.behind.extend(behind);
        knowledge.told_all.insert(from);
        let mut told = knowledge.told_all.clone();
        // One's own rows are what the others' are compared with.
        told.insert(self.me);
        if config.is_quorum(&told) {
            knowledge.cover(KeyRange::ALL);
            self.start_lanes();
        }
    }

    pub(super) fn resend_promises(&mut self) {
        match &self.attempt {
            Some(attempt) if !attempt.is_holder => {
                self.ask_for_promises(Vec::new());
            }
            Some(attempt) => {
                let ballot = attempt.ballot;
                let overdue = self.knowledge.paging.iter().flat_map(|(nonce, paging)| {
                    paging
                        .next
                        .iter()
                        .filter_map(|(member, next)| next.clone().map(|range| (*member, range, *nonce)))
                });
                let overdue: Vec<_> = overdue.collect();
                self.effects
                    .extend(overdue.into_iter().map(|(to, range, nonce)| Effect::Send {
                        to,
                        request: Request::Page { ballot, range, nonce },
                    }));
            }
            None => {}
        }
    }
}
