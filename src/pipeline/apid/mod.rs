//! The stage-status API (docs/contracts.md, 4): routes, handlers, long polling. It is stateless: all state is in the tracking
//! database, so that any number of instances may serve the same database. The APIs of the other services are in
//! [`super::balance`] and [`super::cache`].
//!
//! `documented` is the only list of API calls, and the OpenAPI document is made from it; [`router`] adds the three files of
//! the page.

mod askers;
mod authorization;
pub mod client;
mod counters;
mod decisions;
mod files;
mod gauges;
pub mod lease_end;
mod lease_log;
#[cfg(feature = "mysql")]
mod mysql;
pub mod open;
mod page;
mod progress;
mod sql;
mod sqlite;
mod stages;
pub mod store;
mod takeover_delay;
pub mod timed;
mod wake;
mod work;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::base::http::Metrics;
use crate::base::http::openapi::{Bearer, with_document};
use crate::base::http::problem::ProblemBody;
use crate::base::shutdown::Stop;
use crate::pipeline::apid::store::Tracking;
use crate::pipeline::event::ShardCount;
use crate::pipeline::task::TaskKey;
pub use crate::pipeline::task::wire::BASE;
use askers::Askers;
pub(crate) use authorization::POLICY;
use counters::Counters;
pub(crate) use gauges::keep_gauges;
use progress::ProgressCache;
use takeover_delay::TakeoverDelay;
pub use wake::Wakeups;

/// Bytes of a request's body (docs/contracts.md, 4).
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub struct Api {
    tracking: Arc<dyn Tracking>,
    wakeups: Wakeups,
    books: files::BooksCache,
    takeover_delay: TakeoverDelay,
    askers: Askers,
    progress: ProgressCache,
    stop: Stop,
    counters: Counters,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "shopctl stage-status API",
        description = "Tracks every (event file, shard) through its stages: who works on it, what came of it.",
        license(name = "MIT", identifier = "MIT")
    ),
    modifiers(&Bearer),
    components(schemas(ProblemBody)),
    tags(
        (name = "stages", description = "Moving tasks through their stages."),
        (name = "work", description = "Claims, leases and fencing: how several workers share the tasks."),
        (name = "files", description = "Looking at files, queues and sums.")
    )
)]
struct Document;

impl Api {
    /// The API over a tracking store.
    pub fn new(tracking: Arc<dyn Tracking>, stop: Stop, metrics: &Metrics) -> Self {
        let takeover_delay = TakeoverDelay::begin(Duration::from_millis(tracking.lease_ms()));
        Self {
            tracking,
            wakeups: Wakeups::default(),
            books: files::BooksCache::default(),
            takeover_delay,
            askers: Askers::default(),
            progress: ProgressCache::default(),
            stop,
            counters: Counters::register(metrics),
        }
    }
}

/// All routes of the API with its document and its page.
pub fn router(api: Api) -> Router {
    with_document(documented(), api)
        .route("/", get(page::page))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
}

/// The OpenAPI document.
pub fn document() -> utoipa::openapi::OpenApi {
    documented().split_for_parts().1
}

fn documented() -> OpenApiRouter<Api> {
    let calls = OpenApiRouter::new()
        .routes(routes!(files::register))
        .routes(routes!(stages::event_ingest_done))
        .routes(routes!(stages::transition))
        .routes(routes!(work::claim))
        .routes(routes!(work::heartbeat))
        .routes(routes!(files::queue))
        .routes(routes!(files::oldest))
        .routes(routes!(files::list_files))
        .routes(routes!(files::get_file))
        .routes(routes!(files::summary))
        .routes(routes!(files::audit))
        .routes(routes!(progress::status));
    OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, calls)
}

/// Checks at start that everything a metric is made of can be registered.
pub(crate) fn register_metrics(metrics: &Metrics, shards: ShardCount) -> gauges::Gauges {
    gauges::Gauges::register(metrics, shards)
}

fn task_key(request: &crate::pipeline::task::wire::TaskRequest) -> TaskKey {
    TaskKey { file: request.filename.clone(), shard: request.shard }
}
