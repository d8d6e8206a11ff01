//! Keys that customers keep (SSE-C): without theirs, whoever has all keys of the mesh does not read what it sealed.
//!
//! ```text
//! customer's key ─┬─ with K_dedup derives a K_dedup of its own ── seals blocks, as `block` has it
//!                 ├─ derives K_mask  ── hides the keys of these blocks, in the manifest
//!                 ├─ derives K_proof ── tells the right key from another
//!                 └─ derives K_tag   ── makes entity tags that tell nothing of the content
//! ```
//!
//! The key of a block is hidden by XOR with the keyed blake3 of the block's id: the mask is as good as random to whoever
//! lacks K_mask, and hides one key only, since an id belongs to one block and a block has one key. The customer's key itself is
//! kept nowhere: a version keeps a random salt and the keyed blake3 of it. What remains readable to the mesh are headers, tags,
//! sizes, and checksums that the client gave.

use std::fmt;

use zeroize::Zeroizing;

use super::block::{SealedBlock, seal_block};
use crate::model::{BlockRef, CustomerSeal};

const DEDUP: &str = "warren 2026-11 dedup of a customer's key";
const MASK: &str = "warren 2026-11 mask of block keys by a customer's key";
const PROOF: &str = "warren 2026-11 proof of a customer's key";
const TAG: &str = "warren 2026-11 entity tags by a customer's key";

/// A key that a customer keeps; erased from memory when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerKey(Zeroizing<[u8; 32]>);

impl CustomerKey {
    /// Takes the 32 bytes that a customer gives.
    pub fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// What a version keeps that is sealed with this key.
    pub(crate) fn seal(&self) -> CustomerSeal {
        let salt = super::random();
        CustomerSeal {
            salt,
            proof: *self.proof(&salt).as_bytes(),
        }
    }

    /// Whether this is the key of that seal.
    pub(crate) fn fits(&self, seal: &CustomerSeal) -> bool {
        // Compared in constant time.
        self.proof(&seal.salt) == seal.proof
    }

    /// An entity tag for content of this MD5, which tells nothing of it.
    pub(crate) fn tag(&self, md5: [u8; 16]) -> [u8; 16] {
        let mut tag = [0; 16];
        let hash = blake3::keyed_hash(&self.derived(TAG), &md5);
        tag.copy_from_slice(&hash.as_bytes()[..16]);
        tag
    }

    /// Seals a block; its key is hidden.
    pub(crate) fn seal_block(&self, dedup_key: &[u8; 32], content: &[u8]) -> SealedBlock {
        let both = Zeroizing::new([*self.0, *dedup_key].concat());
        let own = Zeroizing::new(blake3::derive_key(DEDUP, &both));
        let mut sealed = seal_block(&own, content);
        sealed.block.key = self.masked(&sealed.block);
        sealed
    }

    /// The block of [`Self::seal_block`] with the key that opens it.
    pub(crate) fn unmasked(&self, block: BlockRef) -> BlockRef {
        BlockRef {
            key: self.masked(&block),
            ..block
        }
    }

    /// Hides the key of a block, or shows it again.
    fn masked(&self, block: &BlockRef) -> [u8; 32] {
        let mask = blake3::keyed_hash(&self.derived(MASK), &block.id.0);
        let mut key = block.key;
        for (byte, mask) in key.iter_mut().zip(mask.as_bytes()) {
            *byte ^= mask;
        }
        key
    }

    fn proof(&self, salt: &[u8; 16]) -> blake3::Hash {
        blake3::keyed_hash(&self.derived(PROOF), salt)
    }

    fn derived(&self, context: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(blake3::derive_key(context, &*self.0))
    }
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::BlockOpener;

    fn opens(block: &BlockRef, sealed: &[u8]) -> bool {
        BlockOpener::new(block, &mut sealed.to_vec()).is_ok()
    }

    #[test]
    fn a_block_opens_with_the_key_of_its_customer_and_with_nothing_else() {
        let (key, other, mesh) = (CustomerKey::new([1; 32]), CustomerKey::new([2; 32]), [3; 32]);
        let SealedBlock { block, sealed } = key.seal_block(&mesh, b"secret");
        assert!(opens(&key.unmasked(block.clone()), &sealed));
        assert!(!opens(&block, &sealed));
        assert!(!opens(&other.unmasked(block.clone()), &sealed));
        // Whoever guesses the content and has the mesh's keys finds neither the block nor its key.
        let guessed = seal_block(&mesh, b"secret").block;
        assert_ne!(guessed.id, block.id);
        assert_ne!(guessed.key, key.unmasked(block.clone()).key);
        // Equal content under one key is stored once, and a copy may refer to it.
        assert_eq!(key.seal_block(&mesh, b"secret").block, block);
        assert_ne!(other.seal_block(&mesh, b"secret").block.id, block.id);
    }

    #[test]
    fn a_seal_knows_its_key_and_no_two_are_alike() {
        let (key, other) = (CustomerKey::new([1; 32]), CustomerKey::new([2; 32]));
        let seal = key.seal();
        assert!(key.fits(&seal) && !other.fits(&seal));
        assert_ne!(seal, key.seal());
        assert_ne!(key.tag([7; 16]), [7; 16]);
        assert_ne!(key.tag([7; 16]), other.tag([7; 16]));
        assert_eq!(format!("{key:?}"), "CustomerKey(…)");
    }
}
