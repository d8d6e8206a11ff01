//! Keeps objects safe on many disks: rows, blocks, sealing, and what clients do with them.

mod cluster;
pub mod disk;
mod error;
mod gift;
pub mod health;
mod limits;
pub mod model;
mod objects;
pub mod placement;
mod random;
pub mod register;
mod repair;
mod seal;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod store;
mod tasks;

pub use cluster::Forgotten;
#[cfg(any(test, feature = "simulation"))]
pub use cluster::mesh::Voters;
pub use cluster::mesh::{Authority, Forced, Layout, LayoutPreview, Membership, Parting, Welcome};
pub use cluster::peers::{Class, NoPeers, PeerError, Peers};
pub use error::{Digest, KeyTrouble, StoreError};
pub use gift::{Gift, Seat};
pub use objects::*;
pub use repair::scrub::ScrubStatus;
pub use repair::sweep::{Share, Swept, Waits};
pub use seal::{CustomerKey, NodeSecret, RecoveryCopy};
#[cfg(any(test, feature = "simulation"))]
pub use store::WantedReference;
pub use store::{FirstStart, Options, Store};
