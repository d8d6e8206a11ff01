//! Sealed blocks: up to 4 MiB of content, compressed where it saves, encrypted in pieces that verify alone.
//!
//! ```text
//! inner  = table │ frames │ zero padding
//! table  = version 1 byte (1) │ 3 zero bytes │ content length u32 │ 64 × frame length u32    (264 bytes, little-endian)
//!          the top bit of a frame length says "stored as it is"; unused entries are zero
//! sealed = for every 64 KiB piece of inner: ciphertext │ tag 16
//! ```
//!
//! The block key is a keyed blake3 of exactly the inner bytes, so equal content gives equal blocks inside one mesh
//! and every key seals one text only; that is why the piece number can be the nonce. Associated data is format version and piece
//! count: a piece cannot be dropped or moved. The id is the blake3 of the sealed bytes. The inner length is padded by the
//! Padmé rule (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", 2019): at most 12 % more, and a
//! block's size tells only its order of magnitude.

use std::ops::Range;

use bytes::Bytes;

use super::aead::{TAG_BYTES, XKey};
use super::compress::{self, FRAME_BYTES};
use crate::model::{BlockId, BlockRef};

/// The most content one block holds: 4 MiB.
pub(crate) const BLOCK_BYTES_MAX: usize = 4 << 20;

const VERSION: u8 = 1;
const FRAMES_MAX: usize = BLOCK_BYTES_MAX / FRAME_BYTES;
const TABLE_BYTES: usize = 8 + 4 * FRAMES_MAX;
const STORED: u32 = 1 << 31;
/// Bytes of inner text in one sealed piece.
const PIECE_BYTES: usize = 64 * 1024;
const SEALED_PIECE_BYTES: usize = PIECE_BYTES + TAG_BYTES;
/// Room for an incompressible block, its table, its padding and its tags.
const SEALED_BYTES_MAX: usize = (BLOCK_BYTES_MAX + TABLE_BYTES) / 100 * 113;

/// Sealed bytes that are no block, or not this block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBlock {
    /// Written by a newer version.
    #[error("block sealed by a newer version of Warren ({0})")]
    NewerVersion(u8),
    /// Does not verify under its key.
    #[error("block does not verify")]
    Unverified,
    /// Verifies, but its table makes no sense.
    #[error("block has an impossible table")]
    Malformed,
}

/// A block ready to be stored.
#[derive(Clone, Debug)]
pub(crate) struct SealedBlock {
    /// Its name, its key and how much content it holds.
    pub(crate) block: BlockRef,
    /// What is stored.
    pub(crate) sealed: Bytes,
}

/// Compresses and seals 1 byte to [`BLOCK_BYTES_MAX`] of content.
pub(crate) fn seal_block(dedup_key: &[u8; 32], content: &[u8]) -> SealedBlock {
    debug_assert!((1..=BLOCK_BYTES_MAX).contains(&content.len()));
    let inner = inner(content);
    let key = *blake3::keyed_hash(dedup_key, &inner).as_bytes();
    let sealed = seal_pieces(&key, inner);
    let id = BlockId(*blake3::hash(&sealed).as_bytes());
    let block = BlockRef {
        id,
        key,
        bytes: len32(content.len()),
        sealed: len32(sealed.len()),
    };
    SealedBlock {
        block,
        sealed: sealed.into(),
    }
}

fn inner(content: &[u8]) -> Vec<u8> {
    let most = padded(TABLE_BYTES + content.len());
    // With room for the tags, since it is sealed in place.
    let mut inner = Vec::with_capacity(most + most.div_ceil(PIECE_BYTES) * TAG_BYTES);
    inner.resize(TABLE_BYTES, 0);
    inner[0] = VERSION;
    inner[4..8].copy_from_slice(&len32(content.len()).to_le_bytes());
    if compress::is_promising(content) {
        for (index, frame) in content.chunks(FRAME_BYTES).enumerate() {
            let length = match compress::compress(frame, &mut inner) {
                Some(compressed) => len32(compressed),
                None => {
                    inner.extend_from_slice(frame);
                    len32(frame.len()) | STORED
                }
            };
            set_length(&mut inner, index, length);
        }
    } else {
        inner.extend_from_slice(content);
        for (index, frame) in content.chunks(FRAME_BYTES).enumerate() {
            set_length(&mut inner, index, len32(frame.len()) | STORED);
        }
    }
    inner.resize(padded(inner.len()), 0);
    inner
}

