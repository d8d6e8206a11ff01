//! The ed25519 key that makes a node itself, kept in one private file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use libp2p::identity::{DecodingError, Keypair};
use zeroize::Zeroizing;

use crate::NodeId;

/// First line of the file; names the format.
const HEADER: &str = "warren identity 1";

/// The longest file that can be an identity, in bytes.
const FILE_BYTES_MAX: u64 = 256;

/// Why a node has no identity to start with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Somebody else may read or change the file.
    #[error("{} can be read by other users (mode {mode:o}); if nobody used it: chmod 600 {}", .path.display(), .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not an identity.
    #[error("{} is damaged; restore it from a copy, or move it away to begin as a new node", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("{action} {}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was being done, e.g. "read".
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// The key that makes a node itself. The secret half never leaves it and is erased when dropped.
pub struct Identity {
    key: SigningKey,
}

impl Identity {
    /// Reads the identity kept at `path`, or makes one and keeps it there with mode 0600.
    ///
    /// A crash leaves either no file or a whole one.
    ///
    /// # Errors
    /// Others can read the file, it is damaged, or reading or writing fails.
    pub fn load_or_create(path: &Path) -> Result<Self, IdentityError> {
        match read(path) {
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => create(path),
            other => other,
        }
    }

    /// The public name of this node.
    pub fn node_id(&self) -> NodeId {
        NodeId::of(&self.key.verifying_key())
    }

    /// What it is made of, for whoever opens what was sealed to this node.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The key as connections use it; it erases itself too.
    pub(crate) fn keypair(&self) -> Result<Keypair, DecodingError> {
        let mut secret = Zeroizing::new(self.key.to_bytes());
        Keypair::ed25519_from_bytes(secret.as_mut_slice())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.node_id())
    }
}

fn read(path: &Path) -> Result<Identity, IdentityError> {
    let failed = |source| IdentityError::Io {
        path: path.into(),
        action: "read",
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed {
            path: path.into(),
            mode,
        });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    parse(&text).ok_or_else(|| IdentityError::Damaged { path: path.into() })
}

fn create(path: &Path) -> Result<Identity, IdentityError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(IdentityError::Random)?;
    let identity = Identity {
        key: SigningKey::from_bytes(&seed),
    };
    keep(path, &text_of(&identity)).map_err(|source| IdentityError::Io {
        path: path.into(),
        action: "write",
        source,
    })?;
    Ok(identity)
}

/// Writes a file that is private from its first byte, and appears whole or not at all.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    // A leftover of a crash may have other permissions; `create_new` makes ours count.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    file.write_all(text.as_bytes())?;
    // Sync before renaming: after a crash the name must never point at a torn key.
    file.sync_all()?;
    fs::rename(&partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Header, secret half and public half, a line each; the public half proves the secret one undamaged.
fn text_of(identity: &Identity) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(160));
    text.push_str(HEADER);
    text.push('\n');
    for byte in identity.key.as_bytes() {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).expect("four bits are a digit"));
        }
    }
    text.push('\n');
    text.push_str(&identity.node_id().to_string());
    text.push('\n');
    text
}

fn parse(bytes: &[u8]) -> Option<Identity> {
    let secret = bytes.split(|byte| *byte == b'\n').nth(1)?;
    if secret.len() != 64 {
        return None;
    }
    let mut seed = Zeroizing::new([0; 32]);
    for (byte, digits) in seed.iter_mut().zip(secret.chunks_exact(2)) {
        let digit = |at: usize| {
            char::from(digits[at])
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    let identity = Identity {
        key: SigningKey::from_bytes(&seed),
    };
    // One key has one text, so comparing it whole checks the header and the public half too.
    (text_of(&identity).as_bytes() == bytes).then_some(identity)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        (folder, path)
    }

    #[test]
    fn a_node_stays_itself_across_restarts() {
        let (_folder, path) = folder();
        let first = Identity::load_or_create(&path).unwrap();
        let second = Identity::load_or_create(&path).unwrap();
        assert_eq!(first.node_id(), second.node_id());
    }

    #[test]
    fn nobody_else_can_read_the_key() {
        let (_folder, path) = folder();
        Identity::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_what_to_do() {
        let (_folder, path) = folder();
        Identity::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = Identity::load_or_create(&path).unwrap_err();
        assert!(matches!(error, IdentityError::Exposed { mode: 0o644, .. }));
        assert!(error.to_string().contains("chmod 600"));
    }

    #[test]
    fn the_leftover_of_a_crash_does_no_harm() {
        let (_folder, path) = folder();
        fs::write(path.with_extension("partial"), "torn").unwrap();
        Identity::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_first_format_stays_readable() {
        let identity = parse(include_bytes!("../fixtures/identity-1")).unwrap();
        assert_eq!(
            identity.node_id().to_string(),
            "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a"
        );
    }

    proptest! {
        #[test]
        fn a_damaged_key_is_never_taken_for_another(at in 0_usize..136, flip in 1_u8..=255) {
            let (_folder, path) = folder();
            Identity::load_or_create(&path).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            fs::write(&path, &bytes).unwrap();
            prop_assert!(Identity::load_or_create(&path).is_err());
        }
    }
}
