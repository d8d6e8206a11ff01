//! Remembers of each member how far its disk had come, and notices when the disk of this one has forgotten (rule 8 of
//! registers).
//!
//! Every message about registers says how the disk of its sender stands, and what the sender remembers of the receiver's.
//! So whoever runs on a disk that forgot promises learns it from the first member that knows better, and until then that
//! member takes no word of it. A member that starts asks all others first, and acts as a voter when they have answered, or
//! have been given some seconds: a home that is alone goes on alone.
//!
//! What is remembered is in memory at once, and on disk within seconds. So a disk that lost its last moments is noticed by
//! whoever stayed up meanwhile, and one that was set back further by anybody.
//!
//! A run is remembered by others only once this disk remembers it: else the next one would look as if that had been lost.
//! That is tried when it begins; where a full disk takes nothing, messages say that it is not recorded.
//!
//! Not noticed is a disk that was set back and then opened [`Runs::MOST`] times before it met anybody: the oldest runs are
//! left out.
//!
//! Messages name whom they are from and to. A box that was given a new number and did not hear of it learns so from the
//! first member that calls it by that.
//!
//! # Row
//! All of it is one row of this member alone: one version byte (2), then CBOR of [`Kept`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use crate::StoreError;
use crate::disk::{Disk, DiskError, RowWrite};
use crate::model::{MemberId, row_key};
use crate::register::{DiskMark, Memory, Run, Runs, judge};

const VERSION: u8 = 2;
/// How long the others are given to say what they remember, before this member acts as a voter without them.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// Why a member cannot answer for what it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forgotten {
    /// Its rows are on another disk than they were.
    OtherDisk,
    /// Its disk is in an older state than it was.
    Older {
        /// Entries of the row log that are gone.
        entries: u64,
    },
    /// Its disk lost rows that were acknowledged, and says so itself.
    Damaged,
    /// Its rows know of nobody else, and its seat does.
    KnowsNobody,
    /// The others know it by another number, which it was given anew and does not remember.
    Renumbered,
}

impl std::fmt::Display for Forgotten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherDisk => f.write_str("the rows of this box are on another disk than they were"),
            Self::Older { entries } => write!(
                f,
                "the disk of this box is in an older state than it was: at least {entries} entries of its row log are gone"
            ),
            Self::Damaged => f.write_str("the disk of this box lost rows that were acknowledged"),
            Self::KnowsNobody => {
                f.write_str("the rows of this box are older than the first box that it let in")
            }
            Self::Renumbered => f.write_str("the others know this box by a number that it does not remember"),
        }
    }
}

/// What goes with every message between two members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The sender, by the number it believes to have.
    pub(crate) from: MemberId,
    /// The receiver, by the number the sender knows it by.
    pub(crate) to: MemberId,
    /// How the sender's disk stands.
    pub(crate) mine: DiskMark,
    /// Whether the sender's disk remembers its present run: it is not to be remembered before.
    pub(crate) is_recorded: bool,
    /// The runs that the sender's disk remembers; left out for whoever has heard of the present one.
    pub(crate) runs: Option<Runs>,
    /// What it remembers of the receiver's.
    pub(crate) yours: Option<DiskMark>,
}

/// The row on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(with = "serde_bytes")]
    incarnation: [u8; 16],
    runs: Runs,
    forgotten: Option<Forgotten>,
    /// A person accepted that rows are lost, and it was not seen yet whether that matters to anybody.
    has_lost_rows: bool,
    others: BTreeMap<MemberId, DiskMark>,
}

impl Kept {
    fn new() -> Self {
        Self {
            incarnation: crate::seal::random(),
            runs: Runs::default(),
            forgotten: None,
            has_lost_rows: false,
            others: BTreeMap::new(),
        }
    }
}

/// What is remembered of other members, and what they remember.
#[derive(Default)]
struct Others {
    marks: BTreeMap<MemberId, DiskMark>,
    /// Those that know of the present run of this disk.
    informed: BTreeSet<MemberId>,
}

/// Whether this member may act as a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The others are being asked.
    Asking,
    Whole,
    Forgot(Forgotten),
}

/// What is remembered. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Memories(Arc<Inner>);

struct Inner {
    me: MemberId,
    disk: Disk,
    incarnation: [u8; 16],
    run: u64,
    /// All that this disk remembers, with the present one.
    runs: Runs,
    /// Whether the disk remembers the present run.
    is_recorded: AtomicBool,
    /// Whether that was tried.
    is_tried: AtomicBool,
    /// Rows are known to be lost: the own one was there and does not verify, or a person accepted it.
    is_damaged: bool,
    others: Mutex<Others>,
    state: watch::Sender<State>,
}

