//! The file that says which tables the index is made of, and how far they hold the row log.
//!
//! It is replaced as a whole, once the tables it names are durable. Integers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `WRNx` |
//! | 1 | format version of the index: 1 |
//! | 1 | 1 if the row log is applied up to a frame, else 0 |
//! | 4, 8, 8 | that frame: segment, byte, LSN |
//! | 4 | number that the next table takes, at least |
//! | 4 | segments of the row log with drop records |
//! | … | of each: its number (4), bytes of drop records (8) |
//! | 4 | tables |
//! | … | of each: level (1; 0: fresh), number (4), bytes (8), CRC32C of the file (4); fresh ones newest first, others in key order |
//! | 4 | CRC32C of all before |

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crc_fast::crc32_iscsi;

use super::table::{Proof, TableNumber};
use super::{decode_place, encode_place, take};
use crate::disk::log::Placed;

const NAME: &str = "manifest";
const PARTIAL: &str = "manifest-partial";
const MAGIC: [u8; 4] = *b"WRNx";
const VERSION: u8 = 1;
const CRC: usize = 4;

/// How far the tables of the index hold the row log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last frame that is applied; `None` while the index is being filled.
    pub(super) applied: Option<Placed>,
    /// Bytes of drop records by segment.
    pub(super) drops: Vec<(u32, u64)>,
}

/// A table that the index is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    /// 0: fresh; else one more than the place of its level.
    pub(super) level: u8,
    /// Its number.
    pub(super) number: TableNumber,
    /// What proves its file.
    pub(super) proof: Proof,
}

/// What the index is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// How far the tables hold the row log.
    pub(super) progress: Progress,
    /// Number that the next table takes, at least.
    pub(super) next_number: TableNumber,
    /// The tables.
    pub(super) tables: Vec<Listed>,
}

impl Manifest {
    /// Reads the manifest in a directory; `None` if there is none.
    ///
    /// # Errors
    /// It is damaged, of another version, or cannot be read.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        match fs::read(directory.join(NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Self::decode(&read?)
                .map(Some)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "manifest is damaged")),
        }
    }

    /// Replaces the manifest in a directory, durably. The tables it names are durable already, but for their names.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(directory.join(PARTIAL))?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        let synced = File::open(directory)?;
        // The names of tables before the one name that relies on them.
        synced.sync_all()?;
        fs::rename(directory.join(PARTIAL), directory.join(NAME))?;
        synced.sync_all()
    }

    fn encode(&self) -> Vec<u8> {
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = MAGIC.to_vec();
        let applied = self.progress.applied;
        bytes.extend_from_slice(&[VERSION, u8::from(applied.is_some())]);
        bytes.extend_from_slice(&encode_place(applied.unwrap_or_default()));
        bytes.extend_from_slice(&self.next_number.to_le_bytes());
        bytes.extend_from_slice(&count(self.progress.drops.len()));
        for (segment, dropped) in &self.progress.drops {
            bytes.extend_from_slice(&segment.to_le_bytes());
            bytes.extend_from_slice(&dropped.to_le_bytes());
        }
        bytes.extend_from_slice(&count(self.tables.len()));
        for table in &self.tables {
            bytes.push(table.level);
            bytes.extend_from_slice(&table.number.to_le_bytes());
            bytes.extend_from_slice(&table.proof.bytes.to_le_bytes());
            bytes.extend_from_slice(&table.proof.crc.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32_iscsi(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (bytes, crc) = bytes.split_last_chunk::<CRC>()?;
        let mut rest = bytes.strip_prefix(&MAGIC)?.strip_prefix(&[VERSION])?;
        if crc32_iscsi(bytes).to_le_bytes() != *crc {
            return None;
        }
        let [is_applied] = take(&mut rest)?;
        let applied = decode_place(&take::<20>(&mut rest)?)?;
        let next_number = u32::from_le_bytes(take(&mut rest)?);
        let mut manifest = Self {
            progress: Progress {
                applied: (is_applied == 1).then_some(applied),
                drops: Vec::new(),
            },
            next_number,
            tables: Vec::new(),
        };
        for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
            let segment = u32::from_le_bytes(take(&mut rest)?);
            let dropped = u64::from_le_bytes(take(&mut rest)?);
            manifest.progress.drops.push((segment, dropped));
        }
        for _ in 0..u32::from_le_bytes(take(&mut rest)?) {
            let [level] = take(&mut rest)?;
            let number = u32::from_le_bytes(take(&mut rest)?);
            let bytes = u64::from_le_bytes(take(&mut rest)?);
            let crc = u32::from_le_bytes(take(&mut rest)?);
            manifest.tables.push(Listed {
                level,
                number,
                proof: Proof { bytes, crc },
            });
        }
        rest.is_empty().then_some(manifest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::disk::frame::Position;

    fn manifest() -> Manifest {
        let position = Position {
            segment: 2,
            offset: 4096,
        };
        let table = |level, number| Listed {
            level,
            number,
            proof: Proof {
                bytes: 258,
                crc: 0xAABB_CCDD,
            },
        };
        Manifest {
            progress: Progress {
                applied: Some(Placed { position, lsn: 77 }),
                drops: vec![(1, 300)],
            },
            next_number: 9,
            tables: vec![table(0, 8), table(1, 5)],
        }
    }

    #[test]
    fn a_manifest_reads_back_and_a_damaged_one_does_not() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Manifest::read(home.path()).unwrap(), None);
        for manifest in [Manifest::default(), manifest()] {
            manifest.write(home.path()).unwrap();
            assert_eq!(Manifest::read(home.path()).unwrap().unwrap(), manifest);
        }
        let bytes = manifest().encode();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(Manifest::decode(&damaged), None);
            assert_eq!(Manifest::decode(&bytes[..at]), None);
        }
    }

    #[test]
    fn the_format_stays_as_it_is() {
        let bytes = hex::encode(manifest().encode());
        let (body, crc) = bytes.split_at(bytes.len() - 8);
        assert_eq!(
            body,
            concat!(
                "57524e78",
                "01",
                "01",
                "02000000",
                "0010000000000000",
                "4d00000000000000",
                "09000000",
                "01000000",
                "01000000",
                "2c01000000000000",
                "02000000",
                "00",
                "08000000",
                "0201000000000000",
                "ddccbbaa",
                "01",
                "05000000",
                "0201000000000000",
                "ddccbbaa"
            )
        );
        let computed = crc32_iscsi(&hex::decode(body).unwrap());
        assert_eq!(crc, hex::encode(computed.to_le_bytes()));
    }
}
