//! Metrics in the text formats of OpenMetrics and Prometheus; no global state, labels from closed sets only.
//!
//! `calls` measures the calls of databases and of other roles, `exposition` writes the formats. What a system measures
//! beside these it registers itself ([`Metrics::families`]). docs/metrics.md lists all of them.

mod calls;
mod exposition;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, Method};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use calls::Calls;
use exposition::Format;

use super::process::Process;
use super::version::{COMMIT, VERSION};

/// Upper bounds in seconds; a claim that waits for work takes up to 30.
const REQUEST_BUCKETS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 30.0];
/// The status under which a request is counted whose client left, or whose time was up, before an answer.
const UNANSWERED: u16 = 499;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

/// What all names of our own begin with.
const PREFIX: &str = "shopctl";

/// Histograms by their labels.
pub type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of one process; cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Histograms<RequestLabels>,
    in_flight: Gauge,
    refusals: Family<RefusalLabels, Counter>,
    calls: Calls,
    /// The families that the systems have registered, by their types.
    families: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// The metrics every role has.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let calls = Calls::register(registry.sub_registry_with_prefix(PREFIX));
        let metrics = Self {
            registry: Arc::new(Mutex::new(registry)),
            requests: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            in_flight: Gauge::default(),
            refusals: Family::default(),
            calls,
            families: Arc::default(),
        };
        for reason in ["unauthorized", "forbidden"] {
            // There from the beginning, so that the first one is seen as a change.
            drop(metrics.refusals.get_or_create(&RefusalLabels { reason }));
        }
        metrics.with_root(|root| {
            root.register_collector(Box::new(Process::new()));
            let requests = metrics.requests.clone();
            root.register_with_unit("http_request_duration", "Time to the response's head", Unit::Seconds, requests);
            root.register("http_requests_in_flight", "Requests that have no answer yet", metrics.in_flight.clone());
        });
        metrics.with_registry(|ours| metrics.register(ours));
        metrics
    }

    fn register(&self, ours: &mut Registry) {
        let build = Info::new(vec![("version", VERSION), ("commit", COMMIT)]);
        ours.register("build", "What is running", build);
        ours.register("auth_refused", "Calls refused for want of the right token", self.refusals.clone());
    }

    /// Registers more; names get the prefix `shopctl_`.
    pub fn with_registry(&self, f: impl FnOnce(&mut Registry)) {
        self.with_root(|root| f(root.sub_registry_with_prefix(PREFIX)));
    }

    /// The families of this type, registered when they are asked for first; names get the prefix `shopctl_`.
    pub fn families<T: Clone + Send + Sync + 'static>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        // An entry is made as a whole, so the map is usable even after a panic in between.
        let mut all = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(&TypeId::of::<T>()).and_then(|known| known.downcast_ref::<T>()) {
            return known.clone();
        }
        let made = self.with_root(|root| register(root.sub_registry_with_prefix(PREFIX)));
        all.insert(TypeId::of::<T>(), Box::new(made.clone()));
        made
    }

    /// Counts a refused call: `unauthorized` without a known token, `forbidden` with the token of another principal.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&RefusalLabels { reason }).inc();
    }

    /// Measures every request of this router; call it when all routes are in.
    pub fn track(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), measure))
    }

    /// The answer to a scrape, in the format that its headers ask for.
    ///
    /// # Errors
    /// A registered collector failed.
    pub fn scrape(&self, headers: &HeaderMap) -> Result<Response, std::fmt::Error> {
        let format = Format::asked_for(headers);
        let text = format.of(self.encode()?);
        Ok(([(CONTENT_TYPE, format.media_type()), (VARY, "accept")], text).into_response())
    }

    /// All metrics, as OpenMetrics.
    ///
    /// # Errors
    /// A registered collector failed.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        self.with_root(|root| encode(&mut text, root))?;
        Ok(text)
    }

    fn with_root<R>(&self, f: impl FnOnce(&mut Registry) -> R) -> R {
        // Registering only appends, so a registry is usable even after a panic in between.
        f(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Observes when dropped, so that requests count that panic or are given up.
struct Measured {
    metrics: Metrics,
    method: &'static str,
    route: String,
    status: Option<u16>,
    begun: Instant,
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        let status = self.status.unwrap_or(if std::thread::panicking() { 500 } else { UNANSWERED });
        let labels = RequestLabels { method: self.method, route: std::mem::take(&mut self.route), status };
        self.metrics.requests.get_or_create(&labels).observe(self.begun.elapsed().as_secs_f64());
    }
}

async fn measure(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    metrics.in_flight.inc();
    let mut measured = Measured { metrics, method, route, status: None, begun: Instant::now() };
    let response = next.run(request).await;
    measured.status = Some(response.status().as_u16());
    response
}

/// Clients may invent methods; labels may not be invented.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrape_has_the_promised_names() {
        let metrics = Metrics::new();
        metrics.observe_database("tracking", "ping", true, std::time::Duration::from_secs(1));
        metrics.with_registry(|registry| registry.register("extra", "More", Counter::<u64>::default()));
        let text = metrics.encode().unwrap();
        for line in [
            "shopctl_build_info{version=\"",
            "shopctl_database_call_duration_seconds_count{store=\"tracking\",operation=\"ping\",outcome=\"ok\"} 1",
            "shopctl_extra_total 0",
            "process_start_time_seconds ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.contains(&format!("\n{line}")), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
