//! The acceptor: what one member keeps of a partition, and what it answers.
//!
//! A pure function of what stands here and of what is asked. Whoever calls it makes the change durable before the reply
//! leaves, decides in the order of its log, and gives it for `Read` the durable state and for all else the newest.

use serde::{Deserialize, Serialize};

use super::mutant::Broken;
use super::{Ballot, Configs, Fences, Key, KeyRange, Mutant, Reply, Request, Row, Stamp};
use crate::model::MemberId;

/// What a member keeps of a partition beside its rows. It outlives them: a member that left keeps it for ever, so that it
/// never answers an old reader with "absent".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The highest ballot promised. Its epoch is the one this member has adopted.
    pub promised: Ballot,
    /// As high as they were raised here.
    pub fences: Fences,
}

impl Part {
    /// Of a member that has heard nothing yet.
    pub const NEW: Self = Self {
        promised: Ballot::ZERO,
        fences: Fences {
            sweeps: 0,
            directory: 0,
            forgotten: 0,
        },
    };

    /// Adopts an epoch, which *is* promising its barrier: no older holder gets anything accepted here any more.
    /// `None` when it is adopted already.
    pub fn adopt(&self, epoch: super::Epoch) -> Option<Self> {
        let barrier = Ballot::barrier(epoch);
        (barrier > self.promised).then_some(Self {
            promised: barrier,
            ..*self
        })
    }
}

/// The rows a member has of a partition.
pub trait Rows {
    /// The row of a key; [`Row::absent`] if there is none.
    fn row(&self, key: &Key) -> Row;

    /// Its stamp.
    fn stamp(&self, key: &Key) -> Stamp {
        self.row(key).stamp
    }

    /// The stamps of a range in ascending order of keys, as many as fit into a message, and where to go on.
    fn heads(&self, range: &KeyRange) -> (Vec<(Key, Stamp)>, Option<KeyRange>);
}

/// What a request changes here, and the reply that leaves once that is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The partition's new state, if it changes.
    pub part: Option<Part>,
    /// The row to set.
    pub set: Option<(Key, Row)>,
    /// The row to forget.
    pub forget: Option<Key>,
    /// What to answer; some requests have no answer, and some are best left without one.
    pub reply: Option<Reply>,
}

impl Step {
    fn reply(reply: Reply) -> Self {
        Self {
            reply: Some(reply),
            ..Self::default()
        }
    }
}

/// One member as an acceptor of one partition.
pub struct Acceptor<'a> {
    /// Who it is.
    pub me: MemberId,
    /// The configurations it knows.
    pub configs: &'a Configs,
    /// Which rule is broken, in tests.
    pub broken: Broken,
}

