//! What the admin API says and hears of the mesh: its boxes, how they are reached, and invites.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Behind, Schema, Secret};

/// One box of the mesh and the home it stands in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Home {
    /// What people call the place.
    pub zone: String,
    /// What people call the box.
    pub name: String,
    /// Its number in the mesh.
    pub member: u32,
    /// The node's id.
    pub node: String,
    /// Whether it is the node that answers.
    pub here: bool,
    /// Whether it serves.
    pub online: bool,
    /// Whether it hands over what it holds.
    pub draining: bool,
    /// Bytes in use; absent where the box does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// Bytes it may use.
    pub given_bytes: u64,
    /// What it may lack; absent where nobody can say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<Behind>,
    /// When all its blocks had been read and proven last; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
    /// Its version of Warren; absent where the box does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How it is reached; absent where it is not, and for the box that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PeerPath>,
    /// Seconds since it was last connected; absent where it is, or never was since the node that answers started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_seconds: Option<u64>,
}

/// How a box is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerPath {
    /// By which kind of way.
    pub kind: PathKind,
    /// The box that relays, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// What carries it: `QUIC` or `TCP`.
    pub transport: String,
    /// Seconds there and back, once measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_seconds: Option<f64>,
    /// Bytes per second of content sent this way while some was, measured last; absent before enough was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes_per_second: Option<u64>,
    /// Bytes per second of content that came this way while some did, measured last; absent before enough did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes_per_second: Option<u64>,
}

/// A kind of way between two boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PathKind {
    /// Inside one home.
    Lan,
    /// Across the internet, without help.
    Direct,
    /// Through another box.
    Relayed,
}

/// All boxes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerList {
    /// Version of this document.
    pub schema: Schema,
    /// This one first, the others by number.
    pub peers: Vec<Home>,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerInfo {
    /// Version of this document.
    pub schema: Schema,
    /// The box.
    #[serde(flatten)]
    pub peer: Home,
}

/// Asks to call a box by another name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenamePeer {
    /// Version of this document.
    pub schema: Schema,
    /// What it is to be called.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
}

/// Asks a box to hand over what it holds, or to keep it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainPeer {
    /// Version of this document.
    pub schema: Schema,
    /// Whether it is to hand over.
    pub draining: bool,
}

/// Asks that content flows no faster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLimit {
    /// Version of this document.
    pub schema: Schema,
    /// Which way.
    pub way: FlowWay,
    /// At most so many bytes per second; absent for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub bytes_per_second: Option<u64>,
}

/// Which way content flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowWay {
    /// From this box to others.
    Up,
    /// From others to this box.
    Down,
}

/// Asks that a box goes for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartWith {
    /// Version of this document.
    pub schema: Schema,
    /// Whether it goes although what only it has is lost with it.
    pub lose_data: bool,
}

/// Asks that the mesh goes on without boxes that are lost for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForceEpoch {
    /// Version of this document.
    pub schema: Schema,
    /// The boxes that are lost, by name or number.
    pub without: Vec<String>,
    /// Whether it is only to be said what that would mean.
    pub dry_run: bool,
}

/// What going on without some boxes means, or meant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EpochForced {
    /// Version of this document.
    pub schema: Schema,
    /// Parts of the mesh, of 257, of which those who are left had no quorum.
    pub partitions: usize,
    /// Those of them that none of the boxes that are left held: everything in them is lost.
    pub emptied: usize,
}

/// A box has answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pong {
    /// Version of this document.
    pub schema: Schema,
    /// What people call it.
    pub name: String,
    /// Seconds between question and answer.
    pub answer_seconds: f64,
    /// How it was reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PeerPath>,
}

/// What a new box is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Holds the keys of the mesh, votes, serves clients.
    Trusted,
    /// Stores what it cannot read.
    Vault,
    /// Votes on what it cannot read, stores no blocks.
    Witness,
}

