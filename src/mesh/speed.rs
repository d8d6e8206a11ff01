//! How fast content may flow: what a person said to the running box, and what holds for a while only.
//!
//! Both are kept in a file of text: the line `warren limits 1`, then `up` and `down`, each on a line with bytes per second or
//! `none`, and where it is to be slower for a while, `quiet` with the second since 1970 until when, and bytes per second. What
//! makes no sense counts as not said. A limit in the configuration counts for more than one said: whoever set it finds it
//! there.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use p2p::{Limits, Node};
use storage::model::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::removed::keep;
use crate::config::{MeshConfig, Rate, Source};

const HEADER: &str = "warren limits 1";
const FILE: &str = "limits";
/// The longest file read, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 10;
/// How often it is looked whether a quiet time is over.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The longest quiet time, in seconds: whoever wants to go without for longer sets a limit.
pub(crate) const QUIET_MAX: u64 = 7 * 24 * 3600;

/// Which way content flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From this box to others.
    Up,
    /// From others to this box.
    Down,
}

/// A time in which content flows no faster than this, either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// The second since 1970 at which it ends, by the clock here.
    pub(crate) until: u64,
    /// Bytes per second.
    pub(crate) bytes_per_s: u64,
}

/// How fast content may flow. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Speed {
    folder: PathBuf,
    said: Arc<Mutex<Said>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    limits: Limits,
    quiet: Option<Quiet>,
}

impl Said {
    /// What holds for a while at this second. What would last longer than any may was said by a clock that was set back since.
    fn quiet_at(&self, now: u64) -> Option<Quiet> {
        self.quiet
            .filter(|quiet| (1..=QUIET_MAX).contains(&quiet.until.saturating_sub(now)))
    }

    /// The limits that hold at this second.
    fn at(&self, now: u64) -> Limits {
        let Some(quiet) = self.quiet_at(now) else {
            return self.limits;
        };
        let lower =
            |said: Option<u64>| Some(said.map_or(quiet.bytes_per_s, |said| said.min(quiet.bytes_per_s)));
        Limits {
            sent: lower(self.limits.sent),
            received: lower(self.limits.received),
            ..self.limits
        }
    }
}

impl Speed {
    /// What holds at first: what the configuration says, else what is kept in this folder.
    pub(super) fn begin(config: &MeshConfig, folder: &Path) -> Self {
        let (up, down, quiet) = kept(folder);
        let rate = |setting: &crate::config::Setting<Rate>, kept| match setting.source {
            Source::Default => kept,
            _ => setting.value.0,
        };
        let limits = Limits {
            sent: rate(&config.limit_up, up),
            received: rate(&config.limit_down, down),
            relayed: None,
        };
        Self {
            folder: folder.to_owned(),
            said: Arc::new(Mutex::new(Said { limits, quiet })),
        }
    }

    /// What holds now.
    pub(super) fn now(&self) -> Limits {
        self.said().at(Timestamp::now().as_secs())
    }

    /// What was said, whatever holds for a while.
    pub(crate) fn limits(&self) -> Limits {
        self.said().limits
    }

    /// What holds for a while, if something does.
    pub(crate) fn quiet(&self) -> Option<Quiet> {
        self.said().quiet_at(Timestamp::now().as_secs())
    }

    /// Changes how fast content may flow one way, from now on and after the next start.
    ///
    /// # Errors
    /// It cannot be kept; it counts until the next start all the same.
    pub(super) async fn limit(&self, way: Way, bytes_per_s: Option<u64>) -> io::Result<()> {
        match way {
            Way::Up => self.said().limits.sent = bytes_per_s,
            Way::Down => self.said().limits.received = bytes_per_s,
        }
        self.remember().await
    }

    /// Begins a quiet time, or ends it.
    ///
    /// # Errors
    /// As [`Self::limit`].
    pub(super) async fn set_quiet(&self, quiet: Option<Quiet>) -> io::Result<()> {
        self.said().quiet = quiet;
        self.remember().await
    }

