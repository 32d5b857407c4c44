//! What the API measures of the tracking store: looked up every few seconds, so that a scrape costs nothing.

use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Api;
use super::watch::{Look, keep_looking};
use crate::http::{Metrics, Readiness};
use crate::store::Result;
use crate::task::{Stage, Status};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    stage: &'static str,
    status: &'static str,
}

/// The gauges of the tracking store.
#[derive(Debug, Clone, Default)]
pub struct Gauges {
    tasks: Family<TaskLabels, Gauge>,
    oldest: Gauge<f64, AtomicU64>,
}

impl Gauges {
    /// Registers the gauges.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let gauges = Self::default();
        metrics.with_registry(|registry| {
            registry.register("stage_tasks", "Tasks by stage and status", gauges.tasks.clone());
            let help = "Registration of the oldest task that is neither delivered nor failed; 0 if there is none";
            registry.register("oldest_pending_task_timestamp_seconds", help, gauges.oldest.clone());
        });
        gauges
    }
}

#[async_trait]
impl Look for (Api, Gauges) {
    fn name(&self) -> &'static str {
        "tracking database"
    }

    // A database that can only be read is no use: the ping writes.
    async fn ping(&self) -> Result<()> {
        self.0.grace.watch(self.0.tracking.ping()).await
    }

    async fn measure(&self) -> Result<()> {
        let (api, gauges) = self;
        let summary = api.tracking.summary().await?;
        for stage in Stage::ALL {
            let counts = summary.by_stage[stage.index()];
            for (status, count) in Status::ALL.into_iter().zip([counts.new, counts.started, counts.done, counts.failed])
            {
                let labels = TaskLabels { stage: stage.name(), status: status.name() };
                gauges.tasks.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let oldest = api.tracking.oldest_open().await?;
        gauges.oldest.set(oldest.map_or(0.0, |at| at.unix_ms() as f64 / 1000.0));
        Ok(())
    }
}

/// Keeps the gauges and the readiness up to date until the stop is requested.
pub async fn keep_gauges(api: Api, gauges: Gauges, readiness: Readiness) {
    let stop = api.stop.clone();
    keep_looking(&(api, gauges), readiness, stop).await;
}
