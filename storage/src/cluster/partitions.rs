//! Registers, one per row, as the store uses them: changed by commands, read as last committed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::peers::Peers;
use super::registers::{Machine, ROOT_PARTITION, Registers, Scanned, ScannedKey, record};
use super::unsettled::Unsettled;
use crate::StoreError;
use crate::disk::{Disk, Found, RowId, RowWrite, ScannedRow};
use crate::model::command::{
    Action, Command, Decision as Decided, Fences, ObjectCommand, Outcome, Recent, Refusal, Row, RowChange,
    RowKey, Rows, Submission, decide, decode_row, encode_row,
};
use crate::model::{Folding, MemberId, MeshKey, MeshRow, OpId, row_key};
use crate::register::{
    self, Change, Config, Decision, Key, KeyRange, Known, Loaded, Operation, Stamp, Value,
};
use crate::tasks::Tasks;

/// The partitions of keys; behind them is the root partition.
const OF_KEYS: Range<u16> = 0..ROOT_PARTITION;
const OF_ROOT: Range<u16> = ROOT_PARTITION..ROOT_PARTITION + 1;
/// Root rows that are read at a time.
const READS_AT_ONCE: usize = 32;
/// Names the lane of all buckets and access keys. No row has this key.
const DIRECTORY_LANE: &[u8] = b"directory";

/// The registers of this store.
pub(crate) struct Partitions {
    disk: Disk,
    registers: Registers<Commands>,
    clock: Arc<Clock>,
}

/// A root row as it was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeardRow {
    pub(crate) key: Key,
    pub(crate) stamp: Stamp,
    /// What stands in it.
    pub(crate) body: Bytes,
}

impl Partitions {
    /// The registers of a member, as its disk remembers them, or as they begin under `first`.
    ///
    /// # Errors
    /// The disk fails, or what it remembers does not read.
    pub(crate) fn open(
        me: MemberId,
        disk: &Disk,
        peers: Arc<dyn Peers>,
        (first, folding): (&Config, Folding),
        tasks: Tasks,
    ) -> Result<Self, StoreError> {
        let clock = Arc::new(Clock::new());
        let commands = Commands {
            clock: clock.clone(),
            folding,
        };
        Ok(Self {
            disk: disk.clone(),
            registers: Registers::open(me, disk, peers, &Arc::new(commands), first, tasks)?,
            clock,
        })
    }

