//! The bodies of block frames, version 1, to the byte.
//!
//! All integers are little-endian.
//!
//! | kind | bytes | field |
//! |---|---|---|
//! | 16 `STORED`: a block arrived with its first reference | 32 | id: blake3 of the sealed bytes |
//! | | 16 | owner of the reference |
//! | | 8 | stamp of the reference |
//! | | 4 | n: sealed bytes, 1 to 8 MiB |
//! | | 4 × ⌈n / 64 KiB⌉ | CRC32C of each page of 64 KiB of the sealed bytes, the last one shorter |
//! | | 4 | CRC32C of all fields above |
//! | | n | the sealed bytes |
//! | 17 `MOVED`: a block copied forward | 32 | id |
//! | | 4 | n |
//! | | 4 × ⌈n / 64 KiB⌉ | CRC32C of each page |
//! | | 4 | CRC32C of all fields above |
//! | | n | the sealed bytes |
//! | 18 `REFERENCED`: references were added, or copied forward | 16 | owner |
//! | | 8 | stamp; a copy keeps the stamp of the original |
//! | | 32 each | ids, at least one |
//! | 19 `RELEASED`: references were removed | 16 | owner |
//! | | 44 each | id 32, stamp 8 of the reference removed, number 4 of the segment that held it then |
//!
//! A reference is named by (id, owner, stamp). Stamps never repeat for an id and owner, so a release ends
//! exactly one reference however often an owner takes the same block again, and replaying it twice changes
//! nothing. A block whose last reference is released is free; there is no frame that says so.
//!
//! What stands before the sealed bytes is the head. It has a checksum of its own beside the frame's, so that a
//! scan reads heads and skips bodies, and a hole punched into a body leaves a head that proves itself. The page
//! checksums prove any range of the body without reading the rest: a store that served a range on the word of
//! the id alone would have to hash 4 MiB for every 64 KiB. They cost one more CRC pass over a body when it is
//! written, on the writing task's thread, at tens of GiB/s; the id itself is proven again by scrub.

use bytes::Bytes;

/// Name of a block: blake3 of its sealed bytes.
pub(crate) type Id = [u8; 32];
/// Who holds a reference.
pub(crate) type Owner = [u8; 16];

/// Bytes of body that one checksum covers.
pub(super) const PAGE: u32 = 64 * 1024;
/// Most sealed bytes of a block: 4 MiB of content, its frame table and tags, with room to spare.
pub(super) const SEALED_MAX: u32 = 8 * 1024 * 1024;

/// Frame kinds of a block log.
pub(super) mod kind {
    pub(in crate::disk::blocks) const STORED: u8 = 16;
    pub(in crate::disk::blocks) const MOVED: u8 = 17;
    pub(in crate::disk::blocks) const REFERENCED: u8 = 18;
    pub(in crate::disk::blocks) const RELEASED: u8 = 19;
}

/// One reference, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Reference {
    pub(super) id: Id,
    pub(super) owner: Owner,
    pub(super) stamp: u64,
}

/// A block's length and the proof of each of its pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    /// Sealed bytes.
    pub(super) bytes: u32,
    /// CRC32C of each page; as many as the length needs.
    pub(super) sums: Vec<u32>,
}

/// A reference that ends, and where it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) id: Id,
    pub(super) stamp: u64,
    /// The segment whose frame says that the reference exists: while that is there, the release must be too.
    pub(super) segment: u32,
}

/// One durable event of a block log, without sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Stored { first: Reference, pages: Pages },
    Moved { id: Id, pages: Pages },
    Referenced { owner: Owner, stamp: u64, ids: Vec<Id> },
    Released { owner: Owner, ended: Vec<Ended> },
}

/// Bytes that each reference takes in a frame, and of the longest head.
pub(super) const REFERENCE_BYTES: u64 = 32;
pub(super) const HEAD_MAX: usize = 56 + 4 + 4 * (SEALED_MAX / PAGE) as usize + 4;
/// Most ids in one frame.
pub(super) const IDS_MAX: usize = 65_536;

/// Why a record's bytes are not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InvalidRecord;

impl Pages {
    /// Sums up a body.
    pub(super) fn of(sealed: &[u8]) -> Option<Self> {
        let bytes = u32::try_from(sealed.len()).ok()?;
        (1..=SEALED_MAX).contains(&bytes).then(|| Self {
            bytes,
            sums: sealed.chunks(PAGE as usize).map(crc_fast::crc32_iscsi).collect(),
        })
    }

    /// Whether the pages from number `first` on are these; `bytes` starts and ends at page borders (or the end).
    pub(super) fn prove(&self, first: usize, bytes: &[u8]) -> bool {
        bytes
            .chunks(PAGE as usize)
            .enumerate()
            .all(|(index, page)| self.sums.get(first + index) == Some(&crc_fast::crc32_iscsi(page)))
    }

    fn encode(&self, mut head: Vec<u8>) -> Vec<u8> {
        head.extend(self.bytes.to_le_bytes());
        for sum in &self.sums {
            head.extend(sum.to_le_bytes());
        }
        let sum = crc_fast::crc32_iscsi(&head);
        head.extend(sum.to_le_bytes());
        head
    }

