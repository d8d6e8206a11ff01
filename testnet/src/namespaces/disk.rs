//! Gives boxes small disks of their own, in memory, mounted where only this process and its children see them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// What takes the room on a disk that somebody else has filled.
const BALLAST: &str = "ballast";
/// A disk with less room than this is full.
const FULL_BYTES: u64 = 4096;

/// Gives this process mounts of its own, which vanish with it and its children. Before any thread is started.
///
/// # Errors
/// The system refuses.
#[allow(unsafe_code, reason = "no safe call leaves a namespace")]
pub(super) fn mount_in_private() -> Result<()> {
    // SAFETY: only mounts are unshared, no table of descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("leave the mounts of the system")?;
    run("mount", &["--make-rprivate", "/"])
}

/// A disk; unmounted when dropped.
pub(super) struct Disk(PathBuf);

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it until then.
        let _ = run("umount", &["-l", &self.0.to_string_lossy()]);
    }
}

impl Disk {
    /// Mounts an empty disk of so many MiB at this folder.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn mount(folder: PathBuf, mib: u64) -> Result<Self> {
        let options = format!("size={mib}m,mode=700");
        let at = folder.to_string_lossy();
        run("mount", &["-t", "tmpfs", "-o", &options, "warren", &at])?;
        Ok(Self(folder))
    }

    /// Fills it to its last page.
    ///
    /// # Errors
    /// It fails otherwise than by being full.
    pub(super) fn fill(&self) -> Result<()> {
        self.fill_but(0)
    }

    /// Fills it until so many bytes are left.
    ///
    /// # Errors
    /// It fails otherwise than by being full.
    pub(super) fn fill_but(&self, left: u64) -> Result<()> {
        let ballast = File::options()
            .create(true)
            .append(true)
            .open(self.0.join(BALLAST))
            .context("open the ballast")?;
        let mut piece = u64::MAX;
        while piece >= FULL_BYTES {
            let space = statvfs(&self.0).context("measure the disk")?;
            let room = (space.f_bavail * space.f_frsize).saturating_sub(left);
            let length = ballast.metadata()?.len();
            piece = piece.min(room);
            // Somebody else may have taken some of it by now: then a smaller piece fits.
            if piece > 0 && fallocate(&ballast, FallocateFlags::empty(), length, piece).is_err() {
                piece /= 2;
            }
        }
        Ok(())
    }

    /// Takes away what filled it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn free(&self) -> Result<()> {
        let ballast = self.0.join(BALLAST);
        match ballast.exists() {
            true => fs::remove_file(ballast).context("remove the ballast"),
            false => Ok(()),
        }
    }

    /// Leaves nothing on it.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub(super) fn wipe(&self) -> Result<()> {
        for entry in fs::read_dir(&self.0).context("list the disk")? {
            let path = entry?.path();
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }

    /// Copies everything on it into a folder that is not there yet.
    ///
    /// # Errors
    /// The copy fails.
    pub(super) fn copy_to(&self, folder: &Path) -> Result<()> {
        run(
            "cp",
            &["-a", &self.0.to_string_lossy(), &folder.to_string_lossy()],
        )
    }
}

fn run(program: &str, words: &[&str]) -> Result<()> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("start {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        words.join(" "),
        said.trim()
    );
    Ok(())
}
