//! How much a node takes on at once, by the size of the box.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Connections of S3 clients at most: an idle one costs about 10 KiB.
pub(crate) const CONNECTIONS_MAX: usize = 768;

/// Descriptors that a node may need at once: 768 clients of S3, 160 of the page and the admin API, those of a mesh, 128 files
/// of each log, and the tables of the index. Callers from the network never take the last one from the disk then.
const FILES_MIN: u64 = 4096;

/// Lets this process open as many files as it is ever allowed to, since 1,024, the usual beginning, are too few.
pub(crate) fn raise_files() {
    let limits = getrlimit(Resource::Nofile);
    let most = limits.maximum;
    // What the system does not grant stays as it was.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            maximum: most,
        },
    );
    let granted = getrlimit(Resource::Nofile).current;
    if granted.is_some_and(|files| files < FILES_MIN) {
        warn!(
            files = granted,
            needed = FILES_MIN,
            "few files may be open: raise LimitNOFILE or ulimit -n"
        );
    }
}

/// The most memory one request takes, in bytes: a window of blocks on their way to the disk.
const REQUEST_BYTES_MAX: u64 = 32 << 20;

/// How many requests are served at once: as many of the largest as half of the memory holds.
///
/// At least 16, so that the smallest box serves a family's devices (one of 1 GiB: 16 × 32 MiB =
/// 512 MiB); at most 256, beyond which a disk only gets slower.
pub(crate) fn requests_max(memory_bytes: u64) -> usize {
    let fitting = memory_bytes / 2 / REQUEST_BYTES_MAX;
    usize::try_from(fitting.clamp(16, 256)).unwrap_or(16)
}

/// How much content all writes together may hold in memory: an eighth of it, so that a box of 1 GiB
/// takes 128 MiB, eight large uploads at full speed; at most 512 MiB, more than any disk keeps up with.
pub(crate) fn write_bytes_max(memory_bytes: u64) -> usize {
    usize::try_from((memory_bytes / 8).clamp(32 << 20, 512 << 20)).unwrap_or(32 << 20)
}

/// How much content that was read lately is kept in memory while it is in use: a thirty-second part of it, so that a box
/// of 1 GiB keeps 32 MiB, and never more than 512 MiB: beyond that the rest of the box has better uses for it.
pub(crate) fn hot_bytes_max(memory_bytes: u64) -> u64 {
    (memory_bytes / 32).clamp(16 << 20, 512 << 20)
}

/// Bytes of memory this process may use: those of the box, or of its container or service if that has fewer.
pub(crate) fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    // `totalram` is as wide as a pointer.
    #[allow(clippy::useless_conversion, reason = "the width differs on 32-bit machines")]
    let total = u64::from(info.totalram).saturating_mul(u64::from(info.mem_unit));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // Where nothing limits a group, its file is missing, says `max`, or more than any box has.
    let limits = limit_files(&groups)
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    limits.fold(total, u64::min)
}

/// The files that limit the memory of a process in these groups (cgroups(7), `/proc/PID/cgroup`), of both versions: a group
/// has no more than any of those above it.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(
            group
                .ancestors()
                .map(|above| Path::new(root).join(above).join(file)),
        );
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fit_into_half_of_the_memory() {
        assert_eq!(requests_max(1 << 30), 16);
        assert_eq!(requests_max(4 << 30), 64);
        assert_eq!(requests_max(64 << 30), 256);
    }

    #[test]
    fn as_many_files_may_be_open_as_the_system_lets() {
        raise_files();
        let limits = getrlimit(Resource::Nofile);
        assert_eq!(limits.current, limits.maximum);
    }

    #[test]
    fn a_service_or_container_has_no_more_memory_than_any_group_it_is_in() {
        let paths = |groups| {
            let files = limit_files(groups).into_iter();
            files.map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            paths("0::/system.slice/warren.service\n"),
            [
                "/sys/fs/cgroup/system.slice/warren.service/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            paths("5:cpu,cpuacct:/x\n4:memory:/lab\nnonsense\n"),
            [
                "/sys/fs/cgroup/memory/lab/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            ]
        );
        assert_eq!(paths("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
    }

    #[test]
    fn this_box_has_memory() {
        assert!(memory_bytes() > 64 << 20);
    }
}