impl Memories {
    /// As the disk remembers. This member may act as a voter until [`Self::begin`].
    ///
    /// # Errors
    /// The disk fails, or a newer Warren wrote the row.
    pub(crate) fn open(me: MemberId, disk: &Disk) -> Result<Self, StoreError> {
        let (row, is_damaged) = match disk.row(&row_key::memories()) {
            // A box that is alone needs none of it, and one that is not has forgotten: neither is a reason not to open.
            Err(DiskError::Damaged(_)) => (None, true),
            row => (row?, false),
        };
        let kept = row.map(|row| decode(&row)).transpose()?;
        let kept = kept.unwrap_or_else(Kept::new);
        let (run, mut runs) = (u64::from_le_bytes(crate::seal::random()), kept.runs);
        let (opened_lsn, _) = disk.durable_lsns();
        runs.begin(Run { id: run, opened_lsn });
        let state = kept.forgotten.map_or(State::Whole, State::Forgot);
        Ok(Self(Arc::new(Inner {
            me,
            disk: disk.clone(),
            incarnation: kept.incarnation,
            run,
            runs,
            is_recorded: AtomicBool::default(),
            is_tried: AtomicBool::default(),
            is_damaged: is_damaged || kept.has_lost_rows,
            others: Mutex::new(Others {
                marks: kept.others,
                informed: BTreeSet::new(),
            }),
            state: watch::Sender::new(state),
        })))
    }

