//! What a caller of the admin API may do: one ladder, on which whoever may more may all that is below.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a request needs, or a caller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Right {
    /// Nothing: what anybody may know who reaches the box.
    Anyone,
    /// See all but secrets, and what is in files.
    Read,
    /// Do what loses nothing and lets nobody in: pause, verify, limit.
    Operate,
    /// Open and change what is stored, who may use it, and who takes part.
    Admin,
    /// Decide who may call this API: a person who is logged in, never a token, so that none can prolong itself.
    Owner,
    /// Get past the password: only whoever is at the box itself, through its socket.
    AtTheBox,
}

/// What a token of the admin API may do; each also what is above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// See all but secrets, and what is in files.
    Read,
    /// Do what loses nothing and lets nobody in: pause, verify, limit.
    Operate,
    /// Open and change what is stored, who may use it, and who takes part.
    Admin,
}

impl From<Scope> for Right {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Operate => Self::Operate,
            Scope::Admin => Self::Admin,
        }
    }
}

impl Right {
    /// The word for it in the API's description.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
            Self::Owner => "owner",
            Self::AtTheBox => "at-the-box",
        }
    }
}
