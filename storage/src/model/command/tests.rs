//! What commands promise wherever a crash cuts them, checked against the same commands carried out whole.

mod bucket_rows;
mod directory;
mod events;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{
    Amendment, ArchiveId, Archived, BucketId, Completed, ETag, Folding, Keeping, Lock, Marker, ObjectKey,
    ObjectRow, PartNumber, PartRow, Retention, RetentionMode, SealedVersion, StorageClass, Timestamp,
    UploadId, UploadRow, UploadState, VersionFacts, VersionId, Versioning, WriteCondition, WriteId,
    partition_of, row_key,
};

/// A version takes about 217 bytes here.
const FOLDING: Folding = Folding { at: 700, keep: 300 };

/// How many other commands may come between an operation and its repetition: what rows remember, less the operation.
const REMEMBERED: usize = 3;

/// Rows in memory. A removed one stays, for what it remembers.
#[derive(Clone, Default, PartialEq, Eq)]
struct Memory(BTreeMap<RowKey, Row>);

impl Rows for Memory {
    fn get(&self, key: &[u8]) -> Result<Row, StoreError> {
        Ok(self.0.get(key).cloned().unwrap_or_default())
    }

    fn with_prefix(&self, prefix: &[u8]) -> Result<Vec<(RowKey, Bytes)>, StoreError> {
        let rows = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(rows
            .filter_map(|(key, row)| Some((key.clone(), row.value.clone()?)))
            .collect())
    }
}

impl Memory {
    fn decide(&self, submission: &Submission) -> Decision {
        decide(submission.clone(), (now(), FOLDING), &Fences::default(), self).unwrap()
    }

    fn apply<'a>(&mut self, op: OpId, changes: impl IntoIterator<Item = &'a RowChange>) {
        for change in changes {
            let row = self.0.entry(change.key().to_vec()).or_default();
            row.recent = row.recent.and(op);
            row.value = match change {
                RowChange::Put { value, .. } => Some(value.clone()),
                RowChange::Remove { .. } => None,
            };
        }
    }

    /// Carries a command out whole.
    fn submit(&mut self, submission: &Submission) -> Outcome {
        let decision = self.decide(submission);
        self.apply(submission.op, decision.stages.iter().flatten());
        decision.outcome
    }

    fn read<R: DeserializeOwned>(&self, key: &[u8]) -> Option<R> {
        Some(decode_row(&self.get(key).unwrap().value?).unwrap())
    }

    fn object(&self) -> ObjectRow {
        self.read(&row_key::object(bucket(), key().as_str()))
            .unwrap_or_default()
    }

    /// The object's row with the versions that are in archives.
    fn whole_object(&self) -> ObjectRow {
        let mut row = self.object();
        for Archived { id, .. } in row.archived.clone() {
            let archive = self.read(&row_key::archive(bucket(), &key(), id));
            row.join(id, archive.expect("an archive that the row names"));
        }
        row
    }
}

/// What clients can read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    /// Versions by write, with their times and locks.
    versions: Vec<(WriteId, Timestamp, Lock)>,
    /// Open uploads, their parts by number.
    open: BTreeMap<UploadId, BTreeMap<u16, (WriteId, Timestamp)>>,
    /// What a repeated Complete hears.
    completed: BTreeMap<UploadId, (ETag, Timestamp)>,
}

impl View {
    fn of(rows: &Memory) -> Self {
        let object = rows.whole_object();
        let mut view = Self {
            versions: object
                .versions
                .iter()
                .map(|version| (version.write, version.facts.modified, version.facts.lock))
                .collect(),
            open: BTreeMap::new(),
            completed: BTreeMap::new(),
        };
        for (row, _) in rows.with_prefix(&row_key::uploads(bucket(), &key())).unwrap() {
            let (_, upload) = row_key::parse_upload(&row).unwrap();
            let UploadRow { state, .. } = rows.read(&row).unwrap();
            let closing = object.closing(upload).map(|closing| closing.completed);
            let answer = |completed: Completed| (completed.etag, completed.modified);
            match (closing, state) {
                (Some(completed), _) | (None, UploadState::Completed(completed)) => {
                    view.completed.insert(upload, answer(completed));
                }
                (None, UploadState::Open) => {
                    view.open.insert(upload, parts(rows, upload));
                }
            }
        }
        view
    }

