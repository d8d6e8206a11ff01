//! What clients do to rows, as values: submitted by a gateway, decided on the rows as they are, and safe to try again.
//!
//! A gateway prepares whatever needs time or secrets (hashing, sealing, storing blocks) and submits a [`Command`]. Where
//! the rows are, [`decide`] says what it does to them, without reading a clock or touching a disk.
//!
//! # Torn commands
//! Rows change one at a time. [`Decision::stages`] come one after the other, and the changes of one stage in any order,
//! so a crash may leave any part of one stage done, and nothing of those behind it. Every command is made so that one
//! single change of one row decides it, before which nothing of it is seen and behind which all of it is:
//!
//! | command | decided by | left over by a crash |
//! |---|---|---|
//! | put, delete, remove, expire, amend, settle | the object's row | nothing |
//! | fold | the object's row, which names the archive in `left` until it is written | the archive |
//! | unfold | the object's row, which names the archive in `left` from then on | the archive |
//! | start an upload | the upload's row | nothing |
//! | put a part | the part's row | nothing |
//! | complete | the object's row, which names the upload in `closing` | the upload's row still open, parts |
//! | abort, forget | the upload's row | parts |
//! | prune | nothing: the bucket is gone | any of the rows |
//! | everything in the directory | one row | nothing |
//!
//! Hence: an upload is open when its row is there, says so, and the object's row does not name it in `closing`. (Who reads
//! both reads the object's row first: an upload never opens again.) A part counts while its upload is open. Whoever
//! changes an object's row first finishes what stands in `closing`, and removes the archives in `left`; parts of an upload that is not open are garbage, and
//! [`Action::Forget`] drops them.
//!
//! # Trying again
//! Below `decide`, each row remembers the last four operations that changed it ([`Recent`]), also behind its removal. So
//! a submission that is tried again hears that it has happened, unless four others have changed the row since.
//!
//! # Format
//! A submission or an outcome on a wire is a version byte (5) and its CBOR, see `fixtures/commands-5.bin`.

mod complete;
mod fences;
mod fold;
mod key;
mod object;
mod outcome;
mod prune;
mod root;
mod rows;
#[cfg(test)]
mod tests;
mod upload;

pub use fences::Fences;
pub use key::{Action, ChosenPart, ObjectCommand, Rest};
pub use outcome::{Outcome, Refusal, Unneeded};
pub use root::RootCommand;
pub use rows::{Decision, Recent, Row, RowChange, RowKey, Rows};
pub(crate) use rows::{decode_row, encode_row};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Folding, OpId, Timestamp};
use crate::StoreError;

/// Version byte in front of the CBOR of a submission or an outcome.
const FORMAT: u8 = 5;

/// A command on its way to the rows it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The same however often it is tried. One operation submits at most one command per object key.
    pub op: OpId,
    /// How many sweeps the gateway knew of when the client's operation began, before it stored its first block. Only what
    /// adds something is measured by it.
    pub sweeps: u32,
    /// What to do.
    pub command: Command,
}

/// What to do, by which rows it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The rows of one object key.
    Object(ObjectCommand),
    /// One row of the directory.
    Root(RootCommand),
}

/// Bytes that are no submission, or no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommand {
    /// A newer Warren sent it.
    #[error("of version {0}; a newer Warren sent it")]
    NewerVersion(u8),
    /// Cut off, or something else.
    #[error("unreadable: {0}")]
    Unreadable(String),
}

/// Decides what a command does to the rows as they are. `now` is the earliest that it may be: locks are judged by it and by the
/// clock of whoever submitted the command, whichever is behind. `folding`: how many versions a row may have.
///
/// # Errors
/// A row cannot be read, or is not what its key says.
pub fn decide(
    submission: Submission,
    (now, folding): (Timestamp, Folding),
    fences: &Fences,
    rows: &dyn Rows,
) -> Result<Decision, StoreError> {
    if let Some(refusal) = fences.refuse(&submission) {
        return Ok(Decision::refused(refusal, Vec::new()));
    }
    match submission.command {
        Command::Object(command) => {
            let now = now.min(command.asked);
            key::decide(submission.op, (now, folding), command, rows)
        }
        Command::Root(command) => root::decide(submission.op, command, rows),
    }
}

impl Submission {
    /// As bytes for a wire.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// Not a submission that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidCommand> {
        decode(bytes)
    }
}

impl Outcome {
    /// As bytes for a wire.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads [`Self::encode`].
    ///
    /// # Errors
    /// Not an outcome that this version knows.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidCommand> {
        decode(bytes)
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&crate::seal::cbor(value));
    bytes
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, InvalidCommand> {
    match bytes.split_first() {
        Some((&FORMAT, cbor)) => {
            ciborium::from_reader(cbor).map_err(|error| InvalidCommand::Unreadable(error.to_string()))
        }
        Some((version, _)) => Err(InvalidCommand::NewerVersion(*version)),
        None => Err(InvalidCommand::Unreadable("empty".into())),
    }
}
