//! Makes a box of a node: the admin API that people's tools talk to, and updates of its system.

mod access;
pub mod api;
mod console;
mod copies;
mod desk;
mod live;
mod metrics;
mod node;
mod page;
mod problem;
mod right;
mod routes;
mod server;
mod size;
mod socket;
mod span;
pub mod update;
mod verdict;

pub use access::{Access, AccessError};
pub use copies::{CopiesFacts, NotKnown, Short};
pub use desk::Desk;
pub use metrics::{DiskMeasure, Measures, RequestMeasure};
pub use node::{Node, NodeError};
pub use page::{PageOptions, PageServer};
pub use problem::Problem;
pub use right::Scope;
pub use server::AdminServer;
pub use size::{ByteSize, InvalidSize};
pub use socket::{AdminSocket, SocketError};
pub use span::lasted;
pub use verdict::{Facts, Trouble};
