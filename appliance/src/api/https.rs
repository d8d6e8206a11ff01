//! How a box speaks HTTPS, and what has to be trusted for that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Schema;

/// How a box speaks HTTPS: on the ports that speak HTTP as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpsShown {
    /// Version of this document.
    pub schema: Schema,
    /// URLs that S3 clients use; empty while there is no certificate.
    pub s3: Vec<String>,
    /// URLs of the page; empty while there is no certificate, or no page.
    pub page: Vec<String>,
    /// What clients have to trust; absent before the mesh has one.
    pub authority: Option<HttpsAuthority>,
    /// What this box shows to clients; absent before the mesh has an authority.
    pub certificate: Option<HttpsCertificate>,
}

/// The certificate authority of a mesh: the same at each of its boxes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpsAuthority {
    /// How it is called in lists of authorities.
    pub name: String,
    /// Counts the authorities that the mesh had. Another begins when a box is removed, which knew the key of the one before.
    pub number: u64,
    /// Since when it is this one.
    pub since: String,
    /// Until when it is valid.
    pub until: String,
    /// SHA-256 of its certificate, in pairs of hexadecimal digits.
    pub fingerprint: String,
    /// The domains in which it may vouch for hosts, beside addresses that the internet does not route.
    pub domains: Vec<String>,
    /// Its certificate.
    pub pem: String,
}

/// The certificate of one box.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpsCertificate {
    /// SHA-256 of it, in pairs of hexadecimal digits.
    pub fingerprint: String,
    /// Host names and addresses for which it is valid.
    pub names: Vec<String>,
    /// Names and addresses of the box for which the authority may not vouch.
    pub left_out: Vec<String>,
    /// From when on it is valid.
    pub from: String,
    /// Until when; it is renewed a month before.
    pub until: String,
}
