//! The mesh as this member sees it: a full copy of the root rows, and the changes of voters that follow from them.
//!
//! | file | its job |
//! |---|---|
//! | `view` | what root rows say about members, voters and what is wanted |
//! | `feed` | keeps this member's copy of all root rows true, and adopts the epochs in it |
//! | `closings` | closes a bucket for all gateways |
//! | `reshape` | does what a new voter has to do, and leads changes of voters where this member is the first in the root |
//! | `rotation` | gives the mesh new keys when a trusted member goes |
//! | `authority` | what signs the certificates that boxes show in their networks |
//! | `layout` | who is wanted to hold what: shown, previewed, paused, changed |
//! | `members` | who takes part |
//! | `force` | goes on without members that are lost for good |
//! | `invites` | who may join, once each |
//! | `recall` | asks at the start what the others remember of this disk |
//! | `presence` | since when members are here or away |

mod authority;
pub(crate) mod closings;
pub(crate) mod feed;
mod force;
#[cfg(test)]
mod force_tests;
mod invites;
mod layout;
mod members;
mod presence;
pub(crate) mod recall;
pub(crate) mod reshape;
mod rotation;
#[cfg(test)]
mod tests;
mod view;

pub use authority::Authority;
pub use force::Forced;
pub use layout::{Layout, LayoutPreview};
pub(crate) use members::{FOUNDER, first_config};
pub use members::{Membership, Parting, Welcome};
pub(crate) use presence::Presences;
#[cfg(any(test, feature = "simulation"))]
pub use reshape::Voters;
pub(crate) use view::{Mesh, View};
