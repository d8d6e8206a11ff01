//! What a disk promises, through its public face.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;

use super::fault::{FaultMedium, Random};
use super::{BlockDirectory, Disk, DiskError, DiskOptions, RowScan, RowWrite};

fn put(key: &str, value: &str) -> RowWrite {
    RowWrite::Put {
        key: key.into(),
        summary: format!("about {value}").into(),
        value: Bytes::from(value.to_owned()),
    }
}

fn drop_row(key: &str) -> RowWrite {
    RowWrite::Drop { key: key.into() }
}

async fn open_accepting(path: &Path, accept_loss: bool) -> Disk {
    let blocks = vec![BlockDirectory {
        path: path.join("blocks"),
        capacity: None,
    }];
    Disk::open(DiskOptions {
        rows: path.join("rows"),
        blocks,
        accept_loss,
    })
    .await
    .unwrap()
}

async fn open(path: &Path) -> Disk {
    open_accepting(path, false).await
}

fn value(disk: &Disk, key: &str) -> Option<String> {
    disk.row(key.as_bytes())
        .unwrap()
        .map(|value| String::from_utf8(value.to_vec()).unwrap())
}

/// Keys and summaries.
fn scanned(mut scan: RowScan) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = scan.next_row().unwrap() {
        rows.push((text(row.key()), text(row.summary())));
    }
    rows
}

fn keys(disk: &Disk) -> Vec<String> {
    let rows = scanned(disk.scan(Bound::Unbounded, Bound::Unbounded).unwrap());
    rows.into_iter().map(|(key, _)| key).collect()
}

/// Flips a bit of the first place where `needle` stands in the row log.
fn damage(path: &Path, needle: &str) {
    for entry in fs::read_dir(path.join("rows")).unwrap() {
        let file = entry.unwrap().path();
        let Some(mut bytes) = file.is_file().then(|| fs::read(&file).unwrap()) else {
            continue;
        };
        if let Some(at) = bytes
            .windows(needle.len())
            .position(|bytes| bytes == needle.as_bytes())
        {
            bytes[at] ^= 1;
            return fs::write(file, bytes).unwrap();
        }
    }
    panic!("{needle} is not in the log");
}

#[tokio::test]
async fn a_committed_row_is_read_scanned_and_kept() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("b", "2"), put("a", "1"), put("c", "3")])
        .await
        .unwrap();
    disk.commit(vec![drop_row("b"), put("c", "4")]).await.unwrap();
    for _ in 0..2 {
        let disk = if disk.0.rows.status().rows_about > 0 {
            disk.clone()
        } else {
            open(home.path()).await
        };
        assert_eq!(value(&disk, "a").as_deref(), Some("1"));
        assert_eq!(value(&disk, "b"), None);
        assert_eq!(value(&disk, "c").as_deref(), Some("4"));
        assert_eq!(keys(&disk), ["a", "c"]);
    }
    disk.close().await.unwrap();
    assert!(matches!(
        disk.commit(vec![put("d", "5")]).await,
        Err(DiskError::Closed)
    ));
    drop(disk);
    let disk = open(home.path()).await;
    assert_eq!(keys(&disk), ["a", "c"]);
    assert_eq!(value(&disk, "c").as_deref(), Some("4"));
    assert!(!disk.status().rows.index_rebuilt);
}

#[tokio::test]
async fn a_scan_sees_rows_as_they_were_when_it_began() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("a", "1"), put("b", "2")]).await.unwrap();
    let scan = disk.scan(Bound::Included(b"a"), Bound::Unbounded).unwrap();
    disk.commit(vec![drop_row("b"), put("c", "3")]).await.unwrap();
    let seen: Vec<_> = scanned(scan).into_iter().map(|(_, summary)| summary).collect();
    assert_eq!(seen, ["about 1", "about 2"]);
    let nothing = disk.scan(Bound::Excluded(b"c"), Bound::Included(b"a")).unwrap();
    assert!(scanned(nothing).is_empty());
}

