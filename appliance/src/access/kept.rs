//! Keeps who may call the admin API: one file, readable by its owner alone.
//!
//! The file `access.json` in the state directory is a JSON object: `format`, 1; `password`, the PHC string of argon2id, absent
//! until one is set; `tokens`, a list of objects with `id`, `name`, `scope` (`read`, `operate` or `admin`), `digest` (BLAKE3 of
//! the token, in hexadecimal digits), `created` and `expires` (seconds since 1970). A file that has anything else counts as damaged: nobody is let in by it, and before it is replaced it is
//! renamed to `access.json.damaged-1`, or the first such name that is free.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::tokens::KeptToken;

/// The only format there has been.
const FORMAT: u32 = 1;

/// What stands in the file.
#[derive(Debug)]
pub(super) enum Found {
    /// All of it; nothing where there is no file yet.
    Whole(Kept),
    /// Nothing that we write, or what a newer version wrote.
    Damaged,
    /// It could not be read.
    Unreadable(io::Error),
}

/// Longer than any file we write, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) password: Option<String>,
    pub(super) tokens: Vec<KeptToken>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            format: FORMAT,
            password: None,
            tokens: Vec::new(),
        }
    }
}

impl Kept {
    /// Reads the file; where there is none, nobody has been let in yet.
    pub(super) fn read(path: &Path) -> Found {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
        match read {
            Ok(_) => Self::parse(&text).map_or(Found::Damaged, Found::Whole),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Whole(Self::default()),
            Err(error) => Found::Unreadable(error),
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let kept: Self = serde_json::from_slice(text).ok()?;
        (kept.format == FORMAT).then_some(kept)
    }

    /// Replaces the file, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let partial = path.with_extension("partial");
        // Made anew, so that nobody who opened an older one reads along.
        let _ = fs::remove_file(&partial);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        // Sync before renaming: after a crash the name must never point at a torn file.
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
    }
}

/// Renames a damaged file, so that it is not replaced: somebody may get something out of it.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    for number in 1_u32.. {
        let aside = path.with_extension(format!("json.damaged-{number}"));
        // Nobody else writes in the state directory, so the name stays free.
        if !fs::exists(&aside)? {
            return match fs::rename(path, &aside) {
                // Renamed before a write that failed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                renamed => renamed,
            };
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Scope;

    const FIXTURE: &str = include_str!("fixtures/access-1.json");

    fn fixture() -> Kept {
        Kept {
            format: 1,
            password: Some("$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$example".into()),
            tokens: vec![KeptToken {
                id: "0707070707".into(),
                name: "prometheus".into(),
                scope: Scope::Read,
                digest: [7; 32],
                created: 1_700_000_000,
                expires: 1_731_536_000,
            }],
        }
    }

    #[test]
    fn the_first_format_is_read() {
        assert_eq!(Kept::parse(FIXTURE.as_bytes()), Some(fixture()));
    }

    #[test]
    fn what_is_kept_reads_back_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.json");
        assert!(matches!(Kept::read(&path), Found::Whole(kept) if kept == Kept::default()));
        fixture().write(&path).unwrap();
        fixture().write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), FIXTURE.trim_end());
        assert!(matches!(Kept::read(&path), Found::Whole(kept) if kept == fixture()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_understood_is_no_file_of_ours() {
        for text in [
            "",
            "{}",
            r#"{"format":2,"tokens":[]}"#,
            r#"{"format":1,"tokens":[],"more":1}"#,
        ] {
            assert_eq!(Kept::parse(text.as_bytes()), None, "{text}");
        }
    }
}
