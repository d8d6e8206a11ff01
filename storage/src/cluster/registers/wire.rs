//! What members say to each other about registers, as bytes.
//!
//! One version byte (4), then [`Marks`], numbers little-endian:
//!
//! | what | bytes |
//! |---|---|
//! | sender, receiver | 4 each |
//! | how the sender's disk stands: incarnation, run, durable LSN | 16, 8, 8 |
//! | what follows: 1 what the sender remembers of the receiver's disk, 2 its runs, 4 of which the first are left out; 8 the present one is not recorded | 1 |
//! | what it remembers: incarnation, run, durable LSN | 16, 8, 8, or none |
//! | number of runs, then each: run, LSN at its start | 1, then 8 and 8, or none |
//!
//! Then CBOR.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::alike::PartitionSum;
use super::reconfigure::Standing;
use super::scan::Told;
use crate::StoreError;
use crate::cluster::memories::Marks;
use crate::model::MemberId;
use crate::register::{
    Answer, Ballot, Configs, DiskMark, Epoch, Fences, Key, Operation, Reply, Request, Run, Runs,
};

const VERSION: u8 = 4;
/// The sender remembers something of the receiver's disk.
const REMEMBERS: u8 = 1;
/// The sender says which runs its disk remembers.
const HAS_RUNS: u8 = 2;
/// And its disk has seen earlier ones.
const IS_CUT: u8 = 4;
/// The sender's disk does not remember the present one yet.
const IS_UNRECORDED: u8 = 8;

/// A call to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call<C> {
    /// Requests to acceptors, each with its partition.
    Requests(Vec<(u16, Request)>),
    /// What stands in a range, from one key on, up to but without another. Partitions of which the sender has the same there
    /// are left out.
    Tell {
        from: Key,
        to: Key,
        most: u32,
        #[serde(default)]
        known: Vec<PartitionSum>,
    },
    /// An operation for whoever is believed to hold the partition.
    Submit(u16, Operation<C>),
    /// Fences that whoever is believed to hold the partition is to raise.
    Raise(u16, Fences),
    /// How far the member has come with changes of voters.
    Standing,
    /// Configurations newer than these epochs, which are those of all partitions in order.
    Configs(Vec<Epoch>),
    /// Root rows have changed, or voters have something to do.
    Wake,
    /// What the receiver remembers of the sender's disk is asked for, no more.
    Recall,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reaction<O> {
    /// One for each request, in order; some have none.
    Replies(Vec<Option<Reply>>),
    /// What stands in the range.
    Told(Told),
    /// What became of the operation.
    Answer(Answer<O>),
    /// The ballot under which a quorum has the fences; `None` where they could not be raised.
    Raised(Option<Ballot>),
    /// How far this member has come.
    Standing(Standing),
    /// All configurations of partitions that have newer ones.
    Configs(BTreeMap<u16, Configs>),
    /// It was heard.
    Woken,
    /// It was not listened to: what the sender's disk remembers is less than it was.
    Unheard,
}

