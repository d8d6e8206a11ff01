//! Registers on disk: how a row, a tombstone and a partition's state are written.
//!
//! Integers are little-endian. The value of a row is
//!
//! ```text
//! version 1 byte (2) │ flags 1 │ operations u8 │ epoch u32 │ round u32 │ member u32 │ seq u32 │ forgotten u64 │ operation 17, … │ body
//! flags: 1 chosen, 2 tombstone, 4 there is a time of forgotten operations (else its 8 bytes are left out)
//! operation: 1 done or 2 refused, then its id
//! ```
//!
//! and its summary, which the index keeps, is
//!
//! ```text
//! version 1 byte (1) │ flags 1 │ epoch u32 │ round u32 │ member u32 │ seq u32 │ summary of the value
//! ```
//!
//! A tombstone stands under its own key, `0x20` and the key of the row, so that a listing never steps over it. The state of
//! a partition stands under `0x04` and its number (u16, big-endian): version 1 byte (3), then CBOR.

use bytes::{BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{RowWrite, WholeRow};
use crate::model::MemberId;
use crate::register::{
    Ballot, Configs, Content, Key, Known, OpId, Part, RECENT_MAX, Recent, Row, Stamp, Value,
};

const VERSION: u8 = 2;
const SUMMARY_VERSION: u8 = 1;
const STATE_VERSION: u8 = 3;
const CHOSEN: u8 = 1;
const TOMBSTONE: u8 = 2;
const FORGOTTEN: u8 = 4;
const DONE: u8 = 1;
const REFUSED: u8 = 2;
/// Bytes of an operation.
const OPERATION: usize = 17;
/// Bytes of a value before the ids of operations.
const FIXED: usize = 19;
const STAMP: usize = 16;
/// Bytes of a summary before that of the value.
const SUMMARY_FIXED: usize = 2 + STAMP;
const STATE_KEY: u8 = 0x04;
const TOMBSTONE_KEY: u8 = 0x20;

/// The first key behind all rows.
pub(super) const END_OF_ROWS: &[u8] = &[TOMBSTONE_KEY];
/// The first key behind all tombstones.
pub(super) const END_OF_TOMBSTONES: &[u8] = &[TOMBSTONE_KEY + 1];

/// What a member keeps of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) part: Part,
    pub(super) configs: Configs,
}

/// Under which key the state of a partition stands.
pub(super) fn state_key(partition: u16) -> Vec<u8> {
    let [high, low] = partition.to_be_bytes();
    vec![STATE_KEY, high, low]
}

/// The write of a partition's state.
pub(super) fn put_state(partition: u16, state: &State) -> RowWrite {
    let mut value = vec![STATE_VERSION];
    value.extend_from_slice(&crate::seal::cbor(state));
    RowWrite::Put {
        key: state_key(partition),
        summary: Vec::new(),
        value: value.into(),
    }
}

/// Reads [`put_state`].
pub(super) fn state(value: &[u8]) -> Result<State, StoreError> {
    match value.split_first() {
        Some((&STATE_VERSION, cbor)) => ciborium::from_reader(cbor)
            .map_err(|error| StoreError::Damaged(format!("state of a partition: {error}"))),
        _ => Err(StoreError::Damaged(
            "state of a partition: of a newer Warren".into(),
        )),
    }
}

/// Under which key the tombstone of a row stands.
pub(super) fn tombstone_key(key: &[u8]) -> Vec<u8> {
    let mut tombstone = Vec::with_capacity(key.len() + 1);
    tombstone.push(TOMBSTONE_KEY);
    tombstone.extend_from_slice(key);
    tombstone
}

/// The key of the row that a tombstone hides.
pub(super) fn hidden_key(tombstone: &[u8]) -> Option<&[u8]> {
    tombstone.strip_prefix(&[TOMBSTONE_KEY])
}

