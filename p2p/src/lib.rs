//! Finds, admits and connects the nodes of a mesh.

mod address;
mod blocks;
mod book;
mod callback;
mod calls;
mod certificate;
mod door;
mod event_loop;
mod frame;
mod gate;
mod gated;
mod heard;
#[cfg(any(test, feature = "hostile"))]
pub mod hostile;
mod identity;
mod introduction;
mod invite;
mod join;
mod joining;
mod links;
mod locked;
mod mesh_key;
mod node;
mod node_id;
mod notice;
mod pace;
mod paced;
mod port;
mod reach;
mod removal;
mod serve;
mod service;
mod start;
mod streams;
mod swarm;
#[cfg(test)]
mod tests;
mod traffic;
mod upkeep;

pub use address::{Address, Host as HostName, InvalidAddress};
pub use callback::{CallBackError, TAGS_MAX as CALLED_ABOUT_MAX};
pub use certificate::{Certificate, Claims, InvalidCertificate, NAME_BYTES_MAX, Role};
pub use frame::BODY_BYTES_MAX;
pub use identity::{Identity, IdentityError};
pub use invite::{ADDRESSES_MAX, InvalidInvite, Invite, InviteId};
pub use join::{Applicant, Application, GIFT_BYTES_MAX, GREETING_BYTES_MAX, Host, NotWelcome, Welcome};
pub use joining::JoinError;
pub use links::{LinkStatus, Path, PeerStatus, Transport};
pub use mesh_key::{InvalidMeshId, MeshId, MeshKey};
pub use node::Node;
pub use node_id::{InvalidNodeId, NodeId};
pub use reach::{Gateway, Reach};
pub use removal::Removed;
pub use service::{CallError, Class, Refusal, Service};
pub use start::{Limits, Options, StartError};
