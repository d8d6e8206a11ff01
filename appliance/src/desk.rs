//! What every request is answered from, whether it comes through the socket or from the page.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, AccessError};
use crate::api::{HttpsShown, Schema, Secret};
use crate::https::over_https;
use crate::live::Live;
use crate::routes::Routes;
use crate::{Facts, Node, Trouble};

/// The node, who may ask it, and the table of what can be asked.
pub struct Desk<N> {
    pub(crate) node: Arc<N>,
    pub(crate) access: Access,
    pub(crate) routes: Routes<N>,
    /// What the table is described as, once anybody has asked: anybody may, as often as it likes.
    pub(crate) description: OnceLock<Bytes>,
    pub(crate) live: Live,
    /// Where the page is; empty while it is off.
    pub(crate) page: Vec<String>,
    trouble: Option<Trouble>,
    /// Cancelled when nobody is to be answered any more, and who listens has to go.
    pub(crate) stop: CancellationToken,
}

impl<N: Node> Desk<N> {
    /// A desk whose page is at these URLs; none where it is off. `trouble` is what was wrong when it opened, beside what the
    /// node tells.
    pub fn new(node: Arc<N>, access: Access, page: Vec<String>, trouble: Option<Trouble>) -> Arc<Self> {
        Arc::new(Self {
            node,
            access,
            routes: Routes::new(),
            description: OnceLock::new(),
            live: Live::default(),
            page,
            trouble,
            stop: CancellationToken::new(),
        })
    }

    /// What the status is drawn from: what the node knows of itself, and what is wrong here.
    pub(crate) async fn facts(&self) -> Facts {
        let mut facts = self.node.facts().await;
        facts.troubles.extend(self.trouble.clone());
        facts.troubles.extend(self.access.trouble());
        facts
    }

    /// How the box speaks HTTPS.
    pub(crate) fn https(&self) -> HttpsShown {
        let over = |urls: &[String]| urls.iter().map(|url| over_https(url)).collect();
        match self.node.https() {
            None => HttpsShown {
                schema: Schema,
                s3: Vec::new(),
                page: Vec::new(),
                authority: None,
                certificate: None,
            },
            Some(facts) => HttpsShown {
                schema: Schema,
                s3: over(&facts.s3),
                page: over(&self.page),
                authority: Some(facts.authority),
                certificate: Some(facts.certificate),
            },
        }
    }

    /// Where the page is; empty while it is off.
    pub fn page(&self) -> &[String] {
        &self.page
    }

    /// Returns once what is being written of who may call is written: for when nobody is answered any more.
    pub async fn settle(&self) {
        self.access.settle().await;
    }

    /// A fresh login code, for as long as nobody has chosen a password; none where somebody has, or the page is off.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn first_login_code(&self) -> Result<Option<Secret>, AccessError> {
        let is_needed = !self.page.is_empty() && !self.access.has_password();
        is_needed.then(|| self.access.login_code()).transpose()
    }
}