    /// Writes whose blocks must be there.
    fn needed(rows: &Memory) -> HashSet<WriteId> {
        let view = Self::of(rows);
        let parts = view
            .open
            .values()
            .flat_map(|parts| parts.values().map(|(write, _)| *write));
        let object = rows.whole_object();
        let extents = object.versions.iter().flat_map(|version| version.extents.clone());
        parts.chain(extents).collect()
    }
}

fn parts(rows: &Memory, upload: UploadId) -> BTreeMap<u16, (WriteId, Timestamp)> {
    let parts = rows
        .with_prefix(&row_key::parts(bucket(), &key(), upload))
        .unwrap();
    parts
        .into_iter()
        .map(|(_, value)| decode_row::<PartRow>(&value).unwrap())
        .map(|part| (part.number.get(), (part.write, part.modified)))
        .collect()
}

/// What the clock of whoever decides says.
fn now() -> Timestamp {
    Timestamp::from_millis(25)
}

fn bucket() -> BucketId {
    BucketId::from_bytes([7; 16])
}

fn key() -> ObjectKey {
    ObjectKey::parse(b"a\0b").unwrap()
}

fn upload_id(number: u8) -> UploadId {
    UploadId::from_bytes([number; 16])
}

fn version(write: WriteId, extents: Vec<WriteId>, clock: u64) -> SealedVersion {
    let facts = VersionFacts {
        etag: ETag::Md5(*write.as_bytes()),
        modified: Timestamp::from_millis(clock),
        delete_marker: false,
        ..VersionFacts::marker_for_tests()
    };
    SealedVersion {
        facts,
        write,
        extents,
        invocation: None,
        details: Bytes::new(),
    }
}

/// What a client does, and where a crash cuts it.
#[derive(Clone, Debug)]
struct Step {
    client: usize,
    what: What,
    condition: WriteCondition,
    keeping: Keeping,
    clock: u64,
    /// The crash: in which stage, and which of its changes are made. `None`: there is none.
    cut: Option<(usize, u32)>,
}

#[derive(Clone, Debug)]
enum What {
    Put,
    Delete,
    /// Removes the version in this place, counted around.
    Remove(usize),
    /// Hides the current version, and removes the one in this place.
    Expire(usize),
    /// Changes what is said about it.
    Amend(usize),
    Fold,
    /// Takes the archive in this place back.
    Unfold(usize),
    Start,
    PutPart(u8, u16),
    Complete(u8),
    Abort(u8),
    Forget(u8, Rest),
    /// Tries the client's last operation again: the very same, or with its content stored once more.
    Again {
        stored_again: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let upload = 0_u8..3;
    let what = prop_oneof![
        2 => Just(What::Put),
        1 => Just(What::Delete),
        1 => (0_usize..8).prop_map(What::Remove),
        1 => (0_usize..8).prop_map(What::Expire),
        1 => (0_usize..8).prop_map(What::Amend),
        2 => Just(What::Fold),
        1 => (0_usize..3).prop_map(What::Unfold),
        3 => Just(What::Start),
        5 => (upload.clone(), 1_u16..3).prop_map(|(upload, part)| What::PutPart(upload, part)),
        5 => upload.clone().prop_map(What::Complete),
        1 => upload.clone().prop_map(What::Abort),
        1 => (upload, prop_oneof![Just(Rest::Parts), Just(Rest::All)]).prop_map(|(upload, rest)| What::Forget(upload, rest)),
        5 => any::<bool>().prop_map(|stored_again| What::Again { stored_again }),
    ];
    let condition = prop_oneof![
        6 => Just(WriteCondition::None),
        1 => Just(WriteCondition::Absent),
        1 => Just(WriteCondition::Present),
    ];
    let cut = prop_oneof![2 => Just(None), 3 => (0_usize..5, any::<u32>()).prop_map(Some)];
    let keeping = prop_oneof![
        2 => Just(Versioning::Off),
        2 => Just(Versioning::Enabled),
        1 => Just(Versioning::Suspended),
    ];
    let keeping = keeping.prop_map(|versioning| Keeping {
        versioning,
        lock: None,
    });
    let step = (0_usize..3, what, condition, keeping, 0_u64..50, cut).prop_map(
        |(client, what, condition, keeping, clock, cut)| Step {
            client,
            what,
            condition,
            keeping,
            clock,
            cut,
        },
    );
    proptest::collection::vec(step, 1..40)
}

/// A client's last operation.
#[derive(Clone)]
struct Last {
    submission: Submission,
    /// At which step it was submitted first.
    at: usize,
    /// Whether an outcome was told: what was stored for it may be freed.
    told: bool,
    /// Whether one was told that changed something.
    done: bool,
}

/// Rows that crashes tear, what they may stand for, and what clients did.
#[derive(Default)]
struct World {
    torn: Memory,
    /// What would be there if every command so far had happened whole or not at all: all that cannot be told apart yet.
    whole: Vec<Memory>,
    freed: HashSet<WriteId>,
    last: BTreeMap<usize, Last>,
    uploads: u8,
    writes: u64,
}

impl World {
    fn new() -> Self {
        Self {
            whole: vec![Memory::default()],
            ..Self::default()
        }
    }