/// The write of a row, under its own key or that of its tombstone.
pub(crate) fn put(key: &Key, row: &Row) -> RowWrite {
    let body = row.content.value.as_ref().map(|value| &value.body);
    let own = row.content.value.as_ref().map_or(&[][..], |value| &value.summary);
    let flags = flags(row);
    let recent = row
        .content
        .recent
        .get(..RECENT_MAX)
        .unwrap_or(&row.content.recent);
    let mut value = Vec::with_capacity(FIXED + OPERATION * recent.len() + body.map_or(0, Bytes::len));
    value.extend_from_slice(&[VERSION, flags, u8::try_from(recent.len()).unwrap_or(0)]);
    put_stamp(&mut value, row.stamp);
    if row.content.forgotten > 0 {
        value.put_u64_le(row.content.forgotten);
    }
    for Recent { op, known } in recent {
        value.push(match known {
            Known::Done => DONE,
            Known::Refused => REFUSED,
        });
        value.extend_from_slice(&op.0);
    }
    value.extend_from_slice(body.map_or(&[], |body| body));
    let mut summary = Vec::with_capacity(SUMMARY_FIXED + own.len());
    summary.extend_from_slice(&[SUMMARY_VERSION, flags]);
    put_stamp(&mut summary, row.stamp);
    summary.extend_from_slice(own);
    RowWrite::Put {
        key: match row.content.value {
            Some(_) => key.to_vec(),
            None => tombstone_key(key),
        },
        summary,
        value: value.into(),
    }
}

/// Reads a row as it was written.
pub(crate) fn row(written: &WholeRow) -> Result<Row, StoreError> {
    let damaged = || StoreError::Damaged("row of a register".into());
    let value = &written.value;
    let fixed: &[u8; FIXED] = value.first_chunk().ok_or_else(damaged)?;
    if fixed[0] != VERSION {
        return Err(StoreError::Damaged(format!(
            "row of version {}; another Warren wrote it",
            fixed[0]
        )));
    }
    let (ids_at, body_at) = places(fixed);
    let ids = value.get(ids_at..body_at).ok_or_else(damaged)?;
    let (operations, _) = ids.as_chunks::<OPERATION>();
    let recent = operations.iter().map(|[known, id @ ..]| match *known {
        DONE => Some((*id, Known::Done)),
        REFUSED => Some((*id, Known::Refused)),
        _ => None,
    });
    let recent = recent.map(|recent| recent.map(|(id, known)| Recent { op: OpId(id), known }));
    let recent = recent.collect::<Option<Vec<_>>>().ok_or_else(damaged)?;
    let forgotten = value.get(FIXED..ids_at).and_then(|bytes| bytes.try_into().ok());
    let kept = match fixed[1] & TOMBSTONE {
        0 => Some(Value {
            summary: written
                .summary
                .get(SUMMARY_FIXED..)
                .map_or_else(Bytes::new, |own| written.summary.slice_ref(own)),
            body: value.slice(body_at..),
        }),
        _ => None,
    };
    Ok(Row {
        stamp: read_stamp(&fixed[3..]).ok_or_else(damaged)?,
        chosen: fixed[1] & CHOSEN != 0,
        content: Content {
            recent,
            forgotten: forgotten.map_or(0, u64::from_le_bytes),
            value: kept,
        },
    })
}

/// The body of a row's value, without the rest.
pub(crate) fn body(value: &Bytes) -> Result<Bytes, StoreError> {
    let damaged = || StoreError::Damaged("row of a register".into());
    let fixed: &[u8; FIXED] = value.first_chunk().ok_or_else(damaged)?;
    let (_, body_at) = places(fixed);
    match fixed[0] == VERSION && body_at <= value.len() {
        true => Ok(value.slice(body_at..)),
        false => Err(damaged()),
    }
}

/// Where the ids of operations begin, and where the body does.
fn places(fixed: &[u8; FIXED]) -> (usize, usize) {
    let ids_at = match fixed[1] & FORGOTTEN {
        0 => FIXED,
        _ => FIXED + 8,
    };
    (ids_at, ids_at + OPERATION * usize::from(fixed[2]))
}

/// The stamp in a row's summary.
pub(super) fn stamp_of(summary: &[u8]) -> Option<Stamp> {
    let rest = summary.strip_prefix(&[SUMMARY_VERSION])?;
    read_stamp(rest.get(1..)?)
}

/// The stamp in a row's summary, and whether its content is chosen.
pub(super) fn head_of(summary: &[u8]) -> Option<(Stamp, bool)> {
    let flags = summary.get(1)?;
    Some((stamp_of(summary)?, flags & CHOSEN != 0))
}

/// The stamp in a row's summary, as it is written.
pub(super) fn written_stamp(summary: &[u8]) -> Option<&[u8]> {
    summary.get(2..SUMMARY_FIXED)
}

/// The value's own summary in a row's summary.
pub(crate) fn summary_of(summary: &[u8]) -> Option<&[u8]> {
    let rest = summary.strip_prefix(&[SUMMARY_VERSION])?;
    rest.get(SUMMARY_FIXED - 1..)
}

fn flags(row: &Row) -> u8 {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    flag(row.chosen, CHOSEN)
        | flag(row.content.value.is_none(), TOMBSTONE)
        | flag(row.content.forgotten > 0, FORGOTTEN)
}

