//! What members say to each other about the rows they have: one byte (`0xC4`: about comparing rows, version 1), then CBOR.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::register::{Ballot, Epoch, Key, Stamp};

/// Calls and answers about comparing rows begin with it.
const ABOUT_ROWS: u8 = 0xC4;

/// Partitions, each with the epoch under which it is asked about.
pub(super) type Views = Vec<(u16, Epoch)>;

/// What do you have of these partitions?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Call {
    /// The sums of all slots.
    Sums(Views),
    /// Every key in these slots, with its stamp.
    Heads(Views, Vec<u16>),
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Of those partitions among those asked about in which this member votes under that epoch, while no voter changes.
    Sums {
        /// These.
        partitions: Vec<u16>,
        /// The sum of each slot, 8 bytes, little-endian.
        sums: Bytes,
        /// What the member had promised in each of these partitions before it looked; nothing is said by older members.
        #[serde(default)]
        promised: Vec<Ballot>,
    },
    /// The keys and their stamps.
    Heads(Vec<(Key, Stamp)>),
}

/// Whether a call is about comparing rows.
pub(crate) fn is_about_rows(call: &[u8]) -> bool {
    call.first() == Some(&ABOUT_ROWS)
}

pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    let mut bytes = vec![ABOUT_ROWS];
    bytes.extend_from_slice(&crate::seal::cbor(message));
    bytes.into()
}

/// Reads [`encode`].
///
/// # Errors
/// `Damaged`: something else, or of another version.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let unreadable = |why: String| StoreError::Damaged(format!("a message about rows: {why}"));
    let cbor = bytes.strip_prefix(&[ABOUT_ROWS]);
    let cbor = cbor.ok_or_else(|| unreadable("of another version".into()))?;
    ciborium::from_reader(cbor).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_of_version_1_are_read_as_written() {
        let call = Call::Heads(vec![(7, 3)], vec![1, 4095]);
        let fixture = "c4a165486561647382818207038201190fff";
        assert_eq!(hex::encode(encode(&call)), fixture);
        assert_eq!(decode::<Call>(&hex::decode(fixture).unwrap()).unwrap(), call);
        let answer = |promised| Answer::Sums {
            partitions: vec![7],
            sums: Bytes::from_static(&[1, 2]),
            promised,
        };
        let of_older = "c4a16453756d73a26a706172746974696f6e7381076473756d73420102";
        let read: Answer = decode(&hex::decode(of_older).unwrap()).unwrap();
        assert_eq!(read, answer(Vec::new()));
        let answer = answer(vec![Ballot::barrier(3)]);
        let fixture = "c4a16453756d73a36a706172746974696f6e7381076473756d734201026870726f6d6973656481a36565706f63680365726f756e6400666d656d62657200";
        assert_eq!(hex::encode(encode(&answer)), fixture);
        assert_eq!(decode::<Answer>(&hex::decode(fixture).unwrap()).unwrap(), answer);
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(body: Vec<u8>) {
            let bytes = [&[ABOUT_ROWS][..], &body].concat();
            let _ = (decode::<Call>(&bytes), decode::<Answer>(&bytes), decode::<Call>(&body));
        }
    }
}
