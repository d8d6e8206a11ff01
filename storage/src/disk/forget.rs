//! Forgets the rows of a disk and keeps its blocks: for a member that takes its place anew, under a number that nobody had.

use std::io;
use std::path::Path;

use super::DiskError;
use super::files::Directory;
use super::medium::Medium;
use super::rows::{ROW_LOG, remove_index};

/// Forgets the rows in a directory, which must not be open. Where it is cut off, it has to be done again before the disk is
/// opened.
///
/// # Errors
/// `Locked`: a process has them open. `Io`.
pub fn forget_rows(directory: &Path) -> Result<(), DiskError> {
    let medium = Directory::open(directory)?;
    // First, or it would prove that rows are lost.
    let forgotten = remove_index(directory).and_then(|()| forget_rows_on(&medium));
    forgotten.map_err(|source| DiskError::Io {
        directory: directory.to_path_buf(),
        action: "forget rows",
        source,
    })
}

/// As [`forget_rows`], where the index is not kept.
///
/// # Errors
/// The device fails.
pub fn forget_rows_on(medium: &dyn Medium) -> io::Result<()> {
    for name in medium.list()? {
        if super::log::is_segment(ROW_LOG, &name) {
            medium.remove(&name)?;
        }
    }
    medium.sync_directory()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::disk::{BlockDirectory, Disk, DiskOptions, RowWrite};

    #[tokio::test]
    async fn rows_are_gone_and_blocks_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let options = DiskOptions {
            rows: folder.path().join("rows"),
            blocks: vec![BlockDirectory {
                path: folder.path().join("blocks"),
                capacity: None,
            }],
            accept_loss: false,
        };
        let disk = Disk::open(options.clone()).await.unwrap();
        let row = RowWrite::Put {
            key: b"row".to_vec(),
            summary: Vec::new(),
            value: Bytes::from_static(b"value"),
        };
        disk.commit(vec![row]).await.unwrap();
        let block = disk
            .put_block([7; 32], [1; 16], Bytes::from_static(b"sealed"))
            .await;
        block.unwrap();
        assert!(forget_rows(&options.rows).is_err(), "it is open");
        disk.close().await.unwrap();
        drop(disk);
        forget_rows(&options.rows).unwrap();
        let disk = Disk::open(options).await.unwrap();
        assert_eq!(disk.row(b"row").unwrap(), None);
        assert_eq!(disk.status().rows.loss, None);
        assert!(disk.holds_block([7; 32]).unwrap());
        disk.close().await.unwrap();
    }
}
