//! Calls about early returns.

use axum::extract::State;

use super::directory::order_of;
use super::{Cache, bounded, limit_of};
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Json, Path};
use crate::base::http::fault::to_the_end;
use crate::base::http::problem::ProblemBody;
use crate::pipeline::cache::store::Take;
use crate::pipeline::task::TaskKey;
use crate::pipeline::trade::wire::cache::{
    ConfirmRequest, ConfirmResponse, ExpiredRequest, HeldResponse, PutItem, PutRequest, PutResponse, TakeRequest,
    TakenResponse,
};
use crate::pipeline::trade::{Backlog, PutOutcome};

/// Returns of one order that a person is shown.
const HELD_MAX: u32 = 1000;

/// Hands in returns whose order the task does not know, all in one transaction.
///
/// `held`: it is kept until its order comes or its time is up; if the order is known and belongs to another shard, for
/// that shard's next task. The task counts the line as held. `known`: the order is in the task's own shard by now, and
/// nothing is kept. A line that was held once is held for ever.
#[utoipa::path(
    post, path = "/pending/put", tag = "pending",
    request_body = PutRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "One outcome for each return.", body = PutResponse),
        ErrorResponses,
        (status = 422, description = "A field is not right, or a line was handed in before with other content.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "As many returns are pending as are allowed, or the database does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(cache): State<Cache>,
    Json(request): Json<PutRequest>,
) -> Result<axum::Json<PutResponse>, Problem> {
    bounded("returns", &request.returns)?;
    let by = TaskKey { file: request.filename, shard: request.shard };
    let (store, returns) = (cache.store.clone(), request.returns);
    let lines: Vec<u64> = returns.iter().map(|entry| entry.line).collect();
    let outcomes = to_the_end(async move { store.put(&by, &returns).await }).await?;
    let held = outcomes.iter().filter(|outcome| **outcome == PutOutcome::Held).count();
    cache.gauges.held.inc_by(held as u64);
    let outcomes = lines.into_iter().zip(outcomes).map(|(line, outcome)| PutItem { line, outcome }).collect();
    Ok(axum::Json(PutResponse { outcomes }))
}

/// Hands the task returns whose order is known and of its shard; they are its own from then on.
///
/// Without `order_ids` a task is told once, and the same again ever after; what comes later is for the next task.
#[utoipa::path(
    post, path = "/pending/take", tag = "pending",
    request_body = TakeRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The returns that are the task's.", body = TakenResponse),
        ErrorResponses,
    )
)]
pub(super) async fn take(
    State(cache): State<Cache>,
    Json(request): Json<TakeRequest>,
) -> Result<axum::Json<TakenResponse>, Problem> {
    bounded("order_ids", request.order_ids.as_deref().unwrap_or_default())?;
    let (store, limit) = (cache.store.clone(), limit_of(request.limit)?);
    let by = TaskKey { file: request.filename, shard: request.shard };
    let taken = to_the_end(async move {
        let what = request.order_ids.as_deref().map_or(Take::Shard, Take::Orders);
        store.take(&by, what, limit).await
    })
    .await?;
    cache.gauges.released.inc_by(taken.len() as u64);
    Ok(axum::Json(TakenResponse { taken }))
}

/// Hands the task returns of its shard whose time is up and whose order never came; they are its own from then on.
///
/// A task is told once, and the same again ever after.
#[utoipa::path(
    post, path = "/pending/expired", tag = "pending",
    request_body = ExpiredRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The returns that are the task's, to be rejected.", body = TakenResponse),
        ErrorResponses,
    )
)]
pub(super) async fn expired(
    State(cache): State<Cache>,
    Json(request): Json<ExpiredRequest>,
) -> Result<axum::Json<TakenResponse>, Problem> {
    let (store, limit) = (cache.store.clone(), limit_of(request.limit)?);
    let by = TaskKey { file: request.filename, shard: request.shard };
    let take = async move { store.take(&by, Take::Expired(request.undecided.as_ref()), limit).await };
    let taken = to_the_end(take).await?;
    cache.gauges.expired.inc_by(taken.len() as u64);
    Ok(axum::Json(TakenResponse { taken }))
}

/// Says that a task is done: what it took is pending no more.
#[utoipa::path(
    post, path = "/pending/confirm", tag = "pending",
    request_body = ConfirmRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "How many returns are done by this call.", body = ConfirmResponse),
        ErrorResponses,
    )
)]
pub(super) async fn confirm(
    State(cache): State<Cache>,
    Json(request): Json<ConfirmRequest>,
) -> Result<axum::Json<ConfirmResponse>, Problem> {
    let by = TaskKey { file: request.filename, shard: request.shard };
    let store = cache.store.clone();
    let confirmed = to_the_end(async move { store.confirm(&by).await }).await?;
    Ok(axum::Json(ConfirmResponse { confirmed }))
}

/// The kept returns of an order, those of finished tasks included, as long as they are kept.
#[utoipa::path(
    get, path = "/pending/{order_id}", tag = "pending",
    params(("order_id" = i64, Path, minimum = 1, description = "The order.", example = 4711)),
    responses(
        (status = 200, description = "The returns; none if there are none.", body = HeldResponse),
        (status = 422, description = "This is no order's id.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list_held(
    State(cache): State<Cache>,
    Path(order): Path<String>,
) -> Result<axum::Json<HeldResponse>, Problem> {
    let order = order_of(&order)?;
    let items = cache.store.list_held(order, HELD_MAX).await?;
    Ok(axum::Json(HeldResponse { order_id: order, items }))
}

/// How many returns are kept, and how many of them the next tasks take.
#[utoipa::path(
    get, path = "/pending", tag = "pending",
    responses(
        (status = 200, description = "The numbers of this moment.", body = Backlog),
        (status = 503, description = "The database does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn backlog(State(cache): State<Cache>) -> Result<axum::Json<Backlog>, Problem> {
    Ok(axum::Json(cache.store.backlog().await?))
}
