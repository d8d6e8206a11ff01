//! What is left of a run in which something was wrong: what boxes logged that nobody thought of, and their disks.

use std::path::Path;

use anyhow::{Context, Result};

use super::town::Town;

/// What a server logs when it meets what nobody thought of.
const PANIC: &str = "panicked at";

/// Plays something in a new folder, and keeps the folder if anything was wrong; the number of things wrong.
///
/// # Errors
/// The folder cannot be made.
pub(super) fn keep_if_wrong(
    (name, seed, dir): (&str, u64, &Path),
    play: impl FnOnce(&Path) -> Result<Vec<String>>,
) -> Result<usize> {
    std::fs::create_dir_all(dir).context("create the work folder")?;
    let prefix = format!("{name}-");
    let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(dir)?;
    // Boxes are started from elsewhere.
    let path = folder.path().canonicalize().context("find the work folder")?;
    println!("\n{name}: seed {seed} in {}", path.display());
    let wrongs = play(&path).unwrap_or_else(|error| vec![format!("{error:#}")]);
    if wrongs.is_empty() {
        return Ok(0);
    }
    let kept = folder.keep();
    for wrong in &wrongs {
        println!("{name}: BROKEN: {wrong}");
    }
    println!(
        "{name}: FAILED with seed {seed}, {} wrong; the logs are kept in {}",
        wrongs.len(),
        kept.display()
    );
    Ok(wrongs.len())
}

/// Boxes that met what nobody thought of.
///
/// # Errors
/// A log cannot be read.
pub(super) fn panics(town: &Town) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (number, seat) in town.seats.iter().enumerate() {
        let log = seat.home.logged_since(0)?;
        let lines = log.lines().filter(|line| line.contains(PANIC));
        found.extend(lines.map(|line| format!("box {number}: {line}")));
    }
    Ok(found)
}

/// Copies the disks to where they outlive this process.
///
/// # Errors
/// A copy fails.
pub(super) fn keep_disks(town: &Town) -> Result<()> {
    for seat in &town.seats {
        seat.disk.copy_to(&seat.home.disk().with_file_name("kept"))?;
    }
    Ok(())
}