/// Asks for an invite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvite {
    /// Version of this document.
    pub schema: Schema,
    /// What it makes of whoever joins.
    pub role: Role,
    /// For how many seconds it works: 2,592,000 at most, which are 30 days.
    #[schemars(range(min = 1, max = 2_592_000))]
    pub valid_seconds: u64,
}

/// An invite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Invite {
    /// Names it.
    pub id: String,
    /// What it makes of whoever joins.
    pub role: Role,
    /// When it was made.
    pub created: String,
    /// From when on it works no more.
    pub expires: String,
    /// Whether it works.
    pub state: InviteState,
    /// The number of the box that joined with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<u32>,
}

/// Whether an invite works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InviteState {
    /// It lets a box in.
    Open,
    /// It has let a box in.
    Used,
    /// It is too old.
    Expired,
}

/// All invites.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InviteList {
    /// Version of this document.
    pub schema: Schema,
    /// The oldest first.
    pub invites: Vec<Invite>,
    /// Boxes that this one calls, or did of late, the one asked for last at the end.
    #[serde(default)]
    pub called: Vec<CalledBox>,
}

/// Asks that a box is called that waits with an invite where this one can reach it, and cannot reach this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallBox {
    /// Version of this document.
    pub schema: Schema,
    /// `HOST:PORT` at which it is reached.
    pub address: String,
}

/// A box that is called, until it is in or no invite is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CalledBox {
    /// Where.
    pub address: String,
    /// How far that has come.
    pub state: CallState,
    /// Why the last call came to nothing, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What the box is called, once it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How far the call of a box has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CallState {
    /// It is made, or about to be.
    Calling,
    /// It came to nothing so far, and is made again.
    InVain,
    /// The box answered, and asks to be let in.
    Answered,
    /// The box is in.
    LetIn,
    /// No invite is open any more.
    Over,
}

/// An invite just made: the only document that holds its token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedInvite {
    /// Version of this document.
    pub schema: Schema,
    /// The invite.
    #[serde(flatten)]
    pub invite: Invite,
    /// Whoever has it can join.
    pub token: Secret,
    /// The same in upper case, for a QR code.
    pub qr: Secret,
    /// Where the token says to knock, the best first.
    pub addresses: Vec<String>,
}

/// How a box can be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NetReport {
    /// Version of this document.
    pub schema: Schema,
    /// The node's id.
    pub node: String,
    /// Where it listens.
    pub listening: Vec<String>,
    /// Where it is believed to be reachable from everywhere.
    pub public: Vec<String>,
    /// Boxes through which it is reachable, by name.
    pub relays: Vec<String>,
    /// What the router said: `forwards`, `not-found` or `not-on-internet`; absent before it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<String>,
    /// Whether its router gives each conversation another port, which makes direct paths hard.
    pub symmetric_nat: bool,
    /// How the system spaces what is sent with TCP, e.g. `bbr`; absent where it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub congestion_control: Option<String>,
    /// How many bytes per second of content go out at most; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_up: Option<u64>,
    /// How many come in at most; absent where there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_down: Option<u64>,
    /// What holds for a while only; absent where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// How each other box is reached from here.
    #[serde(default)]
    pub peers: Vec<PeerReached>,
    /// What could be better and how, a sentence each.
    pub advice: Vec<String>,
}

/// How another box is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerReached {
    /// What it is called.
    pub name: String,
    /// By which way; absent where it is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PeerPath>,
}

/// A time in which content flows no faster than this, either way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quiet {
    /// When it ends.
    pub until: String,
    /// How many seconds that is from now.
    pub left_seconds: u64,
    /// At most so many bytes per second.
    pub bytes_per_second: u64,
}

/// Asks that content flows slowly for a while, so that the line is free for something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuiet {
    /// Version of this document.
    pub schema: Schema,
    /// For so many seconds from now; 0 ends it.
    #[schemars(range(max = 604_800))]
    pub seconds: u64,
    /// At most so many bytes per second; absent for about a phone call's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub bytes_per_second: Option<u64>,
}