#[tokio::test]
async fn a_lost_index_is_rebuilt() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("a", "1"), put("b", "2")]).await.unwrap();
    disk.commit(vec![drop_row("b")]).await.unwrap();
    drop(disk);
    fs::remove_dir_all(home.path().join("rows/index")).unwrap();
    let disk = open(home.path()).await;
    assert!(disk.status().rows.index_rebuilt);
    assert_eq!(keys(&disk), ["a"]);
    assert_eq!(value(&disk, "a").as_deref(), Some("1"));
}

#[tokio::test]
async fn an_index_with_a_damaged_table_is_rebuilt_before_any_request_meets_it() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    for number in 0..500 {
        disk.commit(vec![put(&format!("key-{number:03}"), "value")])
            .await
            .unwrap();
    }
    disk.close().await.unwrap();
    drop(disk);
    let mut files = fs::read_dir(home.path().join("rows/index")).unwrap();
    let is_table = |file: &Path| file.extension().is_some_and(|end| end == "table");
    let table = files.find_map(|file| Some(file.unwrap().path()).filter(|file| is_table(file)));
    let table = table.unwrap();
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    fs::write(&table, bytes).unwrap();
    let disk = open(home.path()).await;
    assert!(disk.status().rows.index_rebuilt);
    assert_eq!(keys(&disk).len(), 500);
    assert_eq!(value(&disk, "key-123").as_deref(), Some("value"));
}

#[tokio::test]
async fn a_damaged_row_is_reported_and_never_served() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("a", "first value")]).await.unwrap();
    disk.commit(vec![put("b", "other value")]).await.unwrap();
    disk.close().await.unwrap();
    drop(disk);
    damage(home.path(), "first value");
    let disk = open(home.path()).await;
    // The summary holds the text too, and comes first: either way the record does not verify.
    assert!(matches!(disk.row(b"a"), Err(DiskError::Damaged(_))));
    assert_eq!(value(&disk, "b").as_deref(), Some("other value"));
}

#[tokio::test]
async fn lost_rows_make_a_disk_read_only_until_the_loss_is_accepted() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("a", "first value")]).await.unwrap();
    disk.commit(vec![put("b", "other value")]).await.unwrap();
    disk.close().await.unwrap();
    drop(disk);
    damage(home.path(), "other value");
    fs::remove_dir_all(home.path().join("rows/index")).unwrap();
    for _ in 0..2 {
        let disk = open(home.path()).await;
        assert!(disk.status().rows.loss.is_some());
        assert!(matches!(
            disk.commit(vec![put("c", "3")]).await,
            Err(DiskError::ReadOnly(_))
        ));
        assert_eq!(value(&disk, "a").as_deref(), Some("first value"));
        assert_eq!(value(&disk, "b"), None);
        disk.close().await.unwrap();
    }
    let disk = open_accepting(home.path(), true).await;
    disk.commit(vec![put("c", "3")]).await.unwrap();
    drop(disk);
    let disk = open(home.path()).await;
    assert_eq!(keys(&disk), ["a", "c"]);
    disk.commit(vec![put("d", "4")]).await.unwrap();
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_noticed() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("a", "1")]).await.unwrap();
    let before = fs::read(home.path().join("rows/rows-00000001.log")).unwrap();
    disk.commit(vec![put("b", "2")]).await.unwrap();
    drop(disk);
    fs::write(home.path().join("rows/rows-00000001.log"), before).unwrap();
    for _ in 0..2 {
        let disk = open(home.path()).await;
        assert!(disk.status().rows.loss.is_some());
        assert_eq!(keys(&disk), ["a"]);
    }
}

