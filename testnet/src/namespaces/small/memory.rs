//! A limit on the memory of a box, as if its board had no more: a memory cgroup, of either version.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// Where cgroups of version 1 count memory, and those of version 2 everything.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
/// How long a group may still hold processes that have ended.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// A group of processes that have so much memory between them; removed when dropped, which its processes must not outlive.
pub(super) struct Memory(PathBuf);

impl Drop for Memory {
    fn drop(&mut self) {
        // What has just ended is counted for a moment longer.
        let _ = super::super::home::within(EMPTY_WITHIN, || Ok(fs::remove_dir(&self.0).is_ok()));
    }
}

impl Memory {
    /// A group with so many bytes, or why there is none here.
    ///
    /// # Errors
    /// The group was made, and its limit is refused.
    pub(super) fn limit(bytes: u64) -> Result<std::result::Result<Self, String>> {
        let name = format!("warren-lab-{}", std::process::id());
        for root in ROOTS {
            let folder = Path::new(root).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self(folder);
            let limits = ["memory.limit_in_bytes", "memory.max"];
            let limit = limits.iter().find(|limit| group.0.join(limit).exists());
            let Some(limit) = limit else { continue };
            let limit = group.0.join(limit);
            fs::write(&limit, bytes.to_string()).with_context(|| format!("write {}", limit.display()))?;
            // Where there is swap, a board would have none; where there is not, nothing is to be switched off.
            let _ = fs::write(group.0.join("memory.swappiness"), "0");
            let _ = fs::write(group.0.join("memory.swap.max"), "0");
            return Ok(Ok(group));
        }
        Ok(Err(format!(
            "no memory cgroup can be made in {}",
            ROOTS.join(" or ")
        )))
    }

    /// Puts a process in, and all that it starts.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn take(&self, process: u32) -> Result<()> {
        let file = self.0.join("cgroup.procs");
        fs::write(&file, process.to_string())
            .with_context(|| format!("put {process} into {}", file.display()))
    }

    /// How often a process in it was killed since there was no memory left.
    ///
    /// # Errors
    /// The system does not say.
    pub(super) fn kills(&self) -> Result<u64> {
        let files = ["memory.oom_control", "memory.events"];
        let file = files
            .iter()
            .map(|file| self.0.join(file))
            .find(|file| file.exists());
        let file = file.context("find how often memory ran out")?;
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.context("find kills")?.trim().parse().context("read kills")
    }
}

/// The most memory that a process ever had in use, and what it has now, in bytes.
///
/// # Errors
/// It does not run.
pub(super) fn resident(process: u32) -> Result<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).context("read memory of the box")?;
    let of = |field: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.context("find memory of the box")?.trim().parse::<u64>()? * 1024)
    };
    Ok((of("VmHWM:")?, of("VmRSS:")?))
}
