//! What clients of the simulation want: an object and a multipart upload beside it, two rows of one lane.
//!
//! Completing an upload writes the object's row, then the upload's. In between, the upload is *half completed*: its row
//! says open, but the object shows it. Whoever meets that takes it for completed, and finishes it before the object changes.

use bytes::Bytes;
use storage::register::{Change, Decision, Key, KeyRange, Known, Loaded, Operation, Row, Value};

/// Names of uploads; smaller numbers are contents that were put in one piece.
pub(super) const FIRST_UPLOAD: u32 = 1 << 16;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get,
    Put(u32),
    PutNew(u32),
    CompareAndSet(u32, u32),
    Delete,
    /// Begins an upload, unless another is open.
    Begin(u32),
    Complete(u32),
    Abort(u32),
    /// Tells both rows.
    Inspect,
    /// Deletes the row of the upload; only when nobody else is there.
    Forget,
}

impl Command {
    /// Whether it may change something.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::Get | Self::Inspect)
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    /// A condition does not hold.
    No,
    Object(Option<u32>),
    Both(Lane),
    /// A fence stands above it, or a row would have to forget an operation too early: this attempt did nothing.
    Refused,
}

/// The state of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    pub(super) object: Option<u32>,
    pub(super) upload: Upload,
}

/// The state of an upload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Upload {
    #[default]
    None,
    Open(u32),
    Completed(u32),
    Aborted(u32),
}

/// A command with the lines it was prepared under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) command: Command,
    /// When the client began.
    pub(super) started: u64,
    /// The version of the directory that its gateway knew.
    pub(super) directory: u64,
    /// Which attempt it is, from 1.
    pub(super) attempt: u32,
}

/// How a holder may be deceived, in tests.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    /// Rows forget operations at once.
    pub(super) forgets_operations: bool,
    /// Retries that fail leave no mark.
    pub(super) forgets_refusals: bool,
}

/// The key of the object's row is the lane's name.
pub(super) fn upload_key(lane: &Key) -> Key {
    Bytes::from([lane.as_ref(), b"/upload"].concat())
}

/// Both rows of a lane.
pub(super) fn range(lane: &Key) -> KeyRange {
    KeyRange {
        from: lane.clone(),
        to: Some(Bytes::from([lane.as_ref(), b"~"].concat())),
    }
}

/// What the object's row says.
pub(super) fn object(row: &Row) -> Option<u32> {
    row.content.value.as_ref().map(|value| number(&value.body))
}

fn upload(row: &Row) -> Upload {
    let Some(Value { summary, body }) = &row.content.value else {
        return Upload::None;
    };
    match summary.as_ref() {
        b"open" => Upload::Open(number(body)),
        b"completed" => Upload::Completed(number(body)),
        _ => Upload::Aborted(number(body)),
    }
}

fn number(body: &Bytes) -> u32 {
    body.as_ref()
        .try_into()
        .map(u32::from_be_bytes)
        .unwrap_or_default()
}

fn value(summary: &'static str, number: u32) -> Option<Value> {
    Some(Value {
        summary: Bytes::from(summary),
        body: Bytes::copy_from_slice(&number.to_be_bytes()),
    })
}

impl Lane {
    /// What one command does to a lane where everything happens at once: what the protocol is compared with.
    pub(super) fn apply(&self, command: &Command) -> (Self, Outcome) {
        use Outcome::{No, Ok};
        use Upload::{Aborted, Completed, Open};
        let with = |object| Self { object, ..*self };
        let moved = |upload| Self { upload, ..*self };
        match (*command, self.upload) {
            (Command::Get, _) => (*self, Outcome::Object(self.object)),
            (Command::Inspect, _) => (*self, Outcome::Both(*self)),
            (Command::Put(new), _) => (with(Some(new)), Ok),
            (Command::Delete, _) => (with(None), Ok),
            (Command::PutNew(new), _) if self.object.is_none() => (with(Some(new)), Ok),
            (Command::CompareAndSet(old, new), _) if self.object == Some(old) => (with(Some(new)), Ok),
            (Command::Begin(_), Open(_)) => (*self, No),
            (Command::Begin(new), _) => (moved(Open(new)), Ok),
            (Command::Complete(it), Open(open)) if it == open => {
                let (object, upload) = (Some(it), Completed(it));
                (Self { object, upload }, Ok)
            }
            (Command::Complete(it), Completed(old)) if it == old => (*self, Ok),
            (Command::Abort(it), Open(open)) if it == open => (moved(Aborted(it)), Ok),
            (Command::Abort(it), Aborted(old)) if it == old => (*self, Ok),
            (Command::Forget, _) => (moved(Upload::None), Ok),
            (
                Command::PutNew(_) | Command::CompareAndSet(..) | Command::Complete(_) | Command::Abort(_),
                _,
            ) => (*self, No),
        }
    }
}

