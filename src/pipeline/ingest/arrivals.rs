//! What is measured of the events that come in.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::base::http::Metrics;
use crate::pipeline::ingest::accept::CheckedPost;
use crate::pipeline::stage_metrics::StageMetrics;
use crate::pipeline::task::Stage;

/// Where an event comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

const POST: SourceLabels = SourceLabels { source: "post" };
const GENERATOR: SourceLabels = SourceLabels { source: "generator" };

/// Counts events.
#[derive(Clone)]
pub(crate) struct Arrivals {
    received: Family<SourceLabels, Counter>,
    accepted: Family<SourceLabels, Counter>,
    stages: StageMetrics,
}

impl Arrivals {
    /// Registers the counters.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let arrivals =
            Self { received: Family::default(), accepted: Family::default(), stages: StageMetrics::of(metrics) };
        metrics.with_registry(|registry| {
            registry.register("events_received", "Events that came in", arrivals.received.clone());
            registry.register("events_accepted", "Events that came in and were taken", arrivals.accepted.clone());
        });
        arrivals
    }

    /// Counts a body whose accepted lines are durable.
    pub(crate) fn posted(&self, checked: &CheckedPost, bytes: u64) {
        self.received.get_or_create(&POST).inc_by(checked.accepted + checked.rejected_count);
        self.accepted.get_or_create(&POST).inc_by(checked.accepted);
        self.stages.add_bytes(Stage::EventIngest.name(), bytes);
        for (reason, lines) in checked.reasons.iter() {
            self.stages.add_rejected(Stage::EventIngest.name(), reason, lines);
        }
    }

    /// Counts a single posted event that was refused.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.received.get_or_create(&POST).inc();
        self.stages.add_rejected(Stage::EventIngest.name(), reason, 1);
    }

    /// Counts generated lines.
    pub(crate) fn generated(&self, lines: &[u8]) {
        let events = memchr::memchr_iter(b'\n', lines).count() as u64;
        self.received.get_or_create(&GENERATOR).inc_by(events);
        self.accepted.get_or_create(&GENERATOR).inc_by(events);
        self.stages.add_bytes(Stage::EventIngest.name(), lines.len() as u64);
    }
}