    async fn remember(&self) -> io::Result<()> {
        let (folder, said) = (self.folder.clone(), *self.said());
        let kept = tokio::task::spawn_blocking(move || remember(&folder, said)).await;
        kept.map_err(io::Error::other)?
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a node go by what holds, until stopped.
pub(super) async fn keep_to(speed: Speed, node: Node, stop: CancellationToken) {
    while stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
        let limits = speed.now();
        if node.limits() != limits {
            node.set_limits(limits);
        }
    }
}

fn remember(folder: &Path, said: Said) -> io::Result<()> {
    let (up, down) = (Rate(said.limits.sent), Rate(said.limits.received));
    let quiet = said
        .quiet
        .map(|quiet| format!("quiet {} {}\n", quiet.until, quiet.bytes_per_s));
    let quiet = quiet.unwrap_or_default();
    keep(
        &folder.join(FILE),
        &format!("{HEADER}\nup {up}\ndown {down}\n{quiet}"),
    )
}

fn kept(folder: &Path) -> (Option<u64>, Option<u64>, Option<Quiet>) {
    let path = folder.join(FILE);
    let is_small = fs::metadata(&path).is_ok_and(|file| file.len() <= FILE_BYTES_MAX);
    let text = is_small.then(|| fs::read_to_string(&path).ok()).flatten();
    let text = text.unwrap_or_default();
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return (None, None, None);
    }
    let lines: Vec<&str> = lines.collect();
    let said = |way: &str| {
        let mut said = lines.iter().filter_map(|line| line.strip_prefix(way));
        said.find_map(|rate| Rate::parse(rate).ok())
            .and_then(|rate| rate.0)
    };
    let quiet = lines.iter().find_map(|line| line.strip_prefix("quiet "));
    (said("up "), said("down "), quiet.and_then(read_quiet))
}

fn read_quiet(line: &str) -> Option<Quiet> {
    let (until, rate) = line.split_once(' ')?;
    let quiet = Quiet {
        until: until.parse().ok()?,
        bytes_per_s: rate.parse().ok()?,
    };
    (quiet.bytes_per_s > 0).then_some(quiet)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Quiet = Quiet {
        until: 1000,
        bytes_per_s: 50,
    };

    fn limits(sent: Option<u64>, received: Option<u64>) -> Limits {
        Limits {
            sent,
            received,
            relayed: None,
        }
    }

    #[test]
    fn limits_are_remembered_and_what_makes_no_sense_limits_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = (None, None, None);
        assert_eq!(kept(folder.path()), nothing);
        let said = |sent, received, quiet| Said {
            limits: limits(sent, received),
            quiet,
        };
        remember(folder.path(), said(Some(5_000_000), None, None)).unwrap();
        assert_eq!(kept(folder.path()), (Some(5_000_000), None, None));
        remember(folder.path(), said(Some(1_234_567), Some(999), Some(QUIET))).unwrap();
        assert_eq!(kept(folder.path()), (Some(1_234_567), Some(999), Some(QUIET)));
        for text in [
            "",
            "warren limits 2\nup 5M\n",
            "warren limits 1\nup 0\ndown fast\nquiet 5\n",
            "warren limits 1\nquiet 5 0\n",
        ] {
            fs::write(folder.path().join(FILE), text).unwrap();
            assert_eq!(kept(folder.path()), nothing, "{text:?}");
        }
    }

    #[test]
    fn a_quiet_time_slows_down_and_never_hurries_and_then_what_was_said_holds_again() {
        let said = Said {
            limits: limits(Some(30), None),
            quiet: Some(QUIET),
        };
        assert_eq!(said.at(999), limits(Some(30), Some(50)));
        assert_eq!(said.at(1000), limits(Some(30), None));
        // The clock was far ahead when it began.
        let far = Said {
            quiet: Some(Quiet {
                until: QUIET_MAX + 2,
                ..QUIET
            }),
            ..said
        };
        assert_eq!((far.at(1), far.at(2)), (far.limits, limits(Some(30), Some(50))));
    }
}