/// One of the rows, and what it is to say.
#[derive(Clone, Copy)]
enum Write {
    Object(Option<u32>),
    Upload(Upload),
}

#[derive(Clone, Copy)]
enum Which {
    Object,
    Upload,
}

enum Plan {
    /// The upload's row is needed.
    Need,
    Commit(Vec<Write>, Vec<Which>, Outcome),
    /// A condition does not hold, and no attempt is to be executed any more.
    Refuse(Vec<Which>),
}

/// What an operation comes to, given the rows of its lane.
pub(super) fn decide(operation: &Operation<Task>, loaded: &Loaded, memory: Memory) -> Decision<Outcome> {
    let keys = (operation.lane.clone(), upload_key(&operation.lane));
    let absent = Row::absent();
    let object_row = loaded.rows.get(&keys.0).unwrap_or(&absent);
    // A range tells by silence that a row is absent.
    let upload_row = match operation.ranges.is_empty() {
        true => loaded.rows.get(&keys.1),
        false => Some(loaded.rows.get(&keys.1).unwrap_or(&absent)),
    };
    let task = &operation.command;
    let remembers = |row: &Row| match memory.forgets_operations {
        true => None,
        false => row.content.remembers(operation.id),
    };
    let known = match mark_of(task.command) {
        Which::Object => Some(remembers(object_row)),
        Which::Upload => upload_row.map(remembers),
    };
    let seen = (object(object_row), upload_row.map(upload));
    let is_fenced = task.started < loaded.fences.sweeps || task.directory < loaded.fences.directory;
    let plan = match known {
        None => Plan::Need,
        Some(Some(Known::Done)) => plan_retry(task.command, seen),
        Some(Some(Known::Refused)) => Plan::Commit(vec![], vec![mark_of(task.command)], Outcome::No),
        Some(None) if is_fenced && task.command.changes() => refused(),
        Some(None) => match plan(task.command, seen) {
            // An earlier attempt may still wait somewhere.
            Plan::Commit(_, relies_on, Outcome::No) if task.attempt > 1 && !memory.forgets_refusals => {
                Plan::Refuse(relies_on)
            }
            plan => plan,
        },
    };
    decision(task.command, plan, keys)
}

/// The rows that a command asks for first: the object's, and the one in which its attempts look for one another.
pub(super) fn first_keys(lane: &Key, command: Command) -> Vec<Key> {
    match mark_of(command) {
        Which::Object => vec![lane.clone()],
        Which::Upload => vec![lane.clone(), upload_key(lane)],
    }
}

/// The row that a command writes first: attempts look for one another there.
fn mark_of(command: Command) -> Which {
    match command {
        Command::Begin(_) | Command::Abort(_) | Command::Forget => Which::Upload,
        _ => Which::Object,
    }
}

fn decision(command: Command, plan: Plan, (object_key, upload_key): (Key, Key)) -> Decision<Outcome> {
    let key = |which: Which| match which {
        Which::Object => object_key.clone(),
        Which::Upload => upload_key.clone(),
    };
    let (writes, relies_on, outcome) = match plan {
        Plan::Need => {
            return Decision::Need {
                keys: vec![upload_key],
                ranges: Vec::new(),
            };
        }
        Plan::Refuse(relies_on) => {
            return Decision::Refuse {
                key: key(mark_of(command)),
                relies_on: relies_on.into_iter().map(key).collect(),
                outcome: Outcome::No,
            };
        }
        Plan::Commit(writes, relies_on, outcome) => (writes, relies_on, outcome),
    };
    let change = |write: Write| match write {
        Write::Object(object) => Change {
            key: object_key.clone(),
            value: object.and_then(|number| value("object", number)),
        },
        Write::Upload(upload) => Change {
            key: upload_key.clone(),
            value: match upload {
                Upload::None => None,
                Upload::Open(number) => value("open", number),
                Upload::Completed(number) => value("completed", number),
                Upload::Aborted(number) => value("aborted", number),
            },
        },
    };
    Decision::Commit {
        told_after: writes.len(),
        stages: writes.into_iter().map(|write| vec![change(write)]).collect(),
        relies_on: relies_on.into_iter().map(key).collect(),
        outcome,
    }
}

