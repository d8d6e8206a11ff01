//! Keeps objects safe on many disks: rows, blocks, sealing, and what clients do with them.

mod cluster;
pub mod disk;
mod error;
pub mod model;
mod objects;
pub mod register;
mod repair;
mod seal;
mod store;

pub use error::{Digest, StoreError};
pub use objects::*;
pub use repair::scrub::ScrubStatus;
pub use store::{FirstStart, Options, Store};
