//! Finds, admits and connects the nodes of a mesh; so far: who this node is.

mod identity;
mod node_id;

pub use identity::{Identity, IdentityError};
pub use node_id::{InvalidNodeId, NodeId};