    /// Has the disk remember that a person accepted the loss of rows, before anything else is done with it.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(crate) async fn note_accepted_loss(disk: &Disk) -> Result<(), StoreError> {
        if !disk.status().rows.accepted_loss {
            return Ok(());
        }
        let row = match disk.row(&row_key::memories()) {
            // Without it, others will not know this disk again.
            Err(DiskError::Damaged(_)) => None,
            row => row?,
        };
        let kept = row.map(|row| decode(&row)).transpose()?;
        let mut kept = kept.unwrap_or_else(Kept::new);
        kept.has_lost_rows = true;
        put(disk, &kept).await
    }

    /// Begins a run, among others or not. If there are others, this member acts as a voter only once [`Self::settle`] was
    /// called.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) async fn begin(&self, is_meshed: bool) -> Result<(), StoreError> {
        if is_meshed && (self.0.is_damaged || self.0.disk.status().rows.loss.is_some()) {
            self.forget(Forgotten::Damaged);
        }
        // Before anything else is written: what this run writes must not look as if it had been there when it began.
        match self.keep().await {
            // A box opens all the same, so that something can be deleted.
            Ok(()) | Err(StoreError::ReadOnly(_) | StoreError::DiskFull) => {}
            Err(error) => return Err(error),
        }
        if !is_meshed {
            return Ok(());
        }
        self.0.state.send_if_modified(|state| {
            let is_whole = *state == State::Whole;
            if is_whole {
                *state = State::Asking;
            }
            is_whole
        });
        Ok(())
    }

    /// Sees to it that the disk remembers this run.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(crate) async fn record(&self) -> Result<(), StoreError> {
        match self.is_recorded() {
            true => Ok(()),
            false => self.keep().await,
        }
    }

    /// As [`Self::record`], before somebody is told anything. Where that fails it is tried again by whoever keeps what is
    /// news, and what is told meanwhile is not remembered.
    pub(crate) async fn meet(&self) {
        if self.is_recorded() || self.0.is_tried.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Err(error) = self.keep().await {
            debug!(%error, "this run is not recorded yet");
        }
    }

    /// Whether somebody was met, or tried to be.
    pub(crate) fn has_met(&self) -> bool {
        self.0.is_tried.load(Ordering::Relaxed)
    }

    /// Whether the disk remembers this run.
    pub(crate) fn is_recorded(&self) -> bool {
        self.0.is_recorded.load(Ordering::Relaxed)
    }

    /// The others have been asked: unless one of them knew better, this member remembers everything.
    pub(crate) fn settle(&self) {
        self.0.state.send_if_modified(|state| {
            let was_asking = *state == State::Asking;
            if was_asking {
                *state = State::Whole;
            }
            was_asking
        });
    }

    /// Whether this member may act as a voter now.
    pub(crate) fn is_whole(&self) -> bool {
        *self.0.state.borrow() == State::Whole
    }

    /// Why it may not, where that is known.
    pub(crate) fn forgotten(&self) -> Option<Forgotten> {
        match *self.0.state.borrow() {
            State::Forgot(why) => Some(why),
            State::Asking | State::Whole => None,
        }
    }

    /// Waits until this member has forgotten something; says what.
    pub(crate) async fn until_forgotten(&self) -> Forgotten {
        let mut state = self.0.state.subscribe();
        loop {
            if let State::Forgot(why) = *state.borrow_and_update() {
                return why;
            }
            // The sender is as old as this handle.
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits for as long as the others are being asked.
    pub(crate) async fn until_asked(&self) {
        let mut state = self.0.state.subscribe();
        // The sender is as old as this handle.
        let _ = state.wait_for(|state| *state != State::Asking).await;
    }

    /// Waits until this member may act as a voter.
    ///
    /// # Errors
    /// `Forgotten`: it may not.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        let state = *self.0.state.borrow();
        let state = match state {
            State::Asking => {
                let mut states = self.0.state.subscribe();
                let settled = states.wait_for(|state| *state != State::Asking);
                // Longer only if nobody answers, and this member alone is no quorum.
                match timeout(PATIENCE * 2, settled).await {
                    Ok(Ok(state)) => *state,
                    Ok(Err(_)) => return Err(StoreError::Closed),
                    Err(_) => return Err(StoreError::Unavailable),
                }
            }
            state => state,
        };
        match state {
            State::Forgot(why) => Err(StoreError::Forgotten(why)),
            State::Asking | State::Whole => Ok(()),
        }
    }

    /// What goes with a message to a member.
    pub(crate) fn marks_for(&self, to: MemberId) -> Marks {
        let others = self.others();
        let is_informed = others.informed.contains(&to);
        Marks {
            from: self.0.me,
            to,
            mine: self.mark(),
            is_recorded: self.is_recorded(),
            runs: (!is_informed).then(|| self.0.runs.clone()),
            yours: others.marks.get(&to).copied(),
        }
    }

    /// Takes up what came with a message of a member; whether its word counts.
    pub(crate) fn heard(&self, from: MemberId, marks: &Marks) -> bool {
        if marks.to > self.0.me {
            // Numbers are given once, in their order.
            self.forget(Forgotten::Renumbered);
        }
        if marks.to != self.0.me {
            debug!(member = ?from, to = ?marks.to, "a message to another number is not listened to");
            return false;
        }
        // With all runs at hand there is always an answer.
        match judge(marks.yours, self.mark(), Some(&self.0.runs)) {
            Some(Memory::Whole) | None => {}
            Some(Memory::OtherDisk) => self.forget(Forgotten::OtherDisk),
            Some(Memory::Older { lost }) => self.forget(Forgotten::Older { entries: lost }),
        }
        if marks.from != from {
            debug!(member = ?from, says = ?marks.from, "a message of another number is not listened to");
            return false;
        }
        let mut others = self.others();
        match marks.yours {
            Some(mark) if mark.run == self.0.run => others.informed.insert(from),
            _ => others.informed.remove(&from),
        };
        let known = others.marks.get(&from).copied();
        match judge(known, marks.mine, marks.runs.as_ref()) {
            Some(Memory::Whole) => {}
            Some(Memory::OtherDisk | Memory::Older { .. }) => {
                warn!(member = ?from, "the disk of this member has forgotten what it promised: it is not listened to");
                return false;
            }
            // It believes that its present run is known here, and learns by the answer that it is not.
            None => return false,
        }
        // A message that was overtaken by a later one of the same run says nothing new.
        let is_news = known
            .is_none_or(|known| known.run != marks.mine.run || known.durable_lsn < marks.mine.durable_lsn);
        if is_news && marks.is_recorded {
            others.marks.insert(from, marks.mine);
        }
        true
    }

    /// Has the disk remember what is known now.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(crate) async fn keep(&self) -> Result<(), StoreError> {
        let kept = Kept {
            incarnation: self.0.incarnation,
            runs: self.0.runs.clone(),
            forgotten: self.forgotten(),
            // From here on either it is forgotten, or nobody else minds.
            has_lost_rows: false,
            others: self.known(),
        };
        put(&self.0.disk, &kept).await?;
        self.0.is_recorded.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// What is known of all others now: worth keeping when it differs from what was kept.
    pub(crate) fn known(&self) -> BTreeMap<MemberId, DiskMark> {
        self.others().marks.clone()
    }

    fn mark(&self) -> DiskMark {
        let (_, durable_lsn) = self.0.disk.durable_lsns();
        DiskMark {
            incarnation: self.0.incarnation,
            run: self.0.run,
            durable_lsn,
        }
    }

    /// This member may act as a voter no more.
    pub(crate) fn forget(&self, why: Forgotten) {
        let forgets = self.0.state.send_if_modified(|state| {
            let is_first = !matches!(state, State::Forgot(_));
            if is_first {
                *state = State::Forgot(why);
            }
            is_first
        });
        if forgets {
            error!(%why, "this box stops answering for what it promised");
        }
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.0.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn put(disk: &Disk, kept: &Kept) -> Result<(), StoreError> {
    let row = RowWrite::Put {
        key: row_key::memories(),
        summary: Vec::new(),
        value: encode(kept),
    };
    disk.commit(vec![row]).await.map_err(StoreError::from)
}

fn encode(kept: &Kept) -> Bytes {
    [&[VERSION], crate::seal::cbor(kept).as_slice()].concat().into()
}

fn decode(row: &[u8]) -> Result<Kept, StoreError> {
    match row.split_first() {
        Some((&VERSION, cbor)) => ciborium::from_reader(cbor)
            .map_err(|error| StoreError::Damaged(format!("what is remembered of other disks: {error}"))),
        _ => Err(StoreError::Damaged(
            "what is remembered of other disks is of another version of Warren".into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::FaultMedium;
    use crate::simulation::{self, SimulatedLayout};

    const ANNA: MemberId = MemberId(1);
    const BEN: MemberId = MemberId(2);

    /// A member on a disk, of a run that has begun.
    async fn opened(me: MemberId, medium: &FaultMedium) -> Memories {
        let layout = SimulatedLayout {
            row_segment_bytes: 64 << 10,
            block_segment_bytes: 64 << 10,
            accept_loss: false,
        };
        let disk = Disk::open_simulated(&medium.mount(), &layout).unwrap();
        let memories = Memories::open(me, &disk).unwrap();
        memories.begin(true).await.unwrap();
        memories
    }

    /// Whether each counts what the other says, in a call and its answer.
    fn talk(asks: &Memories, answers: &Memories) -> (bool, bool) {
        let (asks_as, answers_as) = (asks.0.me, answers.0.me);
        let heard = answers.heard(asks_as, &asks.marks_for(answers_as));
        (heard, asks.heard(answers_as, &answers.marks_for(asks_as)))
    }

    /// Writes something that the other is told of.
    async fn promise(member: &Memories, to: &Memories) {
        member.keep().await.unwrap();
        assert_eq!(talk(member, to), (true, true));
    }

    #[test]
    fn a_disk_that_was_set_back_is_noticed_however_often_it_was_opened_before_anybody_was_met() {
        simulation::run(1, async {
            let (hers, his) = (FaultMedium::new(1), FaultMedium::new(2));
            let anna = opened(ANNA, &hers).await;
            let ben = opened(BEN, &his).await;
            promise(&ben, &anna).await;
            let backup = his.back_up();
            promise(&ben, &anna).await;
            drop(ben);
            for _ in 0..9 {
                let alone = opened(BEN, &backup).await;
                let key = row_key::clean_mark();
                alone.0.disk.commit(vec![RowWrite::Drop { key }]).await.unwrap();
                drop(alone);
            }
            let back = opened(BEN, &backup).await;
            let (opened_lsn, _) = back.0.disk.durable_lsns();
            assert!(opened_lsn > anna.known()[&BEN].durable_lsn);
            assert!(!talk(&back, &anna).0);
            assert!(matches!(back.forgotten(), Some(Forgotten::Older { .. })));
        })
        .unwrap();
    }

    #[test]
    fn a_disk_that_was_opened_often_meanwhile_is_whole_and_says_its_runs_once() {
        simulation::run(2, async {
            let (hers, his) = (FaultMedium::new(1), FaultMedium::new(2));
            let anna = opened(ANNA, &hers).await;
            for _ in 0..Runs::MOST + 2 {
                let ben = opened(BEN, &his).await;
                drop(ben);
            }
            let ben = opened(BEN, &his).await;
            assert_eq!(talk(&ben, &anna), (true, true));
            assert_eq!(ben.marks_for(ANNA).runs, None);
            // Anna starts again, and does not remember having heard of this run.
            drop(anna);
            let anna = opened(ANNA, &hers).await;
            assert_eq!(talk(&ben, &anna), (true, true));
            assert_eq!(talk(&ben, &anna), (true, true));
            assert!(ben.marks_for(ANNA).runs.is_none() && anna.marks_for(BEN).runs.is_none());
            assert_eq!((ben.forgotten(), anna.forgotten()), (None, None));
        })
        .unwrap();
    }

    #[test]
    fn a_run_that_is_not_known_is_asked_for_once_more() {
        simulation::run(3, async {
            let (hers, his) = (FaultMedium::new(1), FaultMedium::new(2));
            let anna = opened(ANNA, &hers).await;
            let first = opened(BEN, &his).await;
            promise(&first, &anna).await;
            anna.keep().await.unwrap();
            drop(first);
            let ben = opened(BEN, &his).await;
            promise(&ben, &anna).await;
            // What anna heard of the second run was not kept.
            drop(anna);
            let anna = opened(ANNA, &hers).await;
            assert_eq!(talk(&ben, &anna), (false, true));
            assert_eq!(talk(&ben, &anna), (true, true));
        })
        .unwrap();
    }

    #[test]
    fn a_box_under_its_former_number_is_not_heard_and_learns_that_it_has_another() {
        simulation::run(4, async {
            let (hers, his) = (FaultMedium::new(1), FaultMedium::new(2));
            let anna = opened(ANNA, &hers).await;
            let ben = opened(BEN, &his).await;
            let anew = MemberId(3);
            assert!(!anna.heard(anew, &ben.marks_for(ANNA)));
            assert!(!ben.heard(ANNA, &anna.marks_for(anew)));
            assert_eq!(ben.forgotten(), Some(Forgotten::Renumbered));
            // Whoever knows it by a former one does not make it forget.
            let ben = opened(anew, &FaultMedium::new(3)).await;
            assert!(!ben.heard(ANNA, &anna.marks_for(BEN)));
            assert_eq!(ben.forgotten(), None);
        })
        .unwrap();
    }

    #[test]
    fn a_run_that_the_disk_does_not_remember_is_heard_and_not_remembered() {
        simulation::run(5, async {
            let anna = opened(ANNA, &FaultMedium::new(1)).await;
            let ben = opened(BEN, &FaultMedium::new(2)).await;
            let mut marks = ben.marks_for(ANNA);
            marks.is_recorded = false;
            assert!(anna.heard(BEN, &marks));
            assert!(anna.known().is_empty());
            assert_eq!(talk(&ben, &anna), (true, true));
            assert!(anna.known().contains_key(&BEN));
        })
        .unwrap();
    }

    #[test]
    fn an_accepted_loss_counts_from_when_there_are_others_and_not_for_a_box_that_is_alone() {
        simulation::run(6, async {
            let his = FaultMedium::new(1);
            let ben = opened(BEN, &his).await;
            let kept = Kept {
                has_lost_rows: true,
                ..Kept::new()
            };
            put(&ben.0.disk, &kept).await.unwrap();
            let alone = Memories::open(BEN, &ben.0.disk).unwrap();
            alone.begin(false).await.unwrap();
            assert!(alone.is_whole());
            put(&ben.0.disk, &kept).await.unwrap();
            let among = Memories::open(BEN, &ben.0.disk).unwrap();
            among.begin(true).await.unwrap();
            assert_eq!(among.forgotten(), Some(Forgotten::Damaged));
            // It stays so, however the next run begins.
            among.keep().await.unwrap();
            let later = Memories::open(BEN, &ben.0.disk).unwrap();
            assert_eq!(later.forgotten(), Some(Forgotten::Damaged));
        })
        .unwrap();
    }

    #[test]
    fn version_2_keeps_its_bytes() {
        let mark = DiskMark {
            incarnation: [2; 16],
            run: 3,
            durable_lsn: 5,
        };
        let mut runs = Runs::default();
        runs.begin(Run { id: 8, opened_lsn: 9 });
        let kept = Kept {
            incarnation: [1; 16],
            runs,
            forgotten: Some(Forgotten::Older { entries: 6 }),
            has_lost_rows: false,
            others: [(MemberId(7), mark)].into(),
        };
        let fixture: &[u8] = include_bytes!("../../fixtures/memories-2.bin");
        assert_eq!(encode(&kept), fixture);
        assert_eq!(decode(fixture).unwrap(), kept);
        for cut in 0..fixture.len() {
            assert!(decode(&fixture[..cut]).is_err());
        }
    }
}
