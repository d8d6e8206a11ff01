//! Many disks as one; today there is one disk, and every register has one replica.

mod blocks;
mod directory;
mod hot;
mod partitions;
pub mod peers;
mod registers;
mod releaser;

pub(crate) use blocks::{Blocks, Opened};
pub(crate) use directory::{BucketEntry, Directory};
pub(crate) use hot::{Hot, StepId, Weigh};
pub(crate) use partitions::{Claim, Partitions, Writes, decode};
pub(crate) use releaser::{Displaced, Lease, Owner, Pins, Releaser};
