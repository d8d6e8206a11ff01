//! Many disks as one; today there is one disk, and every register has one replica.

mod blocks;
mod directory;
mod partitions;
mod releaser;

pub(crate) use blocks::{Blocks, Opened};
pub(crate) use directory::{BucketEntry, Directory};
pub(crate) use partitions::{Claim, Partitions, Writes};
pub(crate) use releaser::{Displaced, Lease, Pins, Releaser};