    fn write(&mut self) -> WriteId {
        self.writes += 1;
        let mut bytes = [0xee; 16];
        bytes[..8].copy_from_slice(&self.writes.to_le_bytes());
        WriteId::from_bytes(bytes)
    }

    /// The last uploads started, so that a few of them get all the attention.
    fn upload(&self, back: u8) -> UploadId {
        upload_id(self.uploads.saturating_sub(back))
    }

    fn action(&mut self, step: &Step) -> Action {
        let condition = step.condition;
        match step.what {
            What::Put => {
                let write = self.write();
                Action::Put {
                    version: version(write, vec![write], step.clock),
                    condition,
                }
            }
            What::Delete => Action::Delete {
                marker: Marker {
                    write: self.write(),
                    at: Timestamp::from_millis(step.clock),
                },
                condition,
            },
            What::Remove(place) => {
                let versions = self.torn.whole_object().versions;
                let place = place.checked_rem(versions.len());
                Action::Remove {
                    version: place.map_or(VersionId::Null, |place| versions[place].facts.id),
                    condition,
                    bypass: false,
                }
            }
            What::Expire(place) => {
                let row = self.torn.object();
                let whole = self.torn.whole_object();
                let others = whole.versions.iter().skip(1 + place).take(1);
                Action::Expire {
                    // Now and then of another row.
                    seen: match step.clock.is_multiple_of(5) {
                        true => [0; 32],
                        false => row.digest(),
                    },
                    remove: others.map(|version| version.facts.id).collect(),
                    marker: Some(Marker {
                        write: self.write(),
                        at: Timestamp::from_millis(step.clock),
                    }),
                }
            }
            What::Amend(place) => {
                let versions = self.torn.whole_object().versions;
                let place = place.checked_rem(versions.len());
                let it = place.map(|place| (versions[place].facts.id, versions[place].write));
                let (version, write) = it.unwrap_or((VersionId::Null, upload_id(0).into()));
                let retention = Retention {
                    mode: RetentionMode::Governance,
                    until: Timestamp::from_millis(step.clock),
                };
                Action::Amend {
                    version,
                    write,
                    amendment: Amendment::Retention {
                        retention: Some(retention),
                        bypass: step.clock.is_multiple_of(2),
                    },
                }
            }
            What::Fold => Action::Fold,
            What::Unfold(place) => {
                let archived = self.torn.object().archived;
                let place = place.checked_rem(archived.len());
                Action::Unfold {
                    archive: place.map_or(ArchiveId::from_bytes([0; 16]), |place| archived[place].id),
                }
            }
            What::Start => {
                self.uploads += 1;
                Action::StartUpload {
                    upload: upload_id(self.uploads),
                    row: UploadRow {
                        started: Timestamp::from_millis(step.clock),
                        initiator: None,
                        class: StorageClass::Standard,
                        checksum: None,
                        full_object: false,
                        lock: Lock::default(),
                        state: UploadState::Open,
                        headers: Bytes::new(),
                    },
                }
            }
            What::PutPart(back, number) => Action::PutPart {
                upload: self.upload(back),
                part: part(number, self.write(), step.clock),
            },
            What::Complete(back) => self.complete(self.upload(back), step),
            What::Abort(back) => Action::AbortUpload {
                upload: self.upload(back),
            },
            What::Forget(back, rest) => Action::Forget {
                upload: self.upload(back),
                rest,
            },
            What::Again { .. } => unreachable!(),
        }
    }

