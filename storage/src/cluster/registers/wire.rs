//! What members say to each other about registers, as bytes: one version byte, then CBOR.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::scan::Told;
use crate::StoreError;
use crate::register::{Answer, Key, Operation, Reply, Request};

const VERSION: u8 = 1;

/// A call to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call<C> {
    /// Requests to acceptors, each with its partition.
    Requests(Vec<(u16, Request)>),
    /// What stands in a range, from one key on, up to but without another.
    Tell { from: Key, to: Key, most: u32 },
    /// An operation for whoever is believed to hold the partition.
    Submit(u16, Operation<C>),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reaction<O> {
    /// One for each request, in order; some have none.
    Replies(Vec<Option<Reply>>),
    /// What stands in the range.
    Told(Told),
    /// What became of the operation.
    Answer(Answer<O>),
}

pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&crate::seal::cbor(message));
    bytes.into()
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, cbor)) => {
            ciborium::from_reader(cbor).map_err(|error| StoreError::Damaged(format!("message: {error}")))
        }
        _ => Err(StoreError::Damaged("message of another version".into())),
    }
}
