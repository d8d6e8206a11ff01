//! One table of the index: an immutable file of rows in key order.
//!
//! Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | … | blocks, see [`super::block`], each followed by its CRC32C (4) |
//! | 8 | where the blocks end |
//! | 8 | rows, forgotten ones too |
//! | 4 | blocks |
//! | … | of each block: where it begins (8), bytes of its first key (2), its first key |
//! | … | bytes of the last key (2), the last key |
//! | … | the filter, see [`super::filter`] |
//! | 8 | bytes of all that follows the blocks |
//!
//! The whole file is proven at the start by what the manifest says of it, each block again whenever it is read.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::block::Block;
use super::filter::{Filter, KeyHash};
use super::take;

/// Bytes of a table that are proven at a time.
const PROVE_BYTES: usize = 1 << 20;
const BLOCK_CRC: usize = 4;
const TAIL_LEN: usize = 8;

/// Number of a table; never used twice.
pub(super) type TableNumber = u32;

/// Name of a table's file.
pub(super) fn file_name(number: TableNumber) -> String {
    format!("{number:08}.table")
}

/// What proves that a file is the table it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Proof {
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// CRC32C of the file.
    pub(super) crc: u32,
}

/// Blocks that were read lately.
pub(super) type BlockCache = Cache<(TableNumber, u32), Arc<Block>, BlockWeight>;

/// Weighs blocks by the memory they take.
#[derive(Clone)]
pub(super) struct BlockWeight;

impl Weighter<(TableNumber, u32), Arc<Block>> for BlockWeight {
    fn weight(&self, _: &(TableNumber, u32), block: &Arc<Block>) -> u64 {
        /// What a block takes beside its bytes.
        const BESIDE: u64 = 128;
        block.bytes().len() as u64 + BESIDE
    }
}

/// A table that was proven.
pub(super) struct Table {
    number: TableNumber,
    file: File,
    proof: Proof,
    rows: u64,
    blocks_end: u64,
    starts: Vec<BlockStart>,
    /// First keys of all blocks, one after another, then the last key of the table.
    keys: Vec<u8>,
    last_key_at: usize,
    filter: Filter,
}

/// Where a block begins, and its first key in `keys`.
struct BlockStart {
    at: u64,
    key_at: usize,
}