    /// Reads the pages of a head whose first `named` bytes say what it is about; more bytes may follow.
    fn decode(from: &[u8], named: usize) -> Result<Self, InvalidRecord> {
        let bytes = from
            .get(named..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(InvalidRecord)?;
        let bytes = u32::from_le_bytes(*bytes);
        if !(1..=SEALED_MAX).contains(&bytes) {
            return Err(InvalidRecord);
        }
        let sums_end = named + 4 + 4 * bytes.div_ceil(PAGE) as usize;
        let (head, rest) = from.split_at_checked(sums_end).ok_or(InvalidRecord)?;
        let sum = rest.first_chunk().ok_or(InvalidRecord)?;
        if crc_fast::crc32_iscsi(head) != u32::from_le_bytes(*sum) {
            return Err(InvalidRecord);
        }
        let (sums, _) = head[named + 4..].as_chunks::<4>();
        let sums = sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        Ok(Self { bytes, sums })
    }

    /// Bytes of the head in front of `sealed` bytes.
    pub(super) fn head_bytes(kind: u8, sealed: u32) -> u64 {
        let named = if kind == kind::STORED { 56 } else { 32 };
        named + 4 + 4 * u64::from(sealed.div_ceil(PAGE)) + 4
    }
}

impl Record {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Stored { .. } => kind::STORED,
            Self::Moved { .. } => kind::MOVED,
            Self::Referenced { .. } => kind::REFERENCED,
            Self::Released { .. } => kind::RELEASED,
        }
    }

    /// Whether sealed bytes follow a record of this kind.
    pub(super) fn has_body(kind: u8) -> bool {
        matches!(kind, kind::STORED | kind::MOVED)
    }

    /// The body of its frame, up to the sealed bytes.
    pub(super) fn encode(&self) -> Bytes {
        let mut into = Vec::with_capacity(64);
        match self {
            Self::Stored { first, pages } => {
                into.extend(first.id);
                into.extend(first.owner);
                into.extend(first.stamp.to_le_bytes());
                into = pages.encode(into);
            }
            Self::Moved { id, pages } => {
                into.extend(id);
                into = pages.encode(into);
            }
            Self::Referenced { owner, stamp, ids } => {
                into.extend(owner);
                into.extend(stamp.to_le_bytes());
                into.extend(ids.iter().flatten());
            }
            Self::Released { owner, ended } => {
                into.extend(owner);
                for ended in ended {
                    into.extend(ended.id);
                    into.extend(ended.stamp.to_le_bytes());
                    into.extend(ended.segment.to_le_bytes());
                }
            }
        }
        into.into()
    }

    /// Reads [`Self::encode`]. Behind a head more bytes may follow.
    pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Self, InvalidRecord> {
        match kind {
            kind::STORED => {
                let pages = Pages::decode(body, 56)?;
                let (id, rest) = body.split_first_chunk().ok_or(InvalidRecord)?;
                let (owner, rest) = rest.split_first_chunk().ok_or(InvalidRecord)?;
                let stamp = u64::from_le_bytes(*rest.first_chunk().ok_or(InvalidRecord)?);
                let first = Reference {
                    id: *id,
                    owner: *owner,
                    stamp,
                };
                Ok(Self::Stored { first, pages })
            }
            kind::MOVED => {
                let pages = Pages::decode(body, 32)?;
                Ok(Self::Moved {
                    id: *body.first_chunk().ok_or(InvalidRecord)?,
                    pages,
                })
            }
            kind::REFERENCED => {
                let (owner, rest) = body.split_first_chunk().ok_or(InvalidRecord)?;
                let (stamp, rest) = rest.split_first_chunk().ok_or(InvalidRecord)?;
                let (ids, []) = rest.as_chunks() else {
                    return Err(InvalidRecord);
                };
                Ok(Self::Referenced {
                    owner: *owner,
                    stamp: u64::from_le_bytes(*stamp),
                    ids: ids.to_vec(),
                })
            }
            kind::RELEASED => {
                let (owner, rest) = body.split_first_chunk().ok_or(InvalidRecord)?;
                let (items, []) = rest.as_chunks::<44>() else {
                    return Err(InvalidRecord);
                };
                Ok(Self::Released {
                    owner: *owner,
                    ended: items.iter().map(Ended::decode).collect(),
                })
            }
            _ => Err(InvalidRecord),
        }
    }
}

/// Reads any bytes as a record of this kind, as they are and with the checksum of its head put right.
///
/// # Panics
/// A record was read that would be written differently.
#[cfg(any(test, feature = "simulation"))]
pub(in crate::disk) fn read_hostile(kind: u8, body: &[u8]) {
    for named in [None, Some(32), Some(56)] {
        let body = match named {
            None => body.to_vec(),
            Some(named) => match forge(body, named) {
                Some(forged) => forged,
                None => continue,
            },
        };
        if let Ok(record) = Record::decode(kind, &body) {
            assert!(body.starts_with(&record.encode()), "{record:?}");
        }
    }
}

