//! Appends records of many tasks to one file with one fdatasync per batch: the least that durable writing costs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

/// A prewritten file is written round and round.
const RING_BYTES: u64 = 512 * 1024 * 1024;
/// Pieces below this are gathered into one write.
const GATHER_BYTES: usize = 1024 * 1024;
/// A batch takes no further piece beyond this.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
const QUEUE_PIECES: usize = 64;

/// How the file takes records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layout {
    /// At its end, so that each sync also commits its new size.
    Appending,
    /// Over blocks written before, so that a sync commits data alone.
    Prewritten,
}

/// The tasks' end of the file; the last one dropped ends its thread.
#[derive(Clone)]
pub(crate) struct GroupSync {
    queue: mpsc::Sender<Piece>,
}

/// The thread that writes.
pub(crate) struct Writer {
    thread: JoinHandle<io::Result<()>>,
}

struct Piece {
    bytes: Bytes,
    synced: Option<oneshot::Sender<()>>,
}

impl GroupSync {
    /// Creates the file, or takes over a prewritten one, and starts its thread.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn create(path: &Path, layout: Layout) -> Result<(Self, Writer)> {
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(layout == Layout::Appending)
            .open(path)
            .context("create appended file")?;
        let length = file.metadata().context("length of appended file")?.len();
        if layout == Layout::Prewritten && length < RING_BYTES {
            prewrite(&file).context("prewrite file")?;
        }
        let (queue, pieces) = mpsc::channel(QUEUE_PIECES);
        let thread = thread::Builder::new().name("group-sync".into());
        let thread = thread
            .spawn(move || Log { file, layout, end: 0 }.run(pieces))
            .context("start thread")?;
        Ok((Self { queue }, Writer { thread }))
    }

    /// Hands over bytes that more bytes of the same record will follow.
    ///
    /// # Errors
    /// Writing failed.
    pub(crate) async fn write(&self, bytes: Bytes) -> Result<()> {
        self.queue
            .send(Piece { bytes, synced: None })
            .await
            .map_err(|_| anyhow!("the file failed"))
    }

    /// Hands over the last bytes of a record and waits until the whole record is durable.
    ///
    /// # Errors
    /// Writing or syncing failed.
    pub(crate) async fn commit(&self, bytes: Bytes) -> Result<()> {
        let (synced, wait) = oneshot::channel();
        self.queue
            .send(Piece {
                bytes,
                synced: Some(synced),
            })
            .await
            .map_err(|_| anyhow!("the file failed"))?;
        wait.await.context("sync failed")
    }
}

impl Writer {
    /// Waits for the thread, which ends when every [`GroupSync`] is dropped.
    ///
    /// # Errors
    /// Writing or syncing failed.
    pub(crate) fn join(self) -> Result<()> {
        self.thread
            .join()
            .map_err(|_| anyhow!("group-sync thread panicked"))?
            .context("append")
    }
}

/// Overwritten blocks need no allocation at sync time.
fn prewrite(file: &File) -> io::Result<()> {
    let zeros = vec![0; GATHER_BYTES];
    for offset in (0..RING_BYTES).step_by(zeros.len()) {
        file.write_all_at(&zeros, offset)?;
    }
    file.sync_all()
}

struct Log {
    file: File,
    layout: Layout,
    end: u64,
}

impl Log {
    fn run(mut self, mut pieces: mpsc::Receiver<Piece>) -> io::Result<()> {
        let mut gathered = Vec::with_capacity(GATHER_BYTES);
        let mut waiting = Vec::with_capacity(QUEUE_PIECES);
        while let Some(first) = pieces.blocking_recv() {
            let mut taken = 0;
            let mut next = Some(first);
            while let Some(piece) = next {
                taken += piece.bytes.len();
                waiting.extend(piece.synced);
                if gathered.len() + piece.bytes.len() > GATHER_BYTES {
                    self.append(&gathered)?;
                    gathered.clear();
                }
                if piece.bytes.len() >= GATHER_BYTES {
                    self.append(&piece.bytes)?;
                } else {
                    gathered.extend_from_slice(&piece.bytes);
                }
                next = if taken < BATCH_BYTES {
                    pieces.try_recv().ok()
                } else {
                    None
                };
            }
            self.append(&gathered)?;
            gathered.clear();
            if !waiting.is_empty() {
                self.file.sync_data()?;
            }
            for synced in waiting.drain(..) {
                // A task that no longer waits needs no word.
                let _ = synced.send(());
            }
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.layout == Layout::Prewritten && self.end + bytes.len() as u64 > RING_BYTES {
            self.end = 0;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn committed_records_stand_in_the_file_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let (log, writer) = GroupSync::create(&path, Layout::Appending).unwrap();
        log.write(Bytes::from_static(b"ab")).await.unwrap();
        log.commit(Bytes::from_static(b"cd")).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcd");
        log.commit(vec![b'e'; 2 * GATHER_BYTES].into()).await.unwrap();
        drop(log);
        tokio::task::spawn_blocking(|| writer.join())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 4 + 2 * GATHER_BYTES as u64);
    }
}
