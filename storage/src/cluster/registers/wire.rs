//! What members say to each other about registers, as bytes.
//!
//! One version byte (2), then [`Marks`]: how the sender's disk stands, and behind a byte that is 1 what it remembers of the
//! receiver's, or behind one that is 0 zeros. Each is incarnation (16 bytes), run, LSN at its start, and durable LSN (8 bytes
//! each, little-endian). Then CBOR.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::reconfigure::Standing;
use super::scan::Told;
use crate::StoreError;
use crate::cluster::memories::Marks;
use crate::register::{Answer, Ballot, Configs, DiskMark, Epoch, Fences, Key, Operation, Reply, Request};

const VERSION: u8 = 2;
/// Bytes of one mark.
const MARK_BYTES: usize = 40;

/// A call to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call<C> {
    /// Requests to acceptors, each with its partition.
    Requests(Vec<(u16, Request)>),
    /// What stands in a range, from one key on, up to but without another.
    Tell { from: Key, to: Key, most: u32 },
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
    put_mark(&mut bytes, Some(&marks.mine));
    bytes.push(u8::from(marks.yours.is_some()));
    put_mark(&mut bytes, marks.yours.as_ref());
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

fn put_mark(bytes: &mut Vec<u8>, mark: Option<&DiskMark>) {
    let Some(mark) = mark else {
        return bytes.extend([0; MARK_BYTES]);
    };
    bytes.extend(mark.incarnation);
    for number in [mark.run, mark.opened_lsn, mark.durable_lsn] {
        bytes.extend(number.to_le_bytes());
    }
}

fn take_marks(bytes: &[u8]) -> Option<(Marks, &[u8])> {
    let (mine, bytes) = take_mark(bytes)?;
    let (remembers, bytes) = bytes.split_first()?;
    let (yours, bytes) = take_mark(bytes)?;
    let yours = (*remembers == 1).then_some(yours);
    Some((Marks { mine, yours }, bytes))
}

fn take_mark(bytes: &[u8]) -> Option<(DiskMark, &[u8])> {
    let (incarnation, bytes) = bytes.split_first_chunk()?;
    let (run, bytes) = bytes.split_first_chunk()?;
    let (opened_lsn, bytes) = bytes.split_first_chunk()?;
    let (durable_lsn, bytes) = bytes.split_first_chunk()?;
    let mark = DiskMark {
        incarnation: *incarnation,
        run: u64::from_le_bytes(*run),
        opened_lsn: u64::from_le_bytes(*opened_lsn),
        durable_lsn: u64::from_le_bytes(*durable_lsn),
    };
    Some((mark, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(byte: u8) -> DiskMark {
        DiskMark {
            incarnation: [byte; 16],
            run: byte.into(),
            opened_lsn: 5,
            durable_lsn: 6,
        }
    }

    #[test]
    fn a_message_carries_what_its_sender_remembers_and_a_broken_one_is_refused() {
        for yours in [None, Some(mark(9))] {
            let marks = Marks { mine: mark(1), yours };
            let bytes = encode(&marks, &Call::<u8>::Wake);
            assert_eq!(decode::<Call<u8>>(&bytes).unwrap(), (marks, Call::Wake));
            // Run, then 5 and 6.
            let numbers = |run: &str| format!("{run}0000000000000005000000000000000600000000000000");
            let told = yours.map_or("00".repeat(41), |_| {
                format!("01{}{}", "09".repeat(16), numbers("09"))
            });
            let expected = format!("02{}{}{told}6457616b65", "01".repeat(16), numbers("01"));
            assert_eq!(hex::encode(&bytes), expected);
            for cut in 0..bytes.len() {
                assert!(decode::<Call<u8>>(&bytes[..cut]).is_err());
            }
        }
    }
}
