//! What a role measures of its work: tasks and lines, and the calls that it makes itself.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Histograms, Metrics};
use crate::pipeline::timed::{Observer, Timing};

/// Upper bounds in seconds, from a tiny shard to a lease's length.
const TASK_BUCKETS: [f64; 10] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];
/// Upper bounds in seconds: from one step in an index to the time after which a transaction is given up.
const DATABASE_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Upper bounds in seconds: a claim that waits for work takes up to 30, a batch up to 45.
const CALL_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 45.0];

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseLabels {
    store: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    service: &'static str,
    route: String,
    outcome: &'static str,
}

/// The families.
#[derive(Debug, Clone)]
pub(super) struct Work {
    tasks: Histograms<OutcomeLabels>,
    lines: Family<OutcomeLabels, Counter>,
    rejected: Family<ReasonLabels, Counter>,
    bytes: Family<StageLabels, Counter>,
    processed: Family<StageLabels, Gauge<f64, AtomicU64>>,
    database: Histograms<DatabaseLabels>,
    calls: Histograms<CallLabels>,
}

impl Work {
    /// The families, registered.
    pub(super) fn register(ours: &mut Registry) -> Self {
        let work = Self {
            tasks: Family::new_with_constructor(|| Histogram::new(TASK_BUCKETS)),
            lines: Family::default(),
            rejected: Family::default(),
            bytes: Family::default(),
            processed: Family::default(),
            database: Family::new_with_constructor(|| Histogram::new(DATABASE_BUCKETS)),
            calls: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
        };
        ours.register_with_unit("task_duration", "Time to do one task", Unit::Seconds, work.tasks.clone());
        ours.register("lines", "Lines by what became of them", work.lines.clone());
        ours.register("lines_rejected", "Rejected lines by reason", work.rejected.clone());
        ours.register_with_unit(
            "output",
            "Size of what was written for the next stage",
            Unit::Bytes,
            work.bytes.clone(),
        );
        let help = "When the stage last finished a task, as Unix time";
        ours.register_with_unit("last_processed_timestamp", help, Unit::Seconds, work.processed.clone());
        ours.register_with_unit(
            "database_call_duration",
            "Time of one database call",
            Unit::Seconds,
            work.database.clone(),
        );
        let help = "Time of one call of another role, from the request to the whole answer";
        ours.register_with_unit("service_call_duration", help, Unit::Seconds, work.calls.clone());
        work
    }
}

impl Metrics {
    /// Counts one task and its time.
    pub fn observe_task(&self, stage: &'static str, outcome: &'static str, seconds: f64) {
        self.work.tasks.get_or_create(&OutcomeLabels { stage, outcome }).observe(seconds);
    }

    /// Counts lines.
    pub fn add_lines(&self, stage: &'static str, outcome: &'static str, n: u64) {
        self.work.lines.get_or_create(&OutcomeLabels { stage, outcome }).inc_by(n);
    }

    /// Counts rejected lines by their reason.
    pub fn add_rejected(&self, stage: &'static str, reason: &'static str, n: u64) {
        self.work.rejected.get_or_create(&ReasonLabels { stage, reason }).inc_by(n);
    }

    /// Counts bytes that a stage has written for the next one.
    pub fn add_bytes(&self, stage: &'static str, n: u64) {
        self.work.bytes.get_or_create(&StageLabels { stage }).inc_by(n);
    }

    /// Notes when a stage last finished something.
    pub fn processed(&self, stage: &'static str, unix_seconds: f64) {
        self.work.processed.get_or_create(&StageLabels { stage }).set(unix_seconds);
    }

    /// Measures a call of another role. The route must come from a closed list.
    pub fn observe_call(&self, service: &'static str, route: String, outcome: &'static str, took: Duration) {
        self.work.calls.get_or_create(&CallLabels { service, route, outcome }).observe(took.as_secs_f64());
    }

    /// Measures the calls of a store.
    pub fn database_observer(&self) -> Observer {
        let database = self.work.database.clone();
        Arc::new(move |timing: Timing| {
            let outcome = if timing.is_ok { "ok" } else { "error" };
            let labels = DatabaseLabels { store: timing.store, operation: timing.operation, outcome };
            database.get_or_create(&labels).observe(timing.took.as_secs_f64());
        })
    }
}