impl Table {
    /// Opens a table and proves all of it. Blocks the thread for as long as reading it takes.
    ///
    /// # Errors
    /// The file is not what it should be, or cannot be read.
    pub(super) fn open(directory: &Path, number: TableNumber, proof: Proof) -> io::Result<Self> {
        let mut file = File::open(directory.join(file_name(number)))?;
        let (mut digest, mut bytes) = (Digest::new(CrcAlgorithm::Crc32Iscsi), 0);
        let mut piece = vec![0; PROVE_BYTES];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                break;
            }
            digest.update(&piece[..read]);
            bytes += read as u64;
        }
        if bytes != proof.bytes || digest.finalize() != u64::from(proof.crc) {
            return Err(damaged(number));
        }
        Self::read_tail(file, number, proof)
    }

    /// A table whose file was written or proven just now.
    pub(super) fn read_tail(file: File, number: TableNumber, proof: Proof) -> io::Result<Self> {
        let read = |at: u64, bytes: &mut [u8]| file.read_exact_at(bytes, at);
        let end = proof.bytes.checked_sub(TAIL_LEN as u64);
        let end = end.ok_or_else(|| damaged(number))?;
        let mut len = [0; TAIL_LEN];
        read(end, &mut len)?;
        let start = end.checked_sub(u64::from_le_bytes(len));
        let start = start.ok_or_else(|| damaged(number))?;
        let len = usize::try_from(end - start).map_err(|_| damaged(number))?;
        let mut tail = vec![0; len];
        read(start, &mut tail)?;
        Self::parse_tail(file, number, proof, &tail)
            .filter(|table| table.blocks_end == start)
            .ok_or_else(|| damaged(number))
    }

    fn parse_tail(file: File, number: TableNumber, proof: Proof, tail: &[u8]) -> Option<Self> {
        let mut rest = tail;
        let blocks_end = u64::from_le_bytes(take(&mut rest)?);
        let rows = u64::from_le_bytes(take(&mut rest)?);
        let blocks = u32::from_le_bytes(take(&mut rest)?);
        let (mut starts, mut keys) = (Vec::new(), Vec::new());
        for _ in 0..blocks {
            let at = u64::from_le_bytes(take(&mut rest)?);
            starts.push(BlockStart {
                at,
                key_at: keys.len(),
            });
            take_key(&mut rest, &mut keys)?;
        }
        let last_key_at = keys.len();
        take_key(&mut rest, &mut keys)?;
        let ends = starts.iter().skip(1).map(|start| start.at).chain([blocks_end]);
        let in_order = starts.iter().zip(ends).all(|(start, end)| start.at < end);
        if starts.is_empty() || !in_order {
            return None;
        }
        starts.shrink_to_fit();
        keys.shrink_to_fit();
        Some(Self {
            number,
            file,
            proof,
            rows,
            blocks_end,
            starts,
            keys,
            last_key_at,
            filter: Filter::parse(rest.to_vec())?,
        })
    }

    /// Its number.
    pub(super) fn number(&self) -> TableNumber {
        self.number
    }

    /// What proves its file.
    pub(super) fn proof(&self) -> Proof {
        self.proof
    }

    /// Rows, forgotten ones too.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many blocks it has.
    pub(super) fn blocks(&self) -> usize {
        self.starts.len()
    }

    /// Its first key.
    pub(super) fn first_key(&self) -> &[u8] {
        self.first_key_of(0)
    }

    /// Its last key.
    pub(super) fn last_key(&self) -> &[u8] {
        &self.keys[self.last_key_at..]
    }

    fn first_key_of(&self, block: usize) -> &[u8] {
        let end = self.starts.get(block + 1);
        let end = end.map_or(self.last_key_at, |start| start.key_at);
        &self.keys[self.starts[block].key_at..end]
    }

    /// The block in which a key is, or would be.
    pub(super) fn block_for(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.starts.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.first_key_of(middle) <= key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// What the table says of a row, told to `found`: its entry, or that it is forgotten.
    pub(super) fn get<T>(
        &self,
        key: &[u8],
        hash: KeyHash,
        cache: &BlockCache,
        found: impl FnOnce(Option<&[u8]>) -> T,
    ) -> io::Result<Option<T>> {
        if key < self.first_key() || key > self.last_key() || !self.filter.may_have(hash) {
            return Ok(None);
        }
        let block = self.cached_block(self.block_for(key), cache)?;
        Ok(block.get(key).map(found))
    }

    /// A block, from memory if it was read lately; kept for the next.
    pub(super) fn cached_block(&self, block: usize, cache: &BlockCache) -> io::Result<Arc<Block>> {
        let place = (self.number, u32::try_from(block).unwrap_or(u32::MAX));
        if let Some(block) = cache.get(&place) {
            return Ok(block);
        }
        let block = self.block(block)?;
        cache.insert(place, block.clone());
        Ok(block)
    }

    /// A block, read and proven.
    pub(super) fn block(&self, block: usize) -> io::Result<Arc<Block>> {
        let Some(start) = self.starts.get(block) else {
            return Err(damaged(self.number));
        };
        let end = self.starts.get(block + 1);
        let end = end.map_or(self.blocks_end, |start| start.at);
        let len = usize::try_from(end - start.at).map_err(|_| damaged(self.number))?;
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, start.at)?;
        let crc = bytes.len().checked_sub(BLOCK_CRC);
        let crc = crc.map(|at| (crc32_iscsi(&bytes[..at]).to_le_bytes(), bytes.split_off(at)));
        crc.filter(|(computed, stored)| computed[..] == stored[..])
            .and_then(|_| Block::parse(bytes))
            .map(Arc::new)
            .ok_or_else(|| damaged(self.number))
    }
}

/// What follows the blocks of a table.
pub(super) struct Tail<'a> {
    /// Where the blocks end.
    pub(super) blocks_end: u64,
    /// Rows, forgotten ones too.
    pub(super) rows: u64,
    /// Of each block: where it begins, and its first key.
    pub(super) starts: &'a [(u64, Vec<u8>)],
    /// The last key of all.
    pub(super) last_key: &'a [u8],
    /// The keys it may have.
    pub(super) filter: &'a Filter,
}

impl Tail<'_> {
    /// Its bytes as they are stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.starts.len() * 64 + self.filter.bytes().len() + 64);
        bytes.extend_from_slice(&self.blocks_end.to_le_bytes());
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        // A table is split long before it has 2³² blocks.
        let blocks = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&blocks.to_le_bytes());
        for (at, key) in self.starts {
            bytes.extend_from_slice(&at.to_le_bytes());
            put_key(&mut bytes, key);
        }
        put_key(&mut bytes, self.last_key);
        bytes.extend_from_slice(self.filter.bytes());
        let len = bytes.len() as u64;
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes
    }
}

fn put_key(bytes: &mut Vec<u8>, key: &[u8]) {
    // The log takes no longer keys than 2,200 bytes.
    let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(key);
}

fn take_key(rest: &mut &[u8], keys: &mut Vec<u8>) -> Option<()> {
    let len = usize::from(u16::from_le_bytes(take(rest)?));
    let (key, behind) = rest.split_at_checked(len)?;
    keys.extend_from_slice(key);
    *rest = behind;
    Some(())
}

fn damaged(number: TableNumber) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("table {number} is damaged"))
}
