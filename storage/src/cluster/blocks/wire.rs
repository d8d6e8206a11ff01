//! What members say to each other about blocks, to the byte: a small header, and behind it the bytes as they are.
//!
//! All integers are little-endian. A pair is an owner (16 bytes) and the id of a block (32).
//!
//! | call | bytes | field |
//! |---|---|---|
//! | all | 1 | `0xB1`: about blocks, version 1; calls about registers begin with another byte |
//! | | 1 | kind |
//! | 1 `Put`: store a block with a reference, or add the reference to one that is there | 8 | version of the sender's assignment |
//! | | 48 | pair |
//! | | rest | sealed bytes, 1 to 8 MiB |
//! | 2 `Share`: add references to blocks that are there | 8 | version of the sender's assignment |
//! | | 48 each | pairs, at most 1,024 |
//! | 3 `Release`: remove references for good | 48 each | pairs, at most 1,024 |
//! | 4 `Fetch`: give a range of a sealed block, clipped to its length | 32 | id |
//! | | 4, 4 | first byte, and the first behind |
//! | 5 `Reading`: whether anybody reads what these refer to | 16 each | owners, at most 1,024 |
//! | 6 `Depart`: take in nothing more, if nothing is left to hand over | | |
//! | 7 `Offer`: as `Share`; and whatever is said not to be there is about to be sent | | as there |
//! | 8 `Relay`: as `Put`; and one of those it is sent to passes it on | 8 | version of the sender's assignment |
//! | | 48 | pair |
//! | | 4 | number of the member that passes it on |
//! | | 1 | how many it passes it on to, at most 32 |
//! | | 4 each | their numbers |
//! | | rest | sealed bytes |
//!
//! | answer | bytes | field |
//! |---|---|---|
//! | all | 1 | `0xB1` |
//! | | 1 | kind |
//! | 1 `Done`: it is durable | | |
//! | 2 `Each`: for each that was asked about, in order | 8 | version of the answering member's assignment |
//! | | 1 each | 0 no, 1 yes, 2 released for good, 3 (to `Offer`) no, but it is being sent already |
//! | 3 `Bytes` | rest | the range of the block |
//! | 4 `Absent`: the block is not here whole; to `Put`: this member goes and takes nothing in; to `Depart`: no word of that yet | | |
//! | 5 `Full`: there is no room | | |
//! | 6 `Released`: the reference was removed for good | | |
//! | 7 `Holds`: so many references are still here | 4 | how many |

use std::ops::Range;

use bytes::Bytes;

use crate::StoreError;
use crate::cluster::Owner;
use crate::model::{BlockId, MemberId};

/// Calls and answers about blocks begin with it.
pub(super) const ABOUT_BLOCKS: u8 = 0xB1;
/// Most pairs and owners in a call.
pub(super) const PAIRS_MAX: usize = 1024;

/// Most members that one passes a block on to.
pub(super) const RELAYED_MAX: usize = 32;

const HEAD: usize = 2;
const PAIR: usize = 16 + 32;

/// A reference: who refers, and to which block.
pub(crate) type Pair = (Owner, BlockId);

/// A call to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Store a block with a reference, or add the reference to one that is there.
    Put { version: u64, pair: Pair, sealed: Bytes },
    /// Add references to blocks that are there.
    Share { version: u64, pairs: Vec<Pair> },
    /// Remove references for good.
    Release { pairs: Vec<Pair> },
    /// Give a range of a sealed block.
    Fetch { id: BlockId, range: Range<u32> },
    /// Whether anybody reads what these refer to.
    Reading { owners: Vec<Owner> },
    /// Take in nothing more, if nothing is left to hand over.
    Depart,
    /// Add references to blocks that are there; whatever is said not to be is about to be sent.
    Offer { version: u64, pairs: Vec<Pair> },
    /// As `Put`; and `via`, if it is that one, passes it on.
    Relay {
        version: u64,
        pair: Pair,
        via: MemberId,
        to: Vec<MemberId>,
        sealed: Bytes,
    },
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is durable.
    Done,
    /// For each that was asked about, in order.
    Each { version: u64, each: Vec<Held> },
    /// The range of the block.
    Bytes(Bytes),
    /// The block is not here whole; or this member goes and takes nothing in; or it has not heard yet that it is to go.
    Absent,
    /// There is no room.
    Full,
    /// The reference was removed for good.
    Released,
    /// So many references are still here.
    Holds(u32),
}