impl Acceptor<'_> {
    /// What follows from a request.
    pub fn step(&self, part: &Part, rows: &dyn Rows, request: &Request) -> Step {
        if !self.is_asked(part, request) {
            return Step::default();
        }
        match request {
            Request::Prepare {
                ballot, keys, nonce, ..
            } => prepare(part, rows, *ballot, keys, *nonce),
            Request::Page { ballot, range, nonce } => page(part, rows, *ballot, range, *nonce),
            Request::Accept { .. } => self.accept(part, rows, request),
            Request::Read { key, nonce } => Step::reply(Reply::Found {
                key: key.clone(),
                row: rows.row(key),
                promised: part.promised,
                nonce: *nonce,
            }),
            Request::Learn {
                floor,
                key,
                row,
                nonce,
            } => self.learn(part, rows, *floor, (key, row), *nonce),
            Request::Confirm {
                ballot,
                key,
                stamp,
                nonce,
            } => confirm(part, rows, *ballot, (key, *stamp), *nonce),
            Request::Drop {
                ballot,
                key,
                stamp,
                forgotten,
            } => self.drop(part, rows, *ballot, (key, *stamp), *forgotten),
            Request::Raise {
                ballot,
                fences,
                nonce,
            } => raise(part, *ballot, *fences, *nonce),
        }
    }

    /// A member that is in neither its own nor the message's configuration answers only reads: its promises count for
    /// nothing, and one that left must not be counted as if it were still there.
    fn is_asked(&self, part: &Part, request: &Request) -> bool {
        let Some(epoch) = request.epoch() else { return true };
        if self.broken.is(Mutant::OutsiderAnswers) {
            return true;
        }
        self.configs
            .get(epoch.max(part.promised.epoch))
            .is_some_and(|config| config.members().contains(&self.me))
    }

    fn accept(&self, part: &Part, rows: &dyn Rows, request: &Request) -> Step {
        let Request::Accept {
            stamp,
            key,
            content,
            nonce,
        } = request
        else {
            return Step::default();
        };
        if stamp.ballot < part.promised && !self.broken.is(Mutant::AcceptIgnoresPromise) {
            return refused(stamp.ballot, part, *nonce);
        }
        let here = rows.stamp(key);
        if here > *stamp {
            // Something newer stands here, so acknowledging would count a content that this member does not have.
            return Step::default();
        }
        let newer = here < *stamp;
        let row = Row {
            stamp: *stamp,
            chosen: false,
            content: content.clone(),
        };
        Step {
            part: promise(part, stamp.ballot),
            set: newer.then(|| (key.clone(), row)),
            forget: None,
            reply: Some(Reply::Accepted {
                stamp: *stamp,
                key: key.clone(),
                nonce: *nonce,
            }),
        }
    }

    /// A chosen row may be taken without being asked by a holder, but not below one's own promise: the holder of a higher
    /// ballot may have dropped its tombstone meanwhile, and the row would rise from the dead.
    fn learn(
        &self,
        part: &Part,
        rows: &dyn Rows,
        floor: Ballot,
        (key, row): (&Key, &Row),
        nonce: u64,
    ) -> Step {
        let here = rows.row(key);
        // The mark alone brings nothing back.
        let lacks = here.stamp < row.stamp;
        if lacks && floor < part.promised && !self.broken.is(Mutant::LearnIgnoresPromise) {
            return refused(floor, part, nonce);
        }
        let newer = lacks || (here.stamp == row.stamp && !here.chosen && row.chosen);
        Step {
            part: part.adopt(floor.epoch),
            set: newer.then(|| (key.clone(), row.clone())),
            forget: None,
            reply: Some(Reply::Learned {
                key: key.clone(),
                nonce,
            }),
        }
    }

    fn drop(
        &self,
        part: &Part,
        rows: &dyn Rows,
        ballot: Ballot,
        (key, stamp): (&Key, Stamp),
        forgotten: u64,
    ) -> Step {
        let promised = part.promised >= ballot || self.broken.is(Mutant::DropWithoutPromise);
        if !promised || rows.stamp(key) != stamp {
            return Step::default();
        }
        // The fence too may be remembered by nobody else one day, where the others are lost.
        let mut fenced = *part;
        fenced.fences.forgotten = part.fences.forgotten.max(forgotten);
        Step {
            part: (fenced != *part).then_some(fenced),
            forget: Some(key.clone()),
            ..Step::default()
        }
    }
}

fn prepare(part: &Part, rows: &dyn Rows, ballot: Ballot, keys: &[Key], nonce: u64) -> Step {
    if ballot < part.promised {
        return refused(ballot, part, nonce);
    }
    Step {
        part: promise(part, ballot),
        reply: Some(Reply::Promise {
            ballot,
            rows: keys.iter().map(|key| (key.clone(), rows.row(key))).collect(),
            fences: part.fences,
            nonce,
        }),
        ..Step::default()
    }
}

/// Having promised `ballot`, this member accepts nothing older, so what it tells page by page is one state. Chosen rows
/// that it learns meanwhile stand at a quorum anyway.
fn page(part: &Part, rows: &dyn Rows, ballot: Ballot, range: &KeyRange, nonce: u64) -> Step {
    match ballot.cmp(&part.promised) {
        std::cmp::Ordering::Less => return refused(ballot, part, nonce),
        // The promise was not kept before a crash, or never reached this member.
        std::cmp::Ordering::Greater => return Step::default(),
        std::cmp::Ordering::Equal => {}
    }
    let (heads, next) = rows.heads(range);
    Step::reply(Reply::Heads {
        ballot,
        heads,
        next,
        nonce,
    })
}

fn confirm(part: &Part, rows: &dyn Rows, ballot: Ballot, (key, stamp): (&Key, Stamp), nonce: u64) -> Step {
    if part.promised > ballot {
        return refused(ballot, part, nonce);
    }
    if rows.stamp(key) != stamp {
        return Step::default();
    }
    Step::reply(Reply::Confirmed {
        ballot,
        key: key.clone(),
        stamp,
        nonce,
    })
}

fn raise(part: &Part, ballot: Ballot, fences: Fences, nonce: u64) -> Step {
    if ballot < part.promised {
        return refused(ballot, part, nonce);
    }
    let raised = Part {
        promised: ballot,
        fences: part.fences.max(fences),
    };
    Step {
        part: (raised != *part).then_some(raised),
        reply: Some(Reply::Raised {
            ballot,
            fences: raised.fences,
            nonce,
        }),
        ..Step::default()
    }
}

fn promise(part: &Part, ballot: Ballot) -> Option<Part> {
    (ballot > part.promised).then_some(Part {
        promised: ballot,
        ..*part
    })
}

fn refused(ballot: Ballot, part: &Part, nonce: u64) -> Step {
    Step::reply(Reply::Refused {
        ballot,
        promised: part.promised,
        nonce,
    })
}
