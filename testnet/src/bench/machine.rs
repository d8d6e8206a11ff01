//! Says on what machine the numbers were taken.

use std::fs;
use std::path::Path;
use std::thread;

use serde::Serialize;

/// What a reader needs to know to compare numbers; unknown facts are empty.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) processor: String,
    /// Cores that this process may use.
    pub(crate) cores: usize,
    /// MiB of memory.
    pub(crate) memory_mib: u64,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Type and options of the file system that holds the data.
    pub(crate) file_system: String,
    /// Runnable threads over the last minute as the run began: above 1 or so, others disturbed it.
    pub(crate) load: f64,
    /// `release` or `debug`; numbers of a debug build mean nothing.
    pub(crate) profile: &'static str,
}

impl Machine {
    /// Reads the facts before a run; `dir` holds the data.
    pub(crate) fn look(dir: &Path) -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let dir = fs::canonicalize(dir).unwrap_or_default();
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal")
                .and_then(kib)
                .unwrap_or(0)
                / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: mount_of(&read("/proc/mounts"), &dir).unwrap_or_default(),
            load: read("/proc/loadavg")
                .split(' ')
                .next()
                .and_then(|load| load.parse().ok())
                .unwrap_or(0.0),
            profile: if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let Self {
            processor,
            cores,
            memory_mib,
            kernel,
            file_system,
            load,
            profile,
        } = self;
        let memory = memory_mib.div_ceil(1024);
        format!(
            "{processor}, {cores} cores, {memory} GiB, Linux {kernel}, {file_system}; {profile} build, load before {load}"
        )
    }
}

fn field(text: &str, name: &str) -> Option<String> {
    let (_, value) = text
        .lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))?;
    Some(value.trim().to_owned())
}

fn kib(text: String) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse().ok()
}

/// Type and options of the mount with the longest path above `dir`.
fn mount_of(mounts: &str, dir: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?, words.next()?))
    });
    let above = mounts.filter(|(path, ..)| dir.starts_with(path));
    let (_, kind, options) = above.max_by_key(|(path, ..)| path.components().count())?;
    Some(format!("{kind} ({options})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_above_a_folder_is_named() {
        let mounts = "/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw,noatime 0 0\ntmpfs /data2 tmpfs rw 0 0\n";
        let of = |dir| mount_of(mounts, Path::new(dir));
        assert_eq!(of("/data/x").as_deref(), Some("xfs (rw,noatime)"));
        assert_eq!(of("/home").as_deref(), Some("ext4 (rw)"));
    }

    #[test]
    fn facts_are_found_by_their_whole_name() {
        assert_eq!(
            field("model\t: 2\nmodel name\t: X 1\n", "model name").as_deref(),
            Some("X 1")
        );
    }
}
