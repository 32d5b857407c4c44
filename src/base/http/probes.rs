//! What operators and orchestrators ask every role: `/health`, `/ready`, `/metrics`, `/version`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::metrics::Metrics;
use super::problem::{NOT_READY, Problem};
use super::version::{COMMIT, VERSION};
use crate::base::shutdown::Stop;

/// Whether the role can do its work, by named conditions; cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    unmet: Arc<Mutex<BTreeMap<&'static str, String>>>,
    is_draining: Arc<AtomicBool>,
}

impl Readiness {
    /// Ready, until a condition is said to be unmet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what is wrong with a condition, or that it is met.
    pub fn set(&self, name: &'static str, problem: Option<String>) {
        // A map is whole after every call, so a panic elsewhere cannot have left half of one.
        let mut unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        match problem {
            Some(problem) => unmet.insert(name, problem),
            None => unmet.remove(name),
        };
    }

    /// Turns `/ready` to 503 for good, so that clients send no more work.
    pub fn begin_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    fn unmet(&self, stop: &Stop) -> Vec<String> {
        let unmet = self.unmet.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sentences: Vec<String> = unmet.iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
        if self.is_draining.load(Ordering::Relaxed) || stop.is_requested() {
            sentences.push("draining: no new work is taken".to_owned());
        }
        sentences
    }
}

/// The routes of the probes; `identity` is an object that `/version` shows beside the version.
pub fn routes(readiness: Readiness, metrics: Metrics, stop: Stop, identity: Value) -> Router {
    let version = about(identity);
    Router::new()
        .route("/ready", get(ready).with_state((readiness, stop)))
        .route("/metrics", get(scrape).with_state(metrics))
        .route("/health", get(async || Json(json!({"status": "ok"}))))
        .route("/version", get(async move || Json(version)))
}

fn about(identity: Value) -> Value {
    let mut about = json!({"version": VERSION, "commit": COMMIT});
    if let (Value::Object(about), Value::Object(identity)) = (&mut about, identity) {
        about.extend(identity);
    }
    about
}

/// Answers unknown paths and wrong methods with problems; call it when all routes are in.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async || Problem::not_found("this path"))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
}

async fn ready(State((readiness, stop)): State<(Readiness, Stop)>) -> Result<Json<Value>, Problem> {
    let unmet = readiness.unmet(&stop);
    if unmet.is_empty() {
        return Ok(Json(json!({"status": "ready"})));
    }
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, NOT_READY, unmet.join("; ")))
}

async fn scrape(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    match metrics.scrape(&headers) {
        Ok(answer) => answer,
        Err(cause) => Problem::internal().because(format!("cannot write the metrics: {cause}")).into_response(),
    }
}
