//! Writes what somebody asked to have as a file: never over one that is there, and for its owner's eyes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use appliance::api::Schema;
use serde::Serialize;

use super::failure::Failure;
use super::secret::unusable;

/// Where something was saved.
#[derive(Serialize)]
pub(super) struct Saved<'a> {
    schema: Schema,
    file: &'a Path,
}

/// Saves a text in a new file, and returns once it is durable.
///
/// # Errors
/// There is such a file already, or it cannot be written.
pub(super) fn save<'a>(file: &'a Path, text: &str) -> Result<Saved<'a>, Failure> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut created| {
            created.write_all(text.as_bytes())?;
            created.sync_all()
        });
    written.map_err(|error| unusable(file, &error))?;
    Ok(Saved { schema: Schema, file })
}
