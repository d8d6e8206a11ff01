//! Makes a box of a node: the admin API that people's tools talk to, and updates of its system.

mod access;
mod announce;
pub mod api;
mod console;
mod content;
mod copies;
mod desk;
mod https;
mod kit;
mod live;
mod metrics;
mod node;
mod page;
mod past;
mod problem;
mod right;
mod routes;
mod server;
mod setup;
mod size;
mod socket;
mod span;
mod support;
pub mod update;
mod verdict;

pub use access::{Access, AccessError, PasswordError};
pub use announce::{AnnounceError, Announcer, Offer, UNNAMED, local_name};
pub use content::{Content, ContentError, FormEvent, FormReader, Pieces, Upload};
pub use copies::{CopiesFacts, NotKnown, Short};
pub use desk::Desk;
pub use https::{Https, HttpsError, HttpsFacts, Names, Signer, new_authority, over_https};
pub use kit::{keys_of_kit, kit_page};
pub use metrics::{DiskMeasure, Measures, RequestMeasure};
pub use node::{Node, NodeError, Objects};
pub use page::{PageOptions, PageServer};
pub use past::{BoxPast, DayPast, HourPast, Past};
pub use problem::Problem;
pub use right::Scope;
pub use server::AdminServer;
pub use setup::{
    Became, DiskUse, DiskWish, Fresh, Maker, MeshWish, Setup, ShownOnce, SpareDisk, Suggestion, Wish,
};
pub use size::{ByteSize, InvalidSize};
pub use socket::{AdminSocket, SocketError};
pub use span::lasted;
pub use verdict::{Facts, Trouble};