fn set_length(inner: &mut [u8], index: usize, length: u32) {
    inner[8 + 4 * index..][..4].copy_from_slice(&length.to_le_bytes());
}

fn len32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Padmé: keeps only as many significant bits of the length as its logarithm has bits.
fn padded(len: usize) -> usize {
    let exponent = len.max(2).ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1_usize << (exponent - kept.min(exponent))) - 1;
    (len + mask) & !mask
}

/// Seals inner bytes in place: a second buffer would cost a block more memory, and the time to have it zeroed.
fn seal_pieces(key: &[u8; 32], inner: Vec<u8>) -> Vec<u8> {
    let pieces = inner.len().div_ceil(PIECE_BYTES);
    let cipher = XKey::new(key, &[0; 16]);
    let associated = associated(pieces);
    let mut sealed = inner;
    let inner_len = sealed.len();
    sealed.resize(inner_len + pieces * TAG_BYTES, 0);
    // The last piece moves first, so that none overwrites another.
    for index in (0..pieces).rev() {
        let piece = index * PIECE_BYTES..inner_len.min((index + 1) * PIECE_BYTES);
        let (start, len) = (index * SEALED_PIECE_BYTES, piece.len());
        sealed.copy_within(piece, start);
        let (text, tag) = sealed[start..start + len + TAG_BYTES].split_at_mut(len);
        tag.copy_from_slice(&cipher.seal((index as u64).to_le_bytes(), &associated, text));
    }
    sealed
}

fn associated(pieces: usize) -> [u8; 5] {
    let mut bytes = [VERSION; 5];
    bytes[1..].copy_from_slice(&len32(pieces).to_le_bytes());
    bytes
}

/// Opens ranges of one sealed block, reading only the pieces they need.
pub(crate) struct BlockOpener {
    cipher: XKey,
    associated: [u8; 5],
    sealed_len: usize,
    content_len: usize,
    /// Where each frame begins in the inner text, whether it is stored as it is, and, last, where they end.
    frames: Vec<(usize, bool)>,
    end: usize,
}

impl BlockOpener {
    /// How many sealed bytes from the front hold this much content, if none of it is compressed.
    pub(crate) fn sealed_len_for(content_end: usize) -> usize {
        let inner = TABLE_BYTES + content_end;
        inner.div_ceil(PIECE_BYTES) * SEALED_PIECE_BYTES
    }

    /// Reads the table out of the first piece of a block; `front` is the front of the sealed block, at least one piece
    /// of it, and its first piece is opened in place.
    ///
    /// # Errors
    /// The piece does not verify, or the table is not one of ours.
    pub(crate) fn new(block: &BlockRef, front: &mut [u8]) -> Result<Self, InvalidBlock> {
        let sealed_len = block.sealed as usize;
        if !(TABLE_BYTES + TAG_BYTES..=SEALED_BYTES_MAX).contains(&sealed_len) {
            return Err(InvalidBlock::Unverified);
        }
        let associated = associated(sealed_len.div_ceil(SEALED_PIECE_BYTES));
        let cipher = XKey::new(&block.key, &[0; 16]);
        let first = front
            .get_mut(..sealed_len.min(SEALED_PIECE_BYTES))
            .ok_or(InvalidBlock::Unverified)?;
        let inner = cipher
            .open([0; 8], &associated, first)
            .map_err(|_| InvalidBlock::Unverified)?;
        let table = inner.get(..TABLE_BYTES).ok_or(InvalidBlock::Malformed)?;
        if table[0] != VERSION {
            return Err(InvalidBlock::NewerVersion(table[0]));
        }
        let word = |at: usize| u32::from_le_bytes([table[at], table[at + 1], table[at + 2], table[at + 3]]);
        let content_len = word(4) as usize;
        if content_len != block.bytes as usize || content_len == 0 || content_len > BLOCK_BYTES_MAX {
            return Err(InvalidBlock::Malformed);
        }
        let mut frames = Vec::with_capacity(content_len.div_ceil(FRAME_BYTES));
        let mut end = TABLE_BYTES;
        for index in 0..content_len.div_ceil(FRAME_BYTES) {
            let length = word(8 + 4 * index);
            frames.push((end, length & STORED != 0));
            end += (length & !STORED) as usize;
            let whole = frame_len(index, content_len);
            let plausible = (length & !STORED) as usize <= whole
                && (length & STORED == 0 || length & !STORED == len32(whole));
            if !plausible {
                return Err(InvalidBlock::Malformed);
            }
        }
        let pieces = sealed_len.div_ceil(SEALED_PIECE_BYTES);
        if end + pieces * TAG_BYTES > sealed_len {
            return Err(InvalidBlock::Malformed);
        }
        Ok(Self {
            cipher,
            associated,
            sealed_len,
            content_len,
            frames,
            end,
        })
    }

