//! The API of cache-service (docs/contracts.md, 5): the order directory, and early returns. It is stateless: all state is in
//! the store, so that any number of instances may serve the same database.
//!
//! [`router`] is the only list of endpoints; the OpenAPI document is made from the same declarations.

pub mod client;
mod directory;
mod early;
mod gauges;
#[cfg(feature = "mysql")]
mod mysql;
pub mod open;
mod sql;
mod sqlite;
pub mod store;
mod timed;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::{HealthProbe, keep_probing};
use crate::base::db;
use crate::base::http::auth::Call;
use crate::base::http::openapi::{Bearer, with_document};
use crate::base::http::problem::ProblemBody;
use crate::base::http::{Metrics, Permit, Policy, Principal, Problem, Readiness};
use crate::base::shutdown::Stop;
use crate::pipeline::cache::store::CacheStore;
use crate::pipeline::settings::principal;
use crate::pipeline::timed::observer;
use crate::pipeline::trade::ENTRIES_MAX;
use gauges::Gauges;

/// Bytes of a request's body: whole lines come in it.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Where the calls are.
pub const BASE: &str = "/api/v1";
/// Returns that are handed out at once, if the task does not say.
const TAKE: u32 = 1000;

/// All of it is for the workers.
pub(crate) const POLICY: Policy = Policy {
    serves: &[principal::SHARD_WORKER, Principal::OPERATOR],
    permit,
    read: Policy::OPEN_READS,
    upgrade: Policy::NO_UPGRADE,
};

fn permit(call: &Call<'_>) -> Permit {
    match call.route().strip_prefix(BASE) {
        Some(
            "/orders" | "/orders/lookup" | "/pending/put" | "/pending/take" | "/pending/expired" | "/pending/confirm",
        ) => Permit::to(principal::SHARD_WORKER),
        _ => Permit::OPERATOR,
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct Cache {
    store: Arc<dyn CacheStore>,
    gauges: Gauges,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "shopctl cache API",
        description = "Which shard an order belongs to, and returns that came before their purchase. Every call names the task that asks; the same task is always answered the same.",
        license(name = "MIT", identifier = "MIT")
    ),
    modifiers(&Bearer),
    components(schemas(ProblemBody)),
    tags(
        (name = "orders", description = "The order directory."),
        (name = "pending", description = "Returns that wait for their order.")
    )
)]
struct Document;

impl Cache {
    /// The API over a store.
    pub fn new(store: Arc<dyn CacheStore>, metrics: &Metrics) -> Self {
        Self { store: timed::cache(store, observer(metrics)), gauges: Gauges::register(metrics) }
    }

    /// Keeps `/ready` and the metrics up to date, and forgets what was done long ago, until the stop is requested.
    pub(crate) async fn keep_ready(self, readiness: Readiness, stop: Stop) {
        keep_probing(&self, readiness, stop).await;
    }
}

#[async_trait]
impl HealthProbe for Cache {
    async fn ping(&self) -> db::Result<()> {
        self.store.ping().await
    }

    async fn measure(&self) -> db::Result<()> {
        self.gauges.look(self.store.as_ref()).await
    }
}

/// All routes of the API with its document.
pub fn router(cache: Cache) -> Router {
    with_document(documented(), cache)
}

fn documented() -> OpenApiRouter<Cache> {
    let calls = OpenApiRouter::new()
        .routes(routes!(directory::record))
        .routes(routes!(directory::look_up))
        .routes(routes!(directory::get_order))
        .routes(routes!(early::put))
        .routes(routes!(early::take))
        .routes(routes!(early::expired))
        .routes(routes!(early::confirm))
        .routes(routes!(early::backlog))
        .routes(routes!(early::list_held));
    OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, calls)
}

/// A call is one transaction, and holds the locks of its orders until it ends.
fn bounded<T>(name: &str, entries: &[T]) -> Result<(), Problem> {
    if entries.len() > ENTRIES_MAX {
        return Err(Problem::invalid(format!("{name} has more than {ENTRIES_MAX} entries; make several calls")));
    }
    Ok(())
}

fn limit_of(limit: Option<u32>) -> Result<u32, Problem> {
    match limit.unwrap_or(TAKE) {
        limit if (1..=ENTRIES_MAX).contains(&(limit as usize)) => Ok(limit),
        _ => Err(Problem::invalid(format!("limit must be from 1 to {ENTRIES_MAX}"))),
    }
}
