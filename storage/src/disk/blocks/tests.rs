//! Promises of the block store, on real directories.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::disk::BlockDirectory;
use crate::disk::files;

/// A node's blocks in a temporary folder.
pub(super) struct Node {
    folder: TempDir,
    pub(super) directories: Vec<BlockDirectory>,
    pub(super) segment_bytes: u64,
}

impl Node {
    pub(super) fn new(directories: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directories = directories.iter().map(|name| BlockDirectory {
            path: folder.path().join(name),
            capacity: None,
        });
        Self {
            directories: directories.collect(),
            segment_bytes: 1 << 20,
            folder,
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_open(&self) -> Result<Blocks, DiskError> {
        let state_path = self.path("rows");
        let state = files::Directory::open(&state_path)?;
        Blocks::open(&BlocksOptions {
            state: &state,
            state_path,
            index: IndexAt::Directory(self.path("index")),
            directories: self.directories.clone(),
            open: &open_directory,
            segment_bytes: self.segment_bytes,
            rewrite_pace: u64::MAX,
            drive: Drive::Threads,
        })
    }

    pub(super) async fn open(&self) -> Blocks {
        tokio::task::block_in_place(|| self.try_open()).unwrap()
    }

    /// Bytes that the files of a directory occupy on the disk.
    fn occupied(&self, name: &str) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let files = std::fs::read_dir(self.path(name)).unwrap();
        files
            .map(|file| file.unwrap().metadata().unwrap().blocks() * 512)
            .sum()
    }
}

fn close(blocks: &Blocks) {
    tokio::task::block_in_place(|| blocks.close());
}

/// A block of `len` bytes that depend on `seed`.
pub(super) fn block(seed: u64, len: usize) -> (Id, Bytes) {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    (*blake3::hash(&bytes).as_bytes(), bytes.into())
}

const ANN: Owner = [1; 16];
const BOB: Owner = [2; 16];

fn read(blocks: &Blocks, id: Id) -> Result<Vec<u8>, DiskError> {
    tokio::task::block_in_place(|| blocks.read(id, 0..u32::MAX))
}

/// Waits until a condition holds that a background thread brings about.
pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_reads_back_whole_and_in_ranges_before_and_after_a_restart() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 300_000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    let check = |blocks: &Blocks| {
        assert_eq!(read(blocks, id).unwrap(), sealed);
        for range in [
            0..0,
            0..1,
            65_535..65_537,
            65_536..131_072,
            299_999..300_000,
            299_999..400_000,
            400_000..500_000,
        ] {
            let want =
                &sealed[(range.start as usize).min(sealed.len())..(range.end as usize).min(sealed.len())];
            assert_eq!(
                tokio::task::block_in_place(|| blocks.read(id, range)).unwrap(),
                want
            );
        }
    };
    check(&blocks);
    close(&blocks);
    drop(blocks);
    let blocks = node.open().await;
    check(&blocks);
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_stays_until_its_last_reference_is_released() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 5000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    blocks.put(id, BOB, sealed.clone()).await.unwrap();
    blocks.release(ANN, vec![id]).await.unwrap();
    assert_eq!(read(&blocks, id).unwrap(), sealed);
    blocks.release(BOB, vec![id]).await.unwrap();
    assert!(matches!(read(&blocks, id), Err(DiskError::NoSuchBlock)));
    assert!(matches!(
        blocks.add_references(ANN, vec![id]).await,
        Err(DiskError::NoSuchBlock)
    ));
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_added_to_all_blocks_or_to_none() {
    let node = Node::new(&["a", "b"]);
    let blocks = node.open().await;
    let (first, sealed) = block(1, 5000);
    blocks.put(first, ANN, sealed).await.unwrap();
    let (second, sealed) = block(2, 5000);
    blocks.put(second, ANN, sealed).await.unwrap();
    let refused = blocks.add_references(BOB, vec![first, second, [9; 32]]).await;
    assert!(matches!(refused, Err(DiskError::NoSuchBlock)));
    assert!(
        blocks
            .references(None, 100)
            .unwrap()
            .iter()
            .all(|reference| reference.owner == ANN)
    );
    blocks.add_references(BOB, vec![first, second]).await.unwrap();
    assert_eq!(blocks.references(None, 100).unwrap().len(), 4);
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freed_block_gives_its_room_back() {
    let mut node = Node::new(&["a"]);
    node.segment_bytes = 1 << 30;
    let blocks = node.open().await;
    let (id, sealed) = block(1, 4 << 20);
    blocks.put(id, ANN, sealed).await.unwrap();
    let before = node.occupied("a");
    blocks.release(ANN, vec![id]).await.unwrap();
    eventually("the hole is punched", || {
        node.occupied("a") + (4 << 20) - 8192 <= before
    })
    .await;
    eventually("it is counted", || blocks.status()[0].used < 20_000).await;
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_mostly_dead_is_rewritten_while_its_blocks_are_read() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (kept, kept_bytes) = block(0, 50_000);
    blocks.put(kept, ANN, kept_bytes.clone()).await.unwrap();
    blocks.add_references(BOB, vec![kept]).await.unwrap();
    let reader = tokio::task::spawn_blocking({
        let (blocks, kept_bytes) = (blocks.clone(), kept_bytes.clone());
        move || (0..20_000).for_each(|_| assert_eq!(blocks.read(kept, 0..u32::MAX).unwrap(), kept_bytes))
    });
    for seed in 1..100 {
        let (id, sealed) = block(seed, 50_000);
        blocks.put(id, ANN, sealed).await.unwrap();
        blocks.release(ANN, vec![id]).await.unwrap();
    }
    eventually("the first segment is gone", || {
        !node.path("a/blocks-00000001.log").exists()
    })
    .await;
    reader.await.unwrap();
    close(&blocks);
    drop(blocks);
    // Nothing of it depends on the index.
    std::fs::remove_dir_all(node.path("index")).unwrap();
    let blocks = node.open().await;
    assert_eq!(read(&blocks, kept).unwrap(), kept_bytes);
    let references = blocks.references(None, 100).unwrap();
    assert_eq!(
        references
            .iter()
            .map(|held| (held.id, held.owner))
            .collect::<Vec<_>>(),
        [(kept, ANN), (kept, BOB)]
    );
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_reported_and_never_served_and_a_new_copy_repairs_it() {
    use std::os::unix::fs::FileExt;
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 200_000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(node.path("a/blocks-00000001.log"))
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 150_000).unwrap();
    file.write_all_at(&[byte[0] ^ 4], 150_000).unwrap();
    let scrubbed = tokio::task::block_in_place(|| blocks.verify(None, u64::MAX)).unwrap();
    assert_eq!(
        (scrubbed.damaged, scrubbed.blocks, scrubbed.next),
        (vec![id], 1, None)
    );
    assert!(matches!(read(&blocks, id), Err(DiskError::Damaged(_))));
    close(&blocks);
    drop(blocks);
    let blocks = node.open().await;
    assert_eq!(blocks.status()[0].damaged, 1);
    assert!(matches!(read(&blocks, id), Err(DiskError::Damaged(_))));
    blocks.put(id, BOB, sealed.clone()).await.unwrap();
    assert_eq!(read(&blocks, id).unwrap(), sealed);
    assert_eq!(blocks.status()[0].damaged, 0);
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_block_met_by_a_reader_is_remembered() {
    use std::os::unix::fs::FileExt;
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 200_000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(node.path("a/blocks-00000001.log"))
        .unwrap();
    file.write_all_at(&[0; 100], 150_000).unwrap();
    let good = tokio::task::block_in_place(|| blocks.read(id, 0..60_000)).unwrap();
    assert_eq!(good, sealed[..60_000]);
    assert!(matches!(read(&blocks, id), Err(DiskError::Damaged(_))));
    eventually("it is counted", || blocks.status()[0].damaged == 1).await;
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_directory_degrades_the_node_and_comes_back() {
    let node = Node::new(&["a", "b"]);
    let blocks = node.open().await;
    let mut stored = Vec::new();
    for seed in 0..20 {
        let (id, sealed) = block(seed, 100_000);
        blocks.put(id, ANN, sealed.clone()).await.unwrap();
        stored.push((id, sealed));
    }
    close(&blocks);
    drop(blocks);
    std::fs::rename(node.path("b"), node.path("unplugged")).unwrap();
    let blocks = node.open().await;
    assert_eq!(blocks.status()[1].state, DirectoryState::Missing);
    let lost = stored
        .iter()
        .filter(|(id, _)| matches!(read(&blocks, *id), Err(DiskError::Missing { .. })))
        .count();
    assert!(
        (1..20).contains(&lost),
        "{lost} of 20 were in the directory that is gone"
    );
    let (id, sealed) = block(99, 100_000);
    blocks.put(id, ANN, sealed).await.unwrap();
    close(&blocks);
    drop(blocks);
    // A mount point without its disk must not be taken for a new directory.
    std::fs::create_dir(node.path("b")).unwrap();
    let blocks = node.open().await;
    assert_eq!(blocks.status()[1].state, DirectoryState::Missing);
    close(&blocks);
    drop(blocks);
    std::fs::remove_dir_all(node.path("b")).unwrap();
    std::fs::rename(node.path("unplugged"), node.path("b")).unwrap();
    let blocks = node.open().await;
    for (id, sealed) in &stored {
        assert_eq!(read(&blocks, *id).unwrap(), *sealed);
    }
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_directories_are_recognised_and_foreign_ones_refused() {
    let node = Node::new(&["a", "b"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 100_000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    close(&blocks);
    drop(blocks);
    std::fs::rename(node.path("a"), node.path("c")).unwrap();
    std::fs::rename(node.path("b"), node.path("a")).unwrap();
    std::fs::rename(node.path("c"), node.path("b")).unwrap();
    let blocks = node.open().await;
    assert_eq!(read(&blocks, id).unwrap(), sealed);
    close(&blocks);
    drop(blocks);
    let other = Node::new(&["a"]);
    close(&other.open().await);
    std::fs::remove_dir_all(node.path("a")).unwrap();
    std::fs::rename(other.path("a"), node.path("a")).unwrap();
    let refused = tokio::task::block_in_place(|| node.try_open());
    assert!(matches!(refused, Err(DiskError::Foreign { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_directory_refuses_blocks_and_still_releases() {
    let mut node = Node::new(&["a"]);
    node.directories[0].capacity = Some(1 << 20);
    let blocks = node.open().await;
    let mut stored = Vec::new();
    let refused = loop {
        let (id, sealed) = block(stored.len() as u64, 100_000);
        match blocks.put(id, ANN, sealed).await {
            Ok(()) => stored.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, DiskError::Full { .. }));
    assert_eq!(stored.len(), 9);
    let again = block(0, 100_000);
    blocks.put(again.0, BOB, again.1).await.unwrap();
    blocks.release(ANN, stored).await.unwrap();
    eventually("there is room again", || blocks.status()[0].used < 300_000).await;
    let (id, sealed) = block(100, 100_000);
    blocks.put(id, ANN, sealed).await.unwrap();
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn storing_and_releasing_one_block_from_many_tasks_has_one_order() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 20_000);
    let tasks = (0..16u8).map(|task| {
        let (blocks, sealed) = (blocks.clone(), sealed.clone());
        tokio::spawn(async move {
            let owner = [task; 16];
            for round in 0..30 {
                // Whatever the others do, what I hold reads back, and what nobody holds is gone.
                blocks.put(id, owner, sealed.clone()).await.unwrap();
                let handle = blocks.clone();
                let bytes = tokio::task::spawn_blocking(move || handle.read(id, 0..u32::MAX))
                    .await
                    .unwrap();
                assert_eq!(bytes.unwrap(), sealed);
                if round % 3 == 0 {
                    blocks.add_references([task + 100; 16], vec![id]).await.unwrap();
                    blocks.release(owner, vec![id]).await.unwrap();
                    blocks.add_references(owner, vec![id]).await.unwrap();
                    blocks.release([task + 100; 16], vec![id]).await.unwrap();
                }
                blocks.release(owner, vec![id]).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(matches!(read(&blocks, id), Err(DiskError::NoSuchBlock)));
    assert_eq!(blocks.references(None, 10).unwrap(), []);
    eventually("all room is back", || blocks.status()[0].used < 200_000).await;
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_come_in_pages_and_tell_the_young_from_the_old() {
    let node = Node::new(&["a", "b"]);
    let blocks = node.open().await;
    for seed in 0..10 {
        let (id, sealed) = block(seed, 1000);
        blocks.put(id, ANN, sealed).await.unwrap();
    }
    let start = blocks.newest_stamp();
    let (id, sealed) = block(3, 1000);
    blocks.put(id, BOB, sealed).await.unwrap();
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = blocks.references(after, 3).unwrap();
        let Some(last) = page.last() else {
            break;
        };
        after = Some((last.id, last.owner));
        all.extend(page);
    }
    assert_eq!(all.len(), 11);
    assert!(all.is_sorted());
    let young: Vec<_> = all
        .iter()
        .filter(|held| held.stamp > start)
        .map(|held| (held.id, held.owner))
        .collect();
    assert_eq!(young, [(id, BOB)]);
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_outlives_the_segment_it_was_written_in() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (released, sealed) = block(0, 5000);
    blocks.put(released, ANN, sealed).await.unwrap();
    let (kept, sealed) = block(1, 1_100_000);
    blocks.put(kept, ANN, sealed).await.unwrap();
    // The first segment is full and stays; the release stands in the second, which dies.
    blocks.release(ANN, vec![released]).await.unwrap();
    for seed in 2..40 {
        let (id, sealed) = block(seed, 50_000);
        blocks.put(id, ANN, sealed).await.unwrap();
        blocks.release(ANN, vec![id]).await.unwrap();
    }
    eventually("the second segment is gone", || {
        !node.path("a/blocks-00000002.log").exists()
    })
    .await;
    assert!(node.path("a/blocks-00000001.log").exists());
    close(&blocks);
    drop(blocks);
    std::fs::remove_dir_all(node.path("index")).unwrap();
    let blocks = node.open().await;
    assert!(matches!(read(&blocks, released), Err(DiskError::NoSuchBlock)));
    assert_eq!(
        blocks
            .references(None, 100)
            .unwrap()
            .iter()
            .map(|held| held.id)
            .collect::<Vec<_>>(),
        [kept]
    );
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_its_end_is_noticed_and_the_rest_is_served() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (first, first_bytes) = block(1, 50_000);
    let (second, second_bytes) = block(2, 50_000);
    blocks.put(first, ANN, first_bytes.clone()).await.unwrap();
    blocks.put(second, ANN, second_bytes.clone()).await.unwrap();
    close(&blocks);
    drop(blocks);
    let file = std::fs::File::options()
        .write(true)
        .open(node.path("a/blocks-00000001.log"));
    file.unwrap().set_len(51_000).unwrap();
    let blocks = node.open().await;
    assert!(blocks.status()[0].frames_lost > 0);
    assert_eq!(read(&blocks, first).unwrap(), first_bytes);
    assert!(matches!(
        read(&blocks, second),
        Err(DiskError::NoSuchBlock | DiskError::Damaged(_))
    ));
    blocks.put(second, ANN, second_bytes.clone()).await.unwrap();
    assert_eq!(read(&blocks, second).unwrap(), second_bytes);
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_whose_reference_is_lost_is_kept_for_whoever_needs_it() {
    const EVE: Owner = [3; 16];
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (copied, sealed) = block(1, 50_000);
    let (shared, shared_bytes) = block(2, 50_000);
    for (id, sealed) in [(copied, &sealed), (shared, &shared_bytes)] {
        blocks.put(id, ANN, sealed.clone()).await.unwrap();
    }
    blocks.add_references(BOB, vec![copied, shared]).await.unwrap();
    blocks.release(ANN, vec![copied]).await.unwrap();
    close(&blocks);
    drop(blocks);
    // The sector with Bob's references goes bad, and the index is made anew.
    let path = node.path("a/blocks-00000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(16).position(|owner| owner == BOB).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    std::fs::remove_dir_all(node.path("index")).unwrap();
    for _ in 0..2 {
        let blocks = node.open().await;
        // What others do with the same blocks must not free them either.
        blocks.put(copied, EVE, sealed.clone()).await.unwrap();
        blocks.release(EVE, vec![copied]).await.unwrap();
        blocks.release(ANN, vec![shared]).await.unwrap();
        assert_eq!(read(&blocks, copied).unwrap(), sealed);
        assert_eq!(read(&blocks, shared).unwrap(), shared_bytes);
        // What is stored from now on is freed as ever.
        let (new, sealed) = block(3, 50_000);
        blocks.put(new, ANN, sealed).await.unwrap();
        blocks.release(ANN, vec![new]).await.unwrap();
        assert!(matches!(read(&blocks, new), Err(DiskError::NoSuchBlock)));
        close(&blocks);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_was_interrupted_keeps_blocks_all_the_same() {
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 50_000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    blocks.inner().directories[0]
        .shared
        .index
        .set_lossy(true)
        .unwrap();
    close(&blocks);
    drop(blocks);
    let blocks = node.open().await;
    blocks.release(ANN, vec![id]).await.unwrap();
    assert_eq!(read(&blocks, id).unwrap(), sealed);
    assert!(!blocks.inner().directories[0].shared.index.is_lossy().unwrap());
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_did_not_verify_once_is_served_as_soon_as_it_does() {
    use std::os::unix::fs::FileExt;
    let node = Node::new(&["a"]);
    let blocks = node.open().await;
    let (id, sealed) = block(1, 200_000);
    blocks.put(id, ANN, sealed.clone()).await.unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(node.path("a/blocks-00000001.log"))
        .unwrap();
    let mut stored = [0; 100];
    file.read_exact_at(&mut stored, 150_000).unwrap();
    file.write_all_at(&[0; 100], 150_000).unwrap();
    for _ in 0..3 {
        assert!(matches!(read(&blocks, id), Err(DiskError::Damaged(_))));
        eventually("it is counted", || blocks.status()[0].damaged == 1).await;
    }
    file.write_all_at(&stored, 150_000).unwrap();
    assert_eq!(read(&blocks, id).unwrap(), sealed);
    let scrubbed = tokio::task::block_in_place(|| blocks.verify(None, u64::MAX)).unwrap();
    assert_eq!((scrubbed.damaged, scrubbed.blocks), (vec![], 1));
    assert_eq!(blocks.status()[0].damaged, 0);
    close(&blocks);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_directory_is_refused_beside_its_original() {
    let mut node = Node::new(&["a"]);
    close(&node.open().await);
    std::fs::create_dir(node.path("b")).unwrap();
    for file in std::fs::read_dir(node.path("a")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), node.path("b").join(file.file_name())).unwrap();
    }
    node.directories.push(BlockDirectory {
        path: node.path("b"),
        capacity: None,
    });
    let refused = tokio::task::block_in_place(|| node.try_open());
    assert!(matches!(refused, Err(DiskError::Foreign { directory, .. }) if directory == node.path("b")));
    node.directories.remove(0);
    close(&node.open().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_every_directory_has_stopped_taking_is_refused_as_such() {
    let node = Node::new(&["a", "b"]);
    let blocks = node.open().await;
    for directory in &blocks.inner().directories {
        directory.shared.state().stopped = Some(directory::Stop::Device);
    }
    let (id, sealed) = block(1, 5000);
    let refused = blocks.put(id, ANN, sealed).await;
    assert!(matches!(refused, Err(DiskError::Stopped { .. })), "{refused:?}");
    close(&blocks);
}
