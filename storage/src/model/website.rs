//! How a bucket is served as a website. Source: AWS S3 API reference, `WebsiteConfiguration`.

use serde::{Deserialize, Serialize};

/// How a bucket is served as a website.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Website {
    /// Every request is sent elsewhere.
    Elsewhere {
        /// Host name, with a port or without.
        host: String,
        /// Scheme; that of the request unless set.
        protocol: Option<Protocol>,
    },
    /// Its objects are pages.
    Pages {
        /// What is appended to a path that ends with `/`; holds no `/`.
        index: String,
        /// Key of the page that is shown for errors.
        error: Option<String>,
        /// Redirects: the first that applies counts; at most 50.
        rules: Vec<RoutingRule>,
    },
}

/// The scheme of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are those of URLs")]
pub enum Protocol {
    Http,
    Https,
}

impl Protocol {
    /// Its name in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// Reads [`Self::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|protocol| protocol.name() == name)
    }
}

/// Sends requests that meet its conditions elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingRule {
    /// What the key begins with.
    pub prefix: Option<String>,
    /// The error that the request would be answered with: 400 to 599.
    pub error: Option<u16>,
    /// Host name, with a port or without; that of the request unless set.
    pub host: Option<String>,
    /// Scheme; that of the request unless set.
    pub protocol: Option<Protocol>,
    /// What becomes of the key.
    pub replace: Option<Replacement>,
    /// The status of the redirect: 301 unless set.
    pub status: Option<u16>,
}

/// What becomes of the key in a redirect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replacement {
    /// It begins with this instead of the rule's prefix.
    Prefix(String),
    /// It is this.
    Key(String),
}
