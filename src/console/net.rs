//! Limits how fast content flows between this box and others, and says what vouches for it over HTTPS.

use appliance::api::{FlowWay, NetReport, SetLimit, SetQuiet};
use appliance::{HttpsFacts, NodeError};
use storage::model::Timestamp;

use super::Console;
use crate::config::Source;
use crate::endpoint;
use crate::mesh::{QUIET_MAX, Quiet, Way};

/// Bytes per second in a quiet time, unless told otherwise: what is urgent still comes, and a call beside it is not disturbed.
const QUIET_RATE: u64 = 30_000;

impl Console {
    /// What vouches for this box; none before there is a certificate.
    pub(crate) fn https_facts(&self) -> Option<HttpsFacts> {
        let s3 = endpoint::urls_called(self.s3, self.called.as_deref());
        self.certificates.https.facts(s3)
    }

    /// Has another authority sign for the mesh.
    pub(super) async fn authority_renewed(&self) -> Result<(), NodeError> {
        let replaced = self.certificates.replace().await;
        match replaced.map_err(|error| NodeError::Failed(error.into()))? {
            true => Ok(()),
            false => Err(NodeError::Busy),
        }
    }

    /// Limits one way, unless the configuration does.
    pub(super) async fn limit(&self, limit: &SetLimit) -> Result<NetReport, NodeError> {
        let mesh = &self.config.mesh;
        let (way, name, source) = match limit.way {
            FlowWay::Up => (Way::Up, "mesh.limit_up", &mesh.limit_up.source),
            FlowWay::Down => (Way::Down, "mesh.limit_down", &mesh.limit_down.source),
        };
        if *source != Source::Default {
            let why = format!("{name} is set by {source}: change it there");
            return Err(NodeError::Invalid(why));
        }
        if limit.bytes_per_second == Some(0) {
            return Err(NodeError::Invalid("a limit of nothing stops everything".into()));
        }
        let kept = self.mesh.set_limit(way, limit.bytes_per_second).await;
        kept.map_err(|error| NodeError::Failed(error.into()))?;
        Ok(self.net_report())
    }

    /// Has content flow slowly for a while, or no longer.
    pub(super) async fn quieten(&self, asked: &SetQuiet) -> Result<NetReport, NodeError> {
        let bytes_per_s = asked.bytes_per_second.unwrap_or(QUIET_RATE);
        if bytes_per_s == 0 {
            return Err(NodeError::Invalid("a limit of nothing stops everything".into()));
        }
        if asked.seconds > QUIET_MAX {
            let why = "a quiet time lasts 7 days at most: for longer, set a limit";
            return Err(NodeError::Invalid(why.into()));
        }
        let quiet = (asked.seconds > 0).then(|| Quiet {
            until: Timestamp::now().as_secs() + asked.seconds,
            bytes_per_s,
        });
        let kept = self.mesh.set_quiet(quiet).await;
        kept.map_err(|error| NodeError::Failed(error.into()))?;
        Ok(self.net_report())
    }
}
