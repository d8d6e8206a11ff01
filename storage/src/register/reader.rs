//! The reader: one linearizable read of one register, in one round trip to the nearest quorum where nothing is unusual
//! (rule 3).
//!
//! The newest row that a quorum tells is the answer if it is known to be chosen: by its mark, or because those who have it
//! are a quorum of the configuration it was written under. Otherwise somebody's write is still on its way: the reader
//! helps it along by sending the same `Accept` again. Where that is refused, a new holder has taken over, and it is asked.

use std::collections::{BTreeMap, BTreeSet};

use super::mutant::Broken;
use super::{Ballot, Configs, Epoch, Key, Mutant, Nonce, Reply, Request, Row};
use crate::model::MemberId;

/// What a reader wants done, or what it found.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadEffect {
    /// Send to a member, or hand to this member's own acceptor.
    Send {
        /// To whom.
        to: MemberId,
        /// What.
        request: Request,
    },
    /// This is what the register holds. The read is over.
    Found(Row),
    /// Somebody is in this epoch, of which the reader knows nothing: learn it, and read anew. The read is over.
    NewerEpoch(Epoch),
    /// A higher ballot is in the way: read through the holder. The read is over.
    AskHolder(Ballot),
}

/// What a read is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To answer a client.
    Answer,
    /// To bring every member up to date, with the mark that the row is chosen.
    Teach,
}

/// One read under way.
#[derive(Clone, Debug)]
pub struct Reader {
    key: Key,
    epoch: Epoch,
    purpose: Purpose,
    broken: Broken,
    nonce: Nonce,
    told: BTreeMap<MemberId, (Row, Ballot)>,
    relayed: Option<(Row, BTreeSet<MemberId>)>,
    /// Who is known to have the row that was found, when teaching.
    taught: BTreeSet<MemberId>,
    over: bool,
}

impl Reader {
    /// Begins a read under the epoch this member has adopted: asks `of`, which should be the nearest members that make a
    /// quorum, or all.
    pub fn begin(
        (key, epoch, purpose): (Key, Epoch, Purpose),
        of: impl IntoIterator<Item = MemberId>,
        nonce: Nonce,
        broken: Broken,
    ) -> (Self, Vec<ReadEffect>) {
        let reader = Self {
            key,
            epoch,
            purpose,
            broken,
            nonce,
            told: BTreeMap::new(),
            relayed: None,
            taught: BTreeSet::new(),
            over: false,
        };
        let effects = of.into_iter().map(|to| reader.ask(to)).collect();
        (reader, effects)
    }

    /// Who has the row that was found; complete only when teaching, and when all have answered.
    pub fn holders(&self) -> BTreeSet<MemberId> {
        self.taught.clone()
    }

    /// Asks everybody who has not answered yet, and if enough have, helps an unfinished write along.
    pub fn hurry(&mut self, configs: &Configs) -> Vec<ReadEffect> {
        let Some(config) = configs.get(self.epoch) else {
            return Vec::new();
        };
        if self.over {
            return Vec::new();
        }
        if let Some((row, _)) = &self.relayed {
            return self.relay(row.clone(), config.members());
        }
        let mut effects = self.evaluate(configs, true);
        if !self.over && self.relayed.is_none() {
            let silent = config
                .members()
                .into_iter()
                .filter(|member| !self.told.contains_key(member));
            effects.extend(silent.map(|to| self.ask(to)));
        }
        effects
    }

