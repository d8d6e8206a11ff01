//! What the admin API says and hears of who may call it: login codes and tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Schema, Secret};
use crate::Scope;

/// A code that lets one browser in, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginCode {
    /// Version of this document.
    pub schema: Schema,
    /// Twelve digits and letters in three groups with dashes: case, dashes and spaces do not matter.
    pub code: Secret,
    /// For how many seconds it works.
    pub valid_seconds: u64,
    /// Where the page is; empty while it is off.
    pub page: Vec<String>,
}

/// Who can log in to the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoginState {
    /// Version of this document.
    pub schema: Schema,
    /// Whether somebody has chosen a password.
    pub has_password: bool,
    /// Whether a login code works right now.
    pub has_code: bool,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Names it.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What its bearer may do.
    pub scope: Scope,
    /// When it was made.
    pub created: String,
    /// From when on it works no more.
    pub expires: String,
    /// Whether it works now.
    pub works: bool,
}

/// All tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenList {
    /// Version of this document.
    pub schema: Schema,
    /// The oldest first.
    pub tokens: Vec<Token>,
}

/// Asks for a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Version of this document.
    pub schema: Schema,
    /// What people will call it.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// What its bearer may do.
    pub scope: Scope,
    /// For how many seconds it works: a minute at least, two years at most.
    #[schemars(range(min = 60, max = 63_244_800))]
    pub valid_seconds: u64,
}

/// A token just made: the only document that holds its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CreatedToken {
    /// Version of this document.
    pub schema: Schema,
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// What goes into the header `Authorization: Bearer`.
    pub secret: Secret,
}

/// What a recovery kit says; the 24 words are kept nowhere, so that only a person can add them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Kit {
    /// Version of this document.
    pub schema: Schema,
    /// What people call the mesh.
    pub name: String,
    /// When it was asked for.
    pub made: String,
    /// The boxes and where they stand.
    pub homes: Vec<KitHome>,
    /// URLs of the page.
    pub page: Vec<String>,
    /// URLs that S3 clients use.
    pub s3: Vec<String>,
    /// The names of all buckets.
    pub buckets: Vec<String>,
    /// What people call the access keys.
    pub keys: Vec<String>,
    /// The keys of the mesh, sealed to the 24 words: `recovery.sealed` in hexadecimal digits.
    pub keys_sealed: String,
}

/// A box in a recovery kit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KitHome {
    /// What people call the place.
    pub zone: String,
    /// What people call the box.
    pub name: String,
}
