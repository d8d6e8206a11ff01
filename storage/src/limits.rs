//! How large the pieces are in which objects are stored, and how many keys change at a time.

use crate::model::Folding;
use crate::seal::BLOCK_BYTES_MAX;

/// How large the pieces are in which objects are stored, and how many keys change at a time. The product has one set;
/// simulations have smaller ones, so that a short run meets objects of many blocks and parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The most content a row carries itself.
    pub(crate) inline_bytes: usize,
    /// The most content one block holds; at most [`BLOCK_BYTES_MAX`].
    pub(crate) block_bytes: usize,
    /// A manifest whose CBOR is longer goes into blocks of its own.
    pub(crate) manifest_bytes: usize,
    /// The least a part of an upload has that is not the last.
    pub(crate) part_bytes_min: u64,
    /// When older versions are moved out of the row of their object.
    pub(crate) folding: Folding,
}

impl Limits {
    /// Those of the product.
    pub(crate) const PRODUCT: Self = Self {
        inline_bytes: 4096,
        block_bytes: BLOCK_BYTES_MAX,
        manifest_bytes: 4096,
        part_bytes_min: 5 << 20,
        folding: Folding::PRODUCT,
    };
}
