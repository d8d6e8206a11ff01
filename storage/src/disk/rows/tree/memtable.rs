//! The newest rows of the index, in memory, in key order: what a table is written from.
//!
//! A memtable is a tree of blocks, two levels deep, that is never changed in place once it is shared: a clone shares
//! all blocks, and setting a row copies one block of a few KiB. So a scan holds the memtable as it was, at no cost to
//! the writer, and a row that is set again takes the place of its older version.

use std::sync::Arc;

use super::block::Block;

/// A block that has more bytes is split. Small, since setting a row copies one.
const BLOCK_BYTES: usize = 4 << 10;
/// A node with more blocks is split.
const NODE_BLOCKS: usize = 64;

/// Rows in memory, in key order, forgotten ones too.
#[derive(Clone, Default)]
pub(super) struct Memtable {
    /// None is empty.
    nodes: Vec<Arc<Node>>,
    bytes: usize,
    rows: usize,
}

/// Blocks in key order; never none.
#[derive(Clone)]
struct Node(Vec<Arc<Block>>);

/// Place of a block in a memtable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockAt {
    node: usize,
    block: usize,
}

impl Memtable {
    /// Bytes of its blocks.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Rows, forgotten ones too.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Sets a row, or forgets it.
    pub(super) fn set(&mut self, key: &[u8], entry: Option<&[u8]>) {
        let at = self.block_for(key);
        let Some(node) = self.nodes.get_mut(at.node) else {
            let block = Block::of_row(key, entry);
            (self.bytes, self.rows) = (block.bytes().len(), block.rows());
            return self.nodes.push(Arc::new(Node(vec![Arc::new(block)])));
        };
        let node = Arc::make_mut(node);
        let old = &node.0[at.block];
        let new = old.with(key, entry);
        let appended = new.rows() > old.rows() && new.row(old.rows()).0 == key;
        self.rows += new.rows() - old.rows();
        self.bytes -= old.bytes().len();
        if new.bytes().len() <= BLOCK_BYTES || new.rows() == 1 {
            self.bytes += new.bytes().len();
            node.0[at.block] = Arc::new(new);
            return;
        }
        // Keys that come in order leave full blocks behind.
        let (left, right) = new.split(if appended { new.rows() - 1 } else { new.rows() / 2 });
        self.bytes += left.bytes().len() + right.bytes().len();
        node.0[at.block] = Arc::new(left);
        node.0.insert(at.block + 1, Arc::new(right));
        if node.0.len() > NODE_BLOCKS {
            let last = at.block + 2 == node.0.len() && appended;
            let right = node.0.split_off(if last { NODE_BLOCKS } else { NODE_BLOCKS / 2 });
            self.nodes.insert(at.node + 1, Arc::new(Node(right)));
        }
    }

    /// The entry of a row: `None` if it has none, `Some(None)` if the row is forgotten.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let at = self.block_for(key);
        self.nodes.get(at.node)?.0.get(at.block)?.get(key)
    }

    /// Place of the block in which a key is, or would be.
    pub(super) fn block_for(&self, key: &[u8]) -> BlockAt {
        let starts_before = |block: &Arc<Block>| block.row(0).0 <= key;
        let node = self.nodes.partition_point(|node| starts_before(&node.0[0]));
        let node = node.saturating_sub(1);
        let block = match self.nodes.get(node) {
            Some(node) => node.0.partition_point(starts_before).saturating_sub(1),
            None => 0,
        };
        BlockAt { node, block }
    }

    /// The block at a place, or else the first behind it; moves the place behind it.
    pub(super) fn next_block(&self, at: &mut BlockAt) -> Option<Arc<Block>> {
        loop {
            let node = self.nodes.get(at.node)?;
            if let Some(block) = node.0.get(at.block) {
                at.block += 1;
                return Some(block.clone());
            }
            *at = BlockAt {
                node: at.node + 1,
                block: 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use super::*;

    type Rows = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn read(memtable: &Memtable, from: &[u8]) -> Rows {
        let mut at = memtable.block_for(from);
        let mut rows = Rows::new();
        while let Some(block) = memtable.next_block(&mut at) {
            let row = |row| {
                let (key, entry) = block.row(row);
                (key.to_vec(), entry.map(<[u8]>::to_vec))
            };
            rows.extend((0..block.rows()).map(row));
        }
        rows
    }

    /// Sets rows in the order of `key_of` and compares with a map on the way.
    fn check(key_of: impl Fn(u32) -> u32) -> Memtable {
        let (mut memtable, mut map) = (Memtable::default(), Rows::new());
        let mut old = None;
        for step in 0..20_000 {
            if step == 10_000 {
                old = Some((memtable.clone(), map.clone()));
            }
            let key = format!("key {:06}", key_of(step)).into_bytes();
            let entry = (step % 5 > 0).then(|| vec![7; (step % 60) as usize]);
            memtable.set(&key, entry.as_deref());
            assert_eq!(memtable.get(&key), Some(entry.as_deref()));
            map.insert(key, entry);
        }
        assert_eq!(read(&memtable, b""), map);
        assert_eq!(memtable.rows(), map.len());
        let (old, old_map) = old.unwrap();
        assert_eq!(read(&old, b""), old_map, "a clone stays as it was");
        let from = b"key 001234";
        let behind = read(&memtable, from).split_off(&from[..]);
        assert_eq!(behind, map.split_off(&from[..]));
        assert_eq!(memtable.get(b"a"), None);
        memtable
    }

    #[test]
    fn a_memtable_behaves_like_a_map() {
        check(|step| step.wrapping_mul(2_654_435_761) % 8_191);
        check(|step| 20_000 - step);
    }

    #[test]
    fn keys_in_order_fill_their_blocks() {
        let memtable = check(|step| step);
        let blocks: usize = memtable.nodes.iter().map(|node| node.0.len()).sum();
        assert!(memtable.bytes() / blocks > BLOCK_BYTES * 9 / 10);
        assert!(memtable.nodes.len() <= blocks.div_ceil(NODE_BLOCKS));
    }

    #[test]
    fn an_empty_memtable_has_nothing() {
        assert_eq!(Memtable::default().get(b"a"), None);
        assert!(read(&Memtable::default(), b"").is_empty());
    }
}
