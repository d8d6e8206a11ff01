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
//! Three things are not noticed. A disk that lost little, and wrote more than that before any other member was reached, and
//! was opened once more: only what the present run began with is compared. A box that acts under its old number after the
//! others know it by a new one: messages carry no numbers. A founder whose own rows say that it is alone: it asks nobody.
//!
//! # Row
//! All of it is one row of this member alone: one version byte (1), then CBOR of [`Kept`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::StoreError;
use crate::disk::{Disk, DiskError, RowWrite};
use crate::model::{MemberId, row_key};
use crate::register::{DiskMark, Memory, judge};

const VERSION: u8 = 1;
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
}

impl std::fmt::Display for Forgotten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OtherDisk => f.write_str("the rows of this box are on another disk than they were"),
            Self::Older { entries } => write!(
                f,
                "the disk of this box is in an older state than it was: {entries} entries of its row log are gone"
            ),
            Self::Damaged => f.write_str("the disk of this box lost rows that were acknowledged"),
        }
    }
}

/// What goes with every message between two members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// How the sender's disk stands.
    pub(crate) mine: DiskMark,
    /// What it remembers of the receiver's.
    pub(crate) yours: Option<DiskMark>,
}

/// The row on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    #[serde(with = "serde_bytes")]
    incarnation: [u8; 16],
    forgotten: Option<Forgotten>,
    others: BTreeMap<MemberId, DiskMark>,
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
    disk: Disk,
    incarnation: [u8; 16],
    run: u64,
    is_new: bool,
    /// The row was there and does not verify.
    is_damaged: bool,
    others: Mutex<BTreeMap<MemberId, DiskMark>>,
    state: watch::Sender<State>,
}

impl Memories {
    /// As the disk remembers. This member may act as a voter until [`Self::begin`].
    ///
    /// # Errors
    /// The disk fails, or a newer Warren wrote the row.
    pub(crate) fn open(disk: &Disk) -> Result<Self, StoreError> {
        let (row, is_damaged) = match disk.row(&row_key::memories()) {
            // A box that is alone needs none of it, and one that is not has forgotten: neither is a reason not to open.
            Err(DiskError::Damaged(_)) => (None, true),
            row => (row?, false),
        };
        let kept = row.map(|row| decode(&row)).transpose()?;
        let is_new = kept.is_none();
        let kept = kept.unwrap_or_else(|| Kept {
            incarnation: crate::seal::random(),
            forgotten: None,
            others: BTreeMap::new(),
        });
        let forgotten = kept.forgotten.map_or(State::Whole, State::Forgot);
        Ok(Self(Arc::new(Inner {
            disk: disk.clone(),
            incarnation: kept.incarnation,
            run: u64::from_le_bytes(crate::seal::random()),
            is_new,
            is_damaged,
            others: Mutex::new(kept.others),
            state: watch::Sender::new(forgotten),
        })))
    }

    /// Begins a run, among others or not. If there are others, this member acts as a voter only once [`Self::settle`] was
    /// called.
    ///
    /// # Errors
    /// The disk fails or is full.
    pub(crate) async fn begin(&self, is_meshed: bool) -> Result<(), StoreError> {
        if self.0.is_new {
            match self.keep().await {
                Ok(()) | Err(StoreError::ReadOnly(_)) => {}
                // A box that is alone opens all the same, so that something can be deleted.
                Err(StoreError::DiskFull) if !is_meshed => {}
                Err(error) => return Err(error),
            }
        }
        if !is_meshed {
            return Ok(());
        }
        if self.0.is_damaged || self.0.disk.status().rows.loss.is_some() {
            self.forget(Forgotten::Damaged);
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
                // Whoever asks the others gives up before this.
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
        Marks {
            mine: self.mark(),
            yours: self.others().get(&to).copied(),
        }
    }

    /// Takes up what came with a message of a member; whether its word counts.
    pub(crate) fn heard(&self, from: MemberId, marks: &Marks) -> bool {
        match judge(marks.yours, self.mark()) {
            Memory::Whole => {}
            Memory::OtherDisk => self.forget(Forgotten::OtherDisk),
            Memory::Older { lost } => self.forget(Forgotten::Older { entries: lost }),
        }
        let mut others = self.others();
        let known = others.get(&from).copied();
        let counts = judge(known, marks.mine) == Memory::Whole;
        if !counts {
            warn!(member = ?from, "the disk of this member has forgotten what it promised: it is not listened to");
            return false;
        }
        // A message that was overtaken by a later one of the same run says nothing new.
        let is_news = known
            .is_none_or(|known| known.run != marks.mine.run || known.durable_lsn < marks.mine.durable_lsn);
        if is_news {
            others.insert(from, marks.mine);
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
            forgotten: self.forgotten(),
            others: self.others().clone(),
        };
        let row = RowWrite::Put {
            key: row_key::memories(),
            summary: Vec::new(),
            value: encode(&kept),
        };
        self.0.disk.commit(vec![row]).await.map_err(StoreError::from)
    }

    /// What is known of all others now: worth keeping when it differs from what was kept.
    pub(crate) fn known(&self) -> BTreeMap<MemberId, DiskMark> {
        self.others().clone()
    }

    fn mark(&self) -> DiskMark {
        let (opened_lsn, durable_lsn) = self.0.disk.durable_lsns();
        DiskMark {
            incarnation: self.0.incarnation,
            run: self.0.run,
            opened_lsn,
            durable_lsn,
        }
    }

    fn forget(&self, why: Forgotten) {
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

    fn others(&self) -> MutexGuard<'_, BTreeMap<MemberId, DiskMark>> {
        self.0.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    #[test]
    fn version_1_keeps_its_bytes() {
        let mark = DiskMark {
            incarnation: [2; 16],
            run: 3,
            opened_lsn: 4,
            durable_lsn: 5,
        };
        let kept = Kept {
            incarnation: [1; 16],
            forgotten: Some(Forgotten::Older { entries: 6 }),
            others: [(MemberId(7), mark)].into(),
        };
        let fixture: &[u8] = include_bytes!("../../fixtures/memories-1.bin");
        assert_eq!(encode(&kept), fixture);
        assert_eq!(decode(fixture).unwrap(), kept);
        for cut in 0..fixture.len() {
            assert!(decode(&fixture[..cut]).is_err());
        }
    }
}
