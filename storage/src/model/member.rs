//! Who takes part in a mesh: the number of a membership, the home it stands in, and what it may hold.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of a membership, unique for ever in a mesh; a node that lost its disk rejoins under a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u32);

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "m{}", self.0)
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a member may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Holds the keys of the mesh: takes rows and blocks, and votes.
    Trusted,
    /// Takes sealed blocks, and no rows.
    Vault,
    /// Votes on sealed rows, and takes neither blocks nor a place among the replicas of rows.
    Witness,
}

/// Why a text names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a zone has a name of 1 to 64 printable characters")]
pub struct InvalidZone;

/// The name of a site that fails as a whole, a home or a datacentre: 1–64 printable characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

impl Zone {
    /// Takes a name without the blanks around it.
    ///
    /// # Errors
    /// Empty, longer than 64 characters, or with control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidZone> {
        let text = text.trim();
        if (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidZone)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Zone {
    type Error = InvalidZone;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_has_a_printable_name() {
        assert_eq!(Zone::parse(" Anna’s attic ").unwrap().as_str(), "Anna’s attic");
        for text in ["", "  ", "a\nb", &"x".repeat(65)] {
            assert_eq!(Zone::parse(text), Err(InvalidZone), "{text:?}");
        }
    }
}
