//! A member's disk: what is durable, what is not yet, and the replies that wait for it.

use std::collections::{BTreeMap, VecDeque};

use storage::model::MemberId;
use storage::register::{DiskMark, Key, KeyRange, Part, Reply, Row, Rows, Run, Runs, Stamp, Step};

/// All that a member keeps of the partition.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) part: Part,
    pub(super) rows: BTreeMap<Key, Row>,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Part(Part),
    Set(Key, Row),
    Forget(Key),
    /// Forgets all rows.
    Wipe,
}

/// A disk whose log is synced now and then.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    incarnation: [u8; 16],
    /// How often it was opened, whatever it remembers of that.
    opened: u64,
    runs: Runs,
    pub(super) durable: State,
    pub(super) newest: State,
    /// The last durable entry.
    durable_lsn: u64,
    unsynced: VecDeque<Entry>,
    /// Replies, each with the last entry that must be durable before it leaves.
    waiting: VecDeque<(u64, MemberId, Reply)>,
    /// An earlier state that a backup would restore.
    backup: Option<(u64, Runs, State)>,
}

impl State {
    fn empty() -> Self {
        Self {
            part: Part::NEW,
            rows: BTreeMap::new(),
        }
    }

    fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Part(part) => self.part = *part,
            Entry::Set(key, row) => {
                self.rows.insert(key.clone(), row.clone());
            }
            Entry::Forget(key) => {
                self.rows.remove(key);
            }
            Entry::Wipe => self.rows.clear(),
        }
    }
}

impl Rows for State {
    fn row(&self, key: &Key) -> Row {
        self.rows.get(key).cloned().unwrap_or_else(Row::absent)
    }

    /// One head a page, so that pages are met.
    fn heads(&self, range: &KeyRange) -> (Vec<(Key, Stamp)>, Option<KeyRange>) {
        let mut within = self.rows.iter().filter(|(key, _)| range.contains(key));
        let head = within.next().map(|(key, row)| (key.clone(), row.stamp));
        let next = within.next().map(|(key, _)| KeyRange {
            from: key.clone(),
            to: range.to.clone(),
        });
        (head.into_iter().collect(), next)
    }
}

impl Disk {
    pub(super) fn new(incarnation: u8) -> Self {
        let mut disk = Self {
            incarnation: [incarnation; 16],
            opened: 0,
            runs: Runs::default(),
            durable: State::empty(),
            newest: State::empty(),
            durable_lsn: 0,
            unsynced: VecDeque::new(),
            waiting: VecDeque::new(),
            backup: None,
        };
        disk.begin_run();
        disk
    }

    fn begin_run(&mut self) {
        self.opened += 1;
        self.runs.begin(Run {
            id: self.opened,
            opened_lsn: self.durable_lsn,
        });
    }

    pub(super) fn mark(&self) -> DiskMark {
        DiskMark {
            incarnation: self.incarnation,
            run: self.opened,
            durable_lsn: self.durable_lsn,
        }
    }

    /// The runs it remembers.
    pub(super) fn runs(&self) -> &Runs {
        &self.runs
    }

    pub(super) fn write(&mut self, entry: Entry) {
        self.newest.apply(&entry);
        self.unsynced.push_back(entry);
    }

    /// Takes what an acceptor decided; the reply, if any, waits until all of it is durable.
    pub(super) fn take(&mut self, step: Step, asked_by: MemberId) {
        if let Some(part) = step.part {
            self.write(Entry::Part(part));
        }
        if let Some((key, row)) = step.set {
            self.write(Entry::Set(key, row));
        }
        if let Some(key) = step.forget {
            self.write(Entry::Forget(key));
        }
        if let Some(reply) = step.reply {
            let needed = self.durable_lsn + self.unsynced.len() as u64;
            self.waiting.push_back((needed, asked_by, reply));
        }
    }

    /// Whether a sync would change anything.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_empty() && self.waiting.is_empty()
    }

    /// Entries that a sync would make durable.
    pub(super) fn unsynced(&self) -> usize {
        self.unsynced.len()
    }

    /// Makes the oldest entries durable; returns the replies that may leave.
    pub(super) fn sync(&mut self, entries: usize) -> Vec<(MemberId, Reply)> {
        for entry in self.unsynced.drain(..entries) {
            self.durable.apply(&entry);
            self.durable_lsn += 1;
        }
        let leaving = self
            .waiting
            .iter()
            .take_while(|(needed, ..)| *needed <= self.durable_lsn);
        let leaving = leaving.count();
        self.waiting
            .drain(..leaving)
            .map(|(_, to, reply)| (to, reply))
            .collect()
    }

    /// Loses power. Of what was not synced the oldest entries may have become durable all the same.
    pub(super) fn crash(&mut self, kept: usize) {
        self.waiting.clear();
        self.sync(kept);
        self.unsynced.clear();
        self.newest = self.durable.clone();
        self.begin_run();
    }

    /// Keeps the present state for [`Disk::restore`].
    pub(super) fn back_up(&mut self) {
        self.backup = Some((self.durable_lsn, self.runs.clone(), self.durable.clone()));
    }

    /// Loses everything since the last backup, or everything.
    pub(super) fn restore(&mut self) {
        let (lsn, runs, state) = self.backup.take().unwrap_or_else(|| {
            self.incarnation[0] ^= 0x80;
            (0, Runs::default(), State::empty())
        });
        (self.durable_lsn, self.runs) = (lsn, runs);
        self.begin_run();
        self.newest = state.clone();
        self.durable = state;
        self.unsynced.clear();
        self.waiting.clear();
    }
}