fn put_stamp(bytes: &mut Vec<u8>, stamp: Stamp) {
    bytes.put_u32_le(stamp.ballot.epoch);
    bytes.put_u32_le(stamp.ballot.round);
    bytes.put_u32_le(stamp.ballot.member.0);
    bytes.put_u32_le(stamp.seq);
}

fn read_stamp(bytes: &[u8]) -> Option<Stamp> {
    let (words, _) = bytes.first_chunk::<STAMP>()?.as_chunks::<4>();
    let [epoch, round, member, seq] = *words.first_chunk::<4>()?;
    Some(Stamp {
        ballot: Ballot {
            epoch: u32::from_le_bytes(epoch),
            round: u32::from_le_bytes(round),
            member: MemberId(u32::from_le_bytes(member)),
        },
        seq: u32::from_le_bytes(seq),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::{Config, Fences, Votes};
    use proptest::prelude::*;

    fn a_row() -> impl Strategy<Value = Row> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
        let value =
            proptest::option::of((bytes(), bytes()).prop_map(|(summary, body)| Value { summary, body }));
        let recent = proptest::collection::vec(
            (any::<[u8; 16]>(), any::<bool>()).prop_map(|(id, done)| Recent {
                op: OpId(id),
                known: if done { Known::Done } else { Known::Refused },
            }),
            0..=RECENT_MAX,
        );
        (any::<[u32; 4]>(), any::<bool>(), recent, 0..3_u64, value).prop_map(
            |(words, chosen, recent, forgotten, value)| Row {
                stamp: Stamp {
                    ballot: Ballot {
                        epoch: words[0],
                        round: words[1],
                        member: MemberId(words[2]),
                    },
                    seq: words[3],
                },
                chosen,
                content: Content {
                    recent,
                    forgotten,
                    value,
                },
            },
        )
    }

    proptest! {
        #[test]
        fn a_row_reads_back_as_it_was_written(written in a_row()) {
            let RowWrite::Put { key, summary, value } = put(&Key::from_static(b"key"), &written) else {
                panic!("not written")
            };
            prop_assert_eq!(stamp_of(&summary), Some(written.stamp));
            let own = Bytes::copy_from_slice(summary_of(&summary).unwrap());
            let whole = WholeRow { summary: summary.clone().into(), value: value.clone() };
            match &written.content.value {
                Some(kept) => {
                    prop_assert_eq!(&key, b"key");
                    prop_assert_eq!(&own, &kept.summary);
                    prop_assert_eq!(&body(&value).unwrap(), &kept.body);
                }
                None => prop_assert_eq!(hidden_key(&key), Some(&b"key"[..])),
            }
            prop_assert_eq!(row(&whole).unwrap(), written);
        }

        #[test]
        fn hostile_bytes_are_damage_and_nothing_worse(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let bytes = Bytes::from(bytes);
            let whole = WholeRow { summary: bytes.clone(), value: bytes.clone() };
            let _ = (row(&whole), body(&bytes), stamp_of(&bytes), summary_of(&bytes), state(&bytes));
        }
    }

    #[test]
    fn the_formats_stay_as_they_are() {
        let stamp = Stamp {
            ballot: Ballot {
                epoch: 1,
                round: 2,
                member: MemberId(3),
            },
            seq: 4,
        };
        let value = Some(Value {
            summary: Bytes::from_static(b"s"),
            body: Bytes::from_static(b"b"),
        });
        let recent = vec![Recent {
            op: OpId([9; 16]),
            known: Known::Done,
        }];
        let forgotten = 0;
        let written = Row {
            stamp,
            chosen: true,
            content: Content {
                recent,
                forgotten,
                value,
            },
        };
        let RowWrite::Put { summary, value, .. } = put(&Key::from_static(b"k"), &written) else {
            panic!("not written")
        };
        assert_eq!(hex::encode(summary), "01010100000002000000030000000400000073");
        assert_eq!(
            hex::encode(value),
            "02010101000000020000000300000004000000010909090909090909090909090909090962"
        );
        let kept = State {
            part: Part {
                promised: stamp.ballot,
                fences: Fences {
                    sweeps: 5,
                    directory: 6,
                    forgotten: 7,
                },
            },
            configs: Configs::first(Config::stable(Votes::equal([MemberId(1)]).unwrap())),
        };
        let RowWrite::Put { key, value, .. } = put_state(258, &kept) else {
            panic!("not written")
        };
        assert_eq!(hex::encode(key), "040102");
        assert_eq!(state(&value).unwrap(), kept);
    }
}
