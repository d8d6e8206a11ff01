//! Promises of directories whose index fails, and of opening them again.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use super::tests::block;
use super::*;
use crate::disk::BlockDirectory;
use crate::disk::fault::FaultMedium;
use crate::disk::medium::Medium;

/// A node whose index is in memory and can be told to fail.
struct Node {
    state: FaultMedium,
    device: FaultMedium,
}

impl Node {
    fn new() -> Self {
        Self {
            state: FaultMedium::new(1),
            device: FaultMedium::new(2),
        }
    }

    fn with<T>(&self, done: impl FnOnce(&BlocksOptions<'_>) -> T) -> T {
        let device = self.device.clone();
        done(&BlocksOptions {
            state: &self.state,
            state_path: "state".into(),
            index: IndexAt::Memory,
            directories: vec![BlockDirectory {
                path: "a".into(),
                capacity: None,
            }],
            open: &move |_, _| Ok(Arc::new(device.clone()) as Arc<dyn Medium>),
            segment_bytes: 60_000,
            rewrite_pace: u64::MAX,
            drive: Drive::Threads,
        })
    }

    fn open(&self) -> Blocks {
        self.with(|options| Blocks::open(options).unwrap())
    }

    async fn reopen(&self, blocks: &Blocks) -> Result<bool, DiskError> {
        tokio::task::block_in_place(|| self.with(|options| blocks.reopen(options)))
    }
}

fn index_is_full(blocks: &Blocks) -> Arc<AtomicBool> {
    match &blocks.inner().maps {
        Some(Maps::Memory(full)) => full.clone(),
        _ => panic!("the index is not in memory"),
    }
}

const OWNER: Owner = [7; 16];

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_whose_index_could_not_be_written_takes_blocks_again_without_a_start() {
    let node = Node::new();
    let blocks = node.open();
    let (before, bytes) = block(1, 5000);
    blocks.put(before, OWNER, bytes.clone()).await.unwrap();
    let stamp = blocks.newest_stamp();

    index_is_full(&blocks).store(true, Ordering::Relaxed);
    let (unknown, unknown_bytes) = block(2, 5000);
    blocks
        .put(unknown, OWNER, unknown_bytes.clone())
        .await
        .unwrap_err();
    let stopped = blocks.put(unknown, OWNER, unknown_bytes.clone()).await;
    assert!(matches!(stopped, Err(DiskError::Stopped { .. })), "{stopped:?}");
    assert_eq!(blocks.status()[0].state, DirectoryState::Stopped);
    // What is here is served.
    assert_eq!(blocks.read(before, 0..5000).unwrap(), bytes);

    assert!(node.reopen(&blocks).await.unwrap());
    assert_eq!(blocks.status()[0].state, DirectoryState::Serving);
    assert_eq!(blocks.read(before, 0..5000).unwrap(), bytes);
    // Its outcome was unknown: its frame was durable.
    assert_eq!(blocks.read(unknown, 0..5000).unwrap(), unknown_bytes);
    let (after, bytes) = block(3, 5000);
    blocks.put(after, OWNER, bytes.clone()).await.unwrap();
    assert_eq!(blocks.read(after, 0..5000).unwrap(), bytes);
    let references = blocks.references(None, 10).unwrap();
    let stamp_of = |id| references.iter().find(|held| held.id == id).unwrap().stamp;
    assert_eq!(stamp_of(before), stamp);
    assert!(stamp_of(after) > stamp_of(unknown) && stamp_of(unknown) > stamp);
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_opened_again_only_where_an_index_failed() {
    let node = Node::new();
    let blocks = node.open();
    assert!(!node.reopen(&blocks).await.unwrap());

    // A device that failed is another matter: its owner looks at it.
    node.device.fail_sync_after(0);
    let (id, bytes) = block(1, 5000);
    blocks.put(id, OWNER, bytes).await.unwrap_err();
    assert_eq!(blocks.status()[0].state, DirectoryState::Stopped);
    assert!(!node.reopen(&blocks).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_stay_closed_while_there_is_no_room_or_the_store_has_closed() {
    let node = Node::new();
    let blocks = node.open();
    index_is_full(&blocks).store(true, Ordering::Relaxed);
    let (id, bytes) = block(1, 5000);
    blocks.put(id, OWNER, bytes.clone()).await.unwrap_err();

    node.state.set_capacity(node.state.used());
    assert!(!node.reopen(&blocks).await.unwrap());
    assert_eq!(blocks.status()[0].state, DirectoryState::Stopped);
    node.state.set_capacity(1 << 30);
    assert!(node.reopen(&blocks).await.unwrap());
    assert_eq!(blocks.status()[0].state, DirectoryState::Serving);

    index_is_full(&blocks).store(true, Ordering::Relaxed);
    blocks.put(id, [8; 16], bytes).await.unwrap_err();
    tokio::task::block_in_place(|| blocks.close());
    assert!(!node.reopen(&blocks).await.unwrap());
}
