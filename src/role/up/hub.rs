//! The event hub within `up`.

use std::sync::Arc;

use super::super::{hub, hub_metrics};
use super::roles::{address, port_taken};
use super::watch::Roles;
use crate::base::boot::Failure;
use crate::base::shutdown::Stop;
use crate::hub::policy;
use crate::hub::settings::{Context, Settings};
use crate::pipeline::settings as pipeline;

/// The event hub.
pub(super) struct Hub {
    hub: Context,
    metrics: Context,
}

impl Hub {
    /// Binds its ports; those that the pipeline's settings say are its own.
    pub(super) async fn bind(own: &Settings, pipeline: &pipeline::Settings, stop: &Stop) -> Result<Self, Failure> {
        let mut own = Settings { server: pipeline.server.clone(), ..own.clone() };
        if own.server.port.is_some() {
            own.hub.grpc_port = 0;
        }
        let own = Arc::new(own);
        let mut hub = Context::new("event-hub", Arc::clone(&own), stop.clone());
        let mut metrics = Context::new("hub-metrics", own, stop.clone());
        hub.bind(hub::PORT, policy::POLICY).await.map_err(port_taken)?;
        hub.bind_more(hub.settings.hub.grpc_port, policy::POLICY).await.map_err(port_taken)?;
        metrics.bind(hub_metrics::PORT, hub_metrics::POLICY).await.map_err(port_taken)?;
        Ok(Self { hub, metrics })
    }

    /// Where it listens.
    pub(super) fn greeting(&self) -> String {
        let grpc = self.hub.more.first().map(|bound| bound.addr().to_string()).unwrap_or_default();
        format!(
            "  {:<18}http://{}/events  (gRPC there, too, and on {grpc})\n  {:<18}http://{}/health\n",
            self.hub.name,
            address(&self.hub),
            self.metrics.name,
            address(&self.metrics)
        )
    }

    /// Adds its roles to those that run.
    pub(super) fn start(self, roles: &mut Roles) {
        let Self { hub, metrics } = self;
        roles.spawn(async { (hub.name, hub::run(hub, hub::Args::default()).await) });
        roles.spawn(async { (metrics.name, hub_metrics::run(metrics, hub_metrics::Args::default()).await) });
    }
}