    /// Which sealed bytes [`Self::open`] needs for a range of content.
    pub(crate) fn sealed_range(&self, content: &Range<usize>) -> Range<usize> {
        let pieces = self.pieces(content);
        pieces.start * SEALED_PIECE_BYTES..(pieces.end * SEALED_PIECE_BYTES).min(self.sealed_len)
    }

    /// Opens a range of content from exactly the bytes of [`Self::sealed_range`]; `opened` of their pieces, at the front,
    /// are open already.
    ///
    /// # Errors
    /// A piece does not verify, or a frame does not decompress.
    pub(crate) fn open(
        &self,
        content: Range<usize>,
        mut sealed: Vec<u8>,
        opened: usize,
    ) -> Result<Vec<Bytes>, InvalidBlock> {
        debug_assert!(content.start < content.end && content.end <= self.content_len);
        if sealed.len() != self.sealed_range(&content).len() {
            return Err(InvalidBlock::Unverified);
        }
        let first_piece = self.pieces(&content).start;
        for (index, piece) in sealed.chunks_mut(SEALED_PIECE_BYTES).enumerate().skip(opened) {
            let number = (first_piece + index) as u64;
            self.cipher
                .open(number.to_le_bytes(), &self.associated, piece)
                .map_err(|_| InvalidBlock::Unverified)?;
        }
        let opened = Opened {
            first: first_piece * PIECE_BYTES,
            sealed: sealed.into(),
        };
        let mut out = Vec::new();
        for index in content.start / FRAME_BYTES..=(content.end - 1) / FRAME_BYTES {
            let frame_start = index * FRAME_BYTES;
            let from = content.start.max(frame_start) - frame_start;
            let to = (content.end - frame_start).min(FRAME_BYTES);
            let (start, stored) = self.frames[index];
            if stored {
                opened.slices(start + from..start + to, &mut out);
            } else {
                let compressed = opened.gather(start..self.frame_end(index));
                let frame = compress::decompress(&compressed, frame_len(index, self.content_len))
                    .ok_or(InvalidBlock::Malformed)?;
                out.push(Bytes::from(frame).slice(from..to));
            }
        }
        Ok(out)
    }

    fn frame_end(&self, index: usize) -> usize {
        self.frames.get(index + 1).map_or(self.end, |(start, _)| *start)
    }

    /// Which pieces hold a range of content: whole frames where they are compressed.
    fn pieces(&self, content: &Range<usize>) -> Range<usize> {
        let (first, last) = (content.start / FRAME_BYTES, (content.end - 1) / FRAME_BYTES);
        let (start, start_stored) = self.frames[first];
        let (last_start, last_stored) = self.frames[last];
        let from = if start_stored {
            start + content.start % FRAME_BYTES
        } else {
            start
        };
        let to = if last_stored {
            last_start + (content.end - 1) % FRAME_BYTES + 1
        } else {
            self.frame_end(last)
        };
        from / PIECE_BYTES..to.div_ceil(PIECE_BYTES)
    }
}

/// Opened pieces, still with the gaps their tags left, addressed by inner offset.
struct Opened {
    first: usize,
    sealed: Bytes,
}

impl Opened {
    fn slices(&self, inner: Range<usize>, out: &mut Vec<Bytes>) {
        let mut at = inner.start - self.first;
        let end = inner.end - self.first;
        while at < end {
            let (piece, offset) = (at / PIECE_BYTES, at % PIECE_BYTES);
            let take = (end - at).min(PIECE_BYTES - offset);
            let start = piece * SEALED_PIECE_BYTES + offset;
            out.push(self.sealed.slice(start..start + take));
            at += take;
        }
    }