    /// As a gateway makes it: of the parts that can be read, all but the last of several.
    fn complete(&self, upload: UploadId, step: &Step) -> Action {
        let mut parts: Vec<_> = parts(&self.torn, upload).into_iter().collect();
        if step.clock.is_multiple_of(2) {
            parts.truncate(1);
        }
        let writes: Vec<_> = parts.iter().map(|(_, (write, _))| *write).collect();
        Action::CompleteUpload {
            upload,
            parts: parts
                .into_iter()
                .map(|(number, (write, _))| ChosenPart {
                    number: PartNumber::new(number).unwrap(),
                    write,
                })
                .collect(),
            version: version(upload.into(), writes, step.clock),
            checksum: None,
            condition: step.condition,
        }
    }

    fn submission(&mut self, at: usize, step: &Step) -> Option<Last> {
        let What::Again { stored_again } = step.what else {
            let command = Command::Object(ObjectCommand {
                bucket: bucket(),
                closings: 0,
                keeping: step.keeping,
                asked: Timestamp::from_millis(30),
                key: key(),
                action: self.action(step),
                telling: None,
            });
            let mut op = [0x0f; 16];
            op[..8].copy_from_slice(&(at as u64).to_le_bytes());
            let submission = Submission {
                op: OpId::from_bytes(op),
                sweeps: 0,
                command,
            };
            return Some(Last {
                submission,
                at,
                told: false,
                done: false,
            });
        };
        let mut last = self.last.get(&step.client)?.clone();
        if at - last.at > REMEMBERED {
            return None;
        }
        let write = self.write();
        if let Command::Object(ObjectCommand { action, .. }) = &mut last.submission.command
            && (stored_again || last.told)
        {
            match action {
                Action::Put { version, .. } => (version.write, version.extents) = (write, vec![write]),
                Action::PutPart { part, .. } => part.write = write,
                _ => {}
            }
        }
        Some(last)
    }

    fn step(&mut self, at: usize, step: &Step) {
        let Some(mut last) = self.submission(at, step) else {
            return;
        };
        let before = View::of(&self.torn);
        let decision = self.torn.decide(&last.submission);
        check_form(&decision);
        let told = self.carry_out(last.submission.op, &decision, step.cut);
        let after = View::of(&self.torn);
        if last.done {
            assert_eq!(before, after, "told that it was done, and done again");
        }
        if told {
            self.learn(&last.submission, &decision.outcome);
        }
        self.follow(&last.submission, &decision.outcome, told);
        let needed = View::needed(&self.torn);
        assert!(needed.is_disjoint(&self.freed), "readable content was freed");
        last.told |= told;
        last.done |= told && decision.told_after > 0;
        self.last.insert(step.client, last);
    }

    /// Makes the changes up to the cut; says whether the outcome was told before.
    fn carry_out(&mut self, op: OpId, decision: &Decision, cut: Option<(usize, u32)>) -> bool {
        let (stage, mask) = cut.unwrap_or((usize::MAX, 0));
        for (number, changes) in decision.stages.iter().enumerate() {
            if number > stage {
                break;
            }
            let made = |place: usize| number < stage || mask >> (place % 32) & 1 == 1;
            let changes = changes.iter().enumerate().filter(|(place, _)| made(*place));
            self.torn.apply(op, changes.map(|(_, change)| change));
        }
        stage >= decision.told_after
    }

    /// What a gateway frees once it is told an outcome.
    fn learn(&mut self, submission: &Submission, outcome: &Outcome) {
        let unneeded = outcome.clone().take_unneeded();
        let versions = unneeded
            .versions
            .iter()
            .flat_map(|version| version.extents.clone());
        self.freed.extend(versions);
        self.freed.extend(unneeded.parts.iter().map(|part| part.write));
        if let Command::Object(ObjectCommand { action, .. }) = &submission.command
            && !outcome.stands()
        {
            match action {
                Action::Put { version, .. } => self.freed.extend([version.write]),
                Action::PutPart { part, .. } => self.freed.extend([part.write]),
                _ => {}
            }
        }
    }

