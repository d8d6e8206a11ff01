//! Keeps who may call the admin API: one file, readable by its owner alone.
//!
//! The file `access.json` in the state directory is a JSON object: `format`, 1; `password`, the PHC string of argon2id, absent
//! until one is set; `tokens`, a list of objects with `id`, `name`, `scope` (`read`, `operate` or `admin`), `digest` (BLAKE3 of
//! the token, in hexadecimal digits), `created` and `expires` (seconds since 1970). A file that has anything else is refused.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::AccessError;
use super::tokens::KeptToken;

/// The only format there has been.
const FORMAT: u32 = 1;

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
    pub(super) fn read(path: &Path) -> Result<Self, AccessError> {
        let failed = |source| AccessError::NotKept {
            path: path.into(),
            source,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
        Self::parse(&text).ok_or_else(|| AccessError::Malformed(path.into()))
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
        assert_eq!(Kept::read(&path).unwrap(), Kept::default());
        fixture().write(&path).unwrap();
        fixture().write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), FIXTURE.trim_end());
        assert_eq!(Kept::read(&path).unwrap(), fixture());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_not_understood_is_refused() {
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