/// What is true of one that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    No = 0,
    Yes = 1,
    /// It was removed for good.
    Released = 2,
    /// Not yet: it is being sent already.
    Coming = 3,
}

impl Call {
    /// The bytes of it.
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Put {
                version,
                pair,
                sealed,
            } => put(*version, *pair, sealed),
            Self::Share { version, pairs } => versioned(2, *version, pairs),
            Self::Offer { version, pairs } => versioned(7, *version, pairs),
            Self::Relay {
                version,
                pair,
                via,
                to,
                sealed,
            } => relay(*version, *pair, (*via, to), sealed),
            Self::Release { pairs } => {
                let mut bytes = head(3, pairs.len() * PAIR);
                pairs.iter().for_each(|pair| push_pair(&mut bytes, *pair));
                bytes.into()
            }
            Self::Fetch { id, range } => {
                let mut bytes = head(4, 40);
                bytes.extend_from_slice(&id.0);
                bytes.extend_from_slice(&range.start.to_le_bytes());
                bytes.extend_from_slice(&range.end.to_le_bytes());
                bytes.into()
            }
            Self::Reading { owners } => {
                let mut bytes = head(5, owners.len() * 16);
                owners.iter().for_each(|owner| bytes.extend_from_slice(owner));
                bytes.into()
            }
            Self::Depart => head(6, 0).into(),
        }
    }

    /// Reads what [`Self::encode`] wrote; the sealed bytes of a block are not copied.
    ///
    /// # Errors
    /// `Damaged`: no call about blocks, or one of another version.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, StoreError> {
        let (kind, body) = opened(bytes)?;
        let call = match kind {
            1 => decode_put(bytes, body),
            2 => version_of(body).and_then(|(version, rest)| {
                let pairs = pairs_of(rest)?;
                Some(Self::Share { version, pairs })
            }),
            3 => pairs_of(body).map(|pairs| Self::Release { pairs }),
            4 => decode_fetch(body),
            5 => {
                let (owners, rest) = body.as_chunks::<16>();
                (rest.is_empty() && owners.len() <= PAIRS_MAX).then(|| Self::Reading {
                    owners: owners.to_vec(),
                })
            }
            6 => body.is_empty().then_some(Self::Depart),
            7 => version_of(body).and_then(|(version, rest)| {
                let pairs = pairs_of(rest)?;
                Some(Self::Offer { version, pairs })
            }),
            8 => decode_relay(bytes, body),
            _ => None,
        };
        call.ok_or_else(unreadable)
    }
}

/// A call that stores a block: the only copy of its sealed bytes that is made.
pub(super) fn put(version: u64, pair: Pair, sealed: &[u8]) -> Bytes {
    let mut bytes = head(1, 8 + PAIR + sealed.len());
    bytes.extend_from_slice(&version.to_le_bytes());
    push_pair(&mut bytes, pair);
    bytes.extend_from_slice(sealed);
    bytes.into()
}

/// A call that stores a block, and has `via`, if it is that one, pass it on to others, of whom the first 32 count: the only
/// copy of its sealed bytes that is made.
pub(super) fn relay(version: u64, pair: Pair, (via, to): (MemberId, &[MemberId]), sealed: &[u8]) -> Bytes {
    let count = to.len().min(RELAYED_MAX);
    let mut bytes = head(8, 8 + PAIR + 4 + 1 + count * 4 + sealed.len());
    bytes.extend_from_slice(&version.to_le_bytes());
    push_pair(&mut bytes, pair);
    bytes.extend_from_slice(&via.0.to_le_bytes());
    bytes.push(u8::try_from(count).unwrap_or(0));
    for member in to.iter().take(count) {
        bytes.extend_from_slice(&member.0.to_le_bytes());
    }
    bytes.extend_from_slice(sealed);
    bytes.into()
}

