//! What people have stored: each object with what was acknowledged of it last.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::super::town::Town;
use crate::client::{Body, Request};
use crate::dice::Dice;

/// Sizes around those that the store tells apart: in a row, in one block, in several.
const SIZES: [usize; 5] = [0, 100, 5_000, 70_000, 1_300_000];
/// Objects stored at a time.
const BATCH: usize = 15;

/// All objects there should be.
pub(super) struct Belongings {
    bucket: &'static str,
    dice: Dice,
    stored: BTreeMap<String, Vec<u8>>,
    count: usize,
}

impl Belongings {
    pub(super) fn new(bucket: &'static str, dice: Dice) -> Self {
        Self {
            bucket,
            dice,
            stored: BTreeMap::new(),
            count: 0,
        }
    }

    /// Stores some more through these boxes in turn, and overwrites one.
    ///
    /// # Errors
    /// Something is not stored.
    pub(super) fn store(&mut self, town: &Town, through: &[usize]) -> Result<()> {
        for at in 0..BATCH {
            let number = *through
                .get(at % through.len())
                .context("nobody to store through")?;
            let status = self.store_one(town, number, SIZES[at % SIZES.len()], 0)?;
            ensure!(status == 200, "storing through box {number} answers {status}");
        }
        let (key, number) = (self.stored.keys().next().cloned(), through.first().copied());
        let (key, number) = key.zip(number).context("nothing to overwrite")?;
        let content = self.content(SIZES[2]);
        let status = self.put(town, number, (key, content), 0)?;
        ensure!(status == 200, "overwriting through box {number} answers {status}");
        Ok(())
    }

    /// Stores one of this size, by a clock that is so far ahead; the status of the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn store_one(
        &mut self,
        town: &Town,
        through: usize,
        bytes: usize,
        ahead_ms: i64,
    ) -> Result<u16> {
        self.count += 1;
        let key = format!("{:04}", self.count);
        let content = self.content(bytes);
        self.put(town, through, (key, content), ahead_ms)
    }

    fn put(
        &mut self,
        town: &Town,
        through: usize,
        (key, content): (String, Vec<u8>),
        ahead_ms: i64,
    ) -> Result<u16> {
        let home = &town.seats[through].home;
        let path = format!("/{}/{key}", self.bucket);
        let body = Body::Bytes(&content);
        let status = home
            .ask((&town.signer, ahead_ms), &Request::kept(("PUT", &path, ""), body))?
            .status;
        if status == 200 {
            self.stored.insert(key, content);
        }
        Ok(status)
    }

    /// Reads one that is there through a box; the status of the answer.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn read_one(&self, town: &Town, through: usize) -> Result<u16> {
        let key = self.stored.keys().next_back().context("nothing is stored")?;
        let path = format!("/{}/{key}", self.bucket);
        Ok(town.seats[through].home.get(&town.signer, &path)?.0)
    }

    /// Reads all of them through each of these boxes; how many there are.
    ///
    /// # Errors
    /// One is not there, or another.
    pub(super) fn are_all_there(&self, town: &Town, through: &[usize]) -> Result<usize> {
        for number in through {
            let home = &town.seats[*number].home;
            for (key, content) in &self.stored {
                let (status, body) = home.get(&town.signer, &format!("/{}/{key}", self.bucket))?;
                ensure!(
                    status == 200 && body == *content,
                    "{key} read through box {number}: {status}, {} of {} bytes",
                    body.len(),
                    content.len()
                );
            }
        }
        Ok(self.stored.len())
    }

    fn content(&mut self, bytes: usize) -> Vec<u8> {
        let words = (0..bytes.div_ceil(8)).flat_map(|_| self.dice.roll().to_le_bytes());
        words.take(bytes).collect()
    }
}
