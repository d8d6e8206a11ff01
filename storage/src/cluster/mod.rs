//! Many disks as one: registers and blocks over this disk and the peers.

mod blocks;
mod clock;
mod directory;
mod hot;
mod memories;
pub(crate) mod mesh;
#[cfg(test)]
pub(crate) mod neighbour_tests;
mod partitions;
pub(crate) mod peers;
pub(crate) mod registers;
mod releaser;
mod unsettled;

pub(crate) use blocks::{Around, Blocks, Departure, Opened};
pub(crate) use directory::{BucketEntry, Directory, access_key_row, new_bucket};
pub(crate) use hot::{Hot, StepId, Weigh};
pub use memories::Forgotten;
pub(crate) use memories::Memories;
pub(crate) use partitions::{HeardRow, Partitions, decode, partition_of, summary_of};
pub(crate) use registers::{Look, ROOT_PARTITION};
pub(crate) use releaser::{Displaced, Lease, Owner, Pins, Releaser};
pub(crate) use unsettled::Unsettled;
