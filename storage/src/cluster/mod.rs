//! Many disks as one: registers and blocks over this disk and the peers.

mod blocks;
mod directory;
mod hot;
mod partitions;
pub(crate) mod peers;
mod registers;
mod releaser;
mod unsettled;

pub(crate) use blocks::{Blocks, Opened};
pub(crate) use directory::{BucketEntry, Directory, access_key_row, new_bucket};
pub(crate) use hot::{Hot, StepId, Weigh};
pub(crate) use partitions::{Partitions, decode, summary_of};
pub(crate) use releaser::{Displaced, Lease, Owner, Pins, Releaser};
pub(crate) use unsettled::Unsettled;
