//! The node as a library: where the four crates meet. The `warren` program is its command line.

mod admin_client;
pub mod cli;
pub mod config;
mod console;
mod disks;
mod endpoint;
mod exchange;
mod first_start;
mod history;
mod https;
mod limits;
mod listen;
mod logging;
mod mesh;
pub mod node;
mod notify;
mod waiting;

pub use node::Node;
