//! Tells the screen of a box that it waits for a person who sets it up: a private file in the folder of what runs.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use appliance::api::{Schema, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The file, in the folder that systemd makes for the service (`RuntimeDirectory=`) and removes when it stops.
const FILE: &str = "waiting.json";

/// What a box that is nothing yet says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WaitingBox {
    schema: Schema,
    /// What opens it; none once somebody has chosen a password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login_code: Option<Secret>,
}

impl WaitingBox {
    pub(crate) fn new(login_code: Option<&Secret>) -> Self {
        Self {
            schema: Schema,
            login_code: login_code.cloned(),
        }
    }

    /// Writes the file, where the service has such a folder and the file says something else.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn tell(&self) -> io::Result<()> {
        let Some(folder) = own_folder() else { return Ok(()) };
        if Self::heard(&folder).as_ref() == Some(self) {
            return Ok(());
        }
        let (path, partial) = (folder.join(FILE), folder.join("waiting.partial"));
        // Made anew, so that nobody who opened an older one reads along.
        let _ = fs::remove_file(&partial);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(&Zeroizing::new(serde_json::to_vec(self)?))?;
        // In memory: a crash takes it along, so that it need not be synced.
        fs::rename(partial, path)
    }

    /// What a box said in this folder, while it waits.
    pub(crate) fn heard(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()
    }
}

/// The box waits no more.
pub(crate) fn over() {
    if let Some(folder) = own_folder() {
        // Where there is none, nobody was told.
        let _ = fs::remove_file(folder.join(FILE));
    }
}

/// The folder of what runs, where the service has one.
pub(crate) fn own_folder() -> Option<PathBuf> {
    let folders = std::env::var("RUNTIME_DIRECTORY").ok()?;
    folders
        .split(':')
        .next()
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
}
