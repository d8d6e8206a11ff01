//! What the admin API says of copies: where they are, what is missing, and why the verdict is what it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schema, Verdict};

/// How safe the data is, for programs that watch a box.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Version of this document.
    pub schema: Schema,
    /// The verdict in one word.
    pub verdict: Verdict,
    /// The verdict in one sentence.
    pub summary: String,
    /// How many copies there are.
    pub copies: CopiesShown,
    /// What would be lost if one home burned now, in a sentence.
    pub if_burned: String,
    /// Why the verdict is what it is, and what to do; empty when all is well.
    pub reasons: Vec<Reason>,
}

/// How many copies there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopiesShown {
    /// In how many homes there should be copies.
    pub goal: usize,
    /// In how many homes there are copies of everything that is known, but for what `problems` name.
    pub least: usize,
    /// Homes that may hold some.
    pub homes: usize,
    /// Whether nothing is unknown.
    pub known: bool,
}

/// What would be lost if these homes burned now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Burned {
    /// The homes.
    pub homes: Vec<String>,
    /// Whether everything is there and nowhere else.
    pub everything: bool,
    /// References to blocks that only they are known to have.
    pub blocks: u64,
    /// Bytes of these; at least that.
    pub bytes: u64,
    /// Changes of objects that only they are known to have.
    pub changes: u64,
    /// Bytes of which it is not known whether they are elsewhere.
    pub unknown_bytes: u64,
}

impl Burned {
    /// Whether nothing is known to be lost.
    pub fn is_nothing(&self) -> bool {
        !self.everything && self.blocks == 0 && self.changes == 0
    }
}

/// What a box may lack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Behind {
    /// References to blocks.
    pub blocks: u64,
    /// Bytes of these; at least that.
    pub bytes: u64,
    /// Changes of objects.
    pub changes: u64,
    /// Bytes of blocks that it may lack beside these, at most.
    pub unproven_bytes: u64,
    /// Seconds since the first of them is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_seconds: Option<u64>,
    /// Seconds until it has them at the rate of the last minutes; absent where nothing moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

impl Behind {
    /// Whether it is not known to lack anything.
    pub fn is_nothing(&self) -> bool {
        self.blocks == 0 && self.changes == 0 && self.unproven_bytes == 0
    }
}

/// Why the verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What this alone would make of the verdict.
    pub verdict: Verdict,
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}
