//! Limits how fast content flows between this box and others.

use appliance::NodeError;
use appliance::api::{FlowWay, NetReport, SetLimit};

use super::Console;
use crate::config::Source;
use crate::mesh::Way;

impl Console {
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
}