    /// What the clocks of all members say: what is locked stays until all say that it need not.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Decides a command on the rows as they are and makes all its changes durable. Runs best to its end: whoever gives up
    /// waiting does not know what came of it.
    ///
    /// # Errors
    /// The disk fails or is full, a row does not read, or too few members answer. [`Unsettled`] says whether the changes
    /// may be durable.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Outcome, Unsettled> {
        let row = Key::from(row_of(&submission));
        let partition = partition_of(&row).unwrap_or(ROOT_PARTITION);
        let operation = Operation {
            id: register::OpId(*submission.op.as_bytes()),
            is_retry: false,
            lane: lane_of(&row),
            keys: marked_rows(&submission),
            ranges: Vec::new(),
            command: submission,
        };
        let is_sole = self.registers.is_sole(partition);
        match self.registers.submit(partition, operation).await {
            Ok(Answered::Outcome(outcome)) => Ok(outcome),
            Ok(Answered::Damaged(why)) => Err(Unsettled::nothing_written(StoreError::Damaged(why))),
            Ok(Answered::Unknown) => Err(Unsettled::submitted(StoreError::Unavailable, false)),
            Err(error) => Err(Unsettled::submitted(error, is_sole)),
        }
    }

    /// The row of a register as it stands now, whoever wrote it.
    ///
    /// # Errors
    /// `Unavailable`: too few members answer. The disk fails, or the row does not read.
    pub(crate) async fn current<R: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        let partition = partition_of(key).unwrap_or(ROOT_PARTITION);
        if self.registers.is_sole(partition) {
            return self.read(key);
        }
        let row = self.registers.read(partition, &Key::copy_from_slice(key)).await?;
        let value = row.content.value;
        value.map(|value| decode_row(&value.body)).transpose()
    }

    /// The first key of a range under which a row stands, whoever wrote it.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub(crate) async fn first(&self, from: Vec<u8>, to: Vec<u8>) -> Result<Option<Key>, StoreError> {
        if self.decides_alone() {
            let disk = self.disk.clone();
            let first = move || disk.first_key(Included(&from), Excluded(&to));
            return Ok(self.disk.run(first).await??.map(Key::from));
        }
        let (mut from, to) = (Key::from(from), Key::from(to));
        loop {
            let page = self.registers.scan(OF_KEYS, (&from, &to), 1).await?;
            match (page.rows.into_iter().next(), page.next) {
                (Some(row), _) => return Ok(Some(row.key)),
                (None, Some(next)) => from = next,
                (None, None) => return Ok(None),
            }
        }
    }

    /// At most so many rows of a range, in order, whoever wrote them.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub(crate) async fn rows<R: DeserializeOwned + Send + 'static>(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        most: usize,
    ) -> Result<Vec<R>, StoreError> {
        if self.decides_alone() {
            let disk = self.disk.clone();
            let read = move || {
                let mut scan = disk.scan(Included(&from), Excluded(&to))?;
                let mut rows = Vec::new();
                while rows.len() < most
                    && let Some(row) = scan.next_row()?
                {
                    if let Some(value) = disk.row(row.key())? {
                        rows.push(decode(&value)?);
                    }
                }
                Ok(rows)
            };
            return self.disk.run(read).await?;
        }
        let (mut from, to) = (Key::from(from), Key::from(to));
        let mut rows = Vec::new();
        loop {
            let page = self
                .registers
                .scan(OF_KEYS, (&from, &to), most - rows.len())
                .await?;
            for row in page.rows {
                rows.extend(self.current::<R>(&row.key).await?);
            }
            match page.next {
                Some(next) if rows.len() < most => from = next,
                _ => break,
            }
        }
        rows.truncate(most);
        Ok(rows)
    }

    /// Rows of a range with their summaries, whoever wrote them: about so many, and where to go on.
    ///
    /// # Errors
    /// As [`Self::current`].
    pub(crate) async fn listed(
        &self,
        from: Vec<u8>,
        to: Vec<u8>,
        most: usize,
    ) -> Result<Scanned, StoreError> {
        let (from, to) = (Key::from(from), Key::from(to));
        self.registers.scan(OF_KEYS, (&from, &to), most).await
    }

    /// Whether this disk alone is the truth about a row.
    pub(crate) fn decides_alone_about(&self, row: &[u8]) -> bool {
        self.registers
            .is_sole(partition_of(row).unwrap_or(ROOT_PARTITION))
    }

    /// Whether this disk alone is the truth about every row.
    pub(crate) fn decides_alone(&self) -> bool {
        (0..=ROOT_PARTITION).all(|partition| self.registers.is_sole(partition))
    }

    /// Answers a call of another member.
    ///
    /// # Errors
    /// It does not read, or the disk fails.
    pub(crate) async fn answer(&self, from: MemberId, call: &[u8]) -> Result<Bytes, StoreError> {
        self.registers.answer(from, call).await
    }

    /// The registers themselves, for whoever changes their voters.
    pub(crate) fn registers(&self) -> &Registers<Commands> {
        &self.registers
    }

    /// All root rows as this disk has them: its own where it votes, and what it heard last.
    ///
    /// # Errors
    /// The disk fails, or a row does not read.
    pub(crate) fn remembered(&self) -> Result<Vec<HeardRow>, StoreError> {
        let mut rows = BTreeMap::new();
        let is_sole = self.registers.is_sole(ROOT_PARTITION);
        let heard = (!is_sole).then(row_key::all_heard);
        for (from, to) in [row_key::all_root()].into_iter().chain(heard) {
            let mut scan = self.disk.scan(Included(&from), Excluded(&to))?;
            while let Some(row) = scan.next_row()? {
                let key = Key::copy_from_slice(row_key::heard_of(row.key()).unwrap_or(row.key()));
                let Some(whole) = self.disk.whole_row(row.key())? else {
                    continue;
                };
                let row = record::row(&whole)?;
                let newer = |known: &HeardRow| known.stamp > row.stamp;
                if let Some(value) = row.content.value
                    && !rows.get(&key).is_some_and(newer)
                {
                    let (stamp, body) = (row.stamp, value.body);
                    rows.insert(key.clone(), HeardRow { key, stamp, body });
                }
            }
        }
        Ok(rows.into_values().collect())
    }

    /// How many closed buckets this disk knows of, all of them: none where other members may know better.
    ///
    /// # Errors
    /// The disk fails, or the row does not read.
    pub(crate) fn closings_known(&self) -> Result<u64, StoreError> {
        if !self.registers.is_sole(ROOT_PARTITION) {
            return Ok(0);
        }
        let row: Option<MeshRow> = self.read(&MeshKey::Closings.row())?;
        Ok(row.map_or(0, |row| row.version))
    }

    /// All root rows as they stand now; those that did not change since `before` are not read again.
    ///
    /// # Errors
    /// `Unavailable`: the root partition has no quorum. The disk fails.
    pub(crate) async fn root_rows(
        &self,
        before: &BTreeMap<Key, HeardRow>,
    ) -> Result<Vec<HeardRow>, StoreError> {
        let (from, to) = row_key::all_root();
        let (mut from, to) = (Key::from(from), Key::from(to));
        let mut rows = Vec::new();
        loop {
            let page = self.registers.scan(OF_ROOT, (&from, &to), usize::MAX).await?;
            let read = page.rows.into_iter().map(|row| self.root_row(before, row));
            let read: Vec<_> = stream::iter(read).buffered(READS_AT_ONCE).try_collect().await?;
            rows.extend(read.into_iter().flatten());
            match page.next {
                Some(next) => from = next,
                None => return Ok(rows),
            }
        }
    }

    async fn root_row(
        &self,
        before: &BTreeMap<Key, HeardRow>,
        met: ScannedKey,
    ) -> Result<Option<HeardRow>, StoreError> {
        if let Some(known) = before.get(&met.key).filter(|known| known.stamp == met.stamp) {
            return Ok(Some(known.clone()));
        }
        let read = self.registers.read(ROOT_PARTITION, &met.key).await?;
        let (key, stamp) = (met.key, read.stamp);
        let body = read.content.value.map(|value| value.body);
        Ok(body.map(|body| HeardRow { key, stamp, body }))
    }

    /// Has the disk remember what was heard, if it is news.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(crate) async fn remember(
        &self,
        before: &BTreeMap<Key, HeardRow>,
        rows: &[HeardRow],
    ) -> Result<(), StoreError> {
        let here: BTreeSet<&Key> = rows.iter().map(|row| &row.key).collect();
        let gone = before.keys().filter(|key| !here.contains(key));
        let mut writes: Vec<RowWrite> = gone
            .map(|key| RowWrite::Drop {
                key: row_key::heard(key),
            })
            .collect();
        let news = rows.iter().filter(|row| before.get(&row.key) != Some(row));
        writes.extend(news.map(|row| {
            let kept = register::Row {
                stamp: row.stamp,
                chosen: true,
                content: content_of(row.body.clone()),
            };
            record::put(&Key::from(row_key::heard(&row.key)), &kept)
        }));
        match writes.is_empty() {
            true => Ok(()),
            false => Ok(self.disk.commit(writes).await?),
        }
    }

    /// The row as last committed on this disk.
    ///
    /// # Errors
    /// The disk fails, or the row does not read.
    pub(crate) fn read<R: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<R>, StoreError> {
        self.disk.row(key)?.map(|value| decode(&value)).transpose()
    }

    /// As [`Self::read`], but reads only a content that `known` does not know yet.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn find<T>(
        &self,
        key: &[u8],
        known: impl Fn(RowId) -> Option<T>,
    ) -> Result<Option<(RowId, Found<T>)>, StoreError> {
        Ok(self.disk.find_row(key, known)?)
    }

    /// Sets a row that only this node knows; no command is about it. Durable when it returns.
    ///
    /// # Errors
    /// The disk fails or is full; whether the row is durable is then unknown.
    pub(crate) async fn keep<R: Serialize>(&self, key: RowKey, row: &R) -> Result<(), StoreError> {
        let kept = register::Row {
            content: content_of(encode_row(row)),
            ..register::Row::absent()
        };
        Ok(self
            .disk
            .commit(vec![record::put(&Key::from(key), &kept)])
            .await?)
    }
}

