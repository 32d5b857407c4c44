//! Bodies of cache-service. `filename` and `shard` always name the task that asks.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::flat;
use crate::pipeline::event::ShardId;
use crate::pipeline::task::FileName;
use crate::pipeline::trade::early::RAW_BYTES_MAX;
use crate::pipeline::trade::{EarlyReturn, Held, NewOrder, Order, OrderId, PutOutcome, Recorded, Taken};

/// Writes orders of the task's shard into the directory.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrdersRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard: the orders belong to it.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The orders.
    #[schema(max_items = 10_000)]
    pub orders: Vec<NewOrder>,
    /// Hand out the returns that waited for them, in the same transaction.
    #[serde(default)]
    pub take: bool,
}

/// What came of the orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrdersResponse {
    /// One for each order, in their order.
    pub outcomes: Vec<Recorded>,
    /// The returns that waited for them, if they were asked for, by file and line.
    #[schema(value_type = Vec<flat::TakenItem>)]
    pub taken: Vec<Taken>,
}

/// Asks for orders.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupRequest {
    /// Which orders.
    #[schema(value_type = Vec<i64>, max_items = 10_000, example = json!([4711]))]
    pub order_ids: Vec<OrderId>,
}

/// The orders that are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupResponse {
    /// Each once, by number.
    pub orders: Vec<Order>,
}

/// Hands in returns whose order the task does not know.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutRequest {
    /// The task's event file: that of the lines.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The returns.
    #[serde(deserialize_with = "returns")]
    #[schema(max_items = 10_000)]
    pub returns: Vec<EarlyReturn>,
}

/// What came of handing in returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PutResponse {
    /// One for each return, in their order.
    #[schema(value_type = Vec<flat::PutItem>)]
    pub outcomes: Vec<PutItem>,
}

/// What came of handing in a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutItem {
    /// Its line.
    pub line: u64,
    /// Whether it is kept, and else its order.
    #[serde(flatten)]
    pub outcome: PutOutcome,
}

/// Asks for returns whose order is known.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TakeRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// Only returns of these orders; without, all that wait for the task's shard, which a task is told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<i64>>, max_items = 10_000, example = json!([4711]))]
    pub order_ids: Option<Vec<OrderId>>,
    /// The most returns to hand out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000, example = 1000)]
    pub limit: Option<u32>,
}

/// Asks for returns of the task's shard whose time is up.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiredRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
    /// The oldest other event file that some shard has not decided: no time is up that is not up before this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub undecided: Option<FileName>,
    /// The most returns to hand out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000, example = 1000)]
    pub limit: Option<u32>,
}

/// Returns that are the task's now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakenResponse {
    /// The returns, by file and line.
    #[schema(value_type = Vec<flat::TakenItem>)]
    pub taken: Vec<Taken>,
}

/// Says that a task is done.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmRequest {
    /// The task's event file.
    #[schema(value_type = String, pattern = "^[0-9]{14}$", example = "20250101000000")]
    pub filename: FileName,
    /// The task's shard.
    #[schema(value_type = u8, maximum = 127, example = 0)]
    pub shard: ShardId,
}

/// What was pending until now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConfirmResponse {
    /// How many returns of the task are done by this call.
    #[schema(example = 2)]
    pub confirmed: u64,
}

/// The kept returns of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldResponse {
    /// Which order.
    #[schema(value_type = i64, example = 4711)]
    pub order_id: OrderId,
    /// Its returns, by file and line, 1000 at the most.
    #[schema(value_type = Vec<flat::HeldItem>)]
    pub items: Vec<Held>,
}

/// Reads returns whose lines are of bounded length. They are looked at here and not one by one: a client takes what it is
/// given.
fn returns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<EarlyReturn>, D::Error> {
    let returns = Vec::<EarlyReturn>::deserialize(deserializer)?;
    if returns.iter().any(|entry| entry.raw.len() > RAW_BYTES_MAX) {
        return Err(D::Error::custom(format!("a returned line has {RAW_BYTES_MAX} bytes at the most")));
    }
    Ok(returns)
}