    fn gather(&self, inner: Range<usize>) -> Bytes {
        let mut slices = Vec::with_capacity(2);
        self.slices(inner, &mut slices);
        if slices.len() == 1 {
            slices.remove(0)
        } else {
            slices.concat().into()
        }
    }
}

fn frame_len(index: usize, content_len: usize) -> usize {
    (content_len - index * FRAME_BYTES).min(FRAME_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEDUP: [u8; 32] = [9; 32];

    fn open(block: &SealedBlock, range: Range<usize>) -> Result<Vec<u8>, InvalidBlock> {
        let mut front = block.sealed.to_vec();
        let opener = BlockOpener::new(&block.block, &mut front)?;
        let needed = opener.sealed_range(&range);
        Ok(opener.open(range, block.sealed[needed].to_vec(), 0)?.concat())
    }

    /// Content whose second half compresses and whose first does not, or the other way round.
    fn content(len: usize, seed: u8, compressible_first: bool) -> Vec<u8> {
        let mut noise = vec![0; len];
        blake3::Hasher::new()
            .update(&[seed])
            .finalize_xof()
            .fill(&mut noise);
        let half = len / 2;
        let range = if compressible_first { 0..half } else { half..len };
        noise[range].fill(seed);
        noise
    }

    #[test]
    fn equal_content_gives_equal_blocks_and_other_meshes_other_ones() {
        let content = content(100_000, 1, true);
        assert_eq!(
            seal_block(&DEDUP, &content).block,
            seal_block(&DEDUP, &content).block
        );
        assert_ne!(
            seal_block(&DEDUP, &content).block.id,
            seal_block(&[8; 32], &content).block.id
        );
    }

    #[test]
    fn text_takes_less_room_and_noise_hardly_more() {
        let text = b"all work and no play ".repeat(50_000);
        assert!(seal_block(&DEDUP, &text).sealed.len() < text.len() / 20);
        let noise = {
            let mut n = vec![0; BLOCK_BYTES_MAX];
            blake3::Hasher::new().finalize_xof().fill(&mut n);
            n
        };
        let sealed = seal_block(&DEDUP, &noise).sealed.len();
        assert!(sealed < noise.len() + noise.len() / 25, "{sealed}");
    }

    #[test]
    fn padding_costs_at_most_an_eighth() {
        for len in (1..100_000).chain((100_000..5_000_000).step_by(997)) {
            let padded = padded(len);
            assert!(padded >= len && padded - len <= len / 8 + 1, "{len} → {padded}");
        }
        assert!(padded(TABLE_BYTES + BLOCK_BYTES_MAX) + 70 * TAG_BYTES < SEALED_BYTES_MAX);
    }

    #[test]
    fn a_flipped_bit_or_a_missing_piece_is_found() {
        let block = seal_block(&DEDUP, &content(200_000, 3, false));
        for byte in (0..block.sealed.len()).step_by(4999) {
            let mut sealed = block.sealed.to_vec();
            sealed[byte] ^= 0x10;
            let flipped = SealedBlock {
                block: block.block.clone(),
                sealed: sealed.into(),
            };
            let read = open(&flipped, 0..200_000);
            assert!(
                read.is_err() || byte >= block.sealed.len() - 30_000,
                "byte {byte} not noticed"
            );
        }
        let cut = block.sealed.slice(..block.sealed.len() - SEALED_PIECE_BYTES);
        assert!(
            open(
                &SealedBlock {
                    block: block.block.clone(),
                    sealed: cut
                },
                0..10
            )
            .is_err()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_range_of_any_block_reads_back(
            len in prop_oneof![1_usize..3000, 60_000_usize..70_000, 130_000_usize..400_000],
            seed: u8, first: bool, a in 0_usize..1000, b in 0_usize..1000,
        ) {
            let content = content(len, seed, first);
            let at = |thousandth: usize| len * thousandth / 1000;
            let (from, to) = (at(a.min(b)), (at(a.max(b)) + 1).min(len));
            let block = seal_block(&DEDUP, &content);
            prop_assert_eq!(open(&block, from..to).unwrap(), &content[from..to]);
            prop_assert_eq!(open(&block, 0..len).unwrap(), &content[..]);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), len in 0_u32..5_000_000) {
            let block = BlockRef { id: BlockId([0; 32]), key: [0; 32], bytes: 77, sealed: len };
            let mut front = bytes;
            prop_assert!(BlockOpener::new(&block, &mut front).is_err());
        }
    }
}
