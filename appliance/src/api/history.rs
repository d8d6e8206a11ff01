//! What the admin API says of the past: when the boxes were here, what they exchanged, and what homes keep for each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;

/// What this box saw of all boxes over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryShown {
    /// Version of this document.
    pub schema: Schema,
    /// The boxes, the one that answers first.
    pub boxes: Vec<BoxHistory>,
    /// What each home keeps for the others and they for it; empty while there is one home, or nothing known of any other.
    pub ledger: Vec<LedgerLine>,
}

/// What this box saw of a box. Hours and days of which it knows nothing, since it was off itself, are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BoxHistory {
    /// Its number in the mesh.
    pub member: u32,
    /// What people call the place.
    pub zone: String,
    /// What people call the box.
    pub name: String,
    /// What the box that answers exchanged with it in the last 24 hours, the oldest first; for itself, with all others.
    pub hours: Vec<HourOfTraffic>,
    /// When it was here in the last 12 months, the oldest first.
    pub days: Vec<DayOfPresence>,
    /// Days until it is full at the pace of the last month; absent where it does not fill, or that is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_in_days: Option<u64>,
}

/// What was exchanged with a box in an hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HourOfTraffic {
    /// When the hour began.
    pub from: String,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
}

/// How long a box was here on a day, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DayOfPresence {
    /// The day.
    pub date: String,
    /// Seconds that it was known to be here.
    pub here_seconds: u32,
    /// Seconds of which it is known whether it was.
    pub known_seconds: u32,
}

/// What a home keeps for the others, and they for it. Nobody notes who brought what: all that is stored counts as belonging
/// to all homes in equal parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerLine {
    /// The home.
    pub zone: String,
    /// Bytes of the others' parts that it keeps.
    pub gives_bytes: u64,
    /// Bytes of its own part that the others keep.
    pub takes_bytes: u64,
}
