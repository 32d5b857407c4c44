//! What a role measures of the calls that it makes: of its databases, and of other roles.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Histograms, Metrics};

/// Upper bounds in seconds: from one step in an index to the time after which a transaction is given up.
const DATABASE_BUCKETS: [f64; 10] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
/// Upper bounds in seconds: a claim that waits for work takes up to 30, a batch up to 45.
const CALL_BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 45.0];

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
pub(super) struct Calls {
    database: Histograms<DatabaseLabels>,
    services: Histograms<CallLabels>,
}

impl Calls {
    /// The families, registered.
    pub(super) fn register(ours: &mut Registry) -> Self {
        let calls = Self {
            database: Family::new_with_constructor(|| Histogram::new(DATABASE_BUCKETS)),
            services: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
        };
        let help = "Time of one database call";
        ours.register_with_unit("database_call_duration", help, Unit::Seconds, calls.database.clone());
        let help = "Time of one call of another role, from the request to the whole answer";
        ours.register_with_unit("service_call_duration", help, Unit::Seconds, calls.services.clone());
        calls
    }
}

impl Metrics {
    /// Measures a call of a store. A refusal is no success.
    pub fn observe_database(&self, store: &'static str, operation: &'static str, is_ok: bool, took: Duration) {
        let outcome = if is_ok { "ok" } else { "error" };
        let labels = DatabaseLabels { store, operation, outcome };
        self.calls.database.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Measures a call of another role. The route must come from a closed list.
    pub fn observe_call(&self, service: &'static str, route: String, outcome: &'static str, took: Duration) {
        let labels = CallLabels { service, route, outcome };
        self.calls.services.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
