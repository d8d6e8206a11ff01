//! What members say to each other about what a bucket holds: one byte (`0xC2`: about usage, version 1), then CBOR.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::model::{BucketId, Partition};

/// Calls and answers about usage begin with it.
const ABOUT_USAGE: u8 = 0xC2;

/// What do rows of these partitions hold of the bucket? The answer is a [`Usage`](crate::model::Usage).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Call {
    /// Which bucket.
    pub(super) bucket: BucketId,
    /// Which partitions.
    pub(super) partitions: Partitions,
}

/// A set of partitions, a bit for each: the lowest bit of the first byte is partition 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Partitions(#[serde(with = "serde_bytes")] [u8; Partition::COUNT / 8]);

impl Partitions {
    pub(super) fn insert(&mut self, partition: Partition) {
        if let Some(byte) = self.0.get_mut(usize::from(partition.0 / 8)) {
            *byte |= 1 << (partition.0 % 8);
        }
    }

    pub(super) fn contains(&self, partition: Partition) -> bool {
        let byte = self.0.get(usize::from(partition.0 / 8)).copied().unwrap_or(0);
        byte >> (partition.0 % 8) & 1 == 1
    }
}

/// Whether a call is about usage.
pub(super) fn is_about_usage(call: &[u8]) -> bool {
    call.first() == Some(&ABOUT_USAGE)
}

pub(super) fn encode<T: Serialize>(message: &T) -> Bytes {
    let mut bytes = vec![ABOUT_USAGE];
    bytes.extend_from_slice(&crate::seal::cbor(message));
    bytes.into()
}

/// Reads [`encode`].
///
/// # Errors
/// `Damaged`: something else, or of another version.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    let unreadable = |why: String| StoreError::Damaged(format!("a message about usage: {why}"));
    let cbor = bytes.strip_prefix(&[ABOUT_USAGE]);
    let cbor = cbor.ok_or_else(|| unreadable("of another version".into()))?;
    ciborium::from_reader(cbor).map_err(|error| unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Usage;

    const CALL: &str = "c2a2666275636b657450070707070707070707070707070707076a706172746974696f6e735820010200000000000000000000000000000\
        0000000000000000000000000000080";
    const TOLD: &str = "c2a26562797465731b0000000200000000676f626a6563747303";

    #[test]
    fn messages_of_version_1_are_read_as_written() {
        let mut partitions = Partitions::default();
        for partition in [0, 9, 255] {
            partitions.insert(Partition(partition));
            assert!(partitions.contains(Partition(partition)) && !partitions.contains(Partition(1)));
        }
        let bucket = BucketId::from_bytes([7; 16]);
        let call = Call { bucket, partitions };
        assert_eq!(hex::encode(encode(&call)), CALL);
        assert_eq!(decode::<Call>(&encode(&call)).unwrap(), call);
        let told = Usage {
            bytes: 1 << 33,
            objects: 3,
        };
        assert_eq!(hex::encode(encode(&told)), TOLD);
        assert_eq!(decode::<Usage>(&encode(&told)).unwrap(), told);
        assert!(decode::<Usage>(&[0xC1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_messages_never_panic(mut bytes: Vec<u8>) {
            bytes.insert(0, ABOUT_USAGE);
            let _ = (decode::<Call>(&bytes), decode::<Usage>(&bytes));
        }
    }
}