impl Answer {
    /// The bytes of it.
    pub(super) fn encode(&self) -> Bytes {
        match self {
            Self::Done => head(1, 0).into(),
            Self::Each { version, each } => {
                let mut bytes = head(2, 8 + each.len());
                bytes.extend_from_slice(&version.to_le_bytes());
                bytes.extend(each.iter().map(|held| *held as u8));
                bytes.into()
            }
            Self::Bytes(range) => {
                let mut bytes = head(3, range.len());
                bytes.extend_from_slice(range);
                bytes.into()
            }
            Self::Absent => head(4, 0).into(),
            Self::Full => head(5, 0).into(),
            Self::Released => head(6, 0).into(),
            Self::Holds(references) => {
                let mut bytes = head(7, 4);
                bytes.extend_from_slice(&references.to_le_bytes());
                bytes.into()
            }
        }
    }

    /// Reads what [`Self::encode`] wrote; the bytes of a range are not copied.
    ///
    /// # Errors
    /// `Damaged`: no answer about blocks, or one of another version.
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, StoreError> {
        let (kind, body) = opened(bytes)?;
        let answer = match (kind, body) {
            (1, []) => Some(Self::Done),
            (2, body) => version_of(body).and_then(|(version, rest)| {
                let each = rest.iter().map(|byte| Held::of(*byte)).collect::<Option<_>>()?;
                Some(Self::Each { version, each })
            }),
            (3, _) => Some(Self::Bytes(bytes.slice(HEAD..))),
            (4, []) => Some(Self::Absent),
            (5, []) => Some(Self::Full),
            (6, []) => Some(Self::Released),
            (7, body) => body
                .try_into()
                .ok()
                .map(|bytes| Self::Holds(u32::from_le_bytes(bytes))),
            _ => None,
        };
        answer.ok_or_else(unreadable)
    }
}

impl Held {
    fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::No),
            1 => Some(Self::Yes),
            2 => Some(Self::Released),
            3 => Some(Self::Coming),
            _ => None,
        }
    }
}

fn head(kind: u8, body: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body);
    bytes.extend_from_slice(&[ABOUT_BLOCKS, kind]);
    bytes
}

fn versioned(kind: u8, version: u64, pairs: &[Pair]) -> Bytes {
    let mut bytes = head(kind, 8 + pairs.len() * PAIR);
    bytes.extend_from_slice(&version.to_le_bytes());
    pairs.iter().for_each(|pair| push_pair(&mut bytes, *pair));
    bytes.into()
}

fn push_pair(bytes: &mut Vec<u8>, (owner, id): Pair) {
    bytes.extend_from_slice(&owner);
    bytes.extend_from_slice(&id.0);
}

fn opened(bytes: &[u8]) -> Result<(u8, &[u8]), StoreError> {
    match bytes {
        [ABOUT_BLOCKS, kind, body @ ..] => Ok((*kind, body)),
        _ => Err(unreadable()),
    }
}

fn unreadable() -> StoreError {
    StoreError::Damaged("a message about blocks that does not read".into())
}

fn version_of(body: &[u8]) -> Option<(u64, &[u8])> {
    let (version, rest) = body.split_first_chunk()?;
    Some((u64::from_le_bytes(*version), rest))
}

fn pair_of(bytes: &[u8]) -> Option<(Pair, &[u8])> {
    let (owner, rest) = bytes.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    Some(((*owner, BlockId(*id)), rest))
}

fn pairs_of(mut bytes: &[u8]) -> Option<Vec<Pair>> {
    if bytes.len() > PAIRS_MAX * PAIR {
        return None;
    }
    let mut pairs = Vec::with_capacity(bytes.len() / PAIR);
    while !bytes.is_empty() {
        let (pair, rest) = pair_of(bytes)?;
        pairs.push(pair);
        bytes = rest;
    }
    Some(pairs)
}

fn decode_put(bytes: &Bytes, body: &[u8]) -> Option<Call> {
    let (version, rest) = version_of(body)?;
    let (pair, rest) = pair_of(rest)?;
    let sealed = bytes.slice(bytes.len() - rest.len()..);
    Some(Call::Put {
        version,
        pair,
        sealed,
    })
}

