//! What the admin API says and hears of upkeep: the layout, repairs, and verifying what is stored.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Behind, Schema};

/// Who is wanted to hold what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutShown {
    /// Version of this document.
    pub schema: Schema,
    /// Counts changes; 0 before the first.
    pub version: u64,
    /// Since when nothing changes by itself; absent while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// Parts of the mesh, of 257, that are changing hands right now.
    pub changing: usize,
    /// Each box.
    pub boxes: Vec<LayoutBox>,
    /// The last changes, the oldest first.
    pub history: Vec<LayoutEntry>,
}

/// What a box is wanted to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutBox {
    /// What people call it.
    pub name: String,
    /// Where it stands.
    pub zone: String,
    /// Its number in the mesh.
    pub member: u32,
    /// Parts of all blocks, of 256.
    pub blocks: usize,
    /// Parts of all rows, of 256, in which it votes.
    pub rows: usize,
}

/// A change of the layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutEntry {
    /// When.
    pub at: String,
    /// The box that decided it.
    pub by: String,
    /// Copies of parts of all blocks that had to be made.
    pub copies: u32,
    /// Parts of all rows that got other voters.
    pub rows: u32,
    /// Why.
    pub reasons: Vec<String>,
}

/// What would change next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutPreviewShown {
    /// Version of this document.
    pub schema: Schema,
    /// Why something would; empty where nothing would.
    pub reasons: Vec<String>,
    /// What waits.
    pub waits: Vec<LayoutWait>,
    /// Copies of parts of all blocks to be made.
    pub copies: usize,
    /// Bytes of these, about.
    pub bytes: u64,
    /// Parts of all rows that get other voters.
    pub rows: usize,
}

/// Something that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LayoutWait {
    /// What.
    pub what: String,
    /// Until when, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// Asks that something is paused, or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPaused {
    /// Version of this document.
    pub schema: Schema,
    /// Whether it is paused.
    pub paused: bool,
}

/// Everybody has been given a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settled {
    /// Version of this document.
    pub schema: Schema,
    /// Whether anything changes by that.
    pub changed: bool,
}

/// What is being repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepairShown {
    /// Version of this document.
    pub schema: Schema,
    /// Each box.
    pub boxes: Vec<RepairBox>,
}

/// What is being repaired at a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepairBox {
    /// What people call it.
    pub name: String,
    /// Its number in the mesh.
    pub member: u32,
    /// What it may lack.
    pub behind: Behind,
    /// Seconds since it said anything of itself; absent where it never did. What follows was so then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_seconds: Option<u64>,
    /// How many percent of what it holds are known to be wherever they should be, rounded down.
    pub proven_percent: u32,
    /// Since when it knows that it has every change that other voters have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<String>,
    /// In so many partitions somebody who could has not compared its rows with this one's yet; of 257.
    #[serde(default)]
    pub uncompared: u16,
    /// The last sweep of unreferenced blocks that it has done.
    pub swept: u32,
    /// How far verifying its blocks has come.
    pub scrub: ScrubShown,
}

/// Asks that all boxes free the blocks that nothing refers to, or how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskSweep {
    /// Version of this document.
    pub schema: Schema,
    /// What to go on with, as an earlier answer said; absent to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u32>,
}

/// How far freeing the blocks that nothing refers to has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepShown {
    /// Version of this document.
    pub schema: Schema,
    /// What to go on with: nothing happens further before that is asked again.
    pub until: u32,
    /// Whether nothing is left of what was unreferenced when this was begun.
    pub done: bool,
    /// Each box.
    pub boxes: Vec<SweepBox>,
}

/// What a box has freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SweepBox {
    /// What people call it.
    pub name: String,
    /// Its number in the mesh.
    pub member: u32,
    /// Blocks that it has freed, here and at others, since it started, once for each write that left them; absent where it
    /// does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed: Option<u64>,
    /// Blocks that it held when it last looked, once for each write that refers to them; absent where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// What it waits for; absent where it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<SweepWaits>,
}

/// Why a box is not done freeing blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SweepWaits {
    /// It is away.
    Away,
    /// It has lost rows, and frees nothing until a person decides about that.
    RowsLost,
    /// Somebody writes there who began before.
    Writing,
    /// It is at it.
    Sweeping,
}

/// How far verifying all blocks of a box has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScrubShown {
    /// Version of this document.
    pub schema: Schema,
    /// When the last whole pass ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// When the pass under way began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<String>,
    /// Blocks verified in this pass, or in the last.
    pub blocks: u64,
    /// Bytes read for it.
    pub bytes: u64,
    /// Blocks, and frames of them, that did not verify.
    pub damaged: u64,
    /// Whether a person paused it; of other boxes that is not known.
    pub paused: bool,
    /// Whether somebody asked for a pass that has not come to its end; of other boxes that is not known.
    #[serde(default)]
    pub asked: bool,
}

/// The directories in which a box keeps blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskList {
    /// Version of this document.
    pub schema: Schema,
    /// In the order in which the box numbers them.
    pub disks: Vec<DiskShown>,
}

/// A directory in which a box keeps blocks: usually a disk of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskShown {
    /// Where it is, or was last seen.
    pub path: String,
    /// How it is.
    pub state: DiskState,
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be used.
    pub given: u64,
    /// Blocks known to be damaged; other boxes bring them again.
    pub damaged: u64,
    /// Pieces of blocks that were lost when it was opened last, as a power cut can leave them.
    pub lost: u64,
}

/// How a directory of blocks is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskState {
    /// It serves and takes blocks.
    Serving,
    /// It serves blocks, and has no room for more.
    Full,
    /// Its device failed, or its file system has no room at all: it serves what it can, and takes nothing.
    Stopped,
    /// It is not there, or cannot be opened.
    Missing,
}

impl DiskState {
    /// In words.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Full => "full",
            Self::Stopped => "failed: takes nothing",
            Self::Missing => "not there",
        }
    }
}
