//! What members say to each other about registers, as bytes: one version byte, then CBOR.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::reconfigure::Standing;
use super::scan::Told;
use crate::StoreError;
use crate::register::{Answer, Ballot, Configs, Epoch, Fences, Key, Operation, Reply, Request};

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
    /// Fences that whoever is believed to hold the partition is to raise.
    Raise(u16, Fences),
    /// How far the member has come with changes of voters.
    Standing,
    /// Configurations newer than these epochs, which are those of all partitions in order.
    Configs(Vec<Epoch>),
    /// Root rows have changed, or voters have something to do.
    Wake,
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
    /// The ballot under which a quorum has the fences; `None` where they could not be raised.
    Raised(Option<Ballot>),
    /// How far this member has come.
    Standing(Standing),
    /// All configurations of partitions that have newer ones.
    Configs(BTreeMap<u16, Configs>),
    /// It was heard.
    Woken,
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
