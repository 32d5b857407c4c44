//! Counts leases and attempts, for the metrics of the API.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::base::http::Metrics;
use crate::pipeline::apid::lease_end::LeaseEnd;
use crate::pipeline::task::{Claimed, Stage};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

/// The counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    expired: Family<StageLabels, Counter>,
    retries: Family<StageLabels, Counter>,
}

impl Counters {
    /// Registers the counters; each stage is there from the beginning, so that the first one is seen as a change.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let counters = Self::default();
        for stage in Stage::EventIngest.later() {
            let labels = StageLabels { stage: stage.name() };
            drop((counters.expired.get_or_create(&labels), counters.retries.get_or_create(&labels)));
        }
        metrics.with_registry(|registry| {
            let help = "Leases that ran out before their task was finished: it was taken over, or given up after its last attempt";
            registry.register("leases_expired", help, counters.expired.clone());
            let help = "Claims of a task that was attempted before";
            registry.register("task_retries", help, counters.retries.clone());
        });
        counters
    }

    /// Counts leases that ran out.
    pub(super) fn expired(&self, ends: &[LeaseEnd]) {
        for end in ends {
            self.expired.get_or_create(&StageLabels { stage: end.stage.name() }).inc();
        }
    }

    /// Counts what was handed out.
    pub(super) fn claimed(&self, stage: Stage, claimed: &[Claimed]) {
        let labels = StageLabels { stage: stage.name() };
        for task in claimed {
            // An answer that is given again is no attempt of its own.
            if task.attempt > 1 && !task.is_replay {
                self.retries.get_or_create(&labels).inc();
            }
        }
    }
}
