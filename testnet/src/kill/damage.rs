//! Deletes or damages the index of a stopped server, which is a view that can be made again.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::dice::Dice;

/// How the names of folders that hold a disposable index end.
const INDEX: &str = "index";
const DAMAGED_BYTES: u64 = 64;

/// What was done to an index.
pub(super) struct Damage {
    /// In words.
    pub(super) what: String,
    /// Whether the next start cannot but rebuild it: it is gone. Bytes changed in a file may be bytes that the index
    /// does not use any more, or replays from the log; whether they were is seen by what the server then serves.
    pub(super) deleted: bool,
}

/// Damages one index below the server's folder.
///
/// # Errors
/// There is no index, or it cannot be written.
pub(super) fn damage_index(folder: &Path, dice: &mut Dice) -> Result<Damage> {
    let mut indexes = Vec::new();
    find(folder, &mut indexes)?;
    let index = dice
        .one_of(&indexes)
        .with_context(|| format!("no index below {}", folder.display()))?;
    let mut files = Vec::new();
    files_of(index, &mut files)?;
    files.retain(|file| fs::metadata(file).is_ok_and(|meta| meta.len() > 0));
    let shown = index.display();
    let (Some(file), 1..) = (dice.one_of(&files).cloned(), dice.within(0..3)) else {
        fs::remove_dir_all(index).context("delete the index")?;
        return Ok(Damage {
            what: format!("deleted {shown}"),
            deleted: true,
        });
    };
    let what = damage_file(&file, dice)?;
    Ok(Damage { what, deleted: false })
}

/// Cuts a file in half or overwrites a few bytes of it; says which.
fn damage_file(file: &Path, dice: &mut Dice) -> Result<String> {
    let bytes = fs::metadata(file).context("measure a file of the index")?.len();
    let mut open = OpenOptions::new()
        .write(true)
        .open(file)
        .context("open a file of the index")?;
    if dice.roll().is_multiple_of(2) {
        open.set_len(bytes / 2).context("cut a file of the index")?;
        return Ok(format!(
            "cut {} to {} of {bytes} bytes",
            file.display(),
            bytes / 2
        ));
    }
    let offset = dice.within(0..bytes.saturating_sub(DAMAGED_BYTES).max(1));
    open.seek(SeekFrom::Start(offset))
        .context("seek in a file of the index")?;
    let noise: Vec<_> = (0..DAMAGED_BYTES).map(|_| dice.roll().to_le_bytes()[0]).collect();
    open.write_all(&noise).context("overwrite a file of the index")?;
    Ok(format!(
        "overwrote {DAMAGED_BYTES} bytes of {} at {offset}",
        file.display()
    ))
}

fn find(folder: &Path, indexes: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).context("look for an index")? {
        let path = entry?.path();
        if path.is_dir() {
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with(INDEX))
            {
                indexes.push(path);
            } else {
                find(&path, indexes)?;
            }
        }
    }
    Ok(())
}

fn files_of(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).context("list the index")? {
        let path = entry?.path();
        if path.is_dir() {
            files_of(&path, files)?
        } else {
            files.push(path)
        }
    }
    Ok(())
}