fn content_of(body: Bytes) -> register::Content {
    register::Content {
        value: Some(Value {
            summary: Bytes::new(),
            body,
        }),
        ..register::Content::default()
    }
}

/// Reads a row out of a value.
///
/// # Errors
/// `Damaged`: not such a row.
pub(crate) fn decode<R: DeserializeOwned>(value: &Bytes) -> Result<R, StoreError> {
    decode_row(&record::body(value)?)
}

/// What a listing needs of a row that was met by a scan of this disk.
pub(crate) fn summary_of(row: ScannedRow<'_>) -> &[u8] {
    record::summary_of(row.summary()).unwrap_or_default()
}

/// What commands mean to registers.
pub(crate) struct Commands {
    clock: Arc<Clock>,
    folding: Folding,
}

/// What came of a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Answered {
    Outcome(Outcome),
    /// A row that it is about does not read.
    Damaged(String),
    /// An earlier attempt may have happened, and it is too late to find out.
    Unknown,
}

impl Machine for Commands {
    type Command = Submission;
    type Outcome = Answered;

    fn decide(
        &self,
        (op, is_retry): (register::OpId, bool),
        submission: &Submission,
        loaded: &Loaded,
    ) -> Decision<Answered> {
        let rows = View::new(op, loaded);
        let fences = Fences {
            sweeps: loaded.fences.sweeps,
            closings: loaded.fences.directory,
        };
        let row = Key::from(row_of(submission));
        if loaded.remembers(&row, op) == Some(Known::Refused) {
            // Whoever asked was told so.
            return Decision::Commit {
                stages: Vec::new(),
                told_after: 0,
                relies_on: vec![row],
                outcome: Answered::Outcome(Outcome::Refused(Refusal::RefusedBefore)),
            };
        }
        let may_be_marked = |row| match loaded.rows.get(row) {
            Some(row) => row.content.remembers(op) == Some(Known::Done),
            // A gateway of an older Warren names only the first.
            None => is_retry,
        };
        if marked_rows(submission).iter().any(may_be_marked) && fences.refuse(submission).is_some() {
            // It was written, perhaps by few, and whoever closed the bucket may not have seen it: nobody can say any more.
            return Decision::Commit {
                stages: Vec::new(),
                told_after: 0,
                relies_on: Vec::new(),
                outcome: Answered::Unknown,
            };
        }
        let submission = Submission {
            // It may have been given another name.
            op: OpId::from_bytes(op.0),
            ..submission.clone()
        };
        let at = (self.clock.earliest(), self.folding);
        let decided = decide(submission.clone(), at, &fences, &rows);
        if let Some(need) = rows.need() {
            return need;
        }
        match decided {
            // Not for ever, perhaps: as soon as another clock is heard, it can be said.
            Ok(decided) if !self.clock.is_known() && is_locked(&decided) => Decision::Commit {
                stages: Vec::new(),
                told_after: 0,
                relies_on: Vec::new(),
                outcome: Answered::Unknown,
            },
            Ok(decided) if is_retry && matches!(decided.outcome, Outcome::Refused(_)) => {
                refused(&submission, decided)
            }
            Ok(decided) => committed(decided),
            Err(error) => Decision::Commit {
                stages: Vec::new(),
                told_after: 0,
                relies_on: Vec::new(),
                outcome: Answered::Damaged(error.to_string()),
            },
        }
    }

