//! Makes a box of a node: the admin API that people's tools talk to, and updates of its system.

mod access;
pub mod api;
mod console;
mod content;
mod copies;
mod desk;
mod kit;
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
pub use content::{Content, ContentError, FormEvent, FormReader, Pieces, Upload};
pub use copies::{CopiesFacts, NotKnown, Short};
pub use desk::Desk;
pub use kit::{keys_of_kit, kit_page};
pub use metrics::{DiskMeasure, Measures};
pub use node::{Node, NodeError, Objects};
pub use page::{PageOptions, PageServer};
pub use problem::Problem;
pub use right::Scope;
pub use server::AdminServer;
pub use size::{ByteSize, InvalidSize};
pub use socket::{AdminSocket, SocketError};
pub use span::lasted;
pub use verdict::{Facts, Trouble};
