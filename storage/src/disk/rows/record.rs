//! Records, one change to one row each: how they lie in a frame of the row log.
//!
//! See [`crate::disk`] for the format to the byte.

use bytes::{BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

use crate::disk::{DiskError, RowWrite};

/// Bytes of a record before its key.
pub(super) const RECORD_HEADER: usize = 16;
/// Longest key in bytes: the key of an object, each of its bytes escaped, with two ids and room to spare.
pub(super) const KEY_MAX: usize = 2200;
/// Longest summary in bytes.
pub(super) const SUMMARY_MAX: usize = 1 << 10;
/// Longest value in bytes.
pub(super) const VALUE_MAX: usize = 1 << 20;
/// Values from this size on are not copied into the record's piece of the body.
const VALUE_APART: usize = 64 << 10;

const PUT: u8 = 1;
const DROP: u8 = 2;

/// One record, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// The row is set.
    Put {
        /// Its key.
        key: &'a [u8],
        /// Its summary.
        summary: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// The row is forgotten.
    Drop {
        /// Its key.
        key: &'a [u8],
    },
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`: it and the bytes it takes. `None` if it is cut or does not verify.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let header = bytes.first_chunk::<RECORD_HEADER>()?;
        let crc = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        let key_len = usize::from(u16::from_le_bytes([header[6], header[7]]));
        let summary_len = usize::from(u16::from_le_bytes([header[8], header[9]]));
        let value_len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]) as usize;
        let len = RECORD_HEADER
            .checked_add(key_len + summary_len)?
            .checked_add(value_len)?;
        let record = bytes.get(..len)?;
        if crc32_iscsi(&record[4..]) != crc {
            return None;
        }
        let (key, rest) = record[RECORD_HEADER..].split_at(key_len);
        let (summary, value) = rest.split_at(summary_len);
        match header[4] {
            PUT => Some((Self::Put { key, summary, value }, len)),
            DROP => Some((Self::Drop { key }, len)),
            _ => None,
        }
    }

    /// All records of a frame's body with their offsets and lengths; `None` if any does not verify.
    pub(super) fn decode_all(body: &'a [u8]) -> Option<Vec<(usize, usize, Self)>> {
        let (mut at, mut records) = (0, Vec::new());
        while at < body.len() {
            let (record, len) = Self::decode(&body[at..])?;
            records.push((at, len, record));
            at += len;
        }
        Some(records)
    }

    /// The row's key.
    pub(super) fn key(&self) -> &'a [u8] {
        match self {
            Self::Put { key, .. } | Self::Drop { key } => key,
        }
    }
}

/// The body of a frame being built from records.
#[derive(Default)]
pub(super) struct BodyBuilder {
    pieces: Vec<Bytes>,
    open: BytesMut,
    len: usize,
}

impl BodyBuilder {
    /// A builder with room for `bytes`.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            open: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds a record as it was read from the log.
    pub(super) fn copy(&mut self, record: &[u8]) {
        self.open.put_slice(record);
        self.len += record.len();
    }

    /// Adds the record of a write; gives its length.
    ///
    /// # Errors
    /// `TooLarge`.
    pub(super) fn add(&mut self, write: &RowWrite) -> Result<usize, DiskError> {
        let nothing = Bytes::new();
        let (kind, key, summary, value) = match write {
            RowWrite::Put { key, summary, value } => (PUT, key.as_slice(), summary.as_slice(), value),
            RowWrite::Drop { key } => (DROP, key.as_slice(), &[][..], &nothing),
        };
        let key_len = at_most("row key", key.len(), KEY_MAX)?;
        let summary_len = at_most("row summary", summary.len(), SUMMARY_MAX)?;
        let value_len = at_most("row value", value.len(), VALUE_MAX)?;
        let start = self.open.len();
        self.open.put_u32_le(0);
        self.open.put_slice(&[kind, 0]);
        self.open.put_slice(&key_len.to_le_bytes()[..2]);
        self.open.put_slice(&summary_len.to_le_bytes()[..2]);
        self.open.put_slice(&[0, 0]);
        self.open.put_u32_le(value_len);
        self.open.put_slice(key);
        self.open.put_slice(summary);
        let apart = value.len() >= VALUE_APART;
        if !apart {
            self.open.put_slice(value);
        }
        let crc = crc(&self.open[start + 4..], if apart { value } else { &[] });
        self.open[start..start + 4].copy_from_slice(&crc.to_le_bytes());
        if apart {
            self.pieces.push(self.open.split().freeze());
            self.pieces.push(value.clone());
        }
        let len = RECORD_HEADER + key.len() + summary.len() + value.len();
        self.len += len;
        Ok(len)
    }

    /// The body in pieces.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.pieces.push(self.open.freeze());
        }
        self.pieces
    }
}

/// Reads any bytes as a record, as they are and with its checksum put right.
///
/// # Panics
/// The parts of a record are not all of it.
#[cfg(any(test, feature = "simulation"))]
pub(in crate::disk) fn read_hostile(bytes: &[u8]) {
    for bytes in [Some(bytes.to_vec()), forge(bytes)].iter().flatten() {
        let Some((record, len)) = Record::decode(bytes) else {
            continue;
        };
        if let Record::Put { key, summary, value } = record {
            assert_eq!(RECORD_HEADER + key.len() + summary.len() + value.len(), len);
        }
        // Whatever follows, the first record is found again.
        if let Some(all) = Record::decode_all(bytes) {
            assert_eq!(all.first(), Some(&(0, len, record)));
        }
    }
}

/// The same bytes with the checksum of a record whose lengths are as they say, cut to what there is.
#[cfg(any(test, feature = "simulation"))]
fn forge(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut forged = bytes.to_vec();
    let header = *forged.first_chunk::<RECORD_HEADER>()?;
    let room = forged.len() - RECORD_HEADER;
    let key = usize::from(u16::from_le_bytes([header[6], header[7]])).min(room);
    let summary = usize::from(u16::from_le_bytes([header[8], header[9]])).min(room - key);
    let value = room - key - summary;
    forged[6..8].copy_from_slice(&u16::try_from(key).ok()?.to_le_bytes());
    forged[8..10].copy_from_slice(&u16::try_from(summary).ok()?.to_le_bytes());
    forged[12..16].copy_from_slice(&u32::try_from(value).ok()?.to_le_bytes());
    let crc = crc32_iscsi(&forged[4..]);
    forged[..4].copy_from_slice(&crc.to_le_bytes());
    Some(forged)
}

fn crc(front: &[u8], back: &[u8]) -> u32 {
    if back.is_empty() {
        return crc32_iscsi(front);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(front);
    digest.update(back);
    // The digest of a 32-bit CRC has no bits above 32.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

fn at_most(what: &'static str, size: usize, most: usize) -> Result<u32, DiskError> {
    match u32::try_from(size) {
        Ok(len) if size <= most => Ok(len),
        _ => Err(DiskError::TooLarge {
            what,
            size: size as u64,
            most: most as u64,
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn write() -> impl Strategy<Value = RowWrite> {
        let bytes = |most| proptest::collection::vec(any::<u8>(), 0..most);
        let value = prop_oneof![bytes(300), Just(vec![3; VALUE_APART + 1])];
        prop_oneof![
            (bytes(40), bytes(40), value).prop_map(|(key, summary, value)| RowWrite::Put {
                key,
                summary,
                value: value.into()
            }),
            bytes(40).prop_map(|key| RowWrite::Drop { key }),
        ]
    }

    fn body(writes: &[RowWrite]) -> Vec<u8> {
        let mut builder = BodyBuilder::default();
        for write in writes {
            builder.add(write).unwrap();
        }
        let len = builder.len();
        let body = builder.finish().concat();
        assert_eq!(body.len(), len);
        body
    }

    proptest! {
        #[test]
        fn records_read_back_as_they_were_written(writes in proptest::collection::vec(write(), 0..6)) {
            let body = body(&writes);
            let records = Record::decode_all(&body).unwrap();
            prop_assert_eq!(records.len(), writes.len());
            for ((_, _, record), write) in records.iter().zip(&writes) {
                match write {
                    RowWrite::Put { key, summary, value } => {
                        prop_assert_eq!(*record, Record::Put { key, summary, value });
                    }
                    RowWrite::Drop { key } => prop_assert_eq!(*record, Record::Drop { key }),
                }
            }
        }

        #[test]
        fn a_flipped_bit_or_a_cut_is_found(write in write(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let body = body(&[write]);
            let at = at.index(body.len());
            let mut flipped = body.clone();
            flipped[at] ^= 1_u8 << bit;
            prop_assert_eq!(Record::decode(&flipped), None);
            prop_assert_eq!(Record::decode(&body[..at]), None);
        }
    }

    #[test]
    fn the_longest_key_of_an_upload_fits() {
        use crate::model::{BucketId, ObjectKey, UploadId, row_key};
        let key = ObjectKey::parse(&[0; 1024]).unwrap();
        let key = row_key::upload(BucketId::from_bytes([1; 16]), &key, UploadId::from_bytes([2; 16]));
        assert_eq!(key.len(), 2083);
        BodyBuilder::default().add(&RowWrite::Drop { key }).unwrap();
    }

    #[test]
    fn a_row_that_is_too_large_is_refused() {
        let write = RowWrite::Put {
            key: vec![0; KEY_MAX + 1],
            summary: Vec::new(),
            value: Bytes::new(),
        };
        assert!(matches!(
            BodyBuilder::default().add(&write),
            Err(DiskError::TooLarge { .. })
        ));
    }
}
