//! Calls to the order directory.

use axum::extract::State;

use super::{Cache, bounded};
use crate::base::db;
use crate::base::http::Problem;
use crate::base::http::error_responses::ErrorResponses;
use crate::base::http::extract::{Json, Path};
use crate::base::http::fault::to_the_end;
use crate::base::http::problem::ProblemBody;
use crate::pipeline::task::TaskKey;
use crate::pipeline::trade::wire::cache::{LookupRequest, LookupResponse, OrdersRequest, OrdersResponse};
use crate::pipeline::trade::{Order, OrderId};

/// Writes orders of the task's shard, and hands out the returns that waited for them.
///
/// What stands in the directory stays; the answer says what it is. With `take`, orders are written and their returns
/// handed out in one transaction. The same task gets the same returns again.
#[utoipa::path(
    post, path = "/orders", tag = "orders",
    request_body = OrdersRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "What stands in the directory, and what waited.", body = OrdersResponse),
        ErrorResponses,
    )
)]
pub(super) async fn record(
    State(cache): State<Cache>,
    Json(request): Json<OrdersRequest>,
) -> Result<axum::Json<OrdersResponse>, Problem> {
    bounded("orders", &request.orders)?;
    let by = TaskKey { file: request.filename, shard: request.shard };
    let (store, orders) = (cache.store.clone(), request.orders);
    let (outcomes, taken) = to_the_end(async move {
        if request.take {
            store.record_and_take(&by, &orders).await
        } else {
            Ok((store.record_orders(&by, &orders).await?, Vec::new()))
        }
    })
    .await?;
    cache.gauges.released.inc_by(taken.len() as u64);
    Ok(axum::Json(OrdersResponse { outcomes, taken }))
}

/// Looks up many orders; those that are not in the directory are left out.
#[utoipa::path(
    post, path = "/orders/lookup", tag = "orders",
    request_body = LookupRequest,
    security(("bearer" = ["shard_worker"]), ("bearer" = ["operator"])),
    responses(
        (status = 200, description = "The orders that are known.", body = LookupResponse),
        ErrorResponses,
    )
)]
pub(super) async fn look_up(
    State(cache): State<Cache>,
    Json(request): Json<LookupRequest>,
) -> Result<axum::Json<LookupResponse>, Problem> {
    bounded("order_ids", &request.order_ids)?;
    let orders = cache.store.look_up(&request.order_ids).await?;
    Ok(axum::Json(LookupResponse { orders }))
}

/// One order of the directory.
#[utoipa::path(
    get, path = "/orders/{order_id}", tag = "orders",
    params(("order_id" = i64, Path, minimum = 1, description = "The order.", example = 4711)),
    responses(
        (status = 200, description = "The order.", body = Order),
        (status = 404, description = "No worker has written the order yet.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "This is no order's id.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The database does not answer.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get_order(
    State(cache): State<Cache>,
    Path(order): Path<String>,
) -> Result<axum::Json<Order>, Problem> {
    let order = order_of(&order)?;
    match cache.store.look_up(&[order]).await?.pop() {
        Some(order) => Ok(axum::Json(order)),
        None => Err(db::Error::Gone(format!("order {order}")).into()),
    }
}

pub(super) fn order_of(text: &str) -> Result<OrderId, Problem> {
    text.parse().map_err(|e| Problem::invalid(format!("{e}")))
}
