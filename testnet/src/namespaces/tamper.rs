//! Tampers with the clock and the disk of a running server: a library that is loaded into the unchanged program.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::home::Home;

const SOURCE: &str = include_str!("tamper.c");
/// The words of the file by which the library is told, 8 bytes each; see `tamper.c`.
const WORDS: usize = 4;
const WORD_BYTES: usize = 8;
const AHEAD_MS: u64 = 0;
const SYNC_MS: u64 = 8;
const READ_MS: u64 = 16;
const LOADED: u64 = 24;
/// A read waits for so small a part of what a sync waits: a disk that is slow to write is slow to read, but not as slow.
const READ_SHARE: i64 = 20;

/// The library, compiled.
pub(super) struct Library(PathBuf);

impl Library {
    /// Compiles it in this folder; none where there is no C compiler.
    ///
    /// # Errors
    /// The folder cannot be written, or the library does not compile.
    pub(super) fn compile(folder: &Path) -> Result<Option<Self>> {
        let (source, library) = (folder.join("tamper.c"), folder.join("tamper.so"));
        fs::write(&source, SOURCE).context("write the library's source")?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output();
        let Ok(compiled) = compiled else {
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&compiled.stderr);
        anyhow::ensure!(compiled.status.success(), "cc: {said}");
        Ok(Some(Self(library)))
    }

    /// Has it loaded into whatever this box runs from now on.
    ///
    /// # Errors
    /// The file by which it is told cannot be made.
    pub(super) fn load_into(&self, home: &mut Home, told: &Path) -> Result<Tampered> {
        let file = File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(told)
            .context("make the file that tells")?;
        file.write_all_at(&[0; WORDS * WORD_BYTES], 0)
            .context("write the file that tells")?;
        home.set("LD_PRELOAD", &self.0.to_string_lossy());
        home.set("TESTNET_TAMPER", &told.to_string_lossy());
        Ok(Tampered(file))
    }
}

/// What is done to one box.
pub(super) struct Tampered(File);

impl Tampered {
    /// Whether its server has loaded the library; one that is linked statically never does.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn is_loaded(&self) -> Result<bool> {
        Ok(self.word(LOADED)? == 1)
    }

    /// Sets its clock ahead of this machine's, or behind it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn set_clock(&self, ahead_ms: i64) -> Result<()> {
        self.set(AHEAD_MS, ahead_ms)
    }

    /// How far its clock is ahead, in milliseconds.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn ahead_ms(&self) -> Result<i64> {
        self.word(AHEAD_MS)
    }

    /// Has every sync take so much longer, and every read a little.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn slow_disk(&self, by: Duration) -> Result<()> {
        let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.set(SYNC_MS, ms)?;
        self.set(READ_MS, ms / READ_SHARE)
    }

    /// The same tampering, for somebody else.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn share(&self) -> Result<Self> {
        Ok(Self(self.0.try_clone().context("share the file that tells")?))
    }

    fn set(&self, at: u64, word: i64) -> Result<()> {
        self.0
            .write_all_at(&word.to_ne_bytes(), at)
            .context("tell the library")
    }

    fn word(&self, at: u64) -> Result<i64> {
        let mut word = [0; WORD_BYTES];
        self.0
            .read_exact_at(&mut word, at)
            .context("read what the library is told")?;
        Ok(i64::from_ne_bytes(word))
    }
}
