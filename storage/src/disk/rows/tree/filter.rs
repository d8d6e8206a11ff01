//! Says which rows a table surely does not have, so that a lookup reads one table and not all: a Bloom filter whose bits
//! of one key lie in one cache line.

use xxhash_rust::xxh3::xxh3_64;

/// Bits of a filter for each key: one of about a hundred absent keys is taken for present.
const BITS_PER_KEY: usize = 10;
/// Bits that are set for each key.
const BITS_SET: u32 = 7;
/// Bytes that all bits of one key lie in.
const LINE: usize = 64;

/// The hash of a row's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyHash(u64);

impl KeyHash {
    /// Hashes a key.
    pub(super) fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    fn line(self, lines: usize) -> usize {
        // The upper half picks the line, evenly: below `lines` after the shift.
        let line = ((self.0 >> 32) * lines as u64) >> 32;
        usize::try_from(line).unwrap_or(0)
    }

    /// The bits of the line, as byte and mask.
    fn bits(self) -> impl Iterator<Item = (usize, u8)> {
        // Nine bits name one of 512; an odd factor mixes the lower half into all of them.
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (0..BITS_SET).map(move |bit| {
            let [low, high, ..] = (mixed >> (9 * bit)).to_le_bytes();
            let bit = usize::from(u16::from_le_bytes([low, high & 1]));
            (bit / 8, 1 << (bit % 8))
        })
    }
}

/// The keys a table may have. Stored as its lines of 64 bytes, one after another.
pub(super) struct Filter(Vec<u8>);

impl Filter {
    /// The filter of these keys.
    pub(super) fn of(keys: &[KeyHash]) -> Self {
        let lines = (keys.len() * BITS_PER_KEY).div_ceil(8 * LINE);
        let mut bytes = vec![0; lines * LINE];
        for key in keys {
            let at = key.line(lines) * LINE;
            for (byte, mask) in key.bits() {
                bytes[at + byte] |= mask;
            }
        }
        Self(bytes)
    }

    /// Reads a filter; `None` if it is none.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        bytes.len().is_multiple_of(LINE).then_some(Self(bytes))
    }

    /// Its bytes as they are stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the table may have this key.
    pub(super) fn may_have(&self, key: KeyHash) -> bool {
        let (lines, _) = self.0.as_chunks::<LINE>();
        let line = lines.get(key.line(lines.len()));
        line.is_some_and(|line| key.bits().all(|(byte, mask)| line[byte] & mask != 0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys(range: std::ops::Range<u32>) -> Vec<KeyHash> {
        range
            .map(|key| KeyHash::of(format!("photos/{key}").as_bytes()))
            .collect()
    }

    #[test]
    fn every_key_is_found_again_and_few_others_are() {
        let present = keys(0..20_000);
        let filter = Filter::parse(Filter::of(&present).bytes().to_vec()).unwrap();
        assert!(present.iter().all(|key| filter.may_have(*key)));
        let taken = keys(20_000..40_000)
            .iter()
            .filter(|key| filter.may_have(**key))
            .count();
        assert!(taken < 400, "{taken} of 20,000 absent keys");
        assert!(filter.bytes().len() <= 20_000 * BITS_PER_KEY / 8 + LINE);
    }

    #[test]
    fn a_filter_of_nothing_has_nothing() {
        let filter = Filter::of(&[]);
        assert!(!filter.may_have(KeyHash::of(b"a")));
        assert!(Filter::parse(vec![0; 63]).is_none());
    }

    #[test]
    fn the_bits_of_a_key_stay_where_they_are() {
        let key = KeyHash::of(b"key");
        assert_eq!(key.0, xxh3_64(b"key"));
        let bits: Vec<_> = KeyHash(1 << 40 | 77).bits().collect();
        assert_eq!(bits.len(), 7);
        assert_eq!(KeyHash(u64::MAX).line(10), 9);
        assert_eq!(KeyHash(0).line(10), 0);
    }
}
