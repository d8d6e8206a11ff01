//! Makes a box of a node: the admin API that people's tools talk to, and updates of its system.

pub mod api;
mod copies;
mod metrics;
mod node;
mod problem;
mod route;
mod server;
mod size;
mod socket;
mod span;
pub mod update;
mod verdict;

pub use copies::{CopiesFacts, NotKnown, Short};
pub use metrics::{DiskMeasure, Measures};
pub use node::{Node, NodeError};
pub use problem::Problem;
pub use server::AdminServer;
pub use size::{ByteSize, InvalidSize};
pub use socket::{AdminSocket, SocketError};
pub use span::lasted;
pub use verdict::{Facts, Trouble};
