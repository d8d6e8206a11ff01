//! The file in which the past is kept: read at a start, replaced now and then.
//!
//! The file `history.json` in the state directory is a JSON object: `format`, 1; `boxes`, a list of objects with `node` (its id),
//! `hours`, a list of `[hour, bytes sent to it, bytes received from it]`, and `days`, a list of `[day, seconds it was here,
//! seconds of which that is known, bytes in use or null]`; hours and days are counted in UTC from 1970. A file that has anything
//! else counts as damaged: it is renamed to `history.json.damaged`, and the past begins anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::record::{DAY_SECONDS, Day, Hour, Record, Remembered};

/// The only format there has been.
const FORMAT: u32 = 1;

/// Longer than any file we write, in bytes: 400 boxes with a year each.
const FILE_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format: u32,
    boxes: Vec<KeptBox>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptBox {
    node: String,
    hours: Vec<(u32, u64, u64)>,
    days: Vec<(u32, u32, u32, Option<u64>)>,
}

/// What stands in the file.
#[derive(Debug)]
pub(super) enum Found {
    /// All of it; nothing where there is no file yet.
    Whole(Record),
    /// Nothing that we write, or what a newer version wrote.
    Damaged,
    /// It could not be read.
    Unreadable(io::Error),
}

/// Reads the file.
pub(super) fn read(path: &Path) -> Found {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => parse(&text).map_or(Found::Damaged, Found::Whole),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Whole(Record::default()),
        Err(error) => Found::Unreadable(error),
    }
}

/// Renames a damaged file, so that it is not replaced at once: a person, or a newer version, may get something out of it.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    fs::rename(path, path.with_extension("json.damaged"))
}

/// Replaces the file, whole or not at all.
pub(super) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // Left by a crash.
    let _ = fs::remove_file(&partial);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text)?;
    // Sync before renaming: after a crash the name must never point at a torn file.
    file.sync_all()?;
    fs::rename(&partial, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// The bytes of the file.
pub(super) fn text(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let boxes = record.0.iter().map(|(node, of)| KeptBox {
        node: node.to_string(),
        hours: of
            .hours
            .iter()
            .map(|(at, hour)| (*at, hour.sent, hour.received))
            .collect(),
        days: of
            .days
            .iter()
            .map(|(at, day)| (*at, day.here_seconds, day.known_seconds, day.used))
            .collect(),
    });
    serde_json::to_vec(&Kept {
        format: FORMAT,
        boxes: boxes.collect(),
    })
}

fn parse(text: &[u8]) -> Option<Record> {
    let kept: Kept = serde_json::from_slice(text).ok()?;
    if kept.format != FORMAT {
        return None;
    }
    let remembered = |of: KeptBox| {
        let days = of
            .days
            .into_iter()
            .map(|(at, here_seconds, known_seconds, used)| {
                let day = Day {
                    here_seconds,
                    known_seconds,
                    used,
                };
                (here_seconds <= known_seconds && known_seconds <= DAY_SECONDS).then_some((at, day))
            });
        let hours = of.hours.into_iter();
        let remembered = Remembered {
            hours: hours
                .map(|(at, sent, received)| (at, Hour { sent, received }))
                .collect(),
            days: days.collect::<Option<_>>()?,
        };
        Some((of.node.parse().ok()?, remembered))
    };
    kept.boxes
        .into_iter()
        .map(remembered)
        .collect::<Option<_>>()
        .map(Record)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::record::tests::node;
    use super::*;

    const FIXTURE: &str = include_str!("fixtures/history-1.json");

    fn fixture() -> Record {
        let of = Remembered {
            hours: [
                (480_000, Hour { sent: 1, received: 2 }),
                (
                    480_001,
                    Hour {
                        sent: u64::MAX,
                        received: 0,
                    },
                ),
            ]
            .into(),
            days: [
                (
                    19_999,
                    Day {
                        here_seconds: 86_000,
                        known_seconds: 86_400,
                        used: Some(212_000_000_000),
                    },
                ),
                (
                    20_000,
                    Day {
                        here_seconds: 0,
                        known_seconds: 10,
                        used: None,
                    },
                ),
            ]
            .into(),
        };
        Record([(node(1), of), (node(2), Remembered::default())].into())
    }

    #[test]
    fn the_first_format_is_read() {
        assert_eq!(parse(FIXTURE.as_bytes()), Some(fixture()));
    }

    #[test]
    fn what_is_kept_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.json");
        assert!(matches!(read(&path), Found::Whole(record) if record == Record::default()));
        for _ in 0..2 {
            write(&path, &text(&fixture()).unwrap()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), FIXTURE.trim_end());
        assert!(matches!(read(&path), Found::Whole(record) if record == fixture()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_understood_is_no_file_of_ours() {
        let of = |days: &str| {
            let node = node(1);
            format!(r#"{{"format":1,"boxes":[{{"node":"{node}","hours":[],"days":{days}}}]}}"#)
        };
        assert!(parse(of("[[1,2,3,null]]").as_bytes()).is_some());
        for text in [
            "",
            "{}",
            r#"{"format":2,"boxes":[]}"#,
            r#"{"format":1,"boxes":[],"more":1}"#,
            r#"{"format":1,"boxes":[{"node":"ben","hours":[],"days":[]}]}"#,
            &of("[[1,3,2,null]]"),
            &of("[[1,2,86401,null]]"),
            &of("[[-1,2,3,null]]"),
            &FIXTURE[..FIXTURE.len() / 2],
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