    /// Drops what the rows cannot stand for any more; something must be left.
    fn follow(&mut self, submission: &Submission, outcome: &Outcome, told: bool) {
        let view = View::of(&self.torn);
        let mut followed: Vec<Memory> = Vec::new();
        for whole in std::mem::take(&mut self.whole) {
            let mut happened = whole.clone();
            let heard = happened.submit(submission);
            if !told || moves(submission) {
                followed.push(whole);
            }
            if !told || same(&heard, outcome) {
                followed.push(happened);
            }
        }
        followed.retain(|whole| View::of(whole) == view);
        followed.dedup();
        followed.truncate(64);
        assert!(
            !followed.is_empty(),
            "neither happened nor did not: {submission:?} heard {outcome:?}, seen is {view:?}"
        );
        self.whole = followed;
    }

    /// What a crash left goes.
    fn tidy(&mut self) {
        let mut tidying = vec![What::Fold; 8];
        tidying.push(What::Put);
        tidying.extend((0..=self.uploads).map(|back| What::Forget(back, Rest::Parts)));
        for (place, what) in tidying.into_iter().enumerate() {
            let step = Step {
                client: 9,
                what,
                condition: WriteCondition::None,
                keeping: Keeping::default(),
                clock: 1,
                cut: None,
            };
            self.step(1000 + place, &step);
        }
        let object = self.torn.object();
        assert!(object.closing.is_empty() && object.left.is_empty());
        let named = object.archived.iter();
        let named: BTreeSet<_> = named
            .map(|archived| row_key::archive(bucket(), &key(), archived.id))
            .collect();
        let archives = self.torn.with_prefix(&row_key::archives_of_key(bucket(), &key()));
        let archives: BTreeSet<_> = archives.unwrap().into_iter().map(|(row, _)| row).collect();
        assert_eq!(archives, named, "archives that nothing names");
        let open: BTreeSet<_> = View::of(&self.torn).open.into_keys().collect();
        for upload in (0..=self.uploads).map(upload_id) {
            assert!(open.contains(&upload) || parts(&self.torn, upload).is_empty());
        }
    }
}

fn part(number: u16, write: WriteId, clock: u64) -> PartRow {
    PartRow {
        number: PartNumber::new(number).unwrap(),
        write,
        modified: Timestamp::from_millis(clock),
        size: 1,
        etag: ETag::Md5(*write.as_bytes()),
        checksum: None,
        content: Bytes::new(),
    }
}

/// Whether it changes nothing but where versions stand, which no client is told.
fn moves(submission: &Submission) -> bool {
    match &submission.command {
        Command::Object(command) => matches!(command.action, Action::Fold | Action::Unfold { .. }),
        Command::Root(_) => false,
    }
}

/// Whether a client hears the same. What is to be freed, and for whom, is checked against what can be read.
fn same(one: &Outcome, other: &Outcome) -> bool {
    let heard = |outcome: &Outcome| {
        let mut outcome = outcome.clone();
        outcome.take_unneeded();
        if let Outcome::Stored { stands, .. }
        | Outcome::PartStored { stands, .. }
        | Outcome::Completed { stands, .. } = &mut outcome
        {
            *stands = true;
        }
        if let Outcome::Removed { delete_marker, .. } = &mut outcome {
            *delete_marker = false;
        }
        outcome
    };
    heard(one) == heard(other)
}

fn check_form(decision: &Decision) {
    assert!(decision.stages.iter().all(|stage| !stage.is_empty()));
    assert!(decision.told_after <= decision.stages.len());
    let changed: Vec<_> = decision.stages.iter().flatten().map(RowChange::key).collect();
    let rows = changed
        .iter()
        .copied()
        .chain(decision.relies_on.iter().map(Vec::as_slice));
    let partition = partition_of(&row_key::object(bucket(), key().as_str()));
    assert!(rows.into_iter().all(|row| partition_of(row) == partition));
    for stage in &decision.stages {
        let rows: BTreeSet<_> = stage.iter().map(RowChange::key).collect();
        assert_eq!(rows.len(), stage.len(), "one stage changes a row twice");
    }
    if decision.told_after > 0 {
        let first: BTreeSet<_> = decision.stages[0].iter().map(RowChange::key).collect();
        assert!(
            !decision
                .relies_on
                .iter()
                .any(|row| first.contains(row.as_slice()))
        );
    }
}

proptest! {
    #[test]
    fn wherever_crashes_cut_commands_each_happened_whole_or_not_at_all(steps in steps()) {
        let mut world = World::new();
        for (at, step) in steps.iter().enumerate() {
            world.step(at, step);
        }
        world.tidy();
    }
}
