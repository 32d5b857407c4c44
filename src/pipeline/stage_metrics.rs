//! What the stages measure of their work: tasks, lines and bytes.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::base::http::Metrics;
use crate::base::http::metrics::Histograms;

/// Upper bounds in seconds, from a tiny shard to a lease's length.
const TASK_BUCKETS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    stage: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    stage: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

/// The families of the stages; cloning shares them.
#[derive(Debug, Clone)]
pub struct StageMetrics {
    tasks: Histograms<OutcomeLabels>,
    lines: Family<OutcomeLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    bytes: Family<StageLabels, Counter>,
    processed: Family<StageLabels, Gauge<f64, AtomicU64>>,
}

impl StageMetrics {
    /// Those of this process.
    pub fn of(metrics: &Metrics) -> Self {
        metrics.families(Self::register)
    }

    fn register(ours: &mut Registry) -> Self {
        let stages = Self {
            tasks: Family::new_with_constructor(|| Histogram::new(TASK_BUCKETS)),
            lines: Family::default(),
            rejected: Family::default(),
            bytes: Family::default(),
            processed: Family::default(),
        };
        ours.register_with_unit("task_duration", "Time to do one task", Unit::Seconds, stages.tasks.clone());
        ours.register("lines", "Lines by what became of them", stages.lines.clone());
        ours.register("lines_rejected", "Rejected lines by reason", stages.rejected.clone());
        let help = "Size of what was written for the next stage";
        ours.register_with_unit("output", help, Unit::Bytes, stages.bytes.clone());
        let help = "When the stage last finished a task, as Unix time";
        ours.register_with_unit("last_processed_timestamp", help, Unit::Seconds, stages.processed.clone());
        stages
    }

    /// Counts one task and its time.
    pub fn observe_task(&self, stage: &'static str, outcome: &'static str, seconds: f64) {
        self.tasks.get_or_create(&OutcomeLabels { stage, outcome }).observe(seconds);
    }

    /// Counts lines.
    pub fn add_lines(&self, stage: &'static str, outcome: &'static str, n: u64) {
        self.lines.get_or_create(&OutcomeLabels { stage, outcome }).inc_by(n);
    }

    /// Counts rejected lines by their reason.
    pub fn add_rejected(&self, stage: &'static str, reason: &'static str, n: u64) {
        self.rejected.get_or_create(&ReasonLabels { stage, reason }).inc_by(n);
    }

    /// Counts bytes that a stage has written for the next one.
    pub fn add_bytes(&self, stage: &'static str, n: u64) {
        self.bytes.get_or_create(&StageLabels { stage }).inc_by(n);
    }

    /// Notes when a stage last finished something.
    pub fn processed(&self, stage: &'static str, unix_seconds: f64) {
        self.processed.get_or_create(&StageLabels { stage }).set(unix_seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_count_in_the_same_families() {
        let metrics = Metrics::new();
        let stages = StageMetrics::of(&metrics);
        stages.observe_task("split", "done", 0.2);
        stages.processed("split", 1.5);
        stages.add_lines("split", "routed", 4);
        StageMetrics::of(&metrics).add_lines("split", "routed", 3);
        let text = metrics.encode().unwrap();
        for line in [
            "shopctl_task_duration_seconds_count{stage=\"split\",outcome=\"done\"} 1",
            "shopctl_lines_total{stage=\"split\",outcome=\"routed\"} 7",
            "shopctl_last_processed_timestamp_seconds{stage=\"split\"} 1.5",
        ] {
            assert!(text.contains(&format!("\n{line}")), "{line} is missing in\n{text}");
        }
        assert_eq!(text.matches("# TYPE shopctl_lines ").count(), 1, "{text}");
    }
}