    fn partition_of(key: &[u8]) -> Option<u16> {
        partition_of(key)
    }

    fn is_shared(key: &[u8]) -> bool {
        row_key::is_shared(key)
    }

    fn lane_of(key: &Key) -> Key {
        lane_of(key)
    }
}

/// The lane of a row: rows that one command may rely on or write together share one.
fn lane_of(row: &Key) -> Key {
    match row_key::parse_root(row) {
        // A bucket is created by an access key that must stand meanwhile.
        Some((row_key::BUCKET | row_key::ACCESS_KEY, _)) => Key::from_static(DIRECTORY_LANE),
        Some(_) => row.clone(),
        None => row_key::object_of(row).map_or_else(|| row.clone(), Key::from),
    }
}

/// Which partition a row belongs to: one by its object key, or the root partition.
pub(crate) fn partition_of(key: &[u8]) -> Option<u16> {
    match row_key::is_root(key) {
        true => Some(ROOT_PARTITION),
        false => row_key::partition_of(key).map(u16::from),
    }
}

/// The row by which a command belongs to its lane, and which remembers that it was refused: it is always loaded.
fn row_of(submission: &Submission) -> RowKey {
    match &submission.command {
        Command::Object(command) => row_key::object(command.bucket, command.key.as_str()),
        Command::Root(command) => command.row(),
    }
}

