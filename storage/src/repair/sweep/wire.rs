//! What members say to each other about the owners that their rows name: one byte (`0xC1`: about sweeps, version 1), then
//! CBOR.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::model::Partition;
use crate::register::Ballot;

/// Calls and answers about sweeps begin with it.
const ABOUT_SWEEPS: u8 = 0xC1;

/// Which owners do your rows name?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    /// The partitions that are asked about, and under which ballot alone anything may change.
    pub(super) ballots: Vec<(Partition, Ballot)>,
    /// The row to go on behind.
    pub(super) after: Option<Bytes>,
}

/// A page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// The partitions among those asked about in which this member votes and has promised the ballot and no other, and how
    /// often a row of each has changed.
    pub(super) closed: Vec<(Partition, u64)>,
    /// The second halves of the names of owners, eight bytes each.
    pub(super) owners: Bytes,
    /// The row to go on behind; `None` behind the last.
    pub(super) next: Option<Bytes>,
}

/// Whether a call is about sweeps.
pub(super) fn is_about_sweeps(call: &[u8]) -> bool {
    call.first() == Some(&ABOUT_SWEEPS)
}

pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    let mut bytes = vec![ABOUT_SWEEPS];
    bytes.extend_from_slice(&crate::seal::cbor(message));
    bytes.into()
}

/// Reads [`encode`].
///
/// # Errors
/// `Damaged`: something else, or of another version.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let unreadable = |why: String| StoreError::Damaged(format!("a message about sweeps: {why}"));
    let cbor = bytes.strip_prefix(&[ABOUT_SWEEPS]);
    let cbor = cbor.ok_or_else(|| unreadable("of another version".into()))?;
    ciborium::from_reader(cbor).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::MemberId;

    const CALL: &str =
        "c1a26762616c6c6f7473818207a36565706f63680265726f756e6403666d656d6265720165616674657243726f77";
    const TOLD: &str =
        "c1a366636c6f73656481820709666f776e6572735001010101010101010101010101010101646e657874f6";

    #[test]
    fn messages_of_version_1_are_read_as_written() {
        let ballot = Ballot {
            epoch: 2,
            round: 3,
            member: MemberId(1),
        };
        let call = Call {
            ballots: vec![(Partition(7), ballot)],
            after: Some(Bytes::from_static(b"row")),
        };
        assert_eq!(hex::encode(encode(&call)), CALL);
        assert_eq!(decode::<Call>(&encode(&call)).unwrap(), call);
        let told = Told {
            closed: vec![(Partition(7), 9)],
            owners: Bytes::from_static(&[1; 16]),
            next: None,
        };
        assert_eq!(hex::encode(encode(&told)), TOLD);
        assert_eq!(decode::<Told>(&encode(&told)).unwrap(), told);
        assert!(decode::<Told>(&[0xC2, 0]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(mut bytes: Vec<u8>) {
            bytes.insert(0, ABOUT_SWEEPS);
            let _ = (decode::<Call>(&bytes), decode::<Told>(&bytes));
        }
    }
}
