//! Remembers how fast content may flow, where a person said so to the running box.
//!
//! The file is text: the line `warren limits 1`, then `up` and `down`, each on a line with bytes per second or `none`. What
//! makes no sense counts as not said. A limit in the configuration counts for more: whoever set it finds it there.

use std::path::Path;
use std::{fs, io};

use p2p::Limits;

use super::removed::keep;
use crate::config::{MeshConfig, Rate, Source};

const HEADER: &str = "warren limits 1";
const FILE: &str = "limits";
/// The longest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 10;

/// Which way content flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From this box to others.
    Up,
    /// From others to this box.
    Down,
}

/// The limits to begin with: those of the configuration, else what is kept in this folder.
pub(super) fn limits(config: &MeshConfig, folder: &Path) -> Limits {
    let kept = kept(folder);
    let rate = |setting: &crate::config::Setting<Rate>, kept| match setting.source {
        Source::Default => kept,
        _ => setting.value.0,
    };
    Limits {
        sent: rate(&config.limit_up, kept.0),
        received: rate(&config.limit_down, kept.1),
        relayed: None,
    }
}

/// Keeps limits for the next start.
pub(super) fn remember(folder: &Path, limits: Limits) -> io::Result<()> {
    let (up, down) = (Rate(limits.sent), Rate(limits.received));
    keep(&folder.join(FILE), &format!("{HEADER}\nup {up}\ndown {down}\n"))
}

fn kept(folder: &Path) -> (Option<u64>, Option<u64>) {
    let path = folder.join(FILE);
    let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
    let text = is_small.then(|| fs::read_to_string(&path).ok()).flatten();
    let text = text.unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return (None, None);
    }
    let lines: Vec<&str> = lines.collect();
    let said = |way: &str| {
        let mut said = lines.iter().filter_map(|line| line.strip_prefix(way));
        said.find_map(|rate| Rate::parse(rate).ok())
            .and_then(|rate| rate.0)
    };
    (said("up "), said("down "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_remembered_and_what_makes_no_sense_limits_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let limits = |sent, received| Limits {
            sent,
            received,
            relayed: None,
        };
        assert_eq!(kept(folder.path()), (None, None));
        remember(folder.path(), limits(Some(5_000_000), None)).unwrap();
        assert_eq!(kept(folder.path()), (Some(5_000_000), None));
        remember(folder.path(), limits(Some(1_234_567), Some(999))).unwrap();
        assert_eq!(kept(folder.path()), (Some(1_234_567), Some(999)));
        for text in [
            "",
            "warren limits 2\nup 5M\n",
            "warren limits 1\nup 0\ndown fast\n",
        ] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(kept(folder.path()), (None, None), "{text:?}");
        }
    }
}