pub(super) fn encode<T: Serialize>(marks: &Marks, message: &T) -> Bytes {
    let mut bytes = vec![VERSION];
    put_marks(&mut bytes, marks);
    bytes.extend_from_slice(&crate::seal::cbor(message));
    bytes.into()
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(Marks, T), StoreError> {
    let damaged = |what: &str| StoreError::Damaged(format!("message: {what}"));
    let Some((&VERSION, rest)) = bytes.split_first() else {
        return Err(damaged("another version"));
    };
    let (marks, cbor) = take_marks(rest).ok_or_else(|| damaged("too short"))?;
    let message = ciborium::from_reader(cbor).map_err(|error| damaged(&error.to_string()))?;
    Ok((marks, message))
}

fn put_marks(bytes: &mut Vec<u8>, marks: &Marks) {
    bytes.extend(marks.from.0.to_le_bytes());
    bytes.extend(marks.to.0.to_le_bytes());
    put_mark(bytes, &marks.mine);
    let has_runs = marks
        .runs
        .as_ref()
        .map_or(0, |runs| HAS_RUNS | if runs.is_cut() { IS_CUT } else { 0 });
    let remembers = if marks.yours.is_some() { REMEMBERS } else { 0 };
    let unrecorded = if marks.is_recorded { 0 } else { IS_UNRECORDED };
    bytes.push(has_runs | remembers | unrecorded);
    if let Some(mark) = &marks.yours {
        put_mark(bytes, mark);
    }
    if let Some(runs) = &marks.runs {
        // There are fewer.
        bytes.push(u8::try_from(runs.all().len()).unwrap_or(u8::MAX));
        for run in runs.all() {
            bytes.extend(run.id.to_le_bytes());
            bytes.extend(run.opened_lsn.to_le_bytes());
        }
    }
}

fn put_mark(bytes: &mut Vec<u8>, mark: &DiskMark) {
    bytes.extend(mark.incarnation);
    bytes.extend(mark.run.to_le_bytes());
    bytes.extend(mark.durable_lsn.to_le_bytes());
}

fn take_marks(mut bytes: &[u8]) -> Option<(Marks, &[u8])> {
    let from = MemberId(u32::from_le_bytes(take(&mut bytes)?));
    let to = MemberId(u32::from_le_bytes(take(&mut bytes)?));
    let mine = take_mark(&mut bytes)?;
    let [what] = take(&mut bytes)?;
    if what & !(REMEMBERS | HAS_RUNS | IS_CUT | IS_UNRECORDED) != 0 {
        return None;
    }
    let yours = match what & REMEMBERS {
        0 => None,
        _ => Some(take_mark(&mut bytes)?),
    };
    let runs = match what & HAS_RUNS {
        0 => None,
        _ => Some(take_runs(&mut bytes, what & IS_CUT != 0)?),
    };
    let marks = Marks {
        from,
        to,
        mine,
        is_recorded: what & IS_UNRECORDED == 0,
        runs,
        yours,
    };
    Some((marks, bytes))
}

fn take_runs(bytes: &mut &[u8], is_cut: bool) -> Option<Runs> {
    let [count] = take(bytes)?;
    let mut runs = Vec::with_capacity(count.into());
    for _ in 0..count {
        runs.push(Run {
            id: u64::from_le_bytes(take(bytes)?),
            opened_lsn: u64::from_le_bytes(take(bytes)?),
        });
    }
    Runs::of(is_cut, runs)
}

fn take_mark(bytes: &mut &[u8]) -> Option<DiskMark> {
    Some(DiskMark {
        incarnation: take(bytes)?,
        run: u64::from_le_bytes(take(bytes)?),
        durable_lsn: u64::from_le_bytes(take(bytes)?),
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(byte: u8) -> DiskMark {
        DiskMark {
            incarnation: [byte; 16],
            run: byte.into(),
            durable_lsn: 6,
        }
    }

    #[test]
    fn a_message_carries_what_its_sender_remembers_and_a_broken_one_is_refused() {
        let mut some = Runs::default();
        some.begin(Run { id: 1, opened_lsn: 5 });
        let mut many = Runs::default();
        (0..100).for_each(|id| many.begin(Run { id, opened_lsn: id }));
        let told = |byte: &str| format!("{}{byte}000000000000000600000000000000", byte.repeat(16));
        let short = [
            (None, None, true, "00".to_owned()),
            (None, None, false, "08".to_owned()),
            (Some(mark(9)), None, true, format!("01{}", told("09"))),
            (
                None,
                Some(some),
                true,
                "020101000000000000000500000000000000".to_owned(),
            ),
        ];
        for (yours, runs, is_recorded, expected) in short {
            let bytes = round_trip(yours, runs, is_recorded);
            let expected = format!("040300000004000000{}{expected}6457616b65", told("01"));
            assert_eq!(hex::encode(&bytes), expected);
            for cut in 0..bytes.len() {
                assert!(decode::<Call<u8>>(&bytes[..cut]).is_err());
            }
        }
        round_trip(Some(mark(9)), Some(many), true);
    }

    #[test]
    fn a_member_that_knows_of_no_sums_is_answered_all() {
        /// As it was before there were any.
        #[derive(Serialize)]
        enum Older {
            Tell { from: Key, to: Key, most: u32 },
        }
        let (from, to) = (Key::from_static(b"a"), Key::from_static(b"b"));
        let older = crate::seal::cbor(&Older::Tell {
            from: from.clone(),
            to: to.clone(),
            most: 7,
        });
        let known = Vec::new();
        let expected = Call::<u8>::Tell {
            from,
            to,
            most: 7,
            known,
        };
        assert_eq!(
            ciborium::from_reader::<Call<u8>, _>(older.as_slice()).unwrap(),
            expected
        );
    }

    fn round_trip(yours: Option<DiskMark>, runs: Option<Runs>, is_recorded: bool) -> Bytes {
        let marks = Marks {
            from: MemberId(3),
            to: MemberId(4),
            mine: mark(1),
            is_recorded,
            runs,
            yours,
        };
        let bytes = encode(&marks, &Call::<u8>::Wake);
        assert_eq!(decode::<Call<u8>>(&bytes).unwrap(), (marks, Call::Wake));
        bytes
    }
}