/// The rows in which attempts of a command look for one another: [`row_of`], and the one that decides it, where that is
/// another; see `model/command`, "Torn commands".
fn marked_rows(submission: &Submission) -> Vec<Key> {
    let mut marked = vec![row_of(submission)];
    if let Command::Object(ObjectCommand {
        bucket, key, action, ..
    }) = &submission.command
    {
        match action {
            Action::StartUpload { upload, .. }
            | Action::AbortUpload { upload }
            | Action::Forget { upload, .. } => marked.push(row_key::upload(*bucket, key, *upload)),
            Action::PutPart { upload, part } => {
                marked.push(row_key::part(*bucket, key, *upload, part.number));
            }
            _ => {}
        }
    }
    marked.into_iter().map(Key::from).collect()
}

/// A retry is refused for good: an earlier attempt that still waits somewhere must not be done after that.
fn refused(submission: &Submission, decided: Decided) -> Decision<Answered> {
    let key = Key::from(row_of(submission));
    let relies_on = decided.relies_on.into_iter().map(Key::from);
    Decision::Refuse {
        relies_on: relies_on.filter(|row| *row != key).collect(),
        key,
        outcome: Answered::Outcome(decided.outcome),
    }
}

fn is_locked(decided: &Decided) -> bool {
    matches!(decided.outcome, Outcome::Refused(Refusal::Locked))
}

fn committed(decided: Decided) -> Decision<Answered> {
    let change = |change| match change {
        RowChange::Put { key, summary, value } => Change {
            key: key.into(),
            value: Some(Value {
                summary: summary.into(),
                body: value,
            }),
        },
        RowChange::Remove { key } => Change {
            key: key.into(),
            value: None,
        },
    };
    let stages = decided.stages.into_iter();
    Decision::Commit {
        stages: stages
            .map(|stage| stage.into_iter().map(change).collect())
            .collect(),
        told_after: decided.told_after,
        relies_on: decided.relies_on.into_iter().map(Key::from).collect(),
        outcome: Answered::Outcome(decided.outcome),
    }
}

/// The rows that were loaded, as a command sees them; what it misses is noted, and reads as absent.
struct View<'a> {
    op: register::OpId,
    loaded: &'a Loaded,
    keys: RefCell<Vec<Key>>,
    ranges: RefCell<Vec<KeyRange>>,
}

impl<'a> View<'a> {
    fn new(op: register::OpId, loaded: &'a Loaded) -> Self {
        Self {
            op,
            loaded,
            keys: RefCell::default(),
            ranges: RefCell::default(),
        }
    }

    /// What has to be loaded before the decision counts.
    fn need(self) -> Option<Decision<Answered>> {
        let (keys, ranges) = (self.keys.into_inner(), self.ranges.into_inner());
        (!keys.is_empty() || !ranges.is_empty()).then_some(Decision::Need { keys, ranges })
    }
}

impl Rows for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Row, StoreError> {
        let Some(row) = self.loaded.rows.get(key) else {
            self.keys.borrow_mut().push(Key::copy_from_slice(key));
            return Ok(Row::default());
        };
        // A command asks of no other operation than its own.
        let known = row.content.remembers(self.op) == Some(Known::Done);
        let known = known.then(|| OpId::from_bytes(self.op.0));
        Ok(Row {
            value: row.content.value.as_ref().map(|value| value.body.clone()),
            recent: Recent::of(known),
        })
    }

    fn with_prefix(&self, prefix: &[u8]) -> Result<Vec<(RowKey, Bytes)>, StoreError> {
        let range = KeyRange {
            from: Key::copy_from_slice(prefix),
            to: Some(row_key::after_prefix(prefix.to_vec()).into()),
        };
        if !self.loaded.ranges.contains(&range) {
            self.ranges.borrow_mut().push(range);
            return Ok(Vec::new());
        }
        let rows = self.loaded.rows.range(range.from.clone()..);
        let within = rows.take_while(|(key, _)| range.contains(key));
        let standing = within.filter_map(|(key, row)| {
            let value = row.content.value.as_ref()?;
            Some((key.to_vec(), value.body.clone()))
        });
        Ok(standing.collect())
    }
}
