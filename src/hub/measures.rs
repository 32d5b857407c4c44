//! What the hub measures (docs/metrics.md).

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;
use tokio::time::Instant;

use super::store::{Backlog, CountReport};
use crate::base::bus::Lag;
use crate::base::http::Metrics;
use crate::base::http::metrics::Histograms;

/// Upper bounds in seconds of the time to a verdict: most of it is one commit.
const ACCEPT_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 5.0];

/// Upper bounds in seconds of operations of GraphQL: queries take milliseconds, subscriptions stay open.
const GRAPHQL_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 5.0, 60.0, 600.0, 3600.0];

/// Where a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Door {
    /// REST, and server-sent events.
    Rest,
    /// gRPC.
    Grpc,
    /// GraphQL, over any transport.
    Graphql,
}

impl Door {
    /// All doors.
    pub const ALL: [Self; 3] = [Self::Rest, Self::Grpc, Self::Graphql];

    /// The name, in settings and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::Graphql => "graphql",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    door: &'static str,
    event_type: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabels {
    door: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// What the doors measure; cloning shares it.
#[derive(Clone)]
pub struct Measures {
    events: Family<EventLabels, Counter>,
    accepts: Histograms<DoorLabels>,
    operations: Histograms<OperationLabels>,
    backlog: Gauge,
    oldest: Gauge<f64, std::sync::atomic::AtomicU64>,
    subscribers: Family<DoorLabels, Gauge>,
    deliveries: Family<DoorLabels, Counter>,
    lagged: Family<DoorLabels, Counter>,
}

/// A subscriber, counted as long as it is there.
pub struct Counted {
    subscribers: Gauge,
    deliveries: Counter,
    lagged: Counter,
}

/// An operation of GraphQL, measured when it is dropped.
pub struct Timed {
    histogram: Histogram,
    begun: Instant,
}

/// What the counting of minutes measures; cloning shares it.
#[derive(Clone, Default)]
pub struct MinuteMeasures {
    counted: Counter,
    repeated: Counter,
    unknown: Counter,
    lag: Gauge,
}

impl Measures {
    /// Registers the metrics of the doors.
    pub fn register(metrics: &Metrics) -> Self {
        let measures = Self {
            events: Family::default(),
            accepts: Family::new_with_constructor(|| Histogram::new(ACCEPT_BUCKETS)),
            operations: Family::new_with_constructor(|| Histogram::new(GRAPHQL_BUCKETS)),
            backlog: Gauge::default(),
            oldest: Gauge::default(),
            subscribers: Family::default(),
            deliveries: Family::default(),
            lagged: Family::default(),
        };
        for door in Door::ALL {
            // There from the beginning, so that the first one is seen as a change.
            measures.subscriber(door).end();
        }
        metrics.with_registry(|registry| {
            let help = "Events that came in, by what became of them: accepted, duplicate, rejected";
            registry.register("hub_events", help, measures.events.clone());
            let help = "Time from an event to its verdict";
            registry.register_with_unit("hub_accept", help, Unit::Seconds, measures.accepts.clone());
            let help = "Time of an operation of GraphQL; of a subscription the time for which it was open";
            registry.register_with_unit("hub_graphql", help, Unit::Seconds, measures.operations.clone());
            registry.register("hub_relay_backlog", "Events that are not on the bus yet", measures.backlog.clone());
            let help = "When the oldest event that waits for the bus was taken; 0 if none waits";
            registry.register("hub_relay_oldest_timestamp_seconds", help, measures.oldest.clone());
            registry.register("hub_subscribers", "Subscribers at the moment", measures.subscribers.clone());
            registry.register("hub_deliveries", "Events that were handed to subscribers", measures.deliveries.clone());
            let help = "Subscribers that were ended because they were too slow";
            registry.register("hub_lagged", help, measures.lagged.clone());
        });
        measures
    }

    /// Counts the verdicts of events. `event_type` is one that the hub knows, or `other`.
    pub fn verdict(&self, door: Door, event_type: &str, outcome: &'static str) {
        let labels = EventLabels { door: door.name(), event_type: event_type.to_owned(), outcome };
        self.events.get_or_create(&labels).inc();
    }

    /// Notes how long a call waited for its verdicts.
    pub fn accepted(&self, door: Door, took: Duration) {
        self.accepts.get_or_create(&DoorLabels { door: door.name() }).observe(took.as_secs_f64());
    }

    /// Measures an operation of GraphQL, `query`, `mutation` or `subscription`, until what is answered is dropped.
    pub fn graphql(&self, operation: &'static str) -> Timed {
        let histogram = self.operations.get_or_create(&OperationLabels { operation }).clone();
        Timed { histogram, begun: Instant::now() }
    }

    /// Counts a subscriber until what is answered is dropped.
    pub fn subscriber(&self, door: Door) -> Counted {
        let labels = DoorLabels { door: door.name() };
        let subscribers = self.subscribers.get_or_create(&labels).clone();
        subscribers.inc();
        let deliveries = self.deliveries.get_or_create(&labels).clone();
        Counted { subscribers, deliveries, lagged: self.lagged.get_or_create(&labels).clone() }
    }

    /// Shows what waits for the bus.
    pub fn show_backlog(&self, backlog: Backlog) {
        self.backlog.set(i64::try_from(backlog.events).unwrap_or(i64::MAX));
        self.oldest.set(backlog.oldest.map_or(0.0, |at| at.unix_ms() as f64 / 1000.0));
    }
}

impl Counted {
    /// An event was handed out.
    pub fn delivered(&self) {
        self.deliveries.inc();
    }

    /// The subscriber was too slow.
    pub fn lagged(&self) {
        self.lagged.inc();
    }

    fn end(self) {
        drop(self);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.subscribers.dec();
    }
}

impl Timed {
    /// What is handed on while the operation goes on.
    pub fn passed<T>(&self, what: T) -> T {
        what
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.histogram.observe(self.begun.elapsed().as_secs_f64());
    }
}

impl MinuteMeasures {
    /// Registers the metrics of the minutes.
    pub fn register(metrics: &Metrics) -> Self {
        let measures = Self::default();
        metrics.with_registry(|registry| {
            registry.register("hub_events_counted", "Events counted in their minutes", measures.counted.clone());
            let help = "Events that came again and were not counted again";
            registry.register("hub_events_repeated", help, measures.repeated.clone());
            let help = "Events of the bus that the store does not have";
            registry.register("hub_events_unknown", help, measures.unknown.clone());
            registry.register("hub_checkpoint_lag", "Events of the bus that are not counted yet", measures.lag.clone());
        });
        measures
    }

    /// Adds what became of a batch.
    pub fn counted(&self, report: CountReport) {
        self.counted.inc_by(report.counted);
        self.repeated.inc_by(report.repeated);
        self.unknown.inc_by(report.unknown);
    }

    /// Shows how far the counting is behind.
    pub fn show_lag(&self, lag: Lag) {
        self.lag.set(i64::try_from(lag.messages).unwrap_or(i64::MAX));
    }
}