/// The same bytes with the checksum of a head whose first `named` bytes say what it is about, and with a block just
/// so long that the head ends with the bytes.
#[cfg(any(test, feature = "simulation"))]
fn forge(body: &[u8], named: usize) -> Option<Vec<u8>> {
    let mut forged = body.to_vec();
    let pages = forged.len().checked_sub(named + 8)? / 4;
    let bytes = u32::try_from(pages).ok()?.checked_mul(PAGE)?;
    let sums_end = named + 4 + 4 * pages;
    forged[named..named + 4].copy_from_slice(&bytes.to_le_bytes());
    let sum = crc_fast::crc32_iscsi(&forged[..sums_end]);
    forged[sums_end..sums_end + 4].copy_from_slice(&sum.to_le_bytes());
    Some(forged)
}

impl Ended {
    fn decode(item: &[u8; 44]) -> Self {
        let mut ended = Self {
            id: [0; 32],
            stamp: 0,
            segment: 0,
        };
        let (mut stamp, mut segment) = ([0; 8], [0; 4]);
        ended.id.copy_from_slice(&item[..32]);
        stamp.copy_from_slice(&item[32..40]);
        segment.copy_from_slice(&item[40..]);
        (ended.stamp, ended.segment) = (u64::from_le_bytes(stamp), u32::from_le_bytes(segment));
        ended
    }
}

impl Record {
    /// The highest stamp it carries, 0 if none.
    pub(super) fn stamp(&self) -> u64 {
        match self {
            Self::Stored { first, .. } => first.stamp,
            Self::Referenced { stamp, .. } => *stamp,
            Self::Released { ended, .. } => ended.iter().map(|ended| ended.stamp).max().unwrap_or(0),
            Self::Moved { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference() -> impl Strategy<Value = Reference> {
        (any::<Id>(), any::<Owner>(), any::<u64>()).prop_map(|(id, owner, stamp)| Reference {
            id,
            owner,
            stamp,
        })
    }

    fn record() -> impl Strategy<Value = Record> {
        let pages = prop::collection::vec(any::<u8>(), 1..200_000)
            .prop_map(|body| Pages::of(&body).expect("in range"));
        let ended = (any::<Id>(), any::<u64>(), any::<u32>());
        let ended = ended.prop_map(|(id, stamp, segment)| Ended { id, stamp, segment });
        prop_oneof![
            (reference(), pages.clone()).prop_map(|(first, pages)| Record::Stored { first, pages }),
            (any::<Id>(), pages).prop_map(|(id, pages)| Record::Moved { id, pages }),
            (
                any::<Owner>(),
                any::<u64>(),
                prop::collection::vec(any::<Id>(), 0..9)
            )
                .prop_map(|(owner, stamp, ids)| Record::Referenced { owner, stamp, ids }),
            (any::<Owner>(), prop::collection::vec(ended, 0..9))
                .prop_map(|(owner, ended)| Record::Released { owner, ended }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_record_reads_back_as_it_was_written(record in record()) {
            prop_assert_eq!(Record::decode(record.kind(), &record.encode()), Ok(record));
        }

        #[test]
        fn any_bytes_are_a_record_or_refused(kind in 14u8..24, bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(record) = Record::decode(kind, &bytes) {
                prop_assert!(bytes.starts_with(&record.encode()));
            }
        }

        #[test]
        fn a_flipped_bit_in_any_page_is_noticed(len in 1usize..200_000, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut body = vec![7; len];
            let pages = Pages::of(&body).expect("in range");
            prop_assert!(pages.prove(0, &body));
            let at = at.index(len);
            body[at] ^= 1 << bit;
            prop_assert!(!pages.prove(0, &body));
            let page = at / PAGE as usize;
            let end = len.min((page + 1) * PAGE as usize);
            prop_assert!(!pages.prove(page, &body[page * PAGE as usize..end]));
        }
    }

    #[test]
    fn version_1_records_keep_their_bytes() {
        let first = Reference {
            id: [1; 32],
            owner: [2; 16],
            stamp: 0x0807_0605_0403_0201,
        };
        let pages = Pages {
            bytes: PAGE + 1,
            sums: vec![0x0403_0201, 0x0807_0605],
        };
        let fixture = include_bytes!("../../../fixtures/block-records-1.bin");
        let mut rest = &fixture[..];
        for record in [
            Record::Stored {
                first,
                pages: pages.clone(),
            },
            Record::Moved { id: [1; 32], pages },
            Record::Referenced {
                owner: [2; 16],
                stamp: first.stamp,
                ids: vec![[1; 32], [3; 32]],
            },
            Record::Released {
                owner: [2; 16],
                ended: vec![Ended {
                    id: [1; 32],
                    stamp: first.stamp,
                    segment: 9,
                }],
            },
        ] {
            let (bytes, after) = rest.split_at(record.encode().len());
            assert_eq!(Record::decode(record.kind(), bytes), Ok(record.clone()));
            assert_eq!(record.encode(), bytes);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}
