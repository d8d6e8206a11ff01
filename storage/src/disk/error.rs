//! Why a node's disk could not do what was asked.

use std::io;
use std::path::PathBuf;

/// Why a node's disk could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Reading or writing failed. After a failed write or sync the directory has stopped.
    #[error("{action} in {}", .directory.display())]
    Io {
        /// Which directory.
        directory: PathBuf,
        /// What was being done, e.g. "sync row log".
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory stopped after an earlier failure of its device.
    #[error("{} has stopped after a failed write; make room if its disk is full, else check the device and restart", .directory.display())]
    Stopped {
        /// Which directory.
        directory: PathBuf,
    },
    /// No room for new blocks (95 % full or over the amount given).
    #[error("no room for new blocks: {used} of {given} bytes used")]
    Full {
        /// Bytes in use.
        used: u64,
        /// Bytes that may be used.
        given: u64,
    },
    /// The process has as many files open as it may; nothing was written, and what is asked later may succeed.
    #[error("no file can be created in {}: too many are open", .directory.display())]
    FilesExhausted {
        /// Which directory.
        directory: PathBuf,
    },
    /// Acknowledged rows are lost; the disk serves what verifies and takes no writes.
    #[error("read-only: {0}")]
    ReadOnly(String),
    /// Stored bytes do not verify.
    #[error("damaged: {0}")]
    Damaged(String),
    /// No such block here.
    #[error("no such block here")]
    NoSuchBlock,
    /// The row index failed.
    #[error("row index")]
    Index(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another process has the directory open.
    #[error("{} is in use by another process", .directory.display())]
    Locked {
        /// Which directory.
        directory: PathBuf,
    },
    /// The directory was written by a newer Warren.
    #[error("{} has format {found}, this program reads up to {known}", .directory.display())]
    NewerFormat {
        /// Which directory.
        directory: PathBuf,
        /// Format version found.
        found: u32,
        /// Newest format version this program reads.
        known: u32,
    },
    /// A part of a write is larger than it may be; nothing was written.
    #[error("{what} of {size} bytes, at most {most}")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// Bytes allowed.
        most: u64,
    },
    /// A directory of blocks that belongs elsewhere, or does not say where it belongs.
    #[error("{} is not used: {reason}", .directory.display())]
    Foreign {
        /// Which directory.
        directory: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not here, but it may be in a directory that is missing.
    #[error("{} is missing", .directory.display())]
    Missing {
        /// Which directory.
        directory: PathBuf,
    },
    /// The disk is closed.
    #[error("the disk is closed")]
    Closed,
}

impl DiskError {
    /// Whether a log wrote nothing of what it was asked, and goes on.
    pub(crate) fn is_refusal(&self) -> bool {
        self.refusal().is_some()
    }

    /// The same refusal for another of those who are refused; none where the log has stopped.
    pub(crate) fn refusal(&self) -> Option<Self> {
        match self {
            Self::Full { used, given } => Some(Self::Full {
                used: *used,
                given: *given,
            }),
            Self::FilesExhausted { directory } => Some(Self::FilesExhausted {
                directory: directory.clone(),
            }),
            _ => None,
        }
    }
}
