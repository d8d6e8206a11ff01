//! Encryption, always on: the key hierarchy, sealed blocks and sealed row parts.
//!
//! ```text
//! keys of nodes and of the recovery phrase ── open letters with ──┐
//! K_mesh (generations) ───────────────────────────────────────────┘
//!    ├─ wraps K_bucket (per bucket), and derives with it ── seals ── details of rows
//!    ├─ the first derives K_dedup ── with a block's content derives ── block key ── seals ── the block (see `customer` for keys of SSE-C)
//!    ├─ the first derives K_owner ── names the owner of a reference
//!    └─ derives K_root ── seals access keys, wrapped bucket keys and what signs certificates
//! ```
//!
//! Subkeys come from `blake3::derive_key` with one context string each, so that no key has two uses.
//!
//! Whoever has the disk but not `mesh.keys` sees in the row log bucket names, object keys, sizes, times, the MD5s of
//! contents and the ids of access keys. Contents, headers, tags and secrets are sealed.

mod aead;
mod block;
mod compress;
mod customer;
mod envelope;
mod keyring;
mod kit;
mod letter;
mod phrase;
mod secrets;

pub(crate) use block::{BLOCK_BYTES_MAX, BlockOpener, InvalidBlock, SealedBlock, seal_block};
pub use customer::CustomerKey;
pub(crate) use envelope::cbor;
pub(crate) use keyring::{BucketKey, Keyring};
pub use kit::RecoveryCopy;
pub use letter::NodeSecret;
pub(crate) use letter::is_node_key;
pub(crate) use secrets::{KeyringError, Secrets, recovery_file, write_file};

use crate::model::{BucketId, ObjectKey, Partition, WriteId};

/// Random bytes from the system.
///
/// # Panics
/// When the system has no source of randomness: nothing can be kept secret then.
#[allow(clippy::expect_used, reason = "without randomness no key can be made")]
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    crate::random::fill(&mut bytes).expect("the system provides random bytes");
    bytes
}

/// The name under which a write refers to its blocks: the partition of its key, the sweeps its gateway knew of when it began
/// (big-endian), and eleven bytes of a keyed hash, so that whoever keeps the block learns no more than these.
pub(crate) fn owner_of(keyring: &Keyring, bucket: BucketId, key: &ObjectKey, write: WriteId) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(keyring.owner_key());
    hasher.update(bucket.as_bytes());
    hasher.update(write.as_bytes());
    hasher.update(key.as_str().as_bytes());
    let mut owner = [0; 16];
    hasher.finalize_xof().fill(&mut owner);
    owner[0] = Partition::of(bucket, key).0;
    owner[1..5].copy_from_slice(&write.sweeps().to_be_bytes());
    owner
}
