//! The API of balance-daemon (docs/contracts.md, 5): accounts and operations on them. Stateless: all state is in the
//! balance store, so that any number of instances may serve the same database.
//!
//! [`router`] is the only list of endpoints; the OpenAPI document is made from the same declarations.

mod accounts;
pub mod client;
#[cfg(feature = "mysql")]
pub(crate) mod mysql;
pub mod open;
mod operations;
mod sql;
mod sqlite;
pub mod store;
mod timed;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::{HealthProbe, keep_probing};
use crate::base::db::Result;
use crate::base::http::auth::Call;
use crate::base::http::openapi::{Bearer, with_document};
use crate::base::http::problem::ProblemBody;
use crate::base::http::{Metrics, Permit, Policy, Principal, Readiness};
use crate::base::shutdown::Stop;
use crate::pipeline::balance::store::BalanceStore;
use crate::pipeline::settings::principal;
use crate::pipeline::timed::observer;
use crate::pipeline::trade::Answer;

/// Bytes of a request's body: thousands of operations with long keys and reasons.
pub(crate) const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Where the calls are.
pub const BASE: &str = "/api/v1";

/// Workers move money by operations; a credit by hand is the operator's.
pub(crate) const POLICY: Policy = Policy {
    serves: &[principal::SHARD_WORKER, Principal::OPERATOR],
    permit,
    read: Policy::OPEN_READS,
    upgrade: Policy::NO_UPGRADE,
};

fn permit(call: &Call<'_>) -> Permit {
    match call.route().strip_prefix(BASE) {
        Some("/operations") => Permit::to(principal::SHARD_WORKER),
        _ => Permit::OPERATOR,
    }
}

/// What the handlers share.
#[derive(Clone)]
pub struct Balance {
    store: Arc<dyn BalanceStore>,
    operations: Family<OutcomeLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "shopctl balance API",
        description = "Accounts of users. Every operation on money takes effect once, however often it is asked for.",
        license(name = "MIT", identifier = "MIT")
    ),
    modifiers(&Bearer),
    components(schemas(ProblemBody)),
    tags(
        (name = "accounts", description = "Looking at accounts, and putting money into one."),
        (name = "operations", description = "Moving money, in batches.")
    )
)]
struct Document;

impl Balance {
    /// The API over a balance store.
    pub fn new(store: Arc<dyn BalanceStore>, metrics: &Metrics) -> Self {
        let operations = Family::<OutcomeLabels, Counter>::default();
        let help = "Operations by what came of them; repeated: that was decided before";
        metrics.with_registry(|registry| registry.register("operations", help, operations.clone()));
        Self { store: timed::balance(store, observer(metrics)), operations }
    }

    fn count(&self, answers: &[Answer]) {
        for answer in answers {
            let outcome = if answer.is_repeated { "repeated" } else { answer.outcome.name() };
            self.operations.get_or_create(&OutcomeLabels { outcome }).inc();
        }
    }

    /// Keeps `/ready` up to date until the stop is requested.
    pub(crate) async fn keep_ready(self, readiness: Readiness, stop: Stop) {
        keep_probing(&self, readiness, stop).await;
    }
}

#[async_trait]
impl HealthProbe for Balance {
    async fn ping(&self) -> Result<()> {
        self.store.ping().await
    }
}

/// All routes of the API with its document.
pub fn router(balance: Balance) -> Router {
    with_document(documented(), balance)
}

fn documented() -> OpenApiRouter<Balance> {
    let calls = OpenApiRouter::new()
        .routes(routes!(accounts::get_balance))
        .routes(routes!(accounts::list_transactions))
        .routes(routes!(operations::credit))
        .routes(routes!(operations::apply));
    OpenApiRouter::with_openapi(Document::openapi()).nest(BASE, calls)
}
