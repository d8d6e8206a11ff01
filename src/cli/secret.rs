//! Secrets come from and go to private files or a terminal, never the command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use appliance::api::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::failure::{Exit, Failure};
use super::output::Output;

/// No secret is longer, in bytes; what is more is not a secret.
const BYTES_MAX: u64 = 4096;

/// A new private file that waits for its secret; removed again if none comes.
pub(super) struct SecretFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl SecretFile {
    /// Makes the file; it must not exist.
    pub(super) fn create(path: PathBuf) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match file {
            Ok(file) => Ok(Self {
                file,
                path,
                kept: false,
            }),
            Err(error) => Err(unusable(&path, &error)),
        }
    }

    /// Writes the secret and returns where it is.
    pub(super) fn keep(mut self, secret: &Secret) -> Result<PathBuf, Failure> {
        let written = writeln!(self.file, "{}", secret.expose()).and_then(|()| self.file.sync_all());
        written.map_err(|error| unusable(&self.path, &error))?;
        self.kept = true;
        Ok(self.path.clone())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.kept {
            // An empty file left behind does no harm.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Reads a secret from a file nobody else can read, or from stdin, where a person is asked for `what`.
pub(super) fn read(file: Option<&Path>, what: &str, out: &Output) -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::new());
    match file {
        Some(path) => {
            let opened = open_private(path)?;
            let read = opened.take(BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| unusable(path, &error))?;
        }
        None if io::stdin().is_terminal() => {
            out.error(&format!("{what} (not shown while you type):"));
            let _hidden = HiddenTyping::begin();
            let read = io::stdin().lock().take(BYTES_MAX).read_line(&mut text);
            read.map_err(|error| unusable(Path::new("stdin"), &error))?;
        }
        None => {
            let read = io::stdin().lock().take(BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| unusable(Path::new("stdin"), &error))?;
        }
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn open_private(path: &Path) -> Result<File, Failure> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| unusable(path, &error))?;
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        let message = format!("{} can be read by other users", path.display());
        return Err(Failure::new(Exit::Denied, message).hint(format!("chmod 600 {}", path.display())));
    }
    Ok(file)
}

/// Why a file cannot be used.
pub(super) fn unusable(path: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::AlreadyExists => Exit::Conflict,
        io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Error,
    };
    Failure::new(exit, format!("{}: {error}", path.display()))
}

/// While it lives the terminal does not show what is typed.
struct HiddenTyping(Termios);

impl HiddenTyping {
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for HiddenTyping {
    fn drop(&mut self) {
        // The terminal is gone if this fails, and nobody is typing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
