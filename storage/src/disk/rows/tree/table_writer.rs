//! Writes tables: rows that come in key order, into one or several files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crc_fast::{CrcAlgorithm, Digest, crc32_iscsi};

use super::block::BlockBuilder;
use super::filter::{Filter, KeyHash};
use super::table::{Proof, Table, TableNumber, file_name};
use super::{BLOCK_BYTES, table};

/// Bytes written at once.
const WRITE_BYTES: usize = 256 << 10;

/// A table that is being written.
pub(super) struct TableWriter {
    number: TableNumber,
    out: BufWriter<File>,
    written: u64,
    digest: Digest,
    block: BlockBuilder,
    /// Of each block: where it begins, and the first key.
    starts: Vec<(u64, Vec<u8>)>,
    hashes: Vec<KeyHash>,
    last_key: Vec<u8>,
    encoded: Vec<u8>,
}

impl TableWriter {
    /// Begins a table in `directory`.
    pub(super) fn create(directory: &Path, number: TableNumber) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(directory.join(file_name(number)))?;
        Ok(Self {
            number,
            out: BufWriter::with_capacity(WRITE_BYTES, file),
            written: 0,
            digest: Digest::new(CrcAlgorithm::Crc32Iscsi),
            block: BlockBuilder::default(),
            starts: Vec::new(),
            hashes: Vec::new(),
            last_key: Vec::new(),
            encoded: Vec::new(),
        })
    }

    /// Bytes of blocks that are complete.
    pub(super) fn bytes(&self) -> u64 {
        self.written
    }

    /// Adds the next row, or that it is forgotten.
    pub(super) fn add(&mut self, key: &[u8], entry: Option<&[u8]>) -> io::Result<()> {
        if !self.block.is_empty() && self.block.bytes_with(key, entry) > BLOCK_BYTES {
            self.finish_block()?;
        }
        if self.block.is_empty() {
            self.starts.push((self.written, key.to_vec()));
        }
        self.block.add(key, entry);
        self.hashes.push(KeyHash::of(key));
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        Ok(())
    }

    /// Completes the table, durably.
    pub(super) fn finish(mut self) -> io::Result<Table> {
        self.finish_block()?;
        let tail = table::Tail {
            blocks_end: self.written,
            rows: self.hashes.len() as u64,
            starts: &self.starts,
            last_key: &self.last_key,
            filter: &Filter::of(&self.hashes),
        };
        let tail = tail.encode();
        self.write(&tail)?;
        let (number, bytes, crc) = (self.number, self.written, self.digest.finalize());
        // The digest of a 32-bit CRC has no bits above 32.
        let crc = u32::try_from(crc).unwrap_or(u32::MAX);
        let file = self.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_data()?;
        Table::read_tail(file, number, Proof { bytes, crc })
    }

    fn finish_block(&mut self) -> io::Result<()> {
        let mut encoded = std::mem::take(&mut self.encoded);
        encoded.clear();
        self.block.finish_into(&mut encoded);
        encoded.extend_from_slice(&crc32_iscsi(&encoded).to_le_bytes());
        self.write(&encoded)?;
        self.encoded = encoded;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}

/// Tables written one after another; those of a writer that is dropped unfinished are removed.
pub(super) struct TablesWriter<'a> {
    directory: &'a Path,
    /// Bytes of a table that is followed by another.
    table_bytes: u64,
    next_number: &'a dyn Fn() -> TableNumber,
    open: Option<TableWriter>,
    begun: Vec<TableNumber>,
    tables: Vec<Table>,
}

impl<'a> TablesWriter<'a> {
    /// Begins tables in `directory`.
    pub(super) fn new(
        directory: &'a Path,
        table_bytes: u64,
        next_number: &'a dyn Fn() -> TableNumber,
    ) -> Self {
        Self {
            directory,
            table_bytes,
            next_number,
            open: None,
            begun: Vec::new(),
            tables: Vec::new(),
        }
    }

    /// Adds the next row, or that it is forgotten.
    pub(super) fn add(&mut self, key: &[u8], entry: Option<&[u8]>) -> io::Result<()> {
        if let Some(full) = self.open.take_if(|open| open.bytes() >= self.table_bytes) {
            self.tables.push(full.finish()?);
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let number = (self.next_number)();
                self.begun.push(number);
                none.insert(TableWriter::create(self.directory, number)?)
            }
        };
        open.add(key, entry)
    }

    /// Completes the tables, durably but for their names.
    pub(super) fn finish(mut self) -> io::Result<Vec<Table>> {
        if let Some(open) = self.open.take() {
            self.tables.push(open.finish()?);
        }
        self.begun.clear();
        Ok(std::mem::take(&mut self.tables))
    }
}

impl Drop for TablesWriter<'_> {
    fn drop(&mut self) {
        for number in &self.begun {
            // Whatever stays is removed at the next start.
            let _ = fs::remove_file(self.directory.join(file_name(*number)));
        }
    }
}
