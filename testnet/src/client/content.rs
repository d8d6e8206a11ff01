//! Makes the bytes of an object from a seed, and recognises them again, without keeping them.

use std::ops::Range;
use std::sync::OnceLock;

/// Every frame starts with a stamp, so that no two frames of no two objects are equal and nothing can be deduplicated.
const FRAME_BYTES: usize = 64 * 1024;
const STAMP_BYTES: usize = 16;

/// The content of one object: `len` incompressible bytes that only this seed gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    /// Tells objects apart.
    pub(crate) seed: u64,
    /// Bytes.
    pub(crate) len: u64,
}

impl Content {
    /// Writes the bytes that stand at `offset` into `out`, all of it.
    pub(crate) fn fill(&self, offset: u64, out: &mut [u8]) {
        self.pieces(offset, out.len(), |range, piece| {
            out[range].copy_from_slice(piece);
            true
        });
    }

    /// Whether `bytes` are what stands at `offset`.
    pub(crate) fn matches(&self, offset: u64, bytes: &[u8]) -> bool {
        self.pieces(offset, bytes.len(), |range, piece| bytes[range] == *piece)
    }

    /// Visits the whole content in order, in chunks that fit a cache.
    pub(crate) fn for_each_chunk(&self, mut visit: impl FnMut(&[u8])) {
        let mut chunk = vec![0; FRAME_BYTES];
        let mut offset = 0;
        while offset < self.len {
            let length = usize::try_from(self.len - offset)
                .unwrap_or(usize::MAX)
                .min(FRAME_BYTES);
            self.fill(offset, &mut chunk[..length]);
            visit(&chunk[..length]);
            offset += length as u64;
        }
    }

    /// Visits `length` bytes from `offset` as (where in the caller's slice, the bytes), until `visit` says no.
    fn pieces(&self, offset: u64, length: usize, mut visit: impl FnMut(Range<usize>, &[u8]) -> bool) -> bool {
        let noise = noise();
        let mut done = 0;
        while done < length {
            let position = offset + done as u64;
            let frame = position / FRAME_BYTES as u64;
            let within = usize::try_from(position % FRAME_BYTES as u64).unwrap_or(0);
            let stamp = self.stamp(frame);
            let rest = if within < STAMP_BYTES {
                &stamp[within..]
            } else {
                &noise[within..]
            };
            let piece = &rest[..rest.len().min(length - done)];
            if !visit(done..done + piece.len(), piece) {
                return false;
            }
            done += piece.len();
        }
        true
    }

    fn stamp(&self, frame: u64) -> [u8; STAMP_BYTES] {
        let mut stamp = [0; STAMP_BYTES];
        stamp[..8].copy_from_slice(&scramble(self.seed).to_le_bytes());
        stamp[8..].copy_from_slice(&scramble(self.seed ^ (frame << 40)).to_le_bytes());
        stamp
    }
}

/// A bijection that spreads neighbouring numbers over all of `u64` (read: SplitMix64's finaliser).
pub(crate) fn scramble(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn noise() -> &'static [u8] {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    NOISE.get_or_init(|| {
        (0..FRAME_BYTES as u64 / 8)
            .flat_map(|word| scramble(word).to_le_bytes())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_slice_matches_where_it_was_filled(seed: u64, offset in 0..300_000u64, length in 0..200_000usize) {
            let content = Content { seed, len: u64::MAX };
            let mut bytes = vec![0; length];
            content.fill(offset, &mut bytes);
            prop_assert!(content.matches(offset, &bytes));
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
                prop_assert!(!content.matches(offset, &bytes));
            }
        }
    }

    #[test]
    fn two_seeds_share_no_frame() {
        let frames = |seed| {
            let mut frames = Vec::new();
            Content {
                seed,
                len: 256 * 1024,
            }
            .for_each_chunk(|frame| frames.push(frame.to_vec()));
            frames
        };
        let mut all = [frames(1), frames(2)].concat();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
