//! The 256 slices of the key space, and which of them a key or a block falls into.

use serde::{Deserialize, Serialize};

use super::{BlockId, BucketId, ObjectKey};

/// One of the 256 slices of the key space; rows and blocks are placed a slice at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub u8);

impl Partition {
    /// How many there are.
    pub const COUNT: usize = 256;

    /// The slice of the rows of an object key: the first byte of blake3(bucket id ‖ key).
    ///
    /// The id is always 16 bytes, so that no two pairs share an input.
    pub fn of(bucket: BucketId, key: &ObjectKey) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bucket.as_bytes());
        hasher.update(key.as_str().as_bytes());
        Self(hasher.finalize().as_bytes()[0])
    }

    /// The slice of a block: the first byte of its id, which is a hash itself.
    pub fn of_block(block: &BlockId) -> Self {
        Self(block.0[0])
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slice_of_a_key_never_changes() {
        let of = |bucket, key: &str| {
            Partition::of(
                BucketId::from_bytes([bucket; 16]),
                &ObjectKey::parse(key.as_bytes()).unwrap(),
            )
            .0
        };
        // Rows on disk lie where these numbers say.
        assert_eq!([of(0, "a"), of(1, "a"), of(0, "photos/1.jpg")], [239, 195, 25]);
    }

    #[test]
    fn the_slice_of_a_block_is_the_first_byte_of_its_id() {
        assert_eq!(Partition::of_block(&BlockId([7; 32])), Partition(7));
        assert_eq!(Partition::all().count(), Partition::COUNT);
    }
}
