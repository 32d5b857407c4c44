//! What the API measures of the tracking store: looked up every few seconds, so that a scrape costs nothing.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Api;
use crate::http::{Metrics, Readiness};
use crate::store::Error;
use crate::task::{Stage, Status};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

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

    async fn look(&self, api: &Api) -> Result<(), Error> {
        let summary = api.tracking.summary().await?;
        for stage in Stage::ALL {
            let counts = summary.by_stage[stage.index()];
            for (status, count) in Status::ALL.into_iter().zip([counts.new, counts.started, counts.done, counts.failed])
            {
                let labels = TaskLabels { stage: stage.name(), status: status.name() };
                self.tasks.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let oldest = api.tracking.oldest_open().await?;
        self.oldest.set(oldest.map_or(0.0, |at| at.unix_ms() as f64 / 1000.0));
        Ok(())
    }
}

/// Keeps the gauges and the readiness up to date until the stop is requested.
pub async fn keep_gauges(api: Api, gauges: Gauges, readiness: Readiness) {
    let stop = api.stop.clone();
    tokio::select! {
        () = look_on(api, gauges, readiness) => {}
        () = stop.requested() => {}
    }
}

async fn look_on(api: Api, gauges: Gauges, readiness: Readiness) {
    loop {
        // A database that can only be read is no use: the ping writes.
        let problem = api.tracking.ping().await.err().map(|e| e.to_string());
        if let Some(problem) = &problem {
            log::warn!("the tracking database does not answer: {problem}");
        }
        let answers = problem.is_none();
        readiness.set("database", problem);
        if answers && let Err(e) = gauges.look(&api).await {
            log::warn!("cannot count the tasks: {e}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