#[tokio::test]
async fn a_log_that_lost_its_end_in_a_crash_is_noticed() {
    let home = TempDir::new().unwrap();
    let disk = open(home.path()).await;
    disk.commit(vec![put("a", "1")]).await.unwrap();
    let before = fs::read(home.path().join("rows/rows-00000001.log")).unwrap();
    disk.commit(vec![put("b", "2")]).await.unwrap();
    // What a kill leaves: the directories as they are, nothing flushed.
    let crashed = TempDir::new().unwrap();
    copy_all(&home.path().join("rows"), &crashed.path().join("rows"));
    fs::write(crashed.path().join("rows/rows-00000001.log"), before).unwrap();
    for _ in 0..2 {
        let disk = open(crashed.path()).await;
        assert!(disk.status().rows.loss.is_some());
        assert_eq!(keys(&disk), ["a"]);
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (
            entry.as_ref().unwrap().path(),
            to.join(entry.unwrap().file_name()),
        );
        if from.is_dir() {
            copy_all(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_directory_in_use_is_refused() {
    let home = TempDir::new().unwrap();
    let _disk = open(home.path()).await;
    let options = DiskOptions {
        rows: home.path().join("rows"),
        blocks: Vec::new(),
        accept_loss: false,
    };
    assert!(matches!(Disk::open(options).await, Err(DiskError::Locked { .. })));
}

#[tokio::test]
async fn a_row_log_of_version_1_stays_readable() {
    let home = TempDir::new().unwrap();
    fs::create_dir(home.path().join("rows")).unwrap();
    let fixture = include_bytes!("../../fixtures/rows-v1.log");
    fs::write(home.path().join("rows/rows-00000001.log"), fixture).unwrap();
    let disk = open(home.path()).await;
    assert_eq!(disk.status().rows.loss, None);
    assert_eq!(keys(&disk), ["b", "c"]);
    assert_eq!(value(&disk, "b").as_deref(), Some("second"));
    assert_eq!(value(&disk, "c").as_deref(), Some("third"));
}

#[test]
fn a_simulated_disk_serves_through_the_same_face() {
    let world = async {
        let medium = FaultMedium::new(1);
        let layout = crate::simulation::SimulatedLayout {
            row_segment_bytes: 16 << 10,
            block_segment_bytes: 16 << 10,
            accept_loss: false,
        };
        let disk = Disk::open_simulated(&medium.mount(), &layout).unwrap();
        disk.commit(vec![put("a", "1")]).await.unwrap();
        let block = Bytes::from_static(b"sealed");
        let id = *blake3::hash(&block).as_bytes();
        disk.put_block(id, [1; 16], block.clone()).await.unwrap();
        disk.close().await.unwrap();
        drop(disk);
        let disk = Disk::open_simulated(&medium.mount(), &layout).unwrap();
        assert_eq!(value(&disk, "a").as_deref(), Some("1"));
        assert_eq!(disk.read_block(id, 0..6).unwrap(), block);
    };
    crate::simulation::run(1, world).unwrap();
}

/// References to random blocks come and go while segments are rewritten.
async fn churn(disk: &Disk, random: &mut Random) {
    for _ in 0..400 {
        let content = Bytes::from(vec![u8::try_from(random.below(12)).unwrap(); 300]);
        let id = *blake3::hash(&content).as_bytes();
        let owner = [u8::try_from(random.below(3)).unwrap(); 16];
        match random.below(5) {
            0 => disk.put_block(id, owner, content).await.unwrap(),
            1 | 2 => drop(disk.add_references(owner, vec![id]).await),
            _ => disk.release(owner, vec![id]).await.unwrap(),
        }
        let rest = u64::try_from(random.below(100)).unwrap();
        tokio::time::sleep(Duration::from_millis(rest)).await;
    }
}

#[test]
fn a_block_index_that_is_rebuilt_knows_what_the_one_before_knew() {
    let layout = crate::simulation::SimulatedLayout {
        row_segment_bytes: 16 << 10,
        block_segment_bytes: 2 << 10,
        accept_loss: false,
    };
    let held = |disk: &Disk| {
        let references = disk.references(None, 1000).unwrap().into_iter();
        references.map(|held| (held.id, held.owner)).collect::<Vec<_>>()
    };
    for seed in 0..10 {
        let world = async {
            let medium = FaultMedium::new(seed);
            let disk = Disk::open_simulated(&medium.mount(), &layout).unwrap();
            churn(&disk, &mut Random(seed)).await;
            let before = held(&disk);
            disk.close().await.unwrap();
            let disk = Disk::open_simulated(&medium.mount(), &layout).unwrap();
            assert_eq!(held(&disk), before, "seed {seed}");
            assert_eq!(disk.status().damaged_blocks, 0, "seed {seed}");
        };
        crate::simulation::run(seed, world).unwrap();
    }
}