fn refused() -> Plan {
    Plan::Commit(vec![], vec![], Outcome::Refused)
}

fn plan(command: Command, (object, upload): (Option<u32>, Option<Upload>)) -> Plan {
    use Outcome::{No, Ok};
    use Plan::{Commit, Need};
    use Upload::{Aborted, Completed, Open};
    use Which::{Object as TheObject, Upload as TheUpload};
    match command {
        Command::Get => Commit(vec![], vec![TheObject], Outcome::Object(object)),
        Command::Put(new) => overwrite(object, upload, Some(new)),
        Command::Delete => overwrite(object, upload, None),
        Command::PutNew(new) if object.is_none() => overwrite(object, upload, Some(new)),
        Command::CompareAndSet(old, new) if object == Some(old) => overwrite(object, upload, Some(new)),
        Command::PutNew(_) | Command::CompareAndSet(..) => Commit(vec![], vec![TheObject], No),
        Command::Inspect | Command::Begin(_) | Command::Complete(_) | Command::Abort(_) | Command::Forget => {
            let Some(upload) = upload else { return Need };
            let is_half = |it| object == Some(it);
            let both = || vec![TheObject, TheUpload];
            match (command, upload) {
                (Command::Inspect, Open(it)) if is_half(it) => {
                    let upload = Completed(it);
                    Commit(vec![], both(), Outcome::Both(Lane { object, upload }))
                }
                (Command::Inspect, upload) => Commit(vec![], both(), Outcome::Both(Lane { object, upload })),
                (Command::Begin(new), Open(old)) if is_half(old) => {
                    Commit(vec![Write::Upload(Open(new))], vec![TheObject], Ok)
                }
                (Command::Begin(_), Open(_)) => Commit(vec![], both(), No),
                (Command::Begin(new), _) => Commit(vec![Write::Upload(Open(new))], vec![], Ok),
                (Command::Complete(it), Open(open)) if it == open && is_half(it) => {
                    Commit(vec![Write::Upload(Completed(it))], vec![TheObject], Ok)
                }
                (Command::Complete(it), Open(open)) if it == open => {
                    let writes = vec![Write::Object(Some(it)), Write::Upload(Completed(it))];
                    Commit(writes, vec![TheUpload], Ok)
                }
                (Command::Complete(it), Completed(old)) if it == old => Commit(vec![], vec![TheUpload], Ok),
                (Command::Abort(it), Open(open)) if it == open && !is_half(it) => {
                    Commit(vec![Write::Upload(Aborted(it))], vec![TheObject], Ok)
                }
                (Command::Abort(it), Aborted(old)) if it == old => Commit(vec![], vec![TheUpload], Ok),
                (Command::Forget, _) => Commit(vec![Write::Upload(Upload::None)], vec![], Ok),
                (_, _) => Commit(vec![], both(), No),
            }
        }
    }
}

/// Changes the object. An upload that it shows is completed first: else nobody could tell later that it was.
fn overwrite(object: Option<u32>, upload: Option<Upload>, new: Option<u32>) -> Plan {
    let last = Write::Object(new);
    let Some(shown) = object.filter(|number| *number >= FIRST_UPLOAD) else {
        return Plan::Commit(vec![last], vec![], Outcome::Ok);
    };
    match upload {
        None => Plan::Need,
        Some(Upload::Open(open)) if open == shown => {
            let first = Write::Upload(Upload::Completed(open));
            Plan::Commit(vec![first, last], vec![Which::Object], Outcome::Ok)
        }
        Some(_) => Plan::Commit(vec![last], vec![Which::Upload], Outcome::Ok),
    }
}

/// Goes on with what an earlier attempt of the same operation has begun.
fn plan_retry(command: Command, (object, upload): (Option<u32>, Option<Upload>)) -> Plan {
    match (command, upload) {
        (Command::Complete(_), None) => Plan::Need,
        (Command::Complete(it), Some(Upload::Open(open))) if it == open && object == Some(it) => {
            Plan::Commit(
                vec![Write::Upload(Upload::Completed(it))],
                vec![Which::Object],
                Outcome::Ok,
            )
        }
        (Command::Complete(_), Some(_)) => {
            Plan::Commit(vec![], vec![Which::Object, Which::Upload], Outcome::Ok)
        }
        (Command::Begin(_) | Command::Abort(_) | Command::Forget, _) => {
            Plan::Commit(vec![], vec![Which::Upload], Outcome::Ok)
        }
        (_, _) => Plan::Commit(vec![], vec![Which::Object], Outcome::Ok),
    }
}
