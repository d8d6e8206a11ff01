//! Many disks as one; today there is one disk, and every register has one replica.

mod blocks;
mod directory;
mod hot;
mod partitions;
mod releaser;
mod unsettled;

pub(crate) use blocks::{Blocks, Opened};
pub(crate) use directory::{BucketEntry, Directory, access_key_row, new_bucket};
pub(crate) use hot::{Hot, StepId, Weigh};
pub(crate) use partitions::{Partitions, decode};
pub(crate) use releaser::{Displaced, Lease, Owner, Pins, Releaser};
pub(crate) use unsettled::Unsettled;
