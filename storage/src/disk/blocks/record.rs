//! The bodies of block frames, version 1, to the byte.
//!
//! All integers are little-endian.
//!
//! | kind | bytes | field |
//! |---|---|---|
//! | `STORED`: a block arrived with its first reference | 32 | id: blake3 of the sealed bytes |
//! | | 16 | owner of the reference |
//! | | 8 | stamp of the reference |
//! | | 4 | n: sealed bytes, 1 to 8 MiB |
//! | | 4 × ⌈n / 64 KiB⌉ | CRC32C of each page of 64 KiB of the sealed bytes, the last one shorter |
//! | `MOVED`: a block copied forward | 32 | id |
//! | | 4 | n |
//! | | 4 × ⌈n / 64 KiB⌉ | CRC32C of each page |
//! | `REFERENCED`: a reference was added, or copied forward | 32 | id |
//! | | 16 | owner |
//! | | 8 | stamp; a copy keeps the stamp of the original |
//! | `RELEASED`: a reference was removed | 32 | id |
//! | | 16 | owner |
//! | | 8 | stamp of the reference removed |
//! | | 4 | segment that held the reference when it was removed |
//!
//! A reference is named by (id, owner, stamp). Stamps never repeat, so a release ends exactly one reference
//! however often an owner takes the same block again, and replaying a release twice changes nothing.
//! A block whose last reference is released is free; there is no frame that says so.
//!
//! The sealed bytes of `STORED` and `MOVED` follow in a frame of their own (`SEALED`), so that the record's
//! checksum proves the head alone: a scan reads heads and skips bodies, and a hole punched into the body
//! leaves every head whole. The page checksums prove any range of the body without reading the rest.

use bytes::Bytes;

/// Name of a block: blake3 of its sealed bytes.
pub type Id = [u8; 32];
/// Who holds a reference.
pub type Owner = [u8; 16];

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
    pub(in crate::disk::blocks) const SEALED: u8 = 20;
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

/// One durable event of a block log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Stored { first: Reference, pages: Pages },
    Moved { id: Id, pages: Pages },
    Referenced(Reference),
    Released { reference: Reference, segment: u32 },
}

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

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend(self.bytes.to_le_bytes());
        for sum in &self.sums {
            into.extend(sum.to_le_bytes());
        }
    }

    fn decode(from: &[u8]) -> Result<Self, InvalidRecord> {
        let (bytes, sums) = from.split_first_chunk().ok_or(InvalidRecord)?;
        let bytes = u32::from_le_bytes(*bytes);
        let (sums, rest) = sums.as_chunks::<4>();
        let whole = (1..=SEALED_MAX).contains(&bytes) && rest.is_empty();
        if !whole || sums.len() != bytes.div_ceil(PAGE) as usize {
            return Err(InvalidRecord);
        }
        let sums = sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        Ok(Self { bytes, sums })
    }

    /// Bytes of a head (without its frame) in front of a body of this length.
    pub(super) fn head_bytes(kind: u8, sealed: u32) -> u64 {
        let named = if kind == kind::STORED { 56 } else { 32 };
        named + 4 + 4 * u64::from(sealed.div_ceil(PAGE))
    }
}

impl Reference {
    const BYTES: usize = 56;

    fn encode(&self, into: &mut Vec<u8>) {
        into.extend(self.id);
        into.extend(self.owner);
        into.extend(self.stamp.to_le_bytes());
    }

    fn decode(from: &[u8]) -> Result<(Self, &[u8]), InvalidRecord> {
        let (id, rest) = from.split_first_chunk().ok_or(InvalidRecord)?;
        let (owner, rest) = rest.split_first_chunk().ok_or(InvalidRecord)?;
        let (stamp, rest) = rest.split_first_chunk().ok_or(InvalidRecord)?;
        let stamp = u64::from_le_bytes(*stamp);
        let (id, owner) = (*id, *owner);
        Ok((Self { id, owner, stamp }, rest))
    }
}

impl Record {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Stored { .. } => kind::STORED,
            Self::Moved { .. } => kind::MOVED,
            Self::Referenced(_) => kind::REFERENCED,
            Self::Released { .. } => kind::RELEASED,
        }
    }

    /// The body of its frame.
    pub(super) fn encode(&self) -> Bytes {
        let mut into = Vec::with_capacity(Reference::BYTES + 4);
        match self {
            Self::Stored { first, pages } => {
                first.encode(&mut into);
                pages.encode(&mut into);
            }
            Self::Moved { id, pages } => {
                into.extend(id);
                pages.encode(&mut into);
            }
            Self::Referenced(reference) => reference.encode(&mut into),
            Self::Released { reference, segment } => {
                reference.encode(&mut into);
                into.extend(segment.to_le_bytes());
            }
        }
        into.into()
    }

    /// Reads [`Self::encode`].
    pub(super) fn decode(kind: u8, body: &[u8]) -> Result<Self, InvalidRecord> {
        match kind {
            kind::STORED => {
                let (first, rest) = Reference::decode(body)?;
                let pages = Pages::decode(rest)?;
                Ok(Self::Stored { first, pages })
            }
            kind::MOVED => {
                let (id, rest) = body.split_first_chunk().ok_or(InvalidRecord)?;
                let pages = Pages::decode(rest)?;
                Ok(Self::Moved { id: *id, pages })
            }
            kind::REFERENCED => match Reference::decode(body)? {
                (reference, []) => Ok(Self::Referenced(reference)),
                _ => Err(InvalidRecord),
            },
            kind::RELEASED => {
                let (reference, rest) = Reference::decode(body)?;
                let segment = rest.try_into().map_err(|_| InvalidRecord)?;
                let segment = u32::from_le_bytes(segment);
                Ok(Self::Released { reference, segment })
            }
            _ => Err(InvalidRecord),
        }
    }

    /// The stamp it carries, if any.
    pub(super) fn stamp(&self) -> Option<u64> {
        match self {
            Self::Stored { first: reference, .. }
            | Self::Referenced(reference)
            | Self::Released { reference, .. } => Some(reference.stamp),
            Self::Moved { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reference() -> impl Strategy<Value = Reference> {
        (any::<Id>(), any::<Owner>(), any::<u64>()).prop_map(|(id, owner, stamp)| Reference { id, owner, stamp })
    }

    fn record() -> impl Strategy<Value = Record> {
        let pages = prop::collection::vec(any::<u8>(), 1..200_000).prop_map(|body| Pages::of(&body).expect("in range"));
        prop_oneof![
            (reference(), pages.clone()).prop_map(|(first, pages)| Record::Stored { first, pages }),
            (any::<Id>(), pages).prop_map(|(id, pages)| Record::Moved { id, pages }),
            reference().prop_map(Record::Referenced),
            (reference(), any::<u32>()).prop_map(|(reference, segment)| Record::Released { reference, segment }),
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
                prop_assert_eq!(record.encode().to_vec(), bytes);
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
        let first = Reference { id: [1; 32], owner: [2; 16], stamp: 0x0807_0605_0403_0201 };
        let pages = Pages { bytes: PAGE + 1, sums: vec![0x0403_0201, 0x0807_0605] };
        let fixture = include_bytes!("../../../fixtures/block-records-1.bin");
        let mut rest = &fixture[..];
        for record in [
            Record::Stored { first, pages: pages.clone() },
            Record::Moved { id: [1; 32], pages },
            Record::Referenced(first),
            Record::Released { reference: first, segment: 9 },
        ] {
            let (bytes, after) = rest.split_at(record.encode().len());
            assert_eq!(Record::decode(record.kind(), bytes), Ok(record.clone()));
            assert_eq!(record.encode(), bytes);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}
