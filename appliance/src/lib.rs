//! Makes a box of a node: the admin API that people's tools talk to.

pub mod api;
mod node;
mod problem;
mod route;
mod server;
mod socket;
mod verdict;

pub use node::{Node, NodeError};
pub use problem::Problem;
pub use server::AdminServer;
pub use socket::{AdminSocket, SocketError};
pub use verdict::{Facts, Trouble};