    /// Takes an answer.
    pub fn reply(&mut self, configs: &Configs, from: MemberId, reply: Reply) -> Vec<ReadEffect> {
        if self.over || reply.nonce() != self.nonce {
            return Vec::new();
        }
        match reply {
            Reply::Found { row, promised, .. } => {
                if promised.epoch > self.epoch && !self.broken.is(Mutant::ReadInOldEpoch) {
                    return self.end(ReadEffect::NewerEpoch(promised.epoch));
                }
                self.told.insert(from, (row, promised));
                self.evaluate(configs, false)
            }
            Reply::Accepted { stamp, .. } => self.accepted(configs, from, stamp),
            Reply::Refused { promised, .. } if self.relayed.is_some() => {
                if promised.epoch > self.epoch {
                    return self.end(ReadEffect::NewerEpoch(promised.epoch));
                }
                self.end(ReadEffect::AskHolder(promised))
            }
            Reply::Learned { .. } => {
                self.taught.insert(from);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Whether the newest row that was told is chosen. `help` an unfinished write along instead of waiting for answers.
    fn evaluate(&mut self, configs: &Configs, help: bool) -> Vec<ReadEffect> {
        let Some(config) = configs.get(self.epoch) else {
            return Vec::new();
        };
        if self.relayed.is_some() || !config.is_quorum(&self.told.keys().copied().collect()) {
            return Vec::new();
        }
        let Some(newest) = self.newest() else {
            return Vec::new();
        };
        let holders = self.who_has(&newest);
        let quorum_of_its_own = match newest.stamp.is_zero() {
            // A quorum has nothing.
            true => true,
            false => configs
                .get(newest.stamp.ballot.epoch)
                .is_some_and(|config| config.is_quorum(&holders)),
        };
        if newest.chosen || quorum_of_its_own || self.broken.is(Mutant::ReadUnchosen) {
            return self.found(newest, holders, config.members());
        }
        if self.broken.is(Mutant::LearnUnchosen) && self.purpose == Purpose::Teach {
            return self.found(newest, holders, config.members());
        }
        if help
            || config
                .members()
                .iter()
                .all(|member| self.told.contains_key(member))
        {
            self.relayed = Some((newest.clone(), holders));
            return self.relay(newest, config.members());
        }
        Vec::new()
    }

    fn newest(&self) -> Option<Row> {
        // Of two with the same stamp the one with the mark: the content is the same.
        let rows = self.told.values().map(|(row, _)| row);
        rows.max_by_key(|row| (row.stamp, row.chosen)).cloned()
    }

    fn who_has(&self, row: &Row) -> BTreeSet<MemberId> {
        let have = self.told.iter().filter(|(_, (told, _))| told.stamp == row.stamp);
        have.map(|(member, _)| *member).collect()
    }

    fn found(
        &mut self,
        row: Row,
        holders: BTreeSet<MemberId>,
        members: BTreeSet<MemberId>,
    ) -> Vec<ReadEffect> {
        let mut effects = Vec::new();
        if self.purpose == Purpose::Teach {
            effects = self.teach(&row, &holders, members);
        }
        self.over = self.purpose == Purpose::Answer;
        effects.push(ReadEffect::Found(row));
        effects
    }

    /// Sends the row to whoever has an older one, or has it without the mark.
    fn teach(
        &mut self,
        row: &Row,
        holders: &BTreeSet<MemberId>,
        members: BTreeSet<MemberId>,
    ) -> Vec<ReadEffect> {
        let row = Row {
            chosen: true,
            ..row.clone()
        };
        let promised = holders.iter().filter_map(|member| self.told.get(member));
        let Some(floor) = promised.map(|(_, promised)| *promised).min() else {
            return Vec::new();
        };
        let lacks = |member: &MemberId| {
            let told = self.told.get(member);
            told.is_none_or(|(told, _)| told.stamp < row.stamp || (told.stamp == row.stamp && !told.chosen))
        };
        let (lacking, having): (Vec<_>, Vec<_>) = members
            .into_iter()
            .partition(|member| !row.stamp.is_zero() && lacks(member));
        self.taught.extend(having);
        let learn = lacking.into_iter().map(|to| ReadEffect::Send {
            to,
            request: Request::Learn {
                floor,
                key: self.key.clone(),
                row: row.clone(),
                nonce: self.nonce,
            },
        });
        learn.collect()
    }

    fn accepted(&mut self, configs: &Configs, from: MemberId, stamp: super::Stamp) -> Vec<ReadEffect> {
        let Some((row, holders)) = &mut self.relayed else {
            return Vec::new();
        };
        if row.stamp != stamp {
            return Vec::new();
        }
        holders.insert(from);
        let chosen = configs
            .get(stamp.ballot.epoch)
            .is_some_and(|config| config.is_quorum(holders));
        if !chosen {
            return Vec::new();
        }
        let row = row.clone();
        self.end(ReadEffect::Found(row))
    }

    fn relay(&self, row: Row, members: BTreeSet<MemberId>) -> Vec<ReadEffect> {
        let accept = members.into_iter().map(|to| ReadEffect::Send {
            to,
            request: Request::Accept {
                stamp: row.stamp,
                key: self.key.clone(),
                content: row.content.clone(),
                nonce: self.nonce,
            },
        });
        accept.collect()
    }

    fn ask(&self, to: MemberId) -> ReadEffect {
        ReadEffect::Send {
            to,
            request: Request::Read {
                key: self.key.clone(),
                nonce: self.nonce,
            },
        }
    }

    fn end(&mut self, effect: ReadEffect) -> Vec<ReadEffect> {
        self.over = true;
        vec![effect]
    }
}