fn decode_relay(bytes: &Bytes, body: &[u8]) -> Option<Call> {
    let (version, rest) = version_of(body)?;
    let (pair, rest) = pair_of(rest)?;
    let (via, rest) = rest.split_first_chunk()?;
    let ([count], rest) = rest.split_first_chunk()?;
    let count = usize::from(*count);
    let (to, sealed) = rest
        .split_at_checked(count * 4)
        .filter(|_| count <= RELAYED_MAX)?;
    let (to, _) = to.as_chunks();
    Some(Call::Relay {
        version,
        pair,
        via: MemberId(u32::from_le_bytes(*via)),
        to: to
            .iter()
            .map(|member| MemberId(u32::from_le_bytes(*member)))
            .collect(),
        sealed: bytes.slice(bytes.len() - sealed.len()..),
    })
}

fn decode_fetch(body: &[u8]) -> Option<Call> {
    let (id, rest) = body.split_first_chunk()?;
    let (start, rest) = rest.split_first_chunk()?;
    let range = u32::from_le_bytes(*start)..u32::from_le_bytes(rest.try_into().ok()?);
    Some(Call::Fetch {
        id: BlockId(*id),
        range,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAIR: Pair = ([1; 16], BlockId([2; 32]));

    #[track_caller]
    fn check_call(call: &Call, fixture: &str) {
        let fixture = fixture
            .replace("OWNER", &"01".repeat(16))
            .replace("BLOCK", &"02".repeat(32));
        assert_eq!(hex::encode(call.encode()), fixture);
        assert_eq!(
            Call::decode(&hex::decode(fixture).unwrap().into()).unwrap(),
            *call
        );
    }

    #[track_caller]
    fn check_answer(answer: &Answer, fixture: &str) {
        assert_eq!(hex::encode(answer.encode()), fixture);
        assert_eq!(
            Answer::decode(&hex::decode(fixture).unwrap().into()).unwrap(),
            *answer
        );
    }

    #[test]
    fn calls_of_version_1_are_read_as_written() {
        let (version, pairs, sealed) = (7, vec![PAIR], Bytes::from_static(b"sealed"));
        let put = Call::Put {
            version,
            pair: PAIR,
            sealed,
        };
        check_call(&put, "b1010700000000000000OWNERBLOCK7365616c6564");
        let share = Call::Share {
            version,
            pairs: pairs.clone(),
        };
        check_call(&share, "b1020700000000000000OWNERBLOCK");
        check_call(&Call::Release { pairs }, "b103OWNERBLOCK");
        let (id, range) = (PAIR.1, 3..0x0400_0001);
        check_call(&Call::Fetch { id, range }, "b104BLOCK0300000001000004");
        let owners = vec![PAIR.0; 2];
        check_call(&Call::Reading { owners }, "b105OWNEROWNER");
        check_call(&Call::Depart, "b106");
        let pairs = vec![PAIR];
        check_call(&Call::Offer { version, pairs }, "b1070700000000000000OWNERBLOCK");
        let relay = Call::Relay {
            version,
            pair: PAIR,
            via: MemberId(3),
            to: vec![MemberId(4), MemberId(261)],
            sealed: Bytes::from_static(b"sealed"),
        };
        let fixture = "b1080700000000000000OWNERBLOCK030000000204000000050100007365616c6564";
        check_call(&relay, fixture);
    }

    #[test]
    fn answers_of_version_1_are_read_as_written() {
        let each = vec![Held::No, Held::Yes, Held::Released, Held::Coming];
        check_answer(&Answer::Done, "b101");
        check_answer(&Answer::Each { version: 9, each }, "b102090000000000000000010203");
        check_answer(&Answer::Bytes(Bytes::from_static(b"range")), "b10372616e6765");
        check_answer(&Answer::Absent, "b104");
        check_answer(&Answer::Full, "b105");
        check_answer(&Answer::Released, "b106");
        check_answer(&Answer::Holds(258), "b10702010000");
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(kind in 0_u8..10, body: Vec<u8>) {
            let bytes = Bytes::from([&[ABOUT_BLOCKS, kind][..], &body].concat());
            let _ = (Call::decode(&bytes), Answer::decode(&bytes), Call::decode(&body.into()));
        }
    }
}
