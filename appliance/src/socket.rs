//! The unix socket of the admin API, held by one process at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The longest path a unix socket may have on Linux, in bytes.
///
/// Source: unix(7), `sun_path` holds 108 bytes including the terminating zero.
const PATH_BYTES_MAX: usize = 107;

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process serves here.
    #[error("another Warren{} runs with {}", .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default(), .folder.display())]
    InUse {
        /// Its process id, if it wrote one.
        pid: Option<u32>,
        /// The folder of the socket.
        folder: PathBuf,
    },
    /// The path does not fit into a socket address.
    #[error("{} is too long for a socket ({PATH_BYTES_MAX} bytes at most): use a shorter state directory", .0.display())]
    PathTooLong(PathBuf),
    /// Creating it failed.
    #[error("create admin socket {}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A bound admin socket. Connections wait in its queue until a server takes them.
///
/// Dropping it removes the socket.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    // Last, so that the lock outlives the socket: the kernel frees it with the process, so a dead
    // process never holds it, and whoever holds it may replace the socket it finds.
    _lock: File,
}

impl AdminSocket {
    /// Claims the socket at `path`; the folder must exist. A socket left by a dead process is replaced.
    ///
    /// # Errors
    /// A living process holds it, the path is too long, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        if path.as_os_str().as_bytes().len() > PATH_BYTES_MAX {
            return Err(SocketError::PathTooLong(path.into()));
        }
        let failed = |source| SocketError::Io {
            path: path.into(),
            source,
        };
        let lock = claim(path)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let owner = fs::metadata(path).map_err(failed)?.uid();
        Ok(Self {
            listener,
            path: path.into(),
            owner,
            _lock: lock,
        })
    }

    /// Waits for the next caller that is the owner of the socket or root.
    ///
    /// # Errors
    /// The system cannot accept.
    ///
    /// # Cancellation
    /// Safe to drop: no caller is lost.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            // The file mode keeps others out, except in the moment before it was set.
            let caller = stream.peer_cred()?.uid();
            if caller == self.owner || caller == 0 {
                return Ok(stream);
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A socket left behind is replaced at the next start, so failing here costs nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes the lock beside the socket and writes our process id into it for whoever comes second.
fn claim(socket: &Path) -> Result<File, SocketError> {
    let path = socket.with_extension("lock");
    let failed = |source| SocketError::Io {
        path: path.clone(),
        source,
    };
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = (&lock).take(16).read_to_string(&mut pid);
            return Err(SocketError::InUse {
                pid: read.ok().and_then(|_| pid.trim().parse().ok()),
                folder: path.parent().unwrap_or(Path::new("/")).into(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    lock.set_len(0).map_err(failed)?;
    lock.rewind().map_err(failed)?;
    writeln!(lock, "{}", std::process::id()).map_err(failed)?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_process_is_told_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let _first = AdminSocket::bind(&path).unwrap();
        let second = AdminSocket::bind(&path).unwrap_err();
        assert!(matches!(second, SocketError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    }

    #[tokio::test]
    async fn the_socket_of_a_dead_process_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = AdminSocket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_too_long_is_refused_with_what_to_do() {
        let path = Path::new("/tmp").join("x".repeat(108));
        let error = AdminSocket::bind(&path).unwrap_err();
        assert!(error.to_string().contains("shorter state directory"));
    }
}
